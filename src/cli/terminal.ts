import { fstatSync, writeSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { CommanderError } from 'commander';
import { printable, printableJson } from '../base/errors.ts';

/**
 * What a command has to do with its terminal and with the system that runs it: lines of output, notes and colours, the signals that stop it, and
 * how it ends when something failed.
 */

/** What a terminal stream has that decides about colours. */
export interface TerminalStream {
  readonly isTTY?: boolean;
}

export interface Colours {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
  yellow(text: string): string;
}

/** Colours for a stream that is a terminal; none for pipes and files, with `NO_COLOR` set to anything, or on a dumb terminal. */
export function coloursOf(stream: TerminalStream, environment = process.env): Colours {
  const coloured = stream.isTTY === true && !environment.NO_COLOR && environment.TERM !== 'dumb';
  return coloured ? ANSI : PLAIN;
}

/** A line of a command's output. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** A line of it for machines; what came from elsewhere cannot act on a terminal that it is shown on. */
export function printJson(value: object): void {
  print(printableJson(JSON.stringify(value)));
}

/**
 * Breaks the prose of a help text between words, so that a terminal does not within one: lines that are not indented, where one that ends a sentence is the
 * last of its paragraph. What is indented, such as options and examples, stays as it is.
 */
export function wrapProse(text: string, width: number): string {
  return text.replace(PARAGRAPH, (paragraph) => {
    let column = 0;
    return paragraph.replace(/(\s*)(\S+)/g, (_, space: string, word: string) => {
      const fits = column + 1 + word.length <= width;
      const before = space === '' ? '' : fits ? ' ' : '\n';
      column = before === ' ' ? column + 1 + word.length : word.length;
      return before + word;
    });
  });
}

/** One line for people: what a command has to say besides its output. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function warn(text: string): void {
  note(`${coloursOf(process.stderr).yellow('warning:')} ${text}`);
}

/**
 * Calls `stop` at the first SIGINT, SIGTERM or SIGHUP, or other `signals`, once. A second one ends the process at once, as if nothing had been said.
 *
 * A SIGTERM to `npx jsp` ends npm and the shell it has started, and that shell passes nothing on. So a process that npm has started
 * also stops when its parent is gone.
 *
 * @returns a function that takes this back
 */
export function onStopSignal(
  stop: (signal: NodeJS.Signals) => void,
  signals: readonly NodeJS.Signals[] = STOP_SIGNALS,
): () => void {
  const parent = process.ppid;
  const startedByNpm = process.env.npm_command !== undefined;
  const watch = startedByNpm ? setInterval(onWatch, PARENT_CHECK_MS).unref() : undefined;

  function forget(): void {
    clearInterval(watch);
    for (const signal of signals) process.off(signal, onSignal);
  }
  function onSignal(signal: NodeJS.Signals): void {
    forget();
    stop(signal);
  }
  function onWatch(): void {
    if (process.ppid !== parent) onSignal('SIGTERM');
  }

  for (const signal of signals) process.on(signal, onSignal);
  return forget;
}

/** What makes a command fail that is not the library's to report. */
export type CommandErrorCode =
  | 'ERR_JSP_URL_MISSING'
  | 'ERR_JSP_STATE_DIRECTORY'
  | 'ERR_JSP_FILE'
  | 'ERR_JSP_INPUT_TOO_LARGE'
  | 'ERR_JSP_SAMPLES'
  | 'ERR_JSP_NOT_A_BENCH_SERVER'
  | 'ERR_JSP_NOT_STORED'
  | 'ERR_JSP_BENCH_BUSY'
  | 'ERR_JSP_BENCH_REFUSED'
  | 'ERR_JSP_BENCH_INTERRUPTED'
  | 'ERR_JSP_NOT_ALLOWED'
  | 'ERR_JSP_NOT_FOUND'
  | 'ERR_JSP_USAGE';

/** An error of the command line: a sentence that says what to do next, and a stable `code`. */
export class CommandError extends Error {
  readonly code: CommandErrorCode;

  constructor(code: CommandErrorCode, message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.code = code;
  }
}

/** Why a file that a command was told to write is not written. */
export function cannotWrite(path: string, error: unknown): CommandError {
  const { message } = error as Error;
  return new CommandError('ERR_JSP_FILE', `cannot write ${path}: ${message}`, { cause: error });
}

/** Says in one line what went wrong, and ends the process at once: a failed command may have a socket or stdin open. */
export function endWith(error: unknown): void {
  if (error instanceof CommanderError) {
    // Commander has printed its message, or the help that was asked for.
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
    return;
  }
  const exitCode =
    error instanceof CommandError && error.code === 'ERR_JSP_USAGE' ? EXIT_USAGE : EXIT_FAILURE;
  process.stderr.write(failureText(error), () => process.exit(exitCode));
}

/**
 * For errors of stdout. That its reader has gone, as `head` does, is no failure; a command that has more to end than the process listens
 * for itself.
 */
export function endWithoutReader(error: NodeJS.ErrnoException): void {
  if (process.stdout.listenerCount('error') > 1) return;
  if (error.code === 'EPIPE') process.exit(0);
  else endWith(error);
}

/**
 * For a command whose output only tells of its work: that its reader has gone does not end it.
 *
 * @returns a function that throws what else has befallen the output, such as a full disk
 */
export function outliveReader(): () => void {
  let failure: Error | null = null;
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') failure ??= error;
  });
  return () => {
    if (failure !== null) throw failure;
  };
}

/**
 * Has all of each chunk written where `stream`, one of the process, is a file: of a disk that fills up Node takes a part for all of it, without a word.
 *
 * @param write - as `writeSync`
 */
export function writeWholly(stream: Writable & { readonly fd: number }, write = writeSync): void {
  if (!isFile(stream.fd)) return;
  stream._write = (chunk: Uint8Array, _, done) => {
    try {
      for (let at = 0; at < chunk.length; ) at += write(stream.fd, chunk, at);
    } catch (error) {
      done(error as Error);
      return;
    }
    done();
  };
}

function isFile(descriptor: number): boolean {
  try {
    return fstatSync(descriptor).isFile();
  } catch {
    return false; // it was closed before this process began
  }
}

export function failureLine(message: string, code: string): string {
  return `${coloursOf(process.stderr).red('jsp:')} ${message.trim()} (${code})\n`;
}

/** The line for an error with a code; an error without one is a bug of ours, and comes with its stack. */
export function failureText(error: unknown): string {
  const { message, code, stack, faults } = error as Error & { code?: unknown; faults?: readonly string[] };
  // [CFG-3] all faults of a configuration, a line each
  if (typeof code === 'string' && code === 'ERR_JSP_CONFIG' && faults !== undefined)
    return faults.map((fault) => failureLine(printable(fault), code)).join('');
  return typeof code === 'string'
    ? failureLine(printable(message), printable(code))
    : failureLine((stack ?? String(error)).split('\n').map(printable).join('\n'), 'ERR_JSP_BUG');
}

function style(on: number, off: number): (text: string) => string {
  return (text) => `\x1b[${on}m${text}\x1b[${off}m`;
}

const ANSI: Colours = { bold: style(1, 22), dim: style(2, 22), red: style(31, 39), yellow: style(33, 39) };
const same = (text: string): string => text;
const PLAIN: Colours = { bold: same, dim: same, red: same, yellow: same };
/** Lines that are not indented, up to one that ends a sentence. */
const PARAGRAPH = /^\S.*(?:(?<![.:])\n\S.*)*/gm;
/** SIGHUP: the terminal was closed. */
export const STOP_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
const PARENT_CHECK_MS = 250;
const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
