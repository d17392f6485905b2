import { expect, test } from 'vitest';
import { labPair } from './lab-pair.ts';
import { next } from './served.ts';

/** Sends 4 MB over 10 Mbit/s and 40 ms round trip, whose router marks, or drops, beyond 20 KB: what became of it. */
async function transfer(usesEcn: boolean) {
  const queueBytesMax = usesEcn ? 200_000 : 20_000;
  const link = { delayMs: 20, bitsPerSecond: 10e6, queueBytesMax, ecnMarkBytes: 20_000 };
  const pair = await labPair(link, {}, usesEcn);
  const { lab, client, accepted } = pair;
  let bytes = 0;
  accepted.on('stream', (stream) => stream.on('message', (message) => (bytes += message.length)));
  const stream = client.openStream();
  for (let i = 0; i < 100; i++)
    if (!stream.send(Buffer.alloc(40_000))) await lab.settle(next(stream, 'drain'));
  await lab.settle(client.close());
  const { counters } = lab.network.link('client', 'server');
  return { metrics: client.metrics(), bytes, link: counters, ms: lab.now / 1_000 };
}

test('a bulk transfer over a router that marks loses nothing, and is no slower than over one that drops [REC-34]', async () => {
  const marked = await transfer(true);
  expect(marked.bytes).toBe(4_000_000);
  expect(marked.metrics).toMatchObject({ ecnCapable: 1, packetsLost: 0 });
  expect(marked.link.droppedQueue).toBe(0);
  expect(marked.link.marked).toBe(marked.metrics.congestionMarks);
  expect(marked.link.marked).toBeGreaterThan(20);

  const dropped = await transfer(false);
  expect(dropped.bytes).toBe(4_000_000);
  expect(dropped.metrics).toMatchObject({ ecnCapable: 0, congestionMarks: 0 });
  expect(dropped.metrics.packetsLost).toBeGreaterThan(5);
  expect(dropped.link.marked).toBe(0);
  expect(marked.ms).toBeLessThan(dropped.ms);
});
