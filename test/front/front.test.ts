import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { describe, expect, test } from 'vitest';
import { type Front, type FrontServer, startFront } from '../../src/front/index.ts';
import { type Connection, connect, generateIdentity, type JspError } from '../../src/index.ts';
import { envelopeHour, FrontEnvelopes } from '../../src/protocol/datagram/index.ts';
import { echo, FRONT_HOST, FRONT_PORT, FrontLab, SECRET } from './lab-front.ts';

/** Three servers behind a front. */
async function three(): Promise<FrontLab> {
  const world = new FrontLab();
  for (const number of [1, 2, 3]) await world.serve(number);
  await world.stand([1, 2, 3]);
  return world;
}

const ended = (connection: Connection) =>
  new Promise<JspError>((resolve) => connection.on('close', (error) => resolve(error as JspError)));

describe('packets of clients', () => {
  test('reach a server, which knows where its client is and answers it through the front [FRT-5, FRT-7]', async () => {
    const world = new FrontLab();
    await world.serve(1);
    await world.stand([1]);
    const { connection, socket } = await world.join();
    expect(await echo(world, connection)).toBe('hello');
    expect(world.servers[1].connections[0]).toMatchObject({
      remoteHost: socket.localHost,
      remotePort: 5_000,
    });
    expect(connection.remoteHost).toBe(FRONT_HOST);
  });

  test('of many clients are spread over the servers, and stay with them [FRT-10, FRT-11]', async () => {
    const world = await three();
    const clients = [];
    for (let i = 0; i < 15; i++) clients.push(await world.join());
    const counts = [1, 2, 3].map((number) => world.servers[number].connections.length);
    expect(counts[0] + counts[1] + counts[2]).toBe(15);
    for (const count of counts) expect(count).toBeGreaterThan(1);
    for (const { connection } of clients) expect(await echo(world, connection)).toBe('hello');
    expect(world.front.metrics().dropped).toEqual({
      malformed: 0,
      noServer: 0,
      unauthentic: 0,
      congested: 0,
    });
    await world.lab.run(600);
    expect(world.front.metrics().servers.map(({ connections }) => connections)).toEqual(counts);
  });

  test('of a client whose NAT gives it another address go on to its server, which follows it [FRT-7, FRT-10]', async () => {
    const world = await three();
    const { connection, socket } = await world.join();
    const number = world.serverOf(socket.localHost);
    for (let move = 0; move < 3; move++) {
      socket.labPort.rebind(`198.51.100.${move}`, 6_000 + move);
      expect(await echo(world, connection, `move ${move}`)).toBe(`move ${move}`);
      expect(world.serverOf(`198.51.100.${move}`)).toBe(number);
    }
    expect(world.servers[number].connections[0].metrics().pathChanges).toBe(3);
  });

  test('that come directly are served at the same address [FRT-5]', async () => {
    const world = new FrontLab();
    const { listener } = await world.serve(1);
    await world.stand([1]);
    const through = await world.join();
    const { lab } = world;
    const socket = lab.socket({ host: '192.0.2.99', connectTo: { host: '10.0.1.1', port: FRONT_PORT } });
    const direct = await lab.settle(connect(world.url(1), { socket, clock: lab.clock, random: lab.random }));
    expect(await echo(world, direct)).toBe('hello');
    expect(await echo(world, through.connection)).toBe('hello');
    expect(listener.metrics().connectionsOpen).toBe(2);
  });

  test('follow a Retry to the server that sent it, which knows their address by it [FRT-2, FRT-7]', async () => {
    const world = new FrontLab();
    for (const number of [1, 2, 3]) await world.serve(number, { retry: 'always' });
    await world.stand([1, 2, 3]);
    const servers = world.servers.filter(Boolean);
    const counts = (name: 'retriesSent' | 'tokensAccepted') =>
      servers.map(({ listener }) => listener.metrics()[name]);
    for (let i = 0; i < 6; i++) {
      const [retries, tokens] = [counts('retriesSent'), counts('tokensAccepted')];
      await world.join({ tokens: false });
      const asked = counts('retriesSent').map((count, server) => count > retries[server]);
      expect(counts('tokensAccepted').map((count, server) => count > tokens[server])).toEqual(asked);
      expect(asked.filter(Boolean).length).toBe(1);
    }
  });

  test('are as small as fit in their envelopes into packets of an Ethernet, both ways [FRT-8]', async () => {
    const world = new FrontLab();
    await world.serve(1);
    await world.stand([1]);
    let largest = 0;
    world.lab.network.tap = (data) => {
      largest = Math.max(largest, data.length);
    };
    const { connection } = await world.join();
    const stream = connection.openStream();
    const answer = new Promise<Buffer>((resolve) => stream.on('message', resolve));
    stream.send(Buffer.alloc(300_000, 1));
    expect((await world.lab.settle(answer)).length).toBe(300_000);
    await world.lab.run(2_000);
    expect(connection.metrics().mtu).toBe(1_415);
    expect(world.servers[1].connections[0].metrics().mtu).toBe(1_415);
    expect(largest).toBe(1_452);
  });
});

describe('a server', () => {
  test('that is gone: its clients hear within a round trip of another that it is, and come back to those that are there [FRT-10, FRT-14]', async () => {
    const world = await three();
    const told: FrontServer[] = [];
    world.front.on('server', (server) => told.push(server));
    const { connection, socket } = await world.join();
    const number = world.serverOf(socket.localHost);
    const end = ended(connection);
    world.kill(number);
    connection.openStream().send('is anybody there?');
    const from = world.lab.now;
    const error = await world.lab.settle(end);
    expect(error.code).toBe('ERR_JSP_STATELESS_RESET');
    expect((world.lab.now - from) / 1_000).toBeLessThan(3_000);
    expect(told.map(({ presence, url }) => [presence, url])).toEqual([['gone', world.url(number)]]);
    for (let i = 0; i < 3; i++) await world.join();
    expect(world.front.metrics().servers[number - 1].presence).toBe('gone');
  });

  test('that is gone without another to speak for it gets its packets all the same, and goes on where it comes back [FRT-10, FRT-14]', async () => {
    const world = new FrontLab();
    await world.serve(1);
    await world.stand([1]);
    const { connection } = await world.join({ heartbeatMs: 0, idleTimeoutMs: 60_000 });
    world.lab.network.cut('10.0.1.1');
    await world.lab.run(3_000);
    expect(world.front.metrics().servers[0].presence).toBe('gone');
    world.lab.network.mend();
    expect(await echo(world, connection)).toBe('hello');
    await world.lab.run(600);
    expect(world.front.metrics().servers[0].presence).toBe('accepting');
  });

  test('that leaves keeps the connections it has, and gets no new ones [FRT-13, FRT-14]', async () => {
    const world = await three();
    const clients = [];
    for (let i = 0; i < 6; i++) clients.push(await world.join());
    const leaver = world.servers[2];
    const before = leaver.connections.length;
    expect(before).toBeGreaterThan(0);
    void leaver.listener.goAway({ withinMs: 20_000 });
    await world.lab.run(600);
    expect(world.front.metrics().servers[1].presence).toBe('leaving');
    for (let i = 0; i < 5; i++) await world.join();
    expect(leaver.connections.length).toBe(before);
    for (const { connection } of clients) expect(await echo(world, connection)).toBe('hello');
  });

  test('that is full is passed over while another is not; where all are, clients are told so [FRT-10, FRT-13]', async () => {
    const world = new FrontLab();
    for (const number of [1, 2]) await world.serve(number, { connectionsMax: 2 });
    await world.stand([1, 2], { probeMs: 50 });
    for (let i = 0; i < 4; i++) {
      await world.join();
      await world.lab.run(100);
    }
    expect(world.servers.filter(Boolean).map(({ connections }) => connections.length)).toEqual([2, 2]);
    await expect(world.join()).rejects.toMatchObject({ code: 'ERR_JSP_SERVER_FULL' });
  });

  test('with the id of another counts as there only when that is gone, and who runs the front is told [FRT-15]', async () => {
    const world = new FrontLab();
    await world.serve(1);
    await world.serve(2, { front: { secret: SECRET, serverId: 1 } });
    await world.stand([1, 2]);
    await world.lab.run(600);
    const presences = () => world.front.metrics().servers.map(({ presence }) => presence);
    expect(presences()).toEqual(['accepting', 'double']);
    world.kill(1);
    await world.lab.run(3_000);
    expect(presences()).toEqual(['gone', 'accepting']);
    const { connection } = await world.join();
    expect(await echo(world, connection)).toBe('hello');
  });

  test('has an id of its own by the name of its machine and its port [FRT-4]', async () => {
    const world = new FrontLab();
    await world.serve(1, { front: { secret: SECRET } });
    await world.stand([1]);
    const { serverId } = world.front.metrics().servers[0];
    const hash = createHash('sha256').update(`${hostname()}:${FRONT_PORT}`).digest('hex');
    expect(serverId).toBe(hash.slice(0, 6));
  });

  test('without the secret is not there: what it says is dropped, and its clients are served by others [FRT-6, FRT-13]', async () => {
    const world = new FrontLab();
    await world.serve(1);
    await world.serve(2, { front: { secret: new Uint8Array(32).fill(9), serverId: 2 } });
    await world.stand([1, 2]);
    await world.lab.run(3_000);
    expect(world.front.metrics().servers.map(({ presence }) => presence)).toEqual(['accepting', 'gone']);
    for (let i = 0; i < 4; i++) await world.join();
    // Probes that it could not believe.
    expect(world.servers[2].listener.metrics().socket.datagramsDropped).toBeGreaterThan(3);
  });

  test('takes no envelope of who does not have the secret, nor an old one [FRT-6]', async () => {
    const world = new FrontLab();
    const { listener } = await world.serve(1);
    await world.stand([1], { probeMs: 60_000 });
    const { lab } = world;
    const forger = lab.socket({ host: '203.0.113.1', connectTo: { host: '10.0.1.1', port: FRONT_PORT } });
    const captured: Buffer[] = [];
    lab.network.tap = (data, from, host) => {
      if (host === '10.0.1.1' && from.home === FRONT_HOST) captured.push(Buffer.from(data));
    };
    const { connection } = await world.join();
    lab.network.tap = null;
    await lab.settle(connection.close());
    expect(captured.length).toBeGreaterThan(3);
    const forged = new FrontEnvelopes('front', { current: new Uint8Array(32).fill(3) });
    const header = forged.headerFor('192.0.2.1', 5_000, envelopeHour(lab.now / 1_000)) as Uint8Array;
    const dropped = () => listener.metrics().socket.datagramsDropped;
    forger.labPort.send(Buffer.concat([header, captured[0].subarray(37)]), '10.0.1.1', FRONT_PORT);
    await lab.run(50);
    expect(dropped()).toBe(1);
    await lab.run(2 * 3_600_000);
    const { malformed } = world.front.metrics().dropped;
    for (const data of captured) forger.labPort.send(data, '10.0.1.1', FRONT_PORT);
    await lab.run(50);
    expect(dropped()).toBe(1 + captured.length);
    expect(malformed).toBe(0);
  });
});

describe('a front', () => {
  test('that is started anew under load, or with the next secret, costs no connection [FRT-1, FRT-16]', async () => {
    const next = new Uint8Array(32).fill(8);
    const world = new FrontLab();
    for (const number of [1, 2])
      await world.serve(number, { front: { secret: next, previousSecret: SECRET, serverId: number } });
    await world.stand([1, 2], { secret: SECRET, previousSecret: next });
    const clients = [];
    for (let i = 0; i < 4; i++) clients.push(await world.join());
    for (let restart = 0; restart < 3; restart++) {
      await world.stand([1, 2], { secret: next, previousSecret: restart === 0 ? SECRET : undefined });
      for (const { connection } of clients) expect(await echo(world, connection)).toBe('hello');
    }
    expect(world.upstreams.length).toBe(8);
  });

  test('forgets who is silent for the idle time, and remembers no more than it may; neither costs a connection [FRT-16]', async () => {
    const world = new FrontLab();
    await world.serve(1);
    const quiet = { heartbeatMs: 0, idleTimeoutMs: 3_600_000 };
    await world.serve(1 + 1, quiet);
    await world.stand([2], { idleMs: 5_000, clientsMax: 4 });
    const clients = [];
    for (let i = 0; i < 6; i++) {
      clients.push(await world.join(quiet));
      expect(world.front.metrics().clients).toBe(Math.min(4, i + 1));
    }
    await world.lab.run(4_000);
    expect(world.front.metrics().clients).toBe(4);
    await world.lab.run(2_500);
    expect(world.front.metrics().clients).toBe(0);
    for (const { connection } of clients) expect(await echo(world, connection)).toBe('hello');
  });

  test('drops what is no packet: nothing of a client looks like an envelope or a probe to a server [FRT-9]', async () => {
    const world = new FrontLab();
    const { listener } = await world.serve(1);
    await world.stand([1]);
    const { lab } = world;
    const stranger = lab.socket({ host: '203.0.113.1', connectTo: { host: FRONT_HOST, port: FRONT_PORT } });
    const sent = [
      Buffer.alloc(0),
      ...[0x21, 0x22, 0x23, 0x24, 0x00, 0x3f, 0x80].map((kind) => Buffer.alloc(60, kind)),
      Buffer.alloc(28, 0x40),
      Buffer.from('c04a53503107000000000000000000', 'hex'),
      Buffer.from('c04a53503115', 'hex'),
      Buffer.concat([Buffer.from('c04a53503115', 'hex'), Buffer.alloc(60)]),
    ];
    for (const data of sent) stranger.labPort.send(data, FRONT_HOST, FRONT_PORT);
    await lab.run(100);
    expect(world.front.metrics()).toMatchObject({
      datagramsToServers: 0,
      dropped: { malformed: sent.length },
    });
    expect(listener.metrics().socket.datagramsDropped).toBe(0);
    // A packet to an id that is nobody's is passed on, and answered as by the server itself.
    stranger.labPort.send(Buffer.alloc(60, 0x41), FRONT_HOST, FRONT_PORT);
    await lab.run(100);
    expect(world.front.metrics()).toMatchObject({ datagramsToServers: 1, datagramsToClients: 1 });
  });

  test('sends nobody anything for who does not have the secret [FRT-6]', async () => {
    const world = new FrontLab();
    await world.serve(1);
    await world.stand([1]);
    const { lab } = world;
    const upstream = world.upstreams[0];
    const victim: string[] = [];
    lab.network.open('198.51.100.7', 9, ({ host }) => victim.push(host));
    for (const secret of [new Uint8Array(32).fill(3), SECRET]) {
      const envelopes = new FrontEnvelopes('server', { current: secret });
      const header = envelopes.headerFor('198.51.100.7', 9, envelopeHour(lab.now / 1_000)) as Uint8Array;
      world.servers[1].socket.labPort.send(Buffer.from([...header, 1]), FRONT_HOST, upstream.localPort);
      await lab.run(20);
    }
    expect(world.front.metrics().dropped.unauthentic).toBe(1);
    expect(victim).toEqual([FRONT_HOST]);
  });

  test('has servers of one identity, and names it in its URL', async () => {
    const world = new FrontLab();
    await world.serve(1);
    const front: Front = await world.stand([1], { advertise: 'mq.example.org' });
    expect(front.url).toBe(`jsp://${world.identity.fingerprintText}@mq.example.org:4577`);
    const other = `jsp://${generateIdentity().fingerprintText}@10.0.1.2:4577`;
    await expect(startFront({ servers: [world.url(1), other], secret: SECRET })).rejects.toMatchObject({
      code: 'ERR_JSP_OPTION_INVALID',
      message: expect.stringContaining('10.0.1.2:4577'),
    });
    await expect(startFront({ servers: [], secret: SECRET })).rejects.toThrow('servers must be');
    await expect(startFront({ servers: [other], secret: new Uint8Array(3) })).rejects.toThrow('32 bytes');
  });
});
