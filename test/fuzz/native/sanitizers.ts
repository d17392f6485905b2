import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { buildNative } from '../../../scripts/build-native.js';

/** The native addon, built so that it ends the process at the first access to memory that is not its own, and what drives it. */
export interface Sanitized {
  readonly addon: string;
  readonly driver: string;
  /** Of the sanitizers, for a Node that was built without them. */
  readonly preload: string;
}

/** Builds both; or what is missing for that, as where the compiler has no sanitizers. */
export function sanitized(): Sanitized | { readonly missing: string } {
  if (process.platform !== 'linux') return { missing: 'sanitizers are preloaded as on Linux' };
  const libraries = ['libasan.so', 'libubsan.so'].map((name) => {
    const { stdout } = spawnSync(process.env.CC || 'cc', [`-print-file-name=${name}`], { encoding: 'utf8' });
    return stdout?.trim() ?? '';
  });
  // A compiler that has none gives the name back; clang links its own in another way.
  if (!libraries.every((path) => path.includes('/') && existsSync(path)))
    return { missing: 'the compiler has no libasan.so and libubsan.so, which come with gcc' };
  const addon = `${FOLDER}jsp.node`;
  const failure = buildNative(addon, SANITIZERS);
  if (failure !== null) return { missing: failure };
  const driver = `${FOLDER}driver.mjs`;
  buildSync({
    entryPoints: [fileURLToPath(new URL('driver.ts', import.meta.url))],
    outfile: driver,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'error',
  });
  return { addon, driver, preload: libraries.join(' ') };
}

/** One run, in a process of its own. */
export function fuzz({ addon, driver, preload }: Sanitized, seed: number, rounds: number) {
  const ran = spawnSync(process.execPath, [driver, addon, String(seed), String(rounds)], {
    encoding: 'utf8',
    env: { ...process.env, LD_PRELOAD: preload, ...OPTIONS },
  });
  const status = ran.status ?? ran.signal;
  return { status, output: `${ran.stdout}${ran.stderr}`.trim() };
}

const FOLDER = fileURLToPath(new URL('../../../.cache/native-fuzz/', import.meta.url));
const SANITIZERS = [
  ...['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer'],
  ...['-O1', '-g'],
];
const OPTIONS = {
  // What Node itself still holds at its end is not ours to say.
  ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=99',
  UBSAN_OPTIONS: 'print_stacktrace=1',
};
