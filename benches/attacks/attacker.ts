/**
 * The attacks: each makes datagrams, without end, which {@link attack} sends at a steady rate from many addresses of this machine.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { randomBytes } from '../../src/base/random.ts';
import { defaultConnectionConfig } from '../../src/protocol/connection/config.ts';
import type { Connection } from '../../src/protocol/connection/connection.ts';
import { chooseAead } from '../../src/protocol/crypto/aead.ts';
import { KeyRing } from '../../src/protocol/crypto/key-ring.ts';
import type { PacketKeys } from '../../src/protocol/crypto/packet-keys.ts';
import { sealPacket } from '../../src/protocol/crypto/packet-protection.ts';
import { ReceiveBatch, TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { Endpoint } from '../../src/protocol/endpoint/endpoint.ts';
import { FrameType } from '../../src/protocol/wire/frame-type.ts';
import { FrameWriter } from '../../src/protocol/wire/frame-writer.ts';
import { writeCryptoHeader } from '../../src/protocol/wire/frames/crypto.ts';
import {
  PacketSpace,
  PacketType,
  writeLongHeader,
  writePacketLength,
  writeShortHeader,
} from '../../src/protocol/wire/packet-header.ts';
import { varintSize, writeVarint } from '../../src/protocol/wire/varint.ts';
import { systemRandom } from '../../src/transport/system-crypto.ts';
import { parseServerUrl } from '../../src/transport/url.ts';
import { handshakeOf, internalsOf, isConfirmed } from '../../test/protocol/connection/internals.ts';

interface Target {
  readonly host: string;
  readonly port: number;
  readonly pin: Uint8Array;
}

/** The next datagram. Those with one `group` come from one address; `from` is the socket that it has to come from. */
type Attack = () => { data: Uint8Array; group?: number; from?: Socket };

/** By name; each is told whom to attack. */
export const ATTACKS: Record<string, (target: Target) => Attack | Promise<Attack>> = {
  captured,
  hellos,
  fragments,
  garbage,
  resets,
  pieces,
  acks,
};

/** Attacks for as long as the process lives. */
export async function attack(name: string, url: string, megabits: number): Promise<void> {
  const { host, port, fingerprint } = parseServerUrl(url);
  const next = await ATTACKS[name]({ host, port, pin: fingerprint as Uint8Array });
  const sockets = await Promise.all(
    Array.from({ length: SOCKETS }, (_, i) => socketAt(`127.${i % 200}.${(i * 7) % 250}.9`)),
  );
  process.on('disconnect', () => process.exit());
  process.send?.('begun');
  const bytesPerMs = (megabits * 1e6) / 8 / 1_000;
  let allowed = 0;
  let sent = 0;
  for (let last = performance.now(); ; await sleep(1)) {
    const now = performance.now();
    allowed = Math.min(allowed + (now - last) * bytesPerMs, 50 * bytesPerMs);
    last = now;
    while (allowed > 0) {
      const { data, group = sent++, from } = next();
      (from ?? sockets[group % SOCKETS]).send(data, port, host);
      allowed -= data.length;
    }
  }
}

/** What a flood of hellos sends: so many whole ones, a datagram each, or, if it is to be one, the first datagram of a client that was captured. */
export function hellosAt(
  url: string,
  count: number,
): { host: string; port: number; datagrams: Uint8Array[] } {
  const { host, port, fingerprint } = parseServerUrl(url);
  const target = { host, port, pin: fingerprint as Uint8Array };
  const { datagrams, hello, scid } = firstFlight(target);
  if (count === 1) return { host, port, datagrams: [datagrams[0]] };
  const whole = cryptoFrame(hello, 0, hello.length);
  const each = () => initials(target, scid, [whole], whole.length + 100)[0];
  return { host, port, datagrams: Array.from({ length: count }, each) };
}

// ---- by strangers ----

/** One captured first datagram, from everywhere. */
function captured(target: Target): Attack {
  const [data] = firstFlight(target).datagrams;
  return () => ({ data });
}

/** First datagrams of ever new handshakes, by somebody who knows the fingerprint. */
function hellos(target: Target): Attack {
  const { hello, scid } = firstFlight(target);
  const waiting: Uint8Array[] = [];
  let group = 0;
  return () => {
    if (waiting.length === 0) {
      group++;
      const half = hello.length >> 1;
      waiting.push(
        ...initials(target, scid, [cryptoFrame(hello, half, hello.length), cryptoFrame(hello, 0, half)]),
      );
    }
    return { data: waiting.pop() as Uint8Array, group: group - 1 };
  };
}

/** CRYPTO frames of one byte at every second offset, the highest first. */
function fragments(target: Target): Attack {
  const scid = randomBytes(systemRandom, 8);
  const message = new Uint8Array(16_384);
  return () => {
    const frames: Uint8Array[] = [];
    for (let at = message.length - 1, bytes = 0; bytes < 1_100; at -= 2) {
      frames.push(cryptoFrame(message, at, at + 1));
      bytes += frames[frames.length - 1].length;
    }
    return { data: initials(target, scid, [Buffer.concat(frames)])[0] };
  };
}

/** Random bytes in what looks like an Initial packet. */
function garbage(): Attack {
  return () => {
    const data = randomBytes(systemRandom, DATAGRAM_BYTES);
    const keys = writeLongHeader(
      data,
      0,
      PacketType.INITIAL,
      false,
      data.slice(50, 58),
      data.slice(60, 68),
      NOTHING,
      0,
      4,
    );
    writePacketLength(data, keys - 4, data.length);
    return { data };
  };
}

/** Short packets of connections that nobody has, each of which asks for a stateless reset. */
function resets(): Attack {
  return () => {
    const data = randomBytes(systemRandom, 100);
    data[0] = 0x40 | (data[0] & 0x3f);
    return { data };
  };
}

// ---- by clients that went through the handshake ----

/** One byte of each 4 KiB of large messages, on several connections. */
async function pieces(target: Target): Promise<Attack> {
  const rogues = await Promise.all(Array.from({ length: 8 }, () => rogueAt(target)));
  let at = 0;
  let stream = 0;
  return () => {
    const frames: Uint8Array[] = [];
    for (let bytes = 0; bytes < 1_100; bytes += frames[frames.length - 1].length) {
      frames.push(
        integers(FrameType.MESSAGE | 0x2, 2 * (stream % 16), 0, at, MESSAGE_BYTES, 0, 1),
        Uint8Array.of(7),
      );
      at += 4_096;
      if (at < MESSAGE_BYTES) continue;
      at = 0;
      stream++;
    }
    const open = Buffer.concat([integers(FrameType.STREAM_OPEN, 2 * (stream % 16)), Uint8Array.of(0x06, 0)]);
    return rogues[stream % rogues.length](Buffer.concat([open, ...frames]).subarray(0, 1_300));
  };
}

/** Packets full of acknowledgements of the same packet. */
async function acks(target: Target): Promise<Attack> {
  const rogue = await rogueAt(target);
  const frames = Buffer.concat(Array.from({ length: 230 }, () => integers(FrameType.ACK, 0, 0, 0, 0)));
  return () => rogue(frames);
}

/** A client whose packets hold what they are told to. */
async function rogueAt(target: Target): Promise<(payload: Uint8Array) => { data: Uint8Array; from: Socket }> {
  const socket = await socketAt('127.0.0.1');
  const endpoint = new Endpoint({ connection: clientConfig(), random: systemRandom, server: null });
  const core = endpoint.connect({ ...target, isLoopback: false }, now());
  socket.on('message', (data, { address, port }) => {
    const batch = new ReceiveBatch();
    batch.push(data, address, port);
    endpoint.receive(batch, now());
    sendAll(endpoint, socket, target);
  });
  sendAll(endpoint, socket, target);
  while (!isConfirmed(core)) await sleep(5);
  socket.removeAllListeners('message');
  return (payload) => ({ data: sealShort(core, payload), from: socket });
}

function sendAll(endpoint: Endpoint, socket: Socket, { host, port }: Target): void {
  const batch = new TransmitBatch(64 * 1024, 64);
  endpoint.transmit(batch, now());
  for (let i = 0; i < batch.count; i++)
    socket.send(batch.arena.slice(batch.offset[i], batch.offset[i] + batch.length[i]), port, host);
}

function sealShort(core: Connection, payload: Uint8Array): Uint8Array {
  const state = internalsOf(core).spaces[PacketSpace.APPLICATION];
  const keys = internalsOf(core).keys.toSeal(PacketSpace.APPLICATION);
  if (state === null || keys === null) throw new Error('the handshake is not over');
  const out = new Uint8Array(1 + 8 + 4 + payload.length + 16);
  const number = state.nextNumber++;
  const start = writeShortHeader(out, 0, false, 0, core.ids.destinationId, number, 4);
  out.set(payload, start);
  sealPacket(keys, out, 0, start - 4, start + payload.length, number);
  return out;
}

// ---- what they are made of ----

/** What a real client says first: its datagrams, its hello and the id it is called by. */
function firstFlight({ host, port, pin }: Target) {
  const endpoint = new Endpoint({ connection: clientConfig(), random: systemRandom, server: null });
  const core = endpoint.connect({ host, port, pin, isLoopback: false }, 0);
  const hello = handshakeOf(core)?.hello as Uint8Array;
  const batch = new TransmitBatch(64 * 1024, 16);
  endpoint.transmit(batch, 0);
  const datagrams = Array.from({ length: batch.count }, (_, i) =>
    batch.arena.slice(batch.offset[i], batch.offset[i] + batch.length[i]),
  );
  return { datagrams, hello, scid: core.ids.sourceId };
}

function clientConfig() {
  return { ...defaultConnectionConfig(AEAD), handshakeTimeoutMs: 10_000 };
}

/** Initial packets of a new handshake with these payloads, each padded to a datagram. */
function initials(
  { pin }: Target,
  scid: Uint8Array,
  payloads: readonly Uint8Array[],
  bytes = DATAGRAM_BYTES,
): Uint8Array[] {
  const dcid = randomBytes(systemRandom, 8);
  const keys = KeyRing.ofClient(AEAD, dcid, pin).toSeal(PacketSpace.INITIAL) as PacketKeys;
  return payloads.map((payload, number) => {
    const out = new Uint8Array(bytes);
    const start = writeLongHeader(out, 0, PacketType.INITIAL, false, dcid, scid, NOTHING, number, 4);
    out.set(payload, start);
    writePacketLength(out, start - 4, out.length);
    sealPacket(keys, out, 0, start - 4, out.length - 16, number);
    return out;
  });
}

function cryptoFrame(message: Uint8Array, from: number, to: number): Uint8Array {
  const frames = new FrameWriter();
  frames.begin(new Uint8Array(16 + to - from), 0, 16 + to - from);
  writeCryptoHeader(frames, from, message.length, to - from);
  frames.bytes(message.subarray(from, to));
  return frames.out.subarray(0, frames.at);
}

function integers(type: number, ...values: readonly number[]): Uint8Array {
  const out = new Uint8Array(1 + values.reduce((sum, value) => sum + varintSize(value), 0));
  out[0] = type;
  let at = 1;
  for (const value of values) at = writeVarint(out, at, value);
  return out;
}

async function socketAt(host: string): Promise<Socket> {
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  socket.bind(0, host);
  await once(socket, 'listening');
  return socket;
}

function now(): number {
  return Math.round(performance.now() * 1_000);
}

const AEAD = chooseAead('auto');
const NOTHING = new Uint8Array(0);
const SOCKETS = 64;
const DATAGRAM_BYTES = 1_200;
const MESSAGE_BYTES = 16 * 1_024 * 1_024;
