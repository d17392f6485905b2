import type { RandomSource } from '../../../src/base/random.ts';

/** A random source that gives these bytes, one piece for each draw, and insists on their lengths. */
export class ScriptedRandom implements RandomSource {
  private readonly pieces: Uint8Array[];

  constructor(pieces: Uint8Array[]) {
    this.pieces = [...pieces];
  }

  /** How many pieces are left. */
  get left(): number {
    return this.pieces.length;
  }

  fill(target: Uint8Array): void {
    const piece = this.pieces.shift();
    if (piece?.length !== target.length) {
      throw new Error(`a draw of ${target.length} bytes, but the script has ${piece?.length ?? 'no more'}`);
    }
    target.set(piece);
  }
}
