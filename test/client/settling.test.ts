import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CommandAcknowledger } from '../../src/client/acknowledging.ts';
import { type Message, Outcome, type Settlement } from '../../src/client/message.ts';
import { Settling } from '../../src/client/settling.ts';
import { decodeNack, NACK_NEVER, offsetOf, visitAckRanges } from '../../src/pubsub/acknowledgement.ts';
import { AckFlag, Command } from '../../src/pubsub/command.ts';
import { ManualClock } from './manual-clock.ts';
import { subscribed } from './scripted-log.ts';

/** What happens to a subscription, one thing after the other; numbers choose among what there is. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ what: fc.constant('deliver' as const), skip: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ what: fc.constant('again' as const), which: fc.nat() }) },
  {
    weight: 5,
    arbitrary: fc.record({
      what: fc.constant('settle' as const),
      which: fc.nat(),
      outcome: fc.constantFrom(...Object.values(Outcome)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ what: fc.constant('break' as const), isOther: fc.boolean() }) },
  { weight: 1, arbitrary: fc.constant({ what: 'progress' as const }) },
);

/** A log, a broker that delivers it on one connection after the other, and an application that says now and then what it has done. */
class World {
  readonly clock = new ManualClock();
  readonly settling = new Settling(3_000, false, this.clock, () => {});
  readonly isAlone: boolean;
  epoch = 1;
  /** Near a border, so that ids begin anew. */
  head = 2 ** 32 - 3;
  /** What the application has said: offsets of this epoch that are done. */
  done = new Set<number>();
  /** Delivered in this epoch. */
  delivered = new Set<number>();
  /** With the broker, as not settled. */
  open = new Set<number>();
  /** Of them, those that this connection has not had yet: a reader that begins at an offset gives them before anything new. */
  pending: number[] = [];
  held: Settlement[] = [];

  constructor(isAlone: boolean) {
    this.isAlone = isAlone;
    this.begin(false);
  }

  deliver(offset: number, isRedelivered: boolean): void {
    this.head = Math.max(this.head, offset + 1);
    this.open.add(offset);
    const offsetRead = offsetOf(offset % 2 ** 32, this.settling.expected);
    const delivery = this.settling.receive(offsetRead, isRedelivered, 't');
    if (delivery === null) {
      // Only the application makes that a message is not handed over.
      expect(this.done.has(offset)).toBe(true);
      return;
    }
    expect([delivery.offset, delivery.epoch]).toEqual([offset, this.epoch]);
    const had = this.held.some(
      (held) => held.offset === offset && held.epoch === this.epoch && held.isHandedOver,
    );
    if (had) expect(delivery.isRedelivered).toBe(true);
    delivery.isHandedOver = true;
    this.delivered.add(offset);
    this.held.push(delivery);
  }

  deliverAgain(which: number): void {
    const had = [...this.open].filter((offset) => !this.pending.includes(offset));
    if (had.length > 0) this.deliver(had[which % had.length], true);
  }

  settle(delivery: Settlement, outcome: Outcome): void {
    const counts = this.settling.settle(delivery, outcome, { reason: 'why' });
    if (!counts) return;
    expect(delivery.epoch).toBe(this.epoch);
    if (outcome !== Outcome.NACK) this.done.add(delivery.offset);
  }

  breakOff(isOther: boolean): void {
    this.settling.breakOff();
    if (isOther) {
      this.epoch++;
      this.head = 1;
      this.done = new Set();
      this.delivered = new Set();
      this.open = new Set();
      this.pending = [];
      this.begin(false);
      return;
    }
    const { resumption } = this.settling;
    // It goes on at or before everything that is not done.
    for (const offset of this.delivered) {
      if (!this.done.has(offset))
        expect(offset).toBeGreaterThanOrEqual(resumption?.offset ?? Number.POSITIVE_INFINITY);
    }
    this.begin(true);
    if (!this.isAlone) return;
    this.open = new Set([...this.delivered].filter((offset) => offset >= (resumption?.offset ?? 0)));
    this.pending = [...this.open].sort((a, b) => a - b);
  }

  private begin(isRecovered: boolean): void {
    const broker = new CommandAcknowledger((command) => this.receive(command));
    this.settling.begin(broker, { epoch: this.epoch, next: this.head }, isRecovered, this.isAlone);
  }

  /** What the client says on the wire. */
  private receive(command: Uint8Array): void {
    const epochStart = this.epoch === 1 ? 2 ** 32 - 3 : 1;
    const offsetOf = (id: number): number => (this.epoch === 1 && id < 2 ** 31 ? 2 ** 32 + id : id);
    if (command[0] === Command.NACK) {
      const id = (command[4] << 24) | (command[5] << 16) | (command[6] << 8) | command[7];
      const offset = offsetOf(id >>> 0);
      if (decodeNack(command).delayMs === NACK_NEVER) this.open.delete(offset);
      return;
    }
    const flags = command[1];
    visitAckRanges(command, (first, count) => {
      for (let i = 0; i < count; i++) {
        const offset = offsetOf(first + i);
        expect(offset).toBeGreaterThanOrEqual(epochStart);
        if (flags === AckFlag.PROGRESS) {
          expect(this.done.has(offset)).toBe(false);
        } else {
          expect(this.done.has(offset)).toBe(true);
          this.open.delete(offset);
        }
      }
    });
  }
}

test.each([true, false])(
  'what is acknowledged was done by the application, in this log; what was not done comes again; nothing is forgotten (alone: %s) [CLT-22, CLT-27]',
  (isAlone) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const world = new World(isAlone);
        for (const each of steps) {
          if (each.what === 'deliver') world.deliver(world.pending.shift() ?? world.head + each.skip, false);
          else if (each.what === 'again') world.deliverAgain(each.which);
          else if (each.what === 'settle' && world.held.length > 0) {
            world.settle(world.held[each.which % world.held.length], each.outcome);
          } else if (each.what === 'break') world.breakOff(each.isOther);
          else world.clock.advance(1_000);
          world.clock.advance(0);
        }
        // The weather clears: what is open comes again and is done, and then the broker has nothing left.
        world.pending = [];
        for (let round = 0; round < 3; round++) {
          for (const offset of [...world.open].sort((a, b) => a - b)) world.deliver(offset, true);
          for (const delivery of world.held) world.settle(delivery, Outcome.ACK);
          world.clock.advance(0);
        }
        expect(world.open).toEqual(new Set());
        expect(world.settling.count).toBe(0);
      }),
      { numRuns: 400 },
    );
  },
);

test('a message that the application has given back, done after its connection, or just left is not held, whoever gets it next [CLT-22, CLT-27]', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const held: Message[] = [];
  const deliveries: WeakRef<object>[] = [];
  const { log, subscription, goOnline, breakOff, settle } = subscribed({ ack: 'manual' }, (message) => {
    held.push(message);
    deliveries.push(new WeakRef(message.delivery as object));
  });
  await goOnline();
  for (let offset = 1; offset <= 30; offset++) log.deliver(offset);
  await settle();
  for (const message of held.splice(20)) message.nack();
  breakOff();
  for (const message of held.splice(10)) expect(message.ack()).toBe(true);
  held.length = 0;
  await settle();
  gc();
  expect(deliveries.length).toBe(30);
  expect(deliveries.filter((delivery) => delivery.deref() !== undefined).length).toBeLessThan(5);
  // What is done is known all the same, and what is not.
  expect(subscription.handedOver.map(({ offset }) => offset)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  log.start = { isRecovered: true };
  await goOnline();
  expect(log.acks.flat()).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
});

test('of what a member has given back to its group few are held, for others are given them, or nobody', async () => {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  const heldAfter = async (isShared: boolean): Promise<number> => {
    const clock = new ManualClock();
    const settling = new Settling(3_000, false, clock, () => {});
    const broker = new CommandAcknowledger(() => {});
    settling.begin(broker, { epoch: 1, next: 1 }, false, false, isShared);
    const given: WeakRef<Settlement>[] = [];
    for (let offset = 1; offset <= 1_000; offset++) {
      const settlement = settling.receive(offset, false, 't') as Settlement;
      given.push(new WeakRef(settlement));
      settling.settle(settlement, Outcome.NACK, {});
    }
    await new Promise((resolve) => setImmediate(resolve));
    gc();
    const count = given.filter((each) => each.deref() !== undefined).length;
    settling.end();
    return count;
  };
  expect(await heldAfter(true)).toBeLessThan(300);
  expect(await heldAfter(false)).toBeGreaterThan(900); // they come again to this one
});

test('nobody is told of progress, and no timer waits for it, once a subscription is over', () => {
  const clock = new ManualClock();
  const settling = new Settling(3_000, true, clock, () => {});
  let told = 0;
  const broker = { ack: () => {}, nack: () => {}, progress: () => void told++ };
  for (const end of [() => settling.breakOff(), () => settling.end()]) {
    settling.begin(broker as never, { epoch: 1, next: 1 }, true, true);
    settling.receive(1, false, 't');
    clock.advance(1_000);
    expect([told, clock.pending]).toEqual([1, 1]);
    end();
    expect(clock.pending).toBe(0);
    told = 0;
  }
});
