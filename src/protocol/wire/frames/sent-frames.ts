import { FrameType, MessageFlag, Space } from '../frame-type.ts';

/**
 * What the packets of one number space carried, as far as it must be known when a packet is acknowledged or lost: a ring of records, each
 * a frame type, a stream and three numbers, whose meaning depends on the type and whose names are those of {@link SentFrame}.
 *
 * The writers of `frames/` record, with the method for the form of their frame. A packet begins with {@link begin} and ends with
 * {@link commit}; its records lie next to each other from then on. Nothing is allocated unless the ring grows, from no room at all before the
 * first record and after a {@link clear}.
 */
export class SentFrames {
  /** Position of the next packet's first record; positions count modulo 2^32. */
  head = 0;
  /** Records of the packet that is being built. */
  private pending = 0;
  private tail = 0;
  private types: Uint8Array = NO_TYPES;
  /** Four numbers a record. */
  private numbers: Float64Array = NO_NUMBERS;
  private mask = -1;
  private readonly capacityMin: number;
  private readonly owner: RecordOwner | null;

  /**
   * @param capacity - size of the ring with the first record, a power of two
   * @param owner - asked to let go of records before the ring grows
   */
  constructor(capacity = 8, owner: RecordOwner | null = null) {
    this.capacityMin = capacity;
    this.owner = owner;
  }

  // ---- recording ----

  /** Begins the records of a packet; those of one that was not committed are forgotten. */
  begin(): void {
    this.pending = 0;
  }

  /** The packet is going out. Returns how many records it has: those at [head, head + count) as of before. */
  commit(): number {
    const count = this.pending;
    this.head = (this.head + count) >>> 0;
    this.pending = 0;
    return count;
  }

  /** A frame of which nothing need be known but that it was sent. */
  plain(type: number): void {
    this.record(type, 0, 0, 0, 0);
  }

  /** A frame that is sent once a stream at most, such as STREAM_FIN. */
  ofStream(type: number, stream: number): void {
    this.record(type, stream, 0, 0, 0);
  }

  /** MESSAGES, ABANDON, DROPPED: a run of messages. */
  run(type: number, stream: number, sequence: number, count: number, space: Space = Space.RELIABLE): void {
    this.record(type, stream, sequence, count, space);
  }

  /** MESSAGE, whole or a part; CRYPTO and ADMITTED, with stream and sequence 0. */
  part(type: number, stream: number, sequence: number, offset: number, length: number): void {
    this.record(type, stream, sequence, offset, length);
  }

  /** MAX_ and BLOCKED frames; those of the connection have stream 0. NEW_ and RETIRE_CONNECTION_ID: with their sequence. */
  limit(type: number, stream: number, limit: number): void {
    this.record(type, stream, limit, 0, 0);
  }

  /** ACK. @param number - of the frame among our ACKs */
  ack(type: number, largest: number, lowest: number, number: number): void {
    this.record(type, 0, largest, lowest, number);
  }

  // ---- reading ----

  /** The record at a position, until the next is read, of any connection: `for (let i = first; i < first + count; i++) read(i)`. */
  read(position: number): SentFrame {
    const i = position & this.mask;
    const { numbers } = this;
    FRAME.set(this.types[i], numbers[4 * i], numbers[4 * i + 1], numbers[4 * i + 2], numbers[4 * i + 3]);
    return FRAME;
  }

  // ---- memory ----

  /** Forgets all records before this position. */
  forgetBefore(position: number): void {
    this.tail = position;
  }

  /** Forgets all records, and gives memory back. */
  clear(): void {
    this.tail = this.head;
    this.pending = 0;
    this.types = NO_TYPES;
    this.numbers = NO_NUMBERS;
    this.mask = -1;
  }

  // ---- inside ----

  private record(type: number, stream: number, a: number, b: number, c: number): void {
    const position = this.head + this.pending;
    if ((position - this.tail) >>> 0 > this.mask) this.makeRoom();
    const i = position & this.mask;
    const { numbers } = this;
    this.types[i] = type;
    numbers[4 * i] = stream;
    numbers[4 * i + 1] = a;
    numbers[4 * i + 2] = b;
    numbers[4 * i + 3] = c;
    this.pending++;
  }

  private makeRoom(): void {
    if (this.mask >= 0) this.owner?.onRecordsFull();
    // At least half of the ring is free after it was cleared or grew, so that neither is frequent.
    const used = (this.head + this.pending - this.tail) >>> 0;
    if (2 * used > this.mask) this.resize(Math.max(2 * (this.mask + 1), this.capacityMin));
  }

  private resize(capacity: number): void {
    const mask = capacity - 1;
    const types = new Uint8Array(capacity);
    const numbers = new Float64Array(capacity * 4);
    const used = (this.head + this.pending - this.tail) >>> 0;
    for (let k = 0; k < used; k++) {
      const from = (this.tail + k) & this.mask;
      const to = (this.tail + k) & mask;
      types[to] = this.types[from];
      for (let n = 0; n < 4; n++) numbers[4 * to + n] = this.numbers[4 * from + n];
    }
    this.types = types;
    this.numbers = numbers;
    this.mask = mask;
  }
}

/** Who knows which records are needed no more, and says so with {@link SentFrames.forgetBefore}. */
export interface RecordOwner {
  onRecordsFull(): void;
}

/** A frame that was sent, as its record has it. Fields that its form does not have mean nothing. */
export class SentFrame {
  /** A `FrameType`; of a MESSAGE only the flags BEST_EFFORT and FRAGMENT are kept. */
  type = 0;
  /** 0 for a frame that is of no stream. */
  stream = 0;
  private a = 0;
  private b = 0;
  private c = 0;

  /** MESSAGE; MESSAGES, ABANDON, DROPPED: the first one. */
  get sequence(): number {
    return this.a;
  }

  /** MESSAGES, ABANDON, DROPPED: how many messages. */
  get count(): number {
    return this.b;
  }

  /** Sequence of the last message that the frame has whole; -1 when it has none. */
  get lastMessage(): number {
    if (this.type >= FrameType.MESSAGES && this.type <= FrameType.MESSAGES_BEST_EFFORT)
      return this.a + this.b - 1;
    const isMessage = this.type >= FrameType.MESSAGE && this.type < FrameType.MESSAGES;
    return isMessage && (this.type & MessageFlag.FRAGMENT) === 0 ? this.a : -1;
  }

  /** MESSAGE, CRYPTO, ADMITTED: where the part begins. */
  get offset(): number {
    return this.b;
  }

  /** MESSAGE, CRYPTO, ADMITTED: of the part. */
  get length(): number {
    return this.c;
  }

  /** DROPPED. */
  get space(): Space {
    return this.c as Space;
  }

  /** MAX_ and BLOCKED frames; NEW_ and RETIRE_CONNECTION_ID: the sequence. */
  get limit(): number {
    return this.a;
  }

  /** ACK: the largest packet number that it told. */
  get largest(): number {
    return this.a;
  }

  /** ACK: the lowest packet number that it told. */
  get lowest(): number {
    return this.b;
  }

  /** ACK: number of the frame among our ACKs. */
  get number(): number {
    return this.c;
  }

  /** True for best-effort messages, which are sent once only. */
  get isBestEffort(): boolean {
    return this.type >= FrameType.MESSAGE && (this.type & MessageFlag.BEST_EFFORT) !== 0; // in MESSAGES it is the same bit
  }

  /** Filled by {@link SentFrames.read}. */
  set(type: number, stream: number, a: number, b: number, c: number): void {
    this.type = type;
    this.stream = stream;
    this.a = a;
    this.b = b;
    this.c = c;
  }
}

const NO_TYPES = new Uint8Array(0);
const NO_NUMBERS = new Float64Array(0);
const FRAME = new SentFrame();
