import { describe, expect, test } from 'vitest';
import {
  type CloseOptions,
  type ConnectOptions,
  connect,
  generateIdentity,
  type ImpairmentOptions,
  type LinkOptions,
  type ListenOptions,
  listen,
  type SendOptions,
  type StreamOptions,
} from '../../src/index.ts';
import { echo, join, serve } from './served.ts';

/** The names of members that may be left out but do not take undefined: none. [N7] */
type Stubborn<T> = {
  [K in keyof T]-?: undefined extends T[K] ? never : object extends Pick<T, K> ? K : never;
}[keyof T];
/** `exactOptionalPropertyTypes` is on here, so this file compiles only if every optional member takes undefined. */
const STUBBORN: Stubborn<ListenOptions>[] &
  Stubborn<ConnectOptions>[] &
  Stubborn<CloseOptions>[] &
  Stubborn<StreamOptions>[] &
  Stubborn<SendOptions>[] &
  Stubborn<LinkOptions>[] &
  Stubborn<ImpairmentOptions>[] = [] as never[];
const noneIsStubborn: readonly never[] = STUBBORN;

const invalid = (message: string) => ({
  code: 'ERR_JSP_OPTION_INVALID',
  message: expect.stringContaining(message),
});

describe('options that do not exist are refused with the nearest that does', () => {
  test('by listen', async () => {
    const identity = generateIdentity();
    await expect(listen({ identity, port: 0, idleTimoutMs: 5 } as ListenOptions)).rejects.toMatchObject(
      invalid('listen has no option "idleTimoutMs"; the nearest it has is "idleTimeoutMs"'),
    );
    await expect(listen({ nonsense: 1 } as unknown as ListenOptions)).rejects.toMatchObject(
      invalid('"nonsense"'),
    );
    await expect(listen({ port: 0 } as ListenOptions)).rejects.toMatchObject(invalid('identity is missing'));
    await expect(listen({ identity: 'me', port: 0 } as unknown as ListenOptions)).rejects.toMatchObject(
      invalid('identity must be an Identity'),
    );
  });

  test('by connect, before anything is sent', async () => {
    await expect(connect('jsp://x', { heartbeat: 5 } as ConnectOptions)).rejects.toMatchObject(
      invalid('connect has no option "heartbeat"; the nearest it has is "heartbeatMs"'),
    );
    const bad = { impairment: { seed: 1, outgoing: { delay: 5 } } } as ConnectOptions;
    const listener = await serve(echo);
    await expect(connect(listener.url, bad)).rejects.toMatchObject(invalid('"delayMs"'));
    const worse = { impairment: { seed: 1, out: {} } } as ConnectOptions;
    await expect(connect(listener.url, worse)).rejects.toMatchObject(invalid('"outgoing"'));
  });

  test('by streams and messages', async () => {
    const connection = await join(await serve(echo));
    expect(() => connection.openStream({ order: true } as StreamOptions)).toThrow(
      expect.objectContaining(invalid('the nearest it has is "ordered"')),
    );
    const stream = connection.openStream();
    const late = { lifetime: 5 } as SendOptions;
    for (let i = 0; i < 2; i++) expect(() => stream.send('x', late)).toThrow('"lifetimeMs"');
    expect(() => stream.sendBatch(['x'], late)).toThrow('"lifetimeMs"');
    await expect(stream.sendTracked('x', late)).rejects.toMatchObject(invalid('"lifetimeMs"'));
    expect(stream.queuedBytes).toBe(0);
  });

  test('by close, which then has not begun', async () => {
    const listener = await serve(echo);
    const connection = await join(listener);
    const wrong = { timeout: 5 } as CloseOptions;
    await expect(connection.close(wrong)).rejects.toMatchObject(invalid('"timeoutMs"'));
    await expect(listener.close(wrong)).rejects.toMatchObject(invalid('"timeoutMs"'));
    await expect(connection.close({ timeoutMs: -1 })).rejects.toMatchObject(invalid('timeoutMs must be'));
    expect(connection.isOpen).toBe(true);
  });
});

test('options that are undefined have their default, and the types let them be so', async () => {
  const nothing = undefined;
  const transport = {
    aead: nothing,
    mtu: nothing,
    congestion: nothing,
    heartbeatMs: nothing,
    streamsMax: nothing,
    receiveBufferBytes: nothing,
    impairment: nothing,
    signal: nothing,
  };
  const listener = await serve(echo, { ...transport, acceptUnpinned: nothing, halfOpenMax: nothing });
  const connection = await join(listener, { ...transport, insecure: nothing, localHost: nothing });
  const stream = connection.openStream({
    priority: nothing,
    delivery: nothing,
    ordered: nothing,
    label: nothing,
  });
  expect(stream).toMatchObject({ priority: 'chat', delivery: 'reliable', ordered: true, label: '' });
  expect(await stream.sendTracked('x', { lifetimeMs: nothing, transfer: nothing })).toBe('acknowledged');
  await connection.close({ code: nothing, reason: nothing, timeoutMs: nothing, signal: nothing });
  expect(await connection.closed).toBeNull();
  expect(noneIsStubborn).toEqual([]);
});
