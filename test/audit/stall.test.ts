import { expect, test } from 'vitest';
import type { Endpoint } from '../../src/endpoint/endpoint.ts';
import { Driver } from '../../src/transport/driver.ts';
import type { Clock } from '../../src/udp/clock.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';
import { ReceiveBatch } from '../../src/wire/batch.ts';

test('after the process stood still, datagrams that came meanwhile are looked at before timeouts', () => {
  const log: string[] = [];
  let now = 0;
  let timer: (() => void) | null = null;
  let soon: (() => void) | null = null;
  const clock: Clock = {
    now: () => now,
    setTimer: (_at, callback) => {
      timer = callback;
      return {};
    },
    clearTimer: () => {},
    soon: (callback) => {
      soon = callback;
    },
  };
  const endpoint = {
    nextTimeout: () => 1_000_000,
    timeout: () => log.push('timeout'),
    receive: () => log.push('receive'),
    transmit: () => 0,
    pollEvent: () => null,
    wantsTransmit: false,
    hasEvents: false,
    answersUntil: 0,
  } as unknown as Endpoint;
  const socket = { send: () => true, close: async () => {} } as unknown as DatagramSocket;
  const driver = new Driver(endpoint, socket, clock, { onEvent: () => {}, onSocketError: () => {} });
  driver.flush();
  const fire = (): void => (timer as unknown as () => void)();
  now = 1_001_000;
  fire();
  expect(log).toEqual(['timeout']);
  log.length = 0;
  // The timer of a process that stood still for ten seconds comes before its socket is read.
  now = 11_000_000;
  fire();
  socket.onBatch?.(new ReceiveBatch());
  (soon as unknown as () => void)();
  expect(log).toEqual(['receive', 'timeout', 'timeout']);
});
