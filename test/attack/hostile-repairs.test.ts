import { describe, expect, test } from 'vitest';
import type { RepairDecoder } from '../../src/protocol/fec/repair-decoder.ts';
import { CloseCode, closeCodeName } from '../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../src/protocol/wire/frame-type.ts';
import { SYMBOL_BIT } from '../../src/protocol/wire/packet-header.ts';
import { internalsOf } from '../protocol/connection/internals.ts';
import { Pair } from '../protocol/connection/pair.ts';
import { fragment, integers, opening, Rogue, run } from '../protocol/connection/rogue.ts';
import { bytesOf, repairOf } from '../protocol/fec/link.ts';
import { slowParity } from '../protocol/fec/slow-code.ts';

const F = FrameType;

describe('a peer that floods with repairs', () => {
  test('of what was never sent is let keep what it was told, and a message gets through [FEC-27] [FEC-28]', () => {
    const { pair, rogue, victim } = attacked();
    const before = victim.core.metrics().memoryReservedBytes;
    let bytes = 0;
    for (let i = 0; i < 600; i++) {
      rogue.skip(i % 3);
      const span = Math.min(32, rogue.next);
      const { frame } = repairOf({ carrying: 0, group: 1, row: i % 128, span, parity: bytesOf(i, 1_100) });
      bytes += frame.length;
      rogue.postRaw(frame);
      if (i % 20 === 0) pair.run(5);
      if (i % 100 === 99) within(victim, before, bytes);
    }
    pair.run(50);
    within(victim, before, bytes);
    expect(victim.closed).toBeNull();
    rogue.send(opening(0), run(0, 0, 5));
    expect(victim.messages.get(0)).toHaveLength(1);
  });

  test('and with tiny symbols that make it begin anew is let work no more than it pays for [FEC-28]', () => {
    const { pair, rogue, victim } = attacked();
    const before = victim.core.metrics().memoryReservedBytes;
    let bytes = 0;
    for (let round = 0; round < 12; round++) {
      const first = rogue.next;
      rogue.skip(32);
      for (let i = 0; i < 24; i++) {
        const parity = bytesOf(round * 100 + i, 1_100);
        const { frame } = repairOf({ carrying: 0, group: rogue.next - first - 31, row: i, span: 32, parity });
        bytes += frame.length;
        rogue.postRaw(frame);
      }
      pair.run(5);
      for (let i = 0; i < 30; i++) {
        bytes += 1;
        rogue.sendLate(first + i, Uint8Array.of(F.PING), SYMBOL_BIT);
      }
      within(victim, before, bytes);
    }
    expect(decoderOf(victim).work).toBeGreaterThan(1_000_000);
    expect(victim.closed).toBeNull();
  });

  test('that say that all is recovered is told of 64 numbers at most, in each acknowledgement [FEC-46]', () => {
    const { pair, rogue, victim } = attacked();
    for (let i = 0; i < 300; i++) {
      rogue.skip();
      const parity = slowParity(255, new Map([[0, Uint8Array.of(F.PING)]]));
      rogue.postRaw(repairOf({ carrying: 0, group: 1, row: 255, span: 1, parity }).frame);
    }
    pair.run(100);
    expect(victim.core.counters.packetsRecovered).toBe(300);
    const told = rogue.frames(F.ACK_RECOVERED).map(({ recovered }) => recovered.length);
    expect(Math.max(...told)).toBeGreaterThan(1);
    expect(Math.max(...told)).toBeLessThanOrEqual(64);
    expect(victim.closed).toBeNull();
  });
});

describe('what a hostile peer hides in a repair', () => {
  test('gets round no limit: flow control, the size of messages, the number of streams', () => {
    for (const [symbol, code] of [
      [fragment(0, 0, 0, 99_999, 1_000), CloseCode.FLOW_CONTROL_ERROR],
      [fragment(0, 0, 0, 100_001, 1), CloseCode.MESSAGE_TOO_LARGE],
      [opening(2 * 10), CloseCode.STREAM_LIMIT_ERROR],
      [opening(1), CloseCode.STREAM_STATE_ERROR],
      [integers(F.CRYPTO, 0, 1, 1, 1), CloseCode.PROTOCOL_VIOLATION],
      [integers(F.HANDSHAKE_DONE), CloseCode.PROTOCOL_VIOLATION],
    ] as const) {
      const { rogue, victim } = attacked();
      rogue.send(opening(0));
      hide(rogue, symbol);
      expect(closeCodeName(victim.closed?.code ?? -1)).toBe(closeCodeName(code));
    }
  });

  test('is not said twice when the packet comes with something else: the first counts', () => {
    const { rogue, victim } = attacked();
    rogue.send(opening(0));
    const number = hide(rogue, run(0, 0, 10));
    rogue.sendLate(number, run(0, 0, 20), SYMBOL_BIT);
    rogue.send(run(0, 1, 30));
    expect(victim.messages.get(0)?.map(({ length }) => length)).toEqual([10, 30]);
    expect(victim.closed).toBeNull();
  });

  test('cannot speak for packets that came without a symbol: their frames are there already', () => {
    const { rogue, victim } = attacked();
    rogue.send(opening(0), run(0, 0, 10));
    const parity = slowParity(255, new Map([[0, run(0, 0, 11)]]));
    rogue.send(repairOf({ carrying: 0, group: 1, row: 255, span: 1, parity }).frame);
    rogue.send(run(0, 1, 12));
    expect(victim.messages.get(0)?.map(({ length }) => length)).toEqual([10, 12]);
    expect(victim.closed).toBeNull();
  });
});

describe('a peer that says that packets were recovered', () => {
  test('of which it never saw a repair harms itself alone: what it says it has is not sent again', () => {
    const { pair, rogue, victim } = attacked();
    rogue.send(opening(0));
    const [stream] = victim.streams;
    const from = rogue.heard.length;
    for (let i = 0; i < 20; i++) {
      victim.send(stream, `message ${i}`);
      pair.run(2);
    }
    pair.run(10);
    const sent = rogue.heard.slice(from).map(({ number }) => number);
    const largest = Math.max(...sent);
    const distances = sent.slice(0, -1).map((number) => largest - number);
    for (let again = 0; again < 50; again++) {
      rogue.send(integers(F.ACK_RECOVERED, largest, 0, 0, 0, distances.length, ...distances));
    }
    const until = rogue.heard.length;
    pair.run(2_000);
    expect(victim.closed).toBeNull();
    const again = rogue.heard.slice(until).flatMap(({ frames }) => frames.map(({ type }) => type));
    expect(victim.core.metrics().bytesInFlight).toBe(0);
    expect(again.filter((type) => type >= F.MESSAGE && type <= F.MESSAGES_BEST_EFFORT)).toEqual([]);
  });
});

/** Packet `number` is lost, and a repair says that it was this. */
function hide(rogue: Rogue, symbol: Uint8Array): number {
  const number = rogue.next;
  rogue.skip();
  const parity = slowParity(255, new Map([[number, symbol]]));
  rogue.send(repairOf({ carrying: number + 1, group: 1, row: 255, span: 1, parity }).frame);
  return number;
}

/** The victim holds and works no more than it may for so many bytes of symbols and repairs. */
function within(victim: Pair['server'], reservedBefore: number, bytes: number): void {
  const { repairs, config } = internalsOf(victim.core);
  expect(repairs?.memoryBytes).toBeLessThanOrEqual(config.repairBytes);
  expect(victim.core.metrics().memoryReservedBytes - reservedBefore).toBeLessThanOrEqual(config.repairBytes);
  expect(decoderOf(victim).work).toBeLessThanOrEqual(262_144 + 64 * bytes);
}

function decoderOf({ core }: Pair['server']): RepairDecoder {
  return (internalsOf(core).repairs as unknown as { decoder: RepairDecoder }).decoder;
}

function attacked() {
  const limits = {
    messageBytesMax: 100_000,
    streamWindowBytes: 50_000,
    connectionWindowBytes: 50_000,
    streamsMax: 10,
  };
  const pair = new Pair({ server: limits, client: limits }).connected();
  const rogue = new Rogue(pair);
  return { pair, rogue, victim: rogue.victim };
}
