import { expect, test } from 'vitest';
import { PROTECTION_AUTO, ProtectionMode } from '../../../src/protocol/fec/protection.ts';
import { FrameType, MessageFlag } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, Pair } from './pair.ts';
import { integers, opening, Rogue } from './rogue.ts';

const F = FrameType;

test('what went ahead of a symbol that is recovered while it was held back is said again [FEC-47] [FEC-50]', () => {
  const pair = new Pair({ link: { delayMs: 40 } }).connected();
  const { client } = pair;
  const protection = { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: 2, parity: 2 };
  const stream = client.open({ protection });
  const say = (tag: number) =>
    stream.send(bytesOf(20, tag), stream.delivery, Number.POSITIVE_INFINITY, false);
  for (let i = 0; i < 20; i++) {
    client.send(stream, bytesOf(20, i));
    pair.run(20);
  }
  pair.run(500);

  // The client drops a message, of which half came, in the packet that has its next message.
  const peer = new Rogue(pair, 'server').send(opening(1));
  const half = integers(F.MESSAGE | MessageFlag.FRAGMENT | MessageFlag.LIFETIME, 1, 0, 0, 20, 0, 5_000, 10);
  peer.post(Buffer.concat([half, new Uint8Array(10)]));
  pair.run(44);
  const { length } = client.packets;
  say(100);
  pair.run(1);
  for (let i = 101; i < 107; i++) {
    client.send(stream, bytesOf(20, i));
    pair.run(2);
  }
  const packets = client.packets.slice(length);
  const [lost] = packets;
  expect(lost.frames.map(({ type }) => type)).toEqual([F.DROPPED, F.MESSAGES]);

  // The second of its repairs comes first and shows that it is lost; the first is thought to be on its way, and recovers it.
  const [first, second] = packets.filter(({ frames }) => frames.some(({ type }) => type === F.REPAIR));
  expect([first.number, second.number]).toEqual([lost.number + 2, lost.number + 3]);
  const largest = second.number;
  peer.post(integers(F.ACK, largest, 0, 0, 0));
  peer.post(integers(F.ACK_RECOVERED, largest, 0, 0, 0, 1, largest - lost.number));
  const after = client.packets.length;
  pair.run(70);
  expect(client.core.counters.packetsRecoveredByPeer).toBe(1);
  const again = client.packets.slice(after).flatMap(({ frames }) => frames);
  expect(again.filter(({ type }) => type === F.DROPPED).length).toBe(1);
  expect(client.closed).toBeNull();
});
