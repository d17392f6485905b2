import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import { Marks } from '../../../../src/broker/core/delivery/gates.ts';
import {
  Command,
  encodePlain,
  encodeSubscribe,
  LARGE_BYTES_MIN,
  Overflow,
  publishPrefix,
  ReasonCode,
  SubscribeFlag,
} from '../../../../src/pubsub/command.ts';
import { DrivenCore } from '../driven-core.ts';
import { FakeClient, type FakeStream } from '../fake-client.ts';
import type { FakeLane } from '../fake-link.ts';
import { walkedLevels } from '../levels.ts';

const [SYSTEM, MEDIA, CHAT, BULK] = [0, 1, 2, 3];
const LARGE = 'x'.repeat(LARGE_BYTES_MIN);

/** A client that takes lanes, and answers MARK once it has taken what came before. */
class LaneClient {
  readonly client: FakeClient;
  readonly main: FakeStream;
  /** Deliveries as `topic=first characters`, in the order the client has taken them. */
  readonly taken: string[] = [];
  private readonly core: DrivenCore;
  private readonly read = new Map<object, number>();

  constructor(
    core: DrivenCore,
    filter = '#',
    flags: number = Overflow.BLOCK,
    mark = Number.POSITIVE_INFINITY,
  ) {
    this.core = core;
    this.client = new FakeClient(core);
    this.client.peer.laneMark = mark;
    this.main = this.client.open(mark);
    this.main.send(encodeSubscribe(1, filter, flags | SubscribeFlag.LANES, 0, 0));
  }

  get lanes(): FakeLane[] {
    return this.client.peer.lanes;
  }

  get streams() {
    return [this.main, ...this.lanes];
  }

  /** Up to `count` messages of one stream arrive, and are taken. */
  carry({ link, channel }: FakeLane, count?: number): void {
    if (link.carry(count)) this.core.drained(channel);
    for (let at = this.read.get(link) ?? 0; at < link.delivered.length; at++) {
      this.read.set(link, at + 1);
      const bytes = Buffer.from(link.delivered[at]);
      if (bytes[0] === Command.MARK) {
        const answer = encodePlain(Command.MARKED, bytes.readUInt32BE(4));
        if (channel === this.main.channel) this.main.send(answer);
        else this.core.received(channel, answer);
      } else if (bytes[0] === Command.PUBLISH) {
        const end = 8 + bytes.readUInt16BE(2);
        this.taken.push(`${bytes.toString('utf8', 8, end)}=${bytes.toString('latin1', end, end + 8)}`);
      }
    }
  }

  carryAll(): void {
    for (let i = 0; i < 40; i++) for (const stream of this.streams) this.carry(stream);
  }
}

function publisher(core: DrivenCore, priority = CHAT): FakeStream {
  return new FakeClient(core).open(Number.POSITIVE_INFINITY, { priority });
}

test('what a client says to have taken counts where it was asked, and not as less than before [BRK-39]', () => {
  const marks = new Marks();
  marks.confirm(77);
  expect(marks.isAwaited).toBe(false);
  const [first, second] = [marks.next(), marks.next()];
  marks.confirm(second + 1);
  expect(marks.confirmed).toBe(0);
  marks.confirm(second);
  marks.confirm(first);
  expect([marks.confirmed, marks.isAwaited]).toEqual([second, false]);
});

describe('lanes', () => {
  test('carry what is of another class or large; what is not goes on the subscribing stream [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core);
    publisher(core).publish('a', 'chat');
    publisher(core, SYSTEM).publish('b', 'system');
    publisher(core, BULK).publish('c', 'bulk');
    publisher(core, BULK).publish('d', 'bulk');
    publisher(core).publish('e', LARGE);
    publisher(core, MEDIA).publish('f', LARGE);
    subscriber.carryAll();
    const { lanes, main } = subscriber;
    expect(main.link.lines.slice(0, 2)).toEqual(['SUBSCRIBED 1', 'a=chat']);
    expect(lanes.map(({ link }) => link.priority)).toEqual([SYSTEM, BULK, CHAT, MEDIA, MEDIA]);
    expect(lanes.every(({ link }) => link.lines[0] === `LANE ${main.link.id}`)).toBe(true);
    expect(subscriber.taken.map((line) => line.slice(0, 1)).sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f']);
    expect(core.metrics()).toMatchObject({ lanes: 5, messagesOut: 6, queuedMessages: 0 });
  });

  test('are not opened for a client that did not ask for them [BRK-39]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open();
    stream.subscribe(1, '#');
    publisher(core, SYSTEM).publish('a', LARGE);
    stream.carry();
    expect([client.peer.lanes.length, stream.link.lines.length]).toEqual([0, 2]);
  });

  test('hold a large message until the client has taken what its topic had on the other stream [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core);
    const { main } = subscriber;
    subscriber.carry(main);
    const stream = publisher(core);
    stream.publish('a', 'first');
    stream.publish('a', LARGE);
    stream.publish('a', 'third');
    stream.publish('b', 'free');
    const [lane] = subscriber.lanes;
    subscriber.carry(lane);
    expect(lane.link.lines.length).toBe(1);
    subscriber.carry(main);
    subscriber.carry(lane);
    expect(subscriber.taken).toEqual(['a=first', 'b=free', 'a=xxxxxxxx', 'a=third']);
    subscriber.carryAll();
    stream.publish('a', 'back');
    subscriber.carry(main);
    expect(subscriber.taken.at(-1)).toBe('a=back');
  });

  test('hold it also when a message that was to go before it is discarded with its publisher [BRK-39] [BRK-18]', () => {
    const core = new DrivenCore({ queueMessagesMax: 1 });
    const subscriber = new LaneClient(core);
    subscriber.client.peer.laneMark = 1;
    const { main } = subscriber;
    subscriber.carry(main);
    for (const topic of ['sent', 'queued']) publisher(core).publish(topic, LARGE);
    const [leaving, staying] = [publisher(core), publisher(core)];
    leaving.publish('waits', LARGE);
    staying.publish('a', 'first');
    staying.publish('a', LARGE);
    expect([leaving.link.paused, staying.link.paused]).toEqual([true, true]);
    leaving.end();
    const [lane] = subscriber.lanes;
    for (let i = 0; i < 5; i++) subscriber.carry(lane);
    expect(subscriber.taken).toEqual(['sent=xxxxxxxx', 'queued=xxxxxxxx']);
    subscriber.carry(main);
    for (let i = 0; i < 5; i++) subscriber.carry(lane);
    expect(subscriber.taken).toEqual(['sent=xxxxxxxx', 'queued=xxxxxxxx', 'a=first', 'a=xxxxxxxx']);
  });

  test.each([
    ['never full', Number.POSITIVE_INFINITY, 0],
    ['full after two messages', 2, 0],
    ['with short queues', 2, 3],
  ])(
    'keep the order of each publisher, topic and class, streams %s, at random [BRK-20] [BRK-39]',
    (_, mark, queue) => {
      let moves = 0;
      for (let seed = 1; seed <= 40; seed++) {
        const random = new Prng(seed);
        const core = new DrivenCore(queue === 0 ? {} : { queueMessagesMax: queue });
        const subscriber = new LaneClient(core, '#', Overflow.BLOCK, mark);
        // As a client does, a publisher sends a large message only when the other stream has been handed on.
        const publishers = [CHAT, BULK].map((priority) => {
          const client = new FakeClient(core);
          return [0, 1].map(() => client.open(Number.POSITIVE_INFINITY, { priority }));
        });
        const expected = new Map<string, string[]>();
        let sent = 0;
        for (let step = 0; step < 250; step++) {
          if (random.chance(0.5)) {
            const which = random.below(2);
            const topic = `${which}${'abc'[random.below(3)]}`;
            const streams = publishers[which];
            if (streams.some(({ link }) => link.paused)) continue;
            const large = random.chance(0.3);
            const text = `${sent++}`.padEnd(8, '.');
            const list = expected.get(topic) ?? [];
            list.push(`${topic}=${text}`);
            expected.set(topic, list);
            streams[Number(large)].send(
              Buffer.concat([publishPrefix(topic), Buffer.from(large ? text + LARGE : text)]),
            );
          } else {
            const { streams } = subscriber;
            subscriber.carry(streams[random.below(streams.length)], random.between(1, 4));
          }
        }
        for (let i = 0; i < 60; i++) subscriber.carryAll();
        moves += subscriber.lanes.length;
        expect(core.metrics()).toMatchObject(walkedLevels(core));
        for (const [topic, list] of expected) {
          const taken = subscriber.taken.filter((line) => line.startsWith(`${topic}=`));
          expect(taken, `seed ${seed}, topic ${topic}`).toEqual(list);
        }
        expect(core.idle, `seed ${seed}`).toBe(true);
        expect(core.metrics(), `seed ${seed}`).toMatchObject({ queuedBytes: 0, publishersStopped: 0 });
      }
      expect(moves).toBe(40 * 3);
    },
  );

  test('are at most 64 for a client; what finds none goes on the subscribing stream, and stays there [BRK-39]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const streams = Array.from({ length: 70 }, (_, i) => {
      const stream = client.open();
      stream.send(encodeSubscribe(1, `t/${i}`, SubscribeFlag.LANES, 0, 0));
      return stream;
    });
    const from = publisher(core, BULK);
    for (let i = 0; i < 70; i++) from.publish(`t/${i}`, 'x');
    expect([client.peer.lanes.length, core.metrics().lanes]).toEqual([64, 64]);
    for (const stream of streams) stream.carry();
    expect(streams.filter(({ link }) => link.lines.length === 2).length).toBe(6);
  });

  test('are opened as long as the client allows streams, those counted that are about to be [BRK-39]', () => {
    const core = new DrivenCore();
    const client = new FakeClient(core);
    const stream = client.open();
    stream.send(encodeSubscribe(1, '#', SubscribeFlag.LANES, 0, 0));
    client.peer.openableStreams = 1;
    // A large message of another class wants two at once, one of them behind the other.
    const from = publisher(core, BULK);
    from.publish('t', 'x'.repeat(LARGE_BYTES_MIN));
    expect(client.peer.lanes.length).toBe(1);
    client.peer.openableStreams = 0;
    publisher(core, MEDIA).publish('t', 'on the subscribing stream');
    expect(client.peer.lanes.length).toBe(1);
    client.peer.openableStreams = 1;
    publisher(core, SYSTEM).publish('t', 'on a lane, now that there may be one more');
    expect(client.peer.lanes.length).toBe(2);
    stream.carry();
    client.peer.lanes[0].link.carry();
    expect(stream.link.lines).toEqual(['SUBSCRIBED 1', 't=on the subscribing stream']);
    expect(client.peer.lanes[0].link.lines.map((line) => line.slice(0, 5))).toEqual([
      `LANE ${stream.link.id}`.slice(0, 5),
      't=xxx',
    ]);
  });

  test('go on for a filter that is subscribed again before they were taken, in its order [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core, 'a');
    const { main } = subscriber;
    const from = publisher(core, BULK);
    from.publish('a', 'first');
    main.unsubscribe(2, 'a');
    main.send(encodeSubscribe(3, 'a', SubscribeFlag.LANES, 0, 0));
    from.publish('a', 'second');
    for (const stream of subscriber.streams.reverse()) subscriber.carry(stream);
    subscriber.carryAll();
    expect(subscriber.taken).toEqual(['a=first', 'a=second']);
    expect(subscriber.lanes.map(({ link }) => link.ended)).toEqual([false]);
    expect(main.link.lines.filter((line) => line.includes('SUB'))).toEqual([
      'SUBSCRIBED 1',
      'SUBSCRIBED 3',
      'UNSUBSCRIBED 2',
    ]);
  });

  test('end behind what is queued for them when the filter has gone twice [BRK-15] [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core, 'a');
    const { client, main } = subscriber;
    client.peer.laneMark = 1;
    const from = publisher(core, BULK);
    for (const payload of ['1', '2']) from.publish('a', payload);
    main.unsubscribe(2, 'a');
    main.send(encodeSubscribe(3, 'a', SubscribeFlag.LANES, 0, 0));
    for (const payload of ['3', '4']) from.publish('a', payload);
    main.unsubscribe(4, 'a');
    const [lane] = subscriber.lanes;
    while (subscriber.taken.length < 4) {
      expect(lane.link.ended).toBe(false);
      subscriber.carry(lane, 1);
    }
    subscriber.carryAll();
    expect(subscriber.taken).toEqual(['a=1', 'a=2', 'a=3', 'a=4']);
    expect(main.link.lines.slice(-2)).toEqual(['UNSUBSCRIBED 2', 'UNSUBSCRIBED 4']);
    expect([lane.link.ended, subscriber.lanes.length]).toEqual([true, 1]);
  });

  test('are waited for by the answer to an unsubscription, and end with the last filter [BRK-15]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core);
    const { main } = subscriber;
    publisher(core, BULK).publish('a', 'on a lane');
    main.unsubscribe(2, '#');
    subscriber.carry(main);
    expect(main.link.lines).toEqual(['SUBSCRIBED 1']);
    subscriber.carry(subscriber.lanes[0]);
    subscriber.carry(main);
    expect(main.link.lines).toEqual(['SUBSCRIBED 1', 'UNSUBSCRIBED 2']);
    expect([subscriber.taken, subscriber.lanes[0].link.ended]).toEqual([['a=on a lan'], true]);
    core.ended(subscriber.lanes[0].channel);
    expect(core.metrics()).toMatchObject({ lanes: 0, streams: 2 });
  });

  test('are not waited for for ever, however many filters go while they wait for the subscribing stream [BRK-15] [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core, 'first');
    const { main } = subscriber;
    for (let i = 0; i < 200; i++) main.send(encodeSubscribe(2, `t/${i}`, SubscribeFlag.LANES, 0, 0));
    const source = publisher(core);
    source.publish('first', 'small');
    source.publish('first', LARGE); // behind the small one, on a lane
    for (let i = 0; i < 200; i++) main.unsubscribe(3, `t/${i}`);
    expect(main.inbox.length).toBe(0); // the answer to MARK has to come through
    subscriber.carryAll();
    expect(subscriber.taken).toEqual(['first=small', 'first=xxxxxxxx']);
    expect(main.link.lines.filter((line) => line === 'UNSUBSCRIBED 3').length).toBe(200);
    expect(subscriber.client.end.lateAnswers).toBe(0);
  });

  test('make a client wait that asks for ever more and answers no MARK [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core, 'first');
    const { main, client } = subscriber;
    const source = publisher(core);
    source.publish('first', 'small');
    source.publish('first', LARGE);
    for (let i = 0; i < 5_000; i++) {
      main.send(encodeSubscribe(2, 'other', SubscribeFlag.LANES, 0, 0));
      main.unsubscribe(3, 'other');
      main.link.carry();
    }
    expect(main.link.paused).toBe(true);
    expect(client.end.lateAnswers).toBe(2_048);
    core.ended(main.channel);
    expect(client.end.lateAnswers).toBe(0);
  });

  test('that a client does not take let it wait with its next question once 64 are not answered [BRK-15] [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core);
    const { main } = subscriber;
    publisher(core, BULK).publish('a', 'on a lane');
    const answered = () => main.link.lines.filter((line) => line === 'UNSUBSCRIBED 3').length;
    for (let i = 0; i < 64; i++) {
      expect([i, main.link.paused]).toEqual([i, false]);
      main.send(encodeSubscribe(2, 'other', SubscribeFlag.LANES, 0, 0));
      main.unsubscribe(3, 'other');
      main.link.carry();
    }
    expect([answered(), main.link.paused]).toEqual([0, true]);
    subscriber.carryAll();
    expect([answered(), main.link.paused]).toEqual([64, false]);
  });

  test('end when they have carried nothing for 10 s, and are opened again when they are needed [BRK-39]', () => {
    const core = new DrivenCore();
    const subscriber = new LaneClient(core);
    const from = publisher(core, BULK);
    from.publish('a', '1');
    from.publish('a', LARGE);
    let now = 0;
    const pass = (ms: number) => {
      for (const end = now + ms; now < end; now += 500) {
        core.tick(now);
        subscriber.carryAll();
        for (const { link, channel } of subscriber.lanes) if (link.ended) core.ended(channel);
      }
    };
    pass(9_000);
    expect(core.metrics().lanes).toBe(2);
    from.publish('a', '2');
    pass(9_000);
    expect(core.metrics().lanes).toBe(1);
    pass(4_000);
    expect(core.metrics()).toMatchObject({ lanes: 0, subscriptions: 1 });
    from.publish('a', '3');
    subscriber.carryAll();
    expect(core.metrics().lanes).toBe(1);
    expect(subscriber.taken).toEqual(['a=1', 'a=xxxxxxxx', 'a=2', 'a=3']);
  });

  test('go with their subscribing stream, and with their client [BRK-5] [BRK-39]', () => {
    const core = new DrivenCore();
    const one = new LaneClient(core, '#', Overflow.BLOCK, 1);
    const other = new LaneClient(core, '#', Overflow.BLOCK, 1);
    const from = publisher(core, BULK);
    for (let i = 0; i < 4; i++) from.publish('a', LARGE);
    core.ended(one.main.channel);
    expect(one.lanes.every(({ link }) => link.ended)).toBe(true);
    other.client.disconnect();
    expect(core.metrics()).toMatchObject({ lanes: 0, queuedMessages: 0, queuedBytes: 0, clients: 2 });
  });

  test('that stand still are reset with their subscribing stream [BRK-23]', () => {
    const core = new DrivenCore({ stallMs: 1_000, queueMessagesMax: 2 });
    const subscriber = new LaneClient(core, '#', Overflow.BLOCK, 1);
    subscriber.carry(subscriber.main);
    const from = publisher(core, BULK);
    for (let i = 0; i < 5; i++) from.publish('a', `${i}`);
    expect(from.link.paused).toBe(true);
    for (let now = 0; now < 2_000; now += 100) core.tick(now);
    for (const { link } of subscriber.streams) expect(link.resetWith).toBe(ReasonCode.STALLED);
    expect(from.link.paused).toBe(false);
  });

  test('take nothing but MARKED and PING from the client [BRK-39]', () => {
    const attempts: ((subscriber: LaneClient, core: DrivenCore) => void)[] = [
      ({ lanes }, core) => core.received(lanes[0].channel, encodeSubscribe(1, 'a', 0, 0, 0)),
      ({ lanes }, core) => core.received(lanes[0].channel, encodePlain(Command.FLUSH, 1)),
      ({ lanes }, core) => core.received(lanes[0].channel, publishPrefix('a')),
      ({ client }) => client.open().send(encodePlain(Command.MARKED, 1)),
    ];
    for (const attempt of attempts) {
      const core = new DrivenCore();
      const subscriber = new LaneClient(core);
      publisher(core, BULK).publish('a', '');
      attempt(subscriber, core);
      expect(subscriber.client.peer.closedWith).toBe(ReasonCode.WRONG_STREAM);
    }
    const core = new DrivenCore();
    const subscriber = new LaneClient(core);
    publisher(core, BULK).publish('a', '');
    const [lane] = subscriber.lanes;
    core.received(lane.channel, encodePlain(Command.PING, 1));
    core.received(lane.channel, encodePlain(Command.MARKED, 77)); // of no MARK: ignored
    subscriber.carryAll();
    expect(lane.link.lines.at(-1)).toBe('PONG 1');
    expect(subscriber.client.peer.closedWith).toBeNull();
  });
});
