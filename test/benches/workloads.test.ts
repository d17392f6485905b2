import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { FramedReader, FramedWriter } from '../../benches/ladder/packets.ts';
import { workloads as ladder } from '../../benches/ladder/rungs.ts';
import { workloads as tls } from '../../benches/peers/tls.ts';
import { percentilesOf } from '../../src/bench/figures.ts';
import type { Counts, Workload, WorkloadOptions } from '../../src/bench/workload.ts';
import { RAW_PING_PONG } from '../../src/bench/workloads.ts';

const isPure = ({ name }: Workload) => name.startsWith('pure ');
const rungs = ladder.filter((workload) => !isPure(workload));

test('the ladder goes from bare datagrams to the whole but for retransmission, a layer a rung', () => {
  expect(rungs.map(({ name }) => name)).toEqual(['raw', 'framing', 'aead', 'acks']);
});

test('each rung, and the whole, is there without the native addon, too', () => {
  const pure = ladder.filter(isPure);
  expect(pure.map(({ name }) => name)).toEqual([...rungs.map(({ name }) => `pure ${name}`), 'pure stack']);
  for (const { environment } of pure) expect(environment).toEqual({ JSP_NATIVE: '0' });
});

describe.each(rungs)('the rung $name', (workload) => {
  test.each([
    { mtu: 64, size: 0 },
    { mtu: 1_472, size: 64 },
    { mtu: 16_384, size: 0 },
  ])('carries every message once at $mtu/$size', async ({ mtu, size }) => {
    const { sent, received } = await run(workload, { mtu, size, settings: {} });
    expect(sent.messages).toBeGreaterThan(0);
    expect(received).toEqual(sent);
  });
});

describe.each([RAW_PING_PONG, ...tls])('the workload $name', (workload) => {
  test.each([64, 70_000])('carries every message of %i bytes', async (size) => {
    if (size > 65_507 && workload === RAW_PING_PONG) return;
    const { sent, received, p50 } = await run(workload, { mtu: 0, size, settings: {} });
    expect(sent.messages).toBeGreaterThan(0);
    expect(received).toMatchObject({ messages: sent.messages, bytes: sent.bytes });
    if (workload.name.includes('ping-pong')) expect(p50).toBeGreaterThan(0);
  });
});

describe('framed packets', () => {
  test('count a packet that comes twice once, and packets of others not at all', () => {
    const writer = new FramedWriter(200, 20, null);
    const arena = new Uint8Array(400);
    const packet = arena.slice(0, writer.write(arena, 0, 0));
    const reader = new FramedReader(null);
    expect(reader.read(packet.slice())).toBe(0);
    expect(reader.read(packet.slice())).toBe(-1);
    packet[3] ^= 1;
    expect(reader.read(packet)).toBe(-1);
    expect(reader.read(new Uint8Array(3))).toBe(-1);
    expect(reader.counts).toEqual({
      messages: writer.messagesPerPacket,
      bytes: writer.messagesPerPacket * 20,
      packets: 1,
    });
  });

  test.each([
    [40, 100],
    [12, 0],
  ])('refuse a datagram of %i bytes that has no room for a message of %i', (mtu, size) => {
    expect(() => new FramedWriter(mtu, size, null)).toThrow(RangeError);
  });
});

/** Runs sender and receiver here, in one process, for a moment, until all that was sent is there. */
async function run(workload: Workload, options: WorkloadOptions) {
  const receiver = await workload.openReceiver(options);
  const sender = await workload.openSender(options, receiver.target);
  sender.start();
  await sleep(30);
  sender.stop();
  const sent: Counts = { ...sender.counts() };
  const isSettled = () =>
    receiver.counts().messages >= sent.messages && (sender.latencies === null || sender.latencies.count > 0);
  for (let i = 0; i < 10_000 && !isSettled(); i++) await sleep(5);
  const received: Counts = { ...receiver.counts() };
  const p50 = (sender.latencies && percentilesOf(sender.latencies)?.p50) ?? 0;
  await Promise.all([sender.close(), receiver.close()]);
  return { sent, received, p50 };
}
