/** What an option does for an application, measured between two ends of a lab in virtual time: small figures that the values of profiles are judged by. */

import { Prng } from '../../src/base/random.ts';
import { MILLISECOND } from '../../src/base/time.ts';
import { quantileOf } from '../../src/bench/figures.ts';
import { LabPath, type PathOptions, PERFECT_PATH } from '../../src/bench/lab-path.ts';
import type { Connection, Stream, StreamOptions, TransportOptions } from '../../src/index.ts';

export interface Rhythm {
  readonly count: number;
  /** So many of the first do not count. */
  readonly warmUp?: number;
  readonly everyMs: number;
  readonly bytes: number;
  readonly stream?: StreamOptions;
}

/** One-way times in ms of small messages, sorted. */
export async function oneWayTimes(
  transport: TransportOptions,
  path: Partial<PathOptions>,
  { count, warmUp = 0, everyMs, bytes, stream = {} }: Rhythm,
  beside: (connection: Connection) => void = () => {},
): Promise<number[]> {
  const ends = await LabPath.open({ ...PERFECT_PATH, ...path }, transport);
  const times: number[] = [];
  ends.server.on('stream', (incoming) =>
    incoming.on('message', (message) => {
      if (message.length !== bytes) return;
      times.push((ends.now - message.readDoubleBE(0)) / MILLISECOND);
    }),
  );
  beside(ends.client);
  const outgoing = ends.client.openStream(stream);
  const message = Buffer.alloc(bytes);
  for (let i = 0; i < count; i++) {
    message.writeDoubleBE(ends.now);
    outgoing.send(message);
    await ends.lab.run(everyMs);
  }
  for (let i = 0; i < 100 && times.length < count; i++) await ends.lab.run(100);
  ends.client.destroy();
  await ends.lab.run(1);
  return times.slice(warmUp).sort((a, b) => a - b);
}

/** Mbit/s of one stream that always has something to send, after the first seconds. */
export async function goodput(
  transport: TransportOptions,
  path: Partial<PathOptions>,
  { warmUpMs = 2_000, forMs = 2_000, stream = {} as StreamOptions } = {},
): Promise<number> {
  const ends = await LabPath.open({ ...PERFECT_PATH, ...path }, transport);
  let bytes = 0;
  ends.server.on('stream', (incoming) =>
    incoming.on('message', (message) => {
      bytes += message.length;
    }),
  );
  saturate(ends.client, stream);
  await ends.lab.run(warmUpMs);
  const before = bytes;
  await ends.lab.run(forMs);
  const rate = ((bytes - before) * 8) / (forMs * 1_000);
  ends.client.destroy();
  await ends.lab.run(1);
  return rate;
}

/** Sends as much as the stream takes for as long as the connection is open. */
export function saturate(connection: Connection, options: StreamOptions = {}): void {
  const stream = connection.openStream(options);
  const message = new Uint8Array(8_192);
  new Prng(1).fill(message); // which no compression makes smaller
  const fill = (): void => {
    while (stream.send(message));
  };
  stream.on('drain', fill);
  stream.on('error', () => {});
  fill();
}

export function quantile(sorted: readonly number[], share: number): number {
  return quantileOf(sorted, share);
}

/** Bytes that arrive of a stream that says nothing of itself, as a multiple of those of one with these options. */
export async function shareBeside(transport: TransportOptions, other: StreamOptions): Promise<number> {
  const path = { rttMs: 20, bitsPerSecond: 10e6, queueBytes: 50_000 };
  const ends = await LabPath.open({ ...PERFECT_PATH, ...path }, transport);
  const bytes = { plain: 0, other: 0 };
  ends.server.on('stream', (incoming) =>
    incoming.on('message', (message) => {
      bytes[incoming.label === 'other' ? 'other' : 'plain'] += message.length;
    }),
  );
  saturate(ends.client, { ...other, label: 'other' });
  saturate(ends.client);
  await ends.lab.run(5_000);
  ends.client.destroy();
  await ends.lab.run(1);
  return bytes.plain / bytes.other;
}

/** Whether both ends still have the connection after no datagram got through for so long. */
export async function survives(transport: TransportOptions, outageMs: number): Promise<boolean> {
  const ends = await LabPath.open(PERFECT_PATH, transport);
  ends.lab.network.cut(ends.clientHost);
  await ends.lab.run(outageMs);
  ends.lab.network.mend(ends.clientHost);
  await ends.lab.run(60_000);
  const isThere = ends.client.isOpen && ends.server.isOpen;
  ends.client.destroy();
  await ends.lab.run(1);
  return isThere;
}

/** ms until the server knows that a client of which nothing comes any more is gone. */
export async function noticesAfter(transport: TransportOptions): Promise<number> {
  const ends = await LabPath.open(PERFECT_PATH, transport);
  ends.lab.network.cut(ends.clientHost);
  const from = ends.now;
  await ends.lab.settle(ends.server.closed, 600_000);
  const took = (ends.now - from) / MILLISECOND;
  ends.client.destroy();
  await ends.lab.run(1);
  return took;
}

/** Traffic of an idle connection. */
export interface IdleTraffic {
  /** How often the client's radio wakes: it sleeps when nothing came or went for 2 s. */
  readonly wakes: number;
  /** Datagrams both ways. */
  readonly datagrams: number;
}

/** Both ends do nothing for so long. */
export async function idleTraffic(transport: TransportOptions, minutes: number): Promise<IdleTraffic> {
  const ends = await LabPath.open(PERFECT_PATH, transport);
  await ends.lab.run(60_000); // what follows a handshake is over
  const radio = new Radio();
  ends.lab.network.tap = (_data, _from, _host, _port, now) => radio.onDatagram(now);
  await ends.lab.run(minutes * 60_000);
  const isThere = ends.client.isOpen && ends.server.isOpen;
  ends.client.destroy();
  await ends.lab.run(1);
  if (!isThere) throw new Error('the connection did not stay');
  return radio;
}

/** A radio that goes to sleep when nothing came or went for a while. */
export class Radio implements IdleTraffic {
  wakes = 0;
  datagrams = 0;
  private awakeUntil = 0;

  onDatagram(now: number): void {
    this.datagrams++;
    if (now > this.awakeUntil) this.wakes++;
    this.awakeUntil = now + RADIO_TAIL_MS * MILLISECOND;
  }
}

/** The largest datagrams, in bytes of UDP payload, while both sides send each other messages of 4 KB. */
export async function largestDatagrams(
  client: TransportOptions,
  server: TransportOptions,
): Promise<{ fromClient: number; fromServer: number }> {
  const ends = await LabPath.open(PERFECT_PATH, client, server);
  const largest = { fromClient: 0, fromServer: 0 };
  ends.lab.network.tap = (data, from) => {
    const side = from.home === ends.clientHost ? 'fromClient' : 'fromServer';
    largest[side] = Math.max(largest[side], data.length);
  };
  let received = 0;
  for (const [one, other] of [
    [ends.client, ends.server],
    [ends.server, ends.client],
  ]) {
    other.on('stream', (stream) =>
      stream.on('message', () => {
        received++;
      }),
    );
    const stream = one.openStream();
    for (let i = 0; i < 20; i++) stream.send(new Uint8Array(4_096));
  }
  await ends.lab.run(5_000);
  if (received !== 40) throw new Error(`${received} of 40 messages came`);
  ends.client.destroy();
  await ends.lab.run(1);
  return largest;
}

/**
 * What a server can make a client keep, in bytes: one that has read for a while, so that its windows have grown, and then reads nothing
 * any more; of best-effort messages, that never did.
 */
export async function unreadBytes(
  transport: TransportOptions,
  { streams, delivery = 'reliable' }: { streams: number; delivery?: StreamOptions['delivery'] },
): Promise<number> {
  const ends = await LabPath.open({ ...PERFECT_PATH, rttMs: 100 }, transport, {});
  const incoming: Stream[] = [];
  ends.client.on('stream', (stream) => {
    incoming.push(stream);
    if (delivery === 'reliable') stream.on('message', () => {});
  });
  const empty = ends.client.metrics().memoryBytes;
  if (delivery === 'reliable') {
    for (let i = 0; i < streams; i++) saturate(ends.server);
    await ends.lab.run(1_500);
    for (const stream of incoming) stream.pause();
    await ends.lab.run(1_000);
  } else {
    const stream = ends.server.openStream({ delivery });
    for (let i = 0; i < 400; i++) {
      stream.send(new Uint8Array(4_096));
      await ends.lab.run(5);
    }
  }
  const kept = ends.client.metrics().memoryBytes - empty;
  ends.client.destroy();
  await ends.lab.run(1);
  return kept;
}

const RADIO_TAIL_MS = 2_000;
