import { posix } from 'node:path';
import type { ProjectFile } from './project.ts';
import { codeTokens, type Token } from './tokens.ts';

export interface Import {
  /** As written. */
  specifier: string;
  /** What it leads to from the project's root, of a relative import. */
  path: string | undefined;
  /** Names in braces; undefined when everything is imported. */
  names: string[] | undefined;
  line: number;
}

/** What a file imports or re-exports, dynamic imports included. */
export function importsOf(file: ProjectFile): Import[] {
  const tokens = codeTokens(file.text);
  const imports: Import[] = [];
  for (const [i, token] of tokens.entries()) {
    const specifier = tokens[i + 1];
    if (specifier?.kind !== 'string' || !leadsToModule(tokens, i)) continue;
    imports.push({
      specifier: specifier.text,
      path: specifier.text.startsWith('.') ? posix.join(posix.dirname(file.path), specifier.text) : undefined,
      names: token.text === 'from' ? namesBefore(tokens, i) : undefined,
      line: specifier.line,
    });
  }
  return imports;
}

/** True for the `from` of an import or export, a bare `import`, and the parenthesis of a dynamic one. */
function leadsToModule(tokens: readonly Token[], i: number): boolean {
  const { kind, text } = tokens[i];
  if (kind === 'word' && text === 'from') return true;
  if (kind === 'word' && text === 'import') return true;
  return text === '(' && (tokens[i - 1]?.text === 'import' || tokens[i - 1]?.text === 'require');
}

function namesBefore(tokens: readonly Token[], from: number): string[] | undefined {
  if (tokens[from - 1].text !== '}') return undefined;
  const names: string[] = [];
  let i = from - 2;
  for (; tokens[i].text !== '{'; i--) {
    const isName = tokens[i].kind === 'word' && tokens[i].text !== 'as' && tokens[i].text !== 'type';
    // In `a as b` the name that counts is a.
    if (isName && tokens[i - 1].text !== 'as') names.unshift(tokens[i].text);
  }
  const before = tokens[i - 1].text;
  return before === 'import' || before === 'export' || before === 'type' ? names : undefined;
}
