import { fork } from 'node:child_process';
import { once } from 'node:events';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import {
  type Connection,
  connect,
  generateIdentity,
  type JspError,
  listen,
  type Stream,
} from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';
import { ownPort } from '../own-port.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { echo, join, next, serve, take } from './served.ts';

describe('closing a connection', () => {
  test('delivers what was sent before, and tells both sides once', async () => {
    const got: string[] = [];
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => stream.on('message', (message) => got.push(message.toString()))),
    );
    const accepted = next<Connection>(listener, 'connection');
    const connection = await join(listener);
    const told: string[] = [];
    connection.on('close', (error) => told.push(`client ${error}`));
    (await accepted).on('close', (error) => told.push(`server ${error}`));
    const stream = connection.openStream();
    const sent = Array.from({ length: 2_000 }, (_, i) => `${i}`);
    stream.sendBatch(sent);
    await connection.close();
    expect(await (await accepted).closed).toBeNull();
    expect(got).toEqual(sent);
    expect(told.sort()).toEqual(['client null', 'server null']);
    expect(await connection.closed).toBeNull();
    await connection.close();
  });

  test('by `destroy` in a listener is the end of messages for it, though more have come', async () => {
    const lab = new Lab({ seed: 12 });
    const { client, accepted } = await labPair(lab, 'x');
    const got: string[] = [];
    const told: string[] = [];
    accepted.on('stream', (stream) => {
      stream.on('message', (message) => {
        got.push(message.toString());
        if (got.length === 2) accepted.destroy(4, 'enough');
      });
      stream.on('end', () => told.push('end')).on('close', () => told.push('close'));
    });
    const stream = client.openStream();
    stream.sendBatch(Array.from({ length: 20 }, (_, i) => `${i}`));
    stream.end();
    await lab.settle(Promise.all([client.closed, accepted.closed]));
    expect(got).toEqual(['0', '1']);
    expect(told).toEqual(['close']);
  });

  test('with a code tells the peer, and is no error here [ERR-2]', async () => {
    const listener = await serve(echo);
    const accepted = next<Connection>(listener, 'connection');
    const connection = await join(listener);
    await connection.close({ code: 12, reason: 'lunch' });
    expect(await connection.closed).toBeNull();
    expect(await (await accepted).closed).toMatchObject({
      code: 'ERR_JSP_CLOSED_BY_PEER',
      message: expect.stringContaining('lunch'),
    });
  });

  test('lets messages of the peer in that come meanwhile', async () => {
    let heard = () => {};
    const isHeard = new Promise<void>((resolve) => {
      heard = resolve;
    });
    const listener = await serve((connection) =>
      connection.on('stream', (stream) =>
        stream.on('message', (message) => {
          stream.send(`answer to ${message}`);
          heard();
        }),
      ),
    );
    const connection = await join(listener);
    const stream = connection.openStream();
    const answers: string[] = [];
    stream.on('message', (message) => answers.push(message.toString()));
    stream.send('last question');
    await isHeard;
    expect(answers).toEqual([]);
    await connection.close();
    expect(answers).toEqual(['answer to last question']);
  });

  test('lets no new message begin, so that two sides that answer each other come to an end [CON-11]', async () => {
    const listener = await serve(echo);
    const connection = await join(listener);
    const stream = connection.openStream();
    let count = 0;
    stream.on('message', (message) => {
      count++;
      stream.send(message);
    });
    for (let i = 0; i < 10; i++) stream.send(`${i}`);
    await vi.waitFor(() => expect(count).toBeGreaterThan(10), { timeout: 180_000 });
    const begun = performance.now();
    const closed = connection.close();
    expect(stream.send('too late')).toBe(false);
    expect(await stream.sendTracked('too late')).toBe('dropped');
    expect(() => connection.openStream()).toThrow(expect.objectContaining({ code: 'ERR_JSP_CLOSED' }));
    await closed;
    expect(performance.now() - begun).toBeLessThan(9_000);
  });

  test('of a busy listener comes to an end, too', async () => {
    const listener = await serve(echo);
    const clients = await Promise.all([join(listener), join(listener)]);
    const busy = clients.map((client) => {
      const stream = client.openStream();
      stream.on('message', (message) => stream.send(message));
      stream.sendBatch(['ping', 'pong', 'ping']);
      return once(stream, 'message');
    });
    await Promise.all(busy);
    const begun = performance.now();
    await listener.close();
    expect(performance.now() - begun).toBeLessThan(9_000);
    for (const client of clients) expect(await client.closed).toBeNull();
  });

  test('waits for the peer no longer than it is told to, or until it is aborted', async () => {
    const lab = new Lab({ seed: 5, link: { delayMs: 5 } });
    for (const how of ['timeout', 'abort'] as const) {
      const { client } = await labPair(lab, how);
      lab.network.cut(`client ${how}`);
      const stream = client.openStream();
      stream.send('nobody hears this');
      const controller = new AbortController();
      const start = lab.now;
      const closed = client.close({ timeoutMs: how === 'timeout' ? 300 : 60_000, signal: controller.signal });
      if (how === 'abort') lab.clock.setTimer(lab.now + 300_000, () => controller.abort());
      const code = how === 'abort' ? 'ERR_JSP_ABORTED' : 'ERR_JSP_CLOSE_INCOMPLETE';
      await expect(lab.settle(closed)).rejects.toMatchObject({ code });
      expect(lab.now - start).toBeGreaterThanOrEqual(300_000);
      expect(lab.now - start).toBeLessThan(310_000);
    }
  });

  test('is shortened by a later call, and by nothing lengthened', async () => {
    const lab = new Lab({ seed: 5, link: { delayMs: 5 } });
    const { client } = await labPair(lab, 'x');
    lab.network.cut('client x');
    client.openStream().send('nobody hears this');
    const start = lab.now;
    const calls = [client.close(), client.close({ timeoutMs: 50_000, stallMs: 50_000 })];
    await lab.run(100);
    calls.push(client.close({ timeoutMs: 0 }));
    for (const call of calls) {
      await expect(lab.settle(call)).rejects.toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
    }
    expect(lab.now - start).toBeLessThan(110_000);
    await client.close();
  });

  test('of a listener is shortened by a later call, and ended by an abort of its signal', async () => {
    for (const how of ['call', 'abort'] as const) {
      const lab = new Lab({ seed: 5, link: { delayMs: 5 } });
      const controller = new AbortController();
      const { listener, accepted } = await labPair(lab, 'x', {}, controller.signal);
      lab.network.cut('client x');
      accepted.openStream().send('nobody hears this');
      const start = lab.now;
      const closed = listener.close();
      await lab.run(100);
      if (how === 'call') void listener.close({ timeoutMs: 0 });
      else controller.abort();
      await lab.settle(closed);
      expect(await accepted.closed).toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
      expect(lab.now - start).toBeLessThan(1_000_000);
    }
  });

  test('waits as long as there is progress: 6 MB at 2 Mbit/s arrive whole', async () => {
    const lab = new Lab({ seed: 5, link: { delayMs: 20, bitsPerSecond: 2_000_000 } });
    const { client, accepted } = await labPair(lab, 'x');
    let bytes = 0;
    const ended = new Promise<void>((resolve) =>
      accepted.on('stream', (stream) =>
        stream
          .on('message', (message) => {
            bytes += message.length;
          })
          .on('end', resolve),
      ),
    );
    const stream = client.openStream();
    for (let i = 0; i < 60; i++) stream.send(bytesOf(100_000, i));
    stream.end();
    const start = lab.now;
    await lab.settle(client.close(), 60_000);
    expect(lab.now - start).toBeGreaterThan(20_000_000);
    await lab.settle(ended);
    expect(bytes).toBe(6_000_000);
    expect(await lab.settle(accepted.closed)).toBeNull();
    expect(await client.closed).toBeNull();
  });

  test('at a time limit that cuts data is an error at both ends, also for the streams [CON-17]', async () => {
    const lab = new Lab({ seed: 5, link: { delayMs: 20, bitsPerSecond: 2_000_000 } });
    const { client, accepted } = await labPair(lab, 'x');
    const told: string[] = [];
    accepted.on('stream', (stream) =>
      stream
        .on('message', () => {})
        .on('end', () => told.push('end'))
        .on('error', (error) => told.push(error.code)),
    );
    const stream = client.openStream();
    for (let i = 0; i < 60; i++) stream.send(bytesOf(100_000, i));
    const flushed = stream.flush().catch((error: JspError) => error.code);
    stream.end();
    const incomplete = { code: 'ERR_JSP_CLOSE_INCOMPLETE' };
    await expect(lab.settle(client.close({ timeoutMs: 2_000 }))).rejects.toMatchObject(incomplete);
    expect(await client.closed).toMatchObject(incomplete);
    expect(await flushed).toBe('ERR_JSP_CLOSE_INCOMPLETE');
    expect(await lab.settle(accepted.closed)).toMatchObject(incomplete);
    expect(told).toEqual(['ERR_JSP_CLOSE_INCOMPLETE']);
  });

  test('does not resolve as if all was well when the peer leaves first, or goes silent', async () => {
    for (const how of ['leaves', 'silent'] as const) {
      const lab = new Lab({ seed: 5, link: { delayMs: 20, bitsPerSecond: 1_000_000 } });
      const { client, accepted } = await labPair(lab, 'x', { heartbeatMs: 500 });
      accepted.on('stream', (stream) => stream.on('message', () => {}));
      const stream = client.openStream();
      for (let i = 0; i < 30; i++) stream.send(bytesOf(100_000, i));
      const closed = client.close();
      await lab.run(1_000);
      if (how === 'leaves') accepted.destroy();
      else lab.network.cut('client x');
      const code = how === 'leaves' ? 'ERR_JSP_CLOSE_INCOMPLETE' : 'ERR_JSP_HEARTBEAT_TIMEOUT';
      await expect(lab.settle(closed, 20_000)).rejects.toMatchObject({ code });
    }
  });

  test('tells code and reason of the peer as values', async () => {
    const connection = await join(
      await serve((accepted) =>
        accepted.on('stream', (stream) => stream.on('message', () => accepted.destroy(1_001, 'full house'))),
      ),
    );
    connection.openStream().send('x');
    expect(await connection.closed).toMatchObject({
      code: 'ERR_JSP_CLOSED_BY_PEER',
      applicationCode: 1_001,
      reason: 'full house',
    });
    const other = await join(
      await serve((accepted) =>
        accepted.on('stream', (stream) => stream.on('message', () => stream.reset(77))),
      ),
    );
    const stream = other.openStream();
    stream.send('x');
    expect(await next(stream, 'error')).toMatchObject({ code: 'ERR_JSP_STREAM_RESET', applicationCode: 77 });
    expect(() => stream.send('y')).toThrow(expect.objectContaining({ applicationCode: 77 }));
  });

  test('lingers as the round-trip time asks for, so that a lost goodbye is repeated [CON-9]', async () => {
    const lab = new Lab({ seed: 8, link: { delayMs: 1_500 } });
    const { client, accepted } = await labPair(lab, 'x');
    await lab.run(10_000);
    const there = lab.network.link('client x', 'server');
    there.change({ blackHole: true }, lab.now);
    client.destroy(4, 'heard late');
    await lab.run(2_000);
    there.change({ blackHole: false }, lab.now);
    expect(await lab.settle(accepted.closed, 14_000)).toMatchObject({ applicationCode: 4 });
  });

  test('is refused with an aborted signal', async () => {
    const connection = await join(await serve(echo));
    await expect(connection.close({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
    expect(connection.isOpen).toBe(true);
  });

  test('at once drops what is not delivered', async () => {
    const listener = await serve(echo);
    const accepted = next<Connection>(listener, 'connection');
    const connection = await join(listener);
    connection.openStream().send(bytesOf(5_000_000));
    connection.destroy(3, 'enough');
    expect(connection.isOpen).toBe(false);
    expect(await connection.closed).toBeNull();
    expect(await (await accepted).closed).toMatchObject({ code: 'ERR_JSP_CLOSED_BY_PEER' });
  });

  test('from within a listener for messages is no trouble', async () => {
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => stream.on('message', () => connection.destroy(1))),
    );
    const connection = await join(listener);
    connection.openStream().send('boom');
    expect(await connection.closed).toMatchObject({ code: 'ERR_JSP_CLOSED_BY_PEER' });
  });

  test('closes its streams: what came before can still be read, and then readers hear that the end is missing', async () => {
    let streamThere: Stream | undefined;
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => {
        streamThere = stream;
      }),
    );
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.sendBatch(['a', 'b', 'c']);
    await stream.flush();
    const there = streamThere as Stream;
    const closed = next(there, 'close');
    await connection.close();
    await closed;
    expect((await take(there, 3)).map(String)).toEqual(['a', 'b', 'c']);
    await expect(there[Symbol.asyncIterator]().next()).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  });

  test('behind the end of its streams lets readers finish', async () => {
    let streamThere: Stream | undefined;
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => {
        streamThere = stream;
      }),
    );
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.send('a');
    stream.end();
    await connection.close();
    const texts: string[] = [];
    for await (const message of streamThere as Stream) texts.push(message.toString());
    expect(texts).toEqual(['a']);
  });

  test('a peer that is gone is noticed by heartbeats', async () => {
    const lab = new Lab({ seed: 6, link: { delayMs: 5 } });
    const { client, accepted } = await labPair(lab, 'x', { heartbeatMs: 100, heartbeatMisses: 3 });
    await lab.run(2_000);
    expect(client.isOpen).toBe(true);
    lab.network.cut('client x');
    expect(await lab.settle(client.closed, 1_000)).toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
    expect(await lab.settle(accepted.closed, 1_000)).toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
  });

  test('an idle connection ends with its idle timeout', async () => {
    const lab = new Lab({ seed: 7, link: { delayMs: 5 } });
    const { client } = await labPair(lab, 'x', { heartbeatMs: 0, idleTimeoutMs: 1_000 });
    expect(await lab.settle(client.closed, 1_200)).toMatchObject({ code: 'ERR_JSP_IDLE_TIMEOUT' });
  });

  test('is repeated for a peer that did not hear it and goes on [CON-9]', async () => {
    const lab = new Lab({ seed: 8, link: { delayMs: 20 } });
    const { client, accepted } = await labPair(lab, 'x');
    lab.network.link('client x', 'server').change({ blackHole: true }, lab.now);
    client.destroy(4, 'unheard');
    await lab.run(1);
    lab.network.link('client x', 'server').change({ blackHole: false }, lab.now);
    accepted.openStream().send('still there?');
    expect(await lab.settle(accepted.closed, 100)).toMatchObject({ code: 'ERR_JSP_CLOSED_BY_PEER' });
  });
});

describe('`await using`', () => {
  test('closes connection, stream and listener', async () => {
    const listener = await listen({ identity: generateIdentity(), port: 0 });
    const served: Connection[] = [];
    listener.on('connection', (connection) => {
      served.push(connection);
      echo(connection);
    });
    {
      await using connection = await connect(listener.url);
      {
        await using stream = connection.openStream();
        stream.send('hello');
        await take(stream, 1);
      }
      expect(connection.isOpen).toBe(true);
      expect(connection.metrics().streamsOpen).toBe(0);
    }
    expect(await served[0].closed).toBeNull();
    await listener[Symbol.asyncDispose]();
    await expect(connect(listener.url, { handshakeTimeoutMs: 100 })).rejects.toMatchObject({
      code: 'ERR_JSP_HANDSHAKE_TIMEOUT',
    });
  });
});

describe('closing a listener', () => {
  test('closes its connections as `close` does, and frees the port', async () => {
    const listener = await listen({ identity: generateIdentity(), port: await ownPort() });
    let accepted = 0;
    listener.on('connection', (connection) => {
      accepted++;
      const stream = connection.openStream();
      stream.sendBatch(Array.from({ length: 500 }, (_, i) => `${i}`));
    });
    const clients = await Promise.all(Array.from({ length: 5 }, () => connect(listener.url)));
    const got = clients.map(async (client) => {
      const stream = await next<Stream>(client, 'stream');
      return (await take(stream, 500)).length;
    });
    // A client is connected a little earlier than its server.
    while (accepted < 5) await sleep(1);
    const closed = next(listener, 'close');
    await listener.close({ code: 5, reason: 'closing time' });
    await closed;
    expect(await Promise.all(got)).toEqual([500, 500, 500, 500, 500]);
    for (const client of clients)
      expect(await client.closed).toMatchObject({ code: 'ERR_JSP_CLOSED_BY_PEER' });
    const again = await listen({ identity: generateIdentity(), port: listener.port });
    expect(again.port).toBe(listener.port);
    await again.close();
    await listener.close();
  });

  test('tells clients whose handshake is not complete here, too', async () => {
    for (let i = 0; i < 10; i++) {
      const listener = await listen({ identity: generateIdentity(), port: 0 });
      const connecting = connect(listener.url, { handshakeTimeoutMs: 200 }).then(
        (connection) => connection.closed,
        (error: JspError) => error,
      );
      for (let turn = 0; turn < i; turn++) await setImmediate();
      await listener.close();
      const error = await connecting;
      // Before its first packet came, nobody is there to tell it.
      if (error !== null) expect(error.code).toMatch(/ERR_JSP_(SERVER_CLOSING|HANDSHAKE_TIMEOUT)/);
    }
  });

  test('ends an iteration over it, and refuses who comes late', async () => {
    const lab = new Lab({ seed: 9, link: { delayMs: 50 } });
    const { listener, client } = await labPair(lab, 'early');
    const late = connect(lateUrl(listener.url), labOptions(lab, 'late'));
    late.catch(() => {});
    // Its handshake is under way when the listener begins to close, and completes meanwhile.
    await lab.run(70);
    const closed = listener.close();
    await lab.settle(closed, 3_000);
    expect(await lab.settle(client.closed, 1_000)).toBeNull();
    const outcome = await lab.settle(
      late.then(
        (connection) => connection.closed,
        (error: JspError) => error,
      ),
      20_000,
    );
    expect(outcome?.code).toMatch(/ERR_JSP_(SERVER_CLOSING|HANDSHAKE_FAILED|HANDSHAKE_TIMEOUT)/);
    for await (const connection of listener) expect(connection).toBeUndefined();
  });

  test('is refused with an aborted signal', async () => {
    const listener = await serve(echo);
    await expect(listener.close({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
    await (await join(listener)).close();
  });
});

describe('a process', () => {
  test('that awaits its close and ends is heard over a bad network: the peer sees no silence [CON-9]', async () => {
    const ends: (JspError | null)[] = [];
    const listener = await serve((connection) => {
      echo(connection);
      void connection.closed.then((error) => ends.push(error));
    });
    const script = fileURLToPath(new URL('./leaving-process.js', import.meta.url));
    const children = ['delay', 'loss'].map((bad) =>
      fork(script, [bad, listener.url], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] }),
    );
    const exits = await Promise.all(children.map((child) => once(child, 'exit')));
    expect(exits.map(([code]) => code)).toEqual([0, 0]);
    while (ends.length < 11) await sleep(5);
    expect(ends).toEqual(Array.from({ length: 11 }, () => null));
  });

  test.each(['client', 'server', 'aborted', 'refused', 'unreferenced'])(
    'that is done with a connection exits by itself: %s',
    async (part) => {
      const script = fileURLToPath(new URL('./leaving-process.js', import.meta.url));
      const child = fork(script, [part], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      const [message] = await once(child, 'message');
      const told = performance.now();
      const [code] = await once(child, 'exit');
      expect(message).toBe('done');
      expect(code).toBe(0);
      expect(performance.now() - told).toBeLessThan(9_000);
    },
  );
});

async function labPair(lab: Lab, name: string, options = {}, signal?: AbortSignal) {
  const listener = await listen({
    identity: generateIdentity(),
    socket: lab.socket({ host: 'server', port: name === 'x' || name === 'early' ? 4_577 : 0 }),
    clock: lab.clock,
    random: lab.random,
    signal,
    ...options,
  });
  const accepted = next<Connection>(listener, 'connection');
  const client = await lab.settle(
    connect(lateUrl(listener.url), labOptions(lab, name, listener.port, options)),
  );
  return { listener, client, accepted: await lab.settle(accepted) };
}

function labOptions(lab: Lab, name: string, port = 4_577, options = {}) {
  return {
    socket: lab.socket({ host: `client ${name}`, connectTo: { host: 'server', port } }),
    clock: lab.clock,
    random: lab.random,
    ...options,
  };
}

/** The lab's hosts have names that are no part of a URL; the socket knows where to. */
function lateUrl(url: string): string {
  const { username } = new URL(url);
  return `jsp://${username}@server:4577`;
}
