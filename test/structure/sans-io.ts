import { importsOf } from './imports.ts';
import type { ProjectFile } from './project.ts';
import { codeTokens, type Token } from './tokens.ts';

/** The files that must be state machines without input or output of their own. */
export function belowTheLine(files: readonly ProjectFile[]): ProjectFile[] {
  return files.filter(({ path }) => PURE_FOLDERS.has(path.split('/')[1]));
}

/** Sentences about where a file touches the world: a clock, chance, a timer, a promise, the process, or a module that does. */
export function sansIoViolations(file: ProjectFile): string[] {
  const tokens = codeTokens(file.text);
  const words = tokens.flatMap((token, i) => {
    const name = forbiddenAt(tokens, i);
    if (name !== undefined && isPubsub(file) && SHAPES.has(name)) return [];
    return name === undefined ? [] : [`${file.path}:${token.line} uses ${name}`];
  });
  return [...words, ...importViolations(file)];
}

/** pubsub/ is above the line, though pure: it may describe what waits, and only that. */
function isPubsub({ path }: ProjectFile): boolean {
  return path.startsWith('src/pubsub/');
}

function forbiddenAt(tokens: readonly Token[], i: number): string | undefined {
  const { kind, text } = tokens[i];
  if (kind !== 'word') return undefined;
  // A property or a key of that name is something else.
  const isProperty = tokens[i - 1]?.text === '.' && !tokens[i - 2]?.text.endsWith('.');
  if (isProperty || (FORBIDDEN.has(text) && tokens[i + 1]?.text === ':')) return undefined;
  if (FORBIDDEN.has(text)) return text;
  if (text === 'Math' && tokens[i + 2]?.text === 'random') return 'Math.random';
  return undefined;
}

function importViolations(file: ProjectFile): string[] {
  return importsOf(file).flatMap(({ specifier, path, names, line }) => {
    const at = `${file.path}:${line}`;
    if (path !== undefined) return [];
    // A mark on memory, no thread.
    if (specifier === 'node:worker_threads' && names?.join() === 'markAsUntransferable') return [];
    if (!ALLOWED_MODULES.some((allowed) => specifier === allowed || specifier.startsWith(`${allowed}/`))) {
      return [`${at} imports ${specifier}`];
    }
    if (specifier !== 'node:crypto') return [];
    if (names === undefined) return [`${at} imports all of node:crypto; name what is used`];
    return names
      .filter((name) => RANDOM_OR_LATE.test(name))
      .map((name) => `${at} imports ${name} of node:crypto`);
  });
}

const PURE_FOLDERS: ReadonlySet<string> = new Set(['base', 'protocol', 'pubsub']);

const FORBIDDEN: ReadonlySet<string> = new Set([
  'AbortSignal',
  'Atomics',
  'Date',
  'EventEmitter',
  'EventTarget',
  'Promise',
  'Temporal',
  'Worker',
  'async',
  'await',
  'clearImmediate',
  'clearInterval',
  'clearTimeout',
  'console',
  'fetch',
  'global',
  'globalThis',
  'performance',
  'process',
  'queueMicrotask',
  'setImmediate',
  'setInterval',
  'setTimeout',
]);

/** Names of types that describe waiting. */
const SHAPES: ReadonlySet<string> = new Set(['AbortSignal', 'Promise']);

/** Pure functions, and the loaders of optional native code. */
const ALLOWED_MODULES: readonly string[] = [
  'node:buffer',
  'node:crypto',
  'node:module',
  '@noble/ciphers',
  '@noble/hashes',
  '@noble/post-quantum',
  'sodium-native',
  'lz4-napi',
  '@subspace/reed-solomon-erasure.wasm',
];

/** What of node:crypto draws random bytes itself; they come in through RandomSource. */
const RANDOM_OR_LATE = /^(random|generate|webcrypto|subtle|getRandom|crypto$|pseudoRandom|prng|rng)/;
