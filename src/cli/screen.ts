/** The whole terminal, for commands that show something that moves. */

/** It looks as before when the command is over, however that ends. */
export class Screen {
  private readonly linesOf: (size: { columns: number; rows: number }) => readonly string[];
  private readonly onKey: (key: string) => void;
  private isRestored = false;

  /**
   * @param linesOf - what it shows
   * @param onKey - told of each key that is pressed; then it is drawn anew
   */
  constructor(
    linesOf: (size: { columns: number; rows: number }) => readonly string[],
    onKey: (key: string) => void,
  ) {
    this.linesOf = linesOf;
    this.onKey = onKey;
    process.on('exit', this.restore); // also of a crash
    process.stdout.write(ENTER);
    process.stdout.on('resize', this.draw);
    const { stdin } = process;
    if (!stdin.isTTY) return;
    stdin.setRawMode(true);
    stdin.setEncoding('utf8');
    stdin.on('data', this.onKeys);
  }

  readonly draw = (): void => {
    if (this.isRestored) return;
    const { columns, rows } = process.stdout;
    const lines = this.linesOf({ columns, rows });
    process.stdout.write(`${HOME}${lines.map((line) => line + CLEAR_LINE).join('\r\n')}${CLEAR_BELOW}`);
  };

  readonly restore = (): void => {
    if (this.isRestored) return;
    this.isRestored = true;
    process.off('exit', this.restore);
    process.stdout.off('resize', this.draw);
    const { stdin } = process;
    if (stdin.isTTY) {
      stdin.off('data', this.onKeys);
      stdin.setRawMode(false);
    }
    process.stdout.write(LEAVE);
  };

  private readonly onKeys = (text: string): void => {
    for (const key of keysOf(text)) this.onKey(key);
    this.draw();
  };
}

/** A wait that keys and signals can end. */
export class Waiter {
  isOver = false;
  private resume: () => void = () => {};

  async wait(ms: number): Promise<void> {
    if (this.isOver) return;
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.resume = resolve;
      timer = setTimeout(resolve, ms);
    });
    clearTimeout(timer);
  }

  /** Looks at once. */
  wake(): void {
    this.resume();
  }

  quit(): void {
    this.isOver = true;
    this.resume();
  }
}

/** Single keys, of which arrows come as three characters: several may have come at once. */
function keysOf(text: string): string[] {
  const [first, ...arrows] = text.split(ARROW);
  return [...first, ...arrows.flatMap((rest) => [ARROW + rest.slice(0, 1), ...rest.slice(1)])];
}

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const CLEAR_LINE = '\x1b[K';
const CLEAR_BELOW = '\x1b[J';
const ARROW = '\x1b[';
