/**
 * A measurement from its first round trip to the recommendation: the idle path, a first transfer to know its rate, small datagrams at a part
 * of that rate to know its loss, each size of datagrams under load, and where sizes fail the largest that does not. What has been measured
 * when something goes wrong is in the report all the same.
 */
import { addressFamily } from '../../base/ip-address.ts';
import { MESSAGE_BYTES_MIN, type Plan } from './control.ts';
import { Prober, roundTripMicros } from './probe.ts';
import { LOSS_FOR_BBR, recommend } from './recommend.ts';
import {
  type Clocks,
  type Congestion,
  type DatagramLoss,
  type Interval,
  ipUdpBytes,
  isCarriedWell,
  type LinkReport,
  type LinkRow,
  type LinkSettings,
  type MtuChoice,
  type OneWay,
  type PathMtu,
  type RoundTrips,
  shareOf,
  waysOf,
} from './report.ts';
import { measureRun, type RunContext, type RunOptions, useMtu, type WayResult } from './run.ts';
import { BenchSession, type SessionOptions } from './session.ts';
import { benchSystem, sleep, thisMachine } from './system.ts';
import { clocksOf, roundTripsOf } from './trips.ts';

export interface MeasureOptions extends Partial<SessionOptions> {
  readonly url: string;
  readonly settings: LinkSettings;
  /** From one interval of a run to the next. */
  readonly intervalSeconds: number;
  readonly onProgress: (progress: Progress) => void;
}

/** What is going on, for those who wait. */
export type Progress =
  | { readonly type: 'phase'; readonly text: string; readonly seconds: number }
  | { readonly type: 'interval'; readonly of: RunName; readonly interval: Interval }
  | { readonly type: 'row'; readonly row: LinkRow };

export interface RunName {
  readonly direction: OneWay;
  readonly asked: MtuChoice;
  readonly congestion: Congestion;
}

export interface Measured {
  readonly report: LinkReport;
  /** What ended it early. */
  readonly error: Error | null;
}

/**
 * Measures.
 *
 * @throws NotABenchServer, BenchRefusal, JspError when it cannot begin
 */
export async function measureLink(options: MeasureOptions): Promise<Measured> {
  const system = options.system ?? benchSystem;
  const signal = options.signal ?? new AbortController().signal;
  const session = await BenchSession.open(options.url, { ...options, system, signal });
  const measurement = new Measurement(options, session, { system, signal });
  try {
    return await measurement.run();
  } finally {
    await session.close().catch(() => {});
  }
}

class Measurement {
  private readonly options: MeasureOptions;
  private readonly session: BenchSession;
  private readonly surroundings: Required<Pick<SessionOptions, 'system' | 'signal'>>;
  private readonly ipVersion: 4 | 6;
  private readonly startedAt = new Date().toISOString();
  private clocks: Clocks = { kind: 'unknown' };
  private idle: RoundTrips | null = null;
  private sounded: number | null = null;
  private readonly datagrams: DatagramLoss[] = [];
  private readonly rows: LinkRow[] = [];
  private pathMtu: PathMtu | null = null;
  /** What the systems of both ends know to be carried in one piece, as IP packets. */
  private readonly routes: Record<OneWay, number | null> = { up: null, down: null };

  constructor(
    options: MeasureOptions,
    session: BenchSession,
    surroundings: Required<Pick<SessionOptions, 'system' | 'signal'>>,
  ) {
    this.options = options;
    this.session = session;
    this.surroundings = surroundings;
    this.ipVersion = addressFamily(session.connection.remoteHost) === 6 ? 6 : 4;
  }

  async run(): Promise<Measured> {
    let error: Error | null = null;
    try {
      await this.measureIdle();
      // A fixed rate counts its own losses, and asks for no more traffic than that.
      if (this.settings.lossSeconds > 0 && this.settings.bitsPerSecond === 0) await this.measureLoss();
      await this.measureSizes();
      await this.findPathMtu();
    } catch (thrown) {
      const { signal } = this.surroundings;
      error = (signal.aborted ? signal.reason : thrown) as Error;
    }
    return { report: this.report(error), error };
  }

  private get settings(): LinkSettings {
    return this.options.settings;
  }

  private get ways(): readonly OneWay[] {
    return waysOf(this.settings.direction);
  }

  private phase(text: string, seconds: number): void {
    this.options.onProgress({ type: 'phase', text, seconds });
  }

  private async measureIdle(): Promise<void> {
    const { signal, system } = this.surroundings;
    const seconds = clamp(2 * this.settings.seconds, 0.5, IDLE_SECONDS);
    this.phase('round trips of the idle path', seconds);
    // The first few are slow because the code is new.
    await this.probe(WARM_UP_SECONDS);
    const prober = await this.probe(seconds);
    await sleep(system, SETTLE_MS, signal);
    this.clocks = clocksOf(prober.trips, this.session.isSameHost);
    this.idle = roundTripsOf(prober.trips, prober.sent, this.clocks);
  }

  private async probe(seconds: number): Promise<Prober> {
    const { signal, system } = this.surroundings;
    const prober = new Prober(this.session.connection, system, PROBE_MS);
    prober.start();
    await sleep(system, seconds * 1_000, signal);
    prober.stop();
    const slowest = prober.trips.reduce((most, trip) => Math.max(most, roundTripMicros(trip)), 0);
    await sleep(system, Math.max(SETTLE_MS, (2 * slowest) / 1e3), signal);
    prober.end();
    return prober;
  }

  /** A transfer shows the rate, and datagrams at a part of it show what the link loses without any queue's help. */
  private async measureLoss(): Promise<void> {
    const rtt = this.rttMs / 1e3;
    for (const direction of this.ways) {
      // A loss may end BBR's first search for the rate; the next ones come within seconds.
      const omitSeconds = clamp(30 * rtt, 0.4, 4);
      const seconds = clamp(10 * rtt, 0.4, 1);
      this.phase(`the rate that the path has to offer, ${direction}`, omitSeconds + seconds);
      const sounding = await this.oneWay(
        {
          direction,
          delivery: 'reliable',
          bitsPerSecond: 0,
          streams: 1,
          messageBytes: TRANSFER_MESSAGE_BYTES,
          congestion: 'bbr',
        },
        { mtu: SOUNDING_MTU, omitSeconds, seconds, intervalSeconds: seconds, idleSeconds: 0 },
      );
      if (sounding.load === null) continue;
      const wire = sounding.load.wireBitsPerSecond;
      this.sounded = Math.min(this.sounded ?? Number.POSITIVE_INFINITY, wire);
      await this.countDatagrams(direction, wire);
    }
  }

  private async countDatagrams(direction: OneWay, wireBitsPerSecond: number): Promise<void> {
    const { lossSeconds } = this.settings;
    const header = ipUdpBytes(this.ipVersion);
    const wireBytes = MESSAGE_BYTES_MIN + DATAGRAM_OVERHEAD + header;
    const perSecond = Math.max(
      DATAGRAMS_MIN,
      Math.min(DATAGRAMS_MAX, (LOSS_RATE_SHARE * wireBitsPerSecond) / 8 / wireBytes),
    );
    this.phase(`loss of small datagrams, ${direction}, ${Math.round(perSecond)} a second`, lossSeconds);
    const bitsPerSecond = perSecond * MESSAGE_BYTES_MIN * 8;
    const result = await this.oneWay(
      {
        direction,
        delivery: 'bestEffort',
        bitsPerSecond,
        streams: 1,
        messageBytes: MESSAGE_BYTES_MIN,
        congestion: 'bbr',
      },
      {
        mtu: SOUNDING_MTU,
        omitSeconds: 0,
        seconds: lossSeconds,
        intervalSeconds: LOSS_LOOK_SECONDS,
        idleSeconds: 0,
        isEnough: isEnoughForLoss,
      },
    );
    const { arrivals, load } = result;
    if (load === null) return;
    const missing = arrivals === null ? 0 : Math.max(0, result.messagesSent - arrivals.arrived);
    this.datagrams.push({
      direction,
      bitsPerSecond,
      datagramBytes: MESSAGE_BYTES_MIN + DATAGRAM_OVERHEAD,
      datagramsPerSecond: load.datagramsPerSecond,
      seconds: load.seconds,
      loss: load.loss,
      reordered: load.reordered,
      duplicated: load.duplicated,
      lossRunMean: arrivals === null || arrivals.lossRuns === 0 ? null : missing / arrivals.lossRuns,
      jitterMs: load.jitterMs,
      oneWayMs: load.oneWayMs,
    });
  }

  private async measureSizes(): Promise<void> {
    const { settings } = this;
    for (const mtu of settings.mtus) {
      for (const congestion of this.controllers()) await this.measureSize(mtu, congestion);
      if (settings.congestion === 'auto' && this.fallsShort(mtu)) await this.measureSize(mtu, 'bbr');
    }
  }

  /** A load left much of the path free, which another controller may fill. */
  private fallsShort(mtu: MtuChoice): boolean {
    if (this.settings.bitsPerSecond > 0) return false;
    return this.ways.some((direction) => {
      const wires = this.rows.flatMap((row) => {
        const isOfIt = row.direction === direction && row.load !== null;
        return isOfIt ? [{ row, wire: row.load?.wireBitsPerSecond ?? 0 }] : [];
      });
      const most = Math.max(this.sounded ?? 0, ...wires.map(({ wire }) => wire));
      return wires.some(
        ({ row, wire }) => row.asked === mtu && row.congestion === 'cubic' && wire < FILLED * most,
      );
    });
  }

  /** What was asked for, or what suits the losses. */
  private controllers(): readonly Congestion[] {
    const { congestion } = this.settings;
    if (congestion !== 'auto') return congestion;
    const isLossy =
      this.datagrams.some(({ loss }) => loss.low > LOSS_FOR_BBR) || this.settings.protection !== 'off';
    return [isLossy ? 'bbr' : 'cubic'];
  }

  private async measureSize(mtu: MtuChoice, congestion: Congestion): Promise<void> {
    const { settings } = this;
    const { direction } = settings;
    const omitSeconds =
      settings.omitSeconds ?? clamp((40 * this.rttMs) / 1e3, 1, 5) + (mtu === 'auto' ? 1 : 0);
    const idleSeconds = clamp((20 * this.rttMs) / 1e3, 0.5, 2);
    const what = mtu === 'auto' ? 'the size that the library finds' : `datagrams of ${mtu} bytes`;
    this.phase(
      `${what}, ${direction === 'both' ? 'both ways' : direction}, ${congestion}`,
      idleSeconds + omitSeconds + settings.seconds,
    );
    const plan = {
      direction,
      delivery: settings.delivery,
      bitsPerSecond: settings.bitsPerSecond,
      streams: settings.streams,
      messageBytes: this.messageBytes(mtu),
      congestion,
      protection: settings.protection,
    };
    const options = {
      mtu,
      omitSeconds,
      seconds: settings.seconds,
      intervalSeconds: this.options.intervalSeconds,
      idleSeconds,
    };
    const name = { asked: mtu, congestion };
    for (const way of await this.runPlan(plan, options, name)) {
      const { carried, direction: oneWay, idle, load } = way;
      const failure = carried === 'no' ? 'datagrams of this size do not arrive' : null;
      const row: LinkRow = { ...name, mtu: way.mtu, direction: oneWay, carried, idle, load, failure };
      this.rows.push(row);
      this.options.onProgress({ type: 'row', row });
    }
  }

  private messageBytes(mtu: MtuChoice): number {
    const { delivery, messageBytes } = this.settings;
    if (messageBytes > 0) return Math.max(MESSAGE_BYTES_MIN, messageBytes);
    if (delivery === 'reliable')
      return typeof mtu === 'number' && mtu <= ETHERNET_MTU ? TRANSFER_MESSAGE_BYTES : JUMBO_MESSAGE_BYTES;
    return (mtu === 'auto' ? SOUNDING_MTU : mtu) - FULL_DATAGRAM_ROOM;
  }

  private async oneWay(
    plan: Omit<Plan, 'clockAheadMicros' | 'protection'>,
    options: Omit<RunOptions, 'plan'>,
  ): Promise<WayResult> {
    const [way] = await this.runPlan({ ...plan, protection: 'off' }, options, null);
    return way;
  }

  private async runPlan(
    plan: Omit<Plan, 'clockAheadMicros'>,
    options: Omit<RunOptions, 'plan'>,
    name: Omit<RunName, 'direction'> | null,
  ): Promise<readonly WayResult[]> {
    const { clocks, ipVersion, rttMs, session } = this;
    const context: RunContext = {
      ...this.surroundings,
      session,
      clocks,
      ipVersion,
      rttMs,
      onInterval: (direction, interval) => {
        if (name !== null)
          this.options.onProgress({ type: 'interval', of: { ...name, direction }, interval });
      },
    };
    const { ways, routes } = await measureRun(context, {
      ...options,
      plan: { ...plan, clockAheadMicros: this.aheadMicros },
    });
    Object.assign(this.routes, routes);
    return ways;
  }

  private get aheadMicros(): number | null {
    const { clocks } = this;
    if (clocks.kind === 'unknown') return null;
    return clocks.kind === 'same' ? 0 : clocks.serverAheadMs * 1e3;
  }

  private get rttMs(): number {
    return this.idle?.p50 ?? RTT_UNKNOWN_MS;
  }

  /** Between the largest size that arrives as it should and the smallest that does not. */
  private async findPathMtu(): Promise<void> {
    for (const direction of this.ways) {
      const rows = this.rows.filter((row) => row.direction === direction && row.asked !== 'auto');
      const good = rows.filter(isCarriedWell).map(({ mtu }) => mtu);
      const bad = rows.filter(({ carried }) => carried === 'no').map(({ asked }) => asked as number);
      if (bad.length === 0) {
        this.takeFragmented(direction, rows);
        continue;
      }
      let low = Math.max(0, ...good);
      let high = Math.min(...bad.filter((bytes) => bytes > low));
      if (low === 0 || high === Number.POSITIVE_INFINITY) continue;
      this.phase(`the largest datagram that arrives, ${direction}`, SEARCH_SECONDS);
      [low, high] = await this.search(direction, low, high);
      this.notePathMtu({ bytes: low, notBytes: high, direction, larger: 'vanish' });
    }
  }

  /** The system knows how much the path takes in one piece. */
  private takeFragmented(direction: OneWay, rows: readonly LinkRow[]): void {
    const cut = rows.filter(({ carried }) => carried === 'fragments').map(({ mtu }) => mtu);
    const route = this.routes[direction] ?? null;
    if (cut.length === 0 || route === null) return;
    const bytes = route - ipUdpBytes(this.ipVersion);
    this.notePathMtu({ bytes, notBytes: bytes + 1, direction, larger: 'fragment' });
  }

  private notePathMtu(found: PathMtu): void {
    if (this.pathMtu === null || found.bytes < this.pathMtu.bytes) this.pathMtu = found;
  }

  private async search(direction: OneWay, from: number, to: number): Promise<[number, number]> {
    const { session } = this;
    const plan: Plan = {
      direction,
      delivery: 'reliable',
      bitsPerSecond: 0,
      streams: 1,
      messageBytes: TRANSFER_MESSAGE_BYTES,
      congestion: 'cubic',
      protection: 'off',
      clockAheadMicros: null,
    };
    const run = await session.openRun(plan, Math.min(from, SOUNDING_MTU));
    let [low, high] = [from, to];
    try {
      while (high - low > 1) {
        this.surroundings.signal.throwIfAborted();
        const middle = (low + high) >> 1;
        if (await Promise.race([useMtu(run, direction, middle, this.surroundings.system), run.ended]))
          low = middle;
        else high = middle;
      }
    } finally {
      run.close();
    }
    return [low, high];
  }

  private report(error: Error | null): LinkReport {
    const { clocks, datagrams, idle, ipVersion, pathMtu, rows, session, settings, startedAt } = this;
    const findings = {
      idle,
      datagrams,
      rows,
      pathMtu,
      soundedBitsPerSecond: this.sounded,
      settings,
      ipVersion,
    };
    const { remoteHost, remotePort } = session.connection;
    return {
      type: 'report',
      version: 1,
      startedAt,
      target: `${remoteHost} port ${remotePort}`,
      client: thisMachine(),
      server: session.machine,
      clocks,
      endedEarly: error === null ? null : error.message,
      ...findings,
      recommendation: recommend(findings),
    };
  }
}

/** The loss is known to 4 % of itself, or there is none to speak of. */
function isEnoughForLoss(sent: number, lost: number, seconds: number): boolean {
  if (seconds < LOSS_SECONDS_MIN || sent === 0) return false;
  if (lost === 0) return true;
  const { high, low, share } = shareOf(lost, sent);
  return (high - low) / 2 <= LOSS_PRECISION * share;
}

function clamp(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value));
}

const WARM_UP_SECONDS = 0.3;
const IDLE_SECONDS = 2;
const PROBE_MS = 10;
const SETTLE_MS = 100;
const RTT_UNKNOWN_MS = 100;
/** A size that nearly every path carries. */
const SOUNDING_MTU = 1_200;
/** Of the rate that was found, so that no queue fills. */
const LOSS_RATE_SHARE = 0.6;
/** What Node sends one by one without falling behind, on most machines. */
const DATAGRAMS_MAX = 20_000;
const DATAGRAMS_MIN = 20;
const LOSS_LOOK_SECONDS = 0.5;
const LOSS_SECONDS_MIN = 3;
const LOSS_PRECISION = 0.04;
/** Header, tag and frame header of a datagram with one small message. */
const DATAGRAM_OVERHEAD = 36;
const FULL_DATAGRAM_ROOM = 40;
/** Many datagrams, so that little is headers of messages; and little beside what a slow link carries in a second, for the last one counts as a whole. */
const TRANSFER_MESSAGE_BYTES = 8_000;
const JUMBO_MESSAGE_BYTES = 32_000;
const ETHERNET_MTU = 1_500;
/** With less of what the path has shown, a load has not filled it. */
const FILLED = 0.9;
const SEARCH_SECONDS = 5;
