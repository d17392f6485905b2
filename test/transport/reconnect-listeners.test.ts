import { describe, expect, test } from 'vitest';
import type { Outcome, ReconnectingConnection, ReopeningStream } from '../../src/index.ts';
import type { ReconnectOptions, UndeliveredMessage } from '../../src/transport/reconnect.ts';
import { LastingLab } from './lasting-lab.ts';
import { next } from './served.ts';
import { catchUncaught } from './uncaught.ts';

interface Joined {
  readonly world: LastingLab;
  readonly connection: ReconnectingConnection;
  readonly stream: ReopeningStream;
}

/** A client with a stream on which one message was acknowledged. */
async function joined(reconnect: ReconnectOptions = {}): Promise<Joined> {
  const world = new LastingLab();
  await world.start('a');
  const connection = await world.join(['a'], reconnect);
  const stream = connection.openStream({ label: 'x', reopen: true });
  stream.send('first');
  await world.lab.settle(stream.flush());
  return { world, connection, stream };
}

/** The same, whose server is gone. */
async function offline(): Promise<Joined> {
  const at = await joined();
  at.world.kill('a');
  at.world.lab.network.cut('client');
  await at.world.lab.run(60_000);
  expect(at.connection.state).toBe('offline');
  return at;
}

async function backAgain({ world, connection }: Joined, messageBytesMax = 1_048_576): Promise<void> {
  world.lab.network.mend('client');
  const reconnected = next(connection as never, 'reconnected');
  await world.start('a', { messageBytesMax });
  await world.lab.settle(reconnected);
}

describe('a connection that comes back, whose application', () => {
  test('throws when it is asked whether an error is final, goes on, and the throw comes out by itself [CON-30]', async () => {
    const uncaught = catchUncaught();
    const asked: string[] = [];
    const isFinal = ({ code }: { code: string }): boolean => {
      asked.push(code);
      throw new Error(`of the application ${asked.length}`);
    };
    const at = await joined({ isFinal });
    const { world, connection } = at;
    world.lab.network.cut('client');
    await world.lab.run(60_000);
    expect(connection.state).toBe('offline');
    world.lab.network.mend('client');
    await world.lab.settle(next(connection as never, 'reconnected'));
    expect(new Set(asked)).toEqual(new Set(['ERR_JSP_HEARTBEAT_TIMEOUT', 'ERR_JSP_HANDSHAKE_TIMEOUT']));
    expect(uncaught.map((error) => (error as Error).message)).toEqual(
      asked.map((_, i) => `of the application ${i + 1}`),
    );
    await world.lab.settle(connection.close());
  });

  test.each(['an end', 'an attempt'])(
    'ends it when it is asked whether the error of %s is final, is obeyed',
    async (what) => {
      let isDue = what === 'an end';
      const isFinal = (): boolean => {
        if (isDue) at.connection.destroy();
        return false;
      };
      const at = await joined({ isFinal });
      const { world, connection } = at;
      let closes = 0;
      connection.on('close', () => closes++);
      world.lab.network.cut('client');
      connection.once('reconnecting', () => {
        isDue = true;
      });
      await world.lab.run(60_000);
      world.lab.network.mend('client');
      await world.lab.run(60_000);
      expect([connection.state, closes, connection.metrics().connections]).toEqual(['closed', 1, 1]);
    },
  );

  test('ends it when it hears that another connection is due, gets none', async () => {
    const { world, connection } = await joined();
    let dialed = 0;
    world.onDialed = () => dialed++;
    connection.on('reconnecting', () => connection.destroy());
    world.lab.network.cut('client');
    world.clientHost = 'wifi';
    world.addresses.look();
    world.lab.network.mend('client');
    await world.lab.run(5_000);
    expect([connection.state, dialed]).toEqual(['closed', 0]);
  });

  test('closes it with a signal that has fired before, has it as it was', async () => {
    const { world, connection, stream } = await joined();
    const refused = expect(connection.close({ signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
    await world.lab.settle(refused);
    expect(connection.isOpen).toBe(true);
    const reconnected = next(connection as never, 'reconnected');
    world.accepted[0].destroy(1);
    await world.lab.settle(reconnected);
    stream.send('second');
    await world.lab.settle(stream.flush());
    expect(world.texts('x')).toEqual(['first', 'second']);
    await world.lab.settle(connection.close());
  });

  test('closes it when it hears of the connection, has sent what waited [CON-105]', async () => {
    const at = await offline();
    const { world, connection, stream } = at;
    stream.send('waited');
    const tracked = stream.sendTracked('waited, too');
    const closed = new Promise<void>((resolve) =>
      connection.on('reconnected', () => {
        stream.send('ahead');
        resolve(connection.close());
      }),
    );
    const undelivered: UndeliveredMessage[] = [];
    connection.on('close', (_, messages) => undelivered.push(...messages));
    await backAgain(at);
    await world.lab.settle(closed);
    expect(world.texts('x')).toEqual(['first', 'ahead', 'waited', 'waited, too']);
    expect([await tracked, undelivered]).toEqual(['acknowledged', []]);
  });

  test('closes it while more waits than the queue takes, hears that something is missing, and has it handed back', async () => {
    const at = await offline();
    const { world, connection, stream } = at;
    for (let i = 0; i < 40; i++) stream.send(MEBIBYTE);
    const closed = new Promise((resolve) =>
      connection.on('reconnected', () => {
        for (let i = 0; i < 40; i++) stream.send(MEBIBYTE);
        resolve(connection.close({ stallMs: 1_000 }).catch(({ code }) => code));
      }),
    );
    let undelivered = 0;
    connection.on('close', (_, messages) => {
      undelivered = messages.length;
    });
    await backAgain(at, 1_048_576);
    expect(await world.lab.settle(closed, 60_000)).toBe('ERR_JSP_CLOSE_INCOMPLETE');
    expect(world.texts('x').length + undelivered).toBe(81);
    expect(undelivered).toBeGreaterThan(0);
  });

  test.each(['resets the stream', 'destroys the connection'])(
    '%s when it hears of a message that is too large, gets each message back once and no rejection',
    async (what) => {
      const rejected: unknown[] = [];
      const onRejected = (error: unknown): unknown => rejected.push(error);
      process.on('unhandledRejection', onRejected);
      const at = await offline();
      const { world, connection, stream } = at;
      stream.on('unsent', () => (what === 'resets the stream' ? stream.reset() : connection.destroy()));
      const undelivered: string[] = [];
      connection.on('close', (_, messages) => undelivered.push(...messages.map(({ data }) => `${data}`)));
      stream.send('before');
      stream.send(Buffer.alloc(1_001));
      const tracked = stream.sendTracked('tracked');
      stream.send('behind');
      await backAgain(at, 1_000);
      await world.lab.run(1_000);
      expect([await tracked, stream.queuedBytes]).toEqual(['dropped', 0]);
      connection.destroy();
      await world.lab.run(1_000);
      process.off('unhandledRejection', onRejected);
      const handedBack = ['before', 'tracked', 'behind'];
      expect(undelivered).toEqual(what === 'resets the stream' ? [] : handedBack);
      expect(rejected).toEqual([]);
    },
  );

  test('sends much when it hears of the connection, has what waited and is tracked wait for room', async () => {
    const at = await offline();
    const { world, connection, stream } = at;
    const outcomes: Promise<Outcome>[] = [];
    for (let i = 0; i < 40; i++) outcomes.push(stream.sendTracked(MEBIBYTE));
    connection.on('reconnected', () => {
      for (let i = 0; i < 40; i++) stream.send(MEBIBYTE);
    });
    await backAgain(at);
    expect(new Set(await world.lab.settle(Promise.all(outcomes), 60_000))).toEqual(new Set(['acknowledged']));
    expect(world.texts('x')).toHaveLength(81);
    await world.lab.settle(connection.close());
  });

  test('pauses its stream at each message, gets none until it goes on, also of connections that are over', async () => {
    const world = new LastingLab();
    const { lab } = world;
    world.onStream = (stream) => {
      for (let i = 0; i < 5; i++) stream.send(`${world.accepted.length}.${i}`);
    };
    await world.start('a');
    const connection = await world.join(['a']);
    const stream = connection.openStream({ label: 'x', reopen: true });
    const got: string[] = [];
    stream.on('message', (message) => {
      got.push(`${message}`);
      stream.pause();
    });
    for (let n = 1; n <= 2; n++) {
      stream.send('go');
      await lab.run(100);
      world.accepted[n - 1].destroy(1);
      await lab.settle(next(connection as never, 'reconnected'));
    }
    stream.send('go');
    await lab.run(100);
    const all = [1, 2, 3].flatMap((n) => Array.from({ length: 5 }, (_, i) => `${n}.${i}`));
    for (let n = 1; n <= all.length; n++) {
      expect(got).toEqual(all.slice(0, n));
      stream.resume();
      await lab.run(100);
    }
    await lab.settle(connection.close());
  });
});

const MEBIBYTE = Buffer.alloc(1_048_576);
