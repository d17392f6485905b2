/**
 * Iterations over what comes now and then. Any number may go on at once, each of which gets a part; and unlike that of an async generator,
 * `return` ends a `next` that waits, so that whoever has waited long enough can leave: a race with a timer, or `Readable.from`.
 */
export class Iterations<T> {
  private readonly take: () => IteratorResult<T, undefined> | null;
  private waiting: (() => void)[] = [];

  /** @param take - what is there, or the end; null when nothing is there yet. What it throws ends the iteration */
  constructor(take: () => IteratorResult<T, undefined> | null) {
    this.take = take;
  }

  begin(): AsyncIterableIterator<T> {
    let isOver = false;
    const over = (): IteratorReturnResult<undefined> => {
      isOver = true;
      return { done: true, value: undefined };
    };
    const next = async (): Promise<IteratorResult<T, undefined>> => {
      while (!isOver) {
        const result = this.takeOrEnd(over);
        if (result !== null) return result;
        await new Promise<void>((resolve) => this.waiting.push(resolve));
      }
      return over();
    };
    const end = async (): Promise<IteratorReturnResult<undefined>> => {
      over();
      this.wake();
      return over();
    };
    return {
      next,
      return: end,
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** Something came, or is over: all that wait look again. */
  wake(): void {
    if (this.waiting.length === 0) return;
    const waiting = this.waiting;
    this.waiting = [];
    for (const resume of waiting) resume();
  }

  private takeOrEnd(over: () => void): IteratorResult<T, undefined> | null {
    try {
      const result = this.take();
      if (result?.done === true) over();
      return result;
    } catch (error) {
      over();
      throw error;
    }
  }
}
