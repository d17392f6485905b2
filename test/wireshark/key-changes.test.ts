import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { beforeAll, describe, expect, test } from 'vitest';
import { connect, generateIdentity, listen } from '../../src/index.ts';
import { loadAesGcm } from '../../src/protocol/crypto/index.ts';
import type { ConnectionConfig } from '../../src/protocol/endpoint/index.ts';
import type { Resumption } from '../../src/protocol/handshake/ticket-offer.ts';
import { FrameType } from '../../src/protocol/wire/frame-type.ts';
import { PacketType } from '../../src/protocol/wire/packet-header.ts';
import type { LabDatagram } from '../../src/testing/network.ts';
import type { LoggedPacket } from '../protocol/connection/packet-log.ts';
import { AEAD, bytesOf, Pair, type PairOptions, PORT, type Side } from '../protocol/connection/pair.ts';
import { next, take } from '../transport/served.ts';
import { type CapturedDatagram, Pcapng } from './pcapng.ts';
import { hasTshark, tshark } from './tshark.ts';

/** Connections that change suite, keys, ids and addresses, as a capture has them: in the order of arrival, and without what was lost. */

const FIELDS = [
  ...['_ws.col.Protocol', '_ws.col.Info', 'jsp.frame.type', 'jsp.packet.number', 'jsp.packet.type'],
  ...['jsp.sender', 'jsp.connection', 'jsp.not_opened', 'jsp.key_generation', 'jsp.cipher_suite'],
  ...['jsp.message.data', '_ws.lua.error'],
];
type Row = Record<string, string[]>;

const AES = loadAesGcm(false);
if (AES === null) throw new Error('there is no AES-256-GCM');
const SUITES = {
  chacha20: [{ aead: AEAD, costNs: 0 }],
  aes: [{ aead: AES, costNs: 0 }],
} as const;
const TICKETS = {
  keys: null,
  lifetimeMs: 3_600_000,
  earlyDataBytesMax: 16_384,
  usedMax: 1_000,
  epochMs: 1_800_000_000_000,
};

interface Scene {
  captured: CapturedDatagram[];
  keyLog: string[];
  /** What is in each datagram; null where nobody knows. */
  packets: (readonly LoggedPacket[] | null)[];
}

/** A pair of which the secrets are told, and what arrives is captured: copies, for datagrams are opened in place. */
class CapturedPair extends Pair {
  readonly captured: CapturedDatagram[] = [];
  readonly keyLog: string[];
  private readonly ports = new Map<string, number>();
  private readonly firstPort: number;

  constructor(firstPort: number, both: Partial<ConnectionConfig>, options: PairOptions = {}) {
    const keyLog: string[] = [];
    // Ids come of the seed: those of two connections in a capture differ.
    super({
      seed: firstPort,
      ...options,
      client: { ...both, keyLog: (line) => keyLog.push(line) },
      server: both,
    });
    this.firstPort = firstPort;
    this.keyLog = keyLog;
    const network = this.world.network as unknown as {
      deliver: (datagram: LabDatagram, host: string, port: number) => void;
    };
    const deliver = network.deliver.bind(network);
    network.deliver = (datagram, host, port) => {
      this.captured.push({
        at: datagram.arrivedAt,
        fromPort: this.portOf(datagram.host, datagram.port),
        toPort: this.portOf(host, port),
        data: datagram.data.slice(),
      });
      deliver(datagram, host, port);
    };
  }

  scene(): Scene {
    const packetsOf = new Map(
      [this.client, this.server].flatMap(({ sent }) =>
        sent.map(({ data, packets }) => [Buffer.from(data).toString('hex'), packets] as const),
      ),
    );
    const { captured, keyLog } = this;
    const packets = captured.map(({ data }) => packetsOf.get(Buffer.from(data).toString('hex')) ?? null);
    return { captured, keyLog, packets };
  }

  /** The capture has one machine, so that each address is a port of it. */
  private portOf(host: string, port: number): number {
    const name = `${host}:${port}`;
    const known = this.ports.get(name) ?? this.firstPort + this.ports.size;
    this.ports.set(name, known);
    return known;
  }
}

/** Keys that change every 10 packets, while a tenth is lost and another comes late. */
function updated(suite: keyof typeof SUITES, port: number): Scene {
  const link = { delayMs: 20, jitterMs: 25, loss: 0.1, reorder: 0.1 };
  const config = { suites: SUITES[suite], keyUpdate: { packets: 10, ageMs: 2 ** 30 } };
  const pair = new CapturedPair(port, config, { link });
  pair.connected().echo();
  const up = pair.client.open();
  const down = pair.server.open();
  for (let i = 0; i < 20; i++) {
    for (let k = 0; k < 4; k++) {
      pair.client.send(up, bytesOf(900, 10 * i + k));
      pair.server.send(down, bytesOf(900, 10 * i + k));
    }
    pair.run(30);
  }
  return pair.scene();
}

/** A client that comes back with early data after a Retry, which is taken, or refused with its ticket. */
function back(isTaken: boolean, port: number): Scene {
  const options: PairOptions = { accept: { tickets: TICKETS, retry: { mode: 'always', epochMs: 0 } } };
  const config = { suites: SUITES.aes };
  const first = new CapturedPair(1, config, options);
  first.connected();
  const ticketOf = ({ events }: Side) => {
    const event = events.findLast(({ type }) => type === 'ticket');
    return event?.type === 'ticket' ? event.ticket : null;
  };
  first.until(() => ticketOf(first.client) !== null, 1_000, 'the ticket');
  const pair = new CapturedPair(port, config, options);
  if (isTaken) {
    pair.connected().until(() => ticketOf(pair.client) !== null, 1_000, 'the ticket');
    pair.client.close();
    pair.run(2_000);
  }
  const ticket = ticketOf(isTaken ? pair.client : first.client);
  if (ticket === null) throw new Error('there is no ticket');
  pair.client.connection = null;
  pair.connect({ ticket, ageMs: 0, hasEarlyData: true } satisfies Resumption);
  const stream = pair.client.open({ earlyData: true });
  pair.client.send(stream, 'said early');
  pair.run(2_000);
  expect(pair.server.texts(stream.id)).toEqual(['said early']);
  return pair.scene();
}

/** A client that moves, first by its NAT and then by its will, to where another id is used. */
function moved(port: number): Scene {
  const pair = new CapturedPair(port, { suites: SUITES.aes }, { link: { delayMs: 25 } });
  pair.connected().echo('at home').run(500);
  pair.client.node.port.rebind('client', PORT + 1);
  pair.echo('behind another port').run(500);
  const local = pair.client.node.addAddress('cellular', PORT);
  pair.client.core.device.migrate({ local, isOldGone: false, isSameHost: false }, pair.now);
  pair.client.node.wake();
  pair.until(() => pair.server.core.path.host === 'cellular', 2_000, 'the move');
  pair.echo('elsewhere');
  return pair.scene();
}

/** Two sockets with a process between them that loses each tenth datagram and holds each seventh back until another has passed it. */
async function session(): Promise<Scene & { updates: number }> {
  const keyLog: string[] = [];
  const options = { cipherSuites: ['aes-256-gcm'], keyUpdate: { packets: 8 } } as const;
  const listener = await listen({
    identity: generateIdentity(),
    port: 0,
    keyLog: (line) => keyLog.push(line),
    ...options,
  });
  listener.on('connection', (connection) =>
    connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message))),
  );
  const captured: CapturedDatagram[] = [];
  const middle = createSocket('udp4');
  middle.bind(0, '127.0.0.1');
  await once(middle, 'listening');
  let clientPort = 0;
  let count = 0;
  const held = new Map<number, CapturedDatagram>();
  const pass = (datagram: CapturedDatagram): void => {
    captured.push({ ...datagram, at: Math.floor(performance.now() * 1_000) });
    middle.send(datagram.data, datagram.toPort, '127.0.0.1');
  };
  middle.on('message', (data, { port }) => {
    const isServer = port === listener.port;
    if (!isServer) clientPort = port;
    const datagram = { at: 0, fromPort: port, toPort: isServer ? clientPort : listener.port, data };
    count++;
    if (count % 10 === 0) return;
    const waiting = held.get(datagram.toPort);
    held.delete(datagram.toPort);
    if (waiting === undefined && count % 7 === 0) {
      held.set(datagram.toPort, datagram);
      return;
    }
    pass(datagram);
    if (waiting !== undefined) pass(waiting);
  });
  const { username } = new URL(listener.url);
  const connection = await connect(`jsp://${username}@127.0.0.1:${middle.address().port}`, options);
  const stream = connection.openStream();
  for (let i = 0; i < 60; i++) {
    stream.send(`attack at dawn ${i}`);
    await take(stream, 1);
  }
  const updates = connection.metrics().keyUpdates;
  const over = next(listener, 'close');
  await connection.close({ reason: 'over' });
  await Promise.all([listener.close(), over]);
  middle.close();
  return { captured, keyLog, packets: [], updates };
}

const isThere = hasTshark();

describe.skipIf(!isThere)('the dissector', () => {
  const scenes: Record<string, Scene> = {};
  const rows: Record<string, Row[]> = {};
  let updates = 0;

  // One run for all: tshark takes longer to start than to read.
  beforeAll(async () => {
    const real = await session();
    updates = real.updates;
    Object.assign(scenes, {
      real,
      chacha20: updated('chacha20', 6_000),
      aes: updated('aes', 6_100),
      taken: back(true, 6_200),
      refused: back(false, 6_300),
      moved: moved(6_400),
    });
    const capture = new Pcapng();
    for (const { captured } of Object.values(scenes))
      for (const datagram of captured) capture.datagram(datagram);
    const keyLog = Object.values(scenes).flatMap(({ keyLog }) => keyLog);
    const all = tshark(capture.bytes(), FIELDS, { keyLog });
    expect(all.filter((row) => '_ws.lua.error' in row)).toEqual([]);
    for (const [name, { captured }] of Object.entries(scenes)) rows[name] = all.splice(0, captured.length);
  });

  test('opens a real connection with AES-256-GCM and many key updates, under loss and reordering [PKT-18] [PKT-27]', () => {
    for (const row of rows.real) {
      expect(row['_ws.col.Protocol']).toEqual(['JSP']);
      expect(row).not.toHaveProperty(['jsp.not_opened']);
    }
    const generations = rows.real.flatMap((row) => row['jsp.key_generation'] ?? []).map(Number);
    expect(updates).toBeGreaterThanOrEqual(4);
    expect(Math.max(...generations)).toBeGreaterThanOrEqual(updates);
    expect(new Set(rows.real.flatMap((row) => row['jsp.cipher_suite']))).toEqual(new Set(['0x01', '0x02']));
    const said = rows.real.flatMap((row) => row['jsp.message.data'] ?? []).join(' ');
    for (let i = 0; i < 60; i++) expect(said).toContain(Buffer.from(`attack at dawn ${i}`).toString('hex'));
  });

  test.each(['chacha20', 'aes', 'taken', 'refused'])(
    'finds in each datagram of the lab what was sent: %s',
    (name) => {
      const { packets } = scenes[name];
      expect(packets.length).toBeGreaterThan(15);
      const found = rows[name].map((row) => [
        (row['jsp.packet.number'] ?? []).map(Number),
        (row['jsp.frame.type'] ?? []).map(Number),
      ]);
      expect(found).toEqual(
        packets.map((list) => [
          list?.map(({ number }) => number),
          list?.flatMap(({ frames }) => frames.map(({ type }) => type)),
        ]),
      );
    },
  );

  test.each(['chacha20', 'aes'])(
    'tells a late packet of old keys from one of the next: %s [PKT-27]',
    (name) => {
      const late = ['client', 'server'].flatMap((sender) => {
        const ofSender = rows[name].filter((row) => row['jsp.sender'][0] === sender);
        const generations = ofSender.flatMap((row) => row['jsp.key_generation'] ?? []).map(Number);
        expect(Math.max(...generations)).toBeGreaterThanOrEqual(4);
        return generations.filter((value, i) => value < Math.max(...generations.slice(0, i)));
      });
      expect(late.length).toBeGreaterThan(0);
    },
  );

  test('needs only the secrets of the handshake: later ones follow [TRC-10] [HS-28]', () => {
    const { captured, keyLog } = scenes.aes;
    const capture = new Pcapng();
    for (const datagram of captured) capture.datagram(datagram);
    const first = keyLog.filter((line) => !/_[1-9]\d* /.test(line));
    expect(first.length).toBeLessThan(keyLog.length);
    const framesOf = (found: Row[]) => found.map((row) => row['jsp.frame.type']);
    expect(framesOf(tshark(capture.bytes(), FIELDS, { keyLog: first }))).toEqual(framesOf(rows.aes));
  });

  test('takes apart what a capture of the loopback interface has as one datagram, and was sent as several', () => {
    const { captured, keyLog } = scenes.aes;
    const merged: CapturedDatagram[] = [];
    for (const datagram of captured) {
      const last = merged.at(-1);
      const isShort = ({ data }: CapturedDatagram): boolean => data[0] < 0x80;
      if (last?.fromPort !== datagram.fromPort || !isShort(last) || !isShort(datagram)) merged.push(datagram);
      else merged[merged.length - 1] = { ...last, data: Buffer.concat([last.data, datagram.data]) };
    }
    expect(merged.length).toBeLessThan(captured.length - 10);
    const capture = new Pcapng();
    for (const datagram of merged) capture.datagram(datagram);
    const framesOf = (found: Row[]) => found.flatMap((row) => row['jsp.frame.type']);
    expect(framesOf(tshark(capture.bytes(), FIELDS, { keyLog }))).toEqual(framesOf(rows.aes));
  });

  test('opens early data, taken or not, and the handshake that begins again under an id of its own [HS-34] [HS-58]', () => {
    for (const name of ['taken', 'refused']) {
      const early = rows[name].filter((row) =>
        row['jsp.packet.type']?.map(Number).includes(PacketType.ZERO_RTT),
      );
      expect(early.length).toBeGreaterThan(0);
      for (const row of early)
        expect(row['jsp.message.data']).toContain(Buffer.from('said early').toString('hex'));
    }
    expect(new Set(rows.refused.map((row) => row['jsp.connection']?.[0])).size).toBe(2);
  });

  test('knows a connection by its ids, wherever its client moves [CON-1] [CON-83]', () => {
    for (const row of rows.moved) expect(row).not.toHaveProperty(['jsp.not_opened']);
    expect(new Set(rows.moved.map((row) => row['jsp.connection'][0])).size).toBe(1);
    expect(new Set(scenes.moved.captured.map(({ fromPort }) => fromPort)).size).toBe(4);
    const challenged = rows.moved.filter((row) =>
      row['jsp.frame.type'].map(Number).includes(FrameType.PATH_CHALLENGE),
    );
    expect(challenged.length).toBeGreaterThanOrEqual(2);
  });
});
