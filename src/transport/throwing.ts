/** Nobody but the process, or the page, can take it: it goes where an exception goes that nothing catches. */
export function throwByItself(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
