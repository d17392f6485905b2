import fc from 'fast-check';
import { expect, test } from 'vitest';
import { bufferFor, type MessageBuffer } from '../../src/client/message-buffer.ts';
import type { SubscribeOptions } from '../../src/client/subscribe-options.ts';

interface Waiting {
  readonly topic: string;
  readonly payload: { readonly length: number };
}

type Kind = Pick<SubscribeOptions, 'qos' | 'overflow' | 'class'>;
type Step = readonly [act: number, topic: number, length: number];

const BOUNDS = { messages: 4, bytes: 100 };

/** The same, as a list. */
class SlowBuffer implements MessageBuffer<Waiting> {
  dropped = 0;
  all: Waiting[] = [];
  private readonly kind: Kind;

  constructor(kind: Kind) {
    this.kind = kind;
  }

  get bytes() {
    return this.all.reduce((sum, { payload }) => sum + payload.length, 0);
  }

  get empty() {
    return this.all.length === 0;
  }

  get blocked() {
    return this.isFull && !this.drops;
  }

  get low() {
    return this.all.length <= BOUNDS.messages / 2 && this.bytes <= BOUNDS.bytes / 2;
  }

  push(message: Waiting) {
    const { overflow, class: topics } = this.kind;
    const place = this.all.findIndex(({ topic }) => topic === message.topic);
    if ((topics === 'latest' || overflow === 'latest') && place >= 0) {
      this.dropped++;
      this.all[place] = message;
      return;
    }
    if (this.isFull && this.drops) {
      this.dropped++;
      if (overflow === 'dropNewest') return;
      this.all.shift();
    }
    this.all.push(message);
  }

  shift() {
    return this.all.shift();
  }

  shiftFree(busy: ReadonlySet<string>) {
    const place = this.all.findIndex(({ topic }) => !busy.has(topic));
    return place < 0 ? undefined : this.all.splice(place, 1)[0];
  }

  discard(isOut: (message: Waiting) => boolean) {
    this.all = this.all.filter((message) => !isOut(message));
  }

  clear() {
    this.all = [];
  }

  private get isFull() {
    return this.all.length >= BOUNDS.messages || this.bytes >= BOUNDS.bytes;
  }

  private get drops() {
    return this.kind.overflow === 'dropOldest' || this.kind.overflow === 'dropNewest';
  }
}

/** Does the same to both. Returns what they gave out. */
function act(buffer: MessageBuffer<Waiting>, [act, number, length]: Step): Waiting | undefined {
  const topic = `t${number}`;
  const keys = { keyOf: (message: Waiting) => message.topic };
  if (act < 4) buffer.push({ topic, payload: { length } });
  else if (act === 4) return buffer.shift();
  else if (act === 5) return buffer.shiftFree(new Set([topic]), keys);
  else if (act === 6) return buffer.shiftFree(new Set(), keys);
  else if (length < 30) buffer.discard((message) => message.topic === topic);
  else if (length < 33) buffer.clear();
  return undefined;
}

const KINDS: readonly Kind[] = [
  {},
  { overflow: 'block' },
  { qos: 1, overflow: 'block' },
  { overflow: 'dropOldest' },
  { overflow: 'dropNewest' },
  { overflow: 'latest' },
  { class: 'latest' },
];

test.each(KINDS)(
  'messages that wait are those of a list, whatever is put in and taken out: %o [CLT-25]',
  (kind) => {
    const step = fc.tuple(fc.nat(7), fc.nat(4), fc.nat(60));
    const seen = { isFull: false, isLow: false };
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const fast = bufferFor<Waiting>(kind, BOUNDS);
        const slow = new SlowBuffer(kind);
        for (const one of steps) {
          expect(act(fast, one)).toEqual(act(slow, one));
          const { dropped, bytes, empty, blocked, low } = slow;
          expect(fast).toMatchObject({ dropped, bytes, empty, blocked, low });
          seen.isFull ||= blocked || dropped > 0;
          seen.isLow ||= low && !empty;
        }
      }),
      { numRuns: 200 },
    );
    expect(seen).toEqual({ isFull: true, isLow: true });
  },
);

test('a subscription that says nothing of it lets 256 messages wait, or a megabyte of them, and goes on at half of that', () => {
  const message = (length: number) => ({ topic: 't', payload: { length } });
  const many = bufferFor<Waiting>({});
  for (let i = 0; i < 255; i++) many.push(message(1));
  expect(many.blocked).toBe(false);
  many.push(message(1));
  expect(many.blocked).toBe(true);
  while (!many.low) many.shift();
  expect(many.bytes).toBe(128);
  const large = bufferFor<Waiting>({});
  large.push(message(1024 * 1024 - 1));
  expect(large.blocked).toBe(false);
  large.push(message(1));
  expect(large.blocked).toBe(true);
});
