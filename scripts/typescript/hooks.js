/**
 * Loads TypeScript by blanking out its types, as ts-blank-space/register does, and keeps in .cache/ what came of it: without the compiler a process starts
 * in a third of the time. What a module was asked for with behind its name (`?vitest=...`) makes it another module, of the same text.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** What is installed is what its users load; Vitest asks for its sources, where a package brings them. */
export function resolve(specifier, context, nextResolve) {
  const conditions = context.conditions.filter((condition) => condition !== 'development');
  return nextResolve(specifier, { ...context, conditions });
}

export function load(url, context, nextLoad) {
  if (!TYPESCRIPT.test(url)) return nextLoad(url, context);
  return { format: 'module', shortCircuit: true, source: withoutTypes(fileURLToPath(url)) };
}

function withoutTypes(path) {
  const source = readFileSync(path, 'utf8');
  const kept = `${CACHE}${hashOf(path)}.js`;
  const mark = `\n// ${hashOf(MAKERS, source)}`;
  try {
    const text = readFileSync(kept, 'utf8');
    if (text.endsWith(mark)) return text;
  } catch {}
  const text = (USING.test(source) ? lowered(source, path) : blanked(source)) + mark;
  // Others read it while it is written, and may write it as well.
  const draft = `${kept}.${randomUUID()}`;
  mkdirSync(CACHE, { recursive: true });
  writeFileSync(draft, text);
  renameSync(draft, kept);
  return text;
}

function blanked(source) {
  const { default: blank } = require('ts-blank-space');
  return blank(source);
}

/** Node understands `using` from 24 on. */
function lowered(source, path) {
  const { transformSync } = require('esbuild');
  return transformSync(source, { loader: 'ts', target: 'node20', sourcemap: 'inline', sourcefile: path })
    .code;
}

function hashOf(...texts) {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(text);
  return hash.digest('hex');
}

const require = createRequire(import.meta.url);
const USING = /^\s*(await )?using \w+ =/m;
const TYPESCRIPT = /^file:.*\.ts(\?|$)/;
const CACHE = fileURLToPath(new URL('../../.cache/typescript/', import.meta.url));
/** What texts are made by, and so also by which version of it. */
const MAKERS = [
  './hooks.js',
  '../../node_modules/ts-blank-space/package.json',
  '../../node_modules/esbuild/package.json',
]
  .map((path) => readFileSync(new URL(path, import.meta.url), 'utf8'))
  .join();
