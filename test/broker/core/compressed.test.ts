import { describe, expect, test } from 'vitest';
import { encodeSubscribe, PublishFlag, publishPrefix, SubscribeFlag } from '../../../src/pubsub/command.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient, type FakeStream } from './fake-client.ts';

function publishCompressed(stream: FakeStream, topic: string, envelope: Uint8Array): Uint8Array {
  const message = Buffer.concat([publishPrefix(topic, PublishFlag.COMPRESSED), envelope]);
  stream.send(message);
  return message;
}

function subscriberOf(core: DrivenCore, flags: number, mark = Number.POSITIVE_INFINITY): FakeStream {
  const stream = new FakeClient(core).open(mark);
  stream.send(encodeSubscribe(1, 't/#', flags, 0, 0));
  return stream;
}

describe('a compressed message', () => {
  test('reaches those who open it byte for byte, whatever is in its envelope [BRK-42, BRK-7]', () => {
    const core = new DrivenCore();
    const subscriber = subscriberOf(core, SubscribeFlag.COMPRESSED);
    const publisher = new FakeClient(core);
    const sent = [
      Buffer.from('011a61010050', 'hex'),
      Buffer.from('ff', 'hex'),
      Buffer.alloc(0),
      Buffer.alloc(300, 3),
    ].map((envelope) => publishCompressed(publisher.open(), 't/x', envelope));
    subscriber.carry();
    expect(subscriber.link.delivered.slice(1).map((bytes) => Buffer.from(bytes).toString('hex'))).toEqual(
      sent.map((bytes) => Buffer.from(bytes).toString('hex')),
    );
    expect(publisher.peer.closedWith).toBeNull();
    expect(core.metrics()).toMatchObject({ messagesIn: 4, messagesOut: 4, droppedCompressed: 0 });
  });

  test('never reaches one who does not: he is told in its place, and what comes behind comes [BRK-43]', () => {
    const core = new DrivenCore();
    const plain = subscriberOf(core, 0);
    const publisher = new FakeClient(core).open();
    publisher.publish('t/x', 'before');
    publishCompressed(publisher, 't/x', Buffer.of(1, 2, 3));
    publisher.publish('t/x', 'behind');
    plain.carry();
    expect(plain.link.lines).toEqual(['SUBSCRIBED 1', 't/x=before', 'DROPPED 1 5', 't/x=behind']);
    expect(core.metrics()).toMatchObject({ droppedCompressed: 1, droppedTooLarge: 0, publisherStops: 0 });
  });

  test('is told in its place, with others that are missing there, each for its reason [BRK-43, BRK-24]', () => {
    const core = new DrivenCore();
    const plain = new FakeClient(core).open(1, { messageBytesMax: 100 });
    plain.send(encodeSubscribe(1, 't/#', SubscribeFlag.LANES, 0, 0));
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < 40; i++) {
      publishCompressed(publisher, 't/x', Buffer.alloc(60));
      publisher.publish('t/x', 'x'.repeat(i % 2 === 0 ? 200 : 0));
    }
    for (let i = 0; i < 100; i++) plain.carry();
    const pair = ['DROPPED 1 4', 'DROPPED 2 5', 't/x='];
    expect(plain.link.lines).toEqual(['SUBSCRIBED 1', ...Array.from({ length: 20 }, () => pair).flat()]);
    expect(core.metrics().lanes).toBe(0);
  });

  test('is offered by the word of the first SUBSCRIBE of a stream [BRK-43]', () => {
    const core = new DrivenCore();
    const [takes, refuses] = [subscriberOf(core, SubscribeFlag.COMPRESSED), subscriberOf(core, 0)];
    takes.send(encodeSubscribe(2, 'u', 0, 0, 0));
    refuses.send(encodeSubscribe(2, 'u', SubscribeFlag.COMPRESSED, 0, 0));
    publishCompressed(new FakeClient(core).open(), 'u', Buffer.of(0, 65));
    for (const each of [takes, refuses]) each.carry();
    expect(takes.link.lines.at(-1)).toBe('u=\0A');
    expect(refuses.link.lines.at(-1)).toBe('DROPPED 1 5');
  });
});
