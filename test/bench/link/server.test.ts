import { describe, expect, test } from 'vitest';
import { LABELS, type Plan } from '../../../src/bench/link/control.ts';
import { BenchRefusal, BenchSession, NotABenchServer } from '../../../src/bench/link/session.ts';
import { type Connection, connect, generateIdentity, type JspError, listen } from '../../../src/index.ts';
import { type BenchLab, benchLab, SERVER } from './lab-bench.ts';

const PLAN: Plan = {
  direction: 'down',
  delivery: 'reliable',
  bitsPerSecond: 0,
  streams: 1,
  messageBytes: 8_000,
  congestion: 'cubic',
  protection: 'off',
  clockAheadMicros: 0,
};
const LINK = { delayMs: 5, bitsPerSecond: 2e6, queueBytesMax: 20_000 };

function open({ lab, options }: BenchLab): Promise<BenchSession> {
  return lab.settle(BenchSession.open(options.url, { ...options, system: options.system ?? raise() }));
}

function raise(): never {
  throw new Error('the lab has a system');
}

function dial({ lab, options }: BenchLab): Promise<Connection> {
  return lab.settle(connect(options.url, options.transport?.()));
}

/** What ends a connection, once it ends. */
async function endOf({ lab }: BenchLab, connection: Connection): Promise<JspError | null> {
  return lab.settle(connection.closed);
}

describe('a server of measurements', () => {
  test('takes one client at a time: another is told to wait, and served when the first has gone', async () => {
    const bench = await benchLab(LINK, { sessionSeconds: 60 });
    const first = await open(bench);
    const refused = await open(bench).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BenchRefusal);
    expect((refused as BenchRefusal).refusal).toMatchObject({ code: 'busy', retrySeconds: 60 });
    await bench.lab.settle(first.close());
    await bench.lab.run(100);
    expect((await open(bench)).connection.isOpen).toBe(true);
  });

  test('sends no longer than was asked, when the client never says stop', async () => {
    const bench = await benchLab(LINK);
    const session = await open(bench);
    const run = await bench.lab.settle(session.openRun(PLAN, 1_200));
    await bench.lab.settle(run.ask('start', { secondsMax: 0.5 }));
    await bench.lab.run(2_000);
    const { messageBytesReceived } = run.end.sample();
    expect(messageBytesReceived).toBeGreaterThan(0.5 * 0.15e6);
    expect(messageBytesReceived).toBeLessThan(0.5 * 0.25e6 + 40_000); // what waits in the queue of the link
    await bench.lab.run(2_000);
    expect(run.end.sample().messageBytesReceived).toBe(messageBytesReceived);
  });

  test('ends a client that measures for longer than it may, or sends and receives more', async () => {
    for (const bounds of [{ sessionSeconds: 1 }, { sessionBytes: 100_000 }]) {
      const bench = await benchLab(LINK, bounds);
      const session = await open(bench);
      const run = await bench.lab.settle(session.openRun(PLAN, 1_200));
      await bench.lab.settle(run.ask('start', { secondsMax: 60 }));
      const error = await endOf(bench, session.connection);
      expect(error?.reason).toMatch(/a client may/);
      expect((await endOf(bench, run.connection)) === null || !run.connection.isOpen).toBe(true);
    }
  });

  test.each([LABELS.control, LABELS.join])(
    'ends what opens a stream %s, and says nothing on it',
    async (label) => {
      const bench = await benchLab(LINK);
      const first = await open(bench);
      const silent = await dial(bench);
      silent.openStream({ label }).end();
      expect((await endOf(bench, silent))?.reason).toContain('only measures links');
      expect(first.connection.isOpen).toBe(true);
    },
  );

  test('ends what never says what it is for, or is for something else', async () => {
    const bench = await benchLab(LINK);
    const silent = await dial(bench);
    expect((await endOf(bench, silent))?.reason).toContain('only measures links');
    const other = await dial(bench);
    other.openStream({ label: 'chat' }).send('hello');
    expect((await endOf(bench, other))?.reason).toContain('only measures links');
  });

  test('goes on when its answer finds no stream any more, and takes the next client', async () => {
    let answerRoute: (mtu: number) => void = () => {};
    const bench = await benchLab(LINK, { routeMtu: () => new Promise((resolve) => (answerRoute = resolve)) });
    const client = await dial(bench);
    const control = client.openStream({ label: LABELS.control });
    control.on('error', () => {});
    const token = new Promise<string>((resolve) =>
      control.once('message', (answer) => resolve(JSON.parse(answer.toString()).ok.token)),
    );
    control.send(JSON.stringify({ id: 1, ask: 'hello', version: 1, nonce: 'x' }));
    control.send(JSON.stringify({ id: 2, ask: 'open', run: 1, plan: PLAN }));
    const data = await dial(bench);
    data
      .openStream({ label: LABELS.join })
      .send(JSON.stringify({ token: await bench.lab.settle(token), run: 1 }));
    await bench.lab.run(100);
    control.send(JSON.stringify({ id: 3, ask: 'finish', run: 1 }));
    await bench.lab.run(100);
    control.reset(1);
    await bench.lab.run(100);
    answerRoute(1_500);
    expect(await endOf(bench, client)).not.toBe(null);
    expect((await open(bench)).connection.isOpen).toBe(true);
  });

  test.each([
    ['measures nothing', []],
    ['has opened a run', [{ id: 2, ask: 'open', run: 1, plan: PLAN }]],
  ])('gives the place of a client to the next that %s and asks for nothing more', async (_, requests) => {
    const bench = await benchLab(LINK);
    const session = await open(bench);
    for (const { ask, ...body } of requests)
      await bench.lab.settle(session.ask(ask as 'open', body as { run: number; plan: Plan }));
    await bench.lab.run(59_000);
    expect(session.connection.isOpen).toBe(true);
    expect((await endOf(bench, session.connection))?.reason).toContain('others wait');
    expect((await open(bench)).connection.isOpen).toBe(true);
  });

  test('lets a client measure for long that asks for nothing meanwhile', async () => {
    const bench = await benchLab(LINK);
    const session = await open(bench);
    const run = await bench.lab.settle(session.openRun({ ...PLAN, direction: 'up' }, 1_200));
    await bench.lab.settle(run.ask('start', { secondsMax: 120 }));
    await bench.lab.run(150_000);
    expect((await bench.lab.settle(run.ask('sample', {}))).messagesReceived).toBe(0);
  });

  test('takes no data connection without the token of the client that measures', async () => {
    const bench = await benchLab(LINK);
    const session = await open(bench);
    await bench.lab.settle(session.ask('open', { run: 1, plan: PLAN }));
    for (const join of [JSON.stringify({ token: 'guessed', run: 1 }), '{', 'x'.repeat(20_000)]) {
      const stranger = await dial(bench);
      stranger.openStream({ label: LABELS.join }).send(join);
      expect(await endOf(bench, stranger)).not.toBe(null);
    }
    expect(session.connection.isOpen).toBe(true);
  });

  test.each([
    ['what is no request', ['{"id":1}']],
    ['a request without an end', ['x'.repeat(20_000)]],
    [
      'requests without an end',
      Array.from({ length: 500 }, (_, id) => JSON.stringify({ id, ask: 'hello', version: 1, nonce: '' })),
    ],
  ])('ends a client that sends %s', async (_, messages) => {
    const bench = await benchLab(LINK);
    const client = await dial(bench);
    const stream = client.openStream({ label: LABELS.control });
    stream.on('error', () => {});
    for (const message of messages) stream.send(message);
    expect(await endOf(bench, client)).not.toBe(null);
    expect((await open(bench)).connection.isOpen).toBe(true);
  });

  test.each([
    ['of another version', 'hello', { version: 2, nonce: 'x' }, 'version'],
    ['for a run that is none', 'sample', { run: 7 }, 'unknown-run'],
    ['for a run that nothing has joined', 'start', { run: 1, secondsMax: 1 }, 'not-joined'],
  ] as const)('refuses a request %s, and goes on', async (_, ask, body, code) => {
    const bench = await benchLab(LINK);
    const session = await open(bench);
    await bench.lab.settle(session.ask('open', { run: 1, plan: PLAN }));
    const refused = await bench.lab.settle(
      session.ask(ask, body as never).catch((error: unknown) => error as BenchRefusal),
    );
    expect((refused as BenchRefusal).refusal).toMatchObject({ code });
    await bench.lab.settle(session.ask('open', { run: 2, plan: PLAN }));
  });
});

describe('a client of measurements', () => {
  test.each([
    ['closes', (connection: Connection) => connection.destroy(9, 'what is this')],
    ['resets the stream', (connection: Connection) => connection.on('stream', (stream) => stream.reset())],
    ['says nothing', (connection: Connection) => connection.on('stream', () => {})],
    [
      'says something else',
      (connection: Connection) => connection.on('stream', (stream) => stream.send('welcome')),
    ],
  ])('knows a server that is none when it %s', async (_, behave) => {
    const bench = await benchLab(LINK);
    const { lab, options } = bench;
    const socket = lab.socket({ host: SERVER, port: 5_000 });
    const other = await listen({
      identity: generateIdentity(),
      socket,
      clock: lab.clock,
      random: lab.random,
    });
    other.on('connection', (connection) => void behave(connection));
    const url = new URL(other.url);
    url.hostname = SERVER;
    const transport = () => ({
      ...options.transport?.(),
      socket: lab.socket({ host: '10.0.0.3', connectTo: { host: SERVER, port: 5_000 } }),
    });
    const opening = BenchSession.open(url.href, { system: options.system ?? raise(), transport });
    const failure = await lab.settle(opening.catch((error: unknown) => error));
    expect(failure).toBeInstanceOf(NotABenchServer);
  });
});
