import { onTestFinished } from 'vitest';

/** What nothing caught from now on, in order, as an application's handler for `uncaughtException` sees it. */
export function catchUncaught(): unknown[] {
  const uncaught: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => uncaught.push(error));
  onTestFinished(() => {
    process.removeAllListeners('uncaughtException');
    for (const other of others) process.on('uncaughtException', other);
  });
  return uncaught;
}
