/** `node --import ./scripts/typescript/register.js`: the process and its threads load TypeScript, by hooks.js. */
import * as modules from 'node:module';
import * as hooks from './hooks.js';

// Node 20 calls hooks in a thread of theirs alone.
if (modules.registerHooks === undefined) modules.register('./hooks.js', import.meta.url);
else modules.registerHooks(hooks);
