/**
 * One run: the packet size is proved, round trips are measured while the path is idle, then the load goes on for the warm-up and the
 * measurement, with probes on another connection beside it; when all has arrived that will, what was sent and what came is compared.
 */
import { type Arrivals, type Plan, RUN_SECONDS_MAX, type Sample } from './control.ts';
import { Prober, roundTripMicros } from './probe.ts';
import {
  type Carried,
  type Clocks,
  type Interval,
  ipUdpBytes,
  type LoadFigures,
  type MtuChoice,
  type OneWay,
  type RoundTrips,
  shareOf,
  waysOf,
} from './report.ts';
import type { BenchSession, ClientRun } from './session.ts';
import { type BenchSystem, sleep } from './system.ts';
import { quantiles, roundTripsOf } from './trips.ts';

export interface RunOptions {
  readonly plan: Plan;
  readonly mtu: MtuChoice;
  readonly omitSeconds: number;
  readonly seconds: number;
  /** From one look at the counters to the next. */
  readonly intervalSeconds: number;
  /** How long round trips are measured before; 0: not. */
  readonly idleSeconds: number;
  /** Whether it may end before its time is over. */
  readonly isEnough?: (sent: number, lost: number, seconds: number) => boolean;
}

export interface RunContext {
  readonly session: BenchSession;
  readonly system: BenchSystem;
  readonly clocks: Clocks;
  readonly ipVersion: 4 | 6;
  readonly rttMs: number;
  readonly signal: AbortSignal;
  onInterval(direction: OneWay, interval: Interval): void;
}

export interface RunResult {
  readonly ways: readonly WayResult[];
  /** IP packets that the systems of both ends send in one piece, as far as they know. */
  readonly routes: Partial<Record<OneWay, number | null>>;
}

export interface WayResult {
  readonly direction: OneWay;
  readonly mtu: number;
  readonly carried: Carried;
  readonly idle: RoundTrips | null;
  readonly load: LoadFigures | null;
  readonly arrivals: Arrivals | null;
  /** What the sender gave to the transport. */
  readonly messagesSent: number;
}

export async function measureRun(context: RunContext, options: RunOptions): Promise<RunResult> {
  const { session, signal } = context;
  const { mtu, plan } = options;
  const begin = mtu === 'auto' ? 0 : Math.min(mtu, MTU_BEFORE_PROOF);
  const run = await session.openRun(plan, begin);
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    void run.connection.closed.then(() => signal.removeEventListener('abort', onAbort));
  });
  aborted.catch(() => {});
  try {
    return await Promise.race([new Run(context, options, run).measure(), aborted, run.ended]);
  } finally {
    run.close();
  }
}

/** The sizes of datagrams that this way of the path takes, as `useMtu` finds. */
export async function useMtu(
  run: ClientRun,
  direction: OneWay,
  bytes: number,
  system: BenchSystem,
): Promise<boolean> {
  if (direction === 'down') return (await run.ask('mtu', { bytes })).carried;
  const { end } = run;
  if (await end.tryMtu(bytes)) return true;
  // The system has learned that the path carries less: from now on it takes larger ones apart.
  const route = await system.routeMtu(run.connection.remoteHost);
  return route !== null && route < bytes + ipUdpBytes(4) && (await end.tryMtu(bytes));
}

/** What both ends have counted. */
interface Both {
  readonly client: Sample;
  readonly server: Sample;
}

class Run {
  private readonly context: RunContext;
  private readonly options: RunOptions;
  private readonly run: ClientRun;
  private readonly prober: Prober;
  private readonly intervals: Record<OneWay, Interval[]> = { up: [], down: [] };
  /** Sizes that were not carried, by way. */
  private readonly refused = new Set<OneWay>();

  constructor(context: RunContext, options: RunOptions, run: ClientRun) {
    this.context = context;
    this.options = options;
    this.run = run;
    this.prober = new Prober(context.session.connection, context.system, LOADED_PROBE_MS);
  }

  async measure(): Promise<RunResult> {
    try {
      await this.proveSizes();
      if (this.refused.size === this.ways.length) return this.notCarried();
      const idle = await this.measureIdle();
      await this.rest();
      const before = await this.samples();
      const { first, last } = await this.loadUp();
      const after = await this.drain();
      const { arrivals, routeMtu: serverRoute } = await this.run.ask('finish', {});
      const clientRoute = await this.context.system.routeMtu(this.run.connection.remoteHost);
      const theirs = this.run.end.arrivals();
      const { sent, trips } = this.prober.between(first.client.atMicros, last.client.atMicros);
      const loaded = roundTripsOf(trips, sent, this.context.clocks);
      const ways = this.ways.map((direction): WayResult => {
        const isUp = direction === 'up';
        const mtu = (isUp ? after.client : after.server).mtu;
        const figures = {
          window: { first, last },
          whole: { before, after },
          arrivals: isUp ? arrivals : theirs,
          loaded,
        };
        const sender = isUp ? after.client : after.server;
        return {
          direction,
          mtu,
          carried: this.refused.has(direction) ? 'no' : this.carriedOf(mtu, isUp ? clientRoute : serverRoute),
          idle,
          load: this.refused.has(direction) ? null : this.figuresOf(direction, figures),
          arrivals: figures.arrivals,
          messagesSent: sender.messagesSent,
        };
      });
      return { ways, routes: { up: clientRoute, down: serverRoute } };
    } finally {
      this.prober.end();
    }
  }

  private get ways(): readonly OneWay[] {
    return waysOf(this.options.plan.direction);
  }

  /** Each way that sends, and then the other, whose answers to probes are as large. */
  private async proveSizes(): Promise<void> {
    const { mtu } = this.options;
    if (mtu === 'auto') return;
    for (const direction of this.ways) {
      if (!(await useMtu(this.run, direction, mtu, this.context.system))) this.refused.add(direction);
    }
    if (this.options.idleSeconds === 0 || this.ways.length === 2 || this.refused.size > 0) return;
    await useMtu(this.run, this.ways[0] === 'up' ? 'down' : 'up', mtu, this.context.system);
  }

  private notCarried(): RunResult {
    const ways = this.ways.map(
      (direction): WayResult => ({
        direction,
        mtu: 0,
        carried: 'no',
        idle: null,
        load: null,
        arrivals: null,
        messagesSent: 0,
      }),
    );
    return { ways, routes: {} };
  }

  /** Datagrams as large as they will be, one at a time. */
  private async measureIdle(): Promise<RoundTrips | null> {
    const { clocks, rttMs, signal, system } = this.context;
    const { idleSeconds, mtu } = this.options;
    if (idleSeconds === 0) return null;
    const size = mtu === 'auto' ? 0 : mtu - PROBE_ROOM;
    const prober = new Prober(this.run.connection, system, IDLE_PROBE_MS, size);
    await this.rest();
    prober.start();
    await sleep(system, idleSeconds * 1_000, signal);
    prober.stop();
    await sleep(system, 2 * rttMs + SETTLE_MS, signal);
    prober.end();
    return roundTripsOf(prober.trips, prober.sent, clocks);
  }

  /** The load, with the samples at the end of its warm-up and at its end. */
  private async loadUp(): Promise<{ first: Both; last: Both }> {
    const { system } = this.context;
    const { isEnough, omitSeconds, seconds } = this.options;
    const { end } = this.run;
    await this.run.ask('start', { secondsMax: Math.min(RUN_SECONDS_MAX, 2 * (omitSeconds + seconds) + 10) });
    end.start();
    this.prober.start();
    const startedAt = system.stamp();
    const start = await this.samples();
    const warmUp = { startedAt, fromSeconds: 0, seconds: omitSeconds, isWarmUp: true };
    const first = omitSeconds === 0 ? start : await this.goOn(start, warmUp);
    const measurement = { startedAt, fromSeconds: omitSeconds, seconds, isWarmUp: false };
    const last = await this.goOn(
      first,
      measurement,
      (now) => isEnough?.(...this.lossSoFar(start, now), (system.stamp() - startedAt) / 1e6) === true,
    );
    this.prober.stop();
    end.stop();
    await this.run.ask('stop', {});
    return { first, last };
  }

  /** Lets the load go on, and tells each interval. Resolves with the counters at the end, which comes early when enough is known. */
  private async goOn(from: Both, part: LoadPart, isEnough = (_: Both) => false): Promise<Both> {
    const { signal, system } = this.context;
    const { fromSeconds, isWarmUp, seconds, startedAt } = part;
    const steps = Math.max(1, Math.round(seconds / this.options.intervalSeconds));
    let previous = from;
    for (let n = 1; n <= steps; n++) {
      const dueAt = startedAt + (fromSeconds + (seconds * n) / steps) * 1e6;
      const sinceTrip = this.prober.trips.length;
      await sleep(system, Math.max(0, (dueAt - system.stamp()) / 1e3), signal);
      const now = await this.samples();
      this.tell(previous, now, { startedAt, sinceTrip, isWarmUp });
      previous = now;
      if (isEnough(now)) break;
    }
    return previous;
  }

  /** Packets that the sender has sent, and found lost. */
  private lossSoFar(start: Both, now: Both): [number, number] {
    const side = this.ways[0] === 'up' ? 'client' : 'server';
    return [now[side].packetsSent - start[side].packetsSent, lostOf(now[side]) - lostOf(start[side])];
  }

  private tell(from: Both, to: Both, { startedAt, sinceTrip, isWarmUp }: IntervalOf): void {
    const rtt = quantiles(this.prober.trips.slice(sinceTrip).map((trip) => roundTripMicros(trip) / 1e3));
    for (const direction of this.ways) {
      const { receiver, sender } = sidesOf(direction, from, to);
      const seconds = (receiver.to.atMicros - receiver.from.atMicros) / 1e6;
      const bytes = receiver.to.messageBytesReceived - receiver.from.messageBytesReceived;
      const sent = sender.to.packetsSent - sender.from.packetsSent;
      const lost = lostOf(sender.to) - lostOf(sender.from);
      const interval: Interval = {
        at: (this.context.system.stamp() - startedAt) / 1e6 - this.options.omitSeconds,
        isWarmUp,
        seconds,
        goodputBitsPerSecond: seconds > 0 ? (bytes * 8) / seconds : 0,
        rttMs: rtt?.p50 ?? null,
        loss: sent > 0 ? Math.max(0, lost) / sent : 0,
      };
      this.intervals[direction].push(interval);
      this.context.onInterval(direction, interval);
    }
  }

  private async samples(): Promise<Both> {
    const server = await this.run.ask('sample', {});
    return { client: this.run.end.sample(), server };
  }

  /** Until what was said before has been acknowledged: what is under way would be counted at one end only. */
  private async rest(): Promise<void> {
    const { rttMs, signal, system } = this.context;
    await sleep(system, 2 * rttMs + SETTLE_MS, signal);
  }

  /** Until nothing is in flight any more; what has not come by then is lost. */
  private async drain(): Promise<Both> {
    for (let i = 0; ; i++) {
      await this.rest();
      const both = await this.samples();
      const isOver = both.client.bytesInFlight === 0 && both.server.bytesInFlight === 0;
      if (i === DRAIN_LOOKS) return both;
      if (!isOver) continue;
      await this.rest();
      return this.samples();
    }
  }

  private carriedOf(mtu: number, route: number | null): Carried {
    if (route === null) return 'unknown';
    return mtu + ipUdpBytes(this.context.ipVersion) <= route ? 'whole' : 'fragments';
  }

  private figuresOf(direction: OneWay, of: FiguresOf): LoadFigures {
    const { receiver, sender } = sidesOf(direction, of.window.first, of.window.last);
    const whole = sidesOf(direction, of.whole.before, of.whole.after);
    const header = ipUdpBytes(this.context.ipVersion);
    const seconds = (receiver.to.atMicros - receiver.from.atMicros) / 1e6;
    const grown = (name: keyof Sample, { from, to } = receiver): number => to[name] - from[name];
    const messageBytes = grown('messageBytesReceived');
    const datagrams = grown('datagramsReceived');
    const wireBytes = grown('bytesReceived') + datagrams * header;
    const packetsSent = grown('packetsSent', whole.sender);
    const packetsCame = grown('packetsReceived', whole.receiver);
    const due = grown('messagesSent', sender) + grown('messagesHeld', sender);
    const wireBitsPerSecond = (wireBytes * 8) / seconds;
    const { arrivals, loaded } = of;
    return {
      seconds,
      goodputBitsPerSecond: (messageBytes * 8) / seconds,
      wireBitsPerSecond,
      overhead: wireBytes === 0 ? 0 : Math.max(0, 1 - messageBytes / wireBytes),
      datagramsPerSecond: datagrams / seconds,
      messagesPerSecond: grown('messagesReceived') / seconds,
      loss: shareOf(Math.max(0, packetsSent - packetsCame), packetsSent),
      reordered: shareOf(grown('packetsReordered', whole.receiver), packetsCame),
      duplicated: grown('packetsReplayed', whole.receiver),
      late: grown('packetsSpuriouslyLost', whole.sender),
      retransmittedBytes: grown('retransmittedBytes', whole.sender),
      heldBack: due === 0 ? 0 : grown('messagesHeld', sender) / due,
      loaded,
      jitterMs: arrivals?.jitterMs ?? null,
      oneWayMs: arrivals?.oneWayMs ?? null,
      outOfOrder: arrivals?.outOfOrder ?? null,
      cpuSender: grown('cpuMicros', sender) / grown('atMicros', sender),
      cpuReceiver: grown('cpuMicros', receiver) / grown('atMicros', receiver),
      mtuFalls: grown('mtuFalls', whole.sender),
      intervals: this.intervals[direction],
    };
  }
}

/** Of the time since the load began. */
interface LoadPart {
  readonly startedAt: number;
  readonly fromSeconds: number;
  readonly seconds: number;
  readonly isWarmUp: boolean;
}

interface IntervalOf {
  readonly startedAt: number;
  /** How many round trips there were before. */
  readonly sinceTrip: number;
  readonly isWarmUp: boolean;
}

interface FiguresOf {
  readonly window: { first: Both; last: Both };
  readonly whole: { before: Both; after: Both };
  readonly arrivals: Arrivals | null;
  readonly loaded: RoundTrips | null;
}

interface Span {
  readonly from: Sample;
  readonly to: Sample;
}

function sidesOf(direction: OneWay, from: Both, to: Both): { sender: Span; receiver: Span } {
  const client = { from: from.client, to: to.client };
  const server = { from: from.server, to: to.server };
  return direction === 'up' ? { sender: client, receiver: server } : { sender: server, receiver: client };
}

/** Packets that the sender has found lost, and that did not come later. */
function lostOf({ packetsLost, packetsSpuriouslyLost }: Sample): number {
  return packetsLost - packetsSpuriouslyLost;
}

/** Until larger datagrams are proved. */
const MTU_BEFORE_PROOF = 1_200;
/** Of a datagram that holds one probe. */
const PROBE_ROOM = 40;
const IDLE_PROBE_MS = 25;
const LOADED_PROBE_MS = 20;
const SETTLE_MS = 80;
const DRAIN_LOOKS = 20;
