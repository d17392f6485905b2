/** How settlements are said to the broker: as ACK and NACK on the streams of a subscription, many in one command where they are. [CLT-22, CLT-23] */

import {
  encodeAck,
  encodeAckRanges,
  encodeNack,
  NACK_BACKOFF,
  NACK_NEVER,
} from '../pubsub/acknowledgement.ts';
import { ACK_RANGE_BYTES, ACK_RANGES_MAX, AckFlag, HEADER_BYTES } from '../pubsub/command.ts';
import type { Acknowledger } from './settling.ts';

/** Sends a command to the broker. */
type Send = (command: Uint8Array) => void;

export class CommandAcknowledger implements Acknowledger {
  private readonly send: Send;
  private readonly bytesMax: number;
  private readonly rangesMax: number;

  /** @param bytesMax - the largest command that the broker takes: what says more is said in several */
  constructor(send: Send, bytesMax = Number.POSITIVE_INFINITY) {
    this.send = send;
    this.bytesMax = bytesMax;
    const fitting = Math.floor((bytesMax - HEADER_BYTES) / ACK_RANGE_BYTES);
    this.rangesMax = Math.max(1, Math.min(ACK_RANGES_MAX, fitting));
  }

  ack(offsets: number[]): void {
    if (offsets.length === 1) this.send(encodeAck(idOf(offsets[0])));
    else this.sendRanges(offsets, 0);
  }

  progress(offsets: number[]): void {
    if (offsets.length === 1) this.send(encodeAck(idOf(offsets[0]), AckFlag.PROGRESS));
    else this.sendRanges(offsets, AckFlag.PROGRESS);
  }

  nack(offset: number, delayMs: number | undefined, reason: string): void {
    this.send(encodeNack(idOf(offset), delayMs ?? NACK_BACKOFF, reason, this.bytesMax));
  }

  terminate(offset: number, reason: string | undefined): void {
    if (reason === undefined) this.send(encodeAck(idOf(offset), AckFlag.TERMINATE));
    else this.send(encodeNack(idOf(offset), NACK_NEVER, reason, this.bytesMax));
  }

  private sendRanges(offsets: number[], flags: number): void {
    offsets.sort((a, b) => a - b);
    let ranges: [first: number, count: number][] = [];
    let end = -1;
    for (const offset of offsets) {
      const last = ranges.at(-1);
      if (last !== undefined && offset === end && idOf(offset) !== 0) last[1]++;
      else if (offset !== end - 1) {
        if (ranges.length === this.rangesMax) {
          this.send(encodeAckRanges(ranges, flags));
          ranges = [];
        }
        ranges.push([idOf(offset), 1]);
      }
      end = offset + 1;
    }
    this.send(encodeAckRanges(ranges, flags));
  }
}

/** What the broker calls a message on the wire. */
function idOf(offset: number): number {
  return offset % 2 ** 32;
}
