import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import { connectClient } from '../../src/client/index.ts';
import type { Message } from '../../src/client/message.ts';
import {
  Command,
  encodeDropped,
  encodeLane,
  encodePlain,
  publishPrefix,
  ReasonCode,
} from '../../src/pubsub/command.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { FakeNetwork, type FakeStream } from './fake-transport.ts';

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i}`);
}

/** A client, and what answers it: a broker of the test's own that only does what it is told. */
async function scripted(answer: (stream: FakeStream, message: Buffer) => void) {
  const [near, far] = new FakeNetwork().connect();
  far.on('stream', (stream: FakeStream) => {
    stream.on('message', (message: Buffer) => answer(stream, message));
  });
  return { client: await connectClient(near), near, far };
}

/** Answers every SUBSCRIBE and UNSUBSCRIBE, and nothing else. */
function confirming(stream: FakeStream, message: Buffer): void {
  if (message[0] === Command.SUBSCRIBE || message[0] === Command.UNSUBSCRIBE) {
    stream.send(encodePlain((message[0] | 0x80) as Command, message.readUInt32BE(4)));
  }
}

describe('a subscription with several readers', () => {
  test('gives each message to one of its loops, in turn, and ends all of them', async () => {
    const client = await new FakeBroker().client();
    const subscription = await client.subscribe('n');
    const loops = [0, 1, 2].map(async () => {
      const own: string[] = [];
      for await (const message of subscription) {
        own.push(message.text());
        await new Promise((resolve) => setImmediate(resolve));
      }
      return own;
    });
    for (let i = 0; i < 300; i++) {
      client.publish('n', `${i}`);
      if (i % 3 === 0) await settled();
    }
    await client.flush();
    await subscription.unsubscribe();
    const received = await Promise.all(loops);
    expect(received.flat().sort((a, b) => Number(a) - Number(b))).toEqual(numbers(300));
    for (const own of received) expect(own.length).toBeGreaterThan(60);
  });

  test('ends all loops with the error of the connection', async () => {
    const { client, connection } = await new FakeBroker().clientAndConnection();
    const subscription = await client.subscribe('n');
    const loops = [0, 1].map(async () => {
      for await (const _ of subscription);
    });
    await settled();
    connection.break();
    for (const loop of loops) await expect(loop).rejects.toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
  });
});

describe('taking a subscription back', () => {
  test.each(['handler', 'loop'] as const)(
    'can be awaited in its own %s, whatever is queued behind',
    async (where) => {
      const broker = new FakeBroker();
      const client = await broker.client();
      const received: string[] = [];
      let done = false;
      const take = async (message: Message) => {
        received.push(message.text());
        if (received.length !== 1) return;
        await settled();
        await subscription.unsubscribe();
        done = true;
      };
      const subscription =
        where === 'handler' ? await client.subscribe('n', take) : await client.subscribe('n');
      for (let i = 0; i < 2_000; i++) client.publish('n', `${i}`);
      const publishing = client.flush();
      if (where === 'loop') for await (const message of subscription) await take(message);
      await until(() => done);
      await publishing;
      await until(() => received.length >= 100 && broker.service.metrics().subscriptions === 0);
      await settled();
      expect(received).toEqual(numbers(received.length));
      expect(await subscription.closed).toBeNull();
    },
  );

  test('may be asked for by each message that its handler does not want, and again later', async () => {
    const broker = new FakeBroker();
    const [client, publisher] = [await broker.client(), await broker.client()];
    const outcomes: unknown[] = [];
    const subscription = await client.subscribe(['n', 'm'], () => {
      subscription.unsubscribe().then(
        () => outcomes.push('taken back'),
        (error) => outcomes.push(error),
      );
    });
    for (let i = 0; i < 5; i++) publisher.publish('n', `${i}`);
    await until(() => outcomes.length === 5);
    expect(outcomes).toEqual(Array(5).fill('taken back'));
    await subscription.unsubscribe();
    expect(broker.service.metrics().requestsRefused).toBe(0);
  });

  test('has nothing left to do after a close, and tells what had ended the subscription before', async () => {
    const { client, connection } = await new FakeBroker().clientAndConnection();
    const closed = await client.subscribe('a');
    closed.close();
    await closed.unsubscribe();
    const broken = await client.subscribe('b');
    connection.break();
    await expect(broken.unsubscribe()).rejects.toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
  });

  test('goes on when the signal of its wait fires, and refuses what is no signal', async () => {
    const broker = new FakeBroker();
    const client = await broker.client();
    const subscription = await client.subscribe('n');
    await expect(subscription.unsubscribe({ timeoutMs: 1 } as never)).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
      message: expect.stringContaining('AbortSignal'),
    });
    expect(broker.service.metrics().subscriptions).toBe(1);
    await expect(subscription.unsubscribe(AbortSignal.abort())).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
    expect(await subscription.closed).toBeNull();
    expect(broker.service.metrics().subscriptions).toBe(0);
  });

  test('is over at once, though the broker never ends its side', async () => {
    const { client } = await scripted(confirming);
    const subscription = await client.subscribe('n');
    const iterating = (async () => {
      for await (const _ of subscription);
    })();
    await subscription.unsubscribe();
    await iterating;
    expect(await subscription.closed).toBeNull();
  });

  test('gives up its wait when its signal fires, and rejects when the connection goes', async () => {
    const { client, near } = await scripted((stream, message) => {
      if (message[0] === Command.SUBSCRIBE) confirming(stream, message);
    });
    const subscription = await client.subscribe('n');
    await expect(subscription.unsubscribe(AbortSignal.abort('enough'))).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
    const waiting = subscription.unsubscribe();
    await settled();
    near.break();
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
  });
});

describe('a handler that returns no promise, but something with a then', () => {
  test('gets the next message when that settles', async () => {
    const client = await new FakeBroker().client();
    let active = 0;
    const seen: number[] = [];
    await client.subscribe('n', () => {
      seen.push(++active);
      const work = new Promise((resolve) => setImmediate(resolve)).then(() => {
        active--;
      });
      // biome-ignore lint/suspicious/noThenProperty: what is tested
      return { then: work.then.bind(work) };
    });
    for (let i = 0; i < 5; i++) client.publish('n', `${i}`);
    await until(() => seen.length === 5);
    expect(seen).toEqual([1, 1, 1, 1, 1]);
  });
});

describe('a handler that throws', () => {
  test('stops neither its own subscription nor others, and what it throws comes out by itself', async () => {
    const client = await new FakeBroker().client();
    const thrown: unknown[] = [];
    const listeners = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', (error) => thrown.push(error));
    try {
      const [own, others]: [string[], string[]] = [[], []];
      await client.subscribe('n', (message) => {
        own.push(message.text());
        if (own.length % 2 === 1) throw new Error(`of the handler: ${message.text()}`);
      });
      await client.subscribe('n', (message) => others.push(message.text()));
      for (let i = 0; i < 6; i++) client.publish('n', `${i}`);
      await until(() => own.length === 6 && others.length === 6 && thrown.length === 3);
      expect([own, others]).toEqual([numbers(6), numbers(6)]);
      expect(thrown.map((error) => (error as Error).message.slice(-1))).toEqual(['0', '2', '4']);
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const listener of listeners) process.on('uncaughtException', listener);
    }
  });
});

describe('what the broker tells of a subscription', () => {
  test('that messages are missing is counted and told [BRK-24]', async () => {
    let stream: FakeStream | null = null;
    const { client } = await scripted((from, message) => {
      stream = from;
      confirming(from, message);
    });
    const subscription = await client.subscribe('n', () => {});
    const missed = once(client, 'missed');
    (stream as FakeStream | null)?.send(encodeDropped(3, 4));
    expect(await missed).toEqual([subscription, 3, 'tooLarge']);
    expect(subscription.missed).toBe(3);
  });

  test('that nobody has read it ends its loop, its promise and nothing else [BRK-23]', async () => {
    let stream: FakeStream | null = null;
    const { client } = await scripted((from, message) => {
      if (message[0] === Command.SUBSCRIBE) stream = from;
      confirming(from, message);
      if (message[0] === Command.PING) from.send(encodePlain(Command.PONG, message.readUInt32BE(4)));
    });
    const subscription = await client.subscribe('n');
    const iterating = (async () => {
      for await (const _ of subscription);
    })();
    const lost = once(client, 'lost');
    (stream as FakeStream | null)?.reset(ReasonCode.STALLED);
    const stalled = { code: 'ERR_JSP_BROKER', message: expect.stringContaining('STALLED') };
    await expect(iterating).rejects.toMatchObject(stalled);
    expect(await subscription.closed).toMatchObject(stalled);
    expect((await lost)[0]).toBe(subscription);
    expect(await client.ping()).toBeGreaterThanOrEqual(0);
  });
});

describe('lanes at the client', () => {
  test('bring messages of the subscription that they name, and MARK is answered [BRK-39]', async () => {
    let main: FakeStream | null = null;
    const marked: number[] = [];
    const { client, far } = await scripted((stream, message) => {
      if (message[0] === Command.SUBSCRIBE) main = stream;
      confirming(stream, message);
    });
    const received: string[] = [];
    await client.subscribe('#', (message) => received.push(message.text()));
    const lane = far.openStream({ label: 'jsp-broker/1' });
    lane.on('message', (message: Buffer) => marked.push(message[0], message.readUInt32BE(4)));
    lane.send(encodeLane((main as FakeStream | null)?.id ?? -1));
    lane.send(Buffer.concat([publishPrefix('a'), Buffer.from('on a lane')]));
    lane.send(encodePlain(Command.MARK, 9));
    await until(() => marked.length === 2);
    expect([received, marked]).toEqual([['on a lane'], [Command.MARKED, 9]]);
    lane.end();
    await until(() => lane.isClosed);
  });

  test('close the connection of a broker that asks without end and reads no answer, and throw at nobody', async () => {
    const { client, far } = await scripted(confirming);
    await client.subscribe('#', () => {});
    const lane = far.openStream({ label: 'jsp-broker/1' });
    await settled();
    (lane.peer as FakeStream).send = () => {
      throw new JspError('ERR_JSP_QUEUE_FULL', '64 MiB wait');
    };
    lane.send(encodePlain(Command.MARK, 1));
    expect(await client.closed).toBeNull();
  });

  test('of no subscription are given back, and streams of another protocol reset [BRK-1] [BRK-39]', async () => {
    const { client, far } = await scripted(confirming);
    await client.subscribe('a', () => {});
    const lane = far.openStream({ label: 'jsp-broker/1' });
    lane.send(encodeLane(77));
    const foreign = [
      far.openStream({ label: 'other' }),
      far.openStream({ label: 'jsp-broker/1', ordered: false }),
      far.openStream({ label: 'jsp-broker/1', delivery: 'bestEffort' }),
    ];
    await until(() => lane.isClosed && foreign.every(({ isClosed }) => isClosed));
    expect(lane.resetWith).toBe(ReasonCode.NO_ERROR);
    for (const { resetWith } of foreign) expect(resetWith).toBe(ReasonCode.UNKNOWN_PROTOCOL);
  });

  test('pause with their subscription, and go on with it', async () => {
    const broker = new FakeBroker();
    const client = await broker.client();
    const subscription = await client.subscribe('#');
    const count = 3_000;
    const publishing = (async () => {
      for (let i = 0; i < count; i++) {
        const priority = i % 2 === 0 ? 'bulk' : 'chat';
        if (!client.publish(priority, `${i}`, { priority })) await client.drained();
      }
    })();
    await settled();
    expect(broker.service.metrics().lanes).toBe(1);
    const received: string[] = [];
    for await (const message of subscription) {
      received.push(message.text());
      if (received.length === count) break;
    }
    await publishing;
    for (const rest of [0, 1]) {
      const own = received.filter((text) => Number(text) % 2 === rest);
      expect(own).toEqual(numbers(count).filter((text) => Number(text) % 2 === rest));
    }
  });
});
