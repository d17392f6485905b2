/**
 * How fast a path delivers (draft-ietf-ccwg-bbr section 4.1): each packet takes a snapshot of the path's totals along when it is sent, and
 * the difference to the totals at its acknowledgement is a sample of the rate. Totals only grow, and are doubles: they do not wrap.
 */

import type { Micros } from '../../base/time.ts';

/** One packet as a controller is told of it. One object is used for all: read it during the call. */
export class PacketReport {
  number = 0;
  bytes = 0;
  sentTime: Micros = 0;
  // What {@link Delivery} said when it was sent; only where the controller has one.
  delivered = 0;
  deliveredTime: Micros = 0;
  firstSentTime: Micros = 0;
  lost = 0;
  /** Bytes in flight with it. */
  inFlight = 0;
  isAppLimited = false;
  tag = 0;
}

/** The totals of a path. */
export class Delivery {
  /** Bytes acknowledged, and when that number last grew. */
  delivered = 0;
  deliveredTime: Micros = 0;
  /** When the newest acknowledged packet was sent, or the first one after nothing was in flight. */
  firstSentTime: Micros = 0;
  /** Bytes declared lost that did not turn out to be late. */
  lost = 0;
  /** Bytes in flight with the packet that is going out. */
  inFlight = 0;
  /** What the controller marks packets with that go out from now on; a number below 4. */
  tag = 0;
  /** Until more than this is delivered, what is delivered is what the application had to send. */
  private appLimitedUntil = -1;

  /** A packet goes out; `bytesInFlight` does not include it yet. */
  onPacketSent(bytes: number, bytesInFlight: number, now: Micros): void {
    this.inFlight = bytesInFlight + bytes;
    if (bytesInFlight > 0) return;
    this.firstSentTime = now;
    this.deliveredTime = now;
  }

  onPacketAcked(packet: PacketReport, now: Micros): void {
    this.delivered += packet.bytes;
    this.deliveredTime = now;
    if (packet.sentTime > this.firstSentTime) this.firstSentTime = packet.sentTime;
  }

  onPacketLost(packet: PacketReport): void {
    this.lost += packet.bytes;
  }

  /** [REC-65] A late packet was delivered after all. */
  onSpuriousLoss(packet: PacketReport, now: Micros): void {
    this.lost -= packet.bytes;
    this.delivered += packet.bytes;
    this.deliveredTime = now;
  }

  /** Nothing more is to be sent: that is the application's doing unless the window is full. */
  onAppLimited(bytesInFlight: number, window: number): void {
    if (bytesInFlight < window) this.markAppLimited(bytesInFlight);
  }

  /** [REC-65] What is delivered until now, and what is in flight, says nothing of what the path could deliver. */
  markAppLimited(bytesInFlight: number): void {
    this.appLimitedUntil = this.delivered + bytesInFlight;
  }

  get isAppLimited(): boolean {
    return this.delivered <= this.appLimitedUntil;
  }
}

/** What one acknowledgement says of the delivery rate. One object is used for all. */
export class RateSample {
  /** Bytes acknowledged by it. */
  newlyAcked = 0;
  /** Bytes delivered, and lost, since its newest packet was sent. */
  delivered = 0;
  lost = 0;
  /** Bytes a microsecond; 0 when the acknowledgement gives no sample. */
  rate = 0;
  /** Of the newest packet. */
  priorDelivered = 0;
  inFlight = 0;
  isAppLimited = false;

  private sentTime: Micros = -1;
  private priorTime: Micros = 0;
  private priorLost = 0;
  private sendElapsed: Micros = 0;

  onPacketAcked(packet: PacketReport): void {
    this.newlyAcked += packet.bytes;
    if (packet.sentTime <= this.sentTime) return;
    this.sentTime = packet.sentTime;
    this.priorDelivered = packet.delivered;
    this.priorTime = packet.deliveredTime;
    this.priorLost = packet.lost;
    this.inFlight = packet.inFlight;
    this.isAppLimited = packet.isAppLimited;
    this.sendElapsed = packet.sentTime - packet.firstSentTime;
  }

  /** All packets of the acknowledgement were told. `rttMin`: the shortest round trip there is. */
  finish(delivery: Delivery, rttMin: Micros, now: Micros): void {
    this.delivered = delivery.delivered - this.priorDelivered;
    this.lost = delivery.lost - this.priorLost;
    // [REC-65] Acknowledgements that come compressed do not make the path faster than the packets were sent.
    const interval = Math.max(this.sendElapsed, now - this.priorTime);
    this.rate = interval > 0 && interval >= rttMin ? this.delivered / interval : 0;
  }

  clear(): void {
    this.newlyAcked = 0;
    this.sentTime = -1;
  }
}
