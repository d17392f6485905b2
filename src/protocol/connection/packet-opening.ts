/**
 * The way in, its first step: a packet of a datagram is opened in place with the keys of its space, those of another generation where its `K`
 * asks for that. What is needed for it, and what was found, lies in a {@link ReceiveScratch}.
 */

import type { Micros } from '../../base/time.ts';
import type { PacketKeys } from '../crypto/packet-keys.ts';
import { openPacket, PHASE_BIT, UnprotectedHeader } from '../crypto/packet-protection.ts';
import { FAILED, LEFT, PacketTable } from '../crypto/packet-table.ts';
import type { ReceiveBatch } from '../datagram/receive-batch.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { EcnCodepoint } from '../wire/frames/ack.ts';
import { CONNECTION_ID_BYTES_MAX, PacketHeader, packetTypeOf, TAG_BYTES } from '../wire/packet-header.ts';
import type { SharedDatagrams } from '../wire/shared-datagrams.ts';
import type { PacketNumberSpace } from './packet-number-space.ts';

/** UPDATED: it opened with the next generation of keys. */
export const OpenResult = { OPENED: 0, FAILED: 1, REPLAYED: 2, UPDATED: 3 } as const;
export type OpenResult = (typeof OpenResult)[keyof typeof OpenResult];

/** A packet that was opened; one object, used again for every packet. */
export class OpenedPacket {
  number = 0;
  packetStart = 0;
  payloadStart = 0;
  payloadEnd = 0;
  /** The `S` bit where it stands, {@link OLD_KEYS}, and the reserved bits, which must be 0. [PKT-16] */
  headerBits = 0;
  /** All of it was taken in, and nobody keeps a view of it. Set by whoever reads its frames. */
  isSpent = false;
}

/** What is needed while a packet is received, used again for the next. */
export class ReceiveScratch {
  readonly header = new PacketHeader();
  readonly reader = new FrameReader();
  readonly unprotected = new UnprotectedHeader();
  readonly opened = new OpenedPacket();
  /** The datagram lies in one memory with others: nobody gets a view of it to keep. */
  isShared = false;
  /** Where it was opened with its batch, what to copy it with; else null. */
  shared: SharedDatagrams | null = null;
  /** The ECN codepoint that the datagram came with. */
  ecn: EcnCodepoint = EcnCodepoint.NOT_ECT;
  /** How long the datagram waited to be read, as far as its socket can tell. */
  waited: Micros = 0;
  /** Where the datagram came from and to, and how large it was; the host is '' where that does not matter. */
  host = '';
  port = 0;
  local = 0;
  bytes = 0;
  readonly sourceId: Uint8Array = new Uint8Array(CONNECTION_ID_BYTES_MAX);
  /** Short packets of a batch that the native addon opens. */
  readonly table = new PacketTable();
  private within: ReceiveScratch | null = null;

  /** What a batch says of a datagram. */
  begin(batch: ReceiveBatch, i: number): void {
    this.isShared = batch.isShared[i] !== 0;
    this.shared = null;
    this.ecn = batch.ecnOf(i);
    this.waited = -batch.arrivedAt(i, 0);
    this.host = batch.host[i];
    this.port = batch.port[i];
    this.local = batch.local[i];
    this.bytes = batch.data[i].length;
  }

  /** For packets that are received from within the one that this is used for. */
  get nested(): ReceiveScratch {
    this.within ??= new ReceiveScratch();
    return this.within;
  }

  /**
   * One that nobody uses. An endpoint needs it while a call lasts, and clients have an endpoint for each connection: their own would be 3 KB of each
   * that is idle.
   */
  static borrow(): ReceiveScratch {
    return FREE.pop() ?? new ReceiveScratch();
  }

  giveBack(): void {
    if (FREE.length < FREE_MAX) FREE.push(this);
  }
}

const FREE: ReceiveScratch[] = [];
/** Of endpoints that take something at the same time, one from within the other. */
const FREE_MAX = 4;

/**
 * Opens the packet at `at` of a space in place, into `scratch.opened`, and marks its number as seen.
 *
 * @param numberStart - where its packet number begins
 * @param end - where it ends, tag included
 */
export function openInto(
  scratch: ReceiveScratch,
  state: PacketNumberSpace,
  data: Uint8Array,
  at: number,
  numberStart: number,
  end: number,
): OpenResult {
  const { opened, unprotected } = scratch;
  const type = packetTypeOf(data[at]);
  const headerKeys = state.keys.toOpen(type);
  if (headerKeys === null) return OpenResult.FAILED;
  if (headerKeys.native !== null) {
    SINGLE.add(at, numberStart, end, headerKeys.native, state.replay.largest);
    SINGLE.open(data);
    SINGLE.clear();
    if (SINGLE.result(0) !== LEFT) return takeOpened(scratch, state, SINGLE, 0, at, end);
  }
  if (!unprotected.unprotect(headerKeys, data, at, numberStart, end, state.replay.largest))
    return OpenResult.FAILED;
  const { number, phase } = unprotected;
  let keys: PacketKeys | null = headerKeys;
  let headerBits = unprotected.symbol | unprotected.reserved;
  let isNext = false;
  if (phase !== headerKeys.phase) {
    const { generations } = state.keys;
    if (generations !== null) {
      keys = generations.other(headerKeys, number);
      if (keys === null) return OpenResult.FAILED; // [PKT-27] its keys are gone
      isNext = generations.isNext(keys);
      if (!isNext) headerBits |= OLD_KEYS;
    } else {
      headerBits |= PHASE_BIT; // [PKT-16] no keys are updated here: the bit is a reserved one
    }
  }
  const payloadEnd = openPacket(keys, data, at, end, unprotected);
  if (payloadEnd < 0) return OpenResult.FAILED;
  if (state.replay.seen(number)) return OpenResult.REPLAYED; // [PKT-9] it came before
  state.replay.mark(number);
  opened.number = number;
  opened.packetStart = at;
  opened.payloadStart = unprotected.payloadStart;
  opened.payloadEnd = payloadEnd;
  opened.headerBits = headerBits;
  return isNext ? OpenResult.UPDATED : OpenResult.OPENED;
}

/**
 * The same for a packet that the native addon took: what it found, and what must not have come before.
 *
 * @param at - where the packet begins in its datagram
 * @param end - where it ends, tag included
 */
export function takeOpened(
  { opened }: ReceiveScratch,
  { replay }: PacketNumberSpace,
  table: PacketTable,
  row: number,
  at: number,
  end: number,
): OpenResult {
  const headerBits = table.result(row);
  if (headerBits === FAILED) return OpenResult.FAILED;
  const number = table.number(row);
  if (replay.seen(number)) return OpenResult.REPLAYED; // [PKT-9] it came before
  replay.mark(number);
  opened.number = number;
  opened.packetStart = at;
  opened.payloadStart = at + table.headerBytes(row);
  opened.payloadEnd = end - TAG_BYTES;
  opened.headerBits = headerBits;
  return OpenResult.OPENED;
}

const SINGLE = new PacketTable();
/** In {@link OpenedPacket.headerBits}: the packet was sealed before the newest key update. No bit of a header stands there. */
export const OLD_KEYS = 0x40;
