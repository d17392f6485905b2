import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import { NEVER } from '../../../../src/base/time.ts';
import { Delivery } from '../../../../src/protocol/wire/frame-type.ts';
import { Link, type Packet } from '../link.ts';

const MIB = 1_048_576;
const MESSAGE_BYTES = 16 * MIB;

/** Sends `message` over a link that loses packets of the first `lossyBytes`, with mtus as `mtuOf` says. */
function carry(
  message: Uint8Array,
  delivery: Delivery,
  mtuOf: (packet: number) => number,
  lossRate: number,
): Link {
  const link = new Link({ windowBytes: 17 * MIB, budgetBytes: 17 * MIB, messageBytesMax: MESSAGE_BYTES });
  const random = new Prng(7);
  link.send.send(message, delivery, NEVER, true);
  const late: Packet[] = [];
  for (let i = 0; ; i++) {
    link.mtu = mtuOf(i);
    const packet = link.pack(0);
    if (packet === null) {
      if (late.length === 0) return link;
      for (const lost of late.splice(0)) link.lost(lost, 0);
    } else if (random.chance(lossRate)) {
      late.push(packet);
    } else {
      assert.equal(link.deliver(packet, 0), 0);
      link.acked(packet);
    }
  }
}

function large(): Uint8Array {
  const words = new Uint32Array(MESSAGE_BYTES / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 0x9e3779b1);
  return new Uint8Array(words.buffer);
}

function isWhole(link: Link, message: Uint8Array): boolean {
  const read = link.receive.read(0);
  return read !== null && Buffer.compare(read, message) === 0;
}

describe('A message of 16 MiB', () => {
  const message = large();

  test.each([512, 1_472, 32_768])('arrives in packets of %i bytes, with losses [STR-15] [STR-28]', (mtu) => {
    const link = carry(message, Delivery.RELIABLE, () => mtu, 0.05);
    expect(isWhole(link, message)).toBe(true);
    expect(link.slabs.inUse).toBe(0);
    expect(link.receive.window.freed).toBe(MESSAGE_BYTES + 128);
  });

  test('arrives when the packets shrink and grow on the way [STR-28]', () => {
    const sizes = [32_768, 1_200, 16_000, 512, 9_000];
    const link = carry(message, Delivery.RELIABLE, (i) => sizes[Math.floor(i / 100) % sizes.length], 0.1);
    expect(isWhole(link, message)).toBe(true);
    expect(link.slabs.inUse).toBe(0);
  });

  test('arrives as best effort when nothing is lost [STR-22]', () => {
    const link = carry(message, Delivery.BEST_EFFORT, () => 16_384, 0);
    expect(isWhole(link, message)).toBe(true);
    expect(link.receiveContext.budget.used).toBe(0);
  });
});
