import { describe, expect, test, vi } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { isFinalEnd, Life } from '../../src/client/life.ts';
import { Link, type LinkUser } from '../../src/client/link.ts';
import type { ReconnectOptions } from '../../src/client/reconnecting.ts';
import { ReasonCode } from '../../src/pubsub/command.ts';
import { Backoff } from '../../src/transport/backoff.ts';
import { type FakeConnection, FakeNetwork } from './fake-transport.ts';
import { ManualClock } from './manual-clock.ts';

const REFUSED = new JspError('ERR_JSP_CONNECTION_REFUSED', 'nothing listens there');

/** A life whose dialer answers as the test says, with a clock and chance of the test's. */
function newLife(
  options: { reconnect?: ReconnectOptions | null; ways?: number; random?: () => number } = {},
) {
  const clock = new ManualClock();
  const network = new FakeNetwork();
  const states: string[] = [];
  const peers: FakeConnection[] = [];
  const world = { answer: null as Error | null, dials: 0, aborted: 0, hangs: false };
  const ways = options.ways ?? 1;
  const backoff =
    options.reconnect === null
      ? null
      : new Backoff(options.reconnect ?? {}, ways, options.random ?? (() => 0.999999));
  const dialer = {
    ways,
    isFinal: isFinalEnd,
    suggest: () => {},
    async dial(onEnded: (link: Link, error: Error | null) => void, signal: AbortSignal): Promise<Link> {
      world.dials++;
      if (world.hangs) {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
        world.aborted++;
        throw new JspError('ERR_JSP_ABORTED', 'aborted');
      }
      if (world.answer !== null) throw world.answer;
      const [near, far] = network.connect();
      peers.push(far);
      return new Link(near, true, onEnded);
    },
  };
  const life = new Life(dialer, backoff, clock, {
    onState: (state, reason) => states.push(reason === null ? state : `${state}: ${reason.code}`),
    withCost: (reason) => reason,
  });
  /** Lets the wait before the next attempt pass, and tells how long it was. */
  const retry = async (): Promise<number> => {
    const ms = Math.ceil(clock.nextInMs);
    clock.advance(ms);
    await turn();
    return ms;
  };
  return { life, clock, world, states, peers, retry };
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

function closedWith(code: number): Error {
  return new JspError('ERR_JSP_CLOSED_BY_PEER', 'closed', { applicationCode: code });
}

describe('a client that loses its connection', () => {
  test('is offline, comes back, and tells whoever outlives connections of each [CLT-1, CLT-2]', async () => {
    const { life, peers, states, retry } = newLife();
    const told: string[] = [];
    const user: LinkUser = {
      online: () => void told.push('online'),
      offline: ({ code }) => void told.push(`offline ${code}`),
      closed: (reason) => void told.push(`closed ${reason?.code}`),
    };
    life.use(user);
    await life.begin('reject', undefined);
    peers[0].break();
    expect(life.link).toBeNull();
    await retry();
    expect(life.state).toBe('online');
    life.end(null);
    expect(states).toEqual(['online', 'offline: ERR_JSP_HEARTBEAT_TIMEOUT', 'online', 'closed']);
    expect(told).toEqual(['online', 'offline ERR_JSP_HEARTBEAT_TIMEOUT', 'online', 'closed undefined']);
  });

  test('publishes when its subscriptions are there again, or take too long [CLT-1]', async () => {
    const { life, clock, peers, retry } = newLife();
    const told: string[] = [];
    let isThere: () => void = () => {};
    const silent = { offline: () => {}, closed: () => {} };
    life.useLast({ online: () => void told.push('publisher'), ...silent });
    life.use({
      online: () => {
        told.push('subscription');
        return new Promise((resolve) => {
          isThere = resolve;
        });
      },
      ...silent,
    });
    await life.begin('reject', undefined);
    await turn();
    expect(told).toEqual(['subscription']);
    isThere();
    await turn();
    expect(told).toEqual(['subscription', 'publisher']);
    peers[0].break();
    await retry();
    expect(told).toEqual(['subscription', 'publisher', 'subscription']);
    clock.advance(5_000);
    expect(told.at(-1)).toBe('publisher');
  });

  test('also after a goodbye of the broker without an error', async () => {
    const { life, peers, states, retry } = newLife();
    await life.begin('reject', undefined);
    peers[0].destroy();
    await turn();
    await retry();
    expect(states).toEqual(['online', 'offline: ERR_JSP_CLOSED', 'online']);
  });

  test('comes back, once, when its session is taken soon after an attempt of its own has failed, which may have it [CLT-4]', async () => {
    for (const laterMs of [0, 10_000]) {
      const { life, clock, world, peers, retry } = newLife();
      await life.begin('reject', undefined);
      peers[0].break();
      world.answer = new JspError('ERR_JSP_TIMEOUT', 'no answer to HELLO');
      await retry();
      world.answer = null;
      await retry();
      clock.advance(laterMs);
      peers[1].destroy(ReasonCode.SESSION_TAKEN);
      await turn();
      expect(life.state).toBe(laterMs === 0 ? 'offline' : 'closed');
      if (laterMs > 0) continue;
      await retry();
      peers[2].destroy(ReasonCode.SESSION_TAKEN);
      await turn();
      expect([life.state, life.failure?.code]).toEqual(['closed', 'ERR_JSP_SESSION_TAKEN']);
    }
  });

  test('waits for a random part of a time that doubles up to a bound [CLT-3]', async () => {
    const { life, world, peers, retry } = newLife();
    await life.begin('reject', undefined);
    world.answer = REFUSED;
    peers[0].break();
    const waits: number[] = [];
    for (let i = 0; i < 10; i++) waits.push(await retry());
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    expect(life.state).toBe('offline');
    const jittered = new Backoff({}, 1, () => 0.1);
    expect([jittered.nextMs(), jittered.nextMs()]).toEqual([25, 50]);
  });

  test('keeps backing off from a broker at which connections die young, until one has been stable [CLT-3]', async () => {
    const { life, clock, peers, retry } = newLife();
    await life.begin('reject', undefined);
    const waits: number[] = [];
    for (let i = 0; i < 5; i++) {
      clock.advance(5_000);
      peers[i].break();
      waits.push(await retry());
    }
    expect(waits).toEqual([250, 500, 1_000, 2_000, 4_000]);
    clock.advance(30_000);
    peers[5].break();
    expect(await retry()).toBe(250);
  });

  test('tries each of its URLs before the wait doubles [CLT-3]', async () => {
    const { life, world, peers, retry } = newLife({ ways: 3 });
    await life.begin('reject', undefined);
    world.answer = REFUSED;
    peers[0].break();
    const waits: number[] = [];
    for (let i = 0; i < 7; i++) waits.push(await retry());
    expect(waits).toEqual([250, 250, 250, 500, 500, 500, 1_000]);
  });

  test('spreads its return over the time that a broker asks for, within reason [CLT-5]', async () => {
    const { life, peers, retry } = newLife({ random: () => 0.5 });
    await life.begin('reject', undefined);
    life.onShuttingDown(20_000, '');
    peers[0].break();
    expect(await retry()).toBe(10_000);
    life.onShuttingDown(1e12, '');
    peers[1].break();
    expect(await retry()).toBe(300_000);
  });

  test.each([
    [ReasonCode.UNSUPPORTED, true],
    [ReasonCode.COMMAND_ENCODING_ERROR, true],
    [ReasonCode.SHUTTING_DOWN, false],
    [ReasonCode.INTERNAL_ERROR, false],
  ])('is over for good after code %i of the broker: %s [CLT-4]', async (code, isFinal) => {
    const { life, world, peers, states, retry } = newLife();
    await life.begin('reject', undefined);
    world.answer = closedWith(code);
    peers[0].break();
    await retry();
    expect(life.state).toBe(isFinal ? 'closed' : 'offline');
    expect(states.at(-1)).toBe(
      isFinal ? 'closed: ERR_JSP_CLOSED_BY_PEER' : 'offline: ERR_JSP_HEARTBEAT_TIMEOUT',
    );
  });

  test('keeps its process while it is away, for as long as it is to, and no longer than it lives [CLT-16]', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const { life, world, peers, retry } = newLife();
      const kept = [vi.getTimerCount()];
      const note = () => kept.push(vi.getTimerCount());
      await life.begin('reject', undefined);
      note();
      world.answer = REFUSED;
      peers[0].break();
      note();
      life.setReferenced(false);
      note();
      life.setReferenced(true);
      await retry();
      note();
      life.end(null);
      note();
      expect(kept).toEqual([0, 0, 1, 0, 1, 0]);
    } finally {
      vi.useRealTimers();
    }
  });

  test('tries at once when there is reason to, in the place of the attempt that waited', async () => {
    const { life, world, peers, clock } = newLife();
    await life.begin('reject', undefined);
    world.hangs = true;
    peers[0].break();
    expect([world.dials, clock.pending]).toEqual([1, 1]);
    life.hurry();
    expect([world.dials, clock.pending]).toEqual([2, 0]);
    life.hurry(); // which is under way
    expect(world.dials).toBe(2);
    life.end(null);
  });

  test('is over for good when the broker proves another identity [CLT-4]', async () => {
    const { life, world, peers, clock, retry } = newLife();
    await life.begin('reject', undefined);
    world.answer = new JspError('ERR_JSP_IDENTITY_MISMATCH', 'another');
    peers[0].break();
    await retry();
    expect(life.failure).toBe(world.answer);
    expect(clock.pending).toBe(0);
  });

  test('is over with it when it is not to reconnect', async () => {
    const { life, world, peers, states } = newLife({ reconnect: null });
    await life.begin('reject', undefined);
    peers[0].break();
    expect(states).toEqual(['online', 'closed: ERR_JSP_HEARTBEAT_TIMEOUT']);
    expect(world.dials).toBe(1);
  });

  test('leaves no attempt behind when it is ended meanwhile [CLT-6]', async () => {
    const { life, world, clock, peers, retry } = newLife();
    await life.begin('reject', undefined);
    world.hangs = true;
    peers[0].break();
    await retry();
    life.end(null);
    await turn();
    expect(world).toMatchObject({ dials: 2, aborted: 1 });
    expect(clock.pending).toBe(0);
  });
});

describe('a first connection that fails', () => {
  test('is the error of who connects, once each URL was tried', async () => {
    const { life, world, clock, retry } = newLife({ ways: 2 });
    world.answer = REFUSED;
    const connecting = life.begin('reject', undefined);
    connecting.catch(() => {});
    await turn();
    await retry();
    await expect(connecting).rejects.toBe(REFUSED);
    expect(world.dials).toBe(2);
    expect(clock.pending).toBe(0);
  });

  test.each(['wait', 'background'] as const)('is tried again with %s', async (first) => {
    const { life, world, states, retry } = newLife();
    world.answer = REFUSED;
    let isSettled = false;
    const connecting = life.begin(first, undefined).then(() => {
      isSettled = true;
    });
    await turn();
    await retry();
    expect(isSettled).toBe(first === 'background');
    expect(life.state).toBe('connecting');
    world.answer = null;
    await retry();
    await connecting;
    expect(states).toEqual(['online']);
  });

  test('is given up by its signal, with the attempt that is under way [CLT-6]', async () => {
    const { life, world, clock } = newLife();
    world.hangs = true;
    const controller = new AbortController();
    const connecting = life.begin('wait', controller.signal);
    controller.abort('enough');
    await expect(connecting).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED', cause: 'enough' });
    await turn();
    expect(world.aborted).toBe(1);
    expect(clock.pending).toBe(0);
    await expect(newLife().life.begin('wait', controller.signal)).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
  });
});
