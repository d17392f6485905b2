import { describe, expect, test } from 'vitest';
import { Arrivals, STAMP_BYTES, stampedMessage } from '../../benches/lossy/arrivals.ts';
import { linkStats } from '../../benches/lossy/link-stats.ts';
import { commandsOf, PEERS } from '../../benches/lossy/peers.ts';
import { jspWay, TCP_WAY } from '../../benches/lossy/ways.ts';

describe.each([
  ['a stream of this library', jspWay({ ordered: true, transport: {} })],
  ['TCP', TCP_WAY],
])('over %s', (_, way) => {
  test('messages arrive whole, with the time that they took', async () => {
    const arrivals = new Arrivals(50);
    const sizes: number[] = [];
    const all = new Promise<void>((resolve) => {
      way
        .receive('127.0.0.1', 64, (message) => {
          sizes.push(message.length);
          arrivals.onMessage(message);
          if (arrivals.arrived === 50) resolve();
        })
        .then(way.open)
        .then((sending) => {
          for (let i = 0; i < 50; i++) sending.send(stampedMessage(64, i));
        });
    });
    await all;
    expect(sizes).toEqual(Array(50).fill(64));
    for (const micros of arrivals.tookMicros) expect(micros).toBeGreaterThan(0);
  });
});

test('a message has its number and its time, and fills the rest with what nothing makes smaller', () => {
  expect(new Set(stampedMessage(1_000, 1).subarray(STAMP_BYTES)).size).toBeGreaterThan(100);
});

describe('the counters of a link', () => {
  const line = (name: string, bytes: number) =>
    `tunlink: ${name} in=10 in_bytes=${bytes} out=9 lost=1 lost_burst=2 late_avg_us=0.1 late_max_us=1500.5 tun_drop=0`;

  test('are read for both directions', () => {
    expect(linkStats(`tunlink: seconds=3 seed=1\n${line('down', 700)}\n${line('up', 900)}\n`)).toEqual({
      up: { packets: 10, bytes: 900, lost: 3 },
      down: { packets: 10, bytes: 700, lost: 3 },
      lateMsMax: 1.5005,
    });
  });

  test('that are missing are an error', () => {
    expect(() => linkStats(line('down', 700))).toThrow('no counters');
    expect(() => linkStats('x: up in=1\nx: down in=1')).toThrow('no counter "late_max_us"');
  });
});

test('a tunnel runs beside the command of each end, which talks to it on its own host', () => {
  const kcptun = PEERS.find(({ name }) => name === 'kcptun');
  if (kcptun === undefined) throw new Error('no kcptun');
  const order = { jsp: null, size: 64, perSecond: 100, count: 10, folder: '/folder' };
  const { server, client } = commandsOf(kcptun, 'end.js', order);
  expect(server).toMatch(
    /^kcptun-server .*--target 127\.0\.0\.1:\d+ .*fast3.* & \S+ end\.js receive '.*"host":"127\.0\.0\.1"/,
  );
  expect(client).toMatch(/^kcptun-client .* & \S+ end\.js send '.*"via":"127\.0\.0\.1:12948"/);
});
