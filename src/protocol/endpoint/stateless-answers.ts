/**
 * What a server says to those of whom it keeps nothing, each in one datagram that is smaller than what it answers, and not more often
 * than so many times a second:
 *
 * - {@link StatelessAnswers.refuse}: there is no room for another connection, or the server is closing [CON-40];
 * - {@link StatelessAnswers.retry}: a client is to show where it is before anything is done for it [HS-30];
 * - {@link StatelessAnswers.versions}: nobody here speaks the version of a packet [INV-5];
 * - {@link StatelessAnswers.reset}: the connection of a packet is not known here, perhaps because the server was started anew [PKT-24].
 */

import { NO_BYTES } from '../../base/bytes.ts';
import { type RandomSource, randomBytes } from '../../base/random.ts';
import { Ring } from '../../base/ring.ts';
import { type Micros, RateLimit } from '../../base/time.ts';
import { resetToken } from '../crypto/identity.ts';
import type { PacketKeys } from '../crypto/packet-keys.ts';
import { sealPacket } from '../crypto/packet-protection.ts';
import type { TransmitBatch } from '../datagram/transmit-batch.ts';
import type { EndpointCounters } from '../trace/counters.ts';
import { CONTROL_FRAME_BYTES_MAX, FrameWriter } from '../wire/frame-writer.ts';
import { writeConnectionClose } from '../wire/frames/connection-close.ts';
import {
  FIXED_BIT,
  longHeaderSize,
  PacketType,
  RESET_TOKEN_BYTES,
  TAG_BYTES,
  writeLongHeader,
  writePacketLength,
} from '../wire/packet-header.ts';
import { versionPacket } from '../wire/version-packet.ts';

/** Where a datagram came from, and to which of our addresses. */
export interface Way {
  readonly host: string;
  readonly port: number;
  readonly local: number;
}

interface Answer {
  readonly data: Uint8Array;
  readonly way: Way;
}

export class StatelessAnswers {
  private readonly random: RandomSource;
  private readonly counters: EndpointCounters;
  private readonly resetKey: Uint8Array | null;
  private readonly waiting = new Ring<Answer>();
  private readonly refusals = new RateLimit(REFUSALS_PER_SECOND, REFUSALS_PER_SECOND / 2);
  private readonly resets = new RateLimit(RESETS_PER_SECOND, RESETS_PER_SECOND / 2);
  private readonly versionPackets = new RateLimit(VERSION_PACKETS_PER_SECOND, VERSION_PACKETS_PER_SECOND / 2);

  /** @param resetKey - of {@link resetToken}; null: nothing is ever reset */
  constructor(random: RandomSource, counters: EndpointCounters, resetKey: Uint8Array | null) {
    this.random = random;
    this.counters = counters;
    this.resetKey = resetKey;
  }

  get pending(): boolean {
    return this.waiting.length > 0;
  }

  /** Whether one more first packet is worth being opened only to be refused. */
  mayRefuse(now: Micros): boolean {
    return this.waiting.length < WAITING_MAX && this.refusals.take(now);
  }

  /**
   * CONNECTION_CLOSE in an Initial packet.
   * @param seal - keys that follow from `scid`, which nobody else was given
   * @param dcid - the client's source id
   */
  refuse(
    code: number,
    seal: PacketKeys,
    ids: { dcid: Uint8Array; scid: Uint8Array; unpinned: boolean },
    way: Way,
  ): void {
    const { dcid, scid, unpinned } = ids;
    const headerBytes = longHeaderSize(PacketType.INITIAL, dcid.length, scid.length, 0, 1);
    const out = new Uint8Array(headerBytes + CONTROL_FRAME_BYTES_MAX + TAG_BYTES);
    const start = writeLongHeader(out, 0, PacketType.INITIAL, unpinned, dcid, scid, NO_BYTES, 0, 1);
    const frames = new FrameWriter();
    frames.begin(out, start, out.length - TAG_BYTES);
    writeConnectionClose(frames, 0, code, 0, NO_BYTES);
    const end = frames.at;
    writePacketLength(out, start - 1, end + TAG_BYTES);
    sealPacket(seal, out, 0, start - 1, end, 0);
    this.counters.connectionsRefused++;
    this.waiting.push({ data: out.subarray(0, end + TAG_BYTES), way });
  }

  /** Sends a Retry, of which whoever asked for it has limited how many there are. */
  retry(packet: Uint8Array, way: Way): void {
    if (this.waiting.length >= RETRIES_WAITING_MAX) {
      this.counters.retriesSuppressed++;
      return;
    }
    this.counters.retriesSent++;
    this.waiting.push({ data: packet, way });
  }

  /** Answers a packet of a version that is not spoken here. */
  versions(dcid: Uint8Array, scid: Uint8Array, way: Way, now: Micros): void {
    if (this.waiting.length >= WAITING_MAX || !this.versionPackets.take(now)) return;
    this.counters.versionPacketsSent++;
    this.waiting.push({ data: versionPacket(dcid, scid, randomBytes(this.random, 5)), way });
  }

  /** Answers a short packet whose id, which begins at its second byte, is no connection's. */
  reset(packet: Uint8Array, idBytes: number, way: Way, now: Micros): void {
    if (this.resetKey === null || packet.length <= RESET_BYTES_MIN) return;
    if (this.waiting.length >= WAITING_MAX || !this.resets.take(now)) {
      this.counters.statelessResetsSuppressed++;
      return;
    }
    const bytes = randomBytes(this.random, RESET_BYTES_MIN + RESET_BYTES_SPREAD);
    const length = Math.min(
      packet.length - 1,
      RESET_BYTES_MIN + (bytes[bytes.length - 1] % RESET_BYTES_SPREAD),
    );
    const data = bytes.subarray(0, length);
    data[0] = FIXED_BIT | (data[0] & SHORT_BITS);
    data.set(resetToken(this.resetKey, packet.subarray(1, 1 + idBytes)), length - RESET_TOKEN_BYTES);
    this.counters.statelessResetsSent++;
    this.waiting.push({ data, way });
  }

  /** Puts the answers that wait into the batch, as many as it has room for. */
  write(batch: TransmitBatch): void {
    for (let answer = this.waiting.peek(); answer !== undefined; answer = this.waiting.peek()) {
      const { data, way } = answer;
      if (!batch.hasRoom(data.length)) return;
      batch.arena.set(data, batch.used);
      batch.push(data.length, way.host, way.port, way.local);
      this.waiting.shift();
    }
  }
}

/** [PKT-22] The smallest stateless reset; a packet must be larger to be answered by one. */
export const RESET_BYTES_MIN = 21 + RESET_TOKEN_BYTES;
/** Sizes of resets differ, so that they look like other small packets. */
const RESET_BYTES_SPREAD = 16;
const SHORT_BITS = 0x3f;
/** Answers for one turn; more are not worth their memory. */
const WAITING_MAX = 64;
const REFUSALS_PER_SECOND = 200;
const RESETS_PER_SECOND = 1_000;
const VERSION_PACKETS_PER_SECOND = 200;
/** Of 120 bytes or so. */
const RETRIES_WAITING_MAX = 2_048;
