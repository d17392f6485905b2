import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../../../src/base/time.ts';
import {
  PlanMode,
  PROTECTION_AUTO,
  type ProtectionOptions,
} from '../../../../src/protocol/fec/protection.ts';
import { type ProtectionHost, StreamProtection } from '../../../../src/protocol/fec/stream-protection.ts';
import { Mark } from '../../../../src/protocol/stream/send/message-records.ts';
import { Outcome } from '../../../../src/protocol/stream/send/send-context.ts';
import { Delivery } from '../../../../src/protocol/wire/frame-type.ts';
import { bytesOf, framesOf, Link, type Packet } from '../link.ts';

class Host implements ProtectionHost {
  packet = 0;
  readonly mtu = 1_200;
  repeatsSent = 0;
  repeatsUsed = 0;
  flushAt = NEVER;
  watch(): void {}
  onWritten(): void {}
  setFlush(_: StreamProtection, at: number): void {
    this.flushAt = at;
  }
}

/** A link whose stream repeats by this plan. */
class Repeating {
  readonly host = new Host();
  readonly protection: StreamProtection;
  readonly link: Link;
  now = 0;

  constructor(repeats = 1, lag = 1, asked: Partial<ProtectionOptions> = {}, ordered = false) {
    const all = { ...PROTECTION_AUTO, overheadMax: 4, ...asked };
    this.protection = new StreamProtection({ id: 4, ordered, isBulk: false }, all, this.host);
    this.link = new Link({ protection: this.protection, ordered });
    this.link.exchange(0);
    this.repeat(repeats, lag);
  }

  repeat(repeats: number, lag: number): void {
    const { plan } = this.protection;
    Object.assign(plan, { mode: PlanMode.REPEAT, repeats, lag, flushAfter: 10 * MILLISECOND });
  }

  /** Sends messages of these sizes in a packet of their own, 10 ms behind the last. */
  send(delivery: Delivery, ...sizes: number[]): Packet {
    for (const size of sizes) this.link.send.send(bytesOf(size), delivery, NEVER, false);
    return this.pack();
  }

  pack(): Packet {
    this.now += 10 * MILLISECOND;
    this.host.packet++;
    const packet = this.link.pack(this.now);
    if (packet === null) throw new Error('nothing to send');
    return packet;
  }

  flush(): Packet | null {
    this.host.packet++;
    this.protection.beginFlush();
    return this.link.pack(this.now);
  }
}

const { RELIABLE, BEST_EFFORT } = Delivery;
const words = (packet: Packet | null): string[] => (packet === null ? [] : framesOf(packet.bytes));

describe('messages go again in later packets [FEC-5]', () => {
  test('in the run of the next ones, as often as planned', () => {
    const once = new Repeating(1);
    const packets = [1, 2, 3].map(() => words(once.send(RELIABLE, 64)));
    expect(packets).toEqual([['MESSAGES 0+1'], ['MESSAGES 0+2'], ['MESSAGES 1+2']]);
    const twice = new Repeating(2);
    const more = [1, 2, 3, 4].map(() => words(twice.send(BEST_EFFORT, 64)));
    expect(more.map(([run]) => run.replace('_BEST_EFFORT', ''))).toEqual([
      'MESSAGES 0+1',
      'MESSAGES 0+2',
      'MESSAGES 0+3',
      'MESSAGES 1+3',
    ]);
    expect(once.host.repeatsSent).toBe(2);
  });

  test('all that a packet had, not only its last', () => {
    const pair = new Repeating(1);
    pair.send(RELIABLE, 20, 30, 40);
    expect(words(pair.send(RELIABLE, 20))).toEqual(['MESSAGES 0+4']);
  });

  test('packets later where losses come in runs', () => {
    const late = new Repeating(1, 3);
    const packets = Array.from({ length: 5 }, () => words(late.send(RELIABLE, 64)));
    expect(packets[2]).toEqual(['MESSAGES 2+1']);
    expect(packets[3]).toEqual(['MESSAGES 0+1', 'MESSAGES 3+1']);
    expect(packets[4]).toEqual(['MESSAGES 1+1', 'MESSAGES 4+1']);
  });

  test('with what remains of their lifetime now, each by itself', () => {
    const brief = new Repeating(1);
    const send = (): Packet => {
      brief.link.send.send(bytesOf(30), Delivery.PARTIAL, brief.now + 50 * MILLISECOND, false);
      return brief.pack();
    };
    expect(words(send())).toEqual(['MESSAGE 0 for 40000']);
    expect(words(send())).toEqual(['MESSAGE 0 for 30000', 'MESSAGE 1 for 40000']);
    brief.now += 40 * MILLISECOND;
    expect(words(send())).toEqual(['MESSAGE 2 for 40000']); // too late for 1
  });

  test('not when they are settled, large, taken for lost, or were sent without protection', () => {
    const some = new Repeating(1);
    some.link.acked(some.send(RELIABLE, 64));
    const large = some.send(RELIABLE, 301);
    expect(words(large)).toEqual(['MESSAGES 1+1']);
    expect(words(some.send(RELIABLE, 64))).toEqual(['MESSAGES 2+1']);
    some.link.send.queue.mark = Mark.UNPROTECTED;
    some.link.send.send(bytesOf(10), RELIABLE, NEVER, false);
    some.link.send.queue.mark = 0;
    expect(words(some.pack())).toEqual(['MESSAGES 2+2']);
    expect(words(some.send(RELIABLE, 64))).toEqual(['MESSAGES 4+1']);
    some.link.lost(large, some.now);
    expect(words(some.send(RELIABLE, 64))).toEqual(['MESSAGES 1+1', 'MESSAGES 5+1']);
  });

  test('not in packets that are filled by more than a quarter without them', () => {
    const full = new Repeating(1);
    full.send(RELIABLE, 64);
    expect(words(full.send(RELIABLE, 200, 200))).toEqual(['MESSAGES 1+2']);
    expect(words(full.send(RELIABLE, 64))).toEqual(['MESSAGES 1+3']);
  });

  test('not for more than they may cost [FEC-3]', () => {
    const poor = new Repeating(1, 1, { overheadMax: 0.1 });
    let repeated = 0;
    for (let i = 0; i < 200; i++) repeated += words(poor.send(RELIABLE, 64))[0].endsWith('+2') ? 1 : 0;
    expect(repeated).toBeGreaterThan(40);
    expect(repeated).toBeLessThan(80);
    const { budget } = poor.protection;
    expect(budget.spentBytes).toBeLessThanOrEqual(budget.earnedBytes + 2_400);
  });
});

describe('a message in several packets [FEC-6]', () => {
  test('is lost with the last of them', () => {
    const pair = new Repeating(1);
    const [first, second] = [pair.send(RELIABLE, 64), pair.send(RELIABLE, 64)];
    pair.link.lost(first, pair.now);
    expect(words(pair.send(RELIABLE, 64))).toEqual(['MESSAGES 1+2']);
    pair.link.lost(second, pair.now);
    expect(words(pair.pack())).toEqual(['MESSAGES 0+1']); // 1 is in the third packet, too
    expect(pair.host.repeatsUsed).toBe(2);
  });

  test('settles with the first that arrives, and the others change nothing', () => {
    const pair = new Repeating(1);
    const [first, second] = [pair.send(RELIABLE, 64), pair.send(RELIABLE, 64)];
    pair.link.acked(second);
    expect(pair.link.send.settled).toBe(true);
    pair.link.lost(first, pair.now);
    expect(pair.link.pack(pair.now)).toBeNull();
    expect(pair.host.repeatsUsed).toBe(1);
  });

  test('best effort, is told as lost only then [STR-29]', () => {
    const pair = new Repeating(1);
    const { link } = pair;
    link.send.send(bytesOf(64), BEST_EFFORT, NEVER, false, 1);
    const packets = [pair.pack(), pair.send(BEST_EFFORT, 64)];
    link.lost(packets[0], pair.now);
    expect(link.outcomes()).toEqual([]);
    link.lost(packets[1], pair.now);
    expect(link.outcomes()).toEqual([[1, Outcome.LOST]]);
  });

  test('best effort, has its bytes no longer than it may go again', () => {
    const pair = new Repeating(1);
    const live = (): number => pair.link.slabs.inUse;
    for (let i = 0; i < 500; i++) pair.send(BEST_EFFORT, 200);
    expect(live()).toBeLessThanOrEqual(2);
    pair.protection.plan.clear();
    pair.send(BEST_EFFORT, 64);
    expect(live()).toBe(0);
    pair.repeat(3, 40);
    for (let i = 0; i < 500; i++) pair.send(BEST_EFFORT, 300);
    expect(live()).toBeLessThanOrEqual(2); // 16 KiB lie in at most two slabs of 32 KiB
  });
});

describe('a flush [FEC-7]', () => {
  test('sends once more what no other packet followed', () => {
    const pair = new Repeating(1);
    pair.send(RELIABLE, 64);
    expect(pair.host.flushAt).toBe(pair.now + 10 * MILLISECOND);
    expect(words(pair.flush())).toEqual(['MESSAGES 0+1']);
    expect(pair.protection.isFlushDue).toBe(false);
    expect(pair.flush()).toBeNull();
    expect(words(pair.send(RELIABLE, 64))).toEqual(['MESSAGES 1+1']);
  });

  test('does not wait for what was to go later', () => {
    const pair = new Repeating(1, 4);
    for (let i = 0; i < 3; i++) pair.send(RELIABLE, 64);
    expect(words(pair.flush())).toEqual(['MESSAGES 0+3']);
  });

  test('sends nothing that has arrived meanwhile, and is not asked for again', () => {
    const pair = new Repeating(1);
    pair.link.acked(pair.send(RELIABLE, 64));
    expect(pair.flush()).toBeNull();
    expect(pair.link.send.sendable).toBe(false);
  });

  test('pays for its packet [FEC-3]', () => {
    const poor = new Repeating(1, 1, { overheadMax: 0.5 });
    let flushed = 0;
    for (let i = 0; i < 200; i++) {
      poor.send(RELIABLE, 64);
      if (poor.flush() !== null) flushed++;
    }
    expect(flushed).toBeGreaterThan(60);
    expect(flushed).toBeLessThan(125);
  });

  test('is a copy beside the repeats for the share of messages that is to have one', () => {
    const pair = new Repeating(1);
    pair.protection.plan.apartShare = 1 / 4;
    for (let i = 0; i < 4; i++) pair.send(RELIABLE, 64);
    expect(pair.host.flushAt).toBe(pair.now + 2 * MILLISECOND);
    expect(words(pair.flush())).toEqual(['MESSAGES 3+1']);
    expect(words(pair.send(RELIABLE, 64))).toEqual(['MESSAGES 3+2']);
  });
});

test('each message is delivered once, in order where it is asked for, whatever is repeated, lost, late or twice there [FEC-5, STR-7]', () => {
  const step = fc.record({
    size: fc.integer({ min: 4, max: 340 }),
    count: fc.integer({ min: 0, max: 4 }),
    delivery: fc.constantFrom(RELIABLE, BEST_EFFORT),
    fate: fc.constantFrom('arrives', 'lost', 'late', 'twice', 'unacknowledged'),
    flush: fc.boolean(),
  });
  const plans = fc.record({ repeats: fc.integer({ min: 1, max: 3 }), lag: fc.integer({ min: 1, max: 8 }) });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      plans,
      fc.boolean(),
      (steps, { repeats, lag }, ordered) => {
        const pair = new Repeating(repeats, lag, {}, ordered);
        const { link } = pair;
        const sent = new Map<number, Delivery>();
        const delivered: number[] = [];
        const late: Packet[] = [];
        const waiting: Packet[] = [];
        const arrive = (packet: Packet): void => {
          expect(link.deliver(packet, pair.now)).toBe(0);
          for (const message of link.readAll(pair.now)) delivered.push(Buffer.from(message).readUInt32BE(0));
        };
        const take = (packet: Packet, fate: string): void => {
          if (fate === 'lost') return link.lost(packet, pair.now);
          if (fate === 'late') {
            late.push(packet);
            return link.lost(packet, pair.now);
          }
          arrive(packet);
          if (fate === 'twice') arrive(packet);
          if (fate === 'unacknowledged') waiting.push(packet);
          else link.acked(packet);
        };
        const takeAll = (fate: string): void => {
          // What is sent again arrives, so that there is an end to it.
          for (let next = fate; ; next = 'arrives') {
            pair.host.packet++;
            const packet = link.pack(pair.now);
            if (packet === null) return;
            take(packet, next);
          }
        };
        for (const { size, count, delivery, fate, flush } of steps) {
          for (let k = 0; k < count; k++) {
            const data = bytesOf(size);
            data.writeUInt32BE(sent.size, 0);
            link.send.send(data, delivery, NEVER, false);
            sent.set(sent.size, delivery);
          }
          pair.now += 5 * MILLISECOND;
          if (flush) pair.protection.beginFlush();
          takeAll(fate);
        }
        for (const packet of late) arrive(packet);
        for (const packet of waiting) link.lost(packet, pair.now);
        takeAll('arrives');
        expect(new Set(delivered).size).toBe(delivered.length);
        const reliable = [...sent].filter(([, delivery]) => delivery === RELIABLE).map(([i]) => i);
        const came = delivered.filter((i) => sent.get(i) === RELIABLE);
        expect(ordered ? came : [...came].sort((a, b) => a - b)).toEqual(reliable);
        const best = delivered.filter((i) => sent.get(i) === BEST_EFFORT);
        if (ordered) expect(best).toEqual([...best].sort((a, b) => a - b));
        expect(link.send.settled).toBe(true);
        expect(link.slabs.inUse).toBe(0);
      },
    ),
    { numRuns: 200 },
  );
});
