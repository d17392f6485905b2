import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { connect, generateIdentity, listen } from '../../src/index.ts';
import { PROTECTION_AUTO, ProtectionMode } from '../../src/protocol/fec/protection.ts';
import { CloseCode } from '../../src/protocol/wire/close-code.ts';
import { Delivery, FrameType } from '../../src/protocol/wire/frame-type.ts';
import { bytesOf, Pair } from '../protocol/connection/pair.ts';
import { fromHex } from '../protocol/wire/hex.ts';
import { typesOfSpec } from '../protocol/wire/spec-frames.ts';
import { next, take } from '../transport/served.ts';
import { type CapturedDatagram, Pcapng } from './pcapng.ts';
import { hasTshark, type TsharkOptions, tshark, tsharkText } from './tshark.ts';

const FIELDS = [
  ...['_ws.col.Protocol', '_ws.col.Info', 'udp.srcport', 'jsp.frame.type', 'jsp.packet.number', 'jsp.sender'],
  ...['jsp.message.stream', 'jsp.message.data', 'jsp.stream.label', 'jsp.malformed', 'jsp.unknown_frame'],
  ...['jsp.not_opened', 'jsp.misplaced_frame', 'jsp.connection', 'jsp.ack.largest', '_ws.lua.error'],
];
type Row = Record<string, string[]>;

const VECTORS = JSON.parse(
  readFileSync(new URL('../../spec/vectors/frames.json', import.meta.url), 'utf8'),
) as { frames: Vector[]; invalid: Vector[] };
interface Vector {
  name: string;
  hex: string;
}

/**
 * Two sockets that talk over loopback, with what went between them, as it was there: a process in the middle passes datagrams on, but for
 * each tenth, and keeps a copy.
 */
async function session(options: { insecure?: boolean } = {}) {
  const keyLog: string[] = [];
  const listener = await listen({
    identity: generateIdentity(),
    port: 0,
    acceptUnpinned: options.insecure === true,
    keyLog: (line) => keyLog.push(line),
  });
  listener.on('connection', (connection) =>
    connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message))),
  );
  const captured: CapturedDatagram[] = [];
  const middle = createSocket('udp4');
  middle.bind(0, '127.0.0.1');
  await once(middle, 'listening');
  let clientPort = 0;
  middle.on('message', (data, { port }) => {
    const isServer = port === listener.port;
    if (!isServer) clientPort = port;
    const toPort = isServer ? clientPort : listener.port;
    captured.push({ at: Math.floor(performance.now() * 1_000), fromPort: port, toPort, data });
    if (captured.length % 10 !== 0) middle.send(data, toPort, '127.0.0.1');
  });
  const { username } = new URL(listener.url);
  const pin = options.insecure ? '' : `${username}@`;
  const connection = await connect(`jsp://${pin}127.0.0.1:${middle.address().port}`, {
    ...(options.insecure ? { insecure: true } : {}),
  });
  const stream = connection.openStream({ label: 'dawn' });
  for (let i = 0; i < 60; i++) stream.send(`attack at dawn ${i} `.repeat(1 + i));
  await take(stream, 60);
  const over = next(listener, 'close');
  await connection.close({ reason: 'over' });
  await Promise.all([listener.close(), over]);
  middle.close();
  return { captured, keyLog, url: listener.url, port: listener.port };
}

/** A connection of the lab on which everything happens that there are frames for. */
function lively() {
  const keyLog: string[] = [];
  const pair = new Pair({
    seed: 5,
    link: { delayMs: 20, loss: 0.1, reorder: 0.05 },
    client: { keyLog: (line) => keyLog.push(line), usesEcn: true, heartbeatMs: 500 },
    server: {
      streamsMax: 3,
      streamWindowBytes: 20_000,
      messageBytesMax: 10_000,
      connectionWindowBytes: 40_000,
    },
  }).connected();
  const { client, server } = pair;
  const reliable = client.open({ label: 'reliable' });
  const block = { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: 4, parity: 2 };
  const guarded = client.open({ delivery: Delivery.BEST_EFFORT, ordered: false, protection: block });
  const brief = client.open({ delivery: Delivery.PARTIAL });
  const guardedToo = server.open({ delivery: Delivery.BEST_EFFORT, ordered: false, protection: block });
  client.open({ label: 'one too many' });
  server.readsAll = false;
  for (let i = 0; i < 40; i++) {
    client.send(reliable, bytesOf(i * 200, i));
    for (let k = 0; k < 4; k++) {
      client.send(guarded, bytesOf(900, 100 * i + k));
      server.send(guardedToo, bytesOf(900, 100 * i + k));
    }
    brief.send(bytesOf(4_000, i), Delivery.PARTIAL, pair.now + 60_000, false);
    pair.run(20);
  }
  pair.run(2_000);
  server.readsAll = true;
  for (const stream of server.streams) server.read(stream);
  pair.run(5_000);
  client.end(reliable);
  client.reset(guarded, 7);
  server.core.control.goAway.announce(Buffer.from('jsp://elsewhere'), pair.now + 10_000_000);
  server.node.wake();
  pair.run(5_000);
  client.close('application', 3, 'enough');
  pair.run(2_000);
  return { sent: sentBy(pair, 6_000), keyLog };
}

/** A connection of the lab whose server reads nothing, until all credit is used up. */
function stuck() {
  const keyLog: string[] = [];
  const pair = new Pair({
    client: { keyLog: (line) => keyLog.push(line) },
    server: { connectionWindowBytes: 65_536, messageBytesMax: 4_096 },
  }).connected();
  pair.server.readsAll = false;
  for (let k = 0; k < 20; k++) {
    const stream = pair.client.open();
    for (let i = 0; i < 5; i++) pair.client.send(stream, bytesOf(4_000, i));
  }
  pair.run(500);
  return { sent: sentBy(pair, 7_000), keyLog };
}

/** What both sides sent, in order, between ports that only they have. */
function sentBy({ client, server }: Pair, port: number) {
  return [client, server]
    .flatMap((side, i) =>
      side.sent.map((datagram) => ({ ...datagram, fromPort: port + 1 - i, toPort: port + i })),
    )
    .sort((a, b) => a.at - b.at);
}

test('the dissector has the names of all frames and codes that there are', () => {
  const script = readFileSync(new URL('../../spec/wireshark/jsp.lua', import.meta.url), 'utf8');
  for (const [name, code] of Object.entries(CloseCode)) {
    // A list that goes on counts by itself.
    const isListed = code > 0 && code < 9;
    expect(script).toContain(
      isListed ? `"${name}"` : `[0x${code.toString(16).padStart(2, '0')}] = "${name}"`,
    );
  }
  for (const name of Object.keys(FrameType)) {
    const plain = name.replace(/_(BEST_EFFORT|ENVELOPED)/g, '');
    expect(script).toContain(`"${plain}"`);
  }
});

const isThere = hasTshark();

describe.skipIf(!isThere)('the dissector, with a key log', () => {
  let real: Row[] = [];
  let lab: Row[] = [];
  let valid: Row[] = [];
  let invalid: Row[] = [];
  let loopback: Awaited<ReturnType<typeof session>>;
  const worlds = { sent: [] as ReturnType<typeof sentBy>, keyLog: [] as string[] };
  let capture: Pcapng;
  const options = (): TsharkOptions => ({ keyLog: [...loopback.keyLog, ...worlds.keyLog] });

  // One run for all: tshark takes longer to start than to read.
  beforeAll(async () => {
    loopback = await session();
    for (const { sent, keyLog } of [lively(), stuck()]) {
      worlds.sent.push(...sent);
      worlds.keyLog.push(...keyLog);
    }
    capture = new Pcapng();
    for (const datagram of loopback.captured) capture.datagram(datagram);
    for (const datagram of worlds.sent) capture.datagram(datagram);
    const invalidOnes = VECTORS.invalid.filter(({ hex }) => hex !== '');
    for (const { hex } of [...VECTORS.frames, ...invalidOnes]) capture.payload(fromHex(hex));
    const rows = tshark(capture.bytes(), FIELDS, options());
    expect(rows.filter((row) => '_ws.lua.error' in row)).toEqual([]);
    const part = (count: number): Row[] => rows.splice(0, count);
    real = part(loopback.captured.length);
    lab = part(worlds.sent.length);
    valid = part(VECTORS.frames.length);
    invalid = part(invalidOnes.length);
  });

  test('opens every packet of a real connection, and names its frames [TRC-10]', () => {
    expect(real.length).toBeGreaterThan(30);
    for (const row of real) {
      expect(row['_ws.col.Protocol']).toEqual(['JSP']);
      expect(row).not.toHaveProperty('jsp.not_opened');
      expect(row).not.toHaveProperty('jsp.malformed');
      expect(row['jsp.frame.type'].length).toBeGreaterThan(0);
    }
    const info = real.map((row) => row['_ws.col.Info'][0]);
    expect(info[0]).toMatch(/^Initial pn=0 CRYPTO 0-\d+\/\d+ CLIENT_HELLO/);
    expect(info.some((text) => text.includes(' SERVER_HELLO'))).toBe(true);
    // Packets that share a datagram.
    expect(info.some((text) => /^Initial pn=.* \| Handshake pn=0 CRYPTO .* PARAMETERS/.test(text))).toBe(
      true,
    );
    expect(
      info.some((text) => /^1-RTT pn=\d+ .*STREAM_OPEN stream 0 "dawn", MESSAGES stream 0 x\d+/.test(text)),
    ).toBe(true);
    expect(info.some((text) => text.includes('CONNECTION_CLOSE application code 0 "over"'))).toBe(true);
    const said = real.flatMap((row) => row['jsp.message.data'] ?? []).join('');
    expect(said).toContain(Buffer.from('attack at dawn 3').toString('hex'));
  });

  test('says who sent what', () => {
    for (const row of real) {
      const sender = row['udp.srcport'][0] === String(loopback.port) ? 'server' : 'client';
      expect(new Set(row['jsp.sender'])).toEqual(new Set([sender]));
    }
    expect(new Set(real.flatMap((row) => row['jsp.connection'] ?? []))).toEqual(new Set(['0']));
    expect(new Set(lab.flatMap((row) => row['jsp.connection'] ?? []))).toEqual(new Set(['1', '2']));
  });

  test('finds the packets and frames that were sent, of every kind that this library sends', () => {
    const frames = worlds.sent.map(({ packets }) =>
      packets.flatMap((packet) => packet.frames.map(({ type }) => type)),
    );
    expect(lab.map((row) => row['jsp.frame.type'].map(Number))).toEqual(frames);
    const numbers = worlds.sent.map(({ packets }) => packets.map(({ number }) => number));
    expect(lab.map((row) => row['jsp.packet.number'].map(Number))).toEqual(numbers);
    const names = new Set(
      typesOfSpec()
        .filter(([type]) => frames.flat().includes(type))
        .map(([, name]) => name),
    );
    const unsent = [
      'NEW_TOKEN',
      'TICKET',
      'PATH_CHALLENGE',
      'PATH_RESPONSE',
      'NEW_CONNECTION_ID',
      'RETIRE_CONNECTION_ID',
      'ADMITTED',
      'extension',
    ];
    const all = new Set(typesOfSpec().map(([, name]) => name));
    expect([...all].filter((name) => !names.has(name) && !unsent.includes(name))).toEqual([]);
  });

  test('knows every frame of the specification', () => {
    VECTORS.frames.forEach(({ name, hex }, i) => {
      const row = valid[i];
      expect(Number(row['jsp.frame.type'][0]), name).toBe(fromHex(hex)[0]);
      expect(row['_ws.col.Info'][0].split(' ')[0].replace(/,$/, ''), name).toMatch(/^[A-Z_]+$/);
      for (const fault of ['jsp.malformed', 'jsp.unknown_frame'])
        expect(row, name).not.toHaveProperty([fault]);
    });
  });

  test('marks frames that are malformed or unknown', () => {
    VECTORS.invalid
      .filter(({ hex }) => hex !== '')
      .forEach(({ name }, i) => {
        const faults = ['jsp.malformed', 'jsp.unknown_frame'].filter((fault) => fault in invalid[i]);
        expect(faults.length, name).toBe(1);
      });
  });

  test('filters, and shows a tree that people can read', () => {
    // Of the packets of the lab each whole tree takes long to write.
    const own = new Pcapng();
    for (const datagram of loopback.captured) own.datagram(datagram);
    const text = tsharkText(own.bytes(), {
      ...options(),
      filter: 'jsp.frame.type == 0x0a && jsp.connection == 0 && jsp.sender == "client"',
    });
    const opening = real.filter((row) => row['jsp.frame.type'].includes('0x0a'));
    expect(opening.length).toBeGreaterThan(0);
    expect(text.match(/^JetStreamProto$/gm)?.length).toBe(opening.length);
    expect(text).toMatch(/^ {4}1-RTT packet, number \d+$/m);
    expect(text).toMatch(/^ {8}STREAM_OPEN stream 0 "dawn"$/m);
    expect(text).toMatch(/Priority: chat/);
    expect(text).toMatch(/Sent by: client/);
    expect(text).not.toContain('Lua Error');
  });
});

describe.skipIf(!isThere)('the dissector, without a key log', () => {
  test('opens the Initial packets that it can, and says of the others that they are sealed', async () => {
    const pinned = await session();
    const unpinned = await session({ insecure: true });
    const infos = (options: TsharkOptions): string[][] => {
      const capture = new Pcapng();
      for (const { captured } of [pinned, unpinned])
        for (const datagram of captured) capture.datagram(datagram);
      const rows = tshark(capture.bytes(), FIELDS, options);
      const ofPinned = rows.splice(0, pinned.captured.length);
      const sealed = ofPinned.filter((row) => row['_ws.col.Info'][0].includes('1-RTT (sealed)'));
      expect(sealed.length).toBeGreaterThan(0);
      for (const row of sealed) expect(row).toHaveProperty(['jsp.not_opened']);
      return [ofPinned, rows].map((part) => part.map((row) => row['_ws.col.Info'][0]));
    };
    const isOpen = (info: readonly string[]): void => {
      expect(info[0]).toContain('CLIENT_HELLO');
      expect(info.some((text) => text.includes('SERVER_HELLO'))).toBe(true);
      expect(info.filter((text) => text.includes('Initial (sealed)'))).toEqual([]);
      expect(info.at(-1)).toBe('1-RTT (sealed)');
    };
    const [nameless, open] = infos({});
    isOpen(open);
    expect(nameless[0]).toBe('Initial (sealed)');
    expect(nameless.at(-1)).toBe('1-RTT (sealed)');
    const [named] = infos({ preferences: { fingerprint: pinned.url } });
    isOpen(named);
  });
});
