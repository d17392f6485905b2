import { describe, expect, test } from 'vitest';
import {
  type Connection,
  connect,
  generateIdentity,
  listen,
  type Outcome,
  type Stream,
} from '../../src/index.ts';
import { Lab, type LinkOptions } from '../../src/testing/index.ts';
import { echo, join, serve, take } from './served.ts';

describe('what became of a message', () => {
  test('is told: acknowledged', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    expect(await stream.sendTracked('hello')).toBe('acknowledged');
    const outcomes = await Promise.all(Array.from({ length: 200 }, (_, i) => stream.sendTracked(`${i}`)));
    expect(new Set(outcomes)).toEqual(new Set(['acknowledged']));
  });

  test('is told of best-effort and partial messages, too', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream({ delivery: 'bestEffort', ordered: false });
    expect(await stream.sendTracked('state')).toBe('acknowledged');
    const partial = connection.openStream({ delivery: 'partial', lifetimeMs: 5_000 });
    expect(await partial.sendTracked('soon')).toBe('acknowledged');
  });

  test('is told: expired, when its lifetime ends before it arrived', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream();
    deaf(lab, true);
    const told = stream.sendTracked('too late', { lifetimeMs: 100 });
    await lab.run(300);
    deaf(lab, false);
    expect(await lab.settle(told)).toBe('expired');
  });

  test('is told: lost, when a packet of a best-effort message is', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream({ delivery: 'bestEffort', ordered: false });
    expect(await lab.settle(stream.sendTracked('first'))).toBe('acknowledged');
    deaf(lab, true);
    const told = stream.sendTracked('lost');
    await lab.run(2);
    deaf(lab, false);
    for (let i = 0; i < 5; i++) {
      stream.send(`${i}`);
      await lab.run(1);
    }
    expect(await lab.settle(told)).toBe('lost');
  });

  test('is told: dropped, when the stream is reset before it arrived', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream();
    lab.network.cut('client');
    const told: Promise<Outcome> = stream.sendTracked('never');
    await lab.run(10);
    stream.reset();
    lab.network.mend();
    expect(['dropped', 'acknowledged']).toContain(await lab.settle(told));
    const other = client.openStream();
    const unsent = other.sendTracked('never sent');
    other.reset();
    expect(await lab.settle(unsent)).toBe('dropped');
  });

  test('is told: dropped, when the connection ends', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream();
    lab.network.cut('client');
    const told = stream.sendTracked('never');
    client.destroy();
    expect(await lab.settle(told)).toBe('dropped');
  });

  test('is an error where the message could not be taken', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    stream.end();
    await expect(stream.sendTracked('x')).rejects.toMatchObject({ code: 'ERR_JSP_STREAM_CLOSED' });
  });
});

describe('flush', () => {
  test('resolves when all that was sent is settled, and at once when nothing is', async () => {
    let arrived = 0;
    const { lab, client } = await labPair({ delayMs: 50, loss: 0.2 }, (stream) =>
      stream.on('message', () => {
        arrived++;
      }),
    );
    const stream = client.openStream();
    await lab.settle(stream.flush());
    for (let i = 0; i < 200; i++) stream.send('x'.repeat(1_000));
    const start = lab.now;
    await lab.settle(stream.flush());
    expect(lab.now - start).toBeGreaterThan(100_000);
    expect(stream.queuedBytes).toBe(0);
    expect(arrived).toBe(200); // what may still be under way are second copies
  });

  test('waits only for what was sent before it', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream();
    stream.send('before');
    const flushed = stream.flush();
    await lab.run(7);
    deaf(lab, true);
    stream.send('after');
    await lab.settle(flushed, 1_000);
  });

  test('rejects when the connection ends in between', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream();
    lab.network.cut('client');
    stream.send('x');
    const flushed = stream.flush();
    client.destroy(1);
    await expect(lab.settle(flushed)).rejects.toMatchObject({ code: 'ERR_JSP_STREAM_CLOSED' });
    await expect(stream.flush()).rejects.toMatchObject({ code: 'ERR_JSP_STREAM_CLOSED' });
  });
});

describe('lifetimes', () => {
  test('keep late messages from being delivered, and the others in order', async () => {
    const received: string[] = [];
    const { lab, client } = await labPair({ delayMs: 20 }, (stream) =>
      stream.on('message', (message) => received.push(message.toString())),
    );
    const stream = client.openStream({ delivery: 'partial', lifetimeMs: 150 });
    stream.send('0');
    await lab.run(100);
    deaf(lab, true);
    for (let i = 1; i <= 5; i++) stream.send(`${i}`);
    await lab.run(300);
    deaf(lab, false);
    for (let i = 6; i <= 8; i++) stream.send(`${i}`);
    await lab.run(1_000);
    expect(received).toEqual(['0', '6', '7', '8']);
    expect(client.metrics().messagesExpired).toBe(5);
  });

  test('of a message make a reliable stream partial for it, never the other way round', async () => {
    const connection = await join(await serve(echo));
    const stream = connection.openStream();
    stream.send('short-lived', { lifetimeMs: 10_000 });
    stream.send('best effort', { delivery: 'bestEffort' });
    expect((await take(stream, 2)).map(String).sort()).toEqual(['best effort', 'short-lived']);
    const state = connection.openStream({ delivery: 'bestEffort' });
    expect(() => state.send('x', { delivery: 'reliable' })).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
    );
    for (const lifetimeMs of [-1, Number.NaN]) {
      expect(() => stream.send('x', { lifetimeMs })).toThrow(
        expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
      );
    }
  });
});

/** Lets the server hear nothing, or all again. */
function deaf(lab: Lab, isDeaf: boolean): void {
  lab.network.link('client', 'server').change({ blackHole: isDeaf }, lab.now);
}

/** A client and a server in the lab, whose server's streams go to `onStream`. */
async function labPair(
  link: LinkOptions = { delayMs: 5 },
  onStream: (stream: Stream) => void = (stream) => stream.on('message', () => {}),
) {
  const lab = new Lab({ seed: 11, link });
  const { clock, random } = lab;
  const listener = await listen({
    identity: generateIdentity(),
    socket: lab.socket({ host: 'server', port: 4_577 }),
    clock,
    random,
  });
  listener.on('connection', (connection) => connection.on('stream', onStream));
  const { username } = new URL(listener.url);
  const client: Connection = await lab.settle(
    connect(`jsp://${username}@server:4577`, {
      socket: lab.socket({ host: 'client', connectTo: { host: 'server', port: 4_577 } }),
      clock,
      random,
    }),
  );
  await lab.run(200);
  return { lab, client, listener };
}
