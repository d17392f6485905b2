/**
 * Priorities beside transfers that fill the path: 20 Mbit/s, 40 ms, a drop-tail queue of a quarter or one of what the path holds.
 *
 *     npm run ts test/sim/priorities.ts 200      so many seeds; half a second each
 */

import { pathToFileURL } from 'node:url';
import type { ConnectionConfig } from '../../src/protocol/connection/config.ts';
import { Priority } from '../../src/protocol/wire/frame-type.ts';
import { Pressure } from './pressure.ts';

export interface PrioritiesOptions {
  readonly seed: number;
  readonly congestion: ConnectionConfig['congestion'];
  /** The queue of the bottleneck, as a share of rate times round trip. */
  readonly queue: number;
  /** Default null: as short as urgent messages need it. */
  readonly queueDelayMaxMs?: number | null;
}

export interface Priorities {
  /** p99 of what `system` messages take, over what they take when nothing else is sent. */
  readonly system: number;
  /** Most of what `media`, `chat` and `bulk` got, off 4:2:1; 0.05 are 5 %. */
  readonly shareError: number;
  /** How long an urgent message waits at the sender, in ms. */
  readonly waitP99: number;
  readonly waitMax: number;
  readonly goodputMbps: number;
}

export function measurePriorities(options: PrioritiesOptions): Priorities {
  const { seed, congestion, queue, queueDelayMaxMs = null } = options;
  const link = { delayMs: 20, bitsPerSecond: 20e6, queueBytesMax: Math.round(queue * 100_000) };
  const pressure = new Pressure({ seed, link, client: { congestion, queueDelayMaxMs } });
  const system = pressure.flow({ settings: { priority: Priority.SYSTEM }, bytes: 100, everyMs: 10 });
  pressure.run(500).restart();
  const idle = pressure.run(1_000) && system.ageMs(0.99);
  const sharing = [Priority.MEDIA, Priority.CHAT, Priority.BULK].map((priority) =>
    pressure.flow({ settings: { priority }, bytes: 6_000 }),
  );
  pressure.run(2_500).restart();
  pressure.run(5_000);
  const total = sharing.reduce((sum, { receivedBytes }) => sum + receivedBytes, 0);
  const errors = sharing.map(({ receivedBytes }, i) => {
    const due = (total * [4, 2, 1][i]) / 7;
    return Math.abs(receivedBytes - due) / due;
  });
  return {
    system: system.ageMs(0.99) / idle,
    shareError: Math.max(...errors),
    waitP99: system.waitMs(0.99),
    waitMax: system.waitMs(1),
    goodputMbps: (8 * total) / 5e6,
  };
}

function main(seeds: number): void {
  const cases: readonly Omit<PrioritiesOptions, 'seed'>[] = [
    { congestion: 'cubic', queue: 0.25 },
    { congestion: 'cubic', queue: 1 },
    { congestion: 'bbr', queue: 0.25 },
    { congestion: 'bbr', queue: 1 },
    { congestion: 'cubic', queue: 1, queueDelayMaxMs: 0 },
    { congestion: 'bbr', queue: 1, queueDelayMaxMs: 0 },
    { congestion: 'cubic', queue: 1, queueDelayMaxMs: 5 },
    { congestion: 'bbr', queue: 1, queueDelayMaxMs: 5 },
  ];
  console.log(
    '| | queue, BDP | queueDelayMaxMs | system p99 / idle | shares off by | waits p99, max ms | Mbit/s |',
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const options of cases) {
    const all = Array.from({ length: seeds }, (_, seed) => measurePriorities({ ...options, seed: seed + 1 }));
    const worst = (of: (one: Priorities) => number, digits: number) => {
      const sorted = all.map(of).sort((a, b) => a - b);
      const median = sorted[Math.floor(sorted.length / 2)];
      return `${median.toFixed(digits)} (${sorted[0].toFixed(digits)} to ${(sorted.at(-1) as number).toFixed(digits)})`;
    };
    console.log(
      `| ${options.congestion} | ${options.queue} | ${options.queueDelayMaxMs ?? '-'} | ${worst((one) => one.system, 2)} |` +
        ` ${worst((one) => 100 * one.shareError, 1)} % | ${worst((one) => one.waitP99, 1)}, ${worst((one) => one.waitMax, 1)} |` +
        ` ${worst((one) => one.goodputMbps, 1)} |`,
    );
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) main(Number(process.argv[2] ?? 20));
