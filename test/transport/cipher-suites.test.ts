import { afterEach, describe, expect, test, vi } from 'vitest';
import type { CipherSuiteName, Connection, ConnectOptions, TransportOptions } from '../../src/index.ts';
import { join, serve } from './served.ts';

const CHACHA: CipherSuiteName = 'chacha20-poly1305';
const AES: CipherSuiteName = 'aes-256-gcm';

afterEach(() => {
  vi.unstubAllEnvs();
});

describe('the cipher suite of a connection', () => {
  test.each([
    { client: [AES], server: undefined, suite: AES },
    { client: undefined, server: [AES], suite: AES },
    { client: [AES, CHACHA], server: [CHACHA], suite: CHACHA },
  ] as const)('is one that both sides offer: $client and $server', async ({ client, server, suite }) => {
    const { near, far } = await connected({ cipherSuites: client }, { cipherSuites: server });
    expect([near.cipherSuite, far.cipherSuite]).toEqual([suite, suite]);
    const received: Buffer[] = [];
    far.on('stream', (stream) => stream.on('message', (message) => received.push(message)));
    near.openStream().send(Buffer.alloc(200_000, 7));
    await vi.waitFor(() => expect(received.map(({ length }) => length)).toEqual([200_000]), {
      timeout: 180_000,
    });
    expect(received[0].every((byte) => byte === 7)).toBe(true);
  });

  test('is the cheaper one by default, as both sides measure it, or named by the environment [HS-61]', async () => {
    const { near, far } = await connected();
    expect(near.cipherSuite).toBe(far.cipherSuite);
    expect([CHACHA, AES]).toContain(near.cipherSuite);
    vi.stubEnv('JSP_CIPHER_SUITES', 'aes-256-gcm');
    expect((await connected()).near.cipherSuite).toBe(AES);
    vi.stubEnv('JSP_CIPHER_SUITES', 'rot13');
    await expect(connected()).rejects.toMatchObject({ code: 'ERR_JSP_OPTION_INVALID' });
  });

  test('is ChaCha20-Poly1305 for whoever asks for an implementation of that', async () => {
    const { near } = await connected({ aead: 'noble' });
    expect(near.cipherSuite).toBe(CHACHA);
  });

  test('cannot be none: a client and a server without one in common do not connect, and the client is told why [HS-5] [HS-60]', async () => {
    const failed = connected({ cipherSuites: [AES] }, { cipherSuites: [CHACHA] });
    await expect(failed).rejects.toMatchObject({
      code: 'ERR_JSP_NOTHING_IN_COMMON',
      message: expect.stringMatching(/cipherSuites/),
    });
  });

  test.each([[[]], [['rot13']], [[AES, AES]], ['aes-256-gcm']])(
    'is not chosen of %j',
    async (cipherSuites) => {
      await expect(connected({ cipherSuites: cipherSuites as never })).rejects.toMatchObject({
        code: 'ERR_JSP_OPTION_INVALID',
      });
    },
  );
});

describe('keys of a connection', () => {
  test('are updated after as many packets as the options say, by either side [PKT-18]', async () => {
    for (const [client, server] of [
      [{ packets: 20 }, undefined],
      [undefined, { packets: 20 }],
    ] as const) {
      const { near, far } = await connected({ keyUpdate: client }, { keyUpdate: server });
      far.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
      const stream = near.openStream();
      let echoes = 0;
      stream.on('message', () => echoes++);
      for (let i = 0; i < 60; i++) {
        stream.send(`message ${i}`);
        await vi.waitFor(() => expect(echoes).toBe(i + 1), { interval: 1, timeout: 180_000 });
      }
      for (const side of [near, far]) expect(side.metrics().keyUpdates).toBeGreaterThan(0);
    }
  });

  test('are not updated where one side does not, and options are what they can be', async () => {
    const { near, far } = await connected({ keyUpdate: false }, { keyUpdate: { packets: 1, ageMs: 1 } });
    const stream = near.openStream();
    far.on('stream', (other) => other.on('message', (message) => other.send(message)));
    await new Promise((resolve) => {
      stream.on('message', resolve);
      stream.send('there and back');
    });
    for (const side of [near, far]) expect(side.metrics().keyUpdates).toBe(0);
    for (const keyUpdate of [true, { packets: 0 }, { ageMs: 0 }, { packets: 1.5 }, { every: 5 }])
      await expect(connected({ keyUpdate: keyUpdate as never })).rejects.toMatchObject({
        code: 'ERR_JSP_OPTION_INVALID',
      });
  });

  test('give exportKey what exportKeyingMaterial gives [HS-29]', async () => {
    const { near, far } = await connected();
    const context = Buffer.from('context');
    const key = near.exportKey('a use', context, 40);
    expect(key).toEqual(far.exportKey('a use', context, 40));
    expect(key).toEqual(near.exportKeyingMaterial(40, 'a use', context));
    expect(() => near.exportKey('', context, 40)).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
    );
  });
});

/** Both ends of a connection. */
async function connected(
  client: ConnectOptions = {},
  server: TransportOptions = {},
): Promise<{ near: Connection; far: Connection }> {
  const accepted: Connection[] = [];
  const listener = await serve((connection) => accepted.push(connection), server);
  const near = await join(listener, client);
  await vi.waitFor(() => expect(accepted).toHaveLength(1), { interval: 1, timeout: 180_000 });
  return { near, far: accepted[0] };
}
