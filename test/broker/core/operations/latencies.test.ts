import { describe, expect, test } from 'vitest';
import { Prng } from '../../../../src/base/random.ts';
import type { BrokerState } from '../../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import { DrivenCore } from '../driven-core.ts';
import { LateStore } from '../durable/late-store.ts';
import { LogWorld } from '../durable/log-world.ts';
import { FakeClient } from '../fake-client.ts';

/** What the span since the last time says, ms. */
function deliverOf(core: DrivenCore) {
  return core.inspection.takeLatencies(({ deliver }) => ({
    count: deliver.count,
    p50: deliver.quantile(0.5) / 1_000,
    p99: deliver.quantile(0.99) / 1_000,
  }));
}

describe('latencies of a broker [OPS-6]', () => {
  test('stand for every message that has waited, and are those of a look at each', () => {
    for (let seed = 1; seed <= 20; seed++) {
      const random = new Prng(seed);
      const core = new DrivenCore();
      const subscriber = new FakeClient(core).open(2);
      subscriber.subscribe(1, 't');
      subscriber.carry();
      const publisher = new FakeClient(core).open();
      const published: number[] = [];
      const waits: number[] = [];
      let now = 0;
      let gone = 0;
      for (let step = 0; step < 3_000; step++) {
        const ms = random.below(4);
        now += ms;
        core.goOn(ms);
        if (random.below(5) < 2) {
          publisher.publish('t', 'x');
          published.push(now);
        } else subscriber.carry(random.between(1, 3));
        // What the transport has, or the client, has left the broker.
        const out = subscriber.link.delivered.length - 1 + subscriber.link.outbox.length;
        for (; gone < out; gone++) waits.push(now - published[gone]);
      }
      const exact = waits.sort((a, b) => a - b);
      const told = core.inspection.takeLatencies((span) => ({
        atOnce: exact.filter((ms) => ms === 0).length,
        count: span.deliver.count,
        quantiles: [0.9, 0.99].map((share) => span.deliver.quantile(share) / 1_000),
      }));
      // What went out in its turn is only counted: nobody has timed turns here.
      const waited = exact.slice(told.atOnce);
      expect(told.count, `seed ${seed}`).toBeGreaterThan(waited.length * 0.9);
      expect(told.count, `seed ${seed}`).toBeLessThanOrEqual(exact.length);
      const max = waited[waited.length - 1];
      for (const [i, share] of [0.9, 0.99].entries()) {
        const right = waited[Math.floor(share * (waited.length - 1))];
        expect(Math.abs(told.quantiles[i] - right), `seed ${seed}, ${share}`).toBeLessThan(max * 0.2 + 2);
      }
    }
  });

  test('of messages that go out at once are those of the turns that were timed', () => {
    const core = new DrivenCore();
    new FakeClient(core).open().subscribe(1, 't');
    const publisher = new FakeClient(core).open();
    for (let i = 0; i < 100; i++) publisher.publish('t', 'x');
    core.inspection.turned(0.5);
    core.inspection.turned(1.5);
    const { count, p50, p99 } = deliverOf(core);
    expect(count).toBe(100);
    expect([p50, p99]).toEqual([expect.closeTo(0.5, 1), expect.closeTo(1.5, 1)]);
    expect(deliverOf(core).count).toBe(0);
  });

  test('of a publisher that was stopped begin when its message came, not when it entered the queue', () => {
    const core = new DrivenCore();
    const subscriber = new FakeClient(core).open(1);
    subscriber.subscribe(1, 't', 0, 1, 0);
    subscriber.carry();
    const [one, two, three] = Array.from({ length: 3 }, () => new FakeClient(core).open());
    core.goOn(10);
    for (const each of [one, two, three]) each.publish('t', 'x');
    expect(core.metrics().publishersStopped).toBe(1);
    core.goOn(500);
    for (let i = 0; i < 4; i++) subscriber.carry();
    const { count, p99 } = deliverOf(core);
    expect(count).toBe(2);
    expect(p99).toBeCloseTo(500, -1);
  });

  test('of a log are those from taking a record to its being stored, and how many were stored together', () => {
    const store = new LateStore(new MemoryStore());
    const world = new LogWorld({ store });
    const [log] = store.logs;
    const { latencies } = (world.core as unknown as { state: BrokerState }).state;
    for (let i = 0; i < 5; i++) latencies.appended(log, world.append('a=x'), world.nowMs);
    world.pass(7);
    store.step(1);
    world.core.look();
    const { commit, group } = world.core.inspection.takeLatencies((span) => ({
      commit: [span.commit.count, span.commit.quantile(1) / 1_000],
      group: [span.group.count, span.group.quantile(1)],
    }));
    expect(commit).toEqual([5, 7]);
    expect(group).toEqual([1, 5]);
    expect(world.core.inspection.storedAt(log)).toBe(world.wallMs);
  });

  test('leave out what a reader of a log catches up with, however old that is', () => {
    const world = new LogWorld();
    world.append('a=1', 'a=2', 'a=3');
    world.pass(60_000);
    const reader = world.subscriber().subscribe('a', { start: 1 });
    expect(reader.messages()).toHaveLength(3);
    expect(deliverOf(world.core).count).toBe(0);
    world.append('a=4');
    expect(deliverOf(world.core)).toMatchObject({ count: 1, p99: 0 });
  });
});
