import { expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { Backoff } from '../../src/transport/backoff.ts';
import { Redial } from '../../src/transport/redial.ts';
import { ManualClock } from '../client/manual-clock.ts';

/** Dials as the test says, with waits of a second at most. */
function newRedial() {
  const clock = new ManualClock();
  const backoff = new Backoff({ minMs: 1_000, maxMs: 1_000, stableMs: 5_000 }, 1, () => 0.5);
  const told: string[] = [];
  let settle: (outcome: string | JspError) => void = () => {};
  const redial = new Redial<string>(
    {
      dial: () => {
        told.push('dial');
        return new Promise((resolve, reject) => {
          settle = (outcome) => (typeof outcome === 'string' ? resolve(outcome) : reject(outcome));
        });
      },
      onConnection: (connection) => void told.push(connection),
      onFailed: () => true,
      onWait: () => {},
      discard: (connection) => void told.push(`not ${connection}`),
    },
    backoff,
    clock,
  );
  /** What becomes of the attempt that is under way. */
  const answer = async (outcome: string | JspError): Promise<void> => {
    settle(outcome);
    for (let i = 0; i < 5; i++) await null;
  };
  return { redial, clock, told, answer };
}

const REFUSED = new JspError('ERR_JSP_CONNECTION_REFUSED', 'nothing listens there');

test('an attempt that is made at once takes the place of the one that waited [CON-102]', async () => {
  const { redial, clock, told, answer } = newRedial();
  redial.begin();
  redial.begin(); // anew
  expect(clock.pending).toBe(1);
  redial.hurry();
  expect([told, clock.pending]).toEqual([['dial'], 0]);
  await answer(REFUSED);
  expect(clock.pending).toBe(1);
  clock.advance(1_000);
  expect(told).toEqual(['dial', 'dial']);
  redial.end();
});

test('nothing is dialled, and no timer is left, once it is over, whenever that is', async () => {
  const waiting = newRedial();
  waiting.redial.begin();
  waiting.redial.end();
  expect(waiting.clock.pending).toBe(0);

  const connected = newRedial();
  connected.redial.hurry();
  await connected.answer('a');
  expect(connected.clock.pending).toBe(1); // until it has lasted
  connected.redial.end();
  expect(connected.clock.pending).toBe(0);

  const dialling = newRedial();
  dialling.redial.hurry();
  dialling.redial.end();
  await dialling.answer('late');
  expect([dialling.told, dialling.clock.pending]).toEqual([['dial', 'not late'], 0]);
  for (const { redial, clock, told } of [waiting, connected, dialling]) {
    const before = told.length;
    redial.begin();
    redial.hurry();
    clock.advance(10_000);
    expect(told).toHaveLength(before);
  }
});
