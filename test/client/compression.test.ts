import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { corpus } from '../../src/bench/corpus/corpus.ts';
import type { BrokerClient, Message, UnopenedMessage } from '../../src/client/index.ts';
import { chooseLz4, Dictionary, EnvelopeWriter, trainDictionary } from '../../src/protocol/compress/index.ts';
import { PublishFlag, publishPrefix, STREAM_LABEL } from '../../src/pubsub/command.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import type { FakeConnection, FakeStream } from './fake-transport.ts';

const SMALL = corpus().find(({ name }) => name === 'JSON of 100 to 200 B')!;
const JSON_OF_1_KB = corpus().find(({ name }) => name === 'JSON of 1 KB')!;
const MESSAGES = SMALL.kinds.flatMap(({ messages }) => messages.slice(0, 25));
const DICTIONARY = trainDictionary(
  SMALL.samples.flatMap(({ messages }) => messages.slice(0, 50)),
  { bytes: 2_048 },
);
const NAME = new Dictionary(DICTIONARY).name;
const TEXT = 'the same words again and again, '.repeat(40);

/** What a client has sent on its streams and the broker has not been given yet. */
const outgoing = (connection: FakeConnection): Buffer[] =>
  connection.streams.flatMap(({ outbox }) =>
    outbox.flatMap((item) => (item === 'end' ? [] : [item.message])),
  );

/** Publishes what no client of ours would: an envelope as given. */
function rawPublisher(broker: FakeBroker): (topic: string, envelope: Uint8Array) => void {
  const [near, far] = broker.network.connect();
  broker.service.serve(far);
  let stream: FakeStream | null = null;
  return (topic, envelope) => {
    stream ??= near.openStream({ label: STREAM_LABEL });
    stream.send(Buffer.concat([publishPrefix(topic, PublishFlag.COMPRESSED), envelope]));
  };
}

/** Collects what a subscriber is given, and what it is told that it is not. */
async function collector(client: BrokerClient, filter = '#') {
  const texts: string[] = [];
  const unopened: UnopenedMessage[] = [];
  const missed: [number, string][] = [];
  client.on('unopened', (_, message) => unopened.push(message));
  client.on('missed', (_, count, reason) => missed.push([count, reason]));
  const subscription = await client.subscribe(filter, (message) => texts.push(message.text()));
  return { subscription, texts, unopened, missed };
}

describe('compressed payloads', () => {
  test('reach subscribers as they were published, and cost the broker half the bytes with a dictionary [BRK-42]', async () => {
    const broker = new FakeBroker();
    const compression = { dictionaries: [Buffer.from('nothing of use'), DICTIONARY] };
    const [publisher, handled, looped] = [
      await broker.client({ compression }),
      await broker.client({ compression }),
      await broker.client({ compression: { dictionaries: [DICTIONARY, Buffer.from('nothing of use')] } }),
    ];
    const { texts } = await collector(handled);
    const loop = await looped.subscribe('#');
    for (const message of MESSAGES) publisher.publish('t', message);
    publisher.publish('t', TEXT);
    await publisher.flush();
    await until(() => texts.length === MESSAGES.length + 1);
    expect(texts).toEqual([...MESSAGES.map(String), TEXT]);
    const looked: string[] = [];
    for await (const message of loop) if (looked.push(message.text()) === texts.length) break;
    expect(looked).toEqual(texts);
    const bytes = MESSAGES.reduce((sum, { length }) => sum + length, TEXT.length);
    expect(broker.service.metrics().bytesIn).toBeLessThan(bytes / 2 + texts.length * 9);
  });

  test('are smaller by DEFLATE, which each subscriber opens who opens any, and no broker [CMP-12, CMP-40]', async () => {
    const message = JSON_OF_1_KB.kinds[0].messages[0];
    const bytes = async (method: 'lz4' | 'deflate') => {
      const broker = new FakeBroker();
      const { texts } = await collector(await broker.client({ compression: true }));
      const publisher = await broker.client({ compression: { method } });
      publisher.publish('t', message);
      await publisher.flush();
      await until(() => texts.length === 1);
      expect(texts).toEqual([String(message)]);
      return broker.service.metrics().bytesIn;
    };
    expect(await bytes('deflate')).toBeLessThan(0.85 * (await bytes('lz4')));
  });

  test('are off unless they are asked for: the commands are the same bytes as ever', async () => {
    const { client, connection } = await new FakeBroker().clientAndConnection();
    client.publish('t', TEXT);
    void client.subscribe('t');
    const [published, subscribed] = outgoing(connection);
    expect(published).toEqual(Buffer.concat([publishPrefix('t'), Buffer.from(TEXT)]));
    expect(subscribed[1] & 0x20).toBe(0);
  });

  test('are made where a publish asks, and not where it does not want to', async () => {
    const { client, connection } = await new FakeBroker().clientAndConnection();
    client.publish('t', TEXT, { compression: true });
    client.publish('t', TEXT, { compression: 'auto' });
    client.publish('t', TEXT, { compression: false });
    expect(outgoing(connection).map((command) => [command[1], command.length < 200])).toEqual([
      [PublishFlag.COMPRESSED, true],
      [PublishFlag.COMPRESSED, true],
      [0, false],
    ]);
    const other = await new FakeBroker().clientAndConnection({ compression: true });
    other.client.publish('t', TEXT);
    other.client.publish('t', TEXT, { compression: false });
    expect(outgoing(other.connection).map((command) => command[1])).toEqual([PublishFlag.COMPRESSED, 0]);
  });

  test('are not made of what would not become smaller: it is published byte for byte as without [BRK-42]', async () => {
    const { client, connection } = await new FakeBroker().clientAndConnection({ compression: true });
    const noise = Buffer.alloc(2_000);
    new Prng(7).fill(noise);
    const payloads = [noise, Buffer.alloc(0), Buffer.from('short'), noise.subarray(0, 100)];
    for (const payload of payloads) client.publish('noise', payload);
    expect(outgoing(connection)).toEqual(
      payloads.map((payload) => Buffer.concat([publishPrefix('noise'), payload])),
    );
  });
});

test.each([0, 1] as const)(
  'a message that the broker would not take as it is is not sent compressed either (QoS %i) [BRK-42]',
  async (qos) => {
    const { client, connection } = await new FakeBroker().clientAndConnection({ compression: true });
    const open = connection.openStream.bind(connection);
    connection.openStream = (options) => Object.assign(open(options), { messageBytesMax: 1_000 });
    const flags = () => outgoing(connection).map((command) => command[1] & PublishFlag.COMPRESSED);
    const first = client.publish('t', Buffer.alloc(900), { qos });
    expect(flags()).toEqual([PublishFlag.COMPRESSED]);
    const second = client.publish('t', Buffer.alloc(1_000), { qos });
    // With QoS 0 it is left to the transport to refuse it.
    expect(flags()).toEqual(qos === 0 ? [PublishFlag.COMPRESSED, 0] : [PublishFlag.COMPRESSED]);
    if (qos === 1) await expect(second).rejects.toMatchObject({ code: 'ERR_JSP_MESSAGE_TOO_LARGE' });
    await first;
  },
);

describe('a subscriber', () => {
  test('that takes no compressed messages gets the others, and is told how many it misses, and why [BRK-43]', async () => {
    const broker = new FakeBroker();
    const [publisher, plain] = [await broker.client({ compression: true }), await broker.client()];
    const { subscription, texts, missed } = await collector(plain);
    publisher.publish('t', 'before', { compression: false });
    for (let i = 0; i < 3; i++) publisher.publish('t', TEXT);
    publisher.publish('t', 'behind', { compression: false });
    await until(() => texts.length === 2);
    expect(texts).toEqual(['before', 'behind']);
    expect(missed).toEqual([
      [1, 'compressed'],
      [1, 'compressed'],
      [1, 'compressed'],
    ]);
    expect([subscription.missed, subscription.unopened]).toEqual([3, 0]);
  });

  test('may take them without compressing itself, or refuse them although it compresses [BRK-43]', async () => {
    const broker = new FakeBroker();
    const client = await broker.client({ compression: true });
    const texts: string[] = [];
    const takes = await (await broker.client()).subscribe('#', (m) => texts.push(m.text()), {
      compression: true,
    });
    const refuses = await client.subscribe('#', () => {}, { compression: false });
    client.publish('t', TEXT);
    await until(() => texts.length === 1 && refuses.missed === 1);
    expect([texts[0], takes.missed]).toEqual([TEXT, 0]);
  });

  test('that does not have the dictionary is told its name, gets nothing instead of the message, and goes on [BRK-44]', async () => {
    const broker = new FakeBroker();
    const publisher = await broker.client({ compression: { dictionaries: [DICTIONARY] } });
    const { texts, unopened, subscription } = await collector(await broker.client({ compression: true }));
    const looping = await (await broker.client({ compression: true })).subscribe('#');
    for (const message of MESSAGES.slice(0, 4)) publisher.publish('a/b', message);
    publisher.publish('t', 'plain', { compression: false });
    await until(() => texts.length === 1);
    expect(texts).toEqual(['plain']);
    expect(unopened.map(({ topic, reason, dictionary }) => [topic, reason, dictionary])).toEqual(
      Array.from({ length: 4 }, () => ['a/b', 'dictionary', NAME]),
    );
    for await (const message of looping) {
      expect(message.text()).toBe('plain');
      break;
    }
    expect([subscription.unopened, looping.unopened]).toEqual([4, 4]);
  });

  test('loses no more than the message to a publisher of broken envelopes, whatever is in them [BRK-44, CMP-40]', async () => {
    const broker = new FakeBroker();
    const publish = rawPublisher(broker);
    const subscriber = await broker.client({ compression: { dictionaries: [DICTIONARY] } });
    const { texts, unopened } = await collector(subscriber);
    const writer = new EnvelopeWriter(chooseLz4('js'));
    const numbered = Buffer.from(
      writer.deflate(Buffer.from(TEXT), TEXT.length, new Dictionary(DICTIONARY), 0)!,
    );
    const whole = Buffer.from(writer.deflate(Buffer.from(TEXT), TEXT.length)!);
    const broken = [
      Buffer.alloc(0),
      Buffer.of(1),
      Buffer.of(0xff, 1, 2),
      Buffer.of(3, 1, 2, 3),
      whole.subarray(0, -1),
      Buffer.concat([whole, Buffer.of(0)]),
      numbered,
    ];
    for (const envelope of broken) publish('t', envelope);
    publish('t', writer.store(Buffer.from('stored')));
    publish('t', whole);
    await until(() => texts.length === 2);
    expect(texts).toEqual(['stored', TEXT]);
    expect(unopened).toEqual(
      broken.map(({ length }) => ({ topic: 't', reason: 'broken', dictionary: null, bytes: length })),
    );
    expect(broker.service.metrics()).toMatchObject({ clients: 2, clientsFailed: 0 });
  });

  test('does not open a bomb: what it would become is counted first, against the largest message that it takes [BRK-44]', async () => {
    const broker = new FakeBroker();
    const publish = rawPublisher(broker);
    const { texts, unopened } = await collector(
      await broker.client({ compression: true, messageBytesMax: 100_000 }),
    );
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 20; i++) publish('t', bombOf(200_000));
    publish('t', bombOf(90_000));
    await until(() => texts.length === 1);
    expect(texts[0].length).toBe(90_000);
    expect(new Set(unopened.map(({ reason }) => reason))).toEqual(new Set(['tooLarge']));
    expect(unopened.length).toBe(20);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4_000_000);
  });

  test('keeps what waits for it in its envelope, so that waiting messages cannot swell [BRK-44]', async () => {
    const broker = new FakeBroker();
    const publish = rawPublisher(broker);
    const client = await broker.client({ compression: true });
    const subscription = await client.subscribe('#', { overflow: 'dropNewest' });
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 200; i++) publish('t', bombOf(8_000_000));
    await settled();
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64_000_000);
    for await (const message of subscription) {
      expect(message.payload.length).toBe(8_000_000);
      break;
    }
  });

  test.each(['a handler', 'a slow handler', 'a loop'])(
    'opens a few megabytes at a time, so that others have their turn: %s',
    async (way) => {
      const broker = new FakeBroker();
      const publish = rawPublisher(broker);
      const client = await broker.client({ compression: true });
      let came = 0;
      let inTurn = 0;
      let most = 0;
      const tell = ({ payload }: Message) => {
        came++;
        inTurn += payload.length;
        most = Math.max(most, inTurn);
        setImmediate(() => {
          inTurn = 0;
        });
      };
      if (way === 'a loop') {
        const subscription = await client.subscribe('#');
        for (let i = 0; i < 40; i++) publish('t', bombOf(1_000_000));
        await settled();
        for await (const message of subscription) {
          tell(message);
          if (came === 40) break;
        }
      } else {
        await client.subscribe('#', way === 'a handler' ? tell : async (message) => tell(message));
        for (let i = 0; i < 40; i++) publish('t', bombOf(1_000_000));
        await until(() => came === 40);
      }
      expect(most).toBeLessThanOrEqual(10_000_000);
    },
  );

  test('hears of each message that it cannot open', async () => {
    const broker = new FakeBroker();
    const publish = rawPublisher(broker);
    const client = await broker.client({ compression: true });
    const subscription = await client.subscribe('#', () => {});
    const told = once(client, 'unopened');
    publish('t', Buffer.concat([Buffer.of(3), Buffer.from(NAME, 'hex'), Buffer.of(0)]));
    expect(await told).toEqual([
      subscription,
      { topic: 't', reason: 'dictionary', dictionary: NAME, bytes: 10 },
    ]);
  });
});

/** An envelope of `length` times the same byte: one literal, a match as long, and the last five. */
function bombOf(length: number): Buffer {
  const match = length - 1 - 5 - 4 - 15;
  const more = Buffer.alloc(Math.floor(match / 255) + 1, 255);
  more[more.length - 1] = match % 255;
  return Buffer.concat([Buffer.of(1, 0x1f, 65, 1, 0), more, Buffer.of(0x50), Buffer.alloc(5, 65)]);
}
