import { describe, expect, test } from 'vitest';
import type { Micros } from '../../../src/base/time.ts';
import type { CongestionController } from '../../../src/protocol/congestion/controller.ts';
import { Delivery, type PacketReport } from '../../../src/protocol/congestion/delivery-rate.ts';
import { Sender } from './sender.ts';

/** A controller that goes by the delivery rate, as far as what it hears is concerned. */
class Recorder implements CongestionController {
  readonly name = 'newreno';
  readonly window = 1_000_000;
  readonly pacingRate = Number.POSITIVE_INFINITY;
  readonly isSlowStart = false;
  readonly pacing = { burstPackets: 10, lateTimeMax: 0 };
  readonly state = 'congestion-avoidance';
  readonly lossFloor = 0;
  readonly congestionEvents = 0;
  readonly delivery = new Delivery();
  heard: unknown[] = [];

  onPacketSent(bytes: number, bytesInFlight: number): void {
    this.heard.push(['sent', bytes, bytesInFlight]);
  }
  onPacketAcked(packet: PacketReport): void {
    this.heard.push(['acked', { ...packet }]);
  }
  onPacketLost(packet: PacketReport): void {
    this.heard.push(['lost', packet.sentTime]);
  }
  onSpuriousLoss(packet: PacketReport): void {
    this.heard.push(['spurious', packet.sentTime]);
  }
  onAck(newestSentTime: Micros): void {
    this.heard.push(['ack', newestSentTime]);
  }
  onEcnCongestion(newestSentTime: Micros, marks: number): void {
    this.heard.push(['marks', newestSentTime, marks]);
  }
  onPersistentCongestion(): void {
    this.heard.push(['persistent']);
  }
  onPacketSize(): void {}
  limitWindow(): void {}

  take(): unknown[] {
    const { heard } = this;
    this.heard = [];
    return heard;
  }
}

function senderOf(recorder: Recorder): Sender {
  return new Sender({ mtu: 1_000, controller: () => recorder });
}

describe('a congestion controller', () => {
  test('that took over is told nothing of what was sent before, however that ends [REC-96]', () => {
    const sender = senderOf(new Recorder());
    const { path } = sender.recovery;
    sender.send(6);
    path.useController('cubic', sender.now);
    expect(path.congestion.name).toBe('cubic');
    expect(path.bytesInFlight, 'what is under way still is').toBe(6_000);
    const recorder = new Recorder();
    path.congestion = recorder;
    sender.now += 1;
    sender.send(1);
    expect(recorder.take()).toEqual([['sent', 1_000, 6_000]]);
    sender.now += 40_000;
    sender.ack([4, 6]); // 0 to 2 are lost
    sender.ack([0, 1]); // 0 was late
    expect(recorder.take()).toEqual([]);
    path.onMarks(sender.now - 40_001, 2, sender.now);
    path.onPersistentCongestion(sender.now - 40_001);
    expect(recorder.take()).toEqual([]);
    sender.ack([6, 7]);
    expect(recorder.take()).toMatchObject([
      ['acked', { number: 6 }],
      ['ack', sender.now - 40_000],
    ]);
    path.onMarks(sender.now - 40_000, 2, sender.now);
    path.onPersistentCongestion(sender.now - 40_000);
    expect(recorder.take()).toEqual([['marks', sender.now - 40_000, 2], ['persistent']]);
    expect(path.bytesInFlight, 'number 3').toBe(1_000);
  });

  test('is told of each packet that is sent, acknowledged, lost, or late after all, in this order', () => {
    const recorder = new Recorder();
    const sender = senderOf(recorder);
    for (let i = 0; i < 5; i++) {
      sender.send();
      sender.now += 1;
    }
    const start = sender.now - 5;
    expect(recorder.take()).toEqual([0, 1, 2, 3, 4].map((i) => ['sent', 1_000, 1_000 * i]));
    sender.now += 40_000;
    sender.ack([3, 5]);
    expect(recorder.take()).toMatchObject([
      ['acked', { sentTime: start + 4 }],
      ['acked', { sentTime: start + 3 }],
      ['lost', start],
      ['lost', start + 1],
      ['ack', start + 4],
    ]);
    sender.ack([0, 1]);
    expect(recorder.take()).toEqual([['spurious', start]]);
  });

  test('hears what the path had delivered when a packet was sent, which makes a sample of the delivery rate', () => {
    const recorder = new Recorder();
    const sender = senderOf(recorder);
    const start = sender.now;
    sender.send(2);
    sender.now = start + 100;
    sender.ack([0, 1]);
    sender.send(); // number 2, after 1,000 bytes were delivered
    sender.now = start + 250;
    recorder.take();
    sender.ack([0, 3]);
    expect(recorder.take()).toEqual([
      [
        'acked',
        {
          number: 2,
          bytes: 1_000,
          sentTime: start + 100,
          delivered: 1_000,
          deliveredTime: start + 100,
          firstSentTime: start,
          lost: 0,
          inFlight: 2_000,
          isAppLimited: false,
          tag: 0,
        },
      ],
      [
        'acked',
        {
          number: 1,
          bytes: 1_000,
          sentTime: start,
          delivered: 0,
          deliveredTime: start,
          firstSentTime: start,
          lost: 0,
          inFlight: 2_000,
          isAppLimited: false,
          tag: 0,
        },
      ],
      ['ack', start + 100],
    ]);
    expect(sender.recovery.path.congestion.delivery?.delivered).toBe(3_000);
  });

  test('hears which packets were sent while the application had no more to send, until one behind them is delivered [REC-65]', () => {
    const recorder = new Recorder();
    const sender = senderOf(recorder);
    sender.send(2);
    const { path } = sender.recovery;
    path.congestion.delivery?.onAppLimited(path.bytesInFlight, path.congestion.window);
    sender.send();
    sender.now += 100;
    sender.ack([0, 2]);
    sender.send();
    sender.now += 100;
    sender.ack([2, 3]);
    sender.send();
    recorder.take();
    sender.now += 100;
    sender.ack([0, 5]);
    expect(recorder.take()).toMatchObject([
      ['acked', { delivered: 3_000, isAppLimited: false }],
      ['acked', { delivered: 2_000, isAppLimited: true }],
      ['ack', sender.now - 100],
    ]);
  });

  test('is not told of the loss of a probe for a larger packet size [REC-32]', () => {
    const recorder = new Recorder();
    const sender = senderOf(recorder);
    sender.send(1, 2, true);
    sender.send(4);
    sender.now += 40_000;
    recorder.take();
    sender.ack([4, 5]);
    expect(recorder.take().filter((told) => (told as unknown[])[0] === 'lost')).toHaveLength(1);
    expect(sender.recovery.path.bytesInFlight).toBe(2_000);
  });
});
