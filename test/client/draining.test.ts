import { getEventListeners } from 'node:events';
import { describe, expect, test } from 'vitest';
import { DrainError } from '../../src/client/index.ts';
import { encodePublished, PublishResult } from '../../src/pubsub/acknowledgement.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { playedBroker } from './played-broker.ts';

/** A handler that is done when the test says so. */
function held() {
  const seen: string[] = [];
  const done: (() => void)[] = [];
  const handler = (message: { text(): string }): Promise<void> => {
    seen.push(message.text());
    return new Promise((resolve) => done.push(resolve));
  };
  return { seen, done, handler };
}

describe('a client that drains', () => {
  test('lets its handlers finish and publish, has their messages acknowledged, and goes [CLT-15]', async () => {
    const broker = new FakeBroker();
    const { client } = await broker.returningClient({ session: 'worker' });
    const { seen, done, handler } = held();
    await client.subscribe('t', handler, { qos: 1, durable: 'd', from: 'earliest', concurrency: 2 });
    const other = await broker.client();
    for (const text of ['a', 'b', 'c']) await other.publish(`t`, text, { qos: 1 });
    await until(() => seen.length === 1);
    let isDone = false;
    const states: string[] = [];
    client.on('state', (state) => states.push(state));
    const draining = client.drain().then(() => {
      isDone = true;
    });
    await settled();
    expect([client.state, isDone]).toEqual(['draining', false]);
    const answer = client.publish('answers', 'a is done', { qos: 1 });
    done[0]();
    await draining;
    expect((await answer).offset).toBe(4);
    expect(states).toEqual(['draining', 'closed']);
    expect(() => client.publish('t', '')).toThrow();
    // Only what the handler had is done.
    const rest: string[] = [];
    const next = await broker.client();
    await next.subscribe('t', (message) => rest.push(message.text()), { qos: 1, durable: 'd' });
    await until(() => rest.length === 2);
    await settled();
    expect(rest).toEqual(['b', 'c']);
  });

  test('comes back for that when it has lost its connection [CLT-15]', async () => {
    const broker = new FakeBroker();
    const { client, connections, way } = await broker.returningClient({ session: 'worker' });
    const { seen, done, handler } = held();
    await client.subscribe('t', handler, { qos: 1, durable: 'd', from: 'earliest' });
    const other = await broker.client();
    for (const text of ['a', 'b']) await other.publish(`t`, text, { qos: 1 });
    await until(() => seen.length === 1);
    const draining = client.drain();
    way.isReachable = false;
    connections[0].break();
    const late = client.publish('answers', 'late', { qos: 1 });
    done[0]();
    await settled();
    way.isReachable = true;
    await draining;
    await late;
    const rest: string[] = [];
    const next = await broker.client();
    await next.subscribe('t', (message) => rest.push(message.text()), { qos: 1, durable: 'd' });
    await until(() => rest.length === 1);
    await settled();
    expect(rest).toEqual(['b']);
  });

  test('says what is not settled when its time is over, or nobody settles it [CLT-15]', async () => {
    const broker = new FakeBroker();
    const { client } = await broker.returningClient({ session: 'worker' });
    await client.subscribe('t', () => new Promise(() => {}), { qos: 1, durable: 'd', from: 'earliest' });
    await client.publish('t', 'a', { qos: 1 });
    await settled();
    const error = await client.drain({ timeoutMs: 1 }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(DrainError);
    expect(error).toMatchObject({
      code: 'ERR_JSP_CLOSE_INCOMPLETE',
      unsettled: [{ was: 'received', topic: 't', offset: 1 }],
    });
    expect(client.state).toBe('closed');
    const manual = (await broker.returningClient({ session: 'other' })).client;
    await manual.subscribe('t', () => {}, { qos: 1, durable: 'e', from: 'earliest', ack: 'manual' });
    await settled();
    await expect(manual.drain()).rejects.toMatchObject({ unsettled: [{ topic: 't', offset: 1 }] });
  });

  test('says which of its messages the broker has not confirmed, also when it is cut by a signal or can not come back [CLT-15]', async () => {
    const ends = [(abort: () => void) => abort(), (_: () => void, destroy: () => void) => destroy()];
    for (const end of ends) {
      const { client, answer } = await playedBroker();
      const receipts = ['a', 'b'].map((text) => client.publish(text, text, { qos: 1 }));
      await settled();
      answer(encodePublished(1, true, PublishResult.STORED, 1));
      const controller = new AbortController();
      const draining = client.drain({ signal: controller.signal });
      const again = client.drain();
      await settled();
      end(
        () => controller.abort(),
        () => client.destroy(),
      );
      await expect(draining).rejects.toMatchObject({
        unsettled: [{ was: 'published', topic: 'b', offset: null }],
      });
      await expect(again).rejects.toThrow(DrainError);
      await expect(receipts[1]).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
      await expect(client.drain()).rejects.toThrow(DrainError);
    }
  });

  test('that has nothing to do goes at once', async () => {
    const { client, connections, way } = await new FakeBroker().returningClient();
    await client.subscribe('t', () => {});
    await client.drain();
    expect(await client.closed).toBeNull();
    const other = await new FakeBroker().returningClient();
    other.way.isReachable = false;
    other.connections[0].break();
    await other.client.drain();
    expect([connections.length, way.isReachable]).toEqual([1, true]);
    await expect((await new FakeBroker().client()).drain({ timeoutMs: -1 })).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
    });
  });

  test.each([
    ['drain', 'drain'],
    ['close', 'close'],
    ['drain', 'close'],
  ] as const)(
    'that is over waits neither for the time nor for the signal of those who asked: %s, then %s [CLT-15]',
    async (first, second) => {
      const { signal } = new AbortController();
      const client = await new FakeBroker().client();
      await client[first]({ timeoutMs: 30_000, signal });
      const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      const before = timers();
      await client[second]({ timeoutMs: 20_000, signal });
      expect([getEventListeners(signal, 'abort').length, timers()]).toEqual([0, before]);
    },
  );
});
