/**
 * Calls `stop` at the first SIGINT or SIGTERM, once. A second one ends the process at once, as if nothing had been said.
 *
 * @returns a function that takes this back
 */
export function onStopSignal(stop: (signal: NodeJS.Signals) => void): () => void {
  const forget = (): void => {
    for (const signal of STOP_SIGNALS) process.off(signal, onSignal);
  };
  const onSignal = (signal: NodeJS.Signals): void => {
    forget();
    stop(signal);
  };
  for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  return forget;
}

const STOP_SIGNALS = ['SIGINT', 'SIGTERM'] as const;
