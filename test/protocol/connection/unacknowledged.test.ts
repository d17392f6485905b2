import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../../src/base/time.ts';
import { CompressionMode } from '../../../src/protocol/compress/compression.ts';
import { Dictionary, DictionarySet } from '../../../src/protocol/compress/dictionary.ts';
import { CompressionMethod } from '../../../src/protocol/compress/envelope.ts';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import type { UnacknowledgedMessage } from '../../../src/protocol/stream/send/send-mark.ts';
import { Delivery } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, Pair } from './pair.ts';

describe('what nobody has acknowledged when a connection is over [CON-104]', () => {
  test('is there in order, whole, and with whether any of it ever left', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    pair.client.send(stream, 'arrived');
    pair.run(100);
    pair.client.filter = () => [];
    pair.client.send(stream, 'on its way');
    pair.client.send(stream, bytesOf(5_000, 3));
    pair.run(50);
    pair.client.send(stream, 'never left');
    pair.client.close('application', 0, '');
    const left = unacknowledged(stream);
    expect(left.map(({ bytes }) => bytes.length)).toEqual([10, 5_000, 10]);
    expect(texts(stream).at(0)).toBe('on its way');
    expect(Buffer.from(left[1].bytes).equals(bytesOf(5_000, 3))).toBe(true);
    expect(texts(stream).at(-1)).toBe('never left');
    expect(left.map(({ wasSent }) => wasSent)).toEqual([true, true, false]);
  });

  test('is nothing when all has arrived, or was given up', () => {
    const pair = new Pair().connected();
    const [stream, other] = [pair.client.open(), pair.client.open()];
    for (let i = 0; i < 500; i++) pair.client.send(stream, bytesOf(i, i));
    pair.client.filter = (data, i) => (i % 5 === 0 ? [] : [{ data }]);
    pair.run(5_000);
    pair.client.filter = () => [];
    pair.client.send(other, 'given up');
    pair.run(10);
    pair.client.reset(other, 1);
    expect([unacknowledged(stream), unacknowledged(other)]).toEqual([[], []]);
  });

  test('does not count what is best effort or late, and knows how long the rest is worth something', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    pair.client.filter = () => [];
    const soon = pair.now + 50 * MILLISECOND;
    const later = pair.now + 5_000 * MILLISECOND;
    stream.send(Buffer.from('best effort'), Delivery.BEST_EFFORT, NEVER, false);
    stream.send(Buffer.from('late'), Delivery.PARTIAL, soon, false);
    stream.send(Buffer.from('worth it'), Delivery.PARTIAL, later, false);
    pair.client.node.wake();
    pair.run(500);
    expect(texts(stream)).toEqual(['worth it']);
    expect(unacknowledged(stream)[0].deadline).toBe(later);
  });

  test.each(['LZ4', 'DEFLATE'] as const)(
    'is as it was sent, where it went compressed by %s, also with a dictionary of the peer',
    (name) => {
      const text = 'temperature=21.5 humidity=40 station=hall-7 ';
      const dictionaries = new DictionarySet([new Dictionary(Buffer.from(text.repeat(4)))]);
      const compression = {
        mode: CompressionMode.ON,
        inflates: true,
        dictionaries,
        bytesMin: 0,
        method: CompressionMethod[name],
        spareTime: null,
        lz4: 'js',
        clock: null,
      } as const;
      const pair = new Pair({ client: { compression }, server: { compression } }).connected();
      const stream = pair.client.open();
      pair.client.send(stream, text.repeat(2));
      pair.run(100);
      pair.client.filter = () => [];
      const sent = [text.repeat(20), 'short', text.repeat(3), text.repeat(2_000)];
      for (const message of sent) pair.client.send(stream, message);
      pair.run(20);
      expect(pair.client.core.metrics().messagesCompressed).toBeGreaterThan(2);
      const { compression: opened } = pair.client.core.streams.packer;
      const messages = unacknowledged(stream).map(({ bytes, isEnveloped }) =>
        isEnveloped ? opened.undo(bytes) : bytes,
      );
      expect(messages.map((bytes) => Buffer.from(bytes).toString())).toEqual(sent);
      expect(unacknowledged(stream).filter(({ isEnveloped }) => isEnveloped).length).toBeGreaterThan(2);
    },
  );
});

function unacknowledged(stream: ConnectionStream): UnacknowledgedMessage[] {
  return stream.sender.mark().unacknowledged();
}

function texts(stream: ConnectionStream): string[] {
  return unacknowledged(stream).map(({ bytes }) => Buffer.from(bytes).toString());
}
