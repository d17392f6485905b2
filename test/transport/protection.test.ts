import { describe, expect, test } from 'vitest';
import {
  type ConnectOptions,
  connect,
  generateIdentity,
  listen,
  type Protection,
  type SendOptions,
  type StreamOptions,
} from '../../src/index.ts';
import { ProtectionMode } from '../../src/protocol/fec/protection.ts';
import { protection, protectionOf } from '../../src/transport/protection.ts';
import { echo, join, serve } from './served.ts';

const invalid = (message: string) =>
  expect.objectContaining({
    code: 'ERR_JSP_OPTION_INVALID',
    message: expect.stringContaining(message),
  });

describe('protection is asked for in the same words everywhere [FEC-1]', () => {
  const given: readonly Protection[] = [
    'auto',
    'off',
    { data: 10, parity: 2 },
    { residual: 0.001, latencyMs: 5, overheadMax: 1.2 },
  ];

  test.each(given)('%j is taken by listen, connect, openStream and send, under both names', async (asked) => {
    const listener = await serve(echo, { protection: asked, fec: asked });
    const connection = await join(listener, { fec: asked });
    const stream = connection.openStream({ fec: asked, protection: asked });
    expect(await stream.sendTracked('x', { protection: asked })).toBe('acknowledged');
    expect(await stream.sendTracked('y', { fec: asked })).toBe('acknowledged');
    await connection.close();
  });

  test('a connection that asks for it has BBR, unless its application chooses another controller [FEC-9]', async () => {
    const listener = await serve(echo);
    const stateOf = async (options: ConnectOptions) => {
      const connection = await join(listener, options);
      const { congestionState } = connection.metrics();
      await connection.close();
      return congestionState;
    };
    expect(await stateOf({ protection: 'auto' })).toBe('startup');
    expect(await stateOf({ fec: { data: 10, parity: 2 } })).toBe('startup');
    expect(await stateOf({ protection: 'auto', congestion: 'cubic' })).toBe('slow-start');
    expect(await stateOf({ protection: 'off' })).toBe('slow-start');
    expect(await stateOf({})).toBe('slow-start');
  });

  const wrong: readonly [unknown, string][] = [
    ['yes', 'must be auto, off, { data, parity } or { residual, latencyMs, overheadMax }, not "yes"'],
    [3, 'must be auto, off'],
    [null, 'must be auto, off'],
    [{ data: 10 }, 'both data and parity'],
    [{ data: 10, parity: 0 }, 'parity must be a whole number from 1 to 64'],
    [{ data: 65, parity: 2 }, 'data must be a whole number from 1 to 64'],
    [{ data: 10, parity: 2, residual: 0.1 }, 'either { data, parity } or'],
    [{ residual: 0 }, 'residual must be a number from 0.0001 to 0.5'],
    [{ latencyMs: 0.5 }, 'latencyMs must be a number from 1 to 10000'],
    [{ overheadMax: -1 }, 'overheadMax must be a number from 0 to 4'],
    [{ dataShards: 10, parity: 2 }, 'protection has no option "dataShards"; the nearest it has is "data"'],
    [{ latency: 5 }, 'the nearest it has is "latencyMs"'],
  ];

  test.each(wrong)('%j is refused', async (value, message) => {
    const asked = value as Protection;
    await expect(connect('jsp://x', { protection: asked, insecure: true })).rejects.toEqual(invalid(message));
    await expect(listen({ identity: generateIdentity(), port: 0, fec: asked })).rejects.toEqual(
      invalid(message),
    );
  });

  test('streams and messages refuse what is wrong, and keep nothing of it', async () => {
    const connection = await join(await serve(echo));
    const wrongStream: StreamOptions = { fec: { data: 10 } as Protection };
    expect(() => connection.openStream(wrongStream)).toThrow(invalid('both data and parity'));
    const stream = connection.openStream();
    const wrongMessage: SendOptions = { protection: { latency: 3 } as Protection };
    for (let i = 0; i < 2; i++) expect(() => stream.send('x', wrongMessage)).toThrow(invalid('"latencyMs"'));
    expect(stream.queuedBytes).toBe(0);
  });

  test('the two names may not say different things', async () => {
    const both: ConnectOptions = { protection: 'auto', fec: 'off', insecure: true };
    await expect(connect('jsp://x', both)).rejects.toEqual(
      invalid('connect: protection and fec are two names'),
    );
    const identity = generateIdentity();
    await expect(
      listen({ identity, port: 0, protection: { data: 4, parity: 1 }, fec: 'auto' }),
    ).rejects.toEqual(invalid('listen: protection and fec'));
    const connection = await join(await serve(echo));
    const differ: StreamOptions = { protection: { residual: 0.1 }, fec: { residual: 0.2 } };
    expect(() => connection.openStream(differ)).toThrow(invalid('openStream: protection and fec'));
    expect(() => connection.openStream().send('x', { protection: 'off', fec: 'auto' })).toThrow(
      invalid('send: protection and fec'),
    );
  });

  test('what is left out has its default, and what says the same in other words is the same', () => {
    expect(protectionOf('x', {})).toBeNull();
    expect(protectionOf('x', { fec: 'off' })).toMatchObject({ mode: ProtectionMode.OFF });
    const auto = { mode: ProtectionMode.AUTO, residual: 0.01, latencyMs: 0, overheadMax: 0.9 };
    expect(protectionOf('x', { fec: 'auto', protection: {} })).toMatchObject(auto);
    expect(protectionOf('x', { protection: { overheadMax: 1.2 } })).toMatchObject({
      ...auto,
      overheadMax: 1.2,
    });
    expect(protectionOf('x', { fec: { data: 4, parity: 1 } })).toMatchObject({
      mode: ProtectionMode.BLOCK,
      data: 4,
      parity: 1,
    });
    expect(protection({ residual: undefined })).toBeNull();
  });
});
