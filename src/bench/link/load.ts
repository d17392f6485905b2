/**
 * What a run sends: messages on some streams, as fast as congestion control lets them out or at a fixed rate. Each begins with when it was
 * given to the transport and its number on its stream.
 *
 *     0   f64   microseconds of the sender's clock
 *     8   u32   number, from 0 on
 */
import { MILLISECOND } from '../../base/time.ts';
import type { Connection } from '../../transport/connection.ts';
import type { Stream } from '../../transport/stream.ts';
import type { TimerHandle } from '../../udp/clock.ts';
import { LABELS, type Plan } from './control.ts';
import { OPENING } from './probe.ts';
import type { BenchSystem } from './system.ts';

export class Load {
  messages = 0;
  bytes = 0;
  /** Messages that were due while the transport had enough, and were not sent. */
  held = 0;
  private readonly lanes: Lane[];
  private readonly plan: Plan;
  private readonly system: BenchSystem;
  /** Messages share no packet: each goes in a turn of its own. */
  private readonly isSingle: boolean;
  /** At a fixed rate no more waits in the transport: what congestion control does not let out in time is held back. */
  private readonly paceQueueBytes: number;
  private running = false;
  private startedAt = 0;
  private due = 0;
  private turn = 0;
  private timer: TimerHandle | null = null;

  constructor(connection: Connection, plan: Plan, system: BenchSystem) {
    this.plan = plan;
    this.system = system;
    this.isSingle = plan.delivery === 'bestEffort' && plan.bitsPerSecond > 0;
    const { delivery, protection } = plan;
    const behindBytes = Math.min(BEHIND_BYTES_MAX, (plan.bitsPerSecond / 8e6) * BEHIND_MICROS);
    this.paceQueueBytes = Math.max(4 * plan.messageBytes, behindBytes);
    this.lanes = Array.from({ length: plan.streams }, () => {
      const stream = connection.openStream({
        label: LABELS.load,
        priority: 'bulk',
        delivery,
        ordered: false,
        protection,
        lifetimeMs: delivery === 'partial' ? PARTIAL_LIFETIME_MS : undefined,
        highWaterMark: QUEUE_BYTES,
      });
      stream.on('error', () => {}); // the connection tells why
      stream.send(OPENING);
      const message = new Uint8Array(plan.messageBytes).fill(0x5a);
      return { stream, message, view: new DataView(message.buffer), number: 0 };
    });
  }

  start(): void {
    this.running = true;
    this.startedAt = this.system.stamp();
    if (this.plan.bitsPerSecond > 0) return this.keepPace();
    for (const lane of this.lanes) {
      const fill = (): void => {
        while (this.running && this.send(lane));
      };
      lane.stream.on('drain', fill);
      fill();
    }
  }

  /** Nothing more is sent, not even what waits. */
  stop(): void {
    if (!this.running) return;
    this.running = false;
    if (this.timer !== null) this.system.clock.clearTimer(this.timer);
    for (const { stream } of this.lanes) stream.reset();
  }

  /** As many as the rate has due by now. What a process that stood still did not send in time it does not make up for. */
  private readonly keepPace = (): void => {
    if (!this.running) return;
    const { bitsPerSecond, messageBytes } = this.plan;
    const perMicro = bitsPerSecond / 8 / messageBytes / 1e6;
    const target = Math.floor((this.system.stamp() - this.startedAt) * perMicro) + 1;
    const behindMax = Math.max(1, Math.ceil(perMicro * BEHIND_MICROS));
    if (target - this.due > behindMax) {
      this.held += target - this.due - behindMax;
      this.due = target - behindMax;
    }
    for (let turns = 0; this.due < target && turns < TURNS_MAX; turns++) {
      this.due++;
      const lane = this.lanes[this.turn++ % this.lanes.length];
      if (lane.stream.queuedBytes > this.paceQueueBytes) this.held++;
      else this.send(lane);
      if (this.isSingle) break;
    }
    const { clock } = this.system;
    if (this.due < target) clock.soon(this.keepPace);
    else this.timer = clock.setTimer(clock.now() + MILLISECOND, this.keepPace);
  };

  private send(lane: Lane): boolean {
    const { message, stream, view } = lane;
    view.setFloat64(0, this.system.stamp());
    view.setUint32(8, lane.number++);
    this.messages++;
    this.bytes += message.length;
    try {
      return stream.send(message);
    } catch {
      this.running = false; // the connection ended; whoever waits for it knows why
      return false;
    }
  }
}

interface Lane {
  readonly stream: Stream;
  readonly message: Uint8Array;
  readonly view: DataView;
  number: number;
}

/** What waits in the transport: enough for the time to the next turn at any rate that Node can send at. */
const QUEUE_BYTES = 256 * 1024;
const BEHIND_MICROS = 20_000;
/** More than Node sends in that time. */
const BEHIND_BYTES_MAX = 8 * 1024 * 1024;
/** Messages at a time: whatever rate was asked for, the process has time for more than that. */
const TURNS_MAX = 4_096;
/** Of partial messages, which need one. */
const PARTIAL_LIFETIME_MS = 1_000;
