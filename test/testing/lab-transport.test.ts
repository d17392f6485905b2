import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { Identity } from '../../src/protocol/crypto/identity.ts';
import { Lab, type LinkOptions } from '../../src/testing/index.ts';
import { connect } from '../../src/transport/connect.ts';
import { type Listener, listen } from '../../src/transport/listen.ts';

describe('lab with the real transport', () => {
  test('a connection carries messages over a lossy link, and the same seed takes the same time', async () => {
    const first = await echoOverLossyLink(7);
    expect(first.echoes).toEqual(Array.from({ length: 50 }, (_, i) => `message ${i}`));
    expect(await echoOverLossyLink(7)).toEqual(first);
    expect((await echoOverLossyLink(8)).tookMicros).not.toBe(first.tookMicros);
  });

  test('a client that cannot reach its server is told so after the handshake timeout', async () => {
    const lab = new Lab({ seed: 1 });
    const { url } = await serve(lab);
    lab.network.cut('10.0.0.1');
    const refused = connect(url, { ...clientOptions(lab), handshakeTimeoutMs: 2_000 });
    await expect(lab.settle(refused)).rejects.toMatchObject({ code: 'ERR_JSP_HANDSHAKE_TIMEOUT' });
  });
});

async function echoOverLossyLink(seed: number): Promise<{ echoes: string[]; tookMicros: number }> {
  const link: LinkOptions = { delayMs: 25, jitterMs: 5, loss: 0.1, duplicate: 0.02, reorder: 0.05 };
  const lab = new Lab({ seed, link });
  const startedAt = lab.now;
  const listener = await serve(lab);
  const connection = await lab.settle(connect(listener.url, clientOptions(lab)));
  const stream = connection.openStream();
  const echoes: string[] = [];
  const all = new Promise<void>((resolve) => {
    stream.on('message', (data) => {
      echoes.push(data.toString());
      if (echoes.length === 50) resolve();
    });
  });
  for (let i = 0; i < 50; i++) stream.send(`message ${i}`);
  await lab.settle(all);
  const tookMicros = lab.now - startedAt;
  await lab.settle(connection.close());
  await lab.settle(listener.close());
  return { echoes, tookMicros };
}

/** A server that echoes, in the lab. */
async function serve(lab: Lab): Promise<Listener> {
  const listener = await listen({
    identity: Identity.generate(new Prng(1)),
    socket: lab.socket({ host: '10.0.0.1', port: 4577 }),
    clock: lab.clock,
    random: lab.random,
  });
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => stream.on('message', (data) => stream.send(data)));
  });
  return listener;
}

function clientOptions(lab: Lab) {
  return { socket: lab.socket({ host: '10.0.0.2' }), clock: lab.clock, random: lab.random };
}
