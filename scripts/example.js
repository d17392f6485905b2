/** `npm run example <name> [arguments]`: compiles the examples, as Node 20 does not run TypeScript, and runs one. */

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { setUp } from './set-up.js';

const [name = '', ...options] = process.argv.slice(2);
if (!existsSync(pathOf(`examples/${name}.ts`))) {
  const names = readdirSync(pathOf('examples')).filter((file) => file.endsWith('.ts'));
  console.error(
    `usage: npm run example <name> [arguments]; names: ${names.map((file) => file.slice(0, -3)).join(', ')}`,
  );
  process.exit(2);
}
setUp();
run(pathOf('node_modules/typescript/bin/tsc'), '-p', pathOf('examples'), '--noCheck');
run(pathOf(`.examples/${name}.js`), ...options);

function pathOf(path) {
  return fileURLToPath(new URL(`../${path}`, import.meta.url));
}

function run(script, ...args) {
  const ran = spawnSync(process.execPath, [script, ...args], { stdio: 'inherit' });
  if (ran.status !== 0) process.exit(ran.status ?? 1);
}
