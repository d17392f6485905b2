import { printable } from '../base/errors.ts';

/** What makes a command fail that is not the library's to report. */
export type CommandErrorCode =
  | 'ERR_JSP_URL_MISSING'
  | 'ERR_JSP_STATE_DIRECTORY'
  | 'ERR_JSP_FILE'
  | 'ERR_JSP_INPUT_TOO_LARGE'
  | 'ERR_JSP_USAGE';

/** An error of the command line: a sentence that says what to do next, and a stable `code`. */
export class CommandError extends Error {
  readonly code: CommandErrorCode;

  constructor(code: CommandErrorCode, message: string, options?: ErrorOptions) {
    super(printable(message), options);
    this.code = code;
  }
}
