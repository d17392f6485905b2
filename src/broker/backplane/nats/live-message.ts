/**
 * A live message as it goes from node to node: a head of 20 bytes, and the PUBLISH as subscribers get it. [CLU-6]
 *
 *     version u8 = 1   priority u8   node u32   sequence u48   count u32   life u32   PUBLISH ..
 *
 * `sequence` counts all messages of a node, by which one that comes by two subscriptions is known; `count` those of its topic, by which one that does not come is
 * missed; `life` is the time for which it is of use still, in ms.
 */

import { NEVER } from '../../../base/time.ts';
import { uint32 } from '../../../pubsub/command.ts';

export const LIVE_HEAD_BYTES = 20;

/** What the head says. One is used for all: it is read before the next message comes. */
export class LiveHead {
  priority = 0;
  node = 0;
  sequence = 0;
  count = 0;
  lifeMs = NEVER;

  /** False: it is no message of this version. */
  read(bytes: Uint8Array): boolean {
    if (bytes.length <= LIVE_HEAD_BYTES || bytes[0] !== VERSION) return false;
    this.priority = bytes[1];
    this.node = uint32(bytes, 2);
    this.sequence = uint16(bytes, 6) * 2 ** 32 + uint32(bytes, 8);
    this.count = uint32(bytes, 12);
    const life = uint32(bytes, 16);
    this.lifeMs = life === FOR_EVER ? NEVER : life;
    return this.priority <= PRIORITY_MAX && this.sequence > 0;
  }

  /** The head with a copy of `message` behind it. */
  write(message: Uint8Array): Buffer {
    const bytes = Buffer.allocUnsafe(LIVE_HEAD_BYTES + message.length);
    bytes[0] = VERSION;
    bytes[1] = this.priority;
    bytes.writeUInt32BE(this.node, 2);
    bytes.writeUIntBE(this.sequence, 6, 6);
    bytes.writeUInt32BE(this.count, 12);
    bytes.writeUInt32BE(this.lifeMs >= FOR_EVER ? FOR_EVER : Math.ceil(this.lifeMs), 16);
    bytes.set(message, LIVE_HEAD_BYTES);
    return bytes;
  }
}

function uint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

const VERSION = 1;
const PRIORITY_MAX = 3;
const FOR_EVER = 0xffff_ffff;
