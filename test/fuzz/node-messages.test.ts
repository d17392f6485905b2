import type { Msg, ServerInfo, Subscription } from '@nats-io/transport-node';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type LiveLine, NatsLive } from '../../src/broker/backplane/nats/live.ts';
import { LIVE_HEAD_BYTES, LiveHead } from '../../src/broker/backplane/nats/live-message.ts';
import { News } from '../../src/broker/backplane/nats/news.ts';
import { publishPrefix } from '../../src/pubsub/command.ts';
import { FakeBackplane } from '../broker/backplane/fake-backplane.ts';
import { DrivenCore } from '../broker/core/driven-core.ts';
import { FakeClient } from '../broker/core/fake-client.ts';

type Take = Parameters<LiveLine['subscribe']>[1];

/** A line to a NATS that is the test: what is subscribed to can be called. */
class Wire implements LiveLine {
  readonly isUp = true;
  readonly hasRoom = true;
  readonly taking = new Map<string, Take>();
  readonly sent: { subject: string; bytes: Uint8Array }[] = [];
  readonly nats = {
    info: { max_payload: 1_048_576 } as ServerInfo,
    publish: (subject: string, bytes: Uint8Array) => void this.sent.push({ subject, bytes }),
  };

  subscribe(subject: string, take: Take): Subscription {
    this.taking.set(subject, take);
    return { unsubscribe: () => void this.taking.delete(subject) } as Subscription;
  }

  count(): void {}

  settled(): Promise<boolean> {
    return Promise.resolve(true);
  }
}

function liveOn(wire: Wire, number: number) {
  const news = new News();
  const parts = {
    line: wire,
    groupLine: wire,
    news,
    prefix: 'jsp.c.',
    node: 'n',
    number,
    nowMs: () => 1_000,
  };
  return { news, live: new NatsLive(parts) };
}

/** Of a message only its bytes are read. */
const message = (data: Uint8Array) => ({ data }) as Msg;
const uint32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('messages between nodes', () => {
  test('have heads that are read as they were written [CLU-6]', () => {
    const head = fc.record({
      priority: fc.integer({ min: 0, max: 3 }),
      node: uint32,
      sequence: fc.integer({ min: 1, max: 2 ** 48 - 1 }),
      count: uint32,
      lifeMs: fc.oneof(
        uint32,
        fc.constant(Number.POSITIVE_INFINITY),
        fc.double({ min: 0, max: 1e12, noNaN: true }),
      ),
    });
    fc.assert(
      fc.property(head, fc.uint8Array({ minLength: 1, maxLength: 40 }), (fields, payload) => {
        const bytes = Object.assign(new LiveHead(), fields).write(payload);
        const read = new LiveHead();
        expect(read.read(bytes)).toBe(true);
        const lifeMs =
          Math.ceil(fields.lifeMs) >= 0xffff_ffff ? Number.POSITIVE_INFINITY : Math.ceil(fields.lifeMs);
        expect({ ...read }).toEqual({ ...fields, lifeMs });
        expect(Buffer.from(bytes.subarray(LIVE_HEAD_BYTES))).toEqual(Buffer.from(payload));
      }),
    );
  });

  test('that are anything are counted or dropped, and what is well comes all the same [CLU-6]', () => {
    const well = (sequence: number, text: string) =>
      Object.assign(new LiveHead(), { node: 9, sequence, count: 0 }).write(
        Buffer.concat([publishPrefix('a/b'), Buffer.from(text)]),
      );
    const any = fc.oneof(
      fc.uint8Array({ maxLength: 60 }),
      fc.tuple(fc.nat(40), fc.nat(255), fc.nat(60)).map(([at, value, length]) => {
        const bytes = Buffer.from(well(1, 'x'));
        bytes[at % bytes.length] = value;
        return bytes.subarray(0, length);
      }),
    );
    fc.assert(
      fc.property(fc.array(any, { maxLength: 20 }), (hostile) => {
        const wire = new Wire();
        const { news, live } = liveOn(wire, 7);
        live.want('#');
        const backplane = new FakeBackplane();
        const faults: unknown[] = [];
        const core = new DrivenCore({}, (error) => faults.push(error), undefined, backplane);
        core.goOn(1_000);
        backplane.values.complete();
        const stream = new FakeClient(core).open();
        stream.subscribe(1, '#');
        const take = wire.taking.get('jsp.c.m.>') as Take;
        for (const data of hostile) take(message(data));
        take(message(well(2 ** 48 - 1, 'well')));
        while (!news.isEmpty) {
          backplane.push((events) => news.tell(events));
          core.look();
        }
        stream.carry();
        expect(stream.link.lines).toContain('a/b=well');
        expect(faults).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test('come once and in order by however many subscriptions, and what is missing is told once [CLU-7] [CLU-8]', () => {
    // Of each message: whether it comes, and by how many subscriptions.
    const fates = fc.array(
      fc.record({ comes: fc.boolean(), times: fc.integer({ min: 1, max: 3 }), topic: fc.nat(2) }),
      {
        minLength: 1,
        maxLength: 60,
      },
    );
    fc.assert(
      fc.property(fates, (all) => {
        const sender = new Wire();
        const { live: from } = liveOn(sender, 1);
        const receiver = new Wire();
        const { news, live: to } = liveOn(receiver, 2);
        to.want('#');
        const take = receiver.taking.get('jsp.c.m.>') as Take;
        const told: string[] = [];
        const expected: string[] = [];
        const missing = new Map<number, number>();
        const seen = new Set<number>();
        for (const [i, { comes, times, topic }] of all.entries()) {
          const prefix = publishPrefix(`t/${topic}`);
          from.publish(
            Buffer.concat([prefix, Buffer.from(`${i}`)]),
            prefix.length,
            2,
            Number.POSITIVE_INFINITY,
            0,
          );
          if (!comes) {
            missing.set(topic, (missing.get(topic) ?? 0) + 1);
            continue;
          }
          for (let j = 0; j < times; j++) take(message(sender.sent[i].bytes));
          const missed = missing.get(topic) ?? 0;
          if (missed > 0 && seen.has(topic)) expected.push(`missed ${missed}`);
          missing.delete(topic);
          seen.add(topic);
          expected.push(`${i}`);
        }
        while (!news.isEmpty) {
          news.tell({
            message: (message: Uint8Array) => told.push(Buffer.from(message.subarray(11)).toString()),
            missed: (count: number) => told.push(`missed ${count}`),
          } as never);
        }
        expect(told.filter((each) => each !== '')).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  test('that were not wanted for a while are not missed, whatever else is given up [CLU-8]', () => {
    const sender = new Wire();
    const { live: from } = liveOn(sender, 1);
    const receiver = new Wire();
    const { news, live: to } = liveOn(receiver, 2);
    const told: string[] = [];
    const publish = (topic: string, comes: boolean) => {
      const prefix = publishPrefix(topic);
      from.publish(prefix, prefix.length, 2, Number.POSITIVE_INFINITY, 0);
      const { bytes } = sender.sent[sender.sent.length - 1];
      if (comes) for (const take of receiver.taking.values()) take(message(bytes));
      while (!news.isEmpty)
        news.tell({
          message: () => told.push(topic),
          missed: (count: number) => told.push(`missed ${count}`),
        } as never);
    };
    to.want('a/+');
    to.want('b');
    publish('a/1', true);
    publish('b', true);
    to.unwant('b');
    publish('a/1', false);
    publish('b', false);
    to.want('b');
    publish('a/1', true);
    publish('b', true);
    publish('b', false);
    publish('b', true);
    expect(told).toEqual(['a/1', 'b', 'missed 1', 'a/1', 'b', 'missed 1', 'b']);
  });
});
