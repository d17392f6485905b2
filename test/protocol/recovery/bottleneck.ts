import { Prng } from '../../../src/base/random.ts';
import { DeadlineHeap, type HeapItem, MILLISECOND, type Micros, NEVER } from '../../../src/base/time.ts';
import type {
  CongestionController,
  CongestionName,
  CongestionState,
} from '../../../src/protocol/congestion/controller.ts';
import { AckTracker } from '../../../src/protocol/recovery/ack-tracker.ts';
import { Recovery, TimeoutResult } from '../../../src/protocol/recovery/recovery.ts';
import { PacketSpace } from '../../../src/protocol/wire/packet-header.ts';
import { pathOf } from '../path/path-of.ts';
import { PING } from './frames.ts';

export interface BottleneckOptions {
  readonly mtu: number;
  /** Bytes a microsecond. */
  readonly rate: number;
  /** Round trip without queueing. */
  readonly rtt: Micros;
  /** Bytes the bottleneck holds before it drops. */
  readonly queueBytes: number;
  readonly congestion: CongestionName;
  /** Probability that a data packet is lost at random. */
  readonly loss?: number;
  readonly seed?: number;
  /** What the sender's timers resolve. */
  readonly timerGranularity?: Micros;
  /** Packets the application offers a microsecond; unlimited by default. */
  readonly offered?: number;
  /** Packets the application offers at once, and how often it does, until {@link Bottleneck.offersAll}. */
  readonly bursts?: { readonly packets: number; readonly every: Micros };
  /** Extra delay of a data packet. */
  readonly jitter?: (number: number, now: Micros) => Micros;
  /** What comes above the rate is dropped rather than queued: the queue is the bucket of a policer. */
  readonly polices?: boolean;
  /** Acknowledgements come in bunches, this far apart. */
  readonly ackBunches?: Micros;
}

/**
 * A sender and a receiver over one bottleneck link with a drop-tail queue: just enough of an endpoint around
 * Recovery and AckTracker to watch them work in virtual time.
 */
export class Bottleneck {
  now: Micros = 0;
  readonly recovery: Recovery;
  readonly tracker = new AckTracker({ isHandshake: false, maxDelay: 25 * MILLISECOND });
  deliveredBytes = 0;
  sentPackets = 0;
  lostPackets = 0;
  spuriousPackets = 0;
  timeouts = 0;
  ackFrames = 0;
  windowMax = 0;
  windowMin = Number.POSITIVE_INFINITY;
  /** The states of the controller in the order in which it came to them, and when. */
  readonly states: { readonly state: CongestionState; readonly at: Micros }[] = [];
  /** While true the link swallows everything. */
  isCut = false;
  /** The application offers all that the sender can send, whatever the options say. */
  offersAll = false;

  private options: BottleneckOptions;
  private readonly random: Prng;
  private readonly events = new DeadlineHeap<Event>();
  private nextNumber = 0;
  private linkFreeAt: Micros = 0;
  private offeredSent = 0;
  private senderTimer: Event | undefined;
  private receiverTimer: Event | undefined;

  constructor(options: BottleneckOptions) {
    this.options = options;
    this.random = new Prng(options.seed ?? 1);
    this.recovery = new Recovery(pathOf(options), true);
    this.recovery.onHandshakeConfirmed(25 * MILLISECOND);
    this.at(0, () => this.send());
  }

  /** The path changes, or what the application offers; what is under way keeps its time. */
  change(options: Partial<BottleneckOptions>): void {
    const queued = Math.max(0, this.linkFreeAt - this.now) * this.options.rate;
    this.options = { ...this.options, ...options };
    this.linkFreeAt = this.now + queued / this.options.rate;
    this.offeredSent = Math.floor((this.options.offered ?? 0) * this.now);
    this.send();
  }

  /** Runs for `duration` of virtual time. */
  run(duration: Micros): void {
    const end = this.now + duration;
    for (let event = this.events.peek(); event && event.deadline <= end; event = this.events.peek()) {
      this.events.remove(event);
      this.now = event.deadline;
      event.run();
      this.observe(this.recovery.path.congestion);
    }
    this.now = end;
  }

  private observe({ state, window }: CongestionController): void {
    this.windowMax = Math.max(this.windowMax, window);
    this.windowMin = Math.min(this.windowMin, window);
    if (this.states.at(-1)?.state !== state) this.states.push({ state, at: this.now });
  }

  private at(time: Micros, run: () => void): Event {
    const event: Event = { deadline: 0, heapIndex: -1, run };
    this.events.set(event, time);
    return event;
  }

  private send(): void {
    const { recovery, now } = this;
    const { mtu } = this.options;
    while (recovery.probesPending(PacketSpace.APPLICATION) > 0) this.sendPacket(mtu);
    while (this.hasData()) {
      if (recovery.allowance(now) < mtu) break;
      this.sendPacket(mtu);
      this.offeredSent++;
    }
    const { path } = recovery;
    if (!this.hasData()) path.congestion.delivery?.onAppLimited(path.bytesInFlight, path.congestion.window);
    this.armSender();
  }

  private hasData(): boolean {
    const { bursts, offered } = this.options;
    if (this.offersAll) return true;
    if (bursts !== undefined)
      return this.offeredSent < bursts.packets * (1 + Math.floor(this.now / bursts.every));
    return offered === undefined || this.offeredSent < Math.floor(offered * this.now);
  }

  private sendPacket(bytes: number): void {
    const number = this.nextNumber++;
    const sent = this.recovery.sentPackets(PacketSpace.APPLICATION);
    sent.begin(number, this.now);
    sent.frames.plain(PING);
    this.recovery.onSent(PacketSpace.APPLICATION, bytes, true, true, this.now);
    this.sentPackets++;
    this.cross(number, bytes);
  }

  private cross(number: number, bytes: number): void {
    const { rate, rtt, queueBytes, loss, jitter, polices } = this.options;
    if (this.isCut || (loss !== undefined && this.random.chance(loss))) return;
    const start = Math.max(this.now, this.linkFreeAt);
    if ((start - this.now) * rate > queueBytes) return;
    this.linkFreeAt = start + bytes / rate;
    const leaves = polices ? this.now : this.linkFreeAt;
    const arrival = Math.ceil(leaves + rtt / 2 + (jitter?.(number, this.now) ?? 0));
    this.at(arrival, () => this.receive(number, bytes));
  }

  private receive(number: number, bytes: number): void {
    this.deliveredBytes += bytes;
    this.tracker.onPacket(number, true, this.now);
    this.maybeAck();
  }

  private maybeAck(): void {
    const { tracker, now } = this;
    if (!tracker.ackDue(now)) {
      if (this.receiverTimer === undefined && tracker.deadline !== NEVER) {
        this.receiverTimer = this.at(tracker.deadline, () => {
          this.receiverTimer = undefined;
          this.maybeAck();
        });
      }
      return;
    }
    const count = tracker.ranges.size;
    const ranges = new Float64Array(2 * count);
    for (let i = 0; i < count; i++) {
      ranges[2 * i] = tracker.ranges.start(count - 1 - i);
      ranges[2 * i + 1] = tracker.ranges.end(count - 1 - i);
    }
    const delay = tracker.ackDelay(now);
    tracker.onAckSent(now);
    this.ackFrames++;
    if (this.isCut) return;
    const arrival = now + this.options.rtt / 2;
    const { ackBunches } = this.options;
    const at = ackBunches === undefined ? arrival : Math.ceil(arrival / ackBunches) * ackBunches;
    this.at(at, () => this.receiveAck(ranges, count, delay));
  }

  private receiveAck(ranges: Float64Array, count: number, delay: Micros): void {
    const code = this.recovery.onAck(PacketSpace.APPLICATION, ranges, count, delay, this.now);
    if (code !== 0) throw new Error(`close code ${code}`);
    this.lostPackets += this.recovery.fates.lost.count;
    this.spuriousPackets += this.recovery.fates.spurious.count;
    this.tracker.onRtt(this.recovery.path.rtt.smoothed);
    this.send();
  }

  private armSender(): void {
    const { recovery, now } = this;
    let deadline = recovery.nextTimeout();
    if (this.hasData()) deadline = Math.min(deadline, Math.max(recovery.nextSend(now), now + 1));
    else if (this.options.offered) deadline = Math.min(deadline, now + 1 / this.options.offered);
    else if (this.options.bursts) deadline = Math.min(deadline, nextMultiple(now, this.options.bursts.every));
    const granularity = this.options.timerGranularity ?? 1;
    deadline = Math.max(now + 1, Math.ceil(deadline / granularity) * granularity);
    if (this.senderTimer === undefined) this.senderTimer = this.at(NEVER, () => this.onSenderTimer());
    this.events.set(this.senderTimer, deadline);
  }

  private onSenderTimer(): void {
    while (this.recovery.nextTimeout() <= this.now) {
      const result = this.recovery.onTimeout(this.now);
      if (result === TimeoutResult.PROBE) this.timeouts++;
      if (result === TimeoutResult.LOST) this.lostPackets += this.recovery.fates.lost.count;
    }
    this.send();
  }
}

function nextMultiple(now: Micros, of: Micros): Micros {
  return (Math.floor(now / of) + 1) * of;
}

interface Event extends HeapItem {
  readonly run: () => void;
}
