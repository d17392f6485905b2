import { type Micros, NEVER } from '../../../src/base/time.ts';
import type {
  CongestionController,
  CongestionName,
  CongestionOptions,
} from '../../../src/protocol/congestion/controller.ts';
import { Recovery } from '../../../src/protocol/recovery/recovery.ts';
import {
  type PacketList,
  PacketState,
  type SentPackets,
} from '../../../src/protocol/recovery/sent-packets.ts';
import type { ThinSender } from '../../../src/protocol/recovery/thin-sender.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { pathOf } from '../path/path-of.ts';
import { PING } from './frames.ts';

export interface SenderOptions {
  readonly isServer?: boolean;
  readonly isConfirmed?: boolean;
  readonly mtu?: number;
  readonly congestion?: CongestionName;
  readonly windowBytesMax?: number;
  readonly usesEcn?: boolean;
  readonly controller?: (options: CongestionOptions) => CongestionController;
  readonly thin?: ThinSender;
}

/** A Recovery with short hands to send and acknowledge, for tests that place every event themselves. */
export class Sender {
  readonly recovery: Recovery;
  now: Micros = 1_000_000;
  readonly mtu: number;
  private readonly next = [0, 0, 0];

  constructor(options: SenderOptions = {}) {
    this.mtu = options.mtu ?? 1_200;
    const isServer = options.isServer ?? true;
    const path = pathOf({
      mtu: this.mtu,
      usesEcn: options.usesEcn ?? false,
      ...(options.congestion === undefined ? {} : { congestion: options.congestion }),
      ...(options.windowBytesMax === undefined ? {} : { windowBytesMax: options.windowBytesMax }),
      ...(options.controller === undefined ? {} : { controller: options.controller }),
    });
    this.recovery = new Recovery(path, isServer, options.thin);
    if (options.isConfirmed ?? true) this.recovery.onHandshakeConfirmed(25_000);
  }

  /** Sends `count` full packets now; returns the number of the last. */
  send(count = 1, space: PacketSpace = PacketSpace.APPLICATION, isSizeProbe = false): number {
    for (let i = 0; i < count; i++) {
      const sent = this.recovery.sentPackets(space);
      sent.begin(this.next[space]++, this.now);
      sent.frames.plain(PING);
      this.recovery.onSent(space, this.mtu, true, true, this.now, isSizeProbe);
    }
    return this.next[space] - 1;
  }

  /** Sends a packet that only acknowledges. */
  sendAckOnly(space: PacketSpace = PacketSpace.APPLICATION): number {
    this.recovery.sentPackets(space).begin(this.next[space]++, this.now);
    this.recovery.onSent(space, 40, false, false, this.now);
    return this.next[space] - 1;
  }

  /** Acknowledges descending pairs [start, end) now; returns the close code. */
  ack(ranges: number[], delay: Micros = 0, space: PacketSpace = PacketSpace.APPLICATION): number {
    return this.recovery.onAck(space, Float64Array.from(ranges), ranges.length / 2, delay, this.now);
  }

  /** Gives the connection a first RTT sample of `rtt` with one packet. */
  sampleRtt(rtt: Micros): void {
    const number = this.send();
    this.now += rtt;
    this.ack([number, number + 1]);
  }

  /** Lets time pass to the next timeout and takes it. */
  fireTimeout(): number {
    const at = this.recovery.nextTimeout();
    if (at === NEVER) throw new Error('no timeout is armed');
    this.now = at;
    return this.recovery.onTimeout(at);
  }
}

export function numbersOf(list: PacketList): number[] {
  return Array.from(list.numbers.subarray(0, list.count));
}

/** True while the packet's record exists; its frames may be read only then. */
export function holds({ largestSent, ring }: SentPackets, number: number): boolean {
  const isKnown = number >= ring.base && number <= largestSent;
  return isKnown && (ring.state[number & ring.mask] & PacketState.SENT) !== 0;
}
