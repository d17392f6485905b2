import { describe, expect, test } from 'vitest';
import { StreamLink } from '../../src/broker/carrying.ts';
import { MemoryStore } from '../../src/broker/core/store/memory-store.ts';
import { BrokerService } from '../../src/broker/service.ts';
import {
  encodeSubscribe,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  STREAM_LABEL,
  SubscribeFlag,
} from '../../src/pubsub/command.ts';
import type { MessageStream } from '../../src/pubsub/message-stream.ts';
import { encodeSubscribeOptions, StartKind } from '../../src/pubsub/subscribe-options.ts';
import { settled } from '../client/fake-broker.ts';
import { type FakeConnection, FakeNetwork } from '../client/fake-transport.ts';
import { StoreClock } from './store/store-clock.ts';

/** A transport stream that notes what it is told. */
function recorder() {
  const calls: unknown[][] = [];
  const note =
    (name: string) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
      return true;
    };
  const stream = {
    ...{ id: 8, label: '', ordered: true, delivery: 'reliable', priority: 'media', messageBytesMax: 77 },
    ...{ queuedBytes: 5, highWaterMark: 0, hasReceivedBestEffort: false },
    ...{ send: note('send'), pause: note('pause'), resume: note('resume'), end: note('end') },
    ...{ reset: note('reset'), on: note('on') },
  } as unknown as MessageStream;
  return { stream, calls, link: new StreamLink(stream) };
}

describe('a stream as the core of the broker sees it', () => {
  test('hands on the very bytes, and gives large ones away, so that nothing copies them [BRK-7]', () => {
    const { link, calls } = recorder();
    const [small, large] = [4_095, 4_096].map((length) => new Uint8Array(length));
    for (const bytes of [small, large]) expect(link.send(bytes)).toBe(true);
    expect(calls[0][1]).toBe(small);
    expect(calls[0].length).toBe(2);
    expect(calls[1][1]).toBe(large);
    expect(calls[1][2]).toEqual({ transfer: true });
  });

  test('tells number, class and bounds of the stream', () => {
    const { link, stream } = recorder();
    expect([link.id, link.priority, link.messageBytesMax, link.queuedBytes]).toEqual([8, 1, 77, 5]);
    link.limit(8_192);
    expect(stream.highWaterMark).toBe(8_192);
  });

  test('takes nothing more of a stream that is gone, without a throw', () => {
    const { link, stream } = recorder();
    const gone = () => {
      throw new Error('gone');
    };
    Object.assign(stream, { send: gone, end: gone });
    expect(link.send(new Uint8Array(1))).toBe(false);
    link.end();
  });

  test('resumes after the core has returned, unless it was paused again', async () => {
    const { link, calls } = recorder();
    link.resume();
    link.resume();
    link.pause();
    await Promise.resolve();
    expect(calls).toEqual([['pause']]);
    link.resume();
    expect(calls.length).toBe(1);
    await Promise.resolve();
    expect(calls).toEqual([['pause'], ['resume']]);
  });
});

/** A broker over a transport in memory, with what it reports of its own faults. */
function brokerInMemory() {
  const network = new FakeNetwork();
  const faults: unknown[] = [];
  const service = new BrokerService({}, { onFault: (error) => faults.push(error) });
  const connect = () => {
    const [near, far] = network.connect();
    service.serve(far);
    return { near, far };
  };
  return { service, faults, connect };
}

/** Opens a stream as clients do, and sends one command. */
async function request(connection: FakeConnection, command: Uint8Array, priority: 'chat' | 'bulk' = 'chat') {
  const stream = connection.openStream({ label: STREAM_LABEL, priority });
  const received: string[] = [];
  stream.on('message', (message: Buffer) => void received.push(message.toString('latin1')));
  stream.send(command);
  await settled();
  return { stream, received };
}

const hello = Buffer.concat([publishPrefix('t'), Buffer.from('hello')]);

describe('the driver of the core', () => {
  test('pays for its own failure with the connection of the client for whom it acted, once, and goes on [BRK-40]', async () => {
    const { service, faults, connect } = brokerInMemory();
    const [victim, other, publisher] = [connect(), connect(), connect()];
    const broken = await request(victim.near, encodeSubscribe(1, 't', 0, 0, 0));
    await request(victim.near, encodeSubscribe(1, 't', 0, 0, 0));
    const whole = await request(other.near, encodeSubscribe(1, 't', 0, 0, 0));
    const reset = new Error('injected');
    for (const stream of victim.far.streams) {
      Object.defineProperty(stream, 'queuedBytes', {
        get: () => {
          throw reset;
        },
      });
      stream.send = () => false;
    }
    await request(publisher.near, hello);
    expect([victim.far.closedWith, other.far.closedWith, publisher.far.closedWith]).toEqual([
      ReasonCode.INTERNAL_ERROR,
      null,
      null,
    ]);
    expect(faults).toEqual([reset]);
    expect(broken.received.length).toBe(1);
    expect(whole.received[1]).toContain('hello');
    expect(service.metrics()).toMatchObject({ clients: 2, internalErrors: 1 });
  });

  test('opens no lane over a connection that closes, which is no fault of anybody [BRK-39]', async () => {
    const { service, faults, connect } = brokerInMemory();
    const [subscriber, publisher] = [connect(), connect()];
    await request(subscriber.near, encodeSubscribe(1, 't', SubscribeFlag.LANES, 0, 0));
    subscriber.far.openStream = () => {
      throw new Error('it closes');
    };
    await request(publisher.near, hello, 'bulk');
    expect([faults, subscriber.far.closedWith]).toEqual([[], null]);
    expect(service.metrics()).toMatchObject({ lanes: 1, internalErrors: 0 });
    subscriber.near.destroy();
    await settled();
    expect(service.metrics()).toMatchObject({ clients: 1, lanes: 0, queuedMessages: 0 });
  });

  test('goes on as soon as others had their turn where the core has rested, and waits for no timer', async () => {
    const clock = new StoreClock(); // time stands still
    const store = new MemoryStore([{ name: 'default' }]);
    const prefix = publishPrefix('t', PublishFlag.QOS1, 1);
    const command = Buffer.concat([prefix, Buffer.alloc(1_000)]);
    const record = { command, topicEnd: prefix.length, session: 0, sequence: 0, id: 0 };
    for (let i = 0; i < 500; i++) store.logs[0].append({ ...record, expiresAt: 0, publishedAt: 0 });
    let turns = 0;
    clock.soon = (callback) => {
      turns++;
      queueMicrotask(callback);
    };
    const service = new BrokerService({}, { clock, store, wallMs: () => clock.wallMs() });
    const [near, far] = new FakeNetwork().connect();
    service.serve(far);
    const options = encodeSubscribeOptions({ start: StartKind.EARLIEST });
    const { received } = await request(near, encodeSubscribe(1, 't', SubscribeFlag.QOS1, 0, 0, options));
    await settled();
    expect(received.filter((message) => message.length === command.length)).toHaveLength(500);
    expect(turns).toBeGreaterThan(2);
  });
});
