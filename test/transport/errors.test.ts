import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import {
  type Connection,
  connect,
  generateIdentity,
  type JspErrorCode,
  type ListenOptions,
  listen,
  type Stream,
} from '../../src/index.ts';
import type { CloseReason } from '../../src/protocol/connection/lifecycle.ts';
import { CloseCode } from '../../src/protocol/wire/close-code.ts';
import { closeError } from '../../src/transport/close-error.ts';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';
import { ownPort } from '../own-port.ts';
import { echo, join, next, serve, take } from './served.ts';

/** What an error of this library looks like. */
function jspError(code: JspErrorCode, message: RegExp) {
  return expect.objectContaining({ name: 'JspError', code, message: expect.stringMatching(message) });
}

describe('connecting fails with', () => {
  test('a wrong pin: no answer, and an error that says what to check', async () => {
    const listener = await serve(echo);
    const { port } = listener;
    const pin = generateIdentity().fingerprintText;
    const begun = performance.now();
    await expect(connect(`jsp://${pin}@127.0.0.1:${port}`, { handshakeTimeoutMs: 150 })).rejects.toThrow(
      jspError('ERR_JSP_HANDSHAKE_TIMEOUT', /pinned fingerprint is its own/),
    );
    expect(performance.now() - begun).toBeGreaterThanOrEqual(149);
    expect(listener.metrics().droppedUnopened).toBeGreaterThan(0);
    expect(listener.metrics().connectionsOpen).toBe(0);
  });

  test('no pin: refused here, before anything is sent', async () => {
    const listener = await serve(echo);
    await expect(connect(`jsp://127.0.0.1:${listener.port}`)).rejects.toThrow(
      jspError('ERR_JSP_PIN_MISSING', /jsp:\/\/<fingerprint>@host:port/),
    );
    expect(listener.metrics().datagramsReceived).toBe(0);
  });

  test('no pin, and a server that takes only clients that pin', async () => {
    const listener = await serve(echo);
    const url = `jsp://127.0.0.1:${listener.port}`;
    await expect(connect(url, { insecure: true, handshakeTimeoutMs: 100 })).rejects.toThrow(
      jspError('ERR_JSP_HANDSHAKE_TIMEOUT', /handshake/),
    );
    expect(listener.metrics().droppedUnpinned).toBeGreaterThan(0);
  });

  test('nobody at that address, long before the handshake times out [CON-15]', async () => {
    const listener = await serve(echo);
    const { url, port } = listener;
    await listener.close();
    const begun = performance.now();
    await expect(connect(url)).rejects.toThrow(
      jspError('ERR_JSP_CONNECTION_REFUSED', new RegExp(`port ${port} .*the server runs`)),
    );
    expect(performance.now() - begun).toBeLessThan(5_000);
  });

  test('a server that is full, or being closed: told at once, not after the handshake timeout [CON-40]', async () => {
    const listener = await serve(echo, { connectionsMax: 1 });
    const only = await join(listener);
    const begun = performance.now();
    await expect(connect(listener.url)).rejects.toThrow(jspError('ERR_JSP_SERVER_FULL', /no room/));
    const stream = only.openStream();
    stream.send('x');
    // The one connection is read by nobody, so that the listener goes on closing.
    const closing = listener.close({ timeoutMs: 8_000 });
    await expect(connect(listener.url)).rejects.toThrow(jspError('ERR_JSP_SERVER_CLOSING', /being closed/));
    expect(performance.now() - begun).toBeLessThan(8_000);
    expect(listener.metrics()).toMatchObject({
      connectionsRefused: expect.any(Number),
      handshakesStarted: 1,
    });
    await only.close();
    await closing;
  });

  test('nobody at that address yet: a server that starts a moment later is found', async () => {
    const port = await ownPort();
    const identity = generateIdentity();
    const connecting = connect(`jsp://${identity.fingerprintText}@127.0.0.1:${port}`);
    await sleep(20);
    const started = await listen({ identity, port });
    const connection = await connecting;
    // Once it is established, nobody can end it that way.
    const { driver } = connection as unknown as { driver: { socket: DatagramSocket } };
    for (let i = 0; i < 10; i++) {
      driver.socket.onError?.(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }), false);
    }
    await sleep(1);
    expect(connection.isOpen).toBe(true);
    await connection.close();
    await started.close();
  });

  test('silence, which is no refusal', async () => {
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    const pin = generateIdentity().fingerprintText;
    await expect(
      connect(`jsp://${pin}@127.0.0.1:${silent.address().port}`, { handshakeTimeoutMs: 100 }),
    ).rejects.toThrow(jspError('ERR_JSP_HANDSHAKE_TIMEOUT', /the server runs/));
    silent.close();
  });

  test.each([
    ['nonsense', /not a server URL/],
    ['http://127.0.0.1:1', /jsp:\/\//],
    ['jsp://abc@127.0.0.1:1', /instead of 43/],
    ['jsp://127.0.0.1:1/path', /nothing but a "\/"/],
    ['jsp://127.0.0.1:0', /port 0/],
  ])('a URL like %s', async (url, message) => {
    await expect(connect(url, { insecure: true })).rejects.toThrow(jspError('ERR_JSP_URL_INVALID', message));
  });

  test('a host that does not exist', async () => {
    const pin = generateIdentity().fingerprintText;
    await expect(connect(`jsp://${pin}@no-such-host.invalid:1`)).rejects.toThrow(
      jspError('ERR_JSP_SOCKET', /no-such-host/),
    );
  });

  test('options that make no sense, and leaves no socket behind', async () => {
    const listener = await serve(echo);
    for (const options of [
      { mtu: 100 },
      { mtu: 1.5 },
      { heartbeatMs: -1 },
      { streamsMax: Number.NaN },
      { messageBytesMax: 0 },
    ]) {
      await expect(connect(listener.url, options)).rejects.toThrow(
        jspError('ERR_JSP_OPTION_INVALID', new RegExp(Object.keys(options)[0])),
      );
    }
  });

  test('an abort, before, while and after it waits', async () => {
    const listener = await serve(echo);
    const reason = new Error('changed my mind');
    await expect(connect(listener.url, { signal: AbortSignal.abort(reason) })).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
      cause: reason,
    });
    for (const afterMs of [0, 1, 30]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), afterMs);
      const pin = generateIdentity().fingerprintText;
      const waiting = connect(`jsp://${pin}@127.0.0.1:${listener.port}`, { signal: controller.signal });
      await expect(waiting).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED', cause: reason });
    }
    const controller = new AbortController();
    const connection = await join(listener, { signal: controller.signal });
    controller.abort();
    expect(connection.isOpen).toBe(true);
  });
});

describe('listening fails with', () => {
  test('an address that is taken, or is not ours', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const identity = generateIdentity();
    await expect(listen({ identity, port: socket.address().port })).rejects.toThrow(
      jspError('ERR_JSP_SOCKET', /EADDRINUSE/),
    );
    await expect(listen({ identity, host: '203.0.113.1', port: 0 })).rejects.toThrow(
      jspError('ERR_JSP_SOCKET', /203\.0\.113\.1/),
    );
    socket.close();
  });

  test('options that make no sense, and leaves no socket behind', async () => {
    const port = await ownPort();
    const bad: Partial<ListenOptions> = { mtu: 511 };
    for (let i = 0; i < 2; i++) {
      await expect(listen({ identity: generateIdentity(), port, ...bad })).rejects.toThrow(
        jspError('ERR_JSP_OPTION_INVALID', /mtu must be a whole number from 512 to 65507, not 511/),
      );
    }
    const listener = await listen({ identity: generateIdentity(), port });
    expect(listener.port).toBe(port);
    await listener.close();
  });

  test('an abort, and is closed by one', async () => {
    await expect(
      listen({ identity: generateIdentity(), port: 0, signal: AbortSignal.abort() }),
    ).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
    const controller = new AbortController();
    const listener = await listen({ identity: generateIdentity(), port: 0, signal: controller.signal });
    const closed = next(listener, 'close');
    controller.abort();
    await closed;
  });
});

describe('using a connection or stream wrongly fails with', () => {
  test('what was wrong with the options of a stream', async () => {
    const connection = await join(await serve(echo));
    const open = (options: object) => () => connection.openStream(options);
    expect(open({ label: 'x'.repeat(65) })).toThrow(jspError('ERR_JSP_LABEL_TOO_LONG', /64 bytes, not 65/));
    expect(open({ label: '\u{1f984}'.repeat(17) })).toThrow(jspError('ERR_JSP_LABEL_TOO_LONG', /not 68/));
    expect(open({ priority: 'urgent' })).toThrow(
      jspError('ERR_JSP_OPTION_INVALID', /system, media, chat, bulk/),
    );
    expect(open({ delivery: 'maybe' })).toThrow(
      jspError('ERR_JSP_OPTION_INVALID', /reliable, partial, bestEffort/),
    );
    // Nothing of that used up a stream.
    expect(connection.openStream().id).toBe(0);
  });

  test('what was wrong with a message', async () => {
    const connection = await join(await serve(echo, { messageBytesMax: 10_000 }));
    const stream = connection.openStream();
    expect(() => stream.send(new Uint8Array(10_001))).toThrow(
      jspError('ERR_JSP_MESSAGE_TOO_LARGE', /10001 bytes is above the peer's limit of 10000/),
    );
    expect(() => stream.send(5 as unknown as string)).toThrow(TypeError);
    expect(() => stream.send(undefined as unknown as string)).toThrow(TypeError);
    expect(() => stream.send([1, 2] as unknown as string)).toThrow(TypeError);
    expect(() => stream.send('x', { delivery: 'maybe' as 'reliable' })).toThrow(
      jspError('ERR_JSP_OPTION_INVALID', /delivery/),
    );
    expect(stream.send(new Uint8Array(10_000))).toBe(true);
  });

  test('the end of the stream', async () => {
    const connection = await join(await serve(echo));
    const ended = connection.openStream();
    ended.end();
    expect(() => ended.send('x')).toThrow(jspError('ERR_JSP_STREAM_CLOSED', /has ended/));
    const reset = connection.openStream();
    reset.reset(1);
    expect(() => reset.send('x')).toThrow(jspError('ERR_JSP_STREAM_CLOSED', /open another/));
  });

  test('the code with which the peer reset the stream', async () => {
    const listener = await serve((connection) => connection.on('stream', (stream) => stream.reset(77)));
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.send('x');
    const error = await next<Error>(stream, 'error');
    expect(error).toEqual(jspError('ERR_JSP_STREAM_RESET', /with code 77/));
    expect(() => stream.send('y')).toThrow(jspError('ERR_JSP_STREAM_RESET', /77/));
    await expect(stream[Symbol.asyncIterator]().next()).rejects.toThrow(
      jspError('ERR_JSP_STREAM_RESET', /77/),
    );
    expect(connection.isOpen).toBe(true);
  });

  test('a stream without a listener for errors does not bring the process down', async () => {
    let there: Stream | undefined;
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => {
        there = stream;
        stream.on('message', () => {});
      }),
    );
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.send('x');
    await stream.flush();
    stream.reset(3);
    if (there !== undefined) await next(there, 'close');
  });

  test('the end of the connection', async () => {
    const listener = await serve(echo);
    const accepted = next<Connection>(listener, 'connection');
    const connection = await join(listener);
    const stream = connection.openStream();
    stream.send('x');
    (await accepted).destroy(9, 'out of order');
    expect(await connection.closed).toEqual(jspError('ERR_JSP_CLOSED_BY_PEER', /code 9: out of order/));
    expect(connection.isOpen).toBe(false);
    expect(() => connection.openStream()).toThrow(jspError('ERR_JSP_CLOSED_BY_PEER', /code 9/));
    expect(() => stream.send('y')).toThrow(jspError('ERR_JSP_CLOSED_BY_PEER', /code 9/));
    await connection.close();
    connection.destroy();
  });
});

describe('the reason of a close becomes', () => {
  const by = (reason: Partial<CloseReason>): CloseReason => ({
    by: 'peer',
    scope: 'transport',
    code: 0,
    reason: '',
    timeout: 'none',
    incomplete: false,
    ...reason,
  });

  test.each([
    [
      by({ code: CloseCode.IDENTITY_MISMATCH, by: 'local' }),
      'ERR_JSP_IDENTITY_MISMATCH',
      /does not have the pinned identity/,
    ],
    [
      by({ code: CloseCode.FLOW_CONTROL_ERROR, by: 'local' }),
      'ERR_JSP_PROTOCOL',
      /the peer broke the protocol: FLOW_CONTROL_ERROR/,
    ],
    [
      by({ code: CloseCode.PROTOCOL_VIOLATION, reason: 'oh no' }),
      'ERR_JSP_PROTOCOL',
      /peer closed the connection: PROTOCOL_VIOLATION, oh no/,
    ],
    [by({ code: 0x77 }), 'ERR_JSP_PROTOCOL', /0x77/],
    [by({ code: CloseCode.SHUTTING_DOWN }), 'ERR_JSP_SERVER_CLOSING', /being closed/],
    [by({ code: CloseCode.CONNECTION_REFUSED }), 'ERR_JSP_SERVER_FULL', /no room/],
    [by({ by: 'reset' }), 'ERR_JSP_STATELESS_RESET', /connect again/],
    [
      by({ scope: 'application', code: 3, reason: 'why' }),
      'ERR_JSP_CLOSED_BY_PEER',
      /application code 3: why/,
    ],
    [by({ by: 'timeout', timeout: 'handshake' }), 'ERR_JSP_HANDSHAKE_TIMEOUT', /handshake timeout/],
    [by({ by: 'timeout', timeout: 'heartbeat' }), 'ERR_JSP_HEARTBEAT_TIMEOUT', /heartbeat/],
    [by({ by: 'timeout', timeout: 'idle' }), 'ERR_JSP_IDLE_TIMEOUT', /idle/],
  ] as const)('an error that says so: %j', (reason, code, message) => {
    expect(closeError(reason)).toEqual(jspError(code, message));
  });

  test.each([
    by({}),
    by({ scope: 'application' }),
    by({ scope: 'application', by: 'local', code: 5 }),
    by({ by: 'local' }),
  ])('no error: %j', (reason) => {
    expect(closeError(reason)).toBeNull();
  });
});

describe('a client that takes less than a server says', () => {
  test('ends the stream on which it was asked to take more, not the server [STR-36]', async () => {
    const errors: unknown[] = [];
    const listener = await serve((connection) => {
      connection.on('stream', (stream) => {
        stream.on('error', (error) => errors.push(error));
        stream.on('message', (message) => stream.send(message));
      });
    });
    const small = await join(listener, { messageBytesMax: 1 });
    const asked = small.openStream();
    const told = next(asked, 'error');
    asked.send('hello');
    expect(await told).toMatchObject({ code: 'ERR_JSP_STREAM_RESET' });
    expect(errors).toMatchObject([{ code: 'ERR_JSP_MESSAGE_TOO_LARGE' }]);
    // The connection, and others, go on.
    const again = small.openStream();
    again.send('x');
    expect(String((await take(again, 1))[0])).toBe('x');
    const other = (await join(listener)).openStream();
    other.send('hello');
    expect(String((await take(other, 1))[0])).toBe('hello');
  });
});
