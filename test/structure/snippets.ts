/** Program text on pages and in docstrings: what of it is TypeScript or JavaScript, and where it stands. */

import { transformSync } from 'esbuild';
import { parse } from 'yaml';
import { filesBelow, textOf } from './project.ts';

/** What stands somewhere as code. */
export interface Snippet {
  readonly path: string;
  /** Of its first line, from 1. */
  readonly line: number;
  readonly text: string;
}

/** A block that is set off from the text. */
export interface Block extends Snippet {
  /** What a fence says that it is; empty without one. */
  readonly language: string;
}

/** What a block can be; `unknown`: somebody has to say. */
export type BlockKind = 'program' | 'shell' | 'toml' | 'html' | 'json' | 'yaml' | 'picture' | 'unknown';

/** Pages that tell users how to write programs, set settings and call commands. */
export const PAGES: readonly Snippet[] = [
  ...['README.md', 'SECURITY.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'benches/README.md'].map((path) => ({
    path,
    text: textOf(path) ?? '',
  })),
  ...filesBelow('docs', '.md').filter(({ path }) => !path.startsWith('docs/api/')),
].map((page) => ({ ...page, line: 1 }));

/** The blocks of a page: fenced, or indented by four spaces and more behind an empty line. */
export function blocksOf({ path, line, text: page }: Snippet): Block[] {
  const lines = page.split('\n');
  const blocks: Block[] = [];
  for (let i = 0; i < lines.length; i++) {
    const fence = /^ *```(.*)$/.exec(lines[i]);
    const begin = fence === null ? i : i + 1;
    if (fence !== null) {
      for (i++; i < lines.length && !/^ *```$/.test(lines[i]); ) i++;
    } else if (INDENTED.test(lines[i]) && (lines[i - 1] ?? '') === '') {
      while (i + 1 < lines.length && (INDENTED.test(lines[i + 1]) || lines[i + 1] === '')) i++;
    } else continue;
    const end = fence === null ? i + 1 : i;
    const text = lines.slice(begin, end).join('\n').trimEnd();
    blocks.push({ path, line: line + begin, text: outdented(text), language: fence?.[1] ?? '' });
  }
  return blocks;
}

/** Code within the lines of a page, without its backticks. */
export function inlineOf(page: Snippet): Snippet[] {
  const blocks = blocksOf(page).flatMap(({ line, text }) => text.split('\n').map((_, i) => line + i));
  const isInBlock = new Set(blocks);
  return page.text.split('\n').flatMap((words, i) => {
    const line = page.line + i;
    if (isInBlock.has(line)) return [];
    return [...words.matchAll(/`([^`]+)`/g)].map(([, text]) => ({ path: page.path, line, text }));
  });
}

export function kindOf({ language, text }: Pick<Block, 'language' | 'text'>): BlockKind {
  if (language !== '') return LANGUAGES[language] ?? 'unknown';
  const [first] = text.split('\n').filter((line) => !/^(#.*)?$/.test(line));
  if (/^jsp monitor · |--> |──> /.test(first)) return 'picture'; // of a screen, of a state machine
  if (COMMAND_LINE.test(first)) return 'shell';
  if (/^\[+[\w.]+\]+( |$)/.test(first)) return 'toml';
  if (text.split('\n').every((line) => /^\{"/.test(line))) return 'json';
  if (first.startsWith('<')) return 'html';
  if (isProgram(text)) return 'program';
  return isYaml(text) ? 'yaml' : 'unknown';
}

/** The programs of pages, those in blocks of HTML among them. */
export function programsOf(block: Block): Snippet[] {
  if (kindOf(block) === 'program') return [block];
  return [...block.text.matchAll(/<script type="module">\n([\s\S]*?)<\/script>/g)].map(
    ({ index, 1: text }) => ({
      path: block.path,
      line: block.line + block.text.slice(0, index).split('\n').length,
      text,
    }),
  );
}

/** What is called, made or looked at, such as `connect(url, { mtu: 1_472 })` or `client.publish`; without what is said of it in words. */
export function isExpression(code: string, isThing: (name: string) => boolean): boolean {
  if (/^(import|const|for await) .*[({]/.test(code)) return true;
  if (/^(await |new )?[A-Za-z][\w.]*\(.*\)(\.\w+)*$/.test(code)) return true;
  return /^\w+(\.\w+)+$/.test(code) && isThing(code.slice(0, code.indexOf('.')));
}

/** An object as options are, such as `{ qos: 1 }`, or one member of it, such as `reconnect: true`; null when it is none. */
export function literalIn(code: string): string | null {
  if (/^\{.*[^ ]\}$/.test(code)) return null; // ours have a space there: JSON, series of Prometheus, routes
  if (/^\{ ".*\}$/.test(code)) return null;
  if (/^\{.*\}$/.test(code)) return code;
  return /^[a-z]\w*: (['{[]|true$|false$|[\d_]+$)/.test(code) ? `{ ${code} }` : null;
}

/** Docstrings of what the package exports: of declarations, their members, and the heads of its doors. */
export function publicDocstrings(): Snippet[] {
  const isPublic = new Set(DOORS.flatMap(exportsOf));
  return filesBelow('src', '.ts').flatMap(({ path, text }) => {
    const found: Snippet[] = [];
    /** Of the declaration that comes. */
    let ahead: Snippet | null = null;
    let owner = '';
    for (const { index, groups = {} } of text.matchAll(DOCSTRING_OR_DECLARATION)) {
      const { indent, body, name } = groups;
      if (name !== undefined) {
        owner = name;
        if (ahead !== null && isPublic.has(name)) found.push(ahead);
        ahead = null;
        continue;
      }
      const line = text.slice(0, index).split('\n').length;
      const docstring = { path, line, text: body.replace(/^ *\* ?/gm, '') };
      if (index === 0 && DOORS.includes(path)) found.push(docstring);
      else if (indent === '') ahead = docstring;
      else if (isPublic.has(owner)) found.push(docstring);
    }
    return found;
  });
}

/** The examples of a docstring, which go to the next tag. */
export function examplesIn({ path, line, text }: Snippet): Snippet[] {
  return [...text.matchAll(/@example[ \n]([\s\S]*?)(?=\n@|$(?![\s\S]))/g)].map(({ index, 1: example }) => ({
    path,
    line: line + text.slice(0, index + '@example '.length).split('\n').length - 1,
    text: example.trimEnd(),
  }));
}

/** Names that a file exports by lists, such as those of a door. */
export function exportsOf(path: string): string[] {
  const lists = [...(textOf(path) ?? '').matchAll(/^export (?:type )?\{([^}]*)\}/gm)];
  return lists.flatMap(([, list]) => list.match(/\w+(?=,|\s*$)/g) ?? []);
}

function isProgram(text: string): boolean {
  try {
    transformSync(withoutElisions(text), { loader: 'ts', format: 'esm', logLevel: 'silent' });
    return true;
  } catch {
    return false;
  }
}

/** With a name where something is left out. */
export function withoutElisions(text: string): string {
  return text.replace(/(?<=\.\w+)\(\.\.\.\)/g, '').replace(/…|\.\.\.(?![\w[({])/g, 'elided');
}

function isYaml(text: string): boolean {
  try {
    return typeof parse(text) === 'object';
  } catch {
    return false;
  }
}

function outdented(text: string): string {
  const indents = text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.search(/\S/));
  const indent = Math.min(...indents);
  return text
    .split('\n')
    .map((line) => line.slice(indent))
    .join('\n');
}

const INDENTED = /^ {4}/;
const LANGUAGES: Readonly<Record<string, BlockKind>> = {
  ts: 'program',
  js: 'program',
  sh: 'shell',
  toml: 'toml',
  html: 'html',
};
/** A line that is typed on a terminal, also behind variables of the environment. */
const COMMAND_LINE =
  /^(\$ |([A-Z_]+=\S* )*(npm|npx|node|jsp|curl|jq|tshark|nats-server|mosquitto_\w+|PATH|\.ci\/run)( |$))/;
/** A docstring, or the head of a declaration that is not within another one. */
const DOCSTRING_OR_DECLARATION =
  /^(?<indent> *)\/\*\*(?<body>(?:(?!\*\/)[\s\S])*)\*\/|^(?:export |declare |abstract |async )*(?:function\*?|class|interface|type|const|enum) (?<name>\w+)/gm;
/** The files that `exports` of package.json lead to. */
export const DOORS = Object.keys((JSON.parse(textOf('package.json') ?? '') as { exports: object }).exports)
  .filter((door) => !door.endsWith('.json'))
  .map((door) => `src${door.slice(1)}/index.ts`);
