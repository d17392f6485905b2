/**
 * What npm runs as `prepare`: after `npm ci` or `npm install`, before `npm pack`, and when `npx jsp` meets this clone for the first time.
 * So the command is there whichever of them came first.
 */

import { existsSync } from 'node:fs';
import { build, isBuildStale } from './build.js';
import { IN_SET_UP } from './install.js';
import { setUp } from './set-up.js';

const hasCompiler = existsSync(new URL('../node_modules/typescript', import.meta.url));

if (process.env.npm_command === 'exec') setUp();
else if (process.env[IN_SET_UP] === undefined && hasCompiler && isBuildStale()) {
  process.exitCode = build({ checkTypes: false });
}
