import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import {
  type NodeStream,
  NodeStreams,
  StreamEnd,
  type StreamUser,
} from '../../../src/broker/core/backplane/node-stream.ts';
import { Timers } from '../../../src/broker/core/timers.ts';

/** One end as a test uses it. */
class End implements StreamUser {
  readonly got: string[] = [];
  endedWith: number | null = null;
  drains = 0;
  stream: NodeStream | null = null;
  /** It says at once that it has taken what comes. */
  takes = true;

  received(message: Uint8Array): void {
    this.got.push(Buffer.from(message).toString());
    if (this.takes) this.stream?.taken(message.length);
  }

  drained(): void {
    this.drains++;
  }

  ended(code: number): void {
    this.endedWith = code;
  }
}

/** Two nodes, and what is between them. */
class Pair {
  readonly time = { nowMs: 0, wallMs: 1_000, timers: new Timers() };
  /** On the way: to whom, and what. */
  readonly way: { to: 'a' | 'b'; frame: Buffer }[] = [];
  readonly a: NodeStreams;
  b: NodeStreams;
  readonly accepted: End[] = [];
  readonly bodies: string[] = [];

  constructor() {
    this.a = new NodeStreams(
      { send: (_, frame) => this.way.push({ to: 'b', frame: Buffer.from(frame) }) },
      this.time,
    );
    this.b = this.begin();
  }

  begin(): NodeStreams {
    const b = new NodeStreams(
      { send: (_, frame) => this.way.push({ to: 'a', frame: Buffer.from(frame) }) },
      this.time,
    );
    b.accept = (stream, body) => {
      const end = new End();
      end.stream = stream;
      this.accepted.push(end);
      this.bodies.push(Buffer.from(body).toString());
      return end;
    };
    return b;
  }

  open(): End {
    const end = new End();
    end.stream = this.a.open('b', Buffer.from('hello'), end);
    return end;
  }

  carry(count = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < count && this.way.length > 0; i++) {
      const { to, frame } = this.way.shift() as Pair['way'][number];
      if (to === 'a') this.a.hear('b', frame);
      else this.b.hear('a', frame);
    }
  }

  pass(ms: number): void {
    this.time.nowMs += ms;
    const { timers, nowMs } = this.time;
    for (let timer = timers.takeDue(nowMs); timer !== null; timer = timers.takeDue(nowMs)) timer.run();
    this.carry();
  }
}

describe('a stream between two nodes', () => {
  test('carries messages both ways, large ones in pieces, and ends for both [CLU-50]', () => {
    const pair = new Pair();
    const near = pair.open();
    pair.carry();
    const [far] = pair.accepted;
    expect(pair.bodies).toEqual(['hello']);
    const large = 'x'.repeat(1_300_000);
    near.stream?.send(Buffer.from('1'));
    near.stream?.send(Buffer.from(large));
    near.stream?.send(Buffer.from(''));
    far.stream?.send(Buffer.from('2'));
    expect(Math.max(...pair.way.map(({ frame }) => frame.length))).toBeLessThan(600_000);
    pair.carry();
    expect(far.got.map(({ length }) => length)).toEqual([1, 1_300_000, 0]);
    expect(far.got[1]).toBe(large);
    expect(near.got).toEqual(['2']);
    near.stream?.end(77);
    pair.carry();
    expect([near.endedWith, far.endedWith]).toEqual([null, 77]);
    expect([pair.a.size, pair.b.size]).toEqual([0, 0]);
    expect(far.stream?.send(Buffer.from('late'))).toBe(false);
    expect(pair.way).toEqual([]);
  });

  test('says that it is enough at 256 KiB that the other end has not taken, and goes on when half of that is [CLU-50]', () => {
    const pair = new Pair();
    const near = pair.open();
    pair.carry();
    const [far] = pair.accepted;
    far.takes = false;
    const message = Buffer.alloc(64 * 1_024);
    const answers = [1, 2, 3, 4, 5].map(() => near.stream?.send(message));
    expect(answers).toEqual([true, true, true, false, false]);
    pair.carry();
    expect([far.got.length, near.drains, near.stream?.queuedBytes]).toEqual([5, 0, 5 * 65_536]);
    far.stream?.taken(2 * 65_536);
    pair.carry();
    expect(near.drains).toBe(0);
    far.stream?.taken(65_536);
    pair.carry();
    expect([near.drains, near.stream?.queuedBytes]).toEqual([1, 2 * 65_536]);
    expect(near.stream?.send(message)).toBe(true);
  });

  test('that waits asks again, for what it waits for may be lost [CLU-50]', () => {
    const pair = new Pair();
    const near = pair.open();
    pair.carry();
    const [far] = pair.accepted;
    near.stream?.send(Buffer.alloc(300_000));
    pair.carry(1);
    pair.way.length = 0; // the credit
    pair.pass(4_000);
    expect(near.drains).toBe(0);
    pair.pass(1_100);
    // The probe is answered behind the lost frame, which shows that one is missing.
    expect([near.endedWith, far.endedWith]).toEqual([StreamEnd.BROKEN, StreamEnd.BROKEN]);
    pair.pass(60_000);
    expect(pair.time.timers.nextMs).toBe(Number.POSITIVE_INFINITY);
  });

  test('delivers nothing while it is paused, and then everything [CLU-50]', () => {
    const pair = new Pair();
    const near = pair.open();
    pair.carry();
    const [far] = pair.accepted;
    far.stream?.pause();
    for (const text of ['1', '2', '3']) near.stream?.send(Buffer.from(text));
    pair.carry();
    expect(far.got).toEqual([]);
    far.stream?.resume();
    expect(far.got).toEqual(['1', '2', '3']);
  });

  test('brings what was sent, in order and once, or ends at both ends, whatever is lost, doubled or overtaken [CLU-50]', () => {
    const seed = fc.integer();
    fc.assert(
      fc.property(seed, fc.nat(30), (number, trouble) => {
        const prng = new Prng(number);
        const pair = new Pair();
        const near = pair.open();
        const sent: string[] = [];
        for (let i = 0; i < 40; i++) {
          near.stream?.send(Buffer.from(`${i}`));
          sent.push(`${i}`);
          const [far] = pair.accepted;
          if (i % 5 === 0) far?.stream?.send(Buffer.from('.'));
          const dice = prng.below(100);
          const place = pair.way.length === 0 ? 0 : prng.below(pair.way.length);
          if (dice < trouble && pair.way.length > 0) {
            const what = prng.below(3);
            const [taken] = pair.way.splice(place, what === 0 ? 1 : 0);
            if (what === 1) pair.way.splice(place, 0, pair.way[place]);
            if (what === 2) pair.way.push(...pair.way.splice(place, 1));
            expect(taken === undefined || what === 0).toBe(true);
          }
          pair.carry(prng.below(4));
        }
        pair.carry();
        // The last frame may have been lost; another one shows it.
        if (near.endedWith === null) near.stream?.send(Buffer.from('last'));
        pair.carry();
        for (const far of pair.accepted) expect(far.got).toEqual([...sent, 'last'].slice(0, far.got.length));
        const isWhole = pair.accepted.some(({ got }) => got.length === sent.length + 1);
        expect(isWhole || near.endedWith !== null || pair.accepted.length === 0).toBe(true);
        if (near.endedWith !== null) expect(pair.a.size).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  test('ends when this node was cut off, when the other is gone, and when that has begun anew [CLU-50]', () => {
    const pair = new Pair();
    const [cut, gone] = [pair.open(), pair.open()];
    pair.carry();
    const [far] = pair.accepted;
    pair.b.connected();
    pair.carry();
    expect([cut.endedWith, gone.endedWith, far.endedWith]).toEqual([
      StreamEnd.BROKEN,
      StreamEnd.BROKEN,
      StreamEnd.BROKEN,
    ]);
    const other = pair.open();
    pair.carry();
    pair.a.nodeGone('c');
    expect(other.endedWith).toBeNull();
    pair.a.nodeGone('b');
    expect(other.endedWith).toBe(StreamEnd.GONE);
    pair.carry();
    expect(pair.b.size).toBe(0);
    const anew = pair.open();
    pair.carry();
    pair.b = pair.begin();
    anew.stream?.send(Buffer.from('who is there?'));
    pair.carry();
    expect(anew.endedWith).toBe(StreamEnd.BROKEN);
    expect(pair.way).toEqual([]);
  });

  test.each([0, 1, 512 * 1_024 - 1])(
    'ends at a part of %i bytes, of which there could be many [CLU-50]',
    (length) => {
      const pair = new Pair();
      const near = pair.open();
      pair.carry();
      near.stream?.send(Buffer.alloc(512 * 1_024 + 1));
      const [{ to, frame }, ...rest] = pair.way.splice(0);
      pair.way.push({ to, frame: frame.subarray(0, frame.length - 512 * 1_024 + length) }, ...rest);
      pair.carry();
      expect(near.endedWith).toBe(StreamEnd.BROKEN);
    },
  );

  test('whatever else comes is counted or refused, and nothing fails [CLU-50]', () => {
    const pair = new Pair();
    const near = pair.open();
    pair.carry();
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
        pair.b.hear('a', Buffer.concat([Buffer.of(1), bytes]));
        pair.a.hear('b', Buffer.concat([Buffer.of(1), bytes]));
        pair.carry();
      }),
      { numRuns: 500 },
    );
    expect(near.endedWith).toBeNull();
    expect(pair.b.invalid).toBeGreaterThan(0);
  });
});
