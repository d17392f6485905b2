/** Makes a fresh or updated clone ready: installs and compiles what is missing or stale. Says on stderr what it does. */

import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build, isBuildStale } from './build.js';
import { install, isInstallStale } from './install.js';

/** Ends the process when it fails. */
export function setUp() {
  if (isInstallStale()) endUnlessDone(install());
  if (isBuildStale()) {
    console.error('Compiling src/ to dist/ ...');
    endUnlessDone(build({ checkTypes: false }));
  }
}

function endUnlessDone(exitCode) {
  if (exitCode !== 0) process.exit(exitCode);
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) setUp();
