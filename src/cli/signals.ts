/**
 * Calls `stop` at the first SIGINT, SIGTERM or SIGHUP, once. A second one ends the process at once, as if nothing had been said.
 *
 * A SIGTERM to `npx jsp` ends npm and the shell it has started, and that shell passes nothing on. So a process that npm has started
 * also stops when its parent is gone.
 *
 * @returns a function that takes this back
 */
export function onStopSignal(stop: (signal: NodeJS.Signals) => void): () => void {
  const parent = process.ppid;
  const startedByNpm = process.env.npm_command !== undefined;
  const watch = startedByNpm ? setInterval(onWatch, PARENT_CHECK_MS).unref() : undefined;

  function forget(): void {
    clearInterval(watch);
    for (const signal of STOP_SIGNALS) process.off(signal, onSignal);
  }
  function onSignal(signal: NodeJS.Signals): void {
    forget();
    stop(signal);
  }
  function onWatch(): void {
    if (process.ppid !== parent) onSignal('SIGTERM');
  }

  for (const signal of STOP_SIGNALS) process.on(signal, onSignal);
  return forget;
}

/** SIGHUP: the terminal was closed. */
const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const PARENT_CHECK_MS = 250;
