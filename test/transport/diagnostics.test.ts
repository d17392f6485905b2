import { AsyncLocalStorage } from 'node:async_hooks';
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { readFileSync } from 'node:fs';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connect, type DiagnosticsMessages, generateIdentity } from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';
import { bytesOf } from '../protocol/connection/pair.ts';
import { textOf } from '../structure/project.ts';
import { labPair } from './lab-pair.ts';
import { next } from './served.ts';
import { catchUncaught } from './uncaught.ts';

const NAMES = [
  ...(textOf('src/transport/diagnostics-messages.ts') ?? '').matchAll(/^ {2}'(jetstream-proto:[\w:-]+)'/gm),
].map(([, name]) => name) as (keyof DiagnosticsMessages)[];

type Told = {
  [Name in keyof DiagnosticsMessages]: { name: Name; message: DiagnosticsMessages[Name] };
}[keyof DiagnosticsMessages];

/** All that is published from now on, until the test is over. */
function hear(names: readonly string[] = NAMES): Told[] {
  const told: Told[] = [];
  for (const name of names) {
    const listener = (message: unknown) => told.push({ name, message } as Told);
    subscribe(name, listener);
    onTestFinished(() => void unsubscribe(name, listener));
  }
  return told;
}

/** A connection with a stream, from beginning to end, over a path that becomes bad. */
async function live() {
  const { accepted, client, lab, listener } = await labPair(
    { delayMs: 20 },
    { mtu: 1_400, alerts: { windowMs: 1_000 } },
  );
  accepted.on('stream', (stream) => stream.on('message', () => {}));
  lab.network.connect('client', 'server', { delayMs: 20, loss: 0.3, mtu: 1_250 });
  const stream = client.openStream();
  for (let i = 0; i < 50; i++) stream.send(bytesOf(3_000, i));
  await lab.settle(stream.flush());
  lab.network.connect('client', 'server', { delayMs: 20, loss: 0, mtu: 65_535 });
  stream.end();
  await lab.run(1_000);
  const metrics = client.metrics();
  await lab.settle(client.close());
  await lab.settle(listener.close());
  return { accepted, client, lab, listener, metrics, stream };
}

describe('channels of node:diagnostics_channel [CON-72]', () => {
  test('tell the life of listeners, connections and streams', async () => {
    const told = hear();
    const { accepted, client, listener, stream } = await live();
    // By identity: to compare or print a connection takes for ever.
    const of = <Name extends keyof DiagnosticsMessages>(name: Name) =>
      told.filter((each) => each.name === name).map(({ message }) => message as DiagnosticsMessages[Name]);
    expect(of('jetstream-proto:listener:open').map((message) => message.listener === listener)).toEqual([
      true,
    ]);
    expect(of('jetstream-proto:listener:close').map((message) => message.listener === listener)).toEqual([
      true,
    ]);
    const opened = of('jetstream-proto:connection:open');
    expect(opened.map(({ connection }) => connection.role).sort()).toEqual(['client', 'server']);
    for (const { handshakeMs } of opened) expect(handshakeMs).toBeGreaterThan(30);
    const closed = of('jetstream-proto:connection:close');
    expect(closed.map(({ error }) => error)).toEqual([null, null]);
    for (const one of [accepted, client])
      expect(closed.some(({ connection }) => connection === one)).toBe(true);
    const streams = of('jetstream-proto:stream:open');
    expect(streams.map(({ openedBy }) => openedBy)).toEqual(['here', 'peer']);
    expect(streams[0].stream === stream && streams[0].connection === client).toBe(true);
    expect(streams[1].connection === accepted).toBe(true);
    const ended = of('jetstream-proto:stream:close');
    expect(ended.map(({ error }) => error)).toEqual([null, null]);
    expect(ended.some((message) => message.stream === stream && message.connection === client)).toBe(true);
    const sizes = of('jetstream-proto:connection:mtu').filter(({ connection }) => connection === client);
    expect(sizes[0]).toMatchObject({ mtu: 1_200, previous: 1_400 });
    const alerts = of('jetstream-proto:connection:alert').filter(({ connection }) => connection === client);
    expect(alerts.map(({ alert }) => alert.kind)).toContain('highLoss');
  });

  test('tell of a connection that did not come to be, and of streams that wait', async () => {
    const told = hear();
    const lab = new Lab({ seed: 3 });
    const socket = lab.socket({ host: 'client', port: 1, connectTo: { host: 'nobody', port: 4_577 } });
    const { clock, random } = lab;
    const url = `jsp://${Buffer.from(generateIdentity().fingerprint).toString('base64url')}@nobody:4577`;
    const failing = connect(url, { socket, clock, random, handshakeTimeoutMs: 500 });
    await expect(lab.settle(failing)).rejects.toMatchObject({ code: 'ERR_JSP_HANDSHAKE_TIMEOUT' });
    expect(told.map(({ name }) => name)).toEqual(['jetstream-proto:connection:failed']);
    const { remoteHost, remotePort, error } = told[0]
      .message as DiagnosticsMessages['jetstream-proto:connection:failed'];
    expect([remoteHost, remotePort, error.code]).toEqual(['nobody', 4_577, 'ERR_JSP_HANDSHAKE_TIMEOUT']);
    const before = await labPair();
    const ticket = await before.lab.settle(next<Uint8Array>(before.client as never, 'ticket'));
    const { username } = new URL(before.listener.url);
    for (const end of ['timeout', 'close', 'abort']) {
      told.length = 0;
      const ender = new AbortController();
      const early = await connect(`jsp://${username}@nobody:4577`, {
        ...{ clock: before.lab.clock, random: before.lab.random, signal: ender.signal },
        ...{ ticket, earlyData: true, handshakeTimeoutMs: 500 },
        socket: before.lab.socket({ host: end, port: 1, connectTo: { host: 'nobody', port: 4_577 } }),
      });
      expect(early.earlyData).toBe('pending');
      if (end === 'close') early.destroy();
      if (end === 'abort') ender.abort();
      const error = await before.lab.settle(early.closed);
      const failed = { remoteHost: 'nobody', remotePort: 4_577, error };
      const isTold = end === 'timeout';
      expect(told.map(({ message }) => message)).toEqual(isTold ? [failed] : []);
      expect(error?.code).toBe(isTold ? 'ERR_JSP_HANDSHAKE_TIMEOUT' : undefined);
    }
    const pair = await labPair({}, { streamsMax: 1 });
    pair.client.on('streamsBlocked', () => {});
    for (let i = 0; i < 3; i++) pair.client.openStream().send('x');
    await pair.lab.run(6_000);
    const blocked = told.find(({ name }) => name === 'jetstream-proto:connection:streams-blocked')?.message;
    const { connection, waiting } =
      blocked as DiagnosticsMessages['jetstream-proto:connection:streams-blocked'];
    expect([connection === pair.client, waiting]).toEqual([true, 2]);
  });

  test('hurt nobody when a subscriber throws: each comes out by itself', async () => {
    const uncaught = catchUncaught();
    for (const name of NAMES) {
      const thrower = () => {
        throw new Error(name);
      };
      subscribe(name, thrower);
      onTestFinished(() => void unsubscribe(name, thrower));
    }
    const told = hear();
    const { client, metrics } = await live();
    expect(client.isOpen).toBe(false);
    expect(metrics.messagesSent).toBe(50);
    await new Promise(setImmediate);
    expect(uncaught).toHaveLength(told.length);
    expect(new Set(uncaught.map((error) => (error as Error).message))).toEqual(
      new Set(told.map(({ name }) => name)),
    );
  });

  test('have subscribers run in the context of whoever listens or connects [CON-31]', async () => {
    const where = new AsyncLocalStorage<string>();
    const seen = new Set<string | undefined>();
    const listener = () => void seen.add(where.getStore());
    subscribe('jetstream-proto:connection:close', listener);
    onTestFinished(() => void unsubscribe('jetstream-proto:connection:close', listener));
    await where.run('mine', live);
    expect([...seen]).toEqual(['mine']);
  });

  test('are all there, by their names, and cost nothing where nobody listens', () => {
    expect(NAMES).toHaveLength(10);
    for (const name of NAMES) expect(channel(name).hasSubscribers).toBe(false);
  });

  test('are on the page docs/diagnostics.md, whose example runs as it stands', async () => {
    const page = readFileSync(new URL('../../docs/diagnostics.md', import.meta.url), 'utf8');
    for (const name of NAMES) expect(page).toContain(`| \`${name}\` |`);
    const lines = /\n\n((?: {4}.*\n|\n)+)/.exec(page.slice(page.indexOf('## An example')))?.[1] ?? '';
    const program = lines.replace(/^ {4}/gm, '').replace(/^import .*\n/gm, '');
    const spans: { name: string; attributes: object; isOver: boolean }[] = [];
    const tracer = {
      startSpan(name: string, { attributes }: { attributes: object }) {
        const span = { name, attributes, isOver: false };
        spans.push(span);
        return {
          addEvent: () => {},
          recordException: () => {},
          setAttributes: (more: object) => void Object.assign(span.attributes, more),
          end: () => {
            span.isOver = true;
          },
        };
      },
    };
    const subscriptions: [string, (message: unknown) => void][] = [];
    const run = new Function('subscribe', 'trace', program);
    run(
      (name: string, listener: (message: unknown) => void) => {
        subscribe(name, listener);
        subscriptions.push([name, listener]);
      },
      { getTracer: () => tracer },
    );
    onTestFinished(() => {
      for (const [name, listener] of subscriptions) unsubscribe(name, listener);
    });
    await live();
    expect(spans).toHaveLength(2);
    for (const span of spans)
      expect(span).toMatchObject({ isOver: true, attributes: { 'jsp.messages_lost': 0 } });
  });
});
