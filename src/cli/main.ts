#!/usr/bin/env node
/**
 * The program that the package's `bin` names. What Node compiles of it is kept for the next time where Node can (22.8 and newer; in the system's
 * folder for such things, or that of NODE_COMPILE_CACHE; NODE_DISABLE_COMPILE_CACHE=1 does without): a command starts in three quarters of the time.
 */
import * as modules from 'node:module';

(modules as { enableCompileCache?: () => unknown }).enableCompileCache?.();
const { run } = await import('./program.ts');
await run();
