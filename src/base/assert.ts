/** Thrown when an invariant of this library is broken: always our bug, never bad input. */
export class AssertionFailure extends Error {
  override readonly name = 'AssertionFailure';
}

/** Throws {@link AssertionFailure} when `condition` is false. For our own invariants only, never for input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionFailure(`jetstream-proto bug: ${message}`);
}
