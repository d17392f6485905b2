import { once } from 'node:events';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  type AccessOptions,
  type ArrivingClient,
  type ClientRefusal,
  type Connection,
  type ConnectOptions,
  connect,
  generateIdentity,
  type JspError,
  type Listener,
  listen,
} from '../../src/index.ts';

const SERVER = generateIdentity();
const ROBOT = generateIdentity();
const STRANGER = generateIdentity({ hybrid: true });
const folder = await mkdtemp(join(tmpdir(), 'jsp-authorize-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A listener with these options, and what it told of those that it did not let in. */
async function serving(options: AccessOptions): Promise<{ listener: Listener; refusals: ClientRefusal[] }> {
  const listener = await listen({ identity: SERVER, port: 0, ...options });
  const refusals: ClientRefusal[] = [];
  listener.on('refused', (refusal) => refusals.push(refusal));
  return { listener, refusals };
}

async function refusalOf(listener: Listener, options: ConnectOptions = {}): Promise<JspError> {
  try {
    const connection = await connect(listener.url, options);
    connection.destroy();
  } catch (error) {
    return error as JspError;
  }
  throw new Error('it was let in');
}

describe('authorize', () => {
  test('sees who a client is and what it says, and its answer reaches the client [HS-44] [HS-43]', async () => {
    const seen: ArrivingClient[] = [];
    const { listener, refusals } = await serving({
      authorize: async (client) => {
        seen.push(client);
        await new Promise((resolve) => setImmediate(resolve));
        return { accept: true, payload: 'welcome' };
      },
    });
    const served = new Promise<{ identity: string | null; payload: string }>((resolve) =>
      listener.once('connection', ({ peerIdentity, peerPayload }) =>
        resolve({ identity: peerIdentity, payload: `${peerPayload}` }),
      ),
    );
    const connection = await connect(listener.url, { identity: STRANGER, payload: 'token-7' });
    expect(`${connection.peerPayload}`).toBe('welcome');
    expect(connection.peerIdentity).toBe(SERVER.fingerprintText);
    expect(await served).toEqual({ identity: STRANGER.fingerprintText, payload: 'token-7' });
    const [{ identity, address, port, payload }] = seen;
    expect({ identity, address, port }).toMatchObject({
      identity: STRANGER.fingerprintText,
      address: '127.0.0.1',
    });
    expect(`${payload}`).toBe('token-7');
    expect(refusals).toEqual([]);
    await listener.close();
  });

  test('may be synchronous, and is told of those who have no identity and say nothing', async () => {
    const { listener } = await serving({
      authorize: ({ identity, payload }) => ({ accept: identity === null && payload === null }) as never,
    });
    const connection = await connect(listener.url);
    expect([connection.peerPayload, connection.isOpen]).toEqual([null, true]);
    await listener.close();
  });

  test('refuses with a code and a reason of its own, which connect fails with [HS-44]', async () => {
    const { listener, refusals } = await serving({
      authorize: () => ({ accept: false, code: 403, reason: 'no such token' }),
    });
    expect(await refusalOf(listener, { payload: 'x' })).toMatchObject({
      code: 'ERR_JSP_REFUSED',
      applicationCode: 403,
      reason: 'no such token',
      message: expect.stringContaining('403: no such token'),
    });
    expect(refusals).toMatchObject([{ identity: null, address: '127.0.0.1', cause: 'application' }]);
    expect(listener.metrics()).toMatchObject({ clientsRefused: 1, handshakesCompleted: 0 });
    await listener.close();
  });

  test.each([
    [
      'throws',
      () => {
        throw new Error('the database is down');
      },
      /database/,
    ],
    ['rejects', () => Promise.reject(new Error('the database is down')), /database/],
    ['answers nothing', () => undefined as never, /authorize answers must be/],
    ['answers a code that is none', () => ({ accept: false, code: -1 }) as const, /with a code/],
    [
      'answers more than 1,024 bytes',
      () => ({ accept: true, payload: new Uint8Array(1_025) }) as const,
      /1024 bytes/,
    ],
  ])('that %s lets nobody in, and tells the listener why [HS-45]', async (_, authorize, message) => {
    const { listener, refusals } = await serving({ authorize });
    expect(await refusalOf(listener)).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    expect(refusals).toMatchObject([{ cause: 'error', error: { message: expect.stringMatching(message) } }]);
    await listener.close();
  });

  test('that does not answer in time lets nobody in, and hears of it [HS-45]', async () => {
    let heard = 0;
    const { listener } = await serving({
      authorizeTimeoutMs: 40,
      authorize: ({ signal }) =>
        new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            heard++;
            resolve({ accept: true });
          }),
        ),
    });
    expect(await refusalOf(listener)).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    expect(heard).toBe(1);
    await listener.close();
  });

  test('is asked about 256 clients at once, and those beyond are told that the server is full [HS-45]', async () => {
    const { Gate } = await import('../../src/transport/authorize.ts');
    const refusals: ClientRefusal[] = [];
    const gate = new Gate(
      { authorize: () => new Promise(() => {}) },
      { onRefused: (refusal) => refusals.push(refusal), onKeysChanged: () => {} },
    );
    const refused: unknown[] = [];
    const driver = { now: () => 0, endpoint: { refuse: (core: unknown) => refused.push(core) } };
    for (let i = 0; i < 257; i++) {
      const core = {
        i,
        path: { host: '::1', port: i },
        handshake: { isResumed: false, peerFingerprint: null, peerPayload: null },
      };
      gate.ask(core as never, driver as never);
    }
    expect(refused).toMatchObject([{ i: 256 }]);
    expect(refusals).toMatchObject([{ port: 256, cause: 'busy' }]);
    gate.close();
  });
});

describe('a client that comes back with a ticket', () => {
  test('is decided about by the identity that its ticket has, and heard when it is let in [HS-47]', async () => {
    const file = join(folder, 'returning');
    writeFileSync(file, ROBOT.fingerprintText);
    const seen: [string | null, boolean][] = [];
    const heard: string[] = [];
    const { listener, refusals } = await serving({
      authorizedKeys: { file },
      authorize: ({ identity, isResumed }) => {
        seen.push([identity, isResumed]);
        return { accept: true };
      },
    });
    listener.on('connection', (connection) =>
      connection.on('stream', (stream) =>
        stream.on('message', (message) => {
          heard.push(message.toString());
          stream.send('heard');
        }),
      ),
    );
    const ticketOf = async (connection: Connection): Promise<Uint8Array> => {
      const [ticket] = (await once(connection, 'ticket')) as [Uint8Array];
      await connection.close();
      return ticket;
    };
    let ticket = await ticketOf(await connect(listener.url, { identity: ROBOT }));
    const back = await connect(listener.url, { identity: ROBOT, ticket, earlyData: true });
    const next = once(back, 'ticket');
    const stream = back.openStream({ earlyData: true });
    stream.send('early');
    await once(stream, 'message');
    expect([back.isResumed, heard]).toEqual([true, ['early']]);
    expect(seen).toEqual([
      [ROBOT.fingerprintText, false],
      [ROBOT.fingerprintText, true],
    ]);
    [ticket] = (await next) as [Uint8Array];
    await back.close();
    // A ticket of another identity is not shown, or the server would take the client for that one.
    for (const identity of [undefined, STRANGER])
      expect(await refusalOf(listener, { identity, ticket })).toMatchObject({
        code: 'ERR_JSP_NOT_AUTHORIZED',
      });
    expect(refusals.splice(0).map(({ identity }) => identity)).toEqual([null, STRANGER.fingerprintText]);
    const changed = once(listener, 'authorizedKeys');
    writeFileSync(file, STRANGER.fingerprintText);
    await changed;
    expect(await refusalOf(listener, { identity: ROBOT, ticket })).toMatchObject({
      code: 'ERR_JSP_NOT_AUTHORIZED',
    });
    expect(refusals).toMatchObject([{ identity: ROBOT.fingerprintText, cause: 'list' }]);
    await listener.close();
  });
});

describe('identities of clients', () => {
  test('are asked for where the listener says so, and not shown to others [HS-27]', async () => {
    for (const [clientIdentity, expected] of [
      ['none', null],
      ['optional', ROBOT.fingerprintText],
    ] as const) {
      const { listener } = await serving({ clientIdentity });
      const served = new Promise((resolve) =>
        listener.once('connection', ({ peerIdentity }) => resolve(peerIdentity)),
      );
      await connect(listener.url, { identity: ROBOT });
      expect(await served).toBe(expected);
      await listener.close();
    }
  });

  test('that are required and missing end connect with ERR_JSP_NOT_AUTHORIZED [HS-46]', async () => {
    const { listener, refusals } = await serving({ clientIdentity: 'required' });
    expect(await refusalOf(listener)).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    expect(refusals).toMatchObject([{ cause: 'list', identity: null }]);
    const connection = await connect(listener.url, { identity: STRANGER });
    expect(connection.isOpen).toBe(true);
    await listener.close();
  });
});

describe('a list of keys', () => {
  test('lets in who is on it, and nobody else, whatever the application says [HS-46]', async () => {
    const { listener, refusals } = await serving({
      authorizedKeys: [ROBOT.fingerprintText],
      authorize: () => ({ accept: true }),
    });
    const connection = await connect(listener.url, { identity: ROBOT });
    expect(connection.isOpen).toBe(true);
    for (const options of [{}, { identity: STRANGER }])
      expect(await refusalOf(listener, options)).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    expect(refusals.map(({ cause, identity }) => [cause, identity])).toEqual([
      ['list', null],
      ['list', STRANGER.fingerprintText],
    ]);
    await listener.close();
  });

  test('in a file is read again when it changes; who is not on it any more is sent away, and a fault changes nothing [HS-46]', async () => {
    const file = join(folder, 'keys');
    const write = (text: string): void => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file); // as those do who are careful
    };
    const changed = (listener: Listener) =>
      new Promise<JspError | null>((resolve) => listener.once('authorizedKeys', resolve));
    write(`# robots\n\n${ROBOT.fingerprintText}  robot 7, in the yard\n`);
    const { listener } = await serving({ authorizedKeys: { file } });
    const served = new Promise<{ closed: Promise<JspError | null> }>((resolve) =>
      listener.once('connection', resolve),
    );
    const robot = await connect(listener.url, { identity: ROBOT });
    const atServer = await served;
    expect(await refusalOf(listener, { identity: STRANGER })).toMatchObject({
      code: 'ERR_JSP_NOT_AUTHORIZED',
    });

    let told = changed(listener);
    write(`${STRANGER.fingerprintText}\nnonsense\n`);
    expect(await told).toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
      message: expect.stringContaining(':2: "nonsense"'),
    });
    expect(robot.isOpen).toBe(true);

    told = changed(listener);
    write(`${STRANGER.fingerprintText}\n`);
    expect(await told).toBeNull();
    expect(await robot.closed).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    expect(await atServer.closed).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    const stranger = await connect(listener.url, { identity: STRANGER });
    expect(stranger.isOpen).toBe(true);
    await listener.close();
  });

  test.each([[['short']], [[`${ROBOT.fingerprintText.slice(0, 42)}B`]], [{ file: join(folder, 'nowhere') }]])(
    'that cannot be read is an error of listen: %j',
    async (authorizedKeys) => {
      await expect(listen({ identity: SERVER, port: 0, authorizedKeys })).rejects.toMatchObject({
        code: 'ERR_JSP_OPTION_INVALID',
        message: expect.stringContaining('authorizedKeys'),
      });
    },
  );
});

test('a payload of more than 8,192 bytes is an error of connect', async () => {
  await expect(connect('jsp://x@y', { payload: 'x'.repeat(8_193) })).rejects.toMatchObject({
    code: 'ERR_JSP_OPTION_INVALID',
    message: expect.stringContaining('8192'),
  });
});
