import { describe, expect, test } from 'vitest';
import { type ByteSink, Outgoing, OutgoingTurn } from '../../src/gateway/outgoing.ts';
import { LabClock } from '../../src/testing/lab.ts';
import { VirtualClock } from '../../src/testing/virtual-clock.ts';

/** A socket whose system takes what it is told to. */
class Sink implements ByteSink {
  writableLength = 0;
  readonly writes: Uint8Array[] = [];
  private readonly waiting: { length: number; done: () => void }[] = [];

  write(bytes: Uint8Array, done: () => void): void {
    this.writes.push(bytes);
    this.writableLength += bytes.length;
    this.waiting.push({ length: bytes.length, done });
  }

  take(count = Number.POSITIVE_INFINITY): void {
    for (let i = 0; i < count && this.waiting.length > 0; i++) {
      const { length, done } = this.waiting.shift() as { length: number; done: () => void };
      this.writableLength -= length;
      done();
    }
  }
}

function world(count = 1) {
  const time = new VirtualClock();
  const turn = new OutgoingTurn(new LabClock(time));
  const told: string[] = [];
  const sinks = Array.from({ length: count }, () => new Sink());
  const all = sinks.map(
    (sink) =>
      new Outgoing(turn, sink, { onSlow: () => told.push('slow'), onReady: () => told.push('ready') }),
  );
  return { time, told, sinks, all, turnOver: () => time.runInstant() };
}

const KIB = 1_024;

describe('what goes out on a socket', () => {
  test('is written at once, and put together once for all that are brought the same [GW-46]', () => {
    const { sinks, all, turnOver } = world(3);
    const frames = [Buffer.from('one'), Buffer.from('two'), Buffer.from('three')];
    for (const outgoing of all) for (const frame of frames) outgoing.send(frame);
    all[2].send(Buffer.from('!'));
    expect(sinks[0].writes).toHaveLength(0);
    turnOver();
    expect(sinks.map(({ writes }) => writes.map(String))).toEqual([
      ['onetwothree'],
      ['onetwothree'],
      ['onetwothree!'],
    ]);
    expect(sinks[0].writes[0]).toBe(sinks[1].writes[0]);
  });

  test('is written before the end of the turn where it is a lot and somebody else is brought something then, and the rest of it behind [GW-46]', () => {
    const { sinks, all, turnOver } = world(3);
    const frames = Array.from('abcdefgh', (letter) => Buffer.from(letter));
    for (const outgoing of all) for (const frame of frames) outgoing.send(frame);
    const written = () => sinks.map(({ writes }) => writes.map(String));
    expect(written()).toEqual([['abcdefgh'], ['abcdefgh'], []]);
    expect(sinks[0].writes[0]).toBe(sinks[1].writes[0]);
    all[0].send(Buffer.from('!'));
    all[1].send(Buffer.from('?'));
    turnOver();
    expect(written()).toEqual([['abcdefgh', '!'], ['abcdefgh', '?'], ['abcdefgh']]);
  });

  test('stops at 256 KiB, and goes on at 64 KiB [GW-45]', () => {
    const { sinks, all, told, turnOver } = world();
    for (let i = 0; i < 8; i++) all[0].send(Buffer.alloc(32 * KIB));
    expect(told).toEqual([]);
    all[0].send(Buffer.alloc(1));
    expect(told).toEqual(['slow']);
    turnOver();
    sinks[0].take(6);
    expect(told).toEqual(['slow']);
    sinks[0].take(1);
    expect(told).toEqual(['slow', 'ready']);
  });

  test('does not go to a socket that has enough, until that has taken some', () => {
    const { sinks, all, turnOver } = world();
    all[0].send(Buffer.alloc(300 * KIB));
    turnOver();
    all[0].send(Buffer.from('later'));
    turnOver();
    expect(sinks[0].writes).toHaveLength(1);
    expect(all[0].bufferedBytes).toBe(300 * KIB + 5);
    sinks[0].take();
    expect(String(sinks[0].writes[1])).toBe('later');
  });

  test('is stalled when nothing has left for so long, and not while something leaves', () => {
    const { time, sinks, all, turnOver } = world();
    for (let i = 0; i < 4; i++) all[0].send(Buffer.alloc(100 * KIB));
    turnOver();
    time.advanceTo(time.now() + 19_000_000);
    expect(all[0].isStalled).toBe(false);
    sinks[0].take(1);
    time.advanceTo(time.now() + 19_000_000);
    expect(all[0].isStalled).toBe(false);
    time.advanceTo(time.now() + 12_000_000); // what is left would take 9 s at a crawl
    expect(all[0].isStalled).toBe(true);
    sinks[0].take();
    expect(all[0].isStalled).toBe(false);
  });

  test('is finished when the system has all of it; nothing follows the end of the socket', () => {
    const { sinks, all, turnOver } = world(2);
    const done: number[] = [];
    all[0].finish(() => done.push(0));
    expect(done).toEqual([0]);
    all[1].send(Buffer.from('x'));
    all[1].finish(() => done.push(1));
    turnOver();
    expect(done).toEqual([0]);
    sinks[1].take();
    expect(done).toEqual([0, 1]);
    all[1].end();
    all[1].send(Buffer.from('y'));
    turnOver();
    expect(sinks[1].writes).toHaveLength(1);
  });
});
