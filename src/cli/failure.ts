import { CommanderError } from 'commander';
import { printable } from '../base/errors.ts';
import { CommandError } from './command-error.ts';
import { coloursOf } from './terminal.ts';

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

/** The line for an error with a code; an error without one is a bug of ours, and comes with its stack. */
function failureText(error: unknown): string {
  const { message, code, stack } = error as Error & { code?: unknown };
  return typeof code === 'string'
    ? failureLine(printable(message), printable(code))
    : failureLine(stack ?? String(error), 'ERR_JSP_BUG');
}

export function failureLine(message: string, code: string): string {
  return `${coloursOf(process.stderr).red('jsp:')} ${message.trim()} (${code})\n`;
}

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
