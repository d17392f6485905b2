/** One end of a run: what it sends, what it receives, and what it has counted. Client and server have the same. */
import { JspError } from '../../base/errors.ts';
import type { Connection } from '../../transport/connection.ts';
import type { Stream } from '../../transport/stream.ts';
import { type Arrivals, LABELS, type Plan, type Sample } from './control.ts';
import { Load } from './load.ts';
import { answerProbes } from './probe.ts';
import { Sink } from './sink.ts';
import type { BenchSystem } from './system.ts';

export class RunEnd {
  readonly connection: Connection;
  readonly sends: boolean;
  private readonly plan: Plan;
  private readonly load: Load | null;
  private readonly sink: Sink;
  private readonly system: BenchSystem;

  constructor(connection: Connection, plan: Plan, system: BenchSystem) {
    this.connection = connection;
    this.plan = plan;
    this.system = system;
    const isServer = connection.role === 'server';
    this.sends = plan.direction === 'both' || plan.direction === (isServer ? 'down' : 'up');
    const ahead = plan.clockAheadMicros;
    // A server that is ahead sees what came as older than it is.
    this.sink = new Sink(system, ahead === null ? null : isServer ? -ahead : ahead, plan.streams);
    this.load = this.sends ? new Load(connection, plan, system) : null;
    connection.on('stream', (stream) => this.onStream(stream));
  }

  /** The controller of the plan knows nothing of what was before. */
  start(): void {
    this.connection.setCongestion(this.plan.congestion);
    this.load?.start();
  }

  stop(): void {
    this.load?.stop();
  }

  /** Sends datagrams of this size if the path carries them. */
  async tryMtu(bytes: number): Promise<boolean> {
    try {
      await this.connection.setMtu(bytes);
      return true;
    } catch (error) {
      if (error instanceof JspError && error.code === 'ERR_JSP_MTU_NOT_CARRIED') return false;
      throw error;
    }
  }

  arrivals(): Arrivals | null {
    return this.sink.arrivals();
  }

  sample(): Sample {
    const { load, sink } = this;
    const metrics = this.connection.metrics();
    const cpu = process.cpuUsage();
    return {
      atMicros: this.system.stamp(),
      cpuMicros: cpu.user + cpu.system,
      messagesSent: load?.messages ?? 0,
      messageBytesSent: load?.bytes ?? 0,
      messagesHeld: load?.held ?? 0,
      messagesReceived: sink.messages,
      messageBytesReceived: sink.bytes,
      datagramsSent: metrics.datagramsSent,
      datagramsReceived: metrics.datagramsReceived,
      bytesSent: metrics.bytesSent,
      bytesReceived: metrics.bytesReceived,
      packetsSent: metrics.packetsSent,
      packetsReceived: metrics.packetsReceived,
      packetsReordered: metrics.packetsReordered,
      packetsReplayed: metrics.packetsReplayed,
      packetsLost: metrics.packetsLost,
      packetsSpuriouslyLost: metrics.packetsSpuriouslyLost,
      retransmittedBytes: metrics.retransmittedBytes,
      bytesInFlight: metrics.bytesInFlight,
      rttMs: metrics.rttMs,
      mtu: metrics.mtu,
      mtuFalls: metrics.mtuFalls,
    };
  }

  private onStream(stream: Stream): void {
    if (stream.label === LABELS.load) this.sink.take(stream);
    else if (stream.label === LABELS.probe) answerProbes(stream, this.system);
    else stream.reset();
  }
}

/** What both ends of a measurement set otherwise than the library does by itself. */
export const BENCH_TRANSPORT = {
  /** A server that is gone is noticed within seconds. */
  heartbeatMs: 1_000,
  heartbeatMisses: 5,
  /** What is offered at a fixed rate is held back where it can be counted. */
  thinningDelayMs: 0,
  allowHalfOpen: true,
} as const;
