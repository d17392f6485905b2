/** What was found wrong in a store, in terms that people and machines can act on. */

import { JspError } from '../../base/errors.ts';

export const FindingKind = {
  /** The end of an unfinished write, which nobody was told of as stored: dropped. */
  TORN: 'torn',
  /** Bytes of what was safe are not what was written. */
  DAMAGED: 'damaged',
  /** A file, or the end of one, is not there. */
  MISSING: 'missing',
  /** A file that should not be there, with records. */
  UNEXPECTED: 'unexpected',
} as const;
export type FindingKind = (typeof FindingKind)[keyof typeof FindingKind];

export interface StoreFinding {
  readonly kind: FindingKind;
  /** Path in the store's directory. */
  readonly file: string;
  /** First byte that is wrong, and how many are. */
  readonly position: number;
  readonly bytes: number;
  /** Name of the log; empty: the state, or the store itself. */
  readonly log: string;
  /** Records from the one to before the other are concerned (of the state: changes); equal: none, or none that anybody knows of. */
  readonly from: number;
  readonly until: number;
  /** Something that was stored is lost, or could be: the store is not opened without a decision. */
  readonly isLoss: boolean;
  /** A sentence for people. */
  readonly message: string;
}

/** A finding of which nothing more is known than that: something that was stored is lost, as a rule. */
export function finding(
  kind: FindingKind,
  file: string,
  message: string,
  more: Partial<StoreFinding> = {},
): StoreFinding {
  return { kind, file, position: 0, bytes: 0, log: '', from: 0, until: 0, isLoss: true, message, ...more };
}

/** The sentence of a finding, with its place. */
export function textOf(finding: StoreFinding): string {
  const { file, position, message } = finding;
  return `${file}, byte ${position}: ${message}`;
}

/** Thrown when a store is damaged, and nobody has decided what is to become of it. */
export class StoreDamagedError extends JspError {
  readonly findings: readonly StoreFinding[];

  constructor(directory: string, findings: readonly StoreFinding[]) {
    const losses = findings.filter(({ isLoss }) => isLoss);
    const more = losses.length > 1 ? ` (and ${losses.length - 1} more)` : '';
    super(
      'ERR_JSP_STORE_DAMAGED',
      `the store in ${directory} is damaged: ${textOf(losses[0])}${more}. Nothing was changed. See all of it with ` +
        `"jsp store check ${directory}"; "jsp store repair ${directory}" sets bad parts aside and says what is lost`,
    );
    this.findings = findings;
  }
}

/** What to throw where `error` ends work on a store: one of the system gets a code, and what to do; any other is as it was. */
export function storeError(directory: string, error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (error instanceof JspError || code === undefined || syscall === undefined) return error;
  const advice = ADVICE[code] ?? 'Choose another directory, or look at the disk';
  return new JspError('ERR_JSP_STORE_DIRECTORY', `the store in ${directory}: ${message}. ${advice}`, {
    cause: error,
  });
}

const NO_STORE_FOLDER = 'A store has a folder of its own, with nothing else in it: choose another directory';
const NOT_ALLOWED = 'Choose a directory that this user can read and write, or give that one to it';
const ADVICE: Readonly<Record<string, string>> = {
  EEXIST: NO_STORE_FOLDER,
  ENOTDIR: NO_STORE_FOLDER,
  EISDIR: NO_STORE_FOLDER,
  EACCES: NOT_ALLOWED,
  EPERM: NOT_ALLOWED,
  EROFS: NOT_ALLOWED,
  ENOSPC: 'The disk is full: make room, and start again',
};

/** "records 5 to 9 of log orders", or as many as there are words for. */
export function recordsText(log: string, from: number, until: number): string {
  const what = log === '' ? 'change' : 'record';
  const of = log === '' ? 'of the state' : `of log ${log}`;
  if (until <= from) return `no ${what}s ${of}`;
  if (until === from + 1) return `${what} ${from} ${of}`;
  return `${what}s ${from} to ${until - 1} ${of}`;
}
