import { describe, expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { Breaker, type BreakerOptions } from '../../src/client/breaker.ts';
import { encodePublished, PublishResult } from '../../src/pubsub/acknowledgement.ts';
import { encodeRefused, ReasonCode } from '../../src/pubsub/command.ts';
import { FakeBroker, settled } from './fake-broker.ts';
import { ManualClock } from './manual-clock.ts';
import { playedBroker } from './played-broker.ts';

const FULL = new JspError('ERR_JSP_STORE_FULL', 'full');

function newBreaker(options: BreakerOptions = {}) {
  const clock = new ManualClock();
  const told: string[] = [];
  const breaker = new Breaker(options, clock, (state, reason) =>
    told.push(reason === null ? state : `${state} ${reason.code}`),
  );
  return { breaker, clock, told };
}

describe('a circuit breaker', () => {
  test('opens with so many failures within a time, tries once after a pause, and closes when that succeeds [CLT-14]', () => {
    const { breaker, clock, told } = newBreaker({ failures: 3, withinMs: 1_000, openMs: 500 });
    for (const ms of [0, 600, 600]) {
      clock.advance(ms);
      breaker.settled(FULL);
    }
    expect(breaker.state).toBe('closed'); // three, but not within 1 s
    clock.advance(100);
    breaker.settled(FULL);
    expect([breaker.state, breaker.admits()]).toEqual(['open', false]);
    clock.advance(500);
    expect([breaker.admits(), breaker.admits()]).toEqual([true, false]);
    breaker.settled(FULL);
    expect(breaker.state).toBe('open');
    clock.advance(500);
    breaker.admits();
    breaker.settled(null);
    expect([breaker.state, breaker.admits(), breaker.admits()]).toEqual(['closed', true, true]);
    expect(told).toEqual([
      'open ERR_JSP_STORE_FULL',
      'halfOpen',
      'open ERR_JSP_STORE_FULL',
      'halfOpen',
      'closed',
    ]);
    expect(clock.pending).toBe(0);
  });

  test('counts what others could not do better either, and nothing else [CLT-14]', () => {
    const timeout = new DOMException('late', 'TimeoutError');
    const { breaker } = newBreaker({ failures: 2 });
    for (const code of [
      'ERR_JSP_NOT_AUTHORIZED',
      'ERR_JSP_EXPIRED',
      'ERR_JSP_CLOSED',
      'ERR_JSP_ABORTED',
    ] as const) {
      breaker.settled(new JspError(code, ''));
      breaker.settled(new JspError(code, ''));
    }
    expect(breaker.state).toBe('closed');
    breaker.settled(new JspError('ERR_JSP_ABORTED', '', { cause: timeout }));
    breaker.settled(new JspError('ERR_JSP_TIMEOUT', ''));
    expect(breaker.state).toBe('open');
  });

  test.each(['fail', 'buffer'] as const)(
    'of a client lets publishes %s while it is open [CLT-14]',
    async (whileOpen) => {
      const clock = new ManualClock();
      const { client, world, answer } = await playedBroker({
        clock,
        breaker: { failures: 2, openMs: 1_000, whileOpen },
      });
      const told: string[] = [];
      client.on('breaker', (state) => told.push(state));
      const first = ['a', 'b'].map((text) => client.publish('t', text, { qos: 1 }));
      await settled();
      for (const id of [1, 2]) answer(encodeRefused(id, ReasonCode.STORE_FULL, 'full'));
      for (const each of first) await expect(each).rejects.toMatchObject({ code: 'ERR_JSP_STORE_FULL' });
      const later = ['c', 'd'].map((text) => client.publish('t', text, { qos: 1 }));
      await settled();
      expect([world.sent.length, client.metrics().breaker]).toEqual([2, 'open']);
      if (whileOpen === 'fail') {
        for (const each of later) await expect(each).rejects.toMatchObject({ code: 'ERR_JSP_CIRCUIT_OPEN' });
        client.destroy();
        expect(clock.pending).toBe(0);
        return;
      }
      clock.advance(1_000);
      await settled();
      expect(world.sent.map(({ text }) => text)).toEqual(['a', 'b', 'c']);
      answer(encodePublished(3, true, PublishResult.STORED, 1));
      await settled();
      expect(world.sent.map(({ text }) => text)).toEqual(['a', 'b', 'c', 'd']);
      answer(encodePublished(4, true, PublishResult.STORED, 2));
      await Promise.all(later);
      expect(told).toEqual(['open', 'halfOpen', 'closed']);
      client.destroy();
    },
  );

  test.each(['refused for its own sake', 'given up'])(
    'whose trial was %s tries the next one that waits [CLT-14]',
    async (end) => {
      const clock = new ManualClock();
      const breaker = { failures: 1, openMs: 1_000, whileOpen: 'buffer' } as const;
      const { client, world, answer } = await playedBroker({ clock, breaker });
      const first = client.publish('t', 'a', { qos: 1 });
      await settled();
      answer(encodeRefused(1, ReasonCode.STORE_FULL, 'full'));
      await expect(first).rejects.toMatchObject({ code: 'ERR_JSP_STORE_FULL' });
      const abort = new AbortController();
      const trial = client.publish('t', 'b', { qos: 1, signal: abort.signal });
      const next = client.publish('t', 'c', { qos: 1 });
      clock.advance(1_000);
      await settled();
      expect(world.sent.map(({ text }) => text)).toEqual(['a', 'b']);
      if (end === 'given up') abort.abort();
      else answer(encodeRefused(2, ReasonCode.NOT_AUTHORIZED, 'no'));
      await expect(trial).rejects.toThrow();
      await settled();
      expect(world.sent.map(({ text }) => text)).toEqual(['a', 'b', 'c']);
      answer(encodePublished(3, true, PublishResult.STORED, 1));
      await next;
      expect(client.metrics().breaker).toBe('closed');
      client.destroy();
    },
  );

  test('counts requests that nobody answers in time, and spares them [CLT-14]', async () => {
    const broker = new FakeBroker();
    const client = await broker.client({ breaker: { failures: 2 } });
    const other = await broker.client();
    await other.subscribe('silent', () => {});
    for (let i = 0; i < 2; i++) {
      await expect(client.request('silent', '', { timeoutMs: 1 })).rejects.toMatchObject({
        code: 'ERR_JSP_TIMEOUT',
      });
    }
    await expect(client.request('silent', '', { timeoutMs: 1 })).rejects.toMatchObject({
      code: 'ERR_JSP_CIRCUIT_OPEN',
    });
    expect(client.publish('t', '')).toBe(true); // QoS 0 has no answer that could tell
    client.destroy();
  });

  test.each([0, 1] as const)(
    'lets a request with QoS %d be the trial, which closes it when it is answered [CLT-14]',
    async (qos) => {
      const broker = new FakeBroker();
      const client = await broker.client({ breaker: { failures: 2, openMs: 1 } });
      const other = await broker.client();
      await other.subscribe('silent', () => {});
      await other.reply('echo', (message) => message.text());
      const isHalfOpen = new Promise<void>((resolve) =>
        client.on('breaker', (state) => (state === 'halfOpen' ? resolve() : undefined)),
      );
      for (let i = 0; i < 2; i++) await client.request('silent', '', { timeoutMs: 1 }).catch(() => {});
      await isHalfOpen;
      const answer = await client.request('echo', 'there', { qos, timeoutMs: 1_000 });
      expect([answer.text(), client.metrics().breaker]).toEqual(['there', 'closed']);
      client.destroy();
    },
  );
});
