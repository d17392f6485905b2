import { describe, expect, test } from 'vitest';
import {
  Command,
  encodeSubscribe,
  Overflow,
  PublishFlag,
  publishPrefix,
  SubscribeFlag,
} from '../../../src/pubsub/command.ts';
import { encodeProperties, type Properties } from '../../../src/pubsub/properties.ts';
import { encodeSubscribeOptions } from '../../../src/pubsub/subscribe-options.ts';
import { DrivenCore } from '../core/driven-core.ts';
import { FakeClient, type FakeStream } from '../core/fake-client.ts';
import { FakeBackplane } from './fake-backplane.ts';

const NEVER = Number.POSITIVE_INFINITY;
const CHAT = 2;

class Node {
  readonly backplane = new FakeBackplane();
  readonly faults: unknown[] = [];
  readonly core = new DrivenCore({}, (error) => this.faults.push(error), undefined, this.backplane);

  constructor() {
    this.core.goOn(1_000);
    this.backplane.values.complete();
    this.core.look();
  }

  open(): FakeStream {
    return new FakeClient(this.core).open();
  }

  subscribed(filter: string, overflow: Overflow = Overflow.BLOCK, messages = 0): FakeStream {
    const stream = this.open();
    stream.subscribe(1, filter, overflow, messages);
    return stream;
  }

  /** A message comes from another node. */
  comes(
    message: Uint8Array,
    { group = null as string | null, priority = CHAT, deadlineMs = NEVER } = {},
  ): void {
    this.backplane.push((events) => events.message(message, priority, deadlineMs, group));
    this.core.look();
  }

  get asked(): string[] {
    return this.backplane.asked.splice(0).map((words) => words.join(' '));
  }

  get published(): string[] {
    return this.backplane.published
      .splice(0)
      .map(({ message, topicEnd, request }) => `${message.subarray(8, topicEnd)} ${request}`);
  }
}

function message(
  topic: string,
  payload: string,
  { flags = 0, id = 0, properties = null as Properties | null } = {},
) {
  const all = flags | (properties === null ? 0 : PublishFlag.PROPERTIES);
  const head = publishPrefix(topic, all, id);
  return Buffer.concat([
    head,
    properties === null ? Buffer.alloc(0) : encodeProperties(properties),
    Buffer.from(payload),
  ]);
}

function lines(stream: FakeStream): string[] {
  stream.carry();
  const { lines } = stream.link;
  stream.link.delivered.length = 0;
  return lines;
}

describe('what a node wants of the others', () => {
  test('is what its clients hold, each filter once, and nothing of its own [CLU-4]', () => {
    const node = new Node();
    const first = node.subscribed('a/+');
    const second = node.subscribed('a/+');
    node.subscribed('$sys/#');
    expect(node.asked).toEqual(['want a/+']);
    first.unsubscribe(2, 'a/+');
    expect(node.asked).toEqual([]);
    second.end();
    expect(node.asked).toEqual(['unwant a/+']);
  });

  test('is known to them when a subscription is answered [CLU-4]', () => {
    const node = new Node();
    node.backplane.takesLong = true;
    const stream = node.subscribed('a');
    expect(lines(stream)).toEqual([]);
    node.comes(message('a', 'early'));
    expect(lines(stream)).toEqual(['a=early']);
    const same = node.subscribed('a');
    node.backplane.push((events) => events.wanted('a'));
    node.core.look();
    expect([lines(stream), lines(same)]).toEqual([['SUBSCRIBED 1'], ['SUBSCRIBED 1']]);
    expect(lines(node.subscribed('a'))).toEqual(['SUBSCRIBED 1']);
  });

  test.each([
    ['takes longer than a second', (node: Node) => node.core.goOn(1_000)],
    [
      'is over before',
      (node: Node) => {
        node.backplane.isConnected = false;
        node.backplane.push((events) => events.disconnected());
        node.core.look();
      },
    ],
  ])('is answered all the same when that %s [CLU-4]', (_, happens) => {
    const node = new Node();
    node.backplane.takesLong = true;
    const stream = node.subscribed('a');
    node.core.goOn(999);
    expect(lines(stream)).toEqual([]);
    happens(node);
    expect(lines(stream)).toEqual(['SUBSCRIBED 1']);
  });

  test('of a group has a name of its own where it reads a log [CLU-9]', () => {
    const node = new Node();
    node.subscribed('$share/g/a/#');
    const stream = node.open();
    stream.send(encodeSubscribe(1, '$share/g/a/#', Overflow.BLOCK | SubscribeFlag.QOS1, 0, 0));
    node.backplane.push((events) => events.claimed('d/$share/g/a/#', new Map()));
    node.core.look();
    expect(node.asked.filter((each) => each.startsWith('want'))).toEqual([
      'want $share/g/a/#',
      'want $share/g\u0001/a/#',
    ]);
  });
});

describe('a live message', () => {
  test('of this node goes to its subscribers and to the others, and is not wanted by nobody [CLU-5]', () => {
    const node = new Node();
    const stream = node.subscribed('a');
    lines(stream);
    const publisher = node.open();
    publisher.publish('a', 'x');
    publisher.publish('b', 'y');
    expect(lines(stream)).toEqual(['a=x']);
    expect(node.published).toEqual(['a 0', 'b 0']);
    expect(node.core.metrics()).toMatchObject({ messagesIn: 2, messagesUnrouted: 0 });
  });

  test('of another node is delivered, and goes nowhere else [CLU-7]', () => {
    const node = new Node();
    const stream = node.subscribed('a/#');
    lines(stream);
    node.comes(message('a/b', 'x'));
    node.comes(message('c', 'nobody'));
    expect(lines(stream)).toEqual(['a/b=x']);
    expect(node.published).toEqual([]);
    expect(node.core.metrics()).toMatchObject({ messagesIn: 0, messagesOut: 1 });
  });

  test.each([
    ['a command of another kind', Buffer.from([Command.PING, 0, 0, 0, 0, 0, 0, 1])],
    ['too short', Buffer.from([1, 0, 0])],
    ['one with a topic beyond its end', Buffer.from([1, 0, 0xff, 0xff, 0, 0, 0, 0, 1])],
    ['one to the broker itself', message('$sys/admin/kick', '{}')],
    ['one with an alias', message('a', 'x', { flags: PublishFlag.ALIAS })],
    ['one with a wildcard', message('a/+', 'x')],
  ])('that is none is dropped and counted: %s [CLU-6]', (_, bytes) => {
    const node = new Node();
    const stream = node.subscribed('#');
    lines(stream);
    node.comes(bytes);
    expect(lines(stream)).toEqual([]);
    expect(node.core.metrics().cluster).toMatchObject({ invalid: 1 });
    expect(node.faults).toEqual([]);
  });

  test('that is in a log says so to the others, whose readers of logs get it there [CLU-6]', () => {
    const node = new Node();
    const live = node.subscribed('a');
    const reader = node.open();
    reader.send(encodeSubscribe(1, 'a', Overflow.BLOCK | SubscribeFlag.QOS1, 0, 0));
    lines(live);
    lines(reader);
    node.comes(message('a', 'stored', { flags: PublishFlag.QOS1, id: 1 }));
    node.comes(message('a', 'live'));
    expect(lines(live)).toEqual(['a=stored', 'a=live']);
    expect(lines(reader)).toEqual(['a=live']);
    node.open().send(message('a', 'mine', { flags: PublishFlag.QOS1, id: 1 }));
    const [{ message: sent }] = node.backplane.published;
    expect([sent[1] & PublishFlag.QOS, sent.readUInt32BE(4)]).toEqual([PublishFlag.QOS1, 1]);
    expect(lines(live)).toEqual(['a=mine']);
    expect(live.link.commands).toEqual([]);
  });

  test('says whether it was published with RETAIN, to those alone who want to know [CLU-6] [BRK-131]', () => {
    const node = new Node();
    const plain = node.subscribed('a');
    const curious = node.open();
    const options = encodeSubscribeOptions({ asPublished: 0x01 });
    curious.send(encodeSubscribe(1, 'a', Overflow.BLOCK, 0, 0, options));
    for (const each of [plain, curious]) lines(each);
    node.open().send(message('a', 'mine', { flags: PublishFlag.RETAIN }));
    const [{ message: sent }] = node.backplane.published;
    expect(sent[1]).toBe(PublishFlag.RETAIN);
    node.comes(message('a', 'theirs', { flags: PublishFlag.RETAIN }));
    node.comes(message('a', 'another'));
    const flagsOf = (stream: FakeStream) => {
      stream.carry();
      return stream.link.commands.map(({ flags }) => flags & PublishFlag.RETAIN);
    };
    expect(flagsOf(plain)).toEqual([0, 0, 0]);
    expect(flagsOf(curious)).toEqual([PublishFlag.RETAIN, PublishFlag.RETAIN, 0]);
  });

  test('comes no later than it is of use, and with the time that is left [CLU-6]', () => {
    const node = new Node();
    const stream = node.subscribed('a');
    lines(stream);
    node.comes(message('a', 'late'), { deadlineMs: 1_000 });
    expect(lines(stream)).toEqual([]);
    node.open().send(message('a', 'soon', { properties: { ttlMs: 700 } }));
    expect(node.backplane.published).toMatchObject([{ ttlMs: 700, priority: CHAT }]);
  });

  test('that a full queue does not take is dropped there, and stops nobody [CLU-5]', () => {
    const node = new Node();
    const stream = new FakeClient(node.core).open(1);
    stream.subscribe(1, 'a', Overflow.BLOCK, 2);
    stream.carry();
    for (let i = 0; i < 5; i++) node.comes(message('a', String(i)));
    for (let i = 0; i < 6; i++) stream.carry();
    expect(stream.link.lines.slice(1)).toEqual(['a=0', 'a=1', 'a=2', 'DROPPED 2 0']);
    expect(node.core.metrics()).toMatchObject({ publishersStopped: 0, publisherStops: 0 });
  });

  test('that has not come is told, to those who read no log [CLU-8]', () => {
    const node = new Node();
    const stream = node.subscribed('a/#');
    const other = node.subscribed('b');
    const reader = node.open();
    reader.send(encodeSubscribe(1, 'a/b', Overflow.BLOCK | SubscribeFlag.QOS1, 0, 0));
    for (const each of [stream, other, reader]) lines(each);
    node.backplane.push((events) => events.missed(3, message('a/b', 'next')));
    node.comes(message('a/b', 'next'));
    expect(lines(stream)).toEqual(['DROPPED 3 7', 'a/b=next']);
    expect(lines(other)).toEqual([]);
    expect(lines(reader)).toEqual(['a/b=next']);
  });
});

describe('a shared group of QoS 0', () => {
  test('gets what the backplane gives this node, and not what is published here [CLU-9]', () => {
    const node = new Node();
    const members = [node.subscribed('$share/g/a'), node.subscribed('$share/g/a')];
    for (const each of members) lines(each);
    node.open().publish('a', 'mine');
    expect(members.flatMap(lines)).toEqual([]);
    expect(node.published).toEqual(['a 0']);
    node.comes(message('a', 'one'), { group: '$share/g/a' });
    node.comes(message('a', 'two'), { group: '$share/g/a' });
    node.comes(message('a', 'gone'), { group: '$share/other/a' });
    node.comes(message('a', 'for all'));
    expect(members.map(lines)).toEqual([['a=one'], ['a=two']]);
  });

  test('gets what is published here as long as the node is cut off [CLU-9]', () => {
    const node = new Node();
    const member = node.subscribed('$share/g/a');
    lines(member);
    node.backplane.isConnected = false;
    node.open().publish('a', 'mine');
    expect(lines(member)).toEqual(['a=mine']);
  });
});

describe('a request', () => {
  const request = (topic: string) =>
    message(topic, '?', { properties: { replyTopic: 'answers', correlation: Buffer.from('c') } });
  const NONE = /^answers=/;

  function asking(node: Node) {
    const answers = node.subscribed('answers');
    lines(answers);
    return { answers, publisher: node.open() };
  }

  test('is answered by the broker when nobody anywhere wants it, and not before [CLU-12]', () => {
    const node = new Node();
    const { answers, publisher } = asking(node);
    publisher.send(request('service'));
    expect(lines(answers)).toEqual([]);
    expect(node.published).toEqual(['service 1']);
    node.backplane.push((events) => events.unanswered(1));
    node.backplane.push((events) => events.unanswered(1));
    node.core.look();
    expect(lines(answers)).toEqual([expect.stringMatching(NONE)]);
  });

  test('that somebody here answers is not asked about elsewhere [CLU-12]', () => {
    const node = new Node();
    const { publisher } = asking(node);
    node.subscribed('service');
    publisher.send(request('service'));
    expect(node.published).toEqual(['service 0']);
  });

  test('is answered at once by a node that is cut off [CLU-12]', () => {
    const node = new Node();
    const { answers, publisher } = asking(node);
    node.backplane.isConnected = false;
    publisher.send(request('service'));
    expect(lines(answers)).toEqual([expect.stringMatching(NONE)]);
  });

  test('is tried once again where the node was connected only now [CLU-12]', () => {
    const node = new Node();
    const { answers, publisher } = asking(node);
    node.backplane.push((events) => events.connected());
    node.core.look();
    node.core.goOn(100);
    publisher.send(request('service'));
    expect(node.published).toEqual(['service 1']);
    node.backplane.push((events) => events.unanswered(1));
    node.core.look();
    expect([lines(answers), node.published]).toEqual([[], []]);
    node.core.goOn(150);
    expect([lines(answers), node.published]).toEqual([[], ['service 1']]);
    node.backplane.push((events) => events.unanswered(1));
    node.core.look();
    expect(lines(answers)).toEqual([expect.stringMatching(NONE)]);
  });

  test('of QoS 1 that nobody wants is answered, too, and its result does not say so [CLU-12]', () => {
    const node = new Node();
    const { answers, publisher } = asking(node);
    const bytes = request('service');
    bytes[1] |= PublishFlag.QOS1;
    bytes[7] = 1;
    publisher.send(bytes);
    expect(node.published).toHaveLength(1);
    expect(lines(answers)).toEqual([]);
  });

  test('is forgotten where nothing is heard of it [CLU-12]', () => {
    const node = new Node();
    const { answers, publisher } = asking(node);
    publisher.send(request('service'));
    node.core.goOn(2_001);
    publisher.send(request('service'));
    node.backplane.push((events) => events.unanswered(1));
    node.core.look();
    expect(lines(answers)).toEqual([]);
  });
});
