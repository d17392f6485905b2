import { describe, expect, test } from 'vitest';
import { MemoryAccount, MemoryBudget } from '../../../src/base/memory-budget.ts';
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, SECOND } from '../../../src/base/time.ts';
import { COMPRESSION_OFF, ConnectionCompression } from '../../../src/protocol/compress/compression.ts';
import { type ConnectionConfig, checkedConnectionConfig } from '../../../src/protocol/connection/config.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { CONNECTION_BYTES, memoryOf } from '../../../src/protocol/connection/metrics.ts';
import { Endpoint } from '../../../src/protocol/endpoint/index.ts';
import { ConnectionProtection } from '../../../src/protocol/fec/connection-protection.ts';
import { PROTECTION_OFF } from '../../../src/protocol/fec/protection.ts';
import { DefaultProtection } from '../../../src/protocol/fec/stream-protection.ts';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import { MESSAGE_COST } from '../../../src/protocol/stream/flow-control.ts';
import { Streams } from '../../../src/protocol/stream/streams.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { Delivery, FrameType, MessageFlag, Priority } from '../../../src/protocol/wire/frame-type.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { streamOpenFlags } from '../../../src/protocol/wire/frames/stream.ts';
import { SharedDatagrams } from '../../../src/protocol/wire/shared-datagrams.ts';
import { World, type WorldNode } from '../../../src/testing/world.ts';
import { configOf } from '../../sim/crypto.ts';
import { cleanPath } from '../fec/planned-path.ts';
import { connectionsOf } from './packet-log.ts';
import { bytesOf, config, eachSeed, IDENTITY, Pair, PORT } from './pair.ts';
import { integers, opening, Rogue, run, varint } from './rogue.ts';

const F = FrameType;
const MIB = 1024 * 1024;

/** What is kept is never more than what is reserved, for any connection, and that is never more than there is for all. */
function check(budget: MemoryBudget, accounts: Iterable<MemoryAccount> = []): void {
  const { memoryBytes, memoryReservedBytes, memoryBytesMax } = budget.metrics();
  if (memoryBytes > memoryReservedBytes) expect(memoryBytes).toBeLessThanOrEqual(memoryReservedBytes);
  if (memoryReservedBytes > memoryBytesMax) expect(memoryReservedBytes).toBeLessThanOrEqual(memoryBytesMax);
  for (const account of accounts) {
    const held = account.heldBytes;
    if (held > account.reserved) expect(held).toBeLessThanOrEqual(account.reserved);
  }
}

/** What a hostile peer does again and again. */
const SHAPES: Record<string, (peer: Hostile) => void> = {
  'messages of a byte': (p) => p.run(1),
  'messages of a byte behind gaps': (p) => p.skip().run(1),
  'messages of 1,000 bytes behind gaps': (p) => p.skip().run(1_000),
  'runs of small messages': (p) => p.run(3, 40),
  'runs of which the last message stays unread': (p) => {
    p.run(900, 8);
    p.readAllButOne();
  },
  'best-effort runs of which the last message stays unread': (p) => {
    p.bestEffort(60, 30);
    p.readAllButOne();
  },
  'runs of empty messages in a datagram of 9,000 bytes': (p) => p.run(0, 300, 8_000),
  'empty messages, one a datagram': (p) => p.run(0, 1, 60),
  'what was missing': (p) => p.fill(),
  'beginnings of messages of 2 bytes': (p) => p.begin(2),
  'beginnings of messages of 30 KB': (p) => p.begin(30_000),
  'parts of what is begun': (p) => p.goOn(),
  'a sequence far away': (p) => p.jump(40_000).run(0),
  'ABANDON of every second message': (p) => p.abandon(),
  'messages with a lifetime': (p) => p.mortal(),
  'beginnings with a lifetime, far away': (p) => p.jump(9_000).mortal(5_000),
  'best-effort messages of a byte': (p) => p.bestEffort(1),
  'runs of best-effort messages': (p) => p.bestEffort(20, 20),
  'best-effort messages that are begun': (p) => p.beginBestEffort(500),
  streams: (p) => p.open(),
  'a reset': (p) => p.reset(),
};

/** A stream, as the peer knows it. */
interface Row {
  readonly id: number;
  next: number;
  newest: number;
  readonly missing: number[];
  readonly begun: [number, number][];
}

/** The streams of a connection whose peer does what it likes within its credit, and whose application reads when it likes. */
class Hostile {
  readonly streams: Streams<Connection>;
  readonly account: MemoryAccount;
  refused = 0;
  isClosed = false;
  private readonly random: Prng;
  private readonly reader = new FrameReader();
  private readonly rows: Row[] = [];
  /** The stream of the next packets. */
  private row!: Row;
  private opened = 0;
  private now = SECOND;
  /** Packets that come together in one memory. */
  private together: Uint8Array[] | null = null;

  constructor(budget: MemoryBudget, random: Prng) {
    this.random = random;
    this.account = new MemoryAccount(budget, CONNECTION_BYTES);
    const lifecycle = { close: () => {} };
    const connection = { role: 'server', touch: () => {}, lifecycle } as unknown as Connection;
    const limits = { streamWindowStartBytes: 16_384, connectionWindowStartBytes: 32_768 };
    const settings = config({
      ...limits,
      messageBytesMax: 64_000,
      streamsMax: 100,
      bestEffortBytes: 200_000,
    });
    this.streams = new Streams(connection, settings, { push: () => {} }, this.account, {
      protection: new ConnectionProtection(cleanPath()),
      defaultProtection: new DefaultProtection(PROTECTION_OFF),
      compression: new ConnectionCompression(COMPRESSION_OFF, UNKNOWN_PATH),
    });
    this.account.holder = this;
    this.open();
  }

  get heldBytes(): number {
    return memoryOf(this.streams, 0);
  }

  onRoom(): void {
    this.streams.onRoom();
  }

  // ---- what its peer does ----

  /** Whose stream is at hand. Default: any. */
  choose(id?: number): void {
    const index = this.rows.findIndex((row) => row.id === id);
    this.row = this.rows[index < 0 ? this.random.below(this.rows.length) : index];
  }

  open(): this {
    if (this.opened === 100) return this;
    const id = 2 * this.opened;
    const flags = streamOpenFlags(Priority.CHAT, this.random.below(2) === 0, Delivery.RELIABLE);
    this.take(Buffer.concat([integers(F.STREAM_OPEN, id), Uint8Array.of(flags, 0)]));
    if (this.streams.find(id) === undefined) return this;
    this.opened++;
    this.rows.push({ id, next: 0, newest: 0, missing: [], begun: [] });
    this.choose();
    return this;
  }

  run(length: number, count = 1, padding = 0): void {
    const row = this.row;
    if (!this.hasCredit(row.id, row.next, count * (length + MESSAGE_COST))) return;
    if (this.take(run(row.id, row.next, ...new Array<number>(count).fill(length)), padding))
      row.next += count;
  }

  skip(): this {
    const row = this.row;
    row.missing.push(row.next++);
    return this;
  }

  jump(sequences: number): this {
    const row = this.row;
    const { receiver } = this.streams.find(row.id)!;
    const { floor } = (receiver as unknown as { reliable: { seen: { floor: number } } }).reliable.seen;
    if (row.next + sequences - floor < 65_000) {
      row.missing.push(row.next);
      row.next += sequences;
    }
    return this;
  }

  fill(): void {
    const row = this.row;
    const sequence = row.missing[0];
    if (sequence === undefined || !this.hasCredit(row.id, sequence, 1 + MESSAGE_COST)) return;
    if (this.take(run(row.id, sequence, 1))) row.missing.shift();
  }

  begin(total: number): void {
    const row = this.row;
    if (!this.hasCredit(row.id, row.next, total + MESSAGE_COST)) return;
    if (this.part(row.id, row.next, this.random.below(total), total, 1)) row.begun.push([row.next++, total]);
  }

  goOn(): void {
    const { id, begun } = this.row;
    const message = begun[this.random.below(Math.max(1, begun.length))];
    if (message === undefined) return;
    const [sequence, total] = message;
    const offset = this.random.below(total);
    const length = Math.min(total - offset, 1 + this.random.below(this.random.below(2) === 0 ? 3 : 1_200));
    this.part(id, sequence, offset, total, length);
  }

  abandon(): void {
    const row = this.row;
    if (!this.hasCredit(row.id, row.next + 1, MESSAGE_COST)) return;
    if (!this.take(integers(F.ABANDON, row.id, row.next + 1, 1, 0))) return;
    row.missing.push(row.next);
    row.next += 2;
  }

  mortal(total = 0): void {
    const row = this.row;
    if (!this.hasCredit(row.id, row.next, total + MESSAGE_COST)) return;
    const flags = MessageFlag.LIFETIME | (total > 0 ? MessageFlag.FRAGMENT : 0);
    const place = total > 0 ? [3, total, 0] : [];
    const frame = integers(F.MESSAGE | flags, row.id, row.next, ...place, 20_000, 1);
    if (total === 0 && !this.hasCredit(row.id, row.next, 1 + MESSAGE_COST)) return;
    if (this.take(Buffer.concat([frame, Uint8Array.of(1)]))) row.next++;
  }

  bestEffort(length: number, count = 1): void {
    const row = this.row;
    row.newest += 1 + this.random.below(3) * this.random.below(3_000);
    const messages = Buffer.concat(
      new Array(count).fill(Buffer.concat([varint(length), new Uint8Array(length)])),
    );
    this.take(Buffer.concat([integers(F.MESSAGES_BEST_EFFORT, row.id, row.newest, count), messages]), 40);
    row.newest += count;
  }

  beginBestEffort(total: number): void {
    const row = this.row;
    row.newest += 1 + this.random.below(500);
    const flags = MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT;
    const frame = integers(
      F.MESSAGE | flags,
      row.id,
      row.newest,
      this.random.below(total),
      total,
      row.newest,
      1,
    );
    this.take(Buffer.concat([frame, Uint8Array.of(1)]));
  }

  reset(): void {
    if (this.random.below(40) > 0 || this.rows.length < 2) return;
    const [row] = this.rows.splice(this.random.below(this.rows.length), 1);
    this.take(integers(F.RESET_STREAM, row.id, 7, row.next + 1_000));
  }

  /** What it sends until {@link arrive} comes at once. */
  gather(): void {
    this.together = [];
  }

  arrive(): void {
    const packets = this.together ?? [];
    this.together = null;
    const arena = Buffer.concat(packets);
    const data: Uint8Array[] = [];
    const offset: number[] = [];
    let at = 0;
    for (const { length } of packets) {
      data.push(arena.subarray(at, at + length));
      offset.push(arena.byteOffset + at);
      at += length;
    }
    const shared = new SharedDatagrams();
    shared.begin({ data, offset, owner: packets.map(() => this), count: packets.length });
    for (const [i, datagram] of data.entries()) {
      shared.read(i);
      this.receive(datagram, shared);
    }
    shared.finish();
  }

  /** Tells that it needs more, and is given what there is. */
  ask(): void {
    const { receiveCounts } = this.streams;
    const { id } = this.row;
    this.take(
      Buffer.concat([
        integers(F.DATA_BLOCKED, receiveCounts.window.announced + 40_000),
        integers(F.STREAM_DATA_BLOCKED, id, this.streams.find(id)!.receiver.window.announced + 40_000),
      ]),
    );
    if (receiveCounts.window.due) receiveCounts.window.announce();
    for (const { receiver } of this.streams.values()) if (receiver.window.due) receiver.window.announce();
  }

  // ---- what its application does ----

  read(count: number): void {
    const stream = this.streams.find(this.row.id)!;
    for (let i = 0; i < count && stream.read(this.now) !== null; i++);
    stream.onRead();
  }

  /** Of the stream at hand. */
  readAllButOne(): void {
    const stream = this.streams.find(this.row.id)!;
    while (stream.receiver.readable > 1 && stream.read(this.now) !== null);
    stream.onRead();
  }

  wait(): void {
    this.now += 50 * MILLISECOND;
    this.streams.onTimeout(this.now, this.now, 0);
  }

  // ---- inside ----

  /** It went over its credit, where more was refused than it knew. */
  private close(): false {
    this.isClosed = true;
    this.account.close();
    return false;
  }

  private hasCredit(id: number, sequence: number, bytes: number): boolean {
    const { window } = this.streams.receiveCounts;
    const own = this.streams.find(id)!.receiver.window;
    const gathered = 4_000 * (this.together?.length ?? 0);
    const isIn =
      window.used + bytes + gathered <= window.announced && own.used + bytes + gathered <= own.announced;
    return isIn && sequence >= 0;
  }

  part(id: number, sequence: number, offset: number, total: number, length: number): boolean {
    const bytes = new Uint8Array(length);
    return this.take(
      Buffer.concat([
        integers(F.MESSAGE | MessageFlag.FRAGMENT, id, sequence, offset, total, 0, length),
        bytes,
      ]),
    );
  }

  /** False when it is not taken. */
  take(frames: Uint8Array, padding = 0): boolean {
    const data = new Uint8Array(frames.length + padding);
    data.set(frames);
    if (this.together !== null) this.together.push(data);
    return this.together !== null || this.receive(data, null);
  }

  private receive(data: Uint8Array, shared: SharedDatagrams | null): boolean {
    const { reader, streams } = this;
    reader.reset(data, 0, data.length);
    reader.isKept = shared !== null;
    reader.shared = shared;
    while (nextFrame(reader)) {
      if (reader.type === F.PADDING) break;
      const isMessage = reader.type >= F.MESSAGE && reader.type <= F.MESSAGES_BEST_EFFORT;
      const code = isMessage
        ? streams.onMessageFrame(reader, this.now++)
        : streams.onControlFrame(reader, this.now);
      if (code === CloseCode.FLOW_CONTROL_ERROR) return this.close();
      if (code !== 0) throw new Error(`close code ${code} for a frame of type ${reader.type}`);
    }
    if (reader.error !== 0) throw new Error('a frame cannot be decoded');
    const { isRefusing } = streams;
    streams.onPacketEnd();
    if (isRefusing) this.refused++;
    return !isRefusing;
  }
}

describe('hostile peers of an endpoint', () => {
  test.each(Object.keys(SHAPES))(
    'make it keep no more than is reserved, and that is no more than its bound: %s [CON-50] [CON-53]',
    (name) => {
      eachSeed(1, 4, (seed) => {
        const random = new Prng(seed);
        const budget = new MemoryBudget(MIB);
        const peers = Array.from({ length: 6 }, () => new Hostile(budget, random));
        const others = Object.values(SHAPES);
        check(budget);
        for (let i = 0; i < 6_000; i++) {
          const k = random.below(peers.length);
          // A server lets nobody in for whom there is no room.
          if (peers[k].isClosed && budget.available > 200_000) peers[k] = new Hostile(budget, random);
          if (peers[k].isClosed) continue;
          const peer = peers[k];
          peer.choose();
          const isFavourite = random.below(10) < 8;
          const act = isFavourite ? SHAPES[name] : others[random.below(others.length)];
          if (random.below(12) === 0) {
            peer.gather();
            for (let n = random.below(12); n >= 0; n--) act(peer);
            peer.arrive();
          } else act(peer);
          if (peer.isClosed) continue;
          check(budget, [peer.account]);
          if (random.below(6) === 0) peer.ask();
          // Somebody reads a little in the second half.
          if (i > 3_000 && random.below(10) === 0) peer.read(1 + random.below(5));
          if (random.below(200) === 0) peer.wait();
          check(budget, [peer.account]);
        }
      });
    },
    60_000,
  );

  test.each([
    ['reliable', (p: Hostile) => p.run(900, 8)],
    ['best-effort', (p: Hostile) => p.bestEffort(60, 30)],
  ])(
    'gain nothing by %s runs of which the last message stays unread, in the memory of all of them [CON-53]',
    (_, begin) => {
      const random = new Prng(1);
      const budget = new MemoryBudget(MIB);
      const peer = new Hostile(budget, random);
      for (let i = 0; i < 20; i++) peer.open();
      new MemoryAccount(budget, 0).take(budget.available);
      for (const stream of peer.streams.values()) {
        peer.choose(stream.id);
        begin(peer);
        peer.readAllButOne();
        expect(stream.receiver.readable).toBe(1);
        peer.ask();
        check(budget, [peer.account]);
      }
      // Then it uses all that it has.
      for (let i = 0; i < 200; i++) {
        peer.choose();
        peer.skip().run(1_000);
        peer.bestEffort(100, 4);
        check(budget, [peer.account]);
      }
    },
  );

  test('are left a place on each stream, the beginnings that all else waits for, and parts that add to what is there [CON-53]', () => {
    const budget = new MemoryBudget(MIB);
    const peer = new Hostile(budget, new Prng(1));
    for (let i = 0; i < 30; i++) peer.open();
    new MemoryAccount(budget, 0).take(budget.available);
    const [first, second, last, whole, ...others] = [...peer.streams.values()];
    peer.choose(first.id);
    for (let i = 0; i < 200 && peer.refused === 0; i++) peer.skip().run(1);
    const isTaken = (act: () => unknown) => {
      const before = peer.refused;
      act();
      check(budget, [peer.account]);
      return peer.refused === before;
    };
    expect(isTaken(() => peer.skip().run(1))).toBe(false);
    for (const { id, receiver } of others) {
      peer.choose(id);
      expect(isTaken(() => peer.run(1))).toBe(true);
      expect(receiver.readable).toBe(1);
      expect(isTaken(() => peer.run(1))).toBe(false);
    }
    // A mark that is far away takes memory, too.
    peer.choose(others[0].id);
    expect(isTaken(() => peer.part(others[0].id, 40_000, 0, 100, 1))).toBe(false);
    expect(isTaken(() => peer.take(integers(F.ABANDON, others[0].id, 40_000, 1, 0)))).toBe(false);
    // Parts of the first message of a stream: the last of the memory goes to pieces of it, and then only what adds to one is taken.
    const { id } = second;
    expect(isTaken(() => peer.part(id, 0, 0, 9_000, 10))).toBe(true);
    let pieces = 0;
    while (pieces < 400 && isTaken(() => peer.part(id, 0, 20 * pieces + 100, 9_000, 1))) pieces++;
    expect(pieces).toBeGreaterThan(50);
    expect(pieces).toBeLessThan(400);
    // Not a byte is left for anything else.
    const { overhead } = peer.streams;
    while (overhead.admits(1, true)) overhead.add(1);
    peer.choose(last.id);
    expect(isTaken(() => peer.run(1))).toBe(true);
    peer.choose(whole.id);
    expect(isTaken(() => peer.mortal())).toBe(true);
    expect([last.receiver.readable, whole.receiver.readable]).toEqual([1, 1]);
    for (let at = 10; at < 9_000; at += 10) expect(isTaken(() => peer.part(id, 0, at, 9_000, 10))).toBe(true);
    expect(second.receiver.readable).toBe(1);
  });

  test('get most of the memory there is, all the same, and are refused the rest [CON-53]', () => {
    const random = new Prng(1);
    const budget = new MemoryBudget(MIB);
    const peers = Array.from({ length: 6 }, () => new Hostile(budget, random));
    for (let i = 0; i < 20_000; i++) {
      const peer = peers[random.below(peers.length)];
      peer.skip().run(1);
      if (i % 10 === 0) peer.ask();
      check(budget);
    }
    expect(budget.reserved).toBeGreaterThan(0.8 * MIB);
    for (const { refused } of peers) expect(refused).toBeGreaterThan(0);
  });
});

describe('a packet with something for which there is no memory', () => {
  /** A rogue that has filled the memory of its victim with messages behind a gap. */
  function filled() {
    const pair = new Pair({ server: { memoryBytesMax: 180_000, stallTimeoutMs: 3_000 } }).connected();
    pair.server.readsAll = false;
    const rogue = new Rogue(pair);
    rogue.send(opening(0));
    const refused = () => pair.server.core.metrics().packetsRefused;
    for (let i = 1; i < 400 && refused() === 0; i++) rogue.send(run(0, i, 1));
    expect(refused()).toBeGreaterThan(0);
    return { pair, rogue, refused };
  }
  const acked = (rogue: Rogue) => rogue.frames(F.ACK).flatMap(({ ranges }) => ranges as number[]);
  const isAcked = (rogue: Rogue, number: number) => {
    const ranges = acked(rogue);
    for (let i = 0; i < ranges.length; i += 2) if (ranges[i] <= number && number < ranges[i + 1]) return true;
    return false;
  };

  test('is not acknowledged, and taken when it comes again and there is some [CON-53]', () => {
    const { pair, rogue, refused } = filled();
    const before = refused();
    const number = rogue.next;
    rogue.send(run(0, 500, 1), Uint8Array.of(F.PING));
    pair.run(100);
    expect(refused()).toBe(before + 1);
    expect(isAcked(rogue, number)).toBe(false);
    const heard = rogue.frames(F.ACK).length;
    rogue.send(Uint8Array.of(F.PING));
    pair.run(100);
    expect(rogue.frames(F.ACK).length).toBeGreaterThan(heard);
    expect(isAcked(rogue, number + 1)).toBe(false); // it would show that the one before is lost
    // The message at the gap is what all wait for.
    rogue.send(run(0, 0, 1));
    const [stream] = pair.server.streams;
    expect(pair.server.read(stream)).toBeGreaterThan(100);
    rogue.send(Uint8Array.of(F.PING));
    rogue.send(run(0, 500, 1));
    pair.run(100);
    for (const taken of [2, 3, 4]) expect(isAcked(rogue, number + taken)).toBe(true);
    for (const gone of [0, 1]) expect(isAcked(rogue, number + gone)).toBe(false);
    expect(refused()).toBe(before + 2);
    expect(pair.server.closed).toBeNull();
  });

  test('does not keep a larger size of packets from being found [CON-53] [REC-45]', () => {
    const { rogue, refused } = filled();
    const before = refused();
    rogue.send(run(0, 500, 1));
    rogue.send(Uint8Array.of(F.PING, ...new Uint8Array(200)));
    expect(refused()).toBe(before + 1);
  });

  test('has its other frames taken, and those of a stream that it could not open ignored [CON-53]', () => {
    const { pair, rogue, refused } = filled();
    const { receiveCounts } = pair.server.core.streams;
    const before = refused();
    rogue.send(opening(2), run(2, 0, 5), run(0, 0, 1));
    expect(refused()).toBe(before + 1);
    expect(pair.server.closed).toBeNull();
    expect(pair.server.streams).toHaveLength(1);
    const [stream] = pair.server.streams;
    expect(pair.server.read(stream)).toBeGreaterThan(100);
    const { messages } = receiveCounts;
    rogue.send(opening(2), run(2, 0, 5), run(0, 0, 1)); // some of it for the second time
    expect(pair.server.streams).toHaveLength(2);
    expect(pair.server.read(pair.server.streams[1])).toBe(1);
    expect(receiveCounts.messages).toBe(messages + 1);
  });

  test('comes again once a second until there is some, however long there was none [CON-53] [REC-99]', () => {
    const pair = new Pair().connected();
    const { memory } = pair.server.endpoint;
    const others = new MemoryAccount(memory, 0);
    const bytes = memory.available;
    others.take(bytes);
    for (let i = 0; i < 40; i++) pair.client.send(pair.client.open(), bytesOf(10));
    pair.run(600_000);
    const { messagesReceived, packetsRefused } = pair.server.core.metrics();
    expect(messagesReceived).toBeLessThan(40);
    expect(packetsRefused).toBeGreaterThan(500);
    expect(packetsRefused).toBeLessThan(2_000);
    others.give(bytes);
    pair.run(1_200);
    expect(pair.server.core.metrics().messagesReceived).toBe(40);
    expect(pair.client.core.metrics().bytesInFlight).toBe(0);
  });

  test('is no stall of the peer, for as long as it is refused [STR-35] [CON-53]', () => {
    const { pair, rogue } = filled();
    for (let s = 0; s < 8; s++) {
      for (let i = 0; i < 3; i++) rogue.send(run(0, 500, 1));
      pair.run(1_000);
    }
    expect(pair.server.closed).toBeNull();
    for (let s = 0; s < 20; s++) {
      rogue.send(Uint8Array.of(F.PING));
      pair.run(1_000);
    }
    expect(pair.server.closed?.by).toBe('local');
  });
});

/** A server with little memory, and clients that send it many small messages. */
class Crowd {
  readonly world: World;
  readonly server: Endpoint;
  readonly clients: { node: WorldNode; endpoint: Endpoint; connection: Connection }[] = [];
  readonly got = new Map<string, Buffer[]>();
  readonly closed: unknown[] = [];
  /** Streams that can be read, and are not for a while. */
  private readonly unread = new Set<ConnectionStream>();
  private readonly random: Prng;
  private readonly node: WorldNode;
  isStalled = false;

  constructor(seed: number, clients: number, server: Partial<ConnectionConfig>) {
    this.random = new Prng(seed);
    this.world = new World({ seed, link: { delayMs: 20, jitterMs: 10, loss: 0.03 } });
    const settings = (changes: Partial<ConnectionConfig>) =>
      checkedConnectionConfig({ ...configOf('null'), idleTimeoutMs: 120_000, ...changes });
    const accept = {
      identity: IDENTITY,
      acceptUnpinned: false,
      halfOpenMax: 64,
      connectionsMax: 64,
      isLoopback: () => false,
    };
    this.server = new Endpoint({ connection: settings(server), random: this.random.fork(), server: accept });
    this.node = this.world.add(this.server, { host: 'server', port: PORT, pump: () => this.pump() });
    for (let i = 0; i < clients; i++) this.connect(`client ${i}`, settings({}));
  }

  private connect(host: string, connection: ConnectionConfig): void {
    const endpoint = new Endpoint({ connection, random: this.random.fork(), server: null });
    const pump = () => {
      for (let event = endpoint.pollEvent(); event !== null; event = endpoint.pollEvent())
        if (event.type === 'closed') this.closed.push(event.reason);
    };
    const node = this.world.add(endpoint, { host, port: PORT, pump });
    const target = { host: 'server', port: PORT, pin: IDENTITY.fingerprint, isLoopback: false };
    const core = endpoint.connect(target, this.world.now);
    node.wake();
    const isReady = () => core.lifecycle.takesStreams && core.lifecycle.isEstablished;
    if (this.world.run({ until: isReady, forMs: 20_000 }) !== 'until')
      throw new Error(`${host} does not connect`);
    this.clients.push({ node, endpoint, connection: core });
  }

  /** Reads on, and all that waits. */
  readAll(): void {
    this.isStalled = false;
    for (const stream of this.unread) this.read(stream);
    this.unread.clear();
    this.node.wake();
  }

  private check(): void {
    const accounts = connectionsOf(this.server).map(
      (connection) => (connection as unknown as { memory: MemoryAccount }).memory,
    );
    check(this.server.memory, accounts);
  }

  private pump(): void {
    this.check();
    for (let event = this.server.pollEvent(); event !== null; event = this.server.pollEvent()) {
      if (event.type === 'closed') this.closed.push(event.reason);
      if (event.type !== 'readable') continue;
      if (this.isStalled) {
        this.unread.add(event.stream);
        // some read a little
        if (this.random.below(3) === 0) this.read(event.stream, 1);
      } else this.read(event.stream);
    }
    this.check();
  }

  private read(stream: ConnectionStream, count = Number.POSITIVE_INFINITY): void {
    const got = this.got.get(stream.label) ?? [];
    this.got.set(stream.label, got);
    for (let i = 0; i < count; i++) {
      const message = stream.read(this.world.now);
      if (message === null) break;
      got.push(Buffer.from(message));
    }
    stream.onRead();
  }
}

describe('an endpoint with too little memory for what its peers send', () => {
  test('gets all of it when its application reads, closes nobody, and keeps to its bound all the while [CON-50] [CON-53]', () => {
    let refused = 0;
    eachSeed(1, 6, (seed) => {
      const random = new Prng(1_000 + seed);
      const crowd = new Crowd(seed, 8, { memoryBytesMax: 1_150_000, streamsMax: 40 });
      crowd.isStalled = true;
      const sent = new Map<string, Buffer[]>();
      for (const [c, { connection, node }] of crowd.clients.entries()) {
        for (let s = 0; s < 8; s++) {
          const label = `${c} ${s}`;
          const ordered = s % 4 !== 3;
          const stream = connection.streams.open({
            priority: Priority.CHAT,
            delivery: Delivery.RELIABLE,
            ordered,
            label,
          });
          const messages: Buffer[] = [];
          for (let i = 0; i < 150; i++) {
            const length = random.below(10) === 0 ? random.below(4_000) : random.below(40);
            messages.push(Buffer.concat([Buffer.from(`${i} `), bytesOf(length, i)]));
          }
          for (const message of messages)
            stream.send(message, Delivery.RELIABLE, Number.POSITIVE_INFINITY, false);
          sent.set(label, messages);
        }
        node.wake();
      }
      const counted = () => [...crowd.got.values()].reduce((sum, { length }) => sum + length, 0);
      if (seed % 2 === 0) crowd.world.run({ forMs: 45_000 });
      for (let round = 0; seed % 2 === 1 && round < 6; round++) {
        crowd.isStalled = round % 2 === 0;
        if (!crowd.isStalled) crowd.readAll();
        crowd.world.run({ forMs: crowd.isStalled ? 2_000 : 200 });
      }
      refused += connectionsOf(crowd.server).reduce((sum, each) => sum + each.metrics().packetsRefused, 0);
      crowd.readAll();
      const all = crowd.world.run({ until: () => counted() === 8 * 8 * 150, forMs: 300_000 });
      expect(crowd.closed).toEqual([]);
      expect([all, counted()]).toEqual(['until', 8 * 8 * 150]);
      for (const [label, messages] of sent) {
        const got = crowd.got.get(label)!;
        const isOrdered = Number(label.split(' ')[1]) % 4 !== 3;
        const inOrder = (list: Buffer[]) => (isOrdered ? list : list.toSorted(Buffer.compare));
        const expected = inOrder(messages);
        if (!inOrder(got).every((message, i) => message.equals(expected[i]))) expect(got).toEqual(messages);
      }
      // Nothing is left but the streams.
      for (const { streams } of connectionsOf(crowd.server))
        expect(streams.overhead.used - 8 * (2_048 + 320)).toBeLessThan(8 * 300);
    });
    expect(refused).toBeGreaterThan(100);
  }, 120_000);
});

const UNKNOWN_PATH = {
  mtu: 1_200,
  rtt: { hasSample: false, smoothed: 0 },
  congestion: { pacingRate: 0 },
  loss: { rate: 0 },
};
