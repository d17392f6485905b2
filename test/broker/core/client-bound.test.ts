import { describe, expect, test } from 'vitest';
import { Overflow } from '../../../src/pubsub/command.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient } from './fake-client.ts';

/** What a message with a topic of one character and a payload of 27 is charged. */
const CHARGE_BYTES = 8 + 1 + 27 + 64;

/** Under 27 characters, padded to them. */
function padded(text: string): string {
  return text.padEnd(27, '.');
}

/** A client whose stream of topic `h` never reads and holds `held` messages; its bound is ten messages. */
function hoarder(held: number) {
  const core = new DrivenCore({ queueBytesPerClientMax: 10 * CHARGE_BYTES });
  const client = new FakeClient(core);
  const unread = client.open(1);
  unread.subscribe(1, 'h');
  const publisher = new FakeClient(core).open();
  for (let i = 0; i < held; i++) publisher.publish('h', padded(`${i}`));
  return { core, client, unread, publisher };
}

describe('the bound on all queues of a client', () => {
  test('stops the publisher of a queue that has room of its own, when the others leave it none [BRK-38]', () => {
    const { core, client } = hoarder(9);
    const other = client.open(1);
    other.subscribe(1, 'o');
    const publisher = new FakeClient(core).open();
    publisher.publish('o', padded('0'));
    expect(publisher.link.paused).toBe(false);
    publisher.publish('o', padded('1'));
    expect([publisher.link.paused, other.channel.delivery.queue.messageCount]).toEqual([true, 1]);
    expect(core.metrics()).toMatchObject({ queuedBytes: 10 * CHARGE_BYTES, publishersStopped: 1 });
  });

  test('does not keep messages from a stream that is read [BRK-38]', () => {
    const { core, client, publisher: hoarded } = hoarder(11);
    expect(hoarded.link.paused).toBe(true);
    const read = client.open(2);
    read.subscribe(1, 'r');
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < 30; i++) publisher.publish('r', `${i}`);
    expect(publisher.link.paused).toBe(true);
    for (let i = 0; i < 30; i++) {
      read.carry(1);
      publisher.pump();
    }
    read.carry();
    expect(read.link.lines.slice(1)).toEqual(Array.from({ length: 30 }, (_, i) => `r=${i}`));
    expect(publisher.link.paused).toBe(false);
  });

  test('lets waiting messages into a queue again when the client is below it [BRK-38]', () => {
    const { core, client, unread } = hoarder(10);
    const other = client.open(1);
    other.subscribe(1, 'o');
    const publishers = ['a', 'b', 'c'].map((name) => {
      const stream = new FakeClient(core).open();
      stream.publish('o', padded(name));
      return stream;
    });
    expect(publishers.every(({ link }) => link.paused)).toBe(true);
    unread.carry(1);
    unread.carry(1); // a message leaves the queue
    expect(client.end.queued.bytes).toBe(8 * CHARGE_BYTES);
    other.carry(1);
    expect(publishers.some(({ link }) => link.paused)).toBe(false);
    expect([other.channel.delivery.queue.messageCount, other.link.outbox.length]).toEqual([2, 1]);
    for (let i = 0; i < 3; i++) other.carry(1);
    expect(other.link.lines.slice(1)).toEqual(['a', 'b', 'c'].map((name) => `o=${padded(name)}`));
  });

  test('leaves other clients alone [BRK-38]', () => {
    const { core } = hoarder(11);
    const other = new FakeClient(core).open(1);
    other.subscribe(1, 'o');
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < 9; i++) publisher.publish('o', padded(`${i}`));
    expect([publisher.link.paused, other.channel.delivery.queue.messageCount]).toEqual([false, 9]);
  });

  test.each([
    ['oldest', Overflow.DROP_OLDEST, ['DROPPED 2 0', 'd=2', 'd=3'], { droppedOldest: 2, droppedNewest: 0 }],
    ['newest', Overflow.DROP_NEWEST, ['d=0', 'd=1', 'DROPPED 2 0'], { droppedOldest: 0, droppedNewest: 2 }],
  ] as const)(
    'drops the %s where a subscription asks for it, and counts it [BRK-38]',
    (_, overflow, kept, drops) => {
      const { core, client, unread } = hoarder(8);
      const dropping = client.open(1);
      dropping.subscribe(1, 'd', overflow);
      const publisher = new FakeClient(core).open();
      for (let i = 0; i < 4; i++) publisher.publish('d', padded(`${i}`));
      expect(publisher.link.paused).toBe(false);
      expect(core.metrics()).toMatchObject({ ...drops, publisherStops: 0, queuedBytes: 10 * CHARGE_BYTES });
      expect(unread.channel.delivery.queue.messageCount).toBe(8);
      for (let i = 0; i < 4; i++) dropping.carry();
      expect(dropping.link.lines.slice(1)).toEqual(
        kept.map((line) => (line.startsWith('d=') ? `d=${padded(line.slice(2))}` : line)),
      );
    },
  );

  test('drops a new message rather than old ones in vain, when other queues leave it no room [BRK-38]', () => {
    const { core, client } = hoarder(8);
    const dropping = client.open(1);
    dropping.subscribe(1, 'd', Overflow.DROP_OLDEST);
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < 2; i++) publisher.publish('d', padded(`${i}`));
    publisher.publish('d', 'x'.repeat(1_000));
    expect(dropping.channel.delivery.queue.messageCount).toBe(2);
    expect(core.metrics()).toMatchObject({ droppedOldest: 1 });
  });

  test.each([
    ['block', Overflow.BLOCK],
    ['drop oldest', Overflow.DROP_OLDEST],
    ['drop newest', Overflow.DROP_NEWEST],
  ] as const)(
    'takes a message that is larger than it when the client holds nothing: %s [BRK-38]',
    (_, overflow) => {
      const core = new DrivenCore({ queueBytesPerClientMax: 100 });
      const stream = new FakeClient(core).open(1);
      stream.subscribe(1, 'a', overflow);
      new FakeClient(core).open().publish('a', 'x'.repeat(1_000));
      for (let i = 0; i < 2; i++) stream.carry();
      expect(stream.link.lines.length).toBe(2);
    },
  );

  test('gives back what a stream held when it ends, and what a client held when it goes [BRK-5] [BRK-38]', () => {
    const { core, client, unread, publisher } = hoarder(11);
    unread.end();
    expect(client.end.queued.bytes).toBe(0);
    expect(publisher.link.paused).toBe(false);
    const second = client.open(1);
    second.subscribe(1, 's');
    for (let i = 0; i < 11; i++) publisher.publish('s', padded(`${i}`));
    expect(publisher.link.paused).toBe(true);
    client.disconnect();
    expect(publisher.link.paused).toBe(false);
    expect([client.end.queued.bytes, core.metrics().queuedBytes]).toEqual([0, 0]);
  });

  test('is not a reason to end before what waits at it was delivered [BRK-35] [BRK-38]', () => {
    const { core, client, unread } = hoarder(10);
    const other = client.open(1);
    other.subscribe(1, 'o');
    new FakeClient(core).open().publish('o', 'waits');
    core.shutDown();
    for (let i = 0; i < 12; i++) unread.carry();
    expect(core.idle).toBe(false);
    for (let i = 0; i < 2; i++) other.carry();
    expect(core.idle).toBe(true);
    expect(other.link.lines).toEqual(['SUBSCRIBED 1', 'o=waits']);
  });

  test.each([
    ['block', Overflow.BLOCK],
    ['drop oldest', Overflow.DROP_OLDEST],
    ['drop newest', Overflow.DROP_NEWEST],
  ] as const)(
    'is 16 MiB by default for a client that reads none of 1,024 streams: %s [BRK-38]',
    (_, overflow) => {
      const core = new DrivenCore();
      const client = new FakeClient(core);
      for (let i = 0; i < 1_024; i++) client.open(1).subscribe(1, `hostile/${i}`, overflow);
      const chargeBytes = 1_000_000 + 'hostile/0'.length + 8 + 64;
      const payload = 'x'.repeat(1_000_000);
      for (let i = 0; i < 40; i++) new FakeClient(core).open().publish(`hostile/${i}`, payload);
      const { queuedBytes } = core.metrics();
      expect(queuedBytes).toBeGreaterThan(16 * 1024 * 1024 - chargeBytes);
      expect(queuedBytes).toBeLessThan(16 * 1024 * 1024 + chargeBytes + 1);
    },
  );
});
