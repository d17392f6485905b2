import { describe, expect, test } from 'vitest';
import {
  bytesCodec,
  type Codec,
  connectClient,
  jsonCodec,
  type Message,
  textCodec,
} from '../../src/client/index.ts';
import { Command, encodePlain } from '../../src/pubsub/command.ts';
import { FakeBroker, until } from './fake-broker.ts';
import { FakeNetwork, type FakeStream } from './fake-transport.ts';

interface Reading {
  readonly celsius: number;
}

const readings: Codec<Reading> = jsonCodec((value) => {
  const { celsius } = value as Reading;
  if (typeof celsius !== 'number') throw new TypeError('no celsius');
  return { celsius };
});

describe('the codecs that are there', () => {
  test('take back what they make, and no other kind of value [CLT-21]', () => {
    const json = jsonCodec();
    for (const value of [null, 0, 'é', [1], { a: { b: [] } }, undefined]) {
      expect(json.decode(Buffer.from(json.encode(value)))).toEqual(value);
    }
    expect(textCodec.decode(Buffer.from(textCodec.encode('é')))).toBe('é');
    expect(bytesCodec.decode(Buffer.from([1, 2]))).toEqual(Buffer.from([1, 2]));
    expect(() => json.encode(() => {})).toThrow(TypeError);
    expect(() => textCodec.encode(1 as never)).toThrow(TypeError);
    expect(() => bytesCodec.encode('x' as never)).toThrow(TypeError);
    expect(() => textCodec.decode(Buffer.from([0xff]))).toThrow(TypeError);
  });

  test('make nobody inherit from what comes [CLT-21]', () => {
    const value = jsonCodec<{ polluted?: boolean }>().decode(Buffer.from('{"__proto__":{"polluted":true}}'));
    expect(value.polluted).toBeUndefined();
  });
});

describe('a codec on both ends', () => {
  test('gives values their types, with their content type, over the client’s own codec [CLT-21]', async () => {
    const broker = new FakeBroker();
    const client = await broker.client({ codec: jsonCodec() });
    const warm: number[] = [];
    await client.subscribe('t', ({ value }) => warm.push(value.celsius), { codec: readings });
    const all: Message[] = [];
    await client.subscribe('#', (message) => all.push(message), { codec: bytesCodec });
    client.publish('t', { celsius: 20 }, { codec: readings });
    client.publish('t', { celsius: 21 });
    client.publish('raw', Buffer.from([7]), { codec: bytesCodec });
    await until(() => warm.length === 2 && all.length === 3);
    expect(warm).toEqual([20, 21]);
    expect(all.map(({ contentType }) => contentType)).toEqual([
      'application/json',
      'application/json',
      undefined,
    ]);
    expect(all[2].value).toEqual(Buffer.from([7]));
  });

  test('says what it makes also where the option is given as undefined, of a message, a will and a request [CLT-21]', async () => {
    const broker = new FakeBroker();
    const codec = jsonCodec();
    const { client, connection } = await broker.clientAndConnection({ codec });
    const told: (string | undefined)[] = [];
    await (await broker.client()).subscribe('t/#', (message) => {
      told.push(message.contentType);
      if (message.replyTo !== undefined) message.respond('{}');
    });
    client.publish('t/message', 1, { contentType: undefined });
    await client.request('t/request', 1, { contentType: undefined });
    await client.setWill({ topic: 't/will', payload: 1, contentType: undefined });
    connection.break();
    await until(() => told.length === 3);
    expect(told).toEqual(Array(3).fill('application/json'));
  });

  test.each([{}, { encode: () => '' }, 7])('that is none is refused: %o', async (codec) => {
    const client = await new FakeBroker().client();
    const invalid = { code: 'ERR_JSP_OPTION_INVALID', message: expect.stringContaining('codec') };
    await expect(client.subscribe('t', { codec } as never)).rejects.toMatchObject(invalid);
  });

  test('that makes something else than bytes or text is an error of who publishes [CLT-21]', async () => {
    const client = await new FakeBroker().client();
    const odd = { encode: () => 7, decode: () => 7 } as never;
    expect(() => client.publish('t', 1, { codec: odd })).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_PAYLOAD_INVALID' }),
    );
  });
});

describe('options of a subscription that do not go together', () => {
  test.each([
    [{ qos: 0, durable: 'd' }, 'qos 1'],
    [{ ackWaitMs: 5 }, 'ackWaitMs goes with qos: 1'],
    [{ from: 'earliest' }, 'from goes with qos: 1'],
    [{ qos: 1, expiryMs: 5 }, 'durable'],
    [{ qos: 1, from: { offset: -1 } }, 'from must be'],
    [{ qos: 1, from: {} }, 'from must be'],
    [{ qos: 1, durable: 'a\nb' }, 'durable must be'],
    [{ qos: 1, deadLetter: 'a/#' }, 'deadLetter must be a topic'],
    [{ qos: 1, backoffMs: [] }, 'backoffMs must be'],
    [{ concurrency: 0 }, 'concurrency must be'],
  ])('are refused: %o', async (options, message) => {
    const client = await new FakeBroker().client();
    await expect(client.subscribe('t', options as never)).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
      message: expect.stringContaining(message),
    });
  });
});

describe('latest values', () => {
  test('take each other’s place while a slow handler is busy, and keep their turn [BRK-32]', async () => {
    const broker = new FakeBroker();
    const client = await broker.client();
    const seen: string[] = [];
    let release: () => void = () => {};
    const subscription = await client.subscribe(
      '+',
      (message) => {
        seen.push(message.text());
        if (seen.length === 1) return new Promise<void>((resolve) => (release = resolve));
      },
      { overflow: 'latest' },
    );
    client.publish('a', 'a0');
    await until(() => seen.length === 1);
    for (let i = 1; i <= 40; i++) for (const topic of ['a', 'b']) client.publish(topic, `${topic}${i}`);
    await client.flush();
    await until(() => subscription.dropped === 78);
    release();
    await until(() => seen.length === 3);
    expect(seen).toEqual(['a0', 'a40', 'b40']);
  });
});

describe('bytes that were given away', () => {
  const gone = (): Uint8Array => {
    const bytes = new Uint8Array(5);
    structuredClone(bytes, { transfer: [bytes.buffer] });
    return bytes;
  };

  test('are the mistake of a program wherever a payload is taken: as an empty message they would take a last value away', async () => {
    const [near, far] = new FakeNetwork().connect();
    const commands: number[] = [];
    far.on('stream', (stream: FakeStream) =>
      stream.on('message', (message: Buffer) => {
        commands.push(message[0]);
        if (message[0] === Command.SUBSCRIBE)
          stream.send(encodePlain(Command.SUBSCRIBED, message.readUInt32BE(4)));
      }),
    );
    const client = await connectClient(near);
    const detached = /the ArrayBuffer of payload is detached/;
    expect(() => client.publish('t', gone())).toThrow(detached);
    expect(() => client.publish('t', gone(), { retain: true })).toThrow(detached);
    await expect(client.publish('t', gone(), { qos: 1 })).rejects.toThrow(detached);
    await expect(client.request('t', gone())).rejects.toThrow(detached);
    await expect(client.setWill({ topic: 't', payload: gone() })).rejects.toThrow(detached);
    const invalid = { code: 'ERR_JSP_PAYLOAD_INVALID' };
    expect(() => client.publish('t', gone(), { codec: bytesCodec })).toThrow(
      expect.objectContaining(invalid),
    );
    await expect(client.request('t', [1, 2])).rejects.toThrow(/must be a Uint8Array or a string/);
    expect(commands).not.toContain(Command.PUBLISH);
    client.destroy();
  });
});
