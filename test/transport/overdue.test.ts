import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros, SECOND } from '../../src/base/time.ts';
import { ReceiveBatch } from '../../src/protocol/datagram/index.ts';
import { Driver } from '../../src/transport/driver.ts';
import type { Clock, TimerHandle } from '../../src/udp/clock.ts';
import { type DatagramSocket, socketCounters } from '../../src/udp/datagram-socket.ts';

const SLEPT = 200 * MILLISECOND;

describe('a timeout that is overdue because the process stood still', () => {
  for (const [what, begin] of [
    ['its timer', (loop: Loop) => loop.fireTimers()],
    ['a call of the application', (loop: Loop) => loop.driver.wake()],
    ['a flush', (loop: Loop) => loop.driver.flush()],
    ['a datagram that is handed over at once', (loop: Loop) => loop.handOver(1)],
    ['a socket that is writable again', (loop: Loop) => loop.socket.onWritable?.()],
  ] as const) {
    test(`waits until the socket was read and handed over, when ${what} begins the turn`, () => {
      const loop = new Loop();
      loop.waiting = 3;
      loop.sleep(SLEPT);
      begin(loop);
      loop.turnUntil(() => loop.timeouts > 0);
      expect(loop.log.slice(0, -1)).not.toContain('timeout');
      expect(loop.log.at(-1)).toBe('timeout');
      expect(loop.waiting).toBe(0);
      expect(loop.read).toBeGreaterThanOrEqual(3);
    });
  }

  test('waits for another poll as long as one brings all that a poll may bring', () => {
    const loop = new Loop();
    loop.waiting = 150;
    loop.sleep(SLEPT);
    loop.fireTimers();
    loop.turnUntil(() => loop.timeouts > 0);
    expect(loop.read).toBe(150);
  });

  test('does not come at all when what was read makes it void', () => {
    const loop = new Loop();
    loop.waiting = 40;
    loop.onRead = () => {
      loop.due = loop.time + SECOND;
    };
    loop.sleep(SLEPT);
    loop.fireTimers();
    for (let i = 0; i < 20; i++) loop.turn();
    expect(loop.read).toBe(40);
    expect(loop.timeouts).toBe(0);
    // The next one is in time again.
    loop.sleep(SECOND);
    loop.fireTimers();
    expect(loop.timeouts).toBe(1);
  });

  test('is not kept away for ever by a flood', () => {
    const loop = new Loop();
    loop.waiting = Number.POSITIVE_INFINITY;
    loop.sleep(SLEPT);
    loop.fireTimers();
    loop.turnUntil(() => loop.timeouts > 0);
    expect(loop.read).toBeGreaterThan(10 * POLL);
  });

  test('does not keep what the application sends from leaving', () => {
    const loop = new Loop();
    loop.sleep(SLEPT);
    loop.packets = 1;
    loop.driver.flush();
    expect(loop.log).toEqual(['transmit']);
  });
});

test('a timeout that is late by no more than timers are comes at once', () => {
  const loop = new Loop();
  loop.sleep(loop.due - loop.time + MILLISECOND);
  loop.fireTimers();
  expect(loop.log[0]).toBe('timeout');
});

/**
 * An event loop with the order of Node's: timers, then one poll, which reads at most 32 datagrams, then what `soon` was asked to call
 * before. Around it a driver with an endpoint that has one timeout, due after 50 ms.
 */
class Loop {
  time: Micros = SECOND;
  due: Micros = SECOND + 50 * MILLISECOND;
  /** Datagrams in the system's buffer. */
  waiting = 0;
  read = 0;
  timeouts = 0;
  packets = 0;
  readonly log: string[] = [];
  onRead = (): void => {};
  readonly driver: Driver;
  readonly socket: DatagramSocket;
  private readonly timers = new Set<{ at: Micros; callback: () => void }>();
  private soon: (() => void)[] = [];

  constructor() {
    const clock: Clock = {
      now: () => this.time,
      setTimer: (at, callback) => {
        const timer = { at, callback };
        this.timers.add(timer);
        return timer;
      },
      clearTimer: (timer: TimerHandle) => this.timers.delete(timer as { at: Micros; callback: () => void }),
      soon: (callback) => this.soon.push(callback),
    };
    this.socket = {
      localHost: 'here',
      localPort: 1,
      remote: null,
      receiveBufferBytes: 0,
      sendBufferBytes: 0,
      counters: socketCounters(),
      onBatch: null,
      onWritable: null,
      onError: null,
      onTooLarge: null,
      send: () => true,
      close: () => Promise.resolve(),
      ref: () => {},
      unref: () => {},
    } as DatagramSocket;
    const endpoint = {
      foreign: { count: 0 },
      receive: (batch: ReceiveBatch) => {
        this.log.push('receive');
        this.read += batch.count;
        this.onRead();
      },
      timeout: () => {
        this.log.push('timeout');
        this.timeouts++;
        this.due = this.time + SECOND;
      },
      nextTimeout: () => this.due,
      pollEvent: () => null,
      transmit: () => {
        this.log.push('transmit');
        this.packets = 0;
        return 0;
      },
      get hasEvents() {
        return false;
      },
      get wantsTransmit() {
        return loop.packets > 0;
      },
    };
    const loop = this;
    this.driver = new Driver(endpoint as never, this.socket, clock, {
      onEvent: () => {},
      onSocketError: () => {},
      onDatagramRefused: () => {},
    });
    this.driver.flush(); // it sets its timer
    this.log.length = 0;
  }

  /** The process stands still. */
  sleep(time: Micros): void {
    this.time += time;
  }

  fireTimers(): void {
    for (const timer of [...this.timers]) {
      if (timer.at > this.time || !this.timers.delete(timer)) continue;
      timer.callback();
    }
  }

  handOver(count: number): void {
    const batch = new ReceiveBatch();
    for (let i = 0; i < count; i++) batch.push(new Uint8Array(1), 'there', 1);
    this.socket.onBatch?.(batch);
  }

  /** One turn of the loop, without time passing. */
  turn(): void {
    this.fireTimers();
    const count = Math.min(this.waiting, POLL);
    this.waiting -= count;
    if (count > 0) this.soon.push(() => this.handOver(count));
    const { soon } = this;
    this.soon = [];
    for (const callback of soon) callback();
  }

  turnUntil(isOver: () => boolean): void {
    for (let i = 0; !isOver(); i++) {
      if (i === 1_000) throw new Error('it does not come');
      this.turn();
    }
  }
}

const POLL = 32;
