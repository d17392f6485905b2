import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { transformSync } from 'esbuild';

/**
 * A program of the project, such as an example, without its types, for Node to run: the loader of `npm run ts` takes a second of CPU time to start. It is in
 * the package, so that it may import that by its name, and looks for what is beside it where its source is.
 *
 * @param source - its path
 * @returns the path of what to run
 */
export function programOf(source: string): string {
  const { code } = transformSync(readFileSync(source, 'utf8'), {
    loader: 'ts',
    format: 'esm',
    target: 'node20',
    define: { 'import.meta.url': JSON.stringify(pathToFileURL(source).href) },
  });
  const program = `${FOLDER}${basename(source, '.ts')}.js`;
  mkdirSync(FOLDER, { recursive: true });
  writeFileSync(program, code);
  return program;
}

const FOLDER = fileURLToPath(new URL('../.cache/programs/', import.meta.url));
