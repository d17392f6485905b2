import { expect, test } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import type { Endpoint } from '../../src/protocol/endpoint/endpoint.ts';
import { Driver } from '../../src/transport/driver.ts';
import type { Clock } from '../../src/udp/clock.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';

/** A driver whose endpoint always has a hello to answer, which takes 4 ms, in a loop that takes 1 ms to go round. */
function flooded(hasManyHellos: boolean) {
  let now = 0;
  let answering = 0;
  const soon: (() => void)[] = [];
  const endpoint = {
    hasHellos: true,
    hasManyHellos,
    hasEvents: false,
    wantsTransmit: false,
    nextTimeout: () => Number.POSITIVE_INFINITY,
    pollEvent: () => null,
    answerHello: () => {
      now += 4 * MILLISECOND;
      answering += 4 * MILLISECOND;
    },
  } as unknown as Endpoint;
  const clock = {
    now: () => now,
    soon: (call: () => void) => soon.push(call),
    setTimer: () => 0,
  } as unknown as Clock;
  const owner = { onEvent: () => {}, onSocketError: () => {}, onDatagramRefused: () => {} };
  const driver = new Driver(endpoint, {} as DatagramSocket, clock, owner);
  driver.wake();
  for (let i = 0; i < 1_000; i++) {
    now += MILLISECOND;
    for (const call of soon.splice(0)) call();
  }
  return answering / now;
}

test('under a flood of hellos most of the time is left to who is connected; a few hellos have all there is [CON-41]', () => {
  expect(flooded(true)).toBeGreaterThan(0.15);
  expect(flooded(true)).toBeLessThanOrEqual(0.21);
  expect(flooded(false)).toBeGreaterThan(0.75);
});
