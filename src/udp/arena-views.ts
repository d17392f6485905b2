/** Views into an arena, remembered by index: in bulk transfer the n-th datagram is at the same place every time. */
export class ArenaViews {
  private readonly arena: Uint8Array;
  private readonly offset: Int32Array;
  private readonly length: Int32Array;
  private readonly view: Uint8Array[] = [];

  constructor(arena: Uint8Array, datagramsMax: number) {
    this.arena = arena;
    this.offset = new Int32Array(datagramsMax).fill(-1);
    this.length = new Int32Array(datagramsMax);
  }

  /** The view of `length` bytes at `offset`, for the datagram at `index` of its batch. */
  at(index: number, offset: number, length: number): Uint8Array {
    if (this.offset[index] === offset && this.length[index] === length) return this.view[index];
    const view = new Uint8Array(this.arena.buffer, this.arena.byteOffset + offset, length);
    this.offset[index] = offset;
    this.length[index] = length;
    this.view[index] = view;
    return view;
  }
}
