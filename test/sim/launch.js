/**
 * Compiles the simulation and runs it: `npm run sim -- --seeds 10000`. Node 20 does not run TypeScript itself.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));
const compiler = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
const script = fileURLToPath(new URL('../../.cache/sim/test/sim/main.js', import.meta.url));

const compiled = spawnSync(process.execPath, [compiler, '-p', folder], { stdio: 'inherit' });
if (compiled.status !== 0) process.exit(compiled.status ?? 1);
const ran = spawnSync(process.execPath, ['--enable-source-maps', script, ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(ran.status ?? 1);
