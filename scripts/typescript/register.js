/** `node --import ./scripts/typescript/register.js`: the process and its threads load TypeScript, by hooks.js. */
import * as modules from 'node:module';
import { isMainThread } from 'node:worker_threads';

// A thread that begins with JavaScript does without: with hooks, which Node 20 calls in one more thread, it takes twice the CPU time to start.
if (isMainThread || /\.ts$/.test(process.argv[1])) await register();

async function register() {
  // Node 20 calls hooks in a thread of theirs alone.
  if (modules.registerHooks === undefined) modules.register('./hooks.js', import.meta.url);
  else modules.registerHooks(await import('./hooks.js'));
}
