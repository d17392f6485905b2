import { describe, expect, test } from 'vitest';
import { Overflow } from '../../../src/pubsub/command.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient, type FakeStream } from './fake-client.ts';

const MIB = 1024 * 1024;

/** A client that reads nothing of `count` streams, on each of which a topic of its own is published. */
function hostile(
  core: DrivenCore,
  name: string,
  count: number,
): { client: FakeClient; streams: FakeStream[] } {
  const client = new FakeClient(core);
  const streams = Array.from({ length: count }, (_, i) => {
    const stream = client.open(1);
    stream.subscribe(1, `${name}/${i}`, Overflow.DROP_NEWEST);
    return stream;
  });
  return { client, streams };
}

describe('the bound on all queues of a broker', () => {
  test('is reached, never passed by more than a message of each client, and told in the metrics [BRK-41]', () => {
    const core = new DrivenCore({ queueBytesTotalMax: 10 * MIB });
    const publisher = new FakeClient(core).open();
    for (let c = 0; c < 8; c++) {
      hostile(core, `c${c}`, 4);
      for (let i = 0; i < 4; i++)
        for (let n = 0; n < 40; n++) publisher.publish(`c${c}/${i}`, 'x'.repeat(100_000));
    }
    const { queuedBytes, queuedBytesMax } = core.metrics();
    expect(queuedBytesMax).toBe(10 * MIB);
    expect(queuedBytes).toBeGreaterThan(9.5 * MIB);
    expect(queuedBytes).toBeLessThanOrEqual(10 * MIB + 8 * 100_100);
  });

  test('leaves room for a client that holds little, when others hold all they can [BRK-41]', () => {
    const core = new DrivenCore({ queueBytesTotalMax: 10 * MIB });
    const publisher = new FakeClient(core).open();
    hostile(core, 'greedy', 4);
    for (let n = 0; n < 400; n++) publisher.publish(`greedy/${n % 4}`, 'x'.repeat(100_000));
    const taken = core.metrics().queuedBytes;
    expect(taken).toBeGreaterThan(4.5 * MIB);
    expect(taken).toBeLessThan(5.2 * MIB);
    const slow = new FakeClient(core).open(1);
    slow.subscribe(1, 'modest', Overflow.DROP_NEWEST);
    for (let n = 0; n < 10; n++) publisher.publish('modest', 'x'.repeat(100_000));
    expect(slow.channel.delivery.queue.messageCount).toBe(10);
  });

  test('is 256 MiB by default, and given back with the clients [BRK-41]', () => {
    const core = new DrivenCore();
    expect(core.metrics().queuedBytesMax).toBe(256 * MIB);
    const { client } = hostile(core, 'h', 2);
    const publisher = new FakeClient(core).open();
    for (let n = 0; n < 10; n++) publisher.publish('h/0', 'x'.repeat(1_000));
    expect(core.metrics().queuedBytes).toBeGreaterThan(10_000);
    client.disconnect();
    expect(core.metrics().queuedBytes).toBe(0);
  });
});

describe('what the transport holds for a client that reads nothing', () => {
  test('is bounded for each stream, the more of them the lower [BRK-38]', () => {
    const client = new FakeClient(new DrivenCore());
    const limits = Array.from({ length: 1_040 }, () => client.open().link.limitBytes);
    const counts = [Number.POSITIVE_INFINITY, 65_536, 8_192].map(
      (bytes) => limits.filter((limit) => limit === bytes).length,
    );
    expect(counts).toEqual([16, 112, 912]);
  });

  test.each([
    ['block', Overflow.BLOCK],
    ['drop oldest', Overflow.DROP_OLDEST],
    ['drop newest', Overflow.DROP_NEWEST],
  ] as const)(
    'is the bound of a client for large messages, and goes on as soon as there is room: %s [BRK-38]',
    (_, overflow) => {
      const core = new DrivenCore();
      const client = new FakeClient(core);
      const streams = Array.from({ length: 60 }, (_, i) => {
        const stream = client.open(1);
        stream.subscribe(1, `h/${i}`, overflow);
        stream.carry();
        return stream;
      });
      for (const [i] of streams.entries()) new FakeClient(core).open().publish(`h/${i}`, 'x'.repeat(MIB));
      const held = core.metrics().transportBytes;
      expect(held).toBeGreaterThan(14 * MIB);
      expect(held).toBeLessThanOrEqual(16 * MIB);
      for (let now = 0; now < 10_000; now += 1_000) {
        for (const stream of streams) stream.carry();
        core.tick(now);
      }
      const delivered = streams.filter(
        ({ link }) => link.delivered.length === 2 && link.lines[1].startsWith('h/'),
      ).length;
      const dropped = core.metrics().droppedNewest + core.metrics().droppedOldest;
      expect(delivered + dropped).toBe(60);
      expect(delivered).toBeGreaterThanOrEqual(30);
      if (overflow === Overflow.BLOCK) expect(delivered).toBe(60);
    },
  );

  test('is the bound of a client also for one large message that goes to many of its streams at once [BRK-38]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    for (let i = 0; i < 40; i++) {
      const stream = client.open(2);
      stream.subscribe(1, 'h', Overflow.DROP_NEWEST);
    }
    new FakeClient(core).open().publish('h', 'x'.repeat(MIB));
    const { transportBytes, queuedMessages, messagesOut } = core.metrics();
    expect(transportBytes).toBeGreaterThan(14 * MIB);
    expect(transportBytes).toBeLessThanOrEqual(16 * MIB + 40 * 8);
    expect(queuedMessages + messagesOut + core.metrics().droppedNewest).toBe(40);
  });

  test('is what its transport says of it: what has left holds nothing up [BRK-38]', () => {
    const core = new DrivenCore();
    const stream = new FakeClient(core).open();
    stream.subscribe(1, 'h');
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < 40; i++) {
      publisher.publish('h', 'x'.repeat(MIB));
      stream.carry();
    }
    expect(stream.link.delivered.length).toBe(1 + 40);
    core.tick(0); // asks the transport
    expect(core.metrics()).toMatchObject({ queuedMessages: 0, transportBytes: 0 });
  });

  test('counts answers: a stream whose 8,192 bytes of answers are not taken is read no more [BRK-21]', () => {
    const core = new DrivenCore();
    const stream = new FakeClient(core).open(1);
    for (let i = 1; i <= 40; i++) stream.ping(i, 'x'.repeat(1_024));
    expect([stream.link.paused, stream.channel.delivery.queue.answerCount]).toEqual([true, 8]);
    for (let i = 0; i < 60; i++) {
      stream.carry();
      stream.pump();
    }
    expect(stream.link.lines.length).toBe(40);
  });

  test('lets a large message out when all that the transport held has left, also of a stream of which nothing more is heard [BRK-38]', () => {
    const core = new DrivenCore({ queueBytesPerClientMax: 30_000 });
    const client = new FakeClient(core);
    const asking = client.open(2);
    asking.flush(1);
    asking.flush(2); // now its transport has enough
    asking.carry(1); // it takes more, and what is left is not told again
    asking.carry();
    const reading = client.open();
    reading.subscribe(1, 't');
    reading.carry();
    new FakeClient(core).open().publish('t', 'x'.repeat(40_000));
    core.tick(1_000);
    reading.carry();
    expect(reading.link.commands.map(({ name }) => name)).toEqual(['SUBSCRIBED', 'PUBLISH']);
  });
});
