import { describe, expect, test } from 'vitest';
import type { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { EcnCodepoint } from '../../../src/protocol/wire/frames/ack.ts';
import { hex, joined, toHex } from '../crypto/bytes.ts';
import { type SealedPacketInput, slowSealedPacket } from '../crypto/slow-packet.ts';
import { vectorCases } from '../crypto/vector-file.ts';
import { keysOf } from '../crypto/vector-keys.ts';

const PACKETS = vectorCases('sealed-packets.json', slowSealedPacket);
const ID = Uint8Array.of(1, 2, 3);

describe('a batch to transmit', () => {
  test('is sealed to the same bytes as its packets one by one, and none waits afterwards', () => {
    const batch = packed();
    expect(batch.packets).toBe(PACKETS.length);
    batch.seal((_, error) => {
      throw error;
    });
    expect(batch.packets).toBe(0);
    expect(batch.count).toBe(PACKETS.length);
    expect(toHex(batch.arena.subarray(0, batch.used))).toBe(
      PACKETS.map(({ output }) => output.packet).join(''),
    );
  });

  test('takes out the datagram of a packet that cannot be sealed, says whose it was, and leaves the others as they are', () => {
    const batch = new TransmitBatch(1_000, 4);
    const [{ input }] = PACKETS;
    const length = pack(batch, input, keysOf(input));
    batch.pushPacket(null as unknown as PacketKeys, batch.used, batch.used + 9, batch.used + 40, 7, ID);
    batch.push(56, 'b', 2, 22);
    batch.mark(EcnCodepoint.CE);
    pack(batch, input, keysOf(input), 'c', 3, 33);
    batch.mark(EcnCodepoint.ECT0);
    const failed: Uint8Array[] = [];
    batch.seal((sourceId) => failed.push(sourceId));
    expect(failed).toEqual([ID]);
    expect(batch.count).toBe(2);
    expect([...batch.offset.subarray(0, 2)]).toEqual([0, length + 56]);
    expect([batch.host.slice(0, 2), batch.port.slice(0, 2), [...batch.local.subarray(0, 2)]]).toEqual([
      ['a', 'c'],
      [1, 3],
      [0, 33],
    ]);
    const codepoints = () => Array.from({ length: batch.count }, (_, i) => batch.ecnOf(i));
    expect(codepoints()).toEqual([EcnCodepoint.NOT_ECT, EcnCodepoint.ECT0]);
    // Nothing is left of the codepoints of those before.
    batch.push(1, 'd', 4);
    expect(codepoints()).toEqual([EcnCodepoint.NOT_ECT, EcnCodepoint.ECT0, EcnCodepoint.NOT_ECT]);
    batch.clear();
    for (let i = 0; i < 3; i++) batch.push(1, 'd', 4);
    expect(codepoints()).toEqual([0, 1, 2].map(() => EcnCodepoint.NOT_ECT));
    batch.mark(EcnCodepoint.ECT0);
    expect(codepoints()).toEqual([EcnCodepoint.NOT_ECT, EcnCodepoint.NOT_ECT, EcnCodepoint.ECT0]);
  });

  test('takes back packets that were packed last', () => {
    const batch = packed();
    batch.truncatePackets(1);
    expect(batch.packets).toBe(1);
    batch.clear();
    expect([batch.packets, batch.count, batch.used]).toEqual([0, 0, 0]);
  });
});

/** A batch with a datagram for each of the vectors, not sealed yet. */
function packed(): TransmitBatch {
  const bytes = PACKETS.reduce((sum, { output }) => sum + output.packet.length / 2, 0);
  const batch = new TransmitBatch(bytes, PACKETS.length);
  for (const { input } of PACKETS) pack(batch, input, keysOf(input));
  return batch;
}

function pack(
  batch: TransmitBatch,
  input: SealedPacketInput,
  keys: PacketKeys,
  host = 'a',
  port = 1,
  local = 0,
): number {
  const header = hex(input.header);
  const bytes = joined(header, hex(input.payload));
  const at = batch.used;
  batch.arena.set(bytes, at);
  const numberStart = at + header.length - ((header[0] & 3) + 1);
  batch.pushPacket(keys, at, numberStart, at + bytes.length, input.packetNumber, ID);
  batch.push(bytes.length + 16, host, port, local);
  return bytes.length + 16;
}
