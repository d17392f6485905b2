import assert from 'node:assert/strict';
import { expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { MILLISECOND } from '../../src/base/time.ts';
import { COMPRESSION_OFF } from '../../src/protocol/compress/index.ts';
import { RepairEncoder } from '../../src/protocol/fec/repair-encoder.ts';
import type { ConnectionStream } from '../../src/protocol/stream/connection-stream.ts';
import type { Assemblies } from '../../src/protocol/stream/receive/assembly.ts';
import type { Segment, SegmentOwner } from '../../src/protocol/stream/receive/segment.ts';
import {
  type Delivery,
  FrameType,
  MessageFlag,
  RunFlag,
  type Space,
} from '../../src/protocol/wire/frame-type.ts';
import { isAheadOfSymbol } from '../../src/protocol/wire/frames/index.ts';
import { writeDropped } from '../../src/protocol/wire/frames/message.ts';
import { SYMBOL_BIT } from '../../src/protocol/wire/packet-header.ts';
import { internalsOf } from '../protocol/connection/internals.ts';
import { bytesOf, Pair, type Side } from '../protocol/connection/pair.ts';
import { frame, integers, Rogue, varint } from '../protocol/connection/rogue.ts';
import { repairOf } from '../protocol/fec/link.ts';

/**
 * A peer with the keys of the connection that sends well-formed frames at random, to an application that does things at random: nothing
 * but a close with a code may come of it.
 */
class Chaos {
  private readonly random: Prng;
  private readonly pair: Pair;
  private readonly rogue: Rogue;
  private readonly victim: Side;
  private readonly rogueIsClient: boolean;
  private readonly known = new Set<number>();
  private opened = 0;
  /** Messages may begin with an envelope; the zeros of which most are made are one that can be opened. */
  private readonly takesEnvelopes: boolean;
  private readonly envelopes: Prng;
  /** Null for a peer that protects nothing. */
  private readonly encoder: RepairEncoder | null;

  constructor(seed: number) {
    this.random = new Prng(seed);
    const { random } = this;
    const limits = random.chance(0.5)
      ? { messageBytesMax: 3_000, streamWindowBytes: 1, bestEffortBytes: 20_000, streamsMax: 6 }
      : {};
    this.envelopes = new Prng(seed + 1_000_000);
    this.takesEnvelopes = this.envelopes.chance(0.3);
    const compression = { ...COMPRESSION_OFF, inflates: this.takesEnvelopes };
    const config = { ...limits, compression };
    this.pair = new Pair({ seed, server: config, client: config, link: { delayMs: 1 } }).connected();
    this.rogueIsClient = random.chance(0.5);
    this.rogue = new Rogue(this.pair, this.rogueIsClient ? 'client' : 'server');
    this.victim = this.rogue.victim;
    this.victim.readsAll = random.chance(0.5);
    this.encoder = random.chance(0.5) ? new RepairEncoder() : null;
  }

  run(packets: number): void {
    this.rogue.post(this.opening(), this.opening());
    this.pair.run(3);
    for (let k = 0; k < packets && this.victim.closed === null; k++) {
      if (this.random.chance(0.4)) this.act();
      const frames: Uint8Array[] = [];
      do frames.push(this.frame());
      while (this.random.chance(0.6) && frames.length < 12);
      if (this.random.chance(0.1)) this.rogue.skip(this.random.between(1, 300));
      this.post(frames);
      this.pair.run(this.random.chance(0.1) ? this.random.below(300) : this.random.below(4));
      if (this.victim.closed === null) this.check();
    }
    this.pair.run(100_000);
  }

  /** Sends a packet; with its symbol, and repairs of symbols before it, if this peer protects. Some of these are lost, and some repairs wrong. */
  private post(frames: readonly Uint8Array[]): void {
    const { encoder, random, rogue } = this;
    if (encoder === null) return rogue.post(...frames);
    const number = rogue.next;
    const repairs: Uint8Array[] = [];
    while (random.chance(0.4)) repairs.push(this.repair(encoder));
    const start = frames.findIndex(([type]) => !isAheadOfSymbol(type));
    const symbol = Buffer.concat(start < 0 ? [] : frames.slice(start));
    encoder.keep(number, symbol, 0, symbol.length);
    if (random.chance(0.3)) rogue.skip();
    else rogue.postRaw(Buffer.concat([...repairs, ...frames]), SYMBOL_BIT);
  }

  private repair(encoder: RepairEncoder): Uint8Array {
    const { random, rogue } = this;
    if (random.chance(0.95)) {
      const bytes = frame((w) =>
        encoder.write(w, rogue.next, rogue.next - random.between(1, 12), rogue.next - 1, random.chance(0.3)),
      );
      if (bytes.length > 0) return bytes;
    }
    const group = random.between(1, Math.min(5, rogue.next));
    const span = random.between(1, Math.min(40, rogue.next - group + 1));
    const parity = bytesOf(random.between(3, 300));
    parity[0] = random.below(2);
    return repairOf({ carrying: rogue.next, group, row: random.below(128), span, parity }).frame;
  }

  /** Both levels of flow control charge and free the same; what is forgotten is free; memory is within its bounds. */
  private check(): void {
    const { streams } = this.victim.core;
    const { window, budget, kept } = streams.receiveCounts;
    const { wasteBytes } = kept;
    let charged = 0;
    let budgeted = 0;
    for (const { receiver } of streams.values()) {
      const { ready, bestEffort } = receiver as unknown as Inboxes;
      for (const { segment } of bestEffort?.assemblies ?? []) budgeted += segment.charged;
      for (let segment = ready.head; segment !== null; segment = segment.next) {
        if (segment.owner === bestEffort) budgeted += segment.charged;
      }
      assert.ok(receiver.window.freed <= receiver.window.used);
      charged += receiver.window.used - receiver.window.freed;
    }
    assert.equal(window.used - window.freed, charged);
    assert.equal(budget.used, budgeted);
    assert.ok(budget.used <= budget.bytesMax);
    assert.ok(wasteBytes >= 0);
    const { config, repairs } = internalsOf(this.victim.core);
    expect(repairs?.memoryBytes).toBeLessThanOrEqual(config.repairBytes);
    const { slabs } = streams.sendCounts;
    assert.ok(slabs.inUse >= 0);
    if (streams.size > 0) return;
    expect({ wasteBytes, budget: budget.used, slabs: slabs.inUse }).toEqual({
      wasteBytes: 0,
      budget: 0,
      slabs: 0,
    });
  }

  /** What the victim's application does. */
  private act(): void {
    const { random, victim } = this;
    const streams = [...victim.core.streams.values()];
    const stream = streams[random.below(streams.length + 1)] ?? null;
    switch (random.below(8)) {
      case 0:
        if (victim.core.lifecycle.takesStreams && streams.length < 12) {
          victim.open({ delivery: random.below(3) as Delivery, ordered: random.chance(0.5) });
        }
        break;
      case 1:
        if (random.chance(0.2)) stream?.finish();
        break;
      case 2:
        if (random.chance(0.2)) stream?.reset(random.below(9));
        break;
      case 3:
        if (stream !== null) victim.read(stream, random.below(20));
        break;
      default:
        if (stream !== null) this.send(stream);
    }
    victim.node.wake();
  }

  private send(stream: ConnectionStream): void {
    const { random, pair } = this;
    const length = random.chance(0.2) ? random.below(2_900) : random.below(40);
    const deadline = random.chance(0.5)
      ? pair.now + random.below(50) * MILLISECOND
      : Number.POSITIVE_INFINITY;
    try {
      stream.send(bytesOf(length), random.below(3) as Delivery, deadline, false);
    } catch (error) {
      // The stream may have ended.
      expect((error as { code?: string }).code).toMatch(/^ERR_JSP_STREAM_/);
    }
  }

  /** A stream that is there or was once; rarely any other. */
  private streamOf(): number {
    const { random } = this;
    for (const { id } of this.victim.core.streams.values()) this.known.add(id);
    const known = [...this.known];
    if (known.length === 0 || random.chance(0.001)) return random.below(40);
    return known[random.below(known.length)];
  }

  private opening(): Uint8Array {
    const { random } = this;
    const index = random.chance(0.002) ? 200 : this.opened < 4 ? this.opened++ : random.below(4);
    const id = 2 * index + (this.rogueIsClient ? 0 : 1);
    this.known.add(id);
    const flags = random.below(4) | (random.below(2) << 2) | (random.below(3) << 3);
    return Buffer.concat([integers(FrameType.STREAM_OPEN, id), Uint8Array.of(flags, 1, 65)]);
  }

  private frame(): Uint8Array {
    const { random } = this;
    const stream = this.streamOf();
    const sequence = random.chance(0.01) ? 2 ** 53 - 2 : random.below(60);
    switch (random.below(17)) {
      case 0:
      case 1:
        return this.opening();
      case 2:
        return random.chance(0.2) ? integers(FrameType.STREAM_FIN, stream, 60 + random.below(2)) : PING;
      case 3:
        return random.chance(0.1)
          ? integers(FrameType.RESET_STREAM, stream, random.below(9), 60 + random.below(2))
          : PING;
      case 4:
        return random.chance(0.1) ? integers(FrameType.STOP_SENDING, stream, random.below(9)) : PING;
      case 5: {
        const count = random.between(1, 5);
        const lengths = Array.from({ length: count }, () => this.lengthOf(sequence));
        return integers(FrameType.ABANDON, stream, sequence, count, ...lengths);
      }
      case 6: {
        const space = random.below(2) as Space;
        const { sender } = this.victim.core.streams.find(stream) ?? { sender: null };
        const half = sender === null ? null : (sender as unknown as Spaces)[SPACES[space]];
        const sent = (half?.buffer.nextSequence ?? 0) + (random.chance(0.01) ? 1 : 0);
        if (sent === 0) return PING;
        const first = random.below(sent);
        const count = random.between(1, sent - first);
        return frame((w) => writeDropped(w, stream, space, first, count));
      }
      case 7:
        return integers(FrameType.MAX_STREAM_DATA, stream, random.below(100_000));
      case 8:
        return integers(
          random.chance(0.5) ? FrameType.MAX_DATA : FrameType.MAX_STREAMS,
          random.below(1_000_000),
        );
      case 9:
        return integers(FrameType.STREAM_DATA_BLOCKED, stream, random.below(100_000));
      case 10:
        return integers(
          random.chance(0.5) ? FrameType.DATA_BLOCKED : FrameType.STREAMS_BLOCKED,
          random.below(200_000),
        );
      case 11:
        return this.ack();
      case 12:
      case 13:
        return this.run_(stream, sequence);
      default:
        return this.message(stream, sequence);
    }
  }

  /** All that tells a length of a message tells the same one, mostly. */
  private lengthOf(sequence: number): number {
    return this.random.chance(0.01) ? this.random.below(5_000) : (sequence * 37) % 400;
  }

  private run_(stream: number, sequence: number): Uint8Array {
    const { random } = this;
    const lengths = Array.from({ length: random.between(1, 4) }, (_, k) => this.lengthOf(sequence + k) % 200);
    // Nothing is no envelope, which would be the end of most.
    const mayBeIn = this.takesEnvelopes && !lengths.includes(0);
    const envelope = mayBeIn ? this.envelopes.below(2) * RunFlag.ENVELOPE : 0;
    const type = FrameType.MESSAGES | random.below(2) | envelope;
    const header = integers(type, stream, sequence, lengths.length);
    return Buffer.concat([header, ...lengths.flatMap((length) => [varint(length), this.bytes(length)])]);
  }

  private bytes(length: number): Uint8Array {
    const { envelopes } = this;
    const bytes = new Uint8Array(length);
    if (this.takesEnvelopes && envelopes.chance(0.01)) {
      envelopes.fill(bytes);
      if (envelopes.chance(0.8)) bytes[0] = envelopes.below(2);
    }
    return bytes;
  }

  private message(stream: number, sequence: number): Uint8Array {
    const { random } = this;
    let flags = random.below(2) * MessageFlag.BEST_EFFORT;
    if (random.chance(0.3)) flags |= MessageFlag.LIFETIME;
    const total = this.lengthOf(sequence);
    if (this.takesEnvelopes && total > 0 && this.envelopes.chance(0.3)) flags |= MessageFlag.ENVELOPE;
    const remaining = (flags & MessageFlag.LIFETIME) === 0 ? [] : [random.below(20) * MILLISECOND];
    if (total < 2 || random.chance(0.3)) {
      const header = integers(FrameType.MESSAGE | flags, stream, sequence, ...remaining, total);
      return Buffer.concat([header, this.bytes(total)]);
    }
    flags |= MessageFlag.FRAGMENT;
    const offset = random.below(total);
    const length = random.between(1, total - offset);
    const oldest = random.below(Math.min(sequence, 3) + 1);
    const fields = [stream, sequence, offset, total, oldest, ...remaining, length];
    return Buffer.concat([integers(FrameType.MESSAGE | flags, ...fields), new Uint8Array(length)]);
  }

  private ack(): Uint8Array {
    const { random, rogue } = this;
    const largest = rogue.heard.at(-1)?.number ?? -1;
    if (largest < 0) return PING;
    const top = random.chance(0.3) ? largest : Math.max(0, largest - random.below(8));
    const first = random.below(Math.min(top, 5) + 1);
    const left = top - first;
    if (random.chance(0.3)) {
      // Rarely a number that it left out, of which no honest peer tells.
      const recovered = random.chance(0.1) ? random.below(top + 1) : 0;
      return integers(FrameType.ACK_RECOVERED, top, random.below(2_000), 0, first, 2, recovered, top);
    }
    if (left < 4 || random.chance(0.5)) return integers(FrameType.ACK, top, random.below(2_000), 0, first);
    const gap = random.below(left - 2);
    return integers(FrameType.ACK, top, 0, 1, first, gap, random.below(left - gap - 1));
  }
}

interface Inboxes {
  readonly ready: { readonly head: Segment | null };
  readonly bestEffort: (SegmentOwner & { readonly assemblies: Assemblies }) | null;
}

interface Spaces {
  readonly reliable: { readonly buffer: { readonly nextSequence: number } };
  readonly bestEffort: { readonly buffer: { readonly nextSequence: number } } | null;
}

const SPACES = ['reliable', 'bestEffort'] as const;
const PING = integers(FrameType.PING);
const FIRST_SEED = 1;
const SEEDS = Number(process.env.ROGUE_SEEDS ?? 80);

test(`well-formed frames in any order and combination, to applications that do anything, cause a close at worst`, () => {
  const ends = new Map<string, number>();
  let recovered = 0;
  for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
    try {
      const chaos = new Chaos(seed);
      chaos.run(60);
      const { victim } = (chaos as unknown as { rogue: Rogue }).rogue;
      const end = JSON.stringify(victim.closed);
      ends.set(end, (ends.get(end) ?? 0) + 1);
      expect(victim.endpoint.counters.connectionsOpen).toBe(0);
      recovered += victim.core.counters.packetsRecovered;
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
  expect(recovered).toBeGreaterThan(SEEDS);
  if (process.env.ROGUE_SEEDS !== undefined) console.log(recovered, ends);
});
