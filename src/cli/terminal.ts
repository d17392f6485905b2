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

/** One line for people: what a command has to say besides its output. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

export function warn(text: string): void {
  note(`${coloursOf(process.stderr).yellow('warning:')} ${text}`);
}

function style(on: number, off: number): (text: string) => string {
  return (text) => `\x1b[${on}m${text}\x1b[${off}m`;
}

const ANSI: Colours = { bold: style(1, 22), dim: style(2, 22), red: style(31, 39), yellow: style(33, 39) };
const same = (text: string): string => text;
const PLAIN: Colours = { bold: same, dim: same, red: same, yellow: same };
