import type { MemoryAccount } from '../../base/memory-budget.ts';
import type { Micros } from '../../base/time.ts';
import { type RecoveredSymbol, RepairCounts, RepairDecoder } from '../fec/repair-decoder.ts';
import { RecoveredNumbers } from '../recovery/recovered-packets.ts';
import { CloseCode } from '../wire/close-code.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { FrameType } from '../wire/frame-type.ts';
import { isAheadOfSymbol, nextFrame } from '../wire/frames/index.ts';

/**
 * What a connection keeps of its peer's symbols and repairs, and makes of them. While the peer protects nothing this is an empty shell; the
 * decoder comes with the first symbol, and takes memory as there is some. [FEC-40] [CON-50]
 */
export class IncomingRepairs {
  /** What was recovered and is still to be told. */
  readonly recovered = new RecoveredNumbers();

  private readonly bytesMax: number;
  private readonly memory: MemoryAccount;
  private decoder: RepairDecoder | null = null;
  private symbolReader: FrameReader | null = null;

  /** @param bytesMax - what the peer was told */
  constructor(bytesMax: number, memory: MemoryAccount) {
    this.bytesMax = bytesMax;
    this.memory = memory;
  }

  /** Bytes that the peer makes us keep. */
  get memoryBytes(): number {
    return this.decoder?.charged ?? 0;
  }

  /** Reads symbols; those that were recovered are read with it again when they are taken. */
  get reader(): FrameReader {
    this.symbolReader ??= new FrameReader();
    return this.symbolReader;
  }

  get counts(): RepairCounts {
    return this.decoder?.counts ?? NO_COUNTS;
  }

  /** A packet with the `S` bit came, whose payload is data[start, end): keeps its symbol. [FEC-41] [FEC-42] */
  onPacket(number: number, data: Uint8Array, start: number, end: number, now: Micros): void {
    if (this.recovered.size > 0) this.recovered.onArrived(number);
    const decoder = this.begun();
    const at = symbolStartIn(this.reader, data, start, end);
    if (at < end) decoder.onSymbol(number, data, at, end, now);
  }

  /** The reader stands at a REPAIR frame of the packet `carrying`. Returns 0 or a close code. */
  onRepair(frame: FrameReader, carrying: number): number {
    return this.begun().onRepair(frame, carrying) ? 0 : CloseCode.FRAME_ENCODING_ERROR;
  }

  /** A symbol that was recovered, is a payload [FEC-29] and in time for sure; null when there is none (any more). */
  take(now: Micros): RecoveredSymbol | null {
    const { decoder } = this;
    if (decoder === null) return null;
    for (let symbol = decoder.poll(); symbol !== null; symbol = decoder.poll()) {
      if (!isPayload(this.reader, symbol.bytes)) decoder.onCorrupt();
      else if (!mayBeLate(this.reader, symbol.bytes, now - symbol.arrivedAt)) {
        return symbol.arrivedAt === Number.NEGATIVE_INFINITY ? { ...symbol, arrivedAt: now } : symbol;
      }
    }
    return null;
  }

  /** Gives memory back where the newest 65 packets up to `largest`, or all to come, have no symbols. [FEC-26] */
  trim(largest = Number.POSITIVE_INFINITY): void {
    this.decoder?.trim(largest);
  }

  /** The connection is over. */
  forget(): void {
    this.decoder?.clear();
    this.decoder = null;
  }

  private begun(): RepairDecoder {
    this.decoder ??= new RepairDecoder(this.bytesMax, this.memory);
    return this.decoder;
  }
}

/**
 * Whether a recovered frame is taken as if it had come. Those are not that speak of the packet or of the moment rather than of the streams:
 * the packet did not come, and the moment is over. [FEC-44]
 */
export function outlivesPacket(type: number): boolean {
  switch (type) {
    case FrameType.PADDING:
    case FrameType.PING:
    case FrameType.ACK:
    case FrameType.ACK_ECN:
    case FrameType.ACK_RECOVERED:
    case FrameType.ACK_ECN_RECOVERED:
    case FrameType.HEARTBEAT:
    case FrameType.PATH_CHALLENGE:
    case FrameType.PATH_RESPONSE:
    case FrameType.CONNECTION_CLOSE:
      return false;
    default:
      return true;
  }
}

/** Where the symbol begins of a payload that was read without an error. [FEC-42] */
function symbolStartIn(reader: FrameReader, data: Uint8Array, start: number, end: number): number {
  reader.reset(data, start, end);
  let at = start;
  while (nextFrame(reader) && isAheadOfSymbol(reader.type)) at = reader.at;
  return at;
}

/** Whether the bytes are frames, and no repair among them: what repairs are made of holds none. */
function isPayload(reader: FrameReader, bytes: Uint8Array): boolean {
  reader.reset(bytes, 0, bytes.length);
  while (nextFrame(reader)) {
    if (reader.type === FrameType.REPAIR) return false;
  }
  return reader.error === 0;
}

/**
 * Whether a message of the payload may be past its deadline, for all that is known of when the packet would have come. It is not recovered,
 * then: it would be taken for expired, and told as there, while it may be in time when it is sent again. [FEC-44]
 */
function mayBeLate(reader: FrameReader, bytes: Uint8Array, age: Micros): boolean {
  reader.reset(bytes, 0, bytes.length);
  while (nextFrame(reader)) {
    const isMessage = (reader.type & MESSAGE_MASK) === FrameType.MESSAGE;
    if (isMessage && reader.remaining >= 0 && reader.remaining <= age) return true;
  }
  return false;
}

/** Of a type: without the flags of a MESSAGE. */
const MESSAGE_MASK = 0xf0;
const NO_COUNTS = new RepairCounts();
