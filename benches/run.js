/**
 * Compiles the benchmarks and runs one: node benches/run.js ladder [options]. Node 20 does not run TypeScript itself.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [name = '', ...options] = process.argv.slice(2);
const folder = fileURLToPath(new URL('.', import.meta.url));
const compiler = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));
const script = fileURLToPath(new URL(`../.cache/benches/benches/${name}.js`, import.meta.url));

if (!existsSync(new URL(`${name}.ts`, import.meta.url))) {
  console.error('usage: node benches/run.js <name of a script in benches/> [options]');
  process.exit(2);
}
const compiled = spawnSync(process.execPath, [compiler, '-p', folder], { stdio: 'inherit' });
if (compiled.status !== 0) console.error('compiled with errors, running all the same');
const ran = spawnSync(process.execPath, [script, ...options], { stdio: 'inherit' });
process.exit(ran.status ?? 1);
