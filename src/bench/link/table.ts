/** A measurement as text: what is known of the path, a table with a line for each size and way, bars of goodput, the recommendation. */
import { printable } from '../../base/errors.ts';
import { formatTable, whole } from '../figures.ts';
import type { Quantiles } from './control.ts';
import {
  type DatagramLoss,
  type Interval,
  type LinkReport,
  type LinkRow,
  type OneWay,
  possibleBitsPerSecond,
  type RoundTrips,
} from './report.ts';

/** The whole report for people. */
export function reportText(report: LinkReport): string {
  const parts = [pathText(report)];
  if (report.rows.length > 0) {
    parts.push(
      formatTable(
        HEADER,
        report.rows.map((row) => cells(row, report)),
      ),
    );
    parts.push(goodputBars(report.rows));
  }
  if (report.endedEarly !== null) parts.push(`Ended early: ${printable(report.endedEarly)}`);
  parts.push(recommendationText(report));
  return parts.filter((part) => part !== '').join('\n\n');
}

/** What is known of the path itself, a line each. */
function pathText(report: LinkReport): string {
  const { clocks, datagrams, idle, pathMtu } = report;
  const lines = [`Link to ${printable(report.target)}`];
  if (idle !== null) {
    lines.push(`idle       ${roundTripText(idle)}`);
    if (idle.upMs !== null && idle.downMs !== null) {
      lines.push(
        `one way    ${times(idle.upMs)} up, ${times(idle.downMs)} down${clocks.kind === 'estimated' ? `; clocks compared to ±${clocks.uncertaintyMs.toFixed(1)} ms` : '; one clock'}`,
      );
    } else lines.push('one way    not known: the clocks cannot be compared');
  }
  for (const each of datagrams) lines.push(`loss ${each.direction.padEnd(5)} ${lossText(each)}`);
  if (pathMtu !== null) {
    const how = pathMtu.larger === 'vanish' ? 'larger ones do not arrive' : 'IP takes larger ones apart';
    lines.push(`path MTU   ${whole(pathMtu.bytes)} bytes of UDP payload ${pathMtu.direction}; ${how}`);
  }
  return lines.join('\n');
}

function roundTripText(trips: RoundTrips): string {
  const lost = trips.sent - trips.returned;
  return `round trips min/p50/p95/p99 ${[trips.min, trips.p50, trips.p95, trips.p99].map(ms).join('/')} ms, jitter ${ms(trips.jitterMs)} ms, ${lost} of ${trips.sent} lost`;
}

function lossText({
  datagramsPerSecond,
  jitterMs,
  loss,
  lossRunMean,
  reordered,
  seconds,
}: DatagramLoss): string {
  const interval = `95 %: ${percent(loss.low)} to ${percent(loss.high)}`;
  const runs = lossRunMean === null || lossRunMean < 1.2 ? '' : `, in runs of ${lossRunMean.toFixed(1)}`;
  const jitter = jitterMs === null ? '' : `, jitter ${ms(jitterMs)} ms`;
  return `${percent(loss.share)} (${interval}) of ${whole(loss.of)} datagrams${runs}, ${percent(reordered.share)} out of order${jitter}; ${whole(datagramsPerSecond)} a second for ${seconds.toFixed(0)} s`;
}

function times({ min, p50, p99 }: Quantiles): string {
  return `${ms(min)}/${ms(p50)}/${ms(p99)} ms`;
}

/** A line of the table; `report` has the rows beside it, by which it is known what would be possible. */
export function cells(row: LinkRow, report: Pick<LinkReport, 'ipVersion' | 'rows'> | null = null): string[] {
  const { carried, congestion, direction, idle, load } = row;
  const name = sizeText(row);
  if (load === null)
    return [name, direction, congestion, CARRIED[carried], ...HEADER.slice(4).map(() => '-')];
  const rtt = (trips: RoundTrips | null): string =>
    trips === null ? '-' : [trips.p50, trips.p95, trips.p99].map(ms).join('/');
  return [
    name,
    direction,
    congestion,
    CARRIED[carried],
    megabits(load.goodputBitsPerSecond),
    report === null ? '-' : megabits(possibleBitsPerSecond(report, row)),
    percent(load.overhead),
    whole(load.datagramsPerSecond),
    percent(load.loss.share),
    percent(load.reordered.share),
    rtt(idle),
    rtt(load.loaded),
    ms(load.jitterMs ?? load.loaded?.jitterMs ?? 0),
    `${(100 * load.cpuSender).toFixed(0)}/${(100 * load.cpuReceiver).toFixed(0)}`,
  ];
}

/** The size that was asked for, with what `auto` has found. */
export function sizeText({ asked, mtu }: LinkRow): string {
  if (asked !== 'auto') return whole(asked);
  return mtu === 0 ? asked : `${asked} ${whole(mtu)}`;
}

/** A bar of goodput for each row. */
function goodputBars(rows: readonly LinkRow[]): string {
  const measured = rows.filter(({ load }) => load !== null);
  if (measured.length < 2) return '';
  const most = Math.max(...measured.map(({ load }) => load?.goodputBitsPerSecond ?? 0));
  const labels = rows.map((row) => cells(row).slice(0, 3).join(' '));
  const width = Math.max(...labels.map(({ length }) => length));
  const lines = rows.map((row, i) => {
    const label = labels[i].padEnd(width);
    if (row.load === null) return `${label} | ${row.failure ?? 'not measured'}`;
    const { goodputBitsPerSecond: goodput, overhead } = row.load;
    const bar = bars(goodput, most, BAR_COLUMNS);
    return `${label} |${bar} ${megabits(goodput)} Mbit/s, overhead ${percent(overhead)}`;
  });
  return `Goodput\n${lines.join('\n')}`;
}

/** Blocks for a value of a scale that ends at `most`. */
export function bars(value: number, most: number, columns: number): string {
  const eighths = most <= 0 ? 0 : Math.round((8 * columns * value) / most);
  return '█'.repeat(eighths >> 3) + (eighths % 8 === 0 ? '' : EIGHTHS[(eighths % 8) - 1]);
}

function recommendationText({ recommendation }: LinkReport): string {
  const { congestion, mtu, profile, protection, queueDelayMaxMs, reasons, warnings } = recommendation;
  const parts = [
    ...(mtu === null ? [] : [`mtu ${whole(mtu)}`]),
    ...(profile === null ? [] : [`profile ${profile}`]),
    ...(congestion === null ? [] : [`congestion ${congestion}`]),
    ...(protection === null ? [] : [`protection ${protection}`]),
    ...(queueDelayMaxMs === null ? [] : [`queueDelayMaxMs ${queueDelayMaxMs}`]),
  ];
  const lines = [
    `Recommended: ${parts.length === 0 ? 'nothing, too little was measured' : parts.join(', ')}`,
  ];
  return [
    ...lines,
    ...reasons.map((reason) => `  - ${reason}`),
    ...warnings.map((warning) => `  ! ${warning}`),
  ].join('\n');
}

/** A row as one line, while others are still measured. */
export function rowText(row: LinkRow): string {
  const [size, way, control] = cells(row);
  const { failure, idle, load } = row;
  if (load === null) return `${size} ${way} ${control}: ${failure ?? 'not measured'}`;
  const trips = [
    ...(idle === null ? [] : [`${ms(idle.p50)} ms idle`]),
    ...(load.loaded === null ? [] : [`${ms(load.loaded.p50)} ms loaded`]),
  ].join(', ');
  return `${size} ${way} ${control}: ${megabits(load.goodputBitsPerSecond)} Mbit/s, overhead ${percent(load.overhead)}, lost ${percent(load.loss.share)}, round trip ${trips}`;
}

/** One interval of a run, as iperf3 prints it. */
export function intervalText(direction: OneWay, interval: Interval): string {
  const { at, goodputBitsPerSecond, isWarmUp, loss, rttMs, seconds } = interval;
  const when = `${(at - seconds).toFixed(1)} to ${at.toFixed(1)} s`.padStart(16);
  const rtt = rttMs === null ? '-' : ms(rttMs);
  const omitted = isWarmUp ? '  (warm-up)' : '';
  return `${when}  ${direction.padEnd(4)}  ${megabits(goodputBitsPerSecond).padStart(7)} Mbit/s  round trip ${rtt} ms  lost ${percent(loss)}${omitted}`;
}

export function megabits(bitsPerSecond: number): string {
  const value = bitsPerSecond / 1e6;
  return value >= 100 ? whole(value) : value.toFixed(value >= 10 ? 1 : 2);
}

export function percent(share: number): string {
  const value = 100 * share;
  const digits = value === 0 || value >= 9.95 ? 0 : value >= 0.1 ? 2 : 3;
  return `${value.toFixed(digits)} %`;
}

export function ms(value: number): string {
  return value.toFixed(value >= 99.5 ? 0 : value >= 9.95 ? 1 : 2);
}

export const CARRIED: Readonly<Record<LinkRow['carried'], string>> = {
  whole: 'yes',
  fragments: 'in fragments',
  unknown: 'yes*',
  no: 'no',
};

const HEADER = [
  'mtu',
  'way',
  'control',
  'arrives',
  'Mbit/s',
  'possible',
  'overhead',
  'datagrams/s',
  'lost',
  'reordered',
  'idle p50/95/99 ms',
  'loaded p50/95/99 ms',
  'jitter ms',
  'cpu % s/r',
];
const BAR_COLUMNS = 40;
const EIGHTHS = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];
