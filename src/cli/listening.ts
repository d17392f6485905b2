/** What commands that listen have in common: the address that others are told, and what to do when the own one cannot be had. */
import { InvalidArgumentError } from 'commander';
import { JspError } from '../base/errors.ts';
import { parseAdvertised } from '../transport/url.ts';

/** The argument of `--advertise`. */
export function advertised(text: string): string {
  try {
    parseAdvertised(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/**
 * Why it does not listen, with what to do next where that is known.
 *
 * @param adviceFor - by the code of the system's error
 */
export function listeningError(error: unknown, adviceFor = ADVICE): unknown {
  const reason =
    error instanceof JspError ? (error.cause as NodeJS.ErrnoException | undefined)?.code : undefined;
  const advice = adviceFor[reason ?? ''];
  if (advice === undefined) return error;
  return new JspError('ERR_JSP_SOCKET', `${(error as JspError).message}. ${advice}`, { cause: error });
}

/** What to do where an address that an option names as a whole cannot be had. */
export function addressAdvice(flag: string, program = 'Another program'): Readonly<Record<string, string>> {
  return {
    EADDRINUSE: `${program} has this port: stop it, or choose another with ${flag}.`,
    EADDRNOTAVAIL: `This machine has no such address: choose one of its own with ${flag}.`,
    EACCES: `Ports below 1024 need privileges: choose another with ${flag}.`,
  };
}

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE:
    'Another program, perhaps another server of jsp, has this port: stop it, or choose another with --port.',
  EADDRNOTAVAIL: 'This machine has no such address: choose one of its own with --host.',
  EACCES: 'Ports below 1024 need privileges: choose another with --port.',
  ENOTFOUND: 'Pass an address of this machine with --host.',
};
