import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { AckThreshold } from '../../../src/protocol/recovery/ack-frequency.ts';
import { TimeoutResult } from '../../../src/protocol/recovery/recovery.ts';
import { ThinSender } from '../../../src/protocol/recovery/thin-sender.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { Sender } from './sender.ts';

const { INITIAL, HANDSHAKE, APPLICATION } = PacketSpace;

describe('the probe timeout', () => {
  test('is armed by ack-eliciting packets only [REC-13]', () => {
    const sender = new Sender();
    sender.sendAckOnly();
    expect(sender.recovery.nextTimeout()).toBe(NEVER);
    sender.send();
    expect(sender.recovery.nextTimeout()).toBe(sender.now + 999_000 + 25_000);
  });

  test("counts from the last ack-eliciting packet and adds the peer's delay [REC-13] [REC-14]", () => {
    const sender = new Sender();
    sender.sampleRtt(40_000);
    sender.send();
    sender.now += 7_000;
    sender.send();
    // 40,000 smoothed + 4 x 20,000 variance + 25,000
    expect(sender.recovery.nextTimeout()).toBe(sender.now + 145_000);
  });

  test("adds the peer's delay neither before the handshake is confirmed nor in its spaces [REC-14]", () => {
    const early = new Sender({ isConfirmed: false }).recovery;
    expect(early.probeTimeout(APPLICATION)).toBe(999_000);
    early.onHandshakeConfirmed(25_000);
    expect(early.probeTimeout(APPLICATION)).toBe(999_000 + 25_000);
    expect(early.probeTimeout(HANDSHAKE)).toBe(999_000);
    expect(early.probeTimeout(INITIAL)).toBe(999_000);
  });

  test('backs off, doubling each time, up to a minute [REC-13]', () => {
    const sender = new Sender();
    sender.sampleRtt(40_000);
    sender.send();
    const sentAt = sender.now;
    const waits: number[] = [];
    for (let i = 0; i < 14; i++) {
      waits.push(sender.recovery.nextTimeout() - sentAt);
      expect(sender.fireTimeout()).toBe(TimeoutResult.PROBE);
    }
    expect(waits.slice(0, 4)).toEqual([145_000, 290_000, 580_000, 1_160_000]);
    expect(waits.at(-1)).toBe(60_000_000);
    expect(sender.recovery.ptoCount).toBe(14);
  });

  test('of a peer that was heard since the last probe is a second at most, or as long as the first where that is longer [REC-99]', () => {
    const sender = new Sender();
    sender.sampleRtt(40_000);
    sender.send();
    const sentAt = sender.now;
    const wait = () => sender.recovery.nextTimeout() - sentAt;
    sender.recovery.onHeard();
    expect(wait()).toBe(145_000);
    for (let i = 0; i < 8; i++) sender.fireTimeout();
    expect(wait()).toBe(256 * 145_000); // nothing was heard
    sender.recovery.onHeard();
    expect(wait()).toBe(1_000_000);
    sender.fireTimeout();
    expect(wait()).toBe(60_000_000);

    const far = new Sender();
    far.sampleRtt(600_000);
    far.send();
    const first = far.recovery.nextTimeout();
    for (let i = 0; i < 3; i++) far.fireTimeout();
    far.recovery.onHeard();
    expect(far.recovery.nextTimeout()).toBe(first);
  });

  test('of a thin sender over a lossy path counts from its oldest packet, and asks for one probe [REC-58]', () => {
    const sender = thin();
    const sentAt = sender.now;
    sender.send();
    sender.now += 30_000;
    sender.send();
    // 40,000 smoothed + 4 x 20,000 variance + 25,000, for nobody has asked the peer for less
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 145_000);
    expect(sender.fireTimeout()).toBe(TimeoutResult.PROBE);
    expect(sender.recovery.probesPending(APPLICATION)).toBe(1);
    sender.send();
    expect(sender.recovery.probesPending(APPLICATION)).toBe(0);
    expect(sender.recovery.nextTimeout()).toBe(sender.now + 290_000); // from the probe, twice as long
  });

  test('of a thin sender waits for what a packet right behind the oldest one shows [REC-58]', () => {
    const sender = thin();
    sender.send();
    sender.now += 10_000;
    sender.send();
    const followedAt = sender.now;
    sender.now += 1_000;
    sender.send();
    expect(sender.recovery.nextTimeout()).toBe(followedAt + 145_000);
  });

  test('of a thin sender adds the delay that it asked for, once the peer has heard [REC-14]', () => {
    const asked = new ThinSender();
    const sender = thin(asked);
    const sentAt = sender.now;
    sender.send();
    asked.acks.onPeerParameters(1_000, 25_000);
    asked.acks.update(AckThreshold.EACH, 40_000, sender.now);
    asked.acks.write(writer());
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 145_000);
    asked.acks.onFrameAcked(0);
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 121_000);
  });

  test.each(['a clean path', 'a sender that is held back', 'a sender of nine packets'])(
    'of %s counts from the newest packet [REC-57] [REC-58]',
    (whose) => {
      const state = new ThinSender();
      const sender = thin(state);
      if (whose === 'a clean path') sender.recovery.path.loss.isLossy = false;
      if (whose === 'a sender that is held back') state.isAppLimited = false;
      sender.send();
      sender.now += 30_000;
      sender.send(whose === 'a sender of nine packets' ? 8 : 1);
      expect(sender.recovery.nextTimeout()).toBe(sender.now + 145_000);
      sender.fireTimeout();
      expect(sender.recovery.probesPending(APPLICATION)).toBe(2);
    },
  );

  test('asks for two probes, which window and pacer do not hold back [REC-21]', () => {
    const sender = new Sender();
    sender.send(10);
    const { window } = sender.recovery.path.congestion;
    expect(sender.recovery.allowance(sender.now)).toBeLessThan(1_200);
    expect(sender.fireTimeout()).toBe(TimeoutResult.PROBE);
    expect(sender.recovery.fates.space).toBe(APPLICATION);
    expect(sender.recovery.probesPending(APPLICATION)).toBe(2);
    expect(sender.recovery.fates.lost.count).toBe(0);
    expect(sender.recovery.path.congestion.window).toBe(window);
    sender.send(1);
    expect(sender.recovery.probesPending(APPLICATION)).toBe(1);
    expect(sender.recovery.path.bytesInFlight).toBe(11 * 1_200);
    sender.ack([3, 4]);
    expect(sender.recovery.probesPending(APPLICATION)).toBe(0);
  });

  test('starts over when something new is acknowledged [REC-17]', () => {
    const sender = new Sender();
    sender.sampleRtt(40_000);
    sender.send();
    sender.fireTimeout();
    sender.fireTimeout();
    sender.send(2);
    sender.ack([3, 4, 0, 1]);
    expect(sender.recovery.ptoCount).toBe(0);
  });

  test('gives way to the loss timer [REC-19]', () => {
    const sender = new Sender();
    const sentAt = sender.now;
    sender.send(2);
    sender.now += 40_000;
    sender.ack([1, 2]);
    sender.send();
    expect(sender.recovery.nextTimeout()).toBe(sentAt + 45_000);
  });

  test('leaves application packets alone before the handshake is confirmed [REC-15]', () => {
    const sender = new Sender({ isConfirmed: false });
    sender.send(1, APPLICATION);
    sender.recovery.discardSpace(HANDSHAKE, sender.now);
    expect(sender.recovery.nextTimeout()).toBe(NEVER);
    sender.recovery.onHandshakeConfirmed(10_000);
    expect(sender.recovery.nextTimeout()).toBe(sender.now + 999_000 + 10_000);
  });

  test('probes the Handshake space where application packets alone are in flight: what was lost of the handshake waits for their window [REC-16]', () => {
    for (const isServer of [true, false]) {
      const sender = new Sender({ isServer, isConfirmed: false });
      sender.recovery.onHandshakeKeys();
      for (let i = 0; i < 3; i++) sender.send(1, HANDSHAKE);
      sender.send(1, APPLICATION);
      sender.now += 40_000;
      sender.ack([1, 3], 0, HANDSHAKE); // the first is lost by the time
      sender.now += 100_000;
      sender.recovery.onTimeout(sender.now);
      expect(sender.recovery.nextTimeout()).toBeLessThan(NEVER);
      expect(sender.fireTimeout()).toBe(TimeoutResult.PROBE);
      expect(sender.recovery.fates.space).toBe(HANDSHAKE);
      expect(sender.recovery.probesPending(HANDSHAKE)).toBe(1);
    }
  });

  test('takes the earliest of the spaces, without a delay during the handshake [REC-14]', () => {
    const sender = new Sender({ isConfirmed: false });
    sender.send(1, INITIAL);
    const initialAt = sender.now;
    sender.now += 100;
    sender.send(1, HANDSHAKE);
    expect(sender.recovery.nextTimeout()).toBe(initialAt + 999_000);
    sender.fireTimeout();
    expect(sender.recovery.fates.space).toBe(INITIAL);
    expect(sender.recovery.probesPending(INITIAL)).toBe(2);
    expect(sender.recovery.probesPending(HANDSHAKE)).toBe(0);
  });

  test('is not armed by a server at its amplification limit [REC-20]', () => {
    const sender = new Sender({ isConfirmed: false });
    sender.send(1, HANDSHAKE);
    sender.recovery.path.validation.isExhausted = true;
    expect(sender.recovery.nextTimeout()).toBe(NEVER);
    expect(sender.recovery.onTimeout(sender.now + 10_000_000)).toBe(TimeoutResult.NONE);
    sender.recovery.path.validation.isExhausted = false;
    expect(sender.recovery.nextTimeout()).toBe(sender.now + 999_000);
  });

  test('ends for a space whose keys are discarded [REC-18]', () => {
    const sender = new Sender({ isConfirmed: false });
    sender.send(1, INITIAL);
    sender.fireTimeout();
    sender.recovery.discardSpace(INITIAL, sender.now);
    expect(sender.recovery.path.bytesInFlight).toBe(0);
    expect(sender.recovery.nextTimeout()).toBe(NEVER);
    expect(sender.recovery.ptoCount).toBe(0);
    expect(sender.recovery.isDiscarded(INITIAL)).toBe(true);
    expect(() => sender.recovery.sentPackets(INITIAL)).toThrow(/discarded/);
  });

  describe('of a client', () => {
    const client = () => new Sender({ isServer: false, isConfirmed: false });

    test('is not armed before it sent anything [REC-16]', () => {
      expect(client().recovery.nextTimeout()).toBe(NEVER);
    });

    test('stays armed with nothing in flight until the server has proof of its address [REC-16]', () => {
      const sender = client();
      sender.send(1, INITIAL);
      sender.now += 40_000;
      sender.ack([0, 1], 0, INITIAL);
      expect(sender.recovery.nextTimeout()).toBe(sender.now + 120_000);
      expect(sender.fireTimeout()).toBe(TimeoutResult.PROBE);
      expect(sender.recovery.fates.space).toBe(INITIAL);
      expect(sender.recovery.probesPending(INITIAL)).toBe(1);
      sender.recovery.onHandshakeKeys();
      sender.fireTimeout();
      expect(sender.recovery.fates.space).toBe(HANDSHAKE);
      sender.send(1, HANDSHAKE);
      sender.now += 40_000;
      sender.ack([0, 1], 0, HANDSHAKE);
      expect(sender.recovery.nextTimeout()).toBe(NEVER);
    });

    test('stays armed while only early data is in flight [REC-16]', () => {
      const sender = client();
      sender.send(1, INITIAL);
      sender.send(1, APPLICATION);
      sender.now += 40_000;
      sender.ack([0, 1], 0, INITIAL);
      expect(sender.recovery.nextTimeout()).toBe(sender.now + 120_000);
    });

    test('keeps its back-off while only Initial packets are acknowledged [REC-17]', () => {
      const sender = client();
      sender.send(1, INITIAL);
      sender.fireTimeout();
      sender.fireTimeout();
      sender.send(1, INITIAL);
      sender.ack([0, 2], 0, INITIAL);
      expect(sender.recovery.ptoCount).toBe(2);
      sender.send(1, HANDSHAKE);
      sender.ack([0, 1], 0, HANDSHAKE);
      expect(sender.recovery.ptoCount).toBe(0);
    });
  });
});

/** A thin sender over a lossy path with a round trip of 40 ms. */
function thin(state = new ThinSender()): Sender {
  const sender = new Sender({ thin: state });
  sender.sampleRtt(40_000);
  sender.recovery.path.loss.isLossy = true;
  return sender;
}

function writer(): FrameWriter {
  const w = new FrameWriter();
  w.begin(new Uint8Array(64), 0, 64);
  return w;
}
