import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { EcnState, PathEcn } from '../../../src/protocol/path/ecn.ts';
import { EcnCodepoint, type EcnCounts } from '../../../src/protocol/wire/frames/ack.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';

const { APPLICATION, HANDSHAKE } = PacketSpace;

function listOf(...numbers: number[]): { count: number; numbers: number[] } {
  return { count: numbers.length, numbers };
}

function counts(ect0: number, ce = 0, ect1 = 0): EcnCounts {
  return { ect0, ect1, ce };
}

/** A path with a packet a datagram, all of one space. */
class Sending {
  readonly ecn = new PathEcn();
  next = 0;

  /** Sends datagrams of one packet; returns how many of them said ECT(0). */
  send(count = 1, space: PacketSpace = APPLICATION): number {
    let marked = 0;
    for (let i = 0; i < count; i++) {
      this.ecn.onPacketSent(space, this.next++);
      if (this.ecn.onDatagramSent() === EcnCodepoint.ECT0) marked++;
    }
    return marked;
  }

  capable(): this {
    this.send(1);
    this.ecn.onAck(APPLICATION, listOf(this.next - 1), counts(this.next));
    expect(this.ecn.state).toBe(EcnState.CAPABLE);
    return this;
  }
}

describe('a path is tested for ECN [REC-81]', () => {
  test('with ten packets, then it waits for their fate, then all that is sent says ECT(0)', () => {
    const path = new Sending();
    expect(path.send(30)).toBe(10);
    expect(path.ecn.state).toBe(EcnState.UNKNOWN);
    expect(path.ecn.onAck(APPLICATION, listOf(3, 2, 1, 0), counts(4))).toBe(0);
    expect(path.ecn.state).toBe(EcnState.CAPABLE);
    expect(path.send(50)).toBe(50);
    // Those in between did not say it, and nothing is asked of them.
    path.ecn.onAck(APPLICATION, listOf(20, 19, 18), counts(4));
    expect(path.ecn.state).toBe(EcnState.CAPABLE);
    path.ecn.onAck(APPLICATION, listOf(31, 30, 20), counts(6));
    expect(path.ecn.state).toBe(EcnState.CAPABLE);
  });

  test('all packets of one datagram alike, also when the tenth is in the middle', () => {
    const { ecn } = new Sending();
    for (let i = 0; i < 8; i++) {
      ecn.onPacketSent(APPLICATION, i);
      ecn.onDatagramSent();
    }
    for (let i = 0; i < 4; i++) ecn.onPacketSent(HANDSHAKE, i);
    expect(ecn.onDatagramSent()).toBe(EcnCodepoint.ECT0);
    expect(ecn.state).toBe(EcnState.UNKNOWN);
    ecn.onAck(HANDSHAKE, listOf(3, 2, 1, 0), counts(4));
    expect(ecn.state).toBe(EcnState.CAPABLE);
  });
});

describe('counts are believed as long as they add up [REC-82]', () => {
  test('and what they grow by in marks is told once', () => {
    const { ecn } = new Sending().capable();
    const path = { ecn };
    for (let number = 1; number <= 6; number++) path.ecn.onPacketSent(APPLICATION, number);
    expect(ecn.onAck(APPLICATION, listOf(3, 2, 1), counts(2, 2))).toBe(2);
    expect(ecn.onAck(APPLICATION, listOf(5, 4), counts(3, 3))).toBe(1);
    expect(ecn.onAck(APPLICATION, listOf(6), counts(4, 3))).toBe(0);
    expect(ecn.marks).toBe(3);
  });

  test.each<[string, EcnCounts | null]>([
    ['none at all', null],
    ['fewer than were acknowledged', counts(2)],
    ['more than were sent', counts(7)],
    ['more marks than were sent', counts(0, 7)],
    ['a codepoint that was never sent', counts(4, 0, 1)],
    ['fewer than before', counts(0, 5)],
  ])('but not %s: then the path goes without for good, and marks mean nothing', (_, wrong) => {
    const path = new Sending().capable();
    path.send(5);
    expect(path.ecn.onAck(APPLICATION, listOf(3, 2, 1), wrong)).toBe(0);
    expect(path.ecn.state).toBe(EcnState.FAILED);
    expect(path.send(20)).toBe(0);
    expect(path.ecn.onAck(APPLICATION, listOf(5, 4), counts(1, 5))).toBe(0);
    expect(path.ecn.state).toBe(EcnState.FAILED);
    expect(path.ecn.marks).toBe(0);
  });

  test('each space by itself', () => {
    const path = new Sending();
    path.send(2, HANDSHAKE);
    path.ecn.onAck(HANDSHAKE, listOf(1, 0), counts(2));
    path.send(2);
    path.ecn.onAck(APPLICATION, listOf(3, 2), counts(2));
    expect(path.ecn.state).toBe(EcnState.CAPABLE);
  });

  test('an honest peer is always believed, whatever is lost, doubled or marked, and tells every mark in the end', () => {
    const step = fc.record({ fate: fc.constantFrom('arrives', 'lost', 'marked'), acks: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 120 }), (steps) => {
        const path = new Sending();
        const seen = counts(0);
        let newly: number[] = [];
        let said = false;
        for (const { fate, acks } of steps) {
          const isMarked = path.send() === 1;
          if (fate !== 'lost') {
            newly.unshift(path.next - 1);
            if (isMarked && fate === 'marked') seen.ce++;
            else if (isMarked) seen.ect0++;
            said ||= isMarked;
          }
          if (!acks || newly.length === 0) continue;
          path.ecn.onAck(APPLICATION, listOf(...newly), said ? { ...seen } : null);
          newly = [];
          expect(path.ecn.state).not.toBe(EcnState.FAILED);
          expect(path.ecn.marks).toBe(seen.ce);
        }
      }),
    );
  });

  test('a peer or a network that clears marks of what was acknowledged is found out at once', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 9 }), (sent, cleared) => {
        const path = new Sending();
        path.send(sent);
        const told = Math.max(0, sent - cleared);
        const acked = listOf(...Array.from({ length: sent }, (_, i) => sent - 1 - i));
        path.ecn.onAck(APPLICATION, acked, told === 0 ? null : counts(told));
        expect(path.ecn.state).toBe(EcnState.FAILED);
      }),
    );
  });
});

describe('a path that drops what says ECT(0) [REC-83]', () => {
  test('is known by the loss of all that tested it', () => {
    const path = new Sending();
    path.send(12);
    path.ecn.onLost(APPLICATION, listOf(0, 1, 2, 3, 4, 5, 6, 7, 8));
    expect(path.ecn.state).toBe(EcnState.UNKNOWN);
    path.ecn.onLost(APPLICATION, listOf(9, 10));
    expect(path.ecn.state).toBe(EcnState.FAILED);
  });

  test('or by two probe timeouts in a row, and one that worked by four', () => {
    const fresh = new Sending();
    fresh.send(1);
    fresh.ecn.onProbeTimeout(1);
    expect(fresh.send(1)).toBe(1);
    fresh.ecn.onProbeTimeout(2);
    expect(fresh.send(1)).toBe(0);
    const proved = new Sending().capable();
    for (const count of [1, 2, 3]) proved.ecn.onProbeTimeout(count);
    expect(proved.send(1)).toBe(1);
    proved.ecn.onProbeTimeout(4);
    expect(proved.send(1)).toBe(0);
  });
});
