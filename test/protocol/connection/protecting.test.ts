import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  PROTECTION_AUTO,
  PROTECTION_OFF,
  ProtectionMode,
  type ProtectionOptions,
} from '../../../src/protocol/fec/protection.ts';
import type { ConnectionStream, StreamSettings } from '../../../src/protocol/stream/connection-stream.ts';
import { Delivery, FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { bytesOf, Pair, type PairOptions } from './pair.ts';

const { REPAIR } = FrameType;

/** A client that sends protected messages over 25 ms each way, and what becomes of its datagrams. */
class Sender {
  readonly pair: Pair;
  readonly stream: ConnectionStream;
  /** What happens to a datagram that is about to leave: 0 it goes, NEVER it is lost, else it is late by so many ms. */
  fate: (isRepair: boolean, index: number) => number = () => 0;
  sent = 0;
  private readonly known: number[] = [];

  constructor(settings: Partial<StreamSettings>, options: PairOptions = {}) {
    this.pair = new Pair({ link: { delayMs: 25 }, ...options }).connected();
    const { client } = this.pair;
    this.stream = client.open(settings);
    client.send(this.stream, 'first');
    this.pair.run(200);
    this.sent = 1;
    let index = 0;
    client.filter = (data) => {
      const isRepair = client.sent.at(-1)?.packets.some(hasRepair) === true;
      const late = this.fate(isRepair, index++);
      return late === LOST ? [] : [{ data, afterMs: late }];
    };
  }

  send(size = 20, everyMs = 0): this {
    this.pair.client.send(this.stream, bytesOf(size, this.sent++));
    if (everyMs > 0) this.pair.run(everyMs);
    return this;
  }

  /** Messages that came, each by which one it is. */
  get came(): readonly number[] {
    const messages = this.pair.server.messages.get(this.stream.id) ?? [];
    // Each is found out once, however often this is asked.
    for (let i = this.known.length; i < messages.length; i++) this.known.push(this.numberOf(messages[i]));
    return this.known.slice();
  }

  get ours() {
    return this.pair.client.core.metrics();
  }

  get theirs() {
    return this.pair.server.core.metrics();
  }

  get repairs(): number {
    return this.pair.client.packets.filter(hasRepair).length;
  }

  private numberOf(message: Uint8Array): number {
    if (Buffer.from(message).equals(Buffer.from('first'))) return 0;
    for (let i = 1; i < this.sent; i++) {
      if (Buffer.from(bytesOf(message.length, i)).equals(Buffer.from(message))) return i;
    }
    throw new Error('a message came that was never sent');
  }
}

function hasRepair({ frames }: { frames: readonly { type: number }[] }): boolean {
  return frames.some(({ type }) => type === REPAIR);
}

function hasMessages({ frames }: { frames: readonly { type: number }[] }): boolean {
  return frames.some(({ type }) => type === FrameType.MESSAGES);
}

function block(data: number, parity: number): ProtectionOptions {
  return { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data, parity };
}

describe('a block of packets with repairs behind it', () => {
  test('brings a lost packet back without sending it again [FEC-54]', () => {
    const sender = new Sender({ protection: block(4, 1) });
    sender.fate = (_, index) => (index === 1 ? LOST : 0);
    for (let i = 0; i < 4; i++) sender.send(20, 5);
    sender.pair.run(25);
    expect(sender.came).toEqual([0, 1, 2, 3, 4]);
    sender.pair.run(500);
    expect(sender.theirs.packetsRecovered).toBe(1);
    expect(sender.ours).toMatchObject({ packetsRecoveredByPeer: 1, packetsLost: 1, retransmittedBytes: 0 });
    expect(sender.ours.repairsSent).toBeGreaterThanOrEqual(1);
  });

  test('brings nothing back when its repairs are lost, too: the packet is sent again', () => {
    const sender = new Sender({ protection: block(4, 1) });
    sender.fate = (isRepair, index) => (index === 1 || isRepair ? LOST : 0);
    for (let i = 0; i < 4; i++) sender.send(20, 5);
    sender.pair.run(25);
    expect(sender.came).toEqual([0, 1]);
    sender.pair.run(500);
    expect(sender.came).toEqual([0, 1, 2, 3, 4]);
    expect(sender.theirs.packetsRecovered).toBe(0);
    expect(sender.ours.retransmittedBytes).toBeGreaterThan(0);
  });

  test('each repair has a packet of its own, and follows at once [FEC-51]', () => {
    const sender = new Sender({ protection: block(5, 3) });
    const before = sender.repairs;
    for (let i = 0; i < 5; i++) sender.send(20, 5);
    const repairs = sender.pair.client.packets.filter(hasRepair).slice(before);
    expect(repairs.map(({ frames }) => frames.filter(({ type }) => type === REPAIR).length)).toEqual([
      1, 1, 1,
    ]);
  });

  test('that does not fill ends when the next packet is overdue, with its share of the repairs [FEC-53]', () => {
    const sender = new Sender({ protection: block(10, 5) });
    for (let i = 0; i < 63; i++) sender.send(20, 5);
    const { repairs } = sender;
    sender.send(20, 20);
    expect(sender.repairs - repairs).toBe(2);
  });

  test.each([3_000, 9_000, 20_000])('mends messages of many packets: %i bytes [FEC-54]', (size) => {
    const sender = new Sender({ protection: block(10, 3) });
    sender.fate = (_, index) => (index === 1 ? LOST : 0);
    sender.send(size);
    sender.pair.run(500);
    expect(sender.came).toEqual([0, 1]);
    expect(sender.ours).toMatchObject({ packetsRecoveredByPeer: 1, retransmittedBytes: 0 });
  });
});

describe('a window of packets with repairs that ride along', () => {
  const lossy = { link: { delayMs: 25, loss: 0.1 } };

  /** One that has found out what the path loses. */
  function steady(settings: Partial<StreamSettings> = {}, options: PairOptions = {}): Sender {
    const sender = new Sender({ protection: PROTECTION_AUTO, ...settings }, { ...lossy, ...options });
    for (let i = 0; i < 300; i++) sender.send(20, 5);
    return sender;
  }

  test('brings back most of what a lossy path loses, in their order, each once [FEC-52]', () => {
    const sender = steady();
    const before = sender.ours;
    for (let i = 0; i < 300; i++) sender.send(20, 5);
    sender.pair.run(1_000);
    const after = sender.ours;
    const lost = after.packetsLost - before.packetsLost;
    expect(lost).toBeGreaterThan(10);
    expect(after.packetsRecoveredByPeer - before.packetsRecoveredByPeer).toBeGreaterThan(0.8 * lost);
    expect(sender.came).toEqual(Array.from({ length: 601 }, (_, i) => i));
    expect(after.packetsProtectedLost).toBeGreaterThanOrEqual(lost);
    expect(after.residualLossRate).toBeLessThan(0.02);
    const theirs = sender.theirs;
    expect(theirs.repairsReceived).toBeGreaterThan(0.8 * after.repairsSent);
    expect(theirs.repairsReceived - theirs.repairsUseless).toBeGreaterThanOrEqual(theirs.packetsRecovered);
  });

  test('costs no packet while others go, and one behind the last of them [FEC-53]', () => {
    const sender = steady();
    const before = sender.pair.client.packets.length;
    for (let i = 0; i < 50; i++) sender.send(20, 5);
    const packets = sender.pair.client.packets.slice(before);
    const alone = packets.filter(
      (packet) => hasRepair(packet) && packet.frames.every(({ type }) => isAhead(type)),
    );
    expect(alone.length).toBeLessThan(packets.length / 5);
    const tail = sender.pair.client.packets.length;
    sender.pair.run(15);
    expect(sender.pair.client.packets.slice(tail).some(hasRepair)).toBe(true);
  });

  test('ends with the losses, and adds no byte to a path that loses nothing [FEC-1]', () => {
    const bytes = [PROTECTION_OFF, PROTECTION_AUTO].map((protection) => {
      const sender = new Sender({ protection });
      for (let i = 0; i < 200; i++) sender.send(20, 5);
      sender.pair.run(500);
      expect(sender.ours).toMatchObject({ repairsSent: 0, packetsProtected: 0 });
      return sender.pair.client.bytesSent;
    });
    expect(bytes[0]).toBe(bytes[1]);
  });

  test('gives way to repairs behind each message of many packets, as many as the losses call for [FEC-54] [FEC-30]', () => {
    const sender = new Sender({ protection: PROTECTION_AUTO }, { ...lossy, client: { congestion: 'bbr' } });
    for (let i = 0; i < 40; i++) sender.send(6_000, 40);
    const before = sender.ours;
    for (let i = 0; i < 40; i++) sender.send(6_000, 40);
    sender.pair.run(1_000);
    const after = sender.ours;
    expect(after.repairsSent - before.repairsSent).toBeGreaterThan(2 * 40);
    const lost = after.packetsProtectedLost - before.packetsProtectedLost;
    expect(after.packetsRecoveredByPeer - before.packetsRecoveredByPeer).toBeGreaterThan(0.7 * lost);
    expect(sender.came).toHaveLength(81);
  });

  test('is not for a peer that takes none [FEC-40]', () => {
    const sender = steady({}, { server: { repairBytes: 0 } });
    expect(sender.ours).toMatchObject({ repairsSent: 0, packetsProtected: 0 });
    expect(sender.pair.server.closed).toBeNull();
  });
});

describe('what a lost packet carried', () => {
  test('waits while a repair of it is on its way, and is not sent again when that brings it back [FEC-50]', () => {
    const sender = new Sender({ protection: block(4, 1) });
    sender.fate = (isRepair, index) => (index === 0 ? LOST : isRepair ? 3 : 0);
    for (let i = 0; i < 8; i++) sender.send(20, 1);
    sender.pair.run(500);
    expect(sender.ours).toMatchObject({ packetsLost: 1, packetsRecoveredByPeer: 1, retransmittedBytes: 0 });
  });

  test('waits for the next repair of a window, which most often brings it back: it is not sent again [FEC-50]', () => {
    const sender = new Sender({ protection: PROTECTION_AUTO });
    sender.fate = (_, index) => (index % 10 === 3 ? LOST : 0);
    for (let i = 0; i < 300; i++) sender.send(64, 10);
    sender.fate = () => 0;
    for (let i = 0; i < 20; i++) sender.send(64, 10);
    const before = sender.ours;
    // The first has a repair, the next one leaves its own behind: it takes that and the one of the third to bring both back.
    let lost = 0;
    sender.fate = (isRepair) => {
      const hasMessage = sender.pair.client.sent.at(-1)?.packets.some(hasMessages) === true;
      if (!hasMessage || lost === 2 || (lost === 0 && !isRepair)) return 0;
      lost++;
      return LOST;
    };
    for (let i = 0; i < 30; i++) sender.send(64, 10);
    const after = sender.ours;
    expect(after.packetsLost - before.packetsLost).toBe(2);
    expect(after.packetsRecoveredByPeer - before.packetsRecoveredByPeer).toBe(2);
    expect(after.retransmittedBytes).toBe(before.retransmittedBytes);
    sender.pair.run(100);
    expect(sender.came).toEqual(Array.from({ length: 351 }, (_, i) => i));
  });

  test('waits no longer than an eighth of a round trip, though congestion control hears at once [FEC-50]', () => {
    const sender = new Sender({ protection: block(4, 1) });
    sender.fate = (isRepair, index) => (index === 0 ? LOST : isRepair ? 40 : 0);
    for (let i = 0; i < 8; i++) sender.send(20, 1);
    const { client } = sender.pair;
    sender.pair.until(() => sender.ours.packetsLost === 1, 500, 'the loss');
    const lostAt = sender.pair.now;
    expect(sender.ours.retransmittedBytes).toBe(0);
    sender.pair.until(() => sender.ours.retransmittedBytes > 0, 500, 'the retransmission');
    expect(sender.pair.now - lostAt).toBeLessThanOrEqual(7_500);
    expect(client.core.path.bytesInFlight).toBeGreaterThan(0);
  });
});

test('every message comes once, and in its order, whatever becomes of packets and repairs', () => {
  const fates = fc.array(fc.constantFrom(0, 0, 0, 0, LOST, LOST, 4, 30, 120), {
    minLength: 1,
    maxLength: 60,
  });
  const protections = fc.constantFrom(block(4, 1), block(3, 3), block(10, 2), PROTECTION_AUTO);
  fc.assert(
    fc.property(
      fates,
      protections,
      fc.boolean(),
      fc.constantFrom(20, 700, 4_000),
      (fates, protection, ordered, size) => {
        const sender = new Sender({ protection, ordered }, { link: { delayMs: 25, duplicate: 0.1 } });
        sender.fate = (_, index) => fates[index] ?? 0;
        for (let i = 0; i < 40; i++) sender.send(i % 7 === 0 ? size : 20, 3);
        sender.pair.until(() => sender.came.length >= sender.sent, 60_000, 'all messages').run(500);
        const { came } = sender;
        const expected = Array.from({ length: sender.sent }, (_, i) => i);
        expect(ordered ? came : came.toSorted((a, b) => a - b)).toEqual(expected);
        expect(sender.pair.server.closed).toBeNull();
        // What asks about the silence that follows [CON-90] may be under way.
        const { path } = sender.pair.client.core;
        sender.pair.until(() => path.bytesInFlight === 0, 1_000, 'that nothing is in flight');
      },
    ),
    { numRuns: 40 },
  );
});

test('best-effort messages come at most once, and more of them with repairs than without', () => {
  const [bare, mended] = [PROTECTION_OFF, block(4, 2)].map((protection) => {
    const sender = new Sender(
      { protection, delivery: Delivery.BEST_EFFORT, ordered: false },
      { link: { delayMs: 25, loss: 0.1 } },
    );
    for (let i = 0; i < 400; i++) sender.send(20, 5);
    sender.pair.run(500);
    const { came } = sender;
    expect(new Set(came).size).toBe(came.length);
    return came.length;
  });
  expect(mended).toBeGreaterThan(bare + 20);
});

function isAhead(type: number): boolean {
  return (
    type === REPAIR ||
    (type >= FrameType.ACK && type <= FrameType.ACK_ECN_RECOVERED) ||
    type === FrameType.PADDING
  );
}

const LOST = -1;
