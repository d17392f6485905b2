import { describe, expect, test } from 'vitest';
import { Priority } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, Pair } from '../connection/pair.ts';

const MIB = 1024 * 1024;

describe('credit of a connection', () => {
  test.each([
    ['a message of 18 KB', 18_000],
    ['a message of 1 MiB', MIB],
    ['the largest message', 16 * MIB - 1],
  ])(
    'is left for `system` and for a stream that is read, while three others with 18 MB each are not: %s at a time [STR-34]',
    (_, bytes) => {
      const pair = new Pair({ link: { delayMs: 5 } }).connected();
      pair.server.readsAll = false;
      const bulk = [0, 1, 2].map(() => pair.client.open({ priority: Priority.BULK }));
      for (const stream of bulk) {
        for (let sent = 0; sent < 18_000_000; sent += bytes) pair.client.send(stream, new Uint8Array(bytes));
      }
      pair.run(4_000);
      for (const priority of [Priority.SYSTEM, Priority.CHAT]) {
        const urgent = pair.client.open({ priority });
        for (let i = 0; i < 20; i++) {
          pair.client.send(urgent, `stop ${i}`);
          pair.run(60);
          const stream = pair.server.streams.find(({ id }) => id === urgent.id);
          if (stream !== undefined) pair.server.read(stream);
          expect(pair.server.texts(urgent.id)).toContain(`stop ${i}`);
        }
      }
      // Those that nobody reads hold little, unless one message is that large.
      const { window } = pair.server.core.streams.receiveCounts;
      expect(window.used - window.freed).toBeLessThan(Math.max(2 * MIB, 3 * (bytes + 256)));
      expect(pair.client.core.metrics().memoryReservedBytes).toBeLessThan(MIB);
    },
  );

  test('follows the pace of a path of 100 Mbit/s and 200 ms, and its memory what is unread [STR-9]', () => {
    const pair = new Pair({
      link: { delayMs: 100, bitsPerSecond: 100e6, queueBytesMax: 3 * MIB },
    }).connected();
    const stream = pair.client.open();
    const message = bytesOf(100_000);
    for (let i = 0; i < 300; i++) pair.client.send(stream, message);
    const began = pair.now;
    pair.until(() => pair.server.messages.get(stream.id)?.length === 300);
    const seconds = (pair.now - began) / 1e6;
    // 240 Mbit: 2.4 s at the rate of the path, and 1.5 s to find it.
    expect(seconds).toBeLessThan(5);
    expect(pair.server.core.streams.receiveCounts.window.windowBytes).toBeGreaterThan(2 * MIB);
  });

  test('is found for one maximal message after the other, where nothing else was ever sent [STR-9] [STR-10]', () => {
    const pair = new Pair({ link: { delayMs: 5 } }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 3; i++) pair.client.send(stream, new Uint8Array(16 * MIB));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 3);
    expect(pair.server.core.metrics().memoryBytes).toBeLessThan(MIB);
  });
});
