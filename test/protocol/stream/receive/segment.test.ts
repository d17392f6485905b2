import assert from 'node:assert/strict';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import { NEVER } from '../../../../src/base/time.ts';
import { Assembly } from '../../../../src/protocol/stream/receive/assembly.ts';
import { ReadFault } from '../../../../src/protocol/stream/receive/receive-stream.ts';
import {
  incompleteSegment,
  Place,
  segmentOfMessage,
} from '../../../../src/protocol/stream/receive/segment.ts';
import { FrameReader } from '../../../../src/protocol/wire/frame-reader.ts';
import { Delivery } from '../../../../src/protocol/wire/frame-type.ts';
import { bytesOf, Link } from '../link.ts';

/** Delivers messages of these lengths, as many in a datagram as fit, and reads them. */
function received(lengths: number[], mtu = 1_400): Uint8Array[] {
  const link = new Link({ mtu });
  for (const [i, length] of lengths.entries())
    link.send.send(bytesOf(length, i), Delivery.RELIABLE, NEVER, false);
  link.exchange(0);
  return link.readAll(0);
}

function transfer(message: Uint8Array): void {
  try {
    structuredClone(message.buffer, { transfer: [message.buffer as ArrayBuffer] });
  } catch {
    // Newer versions of Node refuse what cannot be transferred; others copy it.
  }
}

describe('What one receiver does with the memory of its message', () => {
  test.each([5, 64, 100, 300])('does no harm to the others of %i bytes, read or not [STR-32]', (length) => {
    const link = new Link({ mtu: 1_400 });
    for (let i = 0; i < 10; i++) link.send.send(bytesOf(length, i), Delivery.RELIABLE, NEVER, false);
    link.exchange(0);
    const early = [0, 1, 2].map(() => link.receive.read(0)!);
    transfer(early[2]);
    const all = [...early.slice(0, 2), ...link.readAll(0)];
    expect(all.map((message) => [...message])).toEqual(
      [0, 1, 3, 4, 5, 6, 7, 8, 9].map((i) => [...bytesOf(length, i)]),
    );
    expect(link.receive.fault).toBe(ReadFault.NONE);
  });

  test('does no harm to what else its datagram brought, also when it writes over all of it [STR-32]', () => {
    const link = new Link({ mtu: 1_400 });
    link.send.send(bytesOf(500, 1), Delivery.RELIABLE, NEVER, false);
    link.send.send(bytesOf(500, 2), Delivery.BEST_EFFORT, NEVER, false);
    const [packet, ...others] = link.packAll(0);
    expect(others).toEqual([]);
    link.deliver(packet, 0);
    new Uint8Array(link.receive.read(0)!.buffer).fill(0);
    const other = link.receive.read(0)!;
    expect([1, 2].some((salt) => Buffer.compare(other, bytesOf(500, salt)) === 0)).toBe(true);
  });

  test('takes as much as the message is long, where what its datagram brought first keeps the datagram [STR-32]', () => {
    const owner = { onExpired: () => {}, onEvicted: () => {}, freeSegment: () => {} };
    const buffer = bytesOf(1_200, 3);
    const frame = Object.assign(new FrameReader(), { buffer, dataStart: 600, dataLength: 500 });
    expect(segmentOfMessage(owner, frame).buffer).toBe(buffer);
    const { buffer: own, at, end } = segmentOfMessage(owner, frame);
    expect([own.buffer.byteLength, at, end]).toEqual([500, 0, 500]);
    expect(Buffer.compare(own, buffer.subarray(600, 1_100))).toBe(0);
  });

  test('ends the stream, and nothing else, when it detaches what it has not read [STR-32]', () => {
    const link = new Link({ mtu: 1_400 });
    for (let i = 0; i < 4; i++) link.send.send(bytesOf(300, i), Delivery.RELIABLE, NEVER, false);
    const packet = link.pack(0)!;
    link.deliver(packet, 0);
    expect(link.receive.read(0)!.length).toBe(300);
    try {
      structuredClone(packet.bytes.buffer, { transfer: [packet.bytes.buffer as ArrayBuffer] });
    } catch {} // Node 24 refuses it; others copy what is marked as untransferable
    if (packet.bytes.buffer.byteLength > 0) return; // it cannot be detached here
    expect(link.receive.read(0)).toBeNull();
    expect(link.receive.fault).toBe(ReadFault.DETACHED);
    expect(link.receive.window.used).toBe(link.receive.window.freed);
  });
});

describe('A message that is kept', () => {
  test.each([1_400, 32_768])(
    'keeps no noise of its run alive, in datagrams of up to %i bytes [STR-32]',
    (mtu) => {
      for (const length of mtu < 4_096 ? [5, 64] : [5, 64, 100]) {
        const messages = received(
          Array.from({ length: 300 }, (_, i) => (i % 10 === 5 ? length : 600)),
          mtu,
        );
        const kept = messages.filter((message) => message.length === length);
        expect(kept.length).toBe(30);
        for (const { buffer } of kept) expect(buffer.byteLength).toBeLessThanOrEqual(4 * length + 30);
      }
    },
  );

  test('is a view where copying would save nothing [STR-32]', () => {
    const link = new Link({ mtu: 1_400 });
    for (let i = 0; i < 4; i++) link.send.send(bytesOf(300, i), Delivery.RELIABLE, NEVER, false);
    const packet = link.pack(0)!;
    link.deliver(packet, 0);
    for (const message of link.readAll(0)) expect(message.buffer).toBe(packet.bytes.buffer);
  });
});

describe('The memory of an incomplete message', () => {
  const owner = { onExpired: () => {}, onEvicted: () => {}, freeSegment: () => {} };
  const assemblyOf = (total: number) => {
    const segment = incompleteSegment(owner, 0);
    segment.place = Place.INCOMPLETE;
    return new Assembly(segment, total, 1, 0);
  };

  test.each([1, 2])(
    'follows what arrived: %i bytes of each 4 KiB of 16 MiB keep less than 1 MiB [STR-33]',
    (bytes) => {
      const total = 16 * 1024 * 1024;
      const assembly = assemblyOf(total);
      for (let at = 4_000; at < total; at += 4_096) {
        for (let k = 0; k < bytes; k++)
          expect(assembly.add(Uint8Array.of(1), 0, 1, at + 2 * k, 0)).toBe(false);
      }
      expect(assembly.bytes).toBeLessThan(1024 * 1024);
    },
  );

  test('is less than twice the message and its arrived bytes, whatever the order and overlap of the fragments [STR-33]', () => {
    const random = new Prng(5);
    for (let round = 0; round < 60; round++) {
      const total = 1 + random.below(round % 2 === 0 ? 3_000 : 400_000);
      const message = bytesOf(total, round);
      const assembly = assemblyOf(total);
      let arrived = 0;
      let complete = false;
      const add = (at: number, length: number) => {
        const end = Math.min(total, at + length);
        arrived += end - at;
        complete = assembly.add(message, at, end - at, at, 0);
        assert.ok(assembly.bytes <= 1_024 + 8 * arrived + total);
      };
      for (let i = 0; i < 500 && !complete; i++)
        add(random.below(total), 1 + random.below(round < 30 ? 40 : 2_000));
      const step = 1 + random.below(Math.ceil(total / 50));
      for (let at = Math.floor((total - 1) / step) * step; at >= 0 && !complete; at -= step) add(at, step);
      expect(complete).toBe(true);
      const { buffer, end } = assembly.finish();
      expect(Buffer.compare(buffer.subarray(0, end), message)).toBe(0);
    }
  });
});

describe('What an application writes over all of the memory behind a message', () => {
  test.each([0, 255, 3])(
    'ends its stream where unread ones were in it, and no more [STR-32] (%i)',
    (value) => {
      const link = new Link({ mtu: 1_400 });
      for (let i = 0; i < 3; i++) link.send.send(bytesOf(400, i), Delivery.RELIABLE, NEVER, false);
      link.send.close();
      link.exchange(0);
      const { buffer } = link.receive.read(0)!;
      new Uint8Array(buffer).fill(value);
      while (link.receive.read(0) !== null);
      expect(link.receive.fault).toBe(ReadFault.DETACHED);
      expect(link.receive.readable).toBe(0);
      expect(link.receive.window.freed).toBe(link.receive.window.used);
      // Nothing ends well of which something could not be read. [STR-6]
      expect([link.receive.ended, link.receive.finished]).toEqual([false, true]);
    },
  );
});

describe('What a sender does with the memory of a message that it gave away', () => {
  test('does no harm when it tries to transfer it before it is sent', () => {
    const link = new Link({ mtu: 1_400 });
    const message = bytesOf(5_000, 1);
    link.send.send(message, Delivery.RELIABLE, NEVER, true);
    transfer(message);
    link.exchange(0);
    expect(link.readAll(0).map((received) => [...received])).toEqual([[...bytesOf(5_000, 1)]]);
  });

  test.runIf('resizable' in ArrayBuffer.prototype)('is told when it takes it away all the same', () => {
    const link = new Link({ mtu: 1_400 });
    const Resizable = ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer;
    const memory = new Resizable(5_000, { maxByteLength: 5_000 });
    link.send.send(new Uint8Array(memory), Delivery.RELIABLE, NEVER, true);
    (memory as unknown as { resize(bytes: number): void }).resize(10);
    expect(() => link.exchange(0)).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_MESSAGE_DETACHED',
        message: expect.stringContaining('transfer'),
      }),
    );
  });
});
