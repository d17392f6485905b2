/** QoS 0 in two data centres: each publishes, and hears itself and the other. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { BrokerClient } from '../../src/client/index.ts';
import { Violation } from '../sim/invariants.ts';

interface Half {
  readonly client: BrokerClient;
  /** What it has heard of each half: the last number, and when. */
  readonly lastOf: [number, number];
  readonly heardAtMs: [number, number];
  published: number;
  /** Of its own, since the cut. */
  count: number;
  silenceMs: number;
}

export class LiveTraffic {
  private readonly halves: readonly [Half, Half];
  private isStopped = false;

  private constructor(halves: readonly [Half, Half]) {
    this.halves = halves;
  }

  /** @param fail - told of what comes twice or out of order */
  static async start(
    here: BrokerClient,
    there: BrokerClient,
    fail: (error: unknown) => void,
  ): Promise<LiveTraffic> {
    const traffic = new LiveTraffic([halfOf(here), halfOf(there)]);
    for (const half of traffic.halves) {
      await half.client.subscribe('live/+', (message) => {
        const of = Number(message.topic.slice('live/'.length));
        const number = Number(message.text());
        if (number <= half.lastOf[of])
          fail(new Violation(`live message ${number} came behind ${half.lastOf[of]}`));
        traffic.hear(half, of, number);
      });
    }
    traffic.halves.forEach((half, i) => void traffic.publish(half, i).catch(fail));
    return traffic;
  }

  /** Resolves when each has heard something new of the other that was published now. */
  async untilBothWays(): Promise<void> {
    const [here, there] = this.halves;
    const [atHere, atThere] = [here.published, there.published];
    const startedAtMs = performance.now();
    while (here.lastOf[1] <= atThere || there.lastOf[0] <= atHere) {
      if (performance.now() - startedAtMs > BOTH_MS_MAX) throw new Violation('QoS 0 does not pass both ways');
      await sleep(10);
    }
  }

  cut(): void {
    this.halves.forEach((half, i) => {
      half.count = 0;
      half.silenceMs = 0;
      half.heardAtMs[i] = performance.now();
    });
  }

  endOfCut() {
    const [here, there] = this.halves;
    for (const [i, half] of this.halves.entries()) noteSilence(half, i);
    return {
      ...{ liveHere: here.count, liveHereSilenceMs: here.silenceMs },
      ...{ liveThere: there.count, liveThereSilenceMs: there.silenceMs },
    };
  }

  stop(): void {
    this.isStopped = true;
  }

  private hear(half: Half, of: number, number: number): void {
    half.lastOf[of] = number;
    if (half === this.halves[of]) {
      half.count++;
      noteSilence(half, of);
    }
    half.heardAtMs[of] = performance.now();
  }

  private async publish(half: Half, i: number): Promise<void> {
    while (!this.isStopped) {
      half.client.publish(`live/${i}`, `${++half.published}`);
      await sleep(PAUSE_MS);
    }
  }
}

function noteSilence(half: Half, of: number): void {
  half.silenceMs = Math.max(half.silenceMs, performance.now() - half.heardAtMs[of]);
}

function halfOf(client: BrokerClient): Half {
  return { client, lastOf: [0, 0], heardAtMs: [0, 0], published: 0, count: 0, silenceMs: 0 };
}

const PAUSE_MS = 20;
const BOTH_MS_MAX = 30_000;
