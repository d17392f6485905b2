import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { JspError } from '../../src/base/errors.ts';
import { MILLISECOND, NEVER } from '../../src/base/time.ts';
import { Backlog, type BufferPolicy, Outgoing } from '../../src/client/backlog.ts';
import { ManualClock } from './manual-clock.ts';

class Probe extends Outgoing {
  readonly name: number;
  readonly failed: string[];

  constructor(name: number, topic: string, bytes: number, expiresAt: number, failed: string[]) {
    super(topic, bytes, expiresAt);
    this.name = name;
    this.failed = failed;
  }

  fail({ code }: JspError): void {
    this.failed.push(`${this.name} ${code}`);
  }
}

interface Held {
  readonly name: number;
  readonly topic: string;
  readonly lane: number;
  readonly bytes: number;
  readonly until: number;
}

const MESSAGES = 4;
const BYTES = 1_000;
const AGE_MS = 500;
const OVERHEAD = 64;

/** The same as a list that is looked through each time. */
class Model {
  waiting: Held[] = [];
  readonly failed: string[] = [];
  private readonly policy: BufferPolicy;

  constructor(policy: BufferPolicy) {
    this.policy = policy;
  }

  get bytes(): number {
    return this.waiting.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  get isFilling(): boolean {
    return this.waiting.length > MESSAGES / 2 || this.bytes > BYTES / 2;
  }

  publish(message: Held): boolean {
    if (message.bytes > BYTES) return false;
    const older = this.waiting.find(({ topic, lane }) => topic === message.topic && lane === message.lane);
    if (this.policy === 'latestPerTopic' && older !== undefined) this.drop(older, 'ERR_JSP_BUFFER_FULL');
    while (this.waiting.length >= MESSAGES || this.bytes + message.bytes > BYTES) {
      if (this.policy === 'reject' || this.waiting.length === 0) return false;
      this.drop(this.waiting[0], 'ERR_JSP_BUFFER_FULL');
    }
    this.waiting.push(message);
    return true;
  }

  expire(now: number): void {
    for (const each of this.waiting.filter(({ until }) => until <= now)) this.drop(each, 'ERR_JSP_EXPIRED');
  }

  take(lane: number): Held | undefined {
    const first = this.waiting.find((each) => each.lane === lane);
    this.waiting = this.waiting.filter((each) => each !== first);
    return first;
  }

  private drop(message: Held, code: string): void {
    this.waiting = this.waiting.filter((each) => each !== message);
    this.failed.push(`${message.name} ${code}`);
  }
}

const step = fc.oneof(
  fc.record({
    do: fc.constant('publish' as const),
    topic: fc.constantFrom('a', 'b', 'c'),
    lane: fc.nat(1),
    bytes: fc.constantFrom(0, 100, 400, 990),
    ttlMs: fc.constantFrom(50, 200, 0),
  }),
  fc.record({ do: fc.constant('take' as const), lane: fc.nat(1) }),
  fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(50, 100, 1_000) }),
);

test.each(['reject', 'dropOldest', 'latestPerTopic'] as const)(
  'what waits under the policy %s is what a list would hold, in its order and within its bounds [CLT-10]',
  (policy) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const clock = new ManualClock();
        const backlog = new Backlog({ messages: MESSAGES, bytes: BYTES, ageMs: AGE_MS, policy }, clock);
        const lanes = [backlog.newLane(), backlog.newLane()];
        const model = new Model(policy);
        const failed: string[] = [];
        for (const [name, each] of steps.entries()) {
          if (each.do === 'publish') {
            const { topic, bytes, ttlMs } = each;
            const expiresAt = ttlMs === 0 ? NEVER : clock.now() + ttlMs * MILLISECOND;
            const until = Math.min(expiresAt, clock.now() + AGE_MS * MILLISECOND);
            const message = new Probe(name, topic, bytes, expiresAt, failed);
            const isTaken = model.publish({ name, topic, lane: each.lane, bytes: bytes + OVERHEAD, until });
            if (isTaken) {
              backlog.admit(message, lanes[each.lane]);
              backlog.enqueue(message, lanes[each.lane]);
            } else {
              expect(() => backlog.admit(message, lanes[each.lane])).toThrow(/buffer/);
            }
          } else if (each.do === 'take') {
            const { first } = lanes[each.lane];
            expect((first as Probe | null)?.name).toBe(model.take(each.lane)?.name);
            if (first !== null) backlog.release(first);
          } else {
            // It looks every 50 ms.
            for (let ms = 0; ms < each.ms; ms += 50) clock.advance(50);
            model.expire(clock.now());
          }
          expect([backlog.messages, backlog.waiting, backlog.bytes]).toEqual([
            model.waiting.length,
            model.waiting.length,
            model.bytes,
          ]);
          expect(backlog.isFilling).toBe(model.isFilling);
          expect([...failed].sort()).toEqual([...model.failed].sort());
        }
      }),
      { numRuns: 100 },
    );
  },
);
