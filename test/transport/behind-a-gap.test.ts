import { describe, expect, test } from 'vitest';
import { LabPath, PERFECT_PATH } from '../../src/bench/lab-path.ts';

/** What a stream that always has something to send brings over a path of 20 Mbit/s, 50 ms and 1 % loss in its first 1.2 s. */
async function start(seed: number, ordered: boolean) {
  const path = { ...PERFECT_PATH, seed, loss: 0.01, bitsPerSecond: 20_000_000, queueBytes: 125_000 };
  const ends = await LabPath.open(path, { congestion: 'bbr', protection: 'off' });
  let bytes = 0;
  ends.server.on('stream', (incoming) =>
    incoming.on('message', (message) => {
      bytes += message.length;
    }),
  );
  const stream = ends.client.openStream({ ordered });
  const message = new Uint8Array(1_200);
  const send = () => {
    while (stream.send(message));
  };
  stream.on('drain', send);
  send();
  await ends.lab.run(1_200);
  const blockedMs = ends.client.metrics().limitedByMs['flow-control'];
  ends.client.destroy();
  await ends.lab.run(1);
  return { bytes, blockedMs };
}

describe('An ordered stream', () => {
  test('is hardly held by flow control as it starts on a path that loses packets, though behind a gap nothing is read [STR-47]', async () => {
    let blockedMs = 0;
    let bytes = 0;
    let unordered = 0;
    for (const seed of [1, 2, 3, 4]) {
      const figures = await start(seed, true);
      blockedMs += figures.blockedMs / 4;
      bytes += figures.bytes;
      unordered += (await start(seed, false)).bytes;
    }
    expect(blockedMs).toBeLessThan(100);
    expect(bytes / unordered).toBeGreaterThan(0.9);
  });
});
