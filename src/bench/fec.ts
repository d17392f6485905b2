/**
 * What blocks of packets with repairs behind them bring back. Each message is a packet of its own and is sent but once: whether it was lost is
 * seen on the link, and one that was lost and came all the same was recovered.
 */
import { Prng } from '../base/random.ts';
import type { ProtectionBlock } from '../transport/protection.ts';
import { LabPath, PERFECT_PATH } from './lab-path.ts';

/** How datagrams are lost: each by itself with this chance, or so many in a row, with blocks without loss between such runs. */
export type Losses = { readonly chance: number } | { readonly run: number };

export interface FecScenario {
  readonly seed: number;
  readonly block: ProtectionBlock;
  readonly losses: Losses;
  /** Messages that are sent. */
  readonly messages: number;
  /** Bytes of a message. */
  readonly size: number;
}

export interface FecResult {
  readonly scenario: FecScenario;
  /** Messages whose packet was lost, and those of them that came all the same. */
  readonly lost: number;
  readonly recovered: number;
  /** The share of them that combinatorics promise. */
  readonly predicted: number;
  /** Bytes of the client beside those of the same messages without repairs, over a path without loss. */
  readonly bytesUp: number;
}

export async function runFec(scenario: FecScenario): Promise<FecResult> {
  const run = await sendOnce(scenario);
  const bareMessages = Math.min(scenario.messages, BARE_MESSAGES);
  const bare = await sendOnce({ ...scenario, messages: bareMessages, losses: { chance: 0 } }, 'off');
  return {
    scenario,
    lost: run.lost,
    recovered: run.recovered,
    predicted: predictedShare(scenario.block, scenario.losses),
    bytesUp: run.bytes / scenario.messages / (bare.bytes / bareMessages),
  };
}

async function sendOnce(
  scenario: FecScenario,
  protection: ProtectionBlock | 'off' = scenario.block,
): Promise<{ lost: number; recovered: number; bytes: number }> {
  const { seed, messages, size } = scenario;
  const path = await LabPath.open({ ...PERFECT_PATH, seed });
  const arrived = new Uint8Array(messages);
  path.server.on('stream', (stream) =>
    stream.on('message', (message) => {
      arrived[new DataView(message.buffer, message.byteOffset, message.length).getUint32(0)] = 1;
    }),
  );
  const stream = path.client.openStream({ ordered: false, delivery: 'bestEffort', protection });
  const message = new Uint8Array(size).fill(0x5a);
  const isLost = new Uint8Array(messages);
  const fates = new Fates(path, scenario);
  const before = path.up.bytes;
  for (let i = 0; i < messages; i++) {
    new DataView(message.buffer).setUint32(0, i);
    stream.send(message);
    fates.forget();
    await path.lab.run(INTERVAL_MS);
    if (fates.lostFirst) isLost[i] = 1;
  }
  const bytes = path.up.bytes - before;
  await path.lab.run(DRAIN_MS);
  path.client.destroy();
  let lost = 0;
  let recovered = 0;
  for (let i = 0; i < messages; i++) {
    lost += isLost[i];
    recovered += isLost[i] & arrived[i];
  }
  return { lost, recovered, bytes };
}

/** Decides for each datagram of the client whether it is lost. */
class Fates {
  /** Whether the first datagram since the last {@link forget} that was large enough for a message is lost. */
  lostFirst = false;
  private sawFirst = false;
  private sent = 0;
  private runFrom = 0;
  private readonly chance: number;
  private readonly run: number;
  /** Datagrams from the beginning of a run to that of the next, at least. */
  private readonly apart: number;
  private readonly random: Prng;

  constructor(path: LabPath, { losses, block, seed, size }: FecScenario) {
    this.chance = 'chance' in losses ? losses.chance : 0;
    this.run = 'run' in losses ? losses.run : 0;
    this.apart = RUN_BLOCKS * (block.data + block.parity);
    this.random = new Prng(seed);
    this.runFrom = this.nextRun(0);
    const { network } = path.lab;
    const { uplink } = path;
    network.tap = (data, from, _host, _port, now) => {
      if (from.home !== path.clientHost) return;
      const isLost = this.next();
      uplink.change({ blackHole: isLost }, now);
      if (this.sawFirst || data.length < size) return;
      this.sawFirst = true;
      this.lostFirst = isLost;
    };
  }

  forget(): void {
    this.sawFirst = false;
    this.lostFirst = false;
  }

  private next(): boolean {
    const number = this.sent++;
    if (this.run === 0) return this.random.chance(this.chance);
    if (number < this.runFrom) return false;
    if (number === this.runFrom + this.run - 1) this.runFrom = this.nextRun(number + 1);
    return true;
  }

  /** So that each place of a block is as likely as any other to be the first of a run. */
  private nextRun(from: number): number {
    return from + this.random.between(this.apart, 2 * this.apart - 1);
  }
}

/**
 * The share of lost packets that a code brings back whose repairs each have a packet of their own behind those of the block: those of blocks
 * that lose no more packets than they have repairs.
 */
export function predictedShare(block: ProtectionBlock, losses: Losses): number {
  return 'chance' in losses ? shareOfChance(block, losses.chance) : shareOfRun(block, losses.run);
}

/** A lost packet is back when of the others of its block fewer are lost than there are repairs. */
function shareOfChance({ data, parity }: ProtectionBlock, chance: number): number {
  const others = data + parity - 1;
  let share = 0;
  let ways = 1;
  for (let lost = 0; lost < parity; lost++) {
    share += ways * chance ** lost * (1 - chance) ** (others - lost);
    ways *= (others - lost) / (lost + 1);
  }
  return share;
}

/** Over all places that a run may have in blocks behind each other. */
function shareOfRun({ data, parity }: ProtectionBlock, run: number): number {
  const length = data + parity;
  let lost = 0;
  let recovered = 0;
  for (let first = 0; first < length; first++) {
    const inBlock = new Map<number, { packets: number; messages: number }>();
    for (let place = first; place < first + run; place++) {
      const number = Math.floor(place / length);
      const { packets, messages } = inBlock.get(number) ?? { packets: 0, messages: 0 };
      const isMessage = place % length < data;
      inBlock.set(number, { packets: packets + 1, messages: messages + (isMessage ? 1 : 0) });
    }
    for (const { packets, messages } of inBlock.values()) {
      lost += messages;
      if (packets <= parity) recovered += messages;
    }
  }
  return recovered / lost;
}

/** Long enough for all repairs of a block to leave before the next message. */
const INTERVAL_MS = 10;
const DRAIN_MS = 1_000;
/** What messages cost by themselves is the same for all. */
const BARE_MESSAGES = 2_000;
/** Blocks without loss between two runs, and as many again at most. */
const RUN_BLOCKS = 4;
