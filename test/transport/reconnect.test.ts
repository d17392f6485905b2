import { describe, expect, test, vi } from 'vitest';
import { connect, generateIdentity, listen } from '../../src/index.ts';
import type { ReconnectAttempt, Reconnected, UndeliveredMessage } from '../../src/transport/reconnect.ts';
import { LastingLab } from './lasting-lab.ts';
import { next, serve, take } from './served.ts';

const OFFLINE = { code: 'ERR_JSP_OFFLINE' };

describe('a connection that comes back [CON-102]', () => {
  test('survives a server that was killed and started anew, and hands back what was not acknowledged [CON-104] [CON-105]', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a']);
    const stream = connection.openStream({ label: 'readings', reopen: true });
    const told: string[] = [];
    const handedBack: UndeliveredMessage[] = [];
    connection.on('reconnecting', ({ attempt, cause }) =>
      told.push(`reconnecting ${attempt} ${cause?.code}`),
    );
    connection.on('reconnected', ({ undelivered, attempts }) => {
      told.push(`reconnected ${attempts}`);
      handedBack.push(...undelivered);
      for (const { data } of undelivered) stream.send(data);
    });
    stream.send('one');
    await lab.settle(stream.flush());
    world.kill('a');
    stream.send('two');
    await lab.run(20);
    await world.start('a');
    stream.send('three');
    await lab.settle(next<Reconnected>(connection as never, 'reconnected'));
    expect(connection.state).toBe('online');
    expect(told[0]).toBe('reconnecting 1 ERR_JSP_STATELESS_RESET');
    expect(told.at(-1)).toBe(`reconnected ${told.length - 1}`);
    expect(handedBack.map(({ data, label, mayHaveArrived }) => [`${data}`, label, mayHaveArrived])).toEqual([
      ['two', 'readings', true],
      ['three', 'readings', true],
    ]);
    expect(handedBack.every((message) => message.stream === stream)).toBe(true);
    await lab.settle(stream.flush());
    expect(world.texts('readings')).toEqual(['one', 'two', 'three']);
    expect(connection.metrics()).toMatchObject({ state: 'online', connections: 2 });
    await lab.settle(connection.close());
  });

  test('keeps its process while it is away, unless it is not to, and no longer than it lives', async () => {
    const world = new LastingLab();
    await world.start('a');
    const connection = await world.join(['a']);
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const kept = [vi.getTimerCount()];
      world.kill('a');
      connection.openStream({ label: 'x', reopen: true }).send('x');
      await world.lab.settle(next(connection as never, 'reconnecting'));
      for (const act of [() => {}, () => connection.unref(), () => connection.ref()]) {
        act();
        kept.push(vi.getTimerCount());
      }
      connection.destroy();
      kept.push(vi.getTimerCount());
      expect(kept).toEqual([0, 1, 0, 1, 0]);
    } finally {
      vi.useRealTimers();
    }
  });

  test('tells of each message that waited and is too large for the server that came back, and sends the others [CON-105]', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a']);
    const stream = connection.openStream({ label: 'readings', reopen: true });
    const unheard = connection.openStream({ label: 'unheard', reopen: true });
    await lab.settle(stream.flush());
    const unsent: string[] = [];
    stream.on('unsent', (error, data) => {
      unsent.push(`${error.code} ${data.length}`);
      stream.send('smaller');
    });
    const failed = next<Error>(unheard as never, 'error');
    world.kill('a');
    lab.network.cut('client');
    await lab.run(60_000);
    expect(connection.state).toBe('offline');
    const large = Buffer.alloc(1_001);
    stream.send('one');
    stream.send(large);
    stream.send('two');
    const tracked = [stream.sendTracked(large), stream.sendTracked('three')];
    const rejected = expect(tracked[0]).rejects.toMatchObject({ code: 'ERR_JSP_MESSAGE_TOO_LARGE' });
    unheard.send(large);
    const dropped = unheard.sendTracked('behind it');
    lab.network.mend('client');
    await world.start('a', { messageBytesMax: 1_000 });
    await lab.settle(next(connection as never, 'reconnected'));
    await lab.settle(rejected);
    expect(await lab.settle(tracked[1])).toBe('acknowledged');
    await lab.settle(stream.flush());
    expect(unsent).toEqual(['ERR_JSP_MESSAGE_TOO_LARGE 1001']);
    expect(world.texts('readings')).toEqual(['one', 'two', 'three', 'smaller']);
    expect(stream.messageBytesMax).toBe(1_000);
    // Where nobody listens the stream is over with that, and whoever waits hears of it.
    expect(await lab.settle(failed)).toMatchObject({ code: 'ERR_JSP_MESSAGE_TOO_LARGE' });
    expect(await lab.settle(dropped)).toBe('dropped');
    expect(connection.metrics()).toMatchObject({ state: 'online', connections: 2 });
    await lab.settle(connection.close());
  });

  test('waits with full jitter, ever longer while nobody answers, and is back when there is a way again', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 100, backoffMaxMs: 3_000 });
    const waits: ReconnectAttempt[] = [];
    connection.on('reconnecting', (wait) => waits.push(wait));
    lab.network.cut('client');
    await lab.run(200_000);
    expect(connection.state).toBe('offline');
    expect(connection.connection).toBeNull();
    expect(waits.length).toBeGreaterThan(8);
    expect(waits[0].cause?.code).toBe('ERR_JSP_HEARTBEAT_TIMEOUT');
    expect(waits[1].cause?.code).toBe('ERR_JSP_HANDSHAKE_TIMEOUT');
    for (const [i, { attempt, delayMs }] of waits.entries()) {
      expect(attempt).toBe(i + 1);
      expect(delayMs).toBeLessThanOrEqual(Math.min(3_000, 100 * 2 ** i));
    }
    const shares = waits.map(({ delayMs }, i) => delayMs / Math.min(3_000, 100 * 2 ** i));
    expect(Math.min(...shares)).toBeLessThan(0.4);
    expect(Math.max(...shares)).toBeGreaterThan(0.6);
    lab.network.mend('client');
    await lab.settle(next(connection as never, 'reconnected'));
    expect(connection.metrics().failedAttempts).toBe(waits.length - 1);
    await lab.settle(connection.close());
  });

  test('tries at once when its machine wakes up', async () => {
    const world = new LastingLab();
    const { lab } = world;
    const clock = lab.machineClock();
    await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 600_000, backoffMaxMs: 600_000 }, clock);
    await lab.run(50);
    world.accepted[0].destroy(7);
    await lab.settle(next(connection as never, 'reconnecting'));
    lab.sleep(clock, 100, 'client');
    await lab.run(3_000); // its first packet comes before the network is back
    expect(connection.state).toBe('online');
    await lab.settle(connection.close());
  });

  test('is made anew from where its machine is, as soon as the address that it came from is gone [CON-110]', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a']);
    const stream = connection.openStream({ label: 'x', reopen: true });
    stream.send('by cable');
    await lab.settle(stream.flush());
    lab.network.cut('client');
    world.clientHost = 'wifi';
    const missing: string[] = [];
    connection.on('undelivered', (messages) => missing.push(...messages.map(({ data }) => `${data}`)));
    stream.send('into the void');
    world.addresses.look();
    expect(connection.state).toBe('moving');
    await lab.settle(next(connection as never, 'reconnected'), 1_000);
    stream.send('by air');
    await lab.settle(stream.flush());
    await lab.run(3_000);
    expect([world.texts('x'), missing]).toEqual([['by cable', 'by air'], ['into the void']]);
    await lab.settle(connection.close());
  });

  test('comes back from any end, also one that the server wanted, but for those that are final [CON-103]', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a'], { isFinal: ({ applicationCode }) => applicationCode === 403 });
    await lab.run(100);
    for (const end of [
      () => world.accepted.at(-1)?.close(),
      () => world.accepted.at(-1)?.destroy(1_001, 'later'),
    ]) {
      void end();
      await lab.settle(next(connection as never, 'reconnected'));
      await lab.run(100);
    }
    world.accepted.at(-1)?.destroy(403, 'not you');
    expect(await lab.settle(connection.closed)).toMatchObject({ applicationCode: 403, reason: 'not you' });
    expect(connection.state).toBe('closed');
    expect(() => connection.openStream()).toThrow(expect.objectContaining({ code: 'ERR_JSP_CLOSED' }));
  });

  test('takes one that ends as it begins for an attempt that failed', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 10, backoffMaxMs: 10, attemptsMax: 3 });
    world.onDialed = (each) => each.destroy();
    await lab.run(50);
    world.accepted[0].destroy(1);
    expect(await lab.settle(connection.closed)).toMatchObject({ code: 'ERR_JSP_CLOSED' });
    expect(connection.metrics()).toMatchObject({ state: 'closed', failedAttempts: 3, connection: null });
    await expect(world.join(['a'])).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  });

  test('gives up after as many failures in a row as it may have, with what was never delivered', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a'], { attemptsMax: 2, backoffMinMs: 10, backoffMaxMs: 10 });
    const stream = connection.openStream({ label: 'x', reopen: true });
    const ends: unknown[] = [];
    stream.on('error', ({ code }) => ends.push(code)).on('close', () => ends.push('close'));
    connection.on('close', (error, undelivered) =>
      ends.push(
        error?.code,
        undelivered.map(({ data, mayHaveArrived }) => `${data} ${mayHaveArrived}`),
      ),
    );
    world.kill('a');
    stream.send('sent');
    await lab.settle(next(connection as never, 'reconnecting'));
    stream.send('held');
    await lab.settle(connection.closed);
    expect(ends).toEqual([
      'ERR_JSP_HANDSHAKE_TIMEOUT',
      'close',
      'ERR_JSP_HANDSHAKE_TIMEOUT',
      ['sent true', 'held false'],
    ]);
    expect(() => stream.send('late')).toThrow(expect.objectContaining({ code: 'ERR_JSP_HANDSHAKE_TIMEOUT' }));
  });

  test('closes at once while it is away, and says when something is missing', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    for (const isHeld of [false, true]) {
      const connection = await world.join(['a'], { backoffMinMs: 60_000, backoffMaxMs: 60_000 });
      const stream = connection.openStream({ label: 'x', reopen: true });
      await lab.run(100);
      world.accepted.at(-1)?.destroy(1);
      await lab.settle(next(connection as never, 'reconnecting'));
      if (isHeld) stream.send('held');
      const closing = connection.close();
      if (isHeld) await expect(closing).rejects.toMatchObject({ code: 'ERR_JSP_CLOSE_INCOMPLETE' });
      else await closing;
      expect(await connection.closed).toBeNull();
    }
  });

  test('gives an attempt up that is under way when it is closed, and leaves nothing behind', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 0 });
    await lab.run(100);
    world.accepted[0].destroy(1);
    await lab.settle(next(connection as never, 'reconnecting'));
    await lab.run(8); // the hello is on its way
    connection.destroy();
    await lab.run(20_000);
    expect(connection.metrics().connections).toBe(1);
    expect(world.servers.get('a')?.listener.metrics().connectionsOpen).toBe(0);
  });

  test('comes back with the ticket that the server gave, to the same process, and without one to another [HS-32]', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 10, backoffMaxMs: 100 });
    const resumed: boolean[] = [];
    let tickets = 0;
    connection.on('reconnected', ({ isResumed }) => resumed.push(isResumed)).on('ticket', () => tickets++);
    for (let i = 0; i < 2; i++) {
      await lab.run(200);
      world.accepted.at(-1)?.destroy(1);
      await lab.settle(next(connection as never, 'reconnected'));
    }
    await lab.run(200);
    world.kill('a');
    await world.start('a');
    connection.openStream({ label: 'x' }).send('anybody there?');
    await lab.settle(next(connection as never, 'reconnected'));
    expect(resumed).toEqual([true, true, false]);
    expect(tickets).toBeGreaterThan(1);
    await lab.settle(connection.close());
  });

  test('costs no round trip with early data: what waited arrives with the first datagram [HS-34]', async () => {
    const world = new LastingLab(5, { delayMs: 50 });
    const { lab } = world;
    world.clientOptions = { earlyData: true };
    await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 1_000, backoffMaxMs: 1_000 });
    const stream = connection.openStream({ label: 'x', reopen: true, earlyData: true });
    await lab.run(500);
    world.accepted[0].destroy(1);
    await lab.settle(next(connection as never, 'reconnecting'));
    stream.send('held');
    const isResumed = (await lab.settle(next<Reconnected>(connection as never, 'reconnected'))).isResumed;
    const from = lab.now;
    while (world.got.length === 0 && lab.now < from + 1_000_000) await lab.run(1);
    expect(world.texts('x')).toEqual(['held']);
    expect([isResumed, (lab.now - from) / 1_000 < 60]).toEqual([true, true]);
    await lab.settle(stream.flush());
    expect(connection.connection?.earlyData).toBe('accepted');
    await lab.settle(connection.close());
  });

  test('tells the streams that the peer opens on each connection', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a']);
    const labels: string[] = [];
    await lab.run(50);
    world.accepted[0].openStream({ label: 'first' }).send('x');
    await lab.run(50); // nobody listens yet
    connection.on('stream', (stream) => labels.push(stream.label));
    await lab.run(1);
    world.accepted[0].destroy(1);
    await lab.settle(next(connection as never, 'reconnected'));
    await lab.run(50);
    world.accepted[1].openStream({ label: 'second' }).send('x');
    await lab.run(50);
    expect(labels).toEqual(['first', 'second']);
    await lab.settle(connection.close());
  });
});

describe('a stream that is opened again [CON-105]', () => {
  test('keeps what is sent meanwhile, and sends it behind what the application sends when it hears of the connection', async () => {
    const { world, lab, connection, stream } = await away();
    stream.send('held 1');
    stream.send('held 2', { lifetimeMs: 10 });
    stream.send('held 3', { lifetimeMs: 3_600_000 });
    stream.send('held 4', { delivery: 'bestEffort' });
    const outcome = stream.sendTracked('held 5');
    let flushed = false;
    const flushing = stream.flush().then(() => {
      flushed = true;
    });
    expect(() => connection.openStream()).toThrow(expect.objectContaining(OFFLINE));
    expect(stream.queuedBytes).toBeGreaterThan(20);
    connection.once('reconnected', () => void stream.send('first'));
    await lab.run(50);
    expect(flushed).toBe(false);
    await world.start('a');
    expect(await lab.settle(outcome)).toBe('acknowledged');
    await lab.settle(flushing);
    expect(world.texts('x')).toEqual(['before', 'first', 'held 1', 'held 3', 'held 5']);
    await lab.settle(connection.close());
  });

  test('takes no more than a stream does, says when it is enough, and when there is room again', async () => {
    const { world, lab, connection, stream } = await away();
    let drains = 0;
    stream.on('drain', () => drains++);
    expect(stream.send(Buffer.alloc(900_000))).toBe(true);
    expect(stream.send(Buffer.alloc(900_000))).toBe(false);
    expect(drains).toBe(0);
    await world.start('a');
    await lab.settle(next(connection as never, 'reconnected'));
    await lab.settle(stream.flush(), 600_000);
    expect(drains).toBe(1);
    expect(stream.send('room')).toBe(true);
    await lab.settle(connection.close());
    const full = await away();
    const fill = (): void => {
      for (let i = 0; i < 10; i++) full.stream.send(Buffer.alloc(10_000_000));
    };
    expect(fill).toThrow(expect.objectContaining({ code: 'ERR_JSP_QUEUE_FULL' }));
    expect(full.stream.queuedBytes).toBeGreaterThan(60_000_000);
    full.connection.destroy();
  });

  test('is over for good when either side ends or resets it', async () => {
    const world = new LastingLab();
    const { lab } = world;
    await world.start('a');
    const connection = await world.join(['a']);
    const ways = ['ended here', 'ended there', 'reset here', 'reset there'];
    const closed: string[] = [];
    world.onStream = (stream) => {
      if (stream.label === 'ended there') stream.end();
      if (stream.label === 'reset there') stream.reset(9);
    };
    for (const label of ways) {
      const stream = connection.openStream({ label, reopen: true });
      stream.on('error', ({ applicationCode }) => closed.push(`${label} ${applicationCode}`));
      stream.on('message', () => {}).on('close', () => closed.push(label));
      stream.send('x');
      if (label === 'ended here') stream.end();
      if (label === 'reset here') stream.reset(3);
    }
    const lasting = connection.openStream({ label: 'lasting', reopen: true });
    lasting.send('x');
    await lab.run(200);
    expect(closed.sort()).toEqual([
      'ended here',
      'ended there',
      'reset here',
      'reset there',
      'reset there 9',
    ]);
    world.accepted[0].destroy(1);
    await lab.settle(next(connection as never, 'reconnected'));
    lasting.send('y');
    await lab.settle(lasting.flush());
    expect(world.got.slice(-1)).toEqual([{ host: 'a', label: 'lasting', text: 'y' }]);
    await lab.settle(connection.close());
  });

  test('that was ended while it was away is opened once more for what waits, and then ends', async () => {
    const { world, lab, connection, stream } = await away();
    const ends: string[] = [];
    stream.on('close', () => ends.push('close'));
    stream.send('last words');
    stream.end();
    expect(() => stream.send('more')).toThrow(expect.objectContaining({ code: 'ERR_JSP_STREAM_CLOSED' }));
    let isEnded = false;
    world.onStream = (other) => other.on('end', () => (isEnded = true));
    await world.start('a');
    await lab.settle(next(connection as never, 'reconnected'));
    await lab.run(200);
    expect(world.texts('x')).toEqual(['before', 'last words']);
    expect([isEnded, ends]).toEqual([true, ['close']]);
    await lab.settle(connection.close());
  });

  test('is read over connections, what came on an old one first: by listeners, paused, and by iterations', async () => {
    for (const way of ['listener', 'paused', 'late listener', 'iteration', 'late iteration'] as const) {
      const world = new LastingLab();
      const { lab } = world;
      world.onStream = (stream) => {
        for (let i = 0; i < 100; i++) stream.send(`${world.accepted.length}.${i}`);
      };
      await world.start('a');
      const connection = await world.join(['a']);
      const stream = connection.openStream({ label: 'x', reopen: true });
      const got: string[] = [];
      const listen = (): void => void stream.on('message', (message) => got.push(`${message}`));
      const iterate = async (): Promise<void> => {
        for await (const message of stream) got.push(`${message}`);
      };
      let iterating = Promise.resolve();
      if (way === 'paused') stream.pause();
      if (way === 'listener' || way === 'paused') listen();
      if (way === 'iteration') iterating = iterate();
      stream.send('go');
      await lab.run(100);
      world.accepted[0].destroy(1);
      await lab.settle(next(connection as never, 'reconnected'));
      stream.send('go on');
      await lab.run(100);
      if (way === 'late listener') listen();
      if (way === 'late iteration') iterating = iterate();
      if (way === 'paused') stream.resume();
      await lab.run(100);
      expect([way, got]).toEqual([
        way,
        [1, 2].flatMap((n) => Array.from({ length: 100 }, (_, i) => `${n}.${i}`)),
      ]);
      expect(Reflect.get(stream, 'past')).toEqual([]); // of connections that are over nothing is kept
      await lab.settle(connection.close());
      await iterating;
    }
  });

  test('that is only written to outlives any number of connections; one that nobody reads ends when messages of 17 wait', async () => {
    const world = new LastingLab();
    const { lab } = world;
    world.onStream = (stream) => {
      if (stream.label === 'answered') stream.send('unread');
    };
    await world.start('a');
    const connection = await world.join(['a']);
    const silent = connection.openStream({ label: 'silent', reopen: true });
    const answered = connection.openStream({ label: 'answered', reopen: true });
    const told: string[] = [];
    silent.on('close', () => told.push('silent'));
    answered.on('error', ({ code }) => told.push(code));
    for (let n = 1; n <= 20; n++) {
      silent.send(`${n}`);
      if (told.length === 0) answered.send(`${n}`);
      await lab.run(100);
      world.clientHost = `network ${n}`;
      world.addresses.look();
      await lab.settle(next(connection as never, 'reconnected'));
      expect(told).toEqual(n < 17 ? [] : ['ERR_JSP_QUEUE_FULL']);
    }
    expect(() => answered.send('more')).toThrow(expect.objectContaining({ code: 'ERR_JSP_QUEUE_FULL' }));
    await lab.settle(silent.flush());
    expect(world.texts('silent')).toEqual(Array.from({ length: 20 }, (_, i) => `${i + 1}`));
    await lab.settle(connection.close());
  });

  test('needs a label, and options that a stream can have', async () => {
    const { lab, connection } = await away();
    const invalid = expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' });
    expect(() => connection.openStream({ reopen: true })).toThrow(invalid);
    expect(() => connection.openStream({ label: 'x', reopen: true, order: true } as never)).toThrow(invalid);
    await lab.settle(connection.close());
  });
});

describe('a client of a server that is replaced [CON-101]', () => {
  test('goes to the other server while its connection goes on, and nothing that it sent is lost', async () => {
    const world = new LastingLab();
    const { lab } = world;
    const { listener } = await world.start('a');
    await world.start('b');
    const connection = await world.join(['a']);
    const stream = connection.openStream({ label: 'x', reopen: true });
    const told: string[] = [];
    for (const name of ['goaway', 'reconnecting', 'reconnected', 'undelivered', 'close'] as const)
      connection.on(name as never, (() => told.push(name)) as never);
    const states = new Set<string>();
    await lab.run(50);
    const going = listener.goAway({ url: world.url('b'), withinMs: 5_000 });
    for (let i = 0; i < 400; i++) {
      stream.send(`${i}`);
      states.add(connection.state);
      await lab.run(10);
    }
    await lab.settle(stream.flush());
    await lab.settle(going);
    expect([...states]).toEqual(['online', 'moving']);
    expect(told).toEqual(['goaway', 'reconnecting', 'reconnected']);
    expect(world.texts('x')).toEqual(Array.from({ length: 400 }, (_, i) => `${i}`));
    expect(new Set(world.got.map(({ host }) => host))).toEqual(new Set(['a', 'b']));
    expect(await world.accepted[0].closed).toBeNull();
    await lab.settle(connection.close());
  });

  test('stays while nobody takes it, and comes back to the same address when another server is there', async () => {
    const world = new LastingLab();
    const { lab } = world;
    const { listener } = await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 100, backoffMaxMs: 1_000 });
    const stream = connection.openStream({ label: 'x', reopen: true });
    await lab.run(50);
    const going = listener.goAway({ url: world.url('nowhere'), withinMs: 30_000 });
    await lab.run(25_000);
    stream.send('still here');
    await lab.settle(stream.flush());
    expect(connection.state).toBe('moving');
    expect(connection.metrics().failedAttempts).toBeGreaterThan(0);
    await lab.settle(going);
    await lab.run(1);
    expect(connection.state).toBe('offline');
    await world.start('a');
    await lab.settle(next(connection as never, 'reconnected'));
    stream.send('back');
    await lab.settle(stream.flush());
    expect(world.texts('x')).toEqual(['still here', 'back']);
    await lab.settle(connection.close());
  });

  test('is not taken in by early data: it goes when the other server has answered [CON-101] [HS-59]', async () => {
    const world = new LastingLab();
    const { lab } = world;
    world.clientOptions = { earlyData: true };
    const { listener } = await world.start('a');
    const connection = await world.join(['a'], { backoffMinMs: 100, backoffMaxMs: 1_000 });
    const stream = connection.openStream({ label: 'x', reopen: true, earlyData: true });
    await lab.run(50); // a ticket came
    const going = listener.goAway({ withinMs: 30_000 });
    const states = new Set<string>();
    for (let i = 0; i < 20; i++) {
      await lab.run(1_000);
      states.add(connection.state);
    }
    stream.send('still here');
    await lab.settle(stream.flush());
    expect([...states]).toEqual(['moving']);
    expect(connection.metrics()).toMatchObject({ connections: 1 });
    world.kill('a');
    await world.start('a');
    await lab.settle(next(connection as never, 'reconnected'));
    expect(connection.connection?.isEstablished).toBe(true);
    stream.send('back');
    await lab.settle(stream.flush());
    expect(world.texts('x')).toEqual(['still here', 'back']);
    await lab.settle(connection.close());
    void going;
  });

  test('and closes it meanwhile waits for what is under way on both connections', async () => {
    const world = new LastingLab(5, { delayMs: 5, bitsPerSecond: 2_000_000 });
    const { lab } = world;
    const { listener } = await world.start('a');
    await world.start('b');
    const connection = await world.join(['a']);
    const stream = connection.openStream({ label: 'x', reopen: true });
    await lab.run(50);
    stream.send('a'.repeat(500_000)); // 2 s on this link
    void listener.goAway({ url: world.url('b'), withinMs: 200 + 10_000 });
    await lab.settle(next(connection as never, 'reconnected'));
    stream.send('b'.repeat(250_000));
    let isOver = false;
    connection.on('close', () => (isOver = true));
    await lab.settle(connection.close());
    expect(isOver).toBe(true);
    expect(world.texts('x').map((text) => text.length)).toEqual(expect.arrayContaining([500_000, 250_000]));
  });

  test('hears what was not acknowledged on the connection that it left, when that has ended', async () => {
    const world = new LastingLab(5, { delayMs: 5, bitsPerSecond: 1_000_000 });
    const { lab } = world;
    const { listener } = await world.start('a');
    await world.start('b');
    const connection = await world.join(['a']);
    const stream = connection.openStream({ label: 'x', reopen: true });
    const missing: number[] = [];
    connection.on('undelivered', (messages) => missing.push(...messages.map(({ data }) => data.length)));
    stream.send(Buffer.alloc(2_000_000)); // 16 s on this link
    await lab.run(200);
    void listener.goAway({ url: world.url('b'), withinMs: 2_000 });
    await lab.run(1_900);
    world.kill('a');
    await lab.run(30_000);
    expect(connection.state).toBe('online');
    expect(missing).toEqual([2_000_000]);
    await lab.settle(connection.close());
  });
});

describe('connect with several URLs [CON-106]', () => {
  test('takes the first server that answers, over sockets', async () => {
    const listener = await serve(null);
    const dead = await listen({ identity: generateIdentity(), port: 0 });
    const { url } = dead;
    await dead.close();
    const connection = await connect([url, listener.url], { handshakeTimeoutMs: 3_000 });
    expect(connection.remotePort).toBe(listener.port);
    await connection.close();
    const both = connect([url, url.replace(`${dead.port}`, '1')]);
    await expect(both).rejects.toMatchObject({ code: 'ERR_JSP_CONNECTION_REFUSED' });
    await expect(connect([listener.url, 'jsp://no nonsense'])).rejects.toMatchObject({
      code: 'ERR_JSP_URL_INVALID',
    });
    await expect(connect([])).rejects.toMatchObject({ code: 'ERR_JSP_URL_INVALID' });
  });

  test('waits for an answer with early data, too [HS-59]', async () => {
    const gone = await listen({ identity: generateIdentity(), port: 0 });
    const once = await connect(gone.url);
    const ticket = await next<Uint8Array>(once as never, 'ticket');
    await once.close();
    const { url } = gone;
    await gone.close();
    const listener = await serve(null);
    const connection = await connect([url, listener.url], { ticket, earlyData: true });
    expect([connection.remotePort, connection.earlyData]).toEqual([listener.port, 'none']);
    await connection.close();
  });

  test('and `reconnect` fails over from one that dies to the other, over sockets', async () => {
    const servers = [await serve(null), await serve(null)];
    const connection = await connect(
      servers.map(({ url }) => url),
      { reconnect: { backoffMinMs: 1, backoffMaxMs: 10 } },
    );
    const stream = connection.openStream({ label: 'x', reopen: true });
    const accepted = next<import('../../src/index.ts').Connection>(servers[1], 'connection');
    const port = connection.connection?.remotePort;
    expect(port).toBe(servers[0].port);
    const back = next(connection as never, 'reconnected');
    await servers[0].close({ timeoutMs: 100 });
    await back;
    stream.send('here');
    const other = await next<import('../../src/index.ts').Stream>(await accepted, 'stream');
    expect(`${(await take(other, 1))[0]}`).toBe('here');
    connection.destroy();
    expect(await connection.closed).toBeNull();
  });

  test('and options that cannot go together are refused', async () => {
    const invalid = { code: 'ERR_JSP_OPTION_INVALID' };
    const listener = await serve(null);
    const socket = {} as never;
    await expect(connect(listener.url, { reconnect: true, socket })).rejects.toMatchObject(invalid);
    await expect(connect([listener.url, 'jsp://x'], { socket })).rejects.toMatchObject(invalid);
    await expect(connect(listener.url, { reconnect: { attempts: 3 } as never })).rejects.toMatchObject(
      invalid,
    );
    await expect(connect(listener.url, { reconnect: 'yes' as never })).rejects.toMatchObject(invalid);
  });
});

/** A connection that is away, whose server got `before` on the stream `x` and is gone. */
async function away() {
  const world = new LastingLab();
  const { lab } = world;
  await world.start('a');
  const connection = await world.join(['a'], { backoffMinMs: 500, backoffMaxMs: 500 });
  const stream = connection.openStream({ label: 'x', reopen: true });
  stream.send('before');
  await lab.settle(stream.flush());
  world.accepted[0].destroy(1);
  await lab.settle(next(connection as never, 'reconnecting'));
  world.kill('a');
  return { world, lab, connection, stream };
}
