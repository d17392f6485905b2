import { CommandError } from './command-error.ts';

/**
 * Refuses an argument that was not UTF-8. Node gives it with U+FFFD in the place of its bytes, so that something else would be published, or
 * subscribed to, than was written.
 *
 * @param what - which argument, as the subject of a sentence
 * @throws CommandError ERR_JSP_USAGE
 */
export function assertUtf8(argument: string, what: string): void {
  if (!argument.includes('\ufffd')) return;
  throw new CommandError(
    'ERR_JSP_USAGE',
    `${what} has bytes that are not UTF-8: other bytes than text can be published from stdin, to a topic that is text`,
  );
}
