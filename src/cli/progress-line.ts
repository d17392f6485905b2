/** What a long command is doing: on a terminal a line with a bar that changes in place, elsewhere a line for each step. */
import { coloursOf, type TerminalStream } from './terminal.ts';

/** Where progress is shown; stderr is one. */
export interface ProgressStream extends TerminalStream {
  readonly columns?: number;
  write(text: string): unknown;
}

export class ProgressLine {
  private readonly stream: ProgressStream;
  private text = '';
  private detail = '';
  private seconds = 0;
  private startedAt = 0;
  private timer: NodeJS.Timeout | undefined;
  private isShown = false;

  constructor(stream: ProgressStream) {
    this.stream = stream;
  }

  /** Another step begins, which takes about so long. */
  begin(text: string, seconds: number): void {
    this.text = text;
    this.detail = '';
    this.seconds = seconds;
    this.startedAt = performance.now();
    if (this.stream.isTTY !== true) {
      this.stream.write(`${text}\n`);
      return;
    }
    this.timer ??= setInterval(() => this.draw(), REDRAW_MS).unref();
    this.draw();
  }

  /** What is to be seen beside the bar. */
  note(detail: string): void {
    this.detail = detail;
  }

  /** Prints what stays, above the line. */
  above(print: () => void): void {
    this.clear();
    print();
  }

  end(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.clear();
  }

  private draw(): void {
    const { columns = 80 } = this.stream;
    const { bold, dim } = coloursOf(this.stream);
    const share = Math.min(1, (performance.now() - this.startedAt) / 1e3 / Math.max(this.seconds, 0.001));
    const done = Math.round(share * BAR_COLUMNS);
    const bar = `${'█'.repeat(done)}${'░'.repeat(BAR_COLUMNS - done)}`;
    const text = this.text.slice(0, Math.max(0, columns - BAR_COLUMNS - 3));
    const room = columns - BAR_COLUMNS - text.length - 5;
    const detail = room > 10 ? this.detail.slice(0, room) : '';
    this.stream.write(`\r\x1b[2K${bar} ${bold(text)}${detail === '' ? '' : `  ${dim(detail)}`}`);
    this.isShown = true;
  }

  private clear(): void {
    if (this.isShown) this.stream.write('\r\x1b[2K');
    this.isShown = false;
  }
}

const BAR_COLUMNS = 20;
const REDRAW_MS = 100;
