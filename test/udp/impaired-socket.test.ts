import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros } from '../../src/base/time.ts';
import { ReceiveBatch, TransmitBatch } from '../../src/protocol/datagram/index.ts';
import type { Clock, TimerHandle } from '../../src/udp/clock.ts';
import { type DatagramSocket, socketCounters } from '../../src/udp/datagram-socket.ts';
import { bindDgramSocket } from '../../src/udp/dgram-socket.ts';
import { DelayLine, type ImpairmentOptions, impairSocket } from '../../src/udp/impaired-socket.ts';
import type { LinkOptions } from '../../src/udp/link.ts';

describe('an impaired socket', () => {
  test('passes datagrams on at once when nothing is impaired', () => {
    const { inner, socket } = impaired({ seed: 1 });
    expect(socket.send(batchOf('a', 'b'))).toBe(true);
    expect(inner.sent).toEqual(['a', 'b']);
    const seen = collect(socket);
    inner.receive('c');
    expect(seen).toEqual(['c']);
  });

  test('delays both directions, each by its own time', () => {
    const { clock, inner, socket } = impaired({
      seed: 1,
      outgoing: { delayMs: 10 },
      incoming: { delayMs: 20 },
    });
    const seen = collect(socket);
    socket.send(batchOf('out'));
    inner.receive('in');
    clock.advance(9 * MILLISECOND);
    expect(inner.sent).toEqual([]);
    clock.advance(MILLISECOND);
    expect(inner.sent).toEqual(['out']);
    expect(seen).toEqual([]);
    clock.advance(10 * MILLISECOND);
    expect(seen).toEqual(['in']);
  });

  test('copies what it delays, so that the arena is free at once', () => {
    const { clock, inner, socket } = impaired({ seed: 1, outgoing: { delayMs: 10 } });
    const batch = batchOf('kept');
    socket.send(batch);
    batch.arena.fill(0);
    clock.advance(10 * MILLISECOND);
    expect(inner.sent).toEqual(['kept']);
  });

  test('counts what it loses', () => {
    const { inner, socket } = impaired({ seed: 1, outgoing: { loss: 1 }, incoming: { loss: 1 } });
    const seen = collect(socket);
    socket.send(batchOf('a', 'b'));
    inner.receive('c');
    expect(inner.sent).toEqual([]);
    expect(seen).toEqual([]);
    expect((socket as unknown as { dropped: number }).dropped).toBe(3);
  });

  test('doubles datagrams', () => {
    const { inner, socket } = impaired({ seed: 1, outgoing: { duplicate: 1, duplicateLagMs: 0 } });
    socket.send(batchOf('a', 'b'));
    expect(inner.sent.sort()).toEqual(['a', 'a', 'b', 'b']);
  });

  test('does all that a link of the lab does: drops what is too large, and everything in a black hole', () => {
    const { inner, socket } = impaired({ seed: 1, outgoing: { mtu: 3 }, incoming: { blackHole: true } });
    const seen = collect(socket);
    socket.send(batchOf('fits', 'fit'));
    inner.receive('a');
    expect(inner.sent).toEqual(['fit']);
    expect(seen).toEqual([]);
    socket.impair(null);
    inner.receive('b');
    expect(seen).toEqual(['b']);
  });

  test('names the way whose option cannot be', () => {
    expect(() => impaired({ seed: 1, incoming: { loss: 2 } })).toThrow('impairment.incoming: loss');
    expect(() => impaired({ seed: 1, outgoing: { los: 0.1 } as LinkOptions })).toThrow('"loss"');
  });

  test('waits while the socket inside is full, then sends the rest and says so', () => {
    const { inner, socket } = impaired({ seed: 1 });
    let writable = 0;
    socket.onWritable = () => {
      writable++;
    };
    inner.full = true;
    expect(socket.send(batchOf('a'))).toBe(false);
    expect(socket.send(batchOf('b'))).toBe(false);
    expect(inner.sent).toEqual(['a']);
    inner.full = false;
    inner.onWritable?.();
    expect(inner.sent).toEqual(['a', 'b']);
    expect(writable).toBe(1);
  });

  test('may be sent on from within onBatch', () => {
    const { inner, socket } = impaired({ seed: 1 });
    socket.onBatch = (batch) => {
      for (let i = 0; i < batch.count; i++)
        socket.send(batchOf(`echo ${new TextDecoder().decode(batch.data[i])}`));
    };
    inner.receive('a', 'b');
    expect(inner.sent).toEqual(['echo a', 'echo b']);
  });

  test('lets what is under way out before it closes the socket inside, and calls nobody once it is closed', async () => {
    const { clock, inner, socket } = impaired({
      seed: 1,
      outgoing: { delayMs: 5 },
      incoming: { delayMs: 5 },
    });
    const seen = collect(socket);
    socket.send(batchOf('a'));
    inner.receive('b');
    const closed = socket.close();
    expect(inner.sent).toEqual([]);
    clock.advance(10 * MILLISECOND);
    await closed;
    expect(inner.sent).toHaveLength(1);
    expect(seen).toEqual([]);
    expect(socket.send(batchOf('c'))).toBe(true);
    expect(inner.sent).toHaveLength(1);
  });

  test('has one timer, for what is due first, and none once it is closed', async () => {
    const { clock, inner, socket } = impaired({
      seed: 1,
      outgoing: { delayMs: 10 },
      incoming: { delayMs: 5 },
    });
    collect(socket);
    socket.send(batchOf('out'));
    inner.receive('in');
    expect(clock.pending).toBe(1);
    clock.advance(10 * MILLISECOND);
    expect([inner.sent, clock.pending]).toEqual([['out'], 0]);
    inner.receive('late');
    await socket.close();
    expect(clock.pending).toBe(0);
  });

  test('says of itself what the socket inside says', () => {
    const { inner, socket } = impaired({ seed: 1 });
    const { localHost, localPort, remote, receiveBufferBytes, sendBufferBytes } = socket;
    expect({ localHost, localPort, remote, receiveBufferBytes, sendBufferBytes }).toEqual({
      localHost: '192.0.2.2',
      localPort: 1,
      remote: null,
      receiveBufferBytes: 123_456,
      sendBufferBytes: 654_321,
    });
    expect(socket.counters).toBe(inner.counters);
    const news: unknown[] = [];
    socket.onError = (...error) => news.push(error);
    socket.onTooLarge = (...refused) => news.push(refused);
    const error = new Error('news');
    inner.onError?.(error, true);
    inner.onTooLarge?.(9_000, '192.0.2.1', 7);
    expect(news).toEqual([
      [error, true],
      [9_000, '192.0.2.1', 7],
    ]);
  });

  // [CON-60]
  test('keeps with each datagram to which address it came, and from which it goes', () => {
    const { clock, inner, socket } = impaired({
      seed: 1,
      outgoing: { delayMs: 5 },
      incoming: { delayMs: 5 },
    });
    const out = batchOf('a');
    out.push(0, '192.0.2.1', 4_000, 7);
    socket.send(out);
    const locals: number[] = [];
    socket.onBatch = (batch) => locals.push(...batch.local.slice(0, batch.count));
    const came = new ReceiveBatch();
    came.push(new Uint8Array(1), '192.0.2.1', 4_000, 3);
    came.push(new Uint8Array(1), '192.0.2.1', 4_000);
    inner.onBatch?.(came);
    clock.advance(5 * MILLISECOND);
    expect(inner.locals).toEqual([0, 7]);
    expect(locals).toEqual([3, 0]);
  });

  test("lags over a real socket with the machine's clock", async () => {
    const server = await bindDgramSocket({ host: '127.0.0.1' });
    const client = impairSocket(
      await bindDgramSocket({ connectTo: { host: '127.0.0.1', port: server.localPort } }),
      {
        seed: 1,
        outgoing: { delayMs: 30 },
      },
    );
    const arrived = new Promise((resolve) => {
      server.onBatch = resolve;
    });
    const start = performance.now();
    client.send(batchOf('slow'));
    await arrived;
    expect(performance.now() - start).toBeGreaterThanOrEqual(29);
    await Promise.all([client.close(), server.close()]);
  });
});

describe('a delay line', () => {
  test('gives out what is due, by time and then by order, whatever the order it came in', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20), fc.nat(3))), (steps) => {
        const line = new DelayLine(Number.POSITIVE_INFINITY);
        let waiting: { at: number; port: number }[] = [];
        let now = 0;
        let port = 0;
        for (const [delay, advance] of steps) {
          const at = now + delay;
          port++;
          line.add({ at, data: new Uint8Array(1), host: '', port, local: 0, ecn: 0 });
          waiting.push({ at, port });
          now += advance;
          const due = waiting.filter((d) => d.at <= now).sort((a, b) => a.at - b.at || a.port - b.port);
          waiting = waiting.filter((d) => d.at > now);
          for (const { port } of due) expect(line.takeDue(now)?.port).toBe(port);
          expect(line.takeDue(now)).toBeUndefined();
        }
      }),
    );
  });

  test('refuses what it has no room for, empty datagrams too', () => {
    const line = new DelayLine(1_000);
    let taken = 0;
    while (line.add({ at: 1, data: new Uint8Array(0), host: '', port: 1, local: 0, ecn: 0 })) taken++;
    expect(taken).toBeGreaterThan(0);
    line.takeDue(1);
    expect(line.add({ at: 1, data: new Uint8Array(0), host: '', port: 1, local: 0, ecn: 0 })).toBe(true);
    line.clear();
    expect(line.takeDue(1)).toBeUndefined();
    expect(line.add({ at: 1, data: new Uint8Array(700), host: '', port: 1, local: 0, ecn: 0 })).toBe(true);
  });
});

function impaired(options: ImpairmentOptions) {
  const clock = new ManualClock();
  const inner = new RecordingSocket();
  return { clock, inner, socket: impairSocket(inner, options, clock) };
}

function batchOf(...texts: string[]): TransmitBatch {
  const batch = new TransmitBatch(1_024, 8);
  for (const text of texts) {
    const { written } = new TextEncoder().encodeInto(text, batch.arena.subarray(batch.used));
    batch.push(written, '192.0.2.1', 4_000);
  }
  return batch;
}

function collect(socket: DatagramSocket): string[] {
  const seen: string[] = [];
  socket.onBatch = (batch) => {
    for (let i = 0; i < batch.count; i++) seen.push(new TextDecoder().decode(batch.data[i]));
  };
  return seen;
}

/** A socket that remembers what it was given. */
class RecordingSocket implements DatagramSocket {
  readonly localHost = '192.0.2.2';
  readonly localPort = 1;
  readonly remote = null;
  readonly receiveBufferBytes = 123_456;
  readonly sendBufferBytes = 654_321;
  readonly counters = socketCounters();
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;
  /** The socket's own address that each datagram was sent from. */
  readonly locals: number[] = [];
  full = false;
  readonly sent: string[] = [];

  send(batch: TransmitBatch): boolean {
    for (let i = 0; i < batch.count; i++) {
      const data = batch.arena.subarray(batch.offset[i], batch.offset[i] + batch.length[i]);
      this.sent.push(new TextDecoder().decode(data));
      this.locals.push(batch.local[i]);
    }
    return !this.full;
  }

  receive(...texts: string[]): void {
    const batch = new ReceiveBatch();
    for (const text of texts) batch.push(new TextEncoder().encode(text), '192.0.2.1', 4_000);
    this.onBatch?.(batch);
  }

  async close(): Promise<void> {}
  ref(): void {}
  unref(): void {}
}

/** A clock that moves when the test says so. */
class ManualClock implements Clock {
  private time: Micros = 1_000_000;
  private timers: { at: Micros; callback: () => void }[] = [];

  get pending(): number {
    return this.timers.length;
  }

  now(): Micros {
    return this.time;
  }

  setTimer(at: Micros, callback: () => void): TimerHandle {
    const timer = { at, callback };
    this.timers.push(timer);
    return timer;
  }

  clearTimer(timer: TimerHandle): void {
    this.timers = this.timers.filter((t) => t !== timer);
  }

  soon(callback: () => void): void {
    this.setTimer(this.time, callback);
  }

  advance(by: Micros): void {
    this.time += by;
    const due = this.timers.filter((t) => t.at <= this.time);
    this.timers = this.timers.filter((t) => t.at > this.time);
    for (const timer of due) timer.callback();
  }
}
