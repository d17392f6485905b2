import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../../src/base/time.ts';
import type { ConnectionConfig } from '../../../src/protocol/connection/config.ts';
import { RepairEncoder } from '../../../src/protocol/fec/repair-encoder.ts';
import { CloseCode, closeCodeName } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { SYMBOL_BIT } from '../../../src/protocol/wire/packet-header.ts';
import { Pair } from './pair.ts';
import { frame, integers, opening, Rogue, run } from './rogue.ts';

const F = FrameType;

/** A peer that protects what it sends, and loses what the test says. */
class Protector {
  readonly rogue: Rogue;
  readonly pair: Pair;
  private readonly encoder = new RepairEncoder();

  constructor(server: Partial<ConnectionConfig> = {}) {
    this.pair = new Pair({ server }).connected();
    this.rogue = new Rogue(this.pair);
    this.rogue.send(opening(0));
  }

  get victim() {
    return this.rogue.victim;
  }

  get counters() {
    return this.victim.core.counters;
  }

  /** Sends a protected packet. */
  send(symbol: Uint8Array, ahead: Uint8Array = NOTHING): number {
    const number = this.rogue.next;
    this.encoder.keep(number, symbol, 0, symbol.length);
    this.rogue.sendRaw(Buffer.concat([ahead, symbol]), SYMBOL_BIT);
    return number;
  }

  /** One that is lost. */
  lose(symbol: Uint8Array): number {
    const number = this.rogue.next;
    this.encoder.keep(number, symbol, 0, symbol.length);
    this.rogue.skip();
    return number;
  }

  repair(from: number, to: number, behind: Uint8Array = NOTHING): Uint8Array {
    const bytes = frame((w) => {
      expect(this.encoder.write(w, this.rogue.next, from, to)).toBeGreaterThan(0);
    });
    return Buffer.concat([bytes, behind]);
  }

  /** Messages that were read of stream 0, by their lengths. */
  get lengths(): number[] {
    return (this.victim.messages.get(0) ?? []).map(({ length }) => length);
  }

  /** What the acknowledgements since told as recovered. */
  get told(): number[][] {
    return this.rogue.frames(F.ACK_RECOVERED).map(({ recovered }) => [...recovered]);
  }
}

describe('a packet that is lost and repaired', () => {
  test('is taken as if it had come, and told at once, but not acknowledged [FEC-44] [FEC-45] [FEC-46]', () => {
    const peer = new Protector();
    const first = peer.send(run(0, 0, 10));
    const lost = peer.lose(run(0, 1, 11));
    peer.rogue.send(peer.repair(first, lost));
    expect(peer.lengths).toEqual([10, 11]);
    expect(peer.counters.packetsRecovered).toBe(1);
    const ack = peer.rogue.frames(F.ACK_RECOVERED).at(-1);
    expect(ack?.recovered).toEqual([lost]);
    expect(ack?.ranges.slice(0, 2)).toEqual([lost + 1, lost + 2]);
  });

  test('that comes after all is acknowledged like any other, brings nothing twice, and is told no more [FEC-45]', () => {
    const peer = new Protector();
    const first = peer.send(run(0, 0, 10));
    const lost = peer.lose(run(0, 1, 11));
    peer.rogue.send(peer.repair(first, lost));
    peer.rogue.sendLate(lost, run(0, 1, 11), SYMBOL_BIT);
    peer.send(run(0, 2, 12));
    peer.send(run(0, 3, 13));
    expect(peer.lengths).toEqual([10, 11, 12, 13]);
    expect(peer.counters.packetsReplayed).toBe(0);
    const ack = peer.rogue.heard.at(-1)?.frames.find(({ type }) => type === F.ACK);
    const [start, end] = ack?.ranges ?? [];
    expect(lost >= start && lost < end).toBe(true);
    expect(peer.victim.closed).toBeNull();
  });

  test('goes ahead of what the packet with its repair carries', () => {
    const peer = new Protector();
    const first = peer.send(run(0, 0, 10));
    const lost = peer.lose(run(0, 1, 11));
    const order: number[] = [];
    peer.victim.onEvent = () => order.push(...peer.lengths.slice(order.length));
    peer.rogue.sendRaw(peer.repair(first, lost, run(0, 2, 12)));
    expect(peer.lengths).toEqual([10, 11, 12]);
    const bestEffort = Buffer.concat([integers(F.MESSAGES_BEST_EFFORT, 0, 0, 1, 5), new Uint8Array(5)]);
    const newer = Buffer.concat([integers(F.MESSAGES_BEST_EFFORT, 0, 1, 1, 6), new Uint8Array(6)]);
    const second = peer.lose(bestEffort);
    peer.rogue.sendRaw(peer.repair(second, second, newer));
    expect(peer.lengths).toEqual([10, 11, 12, 5, 6]); // none came too late for its order
  });

  test('is recovered from a repair that came before the last symbol it needs', () => {
    const peer = new Protector();
    const symbols = [run(0, 0, 10), run(0, 1, 11), run(0, 2, 12)];
    const first = peer.send(symbols[0]);
    const late = peer.lose(symbols[1]);
    const lost = peer.lose(symbols[2]);
    peer.rogue.send(peer.repair(first, lost));
    expect(peer.lengths).toEqual([10]);
    peer.rogue.sendLate(late, symbols[1], SYMBOL_BIT);
    expect(peer.lengths).toEqual([10, 11, 12]);
    expect(peer.told.at(-1)).toEqual([lost]);
  });

  test('is not taken when a message of it may be past its deadline, counted from the arrival of one before it [FEC-44]', () => {
    const peer = new Protector();
    const message = (alive: number) =>
      Buffer.concat([integers(F.MESSAGE | 0x4, 0, 1, alive * MILLISECOND, 7), new Uint8Array(7)]);
    const first = peer.send(run(0, 0, 10)); // each packet of the peer takes 20 ms
    const lost = peer.lose(message(15));
    peer.rogue.send(peer.repair(first, lost));
    expect(peer.lengths).toEqual([10]);
    expect(peer.counters.packetsRecovered).toBe(0);
    expect(peer.told).toEqual([]);
    peer.rogue.send(message(1)); // in time when it is sent again
    expect(peer.lengths).toEqual([10, 7]);
  });

  test('is not taken with a message that has a deadline when nothing says when it would have come: it is ahead of all that had a symbol [FEC-44]', () => {
    const peer = new Protector();
    const alive = 15 * MILLISECOND;
    for (let i = 0; i < 70; i++) peer.rogue.skip();
    const lost = peer.lose(Buffer.concat([integers(F.MESSAGE | 0x4, 0, 0, alive, 7), new Uint8Array(7)]));
    peer.rogue.send(integers(F.PING)); // each packet of the peer takes 20 ms
    peer.rogue.send(peer.repair(lost, lost));
    expect(peer.counters.packetsRecovered).toBe(0);
    expect(peer.lengths).toEqual([]);
    const plain = peer.lose(run(0, 1, 8));
    peer.rogue.send(peer.repair(plain, plain));
    expect(peer.counters.packetsRecovered).toBe(1);
  });

  test('is taken when its messages are in time by that [FEC-44]', () => {
    const peer = new Protector();
    peer.victim.readsAll = false;
    const alive = 30 * MILLISECOND;
    const first = peer.send(run(0, 0, 10));
    const lost = peer.lose(Buffer.concat([integers(F.MESSAGE | 0x4, 0, 1, alive, 7), new Uint8Array(7)]));
    peer.rogue.send(peer.repair(first, lost));
    expect(peer.counters.packetsRecovered).toBe(1);
    peer.pair.run(15);
    peer.victim.read(peer.victim.streams[0]);
    expect(peer.lengths).toEqual([10]); // and out of time 30 ms after the one before it came
  });

  test('is not read for what was of the packet or of its moment [FEC-44]', () => {
    const peer = new Protector();
    const { acksReceived, heartbeatsReceived } = peer.counters;
    const symbol = Buffer.concat([
      run(0, 0, 10),
      integers(F.PING),
      integers(F.HEARTBEAT, 1, 1),
      integers(F.ACK, 0, 0, 0, 0),
      Buffer.concat([integers(F.PATH_CHALLENGE), new Uint8Array(8)]),
      integers(F.CONNECTION_CLOSE, 0, 0, 0, 0),
    ]);
    const lost = peer.lose(symbol);
    peer.rogue.send(peer.repair(lost, lost));
    expect(peer.lengths).toEqual([10]);
    expect(peer.counters).toMatchObject({ acksReceived, heartbeatsReceived });
    expect(peer.rogue.frames(F.PATH_RESPONSE)).toEqual([]);
    expect(peer.victim.closed).toBeNull();
  });

  test('is told until an acknowledgement that told it is acknowledged [FEC-46]', () => {
    const peer = new Protector();
    const lost = peer.lose(run(0, 0, 10));
    peer.rogue.send(peer.repair(lost, lost));
    for (let i = 1; i < 5; i++) peer.send(run(0, i, 10));
    expect(peer.told.length).toBeGreaterThan(1);
    for (const numbers of peer.told) expect(numbers).toEqual([lost]);
    const stream = peer.victim.streams[0];
    peer.victim.send(stream, 'makes the acknowledgement worth one');
    peer.pair.run(1);
    peer.send(run(0, 5, 10));
    const newest = peer.rogue.heard.at(-1)?.number ?? -1;
    peer.send(run(0, 6, 10), integers(F.ACK, newest, 0, 0, newest));
    const before = peer.told.length;
    peer.send(run(0, 7, 10));
    peer.send(run(0, 8, 10));
    expect(peer.told.length).toBe(before);
  });

  test('breaks the rules as if it had come: the connection closes with its code', () => {
    const peer = new Protector();
    const lost = peer.lose(integers(F.STREAM_FIN, 4, 0));
    peer.rogue.send(peer.repair(lost, lost));
    expect(closeCodeName(peer.victim.closed?.code ?? -1)).toBe('STREAM_STATE_ERROR');
  });
});

describe('what a peer makes of repairs', () => {
  test('a symbol with a repair in it, or that is no payload, is thrown away; after four, repairs are [FEC-29]', () => {
    const peer = new Protector();
    const inner = Uint8Array.of(F.REPAIR, 9, 1, 0, 1, 0, 1, 1);
    for (const symbol of [
      Buffer.concat([run(0, 0, 5), inner]),
      Uint8Array.of(0x37),
      Uint8Array.of(F.PING, F.ACK),
    ]) {
      const lost = peer.lose(symbol);
      peer.rogue.send(peer.repair(lost, lost));
      expect(peer.victim.closed).toBeNull();
      expect(peer.counters.packetsRecovered).toBe(0);
    }
    const last = peer.lose(Uint8Array.of(F.MAX_DATA));
    peer.rogue.send(peer.repair(last, last));
    const good = peer.lose(run(0, 0, 10));
    peer.rogue.send(peer.repair(good, good));
    expect(peer.lengths).toEqual([]);
    peer.send(run(0, 0, 10));
    expect(peer.lengths).toEqual([10]);
  });

  test('one that cannot be is a frame that cannot be decoded [FEC-21]', () => {
    const peer = new Protector();
    peer.rogue.sendRaw(Uint8Array.of(F.REPAIR, 1, 0, 0, 1, 0, 4, 0, 1, 1, 0));
    expect(peer.victim.closed?.code).toBe(CloseCode.FRAME_ENCODING_ERROR);
  });

  test('what it makes us keep is counted, bounded, and given back when all is quiet [FEC-40] [CON-50]', () => {
    const peer = new Protector({ repairBytes: 50_000, heartbeatMs: 300 });
    const before = peer.victim.core.metrics();
    let message = 0;
    for (; message < 100; message++) peer.send(run(0, message, 400));
    const lost = peer.lose(run(0, message, 400));
    peer.rogue.send(peer.repair(lost - 1, lost));
    const kept = peer.victim.core.metrics();
    expect(peer.lengths).toHaveLength(101);
    expect(kept.memoryReservedBytes - before.memoryReservedBytes).toBeGreaterThan(64 * 400);
    expect(kept.memoryReservedBytes - before.memoryReservedBytes).toBeLessThanOrEqual(50_000);
    expect(kept.memoryBytes - before.memoryBytes).toBeGreaterThan(64 * 400);
    expect(kept.memoryBytes - before.memoryBytes).toBeLessThan(2 * 50_000);
    peer.pair.run(400);
    expect(peer.victim.core.metrics().memoryReservedBytes).toBe(before.memoryReservedBytes);
  });

  test('what it makes us keep is given back when 65 packets in a row were not protected [FEC-26]', () => {
    const peer = new Protector();
    const memory = () => peer.victim.core.metrics().memoryReservedBytes;
    const before = memory();
    peer.send(run(0, 0, 10));
    expect(memory()).toBeGreaterThan(before);
    for (let k = 1; k <= 64; k++) peer.rogue.send(run(0, k, 10));
    expect(memory()).toBeGreaterThan(before);
    for (let k = 65; k <= 67; k++) peer.rogue.send(run(0, k, 10));
    expect(memory()).toBe(before);
  });

  test('without memory for them, repairs go by and packets are taken as ever [CON-50]', () => {
    const peer = new Protector({ memoryBytesMax: 300_000 });
    peer.send(run(0, 0, 1_000));
    const lost = peer.lose(run(0, 1, 1_000));
    peer.rogue.send(peer.repair(lost, lost));
    expect(peer.lengths).toEqual([1_000]);
    expect(peer.counters.packetsRecovered).toBe(0);
    expect(peer.victim.closed).toBeNull();
  });
});

const NOTHING = new Uint8Array(0);
