/** Servers of several workers, with real threads and sockets. Where sockets cannot share an address, of one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { ClientRefusal, WorkerEvent, WorkersListenOptions, WorkersMetrics } from '../../../src/index.ts';
import { LISTEN_OPTIONS } from '../../../src/transport/listen.ts';
import { ownPort } from '../../own-port.ts';
import {
  ask,
  clientsOfAll,
  connect,
  DIST,
  generateIdentity,
  isShared,
  join,
  listen,
  SESSION,
  serveWorkers,
  takenPort,
  WORKERS,
  workerEvent,
} from './served.ts';

const PLAIN = new URL('./plain-session.js', import.meta.url);

function handOversUnderWay({ handedOver, takenOver }: WorkersMetrics): number {
  return handedOver - takenOver;
}

describe('a server of several workers', () => {
  test('serves at one address, and counts what all of them did [WRK-1]', async () => {
    const listener = await serveWorkers({ data: { word: 'given' } });
    const clients = await clientsOfAll(listener);
    expect(listener.workers).toBe(WORKERS);
    expect(listener.url).toContain(`@${listener.host}:${listener.port}`);
    for (const [worker, some] of clients.entries()) {
      expect(await ask(some[0], 'who')).toBe(`${worker} of ${WORKERS}`);
      expect(await ask(some[0], 'data')).toBe('given');
    }
    const metrics = await listener.metrics();
    const count = clients.flat().length;
    expect(metrics.connectionsOpen).toBe(count);
    expect(metrics.workers.map((worker) => worker?.connectionsOpen)).toEqual(
      clients.map(({ length }) => length),
    );
    expect(metrics.socket.datagramsReceived).toBeGreaterThanOrEqual(count);
    expect(metrics.socket.errorCodes).toEqual({});
    expect(metrics.socket.path).toBe(metrics.workers[0]?.socket.path);
  });

  test.runIf(isShared)(
    'serves a client that moves, wherever its packets come then, by the worker that it has [WRK-3]',
    async () => {
      const listener = await serveWorkers();
      const [client] = (await clientsOfAll(listener))[0];
      for (let moves = 0; (await listener.metrics()).handedOver === 0; moves++) {
        expect(moves).toBeLessThan(64);
        await client.rebind();
        expect(await ask(client, 'who')).toBe(`0 of ${WORKERS}`);
      }
      // One may be on its way from worker to worker.
      await expect.poll(async () => handOversUnderWay(await listener.metrics())).toBe(0);
      const { handedOver, datagramsForeign, handOversDropped } = await listener.metrics();
      expect(handedOver).toBe(datagramsForeign);
      expect(handOversDropped).toBe(0);
      const text = 'x'.repeat(1_000_000);
      expect(await ask(client, text)).toBe(text);
    },
  );

  test.runIf(isShared)('bounds the connections of all its workers together [WRK-7]', async () => {
    const listener = await serveWorkers({ connectionsMax: 3 });
    for (let i = 0; i < 3; i++) await join(listener);
    for (let i = 0; i < 4; i++)
      await expect(connect(listener.url)).rejects.toMatchObject({ code: 'ERR_JSP_SERVER_FULL' });
    expect((await listener.metrics()).connectionsOpen).toBe(3);
  });

  test('takes at each worker what any of them gave: tickets, and tokens of Retry [WRK-5] [WRK-6]', async () => {
    const listener = await serveWorkers({ retry: 'always' });
    const first = await join(listener);
    const [ticket] = (await once(first, 'ticket')) as [Uint8Array];
    await clientsOfAll(listener);
    expect((await listener.metrics()).tokensRefused).toBe(0);
    listener.useTokenKeys({ current: new Uint8Array(32).fill(1) });
    await clientsOfAll(listener);
    const again = await join(listener, { ticket });
    expect(again.isResumed).toBe(true);
    expect((await listener.metrics()).retriesSent).toBeGreaterThan(0);
  });

  test('takes early data once, whichever worker it comes to [WRK-6]', async () => {
    const listener = await serveWorkers({ module: PLAIN });
    let ticket = ((await once(await join(listener), 'ticket')) as [Uint8Array])[0];
    for (let i = 0; i < 6; i++) {
      const client = await join(listener, { ticket, earlyData: true });
      const stream = client.openStream({ earlyData: true });
      stream.send(`message ${i}`);
      const [message] = (await once(stream, 'message')) as [Buffer];
      expect(message.toString()).toBe(`message ${i}`);
      if (client.earlyData === 'pending') await once(client, 'connected');
      expect(['accepted', 'refused']).toContain(client.earlyData);
      [ticket] = (await once(client, 'ticket')) as [Uint8Array];
      expect(client.metrics().messagesReceived).toBe(1);
    }
  });

  test('is asked by the module’s own authorize, and tells whom it refused', async () => {
    const listener = await serveWorkers();
    const refused: ClientRefusal[] = [];
    listener.on('refused', (refusal) => refused.push(refusal));
    await join(listener, { payload: 'yes' });
    await expect(connect(listener.url, { payload: 'no' })).rejects.toMatchObject({
      code: 'ERR_JSP_REFUSED',
      applicationCode: 4,
    });
    await expect(connect(listener.url, { payload: 'fault' })).rejects.toMatchObject({
      code: 'ERR_JSP_NOT_AUTHORIZED',
    });
    while (refused.length < 2) await once(listener, 'refused');
    expect(refused.map(({ cause }) => cause)).toEqual(['application', 'error']);
    expect((refused[1].error as Error).message).toBe('authorize cannot tell');
  });
});

describe('the end of a worker', () => {
  test.each(['throw', 'reject', 'exit'])(
    'by %s ends its clients and nobody else’s, and another takes its place; what it counted stays [WRK-9] [WRK-11]',
    async (way) => {
      const listener = await serveWorkers();
      const [mine, others] = await clientsOfAll(listener);
      const ended = workerEvent(listener, 'ended');
      const started = workerEvent(listener, 'started');
      mine[0].openStream().send(way);
      for (const client of mine) {
        // Told by CONNECTION_CLOSE, before the thread is gone.
        expect(await client.closed).toMatchObject({ code: 'ERR_JSP_PROTOCOL' });
      }
      const { worker, error, restartsInMs } = await ended;
      expect({ worker, restartsInMs, code: error?.code }).toEqual({
        worker: 0,
        restartsInMs: 0,
        code: 'ERR_JSP_WORKER_FAILED',
      });
      expect(error?.message).toContain(way === 'exit' ? 'process.exit(3)' : 'by the test');
      expect((await started).worker).toBe(0);
      for (const client of others ?? []) expect(await ask(client, 'who')).toBe(`1 of ${WORKERS}`);
      const { handshakesCompleted, connectionsOpen } = await listener.metrics();
      expect({ handshakesCompleted, connectionsOpen }).toEqual({
        handshakesCompleted: mine.length + (others?.length ?? 0),
        connectionsOpen: others?.length ?? 0,
      });
      await clientsOfAll(listener);
      for (const client of others ?? []) expect(await ask(client, 'who')).toBe(`1 of ${WORKERS}`);
    },
  );

  test('that can say nothing any more ends its clients by stateless resets [WRK-9]', async () => {
    const listener = await serveWorkers();
    const [mine, others] = await clientsOfAll(listener);
    const started = workerEvent(listener, 'started');
    await listener.restart(0);
    await started;
    for (const client of mine) {
      if (client.isOpen) client.openStream().send('is anybody there'); // else it has said something already
      expect(await client.closed).toMatchObject({ code: 'ERR_JSP_STATELESS_RESET' });
    }
    for (const client of others ?? []) expect(await ask(client, 'who')).toBe(`1 of ${WORKERS}`);
  });

  test('again and again makes the next wait twice as long [WRK-9]', async () => {
    const listener = await serveWorkers();
    const waits: (number | null)[] = [];
    for (let i = 0; i < 4; i++) {
      const ended = workerEvent(listener, 'ended');
      const started = workerEvent(listener, 'started');
      await listener.restart(0);
      waits.push((await ended).restartsInMs);
      await started;
    }
    expect(waits).toEqual([0, 100, 200, 400]);
  });

  test('whose successor cannot be started is followed by one when it can be, and the others serve meanwhile [WRK-9]', async () => {
    const data: { word: string; uncloneable?: () => void } = { word: 'given' };
    const listener = await serveWorkers({ data });
    const [, others] = await clientsOfAll(listener);
    data.uncloneable = () => {};
    const ends: WorkerEvent[] = [];
    listener.on('worker', (event) => {
      if (event.state === 'ended') ends.push(event);
    });
    const started = workerEvent(listener, 'started');
    await listener.restart(0);
    while (ends.length < 3) await once(listener, 'worker');
    for (const client of others ?? []) expect(await ask(client, 'who')).toBe(`1 of ${WORKERS}`);
    delete data.uncloneable;
    expect((await started).worker).toBe(0);
    expect(ends.map(({ restartsInMs }) => restartsInMs).slice(0, 3)).toEqual([0, 100, 200]);
    expect(ends[1].error).toMatchObject({ code: 'ERR_JSP_WORKER_FAILED', cause: { name: 'DataCloneError' } });
    await clientsOfAll(listener);
  });

  test('that is stuck is told, and so is that it turns again; it can be ended, and what it told last stays [WRK-10] [WRK-11]', async () => {
    const gate = new SharedArrayBuffer(4);
    const listener = await serveWorkers({ data: { gate } });
    const [[client], others] = await clientsOfAll(listener, { heartbeatMs: 0, idleTimeoutMs: 0 });
    const before = await listener.metrics();
    const stuck = workerEvent(listener, 'stuck');
    client.openStream().send('block');
    expect((await stuck).worker).toBe(0);
    if (others !== undefined) expect(await ask(others[0], 'who')).toBe(`1 of ${WORKERS}`);
    const meanwhile = await listener.metrics();
    expect(meanwhile.workers[0]).toBeNull();
    expect(meanwhile.handshakesCompleted).toBe(before.handshakesCompleted);
    const turning = workerEvent(listener, 'turning');
    Atomics.notify(new Int32Array(gate), 0);
    expect((await turning).worker).toBe(0);
    expect(await ask(client, 'who')).toBe(`0 of ${WORKERS}`);
    client.openStream().send('block');
    await expect.poll(() => client.metrics().bytesInFlight).toBe(0);
    const started = workerEvent(listener, 'started');
    await listener.restart(0);
    expect((await started).worker).toBe(0);
    expect((await listener.metrics()).handshakesCompleted).toBe(before.handshakesCompleted);
    await listener.close();
    const after = await listener.metrics();
    expect([after.handshakesCompleted, after.connectionsOpen]).toEqual([before.handshakesCompleted, 0]);
  });
});

describe('closing', () => {
  test('closes the connections of all workers, calls their stop, and ends their threads [WRK-8]', async () => {
    const stops = new SharedArrayBuffer(4);
    const listener = await serveWorkers({ port: await ownPort(), data: { stops } });
    const clients = (await clientsOfAll(listener)).flat();
    const closed = once(listener, 'close');
    await listener.close({ code: 0, reason: 'over' });
    await closed;
    for (const client of clients) expect(await client.closed).toBeNull();
    expect(new Int32Array(stops)[0]).toBe(WORKERS);
    await expect(listener.close()).resolves.toBeUndefined();
    const again = await serveWorkers({ port: listener.port });
    expect(again.port).toBe(listener.port);
  });

  test('is announced to the clients of all workers [WRK-8]', async () => {
    const listener = await serveWorkers();
    const clients = (await clientsOfAll(listener)).flat();
    const told = Promise.all(clients.map((client) => once(client, 'goaway')));
    const going = listener.goAway({ withinMs: 60_000 });
    await told;
    await expect(connect(listener.url)).rejects.toMatchObject({ code: 'ERR_JSP_SERVER_CLOSING' });
    await Promise.all(clients.map((client) => client.close()));
    await going;
  });

  test('while it goes away comes sooner, and stops each module once [WRK-8]', async () => {
    const stops = new SharedArrayBuffer(4);
    const listener = await serveWorkers({ data: { stops } });
    const [[client]] = await clientsOfAll(listener);
    const told = once(client, 'goaway');
    const going = listener.goAway({ withinMs: 3_600_000 });
    await told;
    await listener.close({ timeoutMs: 0 });
    await going;
    expect(new Int32Array(stops)[0]).toBe(WORKERS);
  });

  test('is not what a process waits for that has let go of it, also where a worker has been started again since', async () => {
    // Without `await` at its top, which takes an option that its threads would have, too.
    const program = `(async () => {
      const { generateIdentity, listen } = await import('${DIST}');
      const module = new URL('${PLAIN}');
      const listener = await listen({ identity: generateIdentity(), port: 0, workers: 1, module });
      const busy = setInterval(() => {}, 1_000);
      listener.unref();
      const started = new Promise((resolve) => {
        listener.on('worker', ({ state }) => state === 'started' && resolve());
      });
      await listener.restart(0);
      await started;
      setTimeout(() => process.exit(9), 20_000).unref();
      clearInterval(busy);
    })()`;
    const child = spawn(process.execPath, ['-e', program], { stdio: 'inherit' });
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  test('by a signal that fires while workers start leaves none behind', async () => {
    const abort = new AbortController();
    const listening = listen({ ...given(), signal: abort.signal });
    abort.abort();
    await expect(listening).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
  });

  test('by a signal, whose module cannot stop, is a warning: nobody is there to be told [WRK-8]', async () => {
    const abort = new AbortController();
    const listener = await listen({ ...given(), data: { stopFails: true }, signal: abort.signal });
    const closed = once(listener, 'close');
    const warned = once(process, 'warning');
    abort.abort();
    await closed;
    expect((await warned)[0]).toMatchObject({ code: 'ERR_JSP_WORKER_FAILED', message: 'stop says no' });
  });

  test('says what a module’s stop threw to who closes [WRK-8]', async () => {
    const listener = await listen({ ...given(), data: { stopFails: true } });
    await expect(listener.close()).rejects.toThrow('stop says no');
  });

  test('by a signal', async () => {
    const abort = new AbortController();
    const listener = await serveWorkers({ signal: abort.signal });
    const clients = (await clientsOfAll(listener)).flat();
    const closed = once(listener, 'close');
    abort.abort();
    await closed;
    await Promise.all(clients.map(({ closed }) => closed));
    await expect(listen({ ...given(), signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ERR_JSP_ABORTED',
    });
  });
});

describe('what cannot be', () => {
  test.each([
    ['authorize', () => ({ accept: true }), 'export a function of that name from the module'],
    ['keyLog', () => {}, 'export a function of that name from the module'],
    ['clock', {}, 'the clock of the machine'],
    ['random', {}, 'the random numbers of the machine'],
    ['socket', {}, 'binds its own'],
    ['front', {}, 'run a server for each core'],
  ])(
    'the option %s, which does not reach a thread, is refused with what to do',
    async (name, value, what) => {
      expect(Object.hasOwn(LISTEN_OPTIONS, name)).toBe(true);
      await expect(listen({ ...given(), [name]: value })).rejects.toMatchObject({
        code: 'ERR_JSP_OPTION_INVALID',
        message: expect.stringContaining(what),
      });
    },
  );

  test.each([
    ['no module', { module: undefined }, 'module is missing'],
    ['a relative path', { module: './session.js' }, 'module must be an absolute path or a file: URL'],
    [
      'a URL of another scheme',
      { module: new URL('https://example.org/session.js') },
      'module must be an absolute path or a file: URL, not "https://example.org/session.js"',
    ],
    ['no worker', { workers: 0 }, 'workers must be'],
    ['a name that no option has', { worker: 2 }, 'the nearest it has is "workers"'],
    ['workers, misspelt,', { worker: 2, workers: undefined }, 'the nearest it has is "workers"'],
    ['a module without workers', { workers: undefined }, 'module goes with workers, which is missing'],
    ['an option that only one worker has, misspelt,', { authorise: 1 }, 'the nearest it has is "authorize"'],
    ['data that cannot be cloned', { data: () => {} }, 'data must be something that can be cloned'],
    [
      'a module without a default function',
      { module: new URL('./no-session.js', import.meta.url) },
      'missing',
    ],
    [
      'a module whose export is misspelt',
      { module: new URL('./misspelt-session.js', import.meta.url) },
      'the nearest it has is "authorize"',
    ],
  ])('%s is an option that is wrong', async (_, wrong, what) => {
    await expect(listen({ ...given(), ...wrong } as never)).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
      message: expect.stringContaining(what),
    });
  });

  test.each([
    ['that is not there', { module: new URL('./nowhere.js', import.meta.url) }, 'nowhere.js'],
    ['that says no when it starts', { data: { startFails: true } }, 'start says no'],
    ['that ends when it starts', { data: { startEnds: true } }, 'process.exit(7)'],
  ])('a module %s is told by listen, and leaves no thread behind', async (_, wrong, what) => {
    await expect(listen({ ...given(), ...wrong })).rejects.toMatchObject({
      code: 'ERR_JSP_WORKER_FAILED',
      message: expect.stringContaining(what),
    });
  });

  test('leaves no timer when it cannot begin, as one whose port is taken or whose module is missing', async () => {
    const began = vi.spyOn(globalThis, 'setInterval');
    const ended = vi.spyOn(globalThis, 'clearInterval');
    onTestFinished(() => void vi.restoreAllMocks());
    await expect(serveWorkers({ port: await takenPort() })).rejects.toMatchObject({ code: 'ERR_JSP_SOCKET' });
    const module = new URL('./no-module-at-all.js', import.meta.url);
    await expect(serveWorkers({ module })).rejects.toMatchObject({ code: 'ERR_JSP_WORKER_FAILED' });
    const left = new Set(began.mock.results.map(({ value }) => value));
    expect(left.size).toBeGreaterThan(1);
    for (const [timer] of ended.mock.calls) left.delete(timer as NodeJS.Timeout);
    expect(left.size).toBe(0);
  });

  test('an address that somebody has is told at once, also where sockets can share it', async () => {
    const port = await takenPort();
    await expect(listen({ ...given(), port })).rejects.toMatchObject({ code: 'ERR_JSP_SOCKET' });
    const listener = await serveWorkers();
    await expect(listen({ ...given(), port: listener.port })).rejects.toMatchObject({
      code: 'ERR_JSP_SOCKET',
    });
  });

  test.skipIf(isShared)(
    'several workers where sockets cannot share an address; auto is one there',
    async () => {
      await expect(listen({ ...given(), workers: 2 })).rejects.toMatchObject({
        code: 'ERR_JSP_WORKERS_UNAVAILABLE',
      });
      expect((await serveWorkers({ workers: 'auto' })).workers).toBe(1);
    },
  );
});

function given(): WorkersListenOptions {
  return { identity: generateIdentity(), port: 0, workers: WORKERS, module: SESSION };
}
