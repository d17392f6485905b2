/** What to make of a measurement: which size of datagrams, which controller, which profile, what protection, each with its reason in words. */
import type { ProfileName } from '../../transport/profiles.ts';
import { whole } from '../figures.ts';
import {
  type Congestion,
  ipUdpBytes,
  isCarriedWell,
  type LinkReport,
  type LinkRow,
  messageBytesIn,
  type PathMtu,
  possibleBitsPerSecond,
  type Recommendation,
  type RoundTrips,
  type Share,
} from './report.ts';
import { megabits, percent } from './table.ts';

/** All of the report that a recommendation is made from. */
export type Findings = Pick<
  LinkReport,
  'idle' | 'datagrams' | 'rows' | 'pathMtu' | 'soundedBitsPerSecond' | 'settings' | 'ipVersion'
>;

export function recommend(findings: Findings): Recommendation {
  const reasons: string[] = [];
  const warnings: string[] = [];
  const mtu = chooseMtu(findings, reasons, warnings);
  const loss = worstLoss(findings);
  const bloatMs = worstBloat(findings);
  const congestion = chooseCongestion(findings, loss, reasons);
  const protection = chooseProtection(findings, loss, reasons);
  const queueDelayMaxMs = chooseQueueDelay(findings, bloatMs, reasons);
  const profile = chooseProfile(findings, loss, reasons);
  warnOfLink(findings, warnings);
  warnOfShortfalls(findings, warnings);
  return { mtu, congestion, profile, protection, queueDelayMaxMs, reasons, warnings };
}

/** The largest size that arrives whole, as far as it brings something: less headers, and no clearly smaller goodput. */
function chooseMtu(findings: Findings, reasons: string[], warnings: string[]): number | null {
  const { pathMtu, rows } = findings;
  const carried = withControllersOfAllSizes(rows.filter(isCarriedWell));
  for (const sentence of sizeWarnings(rows, pathMtu)) warnings.push(sentence);
  const sizes = [...new Set(carried.map(({ mtu }) => mtu))].sort((a, b) => a - b);
  if (sizes.length === 0) {
    if (pathMtu === null) return null;
    reasons.push(`MTU ${whole(pathMtu.bytes)}: the largest datagram that arrives.`);
    return pathMtu.bytes;
  }
  const most = Math.max(...sizes.map((size) => goodputOf(carried, size)));
  const able = sizes.filter((size) => goodputOf(carried, size) >= most * (1 - GOODPUT_NOISE));
  let best = able[0];
  for (const size of able.slice(1)) if (headersOf(best) - headersOf(size) >= HEADERS_WORTH) best = size;
  const which =
    sizes.length === 1
      ? 'the one size that was measured and arrives'
      : `of the ${sizes.length} sizes that arrive whole the one that leaves the most for messages`;
  reasons.push(
    `MTU ${whole(best)}: ${which}, ${megabits(goodputOf(carried, best))} Mbit/s${overheadText(carried, best)}.`,
  );
  if (pathMtu !== null && pathMtu.bytes > best && best === sizes.at(-1)) {
    const gain = 100 * (headersOf(best) - headersOf(pathMtu.bytes));
    reasons.push(
      `The path carries up to ${whole(pathMtu.bytes)}, which would save ${gain.toFixed(1)} % more of headers; ${whole(best)} leaves room for a tunnel on the way.`,
    );
  }
  return best;
}

/** Rows of the controllers that every size was measured with, so that sizes are compared and not controllers. */
function withControllersOfAllSizes(rows: readonly LinkRow[]): readonly LinkRow[] {
  const sizes = new Set(rows.map(({ mtu }) => mtu));
  const isOfAll = (name: Congestion): boolean =>
    new Set(rows.flatMap(({ congestion, mtu }) => (congestion === name ? [mtu] : []))).size === sizes.size;
  const ofAll = rows.filter(({ congestion }) => isOfAll(congestion));
  return ofAll.length > 0 ? ofAll : rows;
}

/** Rows of the sizes and directions that were measured with each of these controllers, so that controllers are compared and not sizes. */
function withSizesOfAllControllers(rows: readonly LinkRow[], names: readonly Congestion[]): LinkRow[] {
  return rows.filter(({ mtu, direction }) =>
    names.every((name) =>
      rows.some((row) => row.congestion === name && row.mtu === mtu && row.direction === direction),
    ),
  );
}

/** The share of a full datagram that is not message, over IPv4. */
function headersOf(size: number): number {
  return 1 - messageBytesIn(size) / (size + ipUdpBytes(4));
}

function overheadText(rows: readonly LinkRow[], size: number): string {
  const load = rows.find(({ mtu }) => mtu === size)?.load;
  return load === null || load === undefined
    ? ''
    : `, of which headers and tags take ${percent(load.overhead)}`;
}

function sizeWarnings(rows: readonly LinkRow[], pathMtu: PathMtu | null): string[] {
  const sentences: string[] = [];
  const lost = sizesOf(rows, 'no');
  const cut = sizesOf(rows, 'fragments');
  const about = pathMtu === null ? '' : `: the path MTU is ${whole(pathMtu.bytes)} bytes of UDP payload`;
  if (lost.length > 0) {
    const isHole = rows.some(({ carried }) => carried !== 'no');
    const what = isHole ? ' (a black hole: nobody says so)' : '';
    const sizes =
      lost.length === 1
        ? `Datagrams of ${whole(lost[0])} bytes`
        : `Datagrams of ${whole(lost[0])} bytes and more`;
    sentences.push(`${sizes} do not arrive${what}${about}.`);
  }
  if (cut.length > 0) {
    sentences.push(
      `Datagrams of ${whole(cut[0])} bytes${cut.length > 1 ? ' and more' : ''} are taken apart by IP on the way${about}: each is lost when one of its fragments is, and many networks drop fragments.`,
    );
  }
  return sentences;
}

function chooseCongestion(findings: Findings, loss: Share | null, reasons: string[]): Congestion | null {
  const rows = findings.rows.filter(isCarriedWell);
  if (rows.length === 0) return null;
  const names = [...new Set(rows.map(({ congestion }) => congestion))];
  const compared = withSizesOfAllControllers(rows, names);
  if (names.length > 1 && compared.length > 0) {
    const [best, second] = names
      .map((name) => ({
        name,
        goodput: Math.max(...compared.filter((r) => r.congestion === name).map(goodputOfRow)),
      }))
      .sort((a, b) => b.goodput - a.goodput);
    if (best.goodput > second.goodput * (1 + GOODPUT_NOISE)) {
      reasons.push(
        `Congestion control ${best.name}: ${megabits(best.goodput)} Mbit/s where ${second.name} has ${megabits(second.goodput)}.`,
      );
      return best.name;
    }
  }
  if (loss !== null && loss.low > LOSS_FOR_BBR) {
    reasons.push(
      `Congestion control bbr: the link loses ${percent(loss.share)} by itself, and cubic takes each loss for a full queue and slows down.`,
    );
    return 'bbr';
  }
  const isCubic = names.includes('cubic') || names.length > 1;
  const choice = isCubic ? 'cubic' : names[0];
  reasons.push(`Congestion control ${choice}: the link loses too little by itself to slow it down.`);
  return choice;
}

function chooseProtection(findings: Findings, loss: Share | null, reasons: string[]): 'off' | 'auto' | null {
  if (loss === null) return null;
  if (loss.low <= LOSS_FOR_PROTECTION) {
    const most =
      loss.count === 0
        ? `none of ${whole(loss.of)} datagrams was lost`
        : `only ${percent(loss.share)} is lost`;
    reasons.push(
      `Protection (FEC) off: ${most}; sending again what is lost costs less than sending more of everything.`,
    );
    return 'off';
  }
  const run = Math.max(...findings.datagrams.map(({ lossRunMean }) => lossRunMean ?? 1));
  const how =
    run >= RUN_BURSTY
      ? `in runs of ${run.toFixed(1)} on average, which blocks bring back only with as many repairs`
      : 'each by itself, which one repair for several packets brings back';
  const rtt = findings.idle?.p50;
  const saved = rtt === undefined ? 'a round trip' : `a round trip of ${ms(rtt)} ms`;
  reasons.push(
    `Protection (FEC) auto for messages that must not wait: ${percent(loss.share)} is lost, ${how}; without it each loss costs ${saved} or more. For transfers leave it off.`,
  );
  return 'auto';
}

function chooseQueueDelay(findings: Findings, bloatMs: number, reasons: string[]): number | null {
  const { idle } = findings;
  if (!isBloat(bloatMs, idle)) return null;
  reasons.push(
    `queueDelayMaxMs 10 where urgent messages share the connection with transfers: under load a round trip takes ${ms(bloatMs)} ms longer than the ${ms(idle.p50)} ms of the idle path (bufferbloat).`,
  );
  return 10;
}

/** One of the presets, by what the link is good for. */
function chooseProfile(findings: Findings, loss: Share | null, reasons: string[]): ProfileName | null {
  const { idle, pathMtu, rows } = findings;
  if (idle === null) return null;
  const goodput = Math.max(0, ...rows.map(goodputOfRow));
  const share = loss?.share ?? 0;
  const jitter = Math.max(idle.p95 - idle.p50, idle.jitterMs);
  const bytesMax = pathMtu?.bytes ?? Math.max(0, ...rows.filter(isCarriedWell).map(({ mtu }) => mtu));
  const say = (profile: ProfileName, why: string): ProfileName => {
    reasons.push(`Profile ${profile}: ${why}.`);
    return profile;
  };
  if ((bytesMax > 0 && bytesMax < SMALL_MTU) || (goodput > 0 && goodput < SLOW_BITS)) {
    return say(
      'iot',
      `the link is narrow (${megabits(goodput)} Mbit/s, datagrams of at most ${whole(bytesMax)} bytes)`,
    );
  }
  if (share > LOSSY || jitter > JITTERY_MS || idle.p50 > FAR_MS) {
    const why = [
      ...(share > LOSSY ? [`${percent(share)} lost`] : []),
      ...(jitter > JITTERY_MS ? [`round trips vary by ${ms(jitter)} ms`] : []),
      ...(idle.p50 > FAR_MS ? [`${ms(idle.p50)} ms there and back`] : []),
    ].join(', ');
    return say('mobileChat', `it behaves like a mobile network (${why})`);
  }
  if (idle.p50 <= NEAR_MS) {
    return say(
      'gaming',
      `${ms(idle.p50)} ms there and back, steady to ${ms(jitter)} ms, ${percent(share)} lost: good enough for what happens in real time. For bulk alone take fileTransfer`,
    );
  }
  return say(
    'fileTransfer',
    `${megabits(goodput)} Mbit/s over ${ms(idle.p50)} ms: good for bulk, late for games`,
  );
}

function warnOfLink(findings: Findings, warnings: string[]): void {
  const { datagrams, idle, rows, settings } = findings;
  const reordered = Math.max(0, ...datagrams.map((each) => each.reordered.share));
  if (reordered > REORDERED) {
    warnings.push(
      `${percent(reordered)} of the datagrams come out of order: unordered streams do not wait for them.`,
    );
  }
  const duplicated = datagrams.reduce((sum, each) => sum + each.duplicated, 0);
  if (duplicated > 0)
    warnings.push(`${whole(duplicated)} datagrams came twice; the transport drops the second.`);
  if (idle?.upMs && idle.downMs) {
    const [up, down] = [idle.upMs.p50, idle.downMs.p50];
    if (Math.max(up, down) > 1.5 * Math.min(up, down) + 5) {
      warnings.push(`The two ways differ: ${ms(up)} ms up, ${ms(down)} ms down.`);
    }
  }
  const [up, down] = (['up', 'down'] as const).map((direction) =>
    Math.max(0, ...rows.filter((row) => row.direction === direction).map(goodputOfRow)),
  );
  if (settings.direction === 'both' && up > 0 && down > 0 && Math.max(up, down) > 1.5 * Math.min(up, down)) {
    warnings.push(`The two ways differ: ${megabits(up)} Mbit/s up, ${megabits(down)} Mbit/s down.`);
  }
  const busy = rows.filter(
    ({ load }) => load !== null && Math.max(load.cpuSender, load.cpuReceiver) > CPU_FULL,
  );
  if (busy.length > 0) {
    warnings.push(
      'One end used its whole core: that, not the link, may be what the goodput stands for. Larger datagrams, or a faster machine, tell.',
    );
  }
}

/** A row that left much of the link free is told as such, whatever held it down. */
function warnOfShortfalls(findings: Findings, warnings: string[]): void {
  if (findings.settings.bitsPerSecond > 0) return;
  for (const row of findings.rows) {
    const { asked, congestion, direction, load, mtu } = row;
    const possible = possibleBitsPerSecond(findings, row);
    if (load === null || load.goodputBitsPerSecond >= possible * (1 - SHORTFALL)) continue;
    const size = asked === 'auto' ? `auto (${whole(mtu)})` : whole(mtu);
    warnings.push(
      `${size} bytes, ${direction}, ${congestion}: ${megabits(load.goodputBitsPerSecond)} Mbit/s of the ${megabits(possible)} that the link leaves for datagrams of this size. The controller, or machines that had no CPU time for ${whole(load.datagramsPerSecond)} datagrams a second: measure again where nothing else runs.`,
    );
  }
}

function sizesOf(rows: readonly LinkRow[], carried: LinkRow['carried']): number[] {
  const sizes = rows
    .filter((row) => row.carried === carried)
    .map(({ asked, mtu }) => (asked === 'auto' ? mtu : asked));
  return [...new Set(sizes)].sort((a, b) => a - b);
}

/** Of the way that loses more: of datagrams at a rate that fills no queue, which a fixed rate may have been, too. */
export function worstLoss({
  datagrams,
  rows,
  settings,
}: Pick<Findings, 'datagrams' | 'rows' | 'settings'>): Share | null {
  const losses = datagrams.map(({ loss }) => loss);
  if (losses.length === 0 && settings.bitsPerSecond > 0) {
    losses.push(
      ...rows.flatMap(({ load }) => (load === null || load.heldBack > HELD_BACK ? [] : [load.loss])),
    );
  }
  return losses.reduce<Share | null>(
    (worst, loss) => (worst === null || loss.share > worst.share ? loss : worst),
    null,
  );
}

/** How much longer round trips take under load, in ms. */
export function worstBloat({ idle, rows }: Pick<Findings, 'idle' | 'rows'>): number {
  if (idle === null) return 0;
  return Math.max(0, ...rows.map(({ load }) => (load?.loaded?.p50 ?? idle.p50) - idle.p50));
}

/** Whether that is so much longer that it is told (bufferbloat). */
export function isBloat(bloatMs: number, idle: RoundTrips | null): idle is RoundTrips {
  return idle !== null && bloatMs >= Math.max(BLOAT_MS, idle.p50 / 4);
}

function goodputOfRow({ load }: LinkRow): number {
  return load?.goodputBitsPerSecond ?? 0;
}

function goodputOf(rows: readonly LinkRow[], size: number): number {
  return Math.max(0, ...rows.filter(({ mtu }) => mtu === size).map(goodputOfRow));
}

function ms(value: number): string {
  return value.toFixed(value >= 99.5 ? 0 : 1);
}

/** A rate of which more was held back was more than the path carries. */
const HELD_BACK = 0.01;
/** A larger size must save so much. */
const HEADERS_WORTH = 0.003;
/** Runs differ by so much where nothing else does. */
const GOODPUT_NOISE = 0.05;
/** With less loss than this cubic keeps most of its rate. */
export const LOSS_FOR_BBR = 0.0005;
const LOSS_FOR_PROTECTION = 0.001;
const RUN_BURSTY = 2;
const BLOAT_MS = 20;
/** What a path carries that is made for sensors, not for the Internet. */
const SMALL_MTU = 1_000;
const SLOW_BITS = 256e3;
const LOSSY = 0.02;
const JITTERY_MS = 20;
const FAR_MS = 150;
const NEAR_MS = 100;
const REORDERED = 0.001;
const CPU_FULL = 0.92;
/** Of what is possible. */
const SHORTFALL = 0.1;
