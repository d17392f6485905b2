import { createSocket, type Socket } from 'node:dgram';
import { describe, expect, onTestFinished, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import {
  type Connection,
  connect,
  generateIdentity,
  type Listener,
  listen,
  type PathChange,
} from '../../src/index.ts';
import { Identity } from '../../src/protocol/crypto/index.ts';
import { Lab } from '../../src/testing/index.ts';
import { reconnectingConnection } from '../../src/transport/reconnect.ts';
import { systemClock } from '../../src/udp/clock.ts';
import { InterfaceWatch } from '../../src/udp/interfaces.ts';

describe('rebind, over real sockets', () => {
  test('moves a connection to another address in mid-transfer; no message is lost, and the server is told [CON-89]', async () => {
    const { listener, server, client } = await connected();
    const paths: PathChange[] = [];
    const own: PathChange[] = [];
    server.on('path', (change) => paths.push(change));
    client.on('path', (change) => own.push(change));
    const transfer = echoes(server, client, 300);
    await transfer.half;
    await client.rebind({ localHost: '127.0.0.2' });
    await transfer.done;
    expect(server.remoteHost).toBe('127.0.0.2');
    expect(paths).toMatchObject([
      { host: '127.0.0.2', reason: 'migration', previous: { host: '127.0.0.1' } },
    ]);
    const { host, port, localPort } = own[0];
    expect(own).toMatchObject([{ localHost: '127.0.0.2', reason: 'migration', previous: { host, port } }]);
    expect(server.remotePort).toBe(localPort);
    expect(client.metrics()).toMatchObject({ pathChanges: 1, pathsFailed: 0 });
    await client.close();
    await listener.close();
  });

  test('moves it to another port, again and again', async () => {
    const { listener, server, client } = await connected();
    const transfer = echoes(server, client, 300);
    const ports = new Set([server.remotePort]);
    for (let i = 0; i < 3; i++) {
      const moved = once(server, 'path');
      await client.rebind();
      await moved;
      ports.add(server.remotePort);
    }
    await transfer.done;
    expect(ports.size).toBe(4);
    await client.close();
    await listener.close();
  });

  test('a NAT that gives the client another port is followed, also when the client only listens [CON-84]', async () => {
    const listener = await listen({ identity: generateIdentity(), host: '127.0.0.1', port: 0 });
    const nat = await Nat.to(listener.port);
    onTestFinished(() => nat.close());
    const accepted = once(listener, 'connection');
    const client = await connect(listener.url.replace(`:${listener.port}`, `:${nat.port}`));
    const [server] = (await accepted) as [Connection];
    const received: number[] = [];
    const done = new Promise<void>((resolve) => {
      client.on('stream', (stream) =>
        stream.on('message', (message) => {
          if (received.push((message as Buffer).readUInt32BE(0)) === 400) resolve();
        }),
      );
    });
    const moved = once(server, 'path');
    const stream = server.openStream();
    for (let i = 0; i < 400; i++) {
      const message = Buffer.alloc(1_000);
      message.writeUInt32BE(i);
      stream.send(message);
      if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
      if (i === 200) await nat.rebind();
    }
    const [change] = (await moved) as [PathChange];
    expect(change.reason).toBe('rebinding');
    await done;
    expect(received).toEqual(Array.from({ length: 400 }, (_, i) => i));
    await client.close();
    await listener.close();
  });

  test('a NAT that gives another port to a client that is told something now and then is followed without a heartbeat [CON-90]', async () => {
    const heartbeatMs = 0;
    const listener = await listen({
      identity: generateIdentity(),
      host: '127.0.0.1',
      port: 0,
      heartbeatMs,
    });
    const nat = await Nat.to(listener.port);
    onTestFinished(() => nat.close());
    const accepted = once(listener, 'connection');
    const url = listener.url.replace(`:${listener.port}`, `:${nat.port}`);
    const client = await connect(url, { heartbeatMs });
    const [server] = (await accepted) as [Connection];
    const received: string[] = [];
    const times: number[] = [];
    let said = 0;
    let isLast = false;
    const done = new Promise<void>((resolve) => {
      client.on('stream', (stream) =>
        stream.on('message', (message) => {
          times.push(performance.now());
          if (received.push(message.toString()) === said && isLast) resolve();
        }),
      );
    });
    const moved = once(server, 'path');
    const stream = server.openStream();
    const say = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        stream.send(`message ${said++}`);
        // Longer than an acknowledgement may wait, which would show where the client is.
        await new Promise((resolve) => setTimeout(resolve, 60));
      }
    };
    // A machine that stands still for a second makes it no flow.
    const isFlow = (): boolean => times.slice(-8).every((time, i, all) => i === 0 || time - all[i - 1] < 800);
    do await say(10);
    while (!isFlow());
    await nat.rebind();
    isLast = true;
    void say(1);
    const [change] = (await moved) as [PathChange];
    expect(change.reason).toBe('rebinding');
    await done;
    expect(received).toEqual(Array.from({ length: said }, (_, i) => `message ${i}`));
    expect(client.metrics().heartbeatsSent + server.metrics().heartbeatsSent).toBe(0);
    await client.close();
    await listener.close();
  });
});

describe('a connection that comes back, whose address is lost [CON-110]', () => {
  test('is the same connection at another address; none is made beside it', async () => {
    const listener = await listen({ identity: generateIdentity(), host: '127.0.0.1', port: 0 });
    const accepted = once(listener, 'connection');
    let present = ['127.0.0.2', '127.0.0.1'];
    const addresses = new InterfaceWatch({ addresses: () => present, pollMs: 1_000_000 });
    const client = await reconnectingConnection(
      (urls) => connect(urls[0], { localHost: '127.0.0.2' }),
      [listener.url],
      {
        ...{ clock: systemClock, addresses, random: new Prng(1), reconnect: {}, streamDefaults: {} },
        ...{ signal: undefined, ticket: undefined },
      },
    );
    const [server] = (await accepted) as [Connection];
    const states = new Set<string>();
    client.on('reconnecting', () => states.add(client.state));
    const stream = client.openStream();
    stream.send('from there');
    await stream.flush();
    const moved = once(server, 'path');
    present = ['127.0.0.1'];
    addresses.look();
    const [change] = (await moved) as [PathChange];
    expect(change).toMatchObject({ host: '127.0.0.1', previous: { host: '127.0.0.2' } });
    stream.send('from here');
    await stream.flush();
    const movedAgain = once(server, 'path');
    present = ['127.0.0.3'];
    addresses.look();
    await movedAgain;
    expect([client.metrics().connections, client.state, states.size]).toEqual([1, 'online', 0]);
    await client.close();
    await listener.close();
  });

  test('is another one where nothing comes to the address that it moved to within 3 s', async () => {
    const listener = await listen({ identity: generateIdentity(), host: '127.0.0.1', port: 0 });
    const nat = await Nat.to(listener.port);
    onTestFinished(() => nat.close());
    // The first that comes from there is dropped, and all that comes from its port after it.
    nat.drops = '127.0.0.1';
    let present = ['127.0.0.2', '127.0.0.1'];
    const addresses = new InterfaceWatch({ addresses: () => present, pollMs: 1_000_000 });
    const dialed: Connection[] = [];
    const client = await reconnectingConnection(
      async (urls) => {
        const options = dialed.length === 0 ? { localHost: '127.0.0.2' } : {};
        const connection = await connect(urls[0], options);
        dialed.push(connection);
        return connection;
      },
      [listener.url.replace(`:${listener.port}`, `:${nat.port}`)],
      {
        ...{ clock: systemClock, addresses, random: new Prng(1), reconnect: {}, streamDefaults: {} },
        ...{ signal: undefined, ticket: undefined },
      },
    );
    const stream = client.openStream();
    stream.send('from there');
    await stream.flush();
    const again = once(client, 'reconnected');
    present = ['127.0.0.1'];
    addresses.look();
    const startedAt = performance.now();
    await again;
    const elapsed = performance.now() - startedAt;
    expect(elapsed).toBeGreaterThan(2_900);
    expect(elapsed, 'its heartbeats would say so after 15 s').toBeLessThan(10_000);
    expect([dialed.length, client.state, dialed[1].remotePort]).toEqual([2, 'online', nat.port]);
    for (const connection of dialed) connection.destroy(); // the one that was left would wait for what it cannot hear
    await client.close();
    await listener.close();
  });
});

describe('rebind, in a lab', () => {
  test('to where nothing is carried fails with its own code, and the connection goes on', async () => {
    const lab = new Lab({ seed: 1, link: { delayMs: 20 } });
    const { client, server } = await labPair(lab, {});
    lab.network.connect('10.0.0.9', '10.0.0.1', { blackHole: true });
    const failure = client.rebind({
      socket: lab.socket({ host: '10.0.0.9', connectTo: { host: '10.0.0.1', port: 4577 } }),
    });
    failure.catch(() => {});
    await expect(lab.settle(failure)).rejects.toMatchObject({ code: 'ERR_JSP_PATH_FAILED' });
    const transfer = echoes(server, client, 20);
    await lab.settle(transfer.done);
    expect(server.remoteHost).toBe('10.0.0.2');
  });

  test('of a server that wants its clients to stay fails at once [CON-92]', async () => {
    const lab = new Lab({ seed: 1, link: { delayMs: 20 } });
    const { client } = await labPair(lab, { migration: false });
    const failure = client.rebind({
      socket: lab.socket({ host: '10.0.0.9', connectTo: { host: '10.0.0.1', port: 4577 } }),
    });
    failure.catch(() => {});
    await expect(lab.settle(failure, 100)).rejects.toMatchObject({ code: 'ERR_JSP_PATH_FAILED' });
  });

  test('is a call for clients, and on a connection that is over fails as all else does', async () => {
    const lab = new Lab({ seed: 1 });
    const { client, server } = await labPair(lab, {});
    await expect(server.rebind()).rejects.toMatchObject({ code: 'ERR_JSP_OPTION_INVALID' });
    await lab.settle(client.close());
    await expect(client.rebind()).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
  });
});

// ---- inside ----

async function connected(): Promise<{ listener: Listener; server: Connection; client: Connection }> {
  const listener = await listen({ identity: generateIdentity(), host: '127.0.0.1', port: 0 });
  const accepted = once(listener, 'connection');
  const client = await connect(listener.url, { localHost: '127.0.0.1' });
  const [server] = (await accepted) as [Connection];
  return { listener, server, client };
}

async function labPair(
  lab: Lab,
  options: { migration?: boolean },
): Promise<{ client: Connection; server: Connection }> {
  const { clock, random } = lab;
  const identity = Identity.generate(new Prng(1));
  const listener = await listen({
    identity,
    socket: lab.socket({ host: '10.0.0.1', port: 4577 }),
    clock,
    random,
    ...options,
  });
  const accepted = once(listener, 'connection');
  const socket = lab.socket({ host: '10.0.0.2', connectTo: { host: '10.0.0.1', port: 4577 } });
  const client = await lab.settle(connect(listener.url, { socket, clock, random }));
  const [server] = (await lab.settle(accepted)) as [Connection];
  await lab.run(200);
  return { client, server };
}

/** Messages there and back, one after the other was answered. */
function echoes(
  server: Connection,
  client: Connection,
  count: number,
): { half: Promise<void>; done: Promise<void> } {
  let reachedHalf = (): void => {};
  const half = new Promise<void>((resolve) => {
    reachedHalf = resolve;
  });
  server.on('stream', (stream) => stream.on('message', (message) => void stream.send(message)));
  const stream = client.openStream();
  const answers: string[] = [];
  const done = new Promise<void>((resolve) => {
    stream.on('message', (message) => {
      answers.push(Buffer.from(message as Uint8Array).toString());
      if (answers.length === count / 2) reachedHalf();
      if (answers.length < count) return void stream.send(`message ${answers.length}`);
      expect(answers).toEqual(Array.from({ length: count }, (_, i) => `message ${i}`));
      resolve();
    });
  });
  stream.send('message 0');
  return { half, done };
}

function once(
  emitter: { once(event: never, listener: (...args: never[]) => void): unknown },
  event: string,
): Promise<unknown[]> {
  return new Promise((resolve) => emitter.once(event as never, (...args: unknown[]) => resolve(args)));
}

/** Takes the place of the server's port, and goes on from a port of its own that changes. */
class Nat {
  /** A host of whose first port everything is dropped; null: of none. */
  drops: string | null = null;
  private dropped = 0;
  private readonly inner: Socket;
  private outer: Socket;
  private client = 0;
  private from = '127.0.0.1';
  private readonly serverPort: number;

  static async to(serverPort: number): Promise<Nat> {
    return new Nat(await bound(), await bound(), serverPort);
  }

  private constructor(inner: Socket, outer: Socket, serverPort: number) {
    this.inner = inner;
    this.outer = outer;
    this.serverPort = serverPort;
    inner.on('message', (data, { address, port }) => {
      if (address === this.drops && this.dropped === 0) this.dropped = port;
      if (port === this.dropped) return;
      this.client = port;
      this.from = address;
      this.outer.send(data, this.serverPort, '127.0.0.1');
    });
    this.listen();
  }

  get port(): number {
    return this.inner.address().port;
  }

  async rebind(): Promise<void> {
    this.outer.close();
    this.outer = await bound();
    this.listen();
  }

  close(): void {
    this.inner.close();
    this.outer.close();
  }

  private listen(): void {
    this.outer.on('message', (data) => this.inner.send(data, this.client, this.from));
  }
}

function bound(): Promise<Socket> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => socket.bind(0, '127.0.0.1', () => resolve(socket)));
}
