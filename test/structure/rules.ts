import type { ProjectFile } from './project.ts';

export interface Rule {
  id: string;
  /** Its layout is fixed, its behaviour comes later. */
  planned: boolean;
  path: string;
}

export interface Citation {
  id: string;
  /** File and line. */
  place: string;
}

/** The rules that pages of the specification lay down: list items that begin with a bold id. */
export function rulesOf(pages: readonly ProjectFile[]): Rule[] {
  return pages.flatMap(({ path, text }) =>
    items(text).flatMap((item) => {
      const id = /^- \*\*\[([A-Z]+-\d+)\]\*\*/.exec(item)?.[1];
      return id === undefined ? [] : [{ id, planned: item.includes('*(planned)*'), path }];
    }),
  );
}

/** Where files cite rules, in brackets: [PKT-1], or several as [PKT-1, PKT-2]. */
export function citationsOf(files: readonly ProjectFile[], prefixes: ReadonlySet<string>): Citation[] {
  return files.flatMap(({ path, text }) =>
    text.split('\n').flatMap((line, i) =>
      [...line.matchAll(/\[([A-Z]+-\d+(?:, ?[A-Z]+-\d+)*)\]/g)]
        .flatMap((match) => match[1].split(/, ?/))
        .filter((id) => prefixes.has(prefixOf(id)))
        .map((id) => ({ id, place: `${path}:${i + 1}` })),
    ),
  );
}

/** The part before the number: which page a rule is of. */
export function prefixOf(id: string): string {
  return id.split('-')[0];
}

/** List items with the lines that continue them. */
function items(text: string): string[] {
  return text.split(/\n(?=- |\n|#)/).map((item) => item.replace(/^\n/, ''));
}
