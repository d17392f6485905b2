import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, expect, test } from 'vitest';
import {
  type Connection,
  connect,
  generateIdentity,
  type Listener,
  type ListenOptions,
  listen,
} from '../../src/index.ts';
import { ticketConfig } from '../../src/transport/tickets.ts';
import { systemClock } from '../../src/udp/clock.ts';
import { ownPort } from '../own-port.ts';

const identity = generateIdentity();
const SHARED = { current: new Uint8Array(32).fill(7) };
const listeners: Listener[] = [];

afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.close({ timeoutMs: 0 })));
});

/** A server that keeps what it is told, each with whether its client had proved to be there by then. */
async function serve(options: Partial<ListenOptions> = {}) {
  const listener = await listen({ identity, port: 0, ...options });
  listeners.push(listener);
  const heard: { text: string; isEstablished: boolean }[] = [];
  listener.on('connection', (connection) =>
    connection.on('stream', (stream) =>
      stream.on('message', (message) => {
        heard.push({ text: message.toString(), isEstablished: connection.isEstablished });
        stream.send(`${message} heard`);
      }),
    ),
  );
  return { listener, heard };
}

async function ticketOf(url: string): Promise<Uint8Array> {
  const connection = await connect(url);
  const [ticket] = (await once(connection, 'ticket')) as [Uint8Array];
  await connection.close();
  return ticket;
}

/** Says something early, and something that may wait; resolves with the answers. */
async function say(connection: Connection): Promise<string[]> {
  const answers: string[] = [];
  const early = connection.openStream({ earlyData: true });
  const late = connection.openStream();
  early.send('early');
  late.send('late');
  const answerTo = async (stream: typeof early) => {
    const [message] = (await once(stream, 'message')) as [Buffer];
    answers.push(message.toString());
  };
  await Promise.all([answerTo(early), answerTo(late)]);
  return answers;
}

test('a client with a ticket is back at once, and what it marked as early is heard before it has proved to be there [HS-34] [HS-59]', async () => {
  const { listener, heard } = await serve();
  const connection = await connect(listener.url, { ticket: await ticketOf(listener.url), earlyData: true });
  expect([connection.earlyData, connection.isEstablished]).toEqual(['pending', false]);
  expect(await say(connection)).toEqual(['early heard', 'late heard']);
  expect([connection.earlyData, connection.isResumed]).toEqual(['accepted', true]);
  expect(heard).toEqual([
    { text: 'early', isEstablished: false },
    { text: 'late', isEstablished: true },
  ]);
  expect(listener.metrics()).toMatchObject({ ticketsAccepted: 1, earlyDataAccepted: 1 });
  await connection.close();
});

test('a ticket that was used, is of a server that is gone, or of another process with its keys brings no early data, and all is heard once [HS-53] [HS-58]', async () => {
  const port = await ownPort();
  const first = await serve({ port, tickets: { keys: SHARED } });
  const used = await ticketOf(first.listener.url);
  const fresh = await ticketOf(first.listener.url);
  await (await connect(first.listener.url, { ticket: used })).close();
  for (const [ticket, isResumed] of [
    [used, false],
    [fresh, true],
  ] as const) {
    const other = isResumed ? await serve({ tickets: { keys: SHARED } }) : first;
    other.heard.length = 0;
    const connection = await connect(other.listener.url, { ticket, earlyData: true });
    await say(connection);
    expect([connection.earlyData, connection.isResumed]).toEqual(['refused', isResumed]);
    expect(other.heard.map(({ text }) => text).sort()).toEqual(['early', 'late']);
    await connection.close();
  }
  await first.listener.close();
  const again = await serve({ port });
  const stale = await connect(again.listener.url, { ticket: fresh, earlyData: true });
  await say(stale);
  expect([stale.earlyData, stale.isResumed]).toEqual(['refused', false]);
  await stale.close();
});

test('that nothing listens there any more is told early data, too, instead of waiting for the handshake’s timeout [CON-15]', async () => {
  const { listener } = await serve();
  const ticket = await ticketOf(listener.url);
  await listener.close();
  const connection = await connect(listener.url, { ticket, earlyData: true });
  connection.openStream({ earlyData: true }).send('early');
  expect(await connection.closed).toMatchObject({ code: 'ERR_JSP_CONNECTION_REFUSED' });
});

test('a ticket of another server is not shown, and what is none is an error', async () => {
  const { listener } = await serve();
  const other = await serve({ identity: generateIdentity() });
  const ticket = await ticketOf(other.listener.url);
  const connection = await connect(listener.url, { ticket, earlyData: true });
  expect([connection.earlyData, connection.isResumed, connection.isEstablished]).toEqual([
    'none',
    false,
    true,
  ]);
  await connection.close();
  await expect(connect(listener.url, { ticket: new Uint8Array(20) })).rejects.toMatchObject({
    code: 'ERR_JSP_OPTION_INVALID',
  });
  await expect(serve({ tickets: { lifetimeMs: 5 } })).rejects.toMatchObject({
    code: 'ERR_JSP_OPTION_INVALID',
  });
});

test('a server that gives no tickets takes none [HS-55]', async () => {
  const giving = await serve({ tickets: { keys: SHARED } });
  const ticket = await ticketOf(giving.listener.url);
  const { listener } = await serve({ tickets: false });
  const connection = await connect(listener.url, { ticket });
  expect(connection.isResumed).toBe(false);
  expect(await Promise.race([once(connection, 'ticket'), say(connection)])).toHaveLength(2);
  await connection.close();
});

test('a captured first datagram is heard once over real sockets: not again by its server, nor by one that was started anew or shares its keys [HS-53]', async () => {
  const tickets = { keys: SHARED };
  const port = await ownPort();
  const first = await serve({ port, tickets });
  const ticket = await ticketOf(first.listener.url);
  const wire = createSocket('udp4');
  wire.bind(0, '127.0.0.1');
  await once(wire, 'listening');
  const captured = once(wire, 'message');
  // What stands between them keeps the datagram, and is the only one who sends it.
  const url = first.listener.url.replace(/:\d+$/, `:${wire.address().port}`);
  const client = await connect(url, { ticket, earlyData: true });
  client.openStream({ earlyData: true }).send('pay');
  const [datagram] = (await captured) as [Buffer];
  client.destroy();
  const replay = async (to: number): Promise<void> => {
    for (let i = 0; i < 1_000; i++) {
      wire.send(datagram, to, '127.0.0.1');
      if (i % 20 === 0) await turn();
    }
  };
  const other = await serve({ tickets });
  await replay(port);
  await replay(other.listener.port);
  await first.listener.close({ timeoutMs: 0 });
  const again = await serve({ port, tickets });
  await replay(port);
  wire.close();
  expect(first.heard.map(({ text }) => text)).toEqual(['pay']);
  expect([...other.heard, ...again.heard]).toEqual([]);
  expect(first.listener.metrics()).toMatchObject({ earlyDataAccepted: 1 });
});

test('a server gives tickets for 24 hours and 16,384 bytes of early data where it is not told otherwise', () => {
  const usual = { keys: null, lifetimeMs: 86_400_000, earlyDataBytesMax: 16_384 };
  for (const option of [undefined, true, {}]) expect(ticketConfig(option, systemClock)).toMatchObject(usual);
  expect(ticketConfig(false, systemClock)).toBe(null);
});
