/** A reused, growing list of packet numbers: how an acknowledgement's results are handed out without allocating. */
export class PacketList {
  count = 0;
  /** Only the first {@link count} are meaningful. Replaced when it grows: do not keep a reference. */
  numbers: Float64Array = new Float64Array(8);

  push(number: number): void {
    if (this.count === this.numbers.length) {
      const grown = new Float64Array(this.count * 2);
      grown.set(this.numbers);
      this.numbers = grown;
    }
    this.numbers[this.count++] = number;
  }

  clear(): void {
    this.count = 0;
  }
}
