import { Prng } from '../../src/base/random.ts';
import type { CongestionName } from '../../src/protocol/congestion/controller.ts';
import {
  PROTECTION_AUTO,
  PROTECTION_OFF,
  ProtectionMode,
  type ProtectionOptions,
} from '../../src/protocol/fec/protection.ts';
import type { LinkOptions } from '../../src/udp/link.ts';
import { MESSAGES_MAX } from './content.ts';

/**
 * Everything that a simulated run does, drawn from one seed: what the network is like, what both ends are told, and what the
 * applications on both sides do. Plain data, so that a failing run can be printed and read.
 */
export interface Scenario {
  readonly seed: number;
  /** Real encryption, or a checksum in its place that is only good for finding flipped bits, with keys that are no secret. */
  readonly crypto: 'real' | 'null';
  /** The link that each side sends on. */
  readonly links: Record<Side, LinkOptions>;
  /** Both ends take themselves to be on one machine, where packets may grow. */
  readonly loopback: boolean;
  /** Changes of the links while the run goes on. */
  readonly changes: readonly LinkChange[];
  readonly limits: Record<Side, Limits>;
  readonly streams: readonly StreamPlan[];
  readonly ending: Ending;
}

export type Side = 'client' | 'server';
export const SIDES: readonly Side[] = ['client', 'server'];

export function otherSide(side: Side): Side {
  return side === 'client' ? 'server' : 'client';
}

export interface LinkChange {
  readonly atMs: number;
  /** The side that sends on the link. */
  readonly from: Side;
  readonly options: LinkOptions;
}

/** What one end is configured with. */
export interface Limits {
  readonly mtu: number;
  /** What the search for larger packets may go up to. */
  readonly mtuMax: number;
  readonly congestion: CongestionName;
  readonly usesEcn: boolean;
  readonly messageBytesMax: number;
  readonly streamWindowBytes: number;
  readonly connectionWindowBytes: number;
  readonly streamsMax: number;
  readonly bestEffortBytes: number;
  readonly ackDelayMaxMs: number;
  readonly heartbeatMs: number;
  /** Queued bytes of a stream above which its application waits. */
  readonly highWaterBytes: number;
  /** What protects messages of streams that do not say. */
  readonly protection: ProtectionOptions;
  /** What is compressed: nothing, and nothing is opened; nothing; all that pays; all that pays on this path. */
  readonly compression: Compressing;
}

export type Compressing = 'off' | 'opens' | 'on' | 'auto';

export type DeliveryName = 'reliable' | 'partial' | 'bestEffort';
export const DELIVERIES: readonly DeliveryName[] = ['reliable', 'partial', 'bestEffort'];

export interface StreamPlan {
  readonly opener: Side;
  readonly openAtMs: number;
  readonly ordered: boolean;
  readonly delivery: DeliveryName;
  /** 0 system, 1 media, 2 chat, 3 bulk. */
  readonly priority: number;
  readonly label: string;
  /** What protects the opener's messages that do not say; that of its connection where undefined. */
  readonly protection: ProtectionOptions | undefined;
  /** Who gives up both directions, and when. */
  readonly reset: { readonly by: Side; readonly atMs: number } | undefined;
  /** What each side sends. */
  readonly flows: Record<Side, FlowPlan>;
}

/** One direction of a stream: what `Side` sends, and how the other one reads it. */
export interface FlowPlan {
  readonly messages: readonly MessagePlan[];
  readonly reader: ReaderPlan;
  /** What the sender does behind its last message. */
  readonly end: 'finish' | 'leave open';
}

export interface MessagePlan {
  readonly atMs: number;
  readonly size: number;
  readonly delivery: DeliveryName;
  /** Infinite for none. */
  readonly lifetimeMs: number;
  /** The sender wants to know what became of it. */
  readonly tracked: boolean;
  /** What protects it; null: what its stream says. */
  readonly protection: ProtectionOptions | null;
}

/** `eager` reads at once, `slow` a few now and then, `late` all from some time on, `never` nothing. */
export type ReaderPlan =
  | { readonly kind: 'eager' }
  | { readonly kind: 'slow'; readonly everyMs: number; readonly count: number }
  | { readonly kind: 'late'; readonly fromMs: number }
  | { readonly kind: 'never' };

/** `graceful` once all is settled; `abrupt` in the middle. */
export type Ending =
  | { readonly kind: 'graceful'; readonly by: Side }
  | { readonly kind: 'abrupt'; readonly by: Side; readonly atMs: number };

/** The scenario of a seed: the same one every time. */
export function scenarioOf(seed: number): Scenario {
  const random = new Prng(seed);
  // By chance of its own, so that with protection or without a seed is the same world.
  const protections = new Protections(seed);
  const limits = { client: limitsOf(random, protections), server: limitsOf(random, protections) };
  const loopback = random.chance(0.3);
  // The path carries what both ends begin with, and perhaps more.
  const mtu = Math.max(limits.client.mtu, limits.server.mtu, pick(random, [1_500, 9_000, 65_507]));
  const budget = { bytes: Math.round(logUniform(random, 2_000, bytesMaxOf(seed))) };
  const { links, changes } = networkOf(random, mtu);
  // By chance of its own, too: where both ends can, routers mark what they would keep for long.
  const ecn = new Prng(seed + ECN_SEED);
  if (ecn.chance(0.3)) {
    for (const side of SIDES) {
      limits[side] = { ...limits[side], usesEcn: true };
      links[side] = { ...links[side], ecnMarkBytes: Math.round(logUniform(ecn, 1_000, 100_000)) };
    }
  }
  const compressing = new Prng(seed + COMPRESSION_SEED);
  if (compressing.chance(0.4)) {
    for (const side of SIDES) {
      limits[side] = {
        ...limits[side],
        compression: pick(compressing, ['on', 'on', 'auto', 'opens', 'off']),
      };
    }
  }
  return {
    seed,
    // Not by a remainder: seeds are handed out by remainders.
    crypto: random.chance(0.3) ? 'real' : 'null',
    links,
    changes,
    loopback,
    limits,
    streams: streamsOf(random, limits, budget, protections),
    ending: random.chance(0.85)
      ? { kind: 'graceful', by: random.chance(0.5) ? 'client' : 'server' }
      : { kind: 'abrupt', by: random.chance(0.5) ? 'client' : 'server', atMs: random.below(1_500) },
  };
}

/** Most worlds are over soon; in some there is enough to send for all windows to fill, and for a path to be known well. */
function bytesMaxOf(seed: number): number {
  const isLarge = KEPT_SEEDS.includes(seed) || new Prng(seed + SIZE_SEED).chance(0.1);
  return isLarge ? 8_000_000 : 500_000;
}

// ---- network ----

function networkOf(
  random: Prng,
  mtu: number,
): { links: Record<Side, LinkOptions>; changes: readonly LinkChange[] } {
  const delayMs = round(logUniform(random, 0.05, 150));
  const links = { client: linkOf(random, delayMs, mtu), server: linkOf(random, delayMs, mtu) };
  const changes: LinkChange[] = [];
  for (let i = random.below(3); i > 0 && random.chance(0.5); i--) {
    const from = random.chance(0.5) ? 'client' : 'server';
    changes.push(...changesOf(random, from, links[from]));
  }
  return { links, changes };
}

function linkOf(random: Prng, delayMs: number, mtu: number): LinkOptions {
  if (random.chance(0.15)) return { delayMs, mtu };
  const rate = random.chance(0.5) ? Number.POSITIVE_INFINITY : Math.round(logUniform(random, 500e3, 200e6));
  return {
    delayMs,
    jitterMs: random.chance(0.5) ? round(random.float() * delayMs) : 0,
    jitterReorders: random.chance(0.4),
    loss: random.chance(0.7) ? round(random.float() ** 2 * 0.3) : 0,
    burstLoss: random.chance(0.25)
      ? {
          enter: round(0.002 + random.float() * 0.018),
          leave: round(0.1 + random.float() * 0.5),
          longestMs: round(logUniform(random, 5, 300)),
        }
      : undefined,
    reorder: random.chance(0.4) ? round(random.float() * 0.2) : 0,
    reorderHoldMs: round(logUniform(random, 0.1, 2 * delayMs + 20)),
    duplicate: random.chance(0.4) ? round(random.float() * 0.1) : 0,
    duplicateLagMs: round(logUniform(random, 0.1, 50)),
    corrupt: random.chance(0.4) ? round(random.float() * 0.05) : 0,
    bitsPerSecond: rate,
    queueBytesMax: Math.round(logUniform(random, 8_192, 262_144)),
    mtu,
  };
}

/** A black hole that ends, or another delay, which makes what was sent before arrive behind or far ahead. */
function changesOf(random: Prng, from: Side, link: LinkOptions): LinkChange[] {
  const atMs = random.below(1_000);
  if (random.chance(0.5)) {
    const lastsMs = Math.round(logUniform(random, 20, 2_000));
    return [
      { atMs, from, options: { blackHole: true } },
      { atMs: atMs + lastsMs, from, options: { blackHole: false } },
    ];
  }
  const factor = logUniform(random, 0.2, 8);
  return [{ atMs, from, options: { delayMs: round(Math.min(300, (link.delayMs ?? 0) * factor)) } }];
}

// ---- limits ----

function limitsOf(random: Prng, protections: Protections): Limits {
  const messageBytesMax = pick(random, [16_384, 65_536, 307_200]);
  const streamWindowBytes = messageBytesMax + pick(random, [0, 65_536, 1_048_576]);
  const mtu = pick(random, [512, 1_200, 1_200, 1_200, 1_452, 4_096]);
  return {
    mtu,
    mtuMax: Math.max(mtu, pick(random, [mtu, 16_384, 32_768])),
    congestion: pick(random, ['bbr', 'cubic', 'newreno']),
    usesEcn: false,
    messageBytesMax,
    streamWindowBytes,
    connectionWindowBytes: 2 * streamWindowBytes,
    streamsMax: pick(random, [1, 2, 4, STREAMS_MAX]),
    bestEffortBytes: pick(random, [4_096, 65_536, 1_048_576]),
    ackDelayMaxMs: pick(random, [1, 25, 25, 100]),
    heartbeatMs: pick(random, [0, 0, 1_000]),
    highWaterBytes: pick(random, [8_192, 262_144]),
    protection: protections.ofConnection(),
    compression: 'off',
  };
}

// ---- what applications do ----

interface Budget {
  bytes: number;
}

function streamsOf(
  random: Prng,
  limits: Record<Side, Limits>,
  budget: Budget,
  protections: Protections,
): StreamPlan[] {
  const count = random.chance(0.1) ? random.between(10, 30) : random.between(1, 8);
  // One unread flow a direction cannot stop the others; several may, as the connection's window is twice a stream's.
  const unread = new Set<Side>();
  const flowOf = (
    sender: Side,
    openAtMs: number,
    delivery: DeliveryName,
    quiet: number,
    mayStay: boolean,
  ): FlowPlan => {
    const reader = readerOf(random, mayStay && !unread.has(sender));
    if (reader.kind === 'never') unread.add(sender);
    const bytesMax = limits[otherSide(sender)].messageBytesMax;
    return {
      messages: random.chance(quiet)
        ? []
        : messagesOf(random, { delivery, openAtMs, bytesMax, budget, protections }),
      reader,
      end: mayStay && random.chance(0.25) ? 'leave open' : 'finish',
    };
  };
  return Array.from({ length: count }, (_, i) => {
    const opener: Side = random.chance(0.5) ? 'client' : 'server';
    // Where few streams are allowed, each must end for the next one to begin.
    const mayStay = limits[otherSide(opener)].streamsMax >= STREAMS_MAX;
    const delivery = pick(random, ['reliable', 'reliable', 'partial', 'bestEffort'] as const);
    const openAtMs = random.chance(0.6) ? 0 : random.below(800);
    const quiet = { [opener]: 0.05, [otherSide(opener)]: 0.6 } as Record<Side, number>;
    return {
      opener,
      openAtMs,
      ordered: random.chance(0.6),
      delivery,
      priority: random.below(4),
      label: random.chance(0.7) ? '' : `s${i}`.padEnd(random.between(2, 64), '.'),
      protection: protections.ofStream(),
      reset: random.chance(0.1)
        ? { by: random.chance(0.5) ? 'client' : 'server', atMs: openAtMs + random.below(1_500) }
        : undefined,
      flows: {
        client: flowOf('client', openAtMs, delivery, quiet.client, mayStay),
        server: flowOf('server', openAtMs, delivery, quiet.server, mayStay),
      },
    };
  });
}

function readerOf(random: Prng, mayStayUnread: boolean): ReaderPlan {
  if (random.chance(0.65)) return { kind: 'eager' };
  if (random.chance(0.5))
    return { kind: 'slow', everyMs: random.between(1, 60), count: random.between(1, 8) };
  if (mayStayUnread && random.chance(0.3)) return { kind: 'never' };
  return { kind: 'late', fromMs: random.between(200, 3_000) };
}

interface FlowBounds {
  readonly delivery: DeliveryName;
  readonly openAtMs: number;
  readonly bytesMax: number;
  readonly budget: Budget;
  readonly protections: Protections;
}

function messagesOf(
  random: Prng,
  { delivery: streamDelivery, openAtMs, bytesMax, budget, protections }: FlowBounds,
): MessagePlan[] {
  const drawn = Math.round(logUniform(random, 1, MESSAGES_MAX - 1));
  const thinGapMs = protections.ofThinFlow();
  const count = thinGapMs > 0 ? MESSAGES_MAX - 1 : drawn;
  // All at once, or spread over a while.
  const gapMs = random.chance(0.5) ? 0 : logUniform(random, 0.5, 100);
  const lifetimeMs = round(logUniform(random, 2, 3_000));
  const tracked = random.chance(0.5);
  const lowers = random.chance(0.4);
  const sizes = random.chance(0.25) ? bulkSize : mixedSize;
  const messages: MessagePlan[] = [];
  let atMs = openAtMs;
  // Empty messages all look the same: where one may fail to come, nobody could say which.
  let emptyLeft = streamDelivery === 'reliable' && !lowers ? count : 1;
  for (let i = 0; i < count && budget.bytes > 0; i++) {
    const delivery = lowers && random.chance(0.4) ? lowered(random, streamDelivery) : streamDelivery;
    let size = Math.min(sizes(random, bytesMax), budget.bytes);
    if (thinGapMs > 0) size = Math.min(size, THIN_BYTES_MAX);
    if (size === 0 && emptyLeft-- <= 0) size = 1;
    budget.bytes -= size + 20;
    const hasLifetime = delivery === 'partial' || (delivery === 'bestEffort' && random.chance(0.5));
    messages.push({
      atMs: Math.round(atMs),
      size,
      delivery,
      lifetimeMs: hasLifetime ? lifetimeMs : Number.POSITIVE_INFINITY,
      tracked,
      protection: protections.ofMessage(),
    });
    atMs += (thinGapMs > 0 ? thinGapMs : gapMs) * 2 * random.float();
  }
  return messages;
}

function mixedSize(random: Prng, bytesMax: number): number {
  const kind = random.float();
  if (kind < 0.05) return 0;
  if (kind < 0.5) return random.between(1, 64);
  if (kind < 0.8) return random.between(65, 1_300);
  if (kind < 0.96) return random.between(1_300, 16_384);
  return bulkSize(random, bytesMax);
}

function bulkSize(random: Prng, bytesMax: number): number {
  return random.chance(0.2) ? bytesMax : Math.round(logUniform(random, 1_000, bytesMax));
}

/** A message may be less reliable than its stream, not more. */
function lowered(random: Prng, delivery: DeliveryName): DeliveryName {
  return pick(random, DELIVERIES.slice(DELIVERIES.indexOf(delivery)));
}

// ---- protection ----

/** What applications ask of protection against loss: of all kinds in half of the worlds, nothing in the others. */
class Protections {
  private readonly random: Prng;
  private readonly isWanted: boolean;

  constructor(seed: number) {
    this.random = new Prng(seed + PROTECTION_SEED);
    this.isWanted = this.random.chance(0.5);
  }

  ofConnection(): ProtectionOptions {
    return this.isWanted && this.random.chance(0.8) ? this.any() : PROTECTION_OFF;
  }

  ofStream(): ProtectionOptions | undefined {
    return this.isWanted && this.random.chance(0.3) ? this.any() : undefined;
  }

  ofMessage(): ProtectionOptions | null {
    return this.isWanted && this.random.chance(0.05) ? this.any() : null;
  }

  /** Mean gap of a flow of many small messages, now and then: what protection is for. 0 for a flow of another kind. */
  ofThinFlow(): number {
    return this.isWanted && this.random.chance(0.3) ? logUniform(this.random, 1, 40) : 0;
  }

  private any(): ProtectionOptions {
    const { random } = this;
    const kind = random.float();
    if (kind < 0.1) return PROTECTION_OFF;
    if (kind < 0.4) return PROTECTION_AUTO;
    if (kind < 0.6) {
      const data = random.between(1, 20);
      return { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data, parity: random.between(1, 6) };
    }
    return {
      ...PROTECTION_AUTO,
      residual: round(logUniform(random, 0.0001, 0.05)),
      latencyMs: random.chance(0.5) ? 0 : Math.round(logUniform(random, 1, 500)),
      overheadMax: pick(random, [0, 0.3, 1, 4]),
    };
  }
}

/** Worlds that once showed a fault: streams that were promised all credit and used none, a link that was silent for long. */
export const KEPT_SEEDS: readonly number[] = [4_852, 5_325, 7_876, 8_239, 8_803];
const SIZE_SEED = 0x51_2e00;
const PROTECTION_SEED = 0xfec;
/** Leaves the worlds that are kept as they were. */
const ECN_SEED = 2_100_000;
const COMPRESSION_SEED = 0x124_0000;
const THIN_BYTES_MAX = 250;
/** As many as no scenario opens. */
const STREAMS_MAX = 100;

// ---- drawing ----

function pick<T>(random: Prng, choices: readonly T[]): T {
  return choices[random.below(choices.length)];
}

/** As often between 1 and 10 as between 10 and 100. */
function logUniform(random: Prng, low: number, high: number): number {
  return low * (high / low) ** random.float();
}

/** Few digits, so that a printed scenario is readable. */
function round(value: number): number {
  return Number(value.toPrecision(3));
}
