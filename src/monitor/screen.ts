/**
 * How a monitor looks: a pure function from what it knows to the lines of a terminal of some size, and to a line where there is no terminal.
 * Everything that came from elsewhere is made printable.
 */

import { printable } from '../base/errors.ts';
import type { ConnectionReport } from './report.ts';
import type { MonitorView, Point, Watched } from './view.ts';

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}

/** What can be done to text on the terminal at hand. */
export interface ScreenStyle {
  bold(text: string): string;
  dim(text: string): string;
  red(text: string): string;
}

/** The lines of a terminal, none longer than it is wide, and no more of them than it has. */
export function screenOf(view: MonitorView, { columns, rows }: ScreenSize, style: ScreenStyle): string[] {
  const head = [bothEnds(headOf(view), stateOf(view), columns)];
  const foot = [cut(rows < 4 || columns < 40 ? 'q quit  ? help' : KEYS, columns)];
  const room = rows - 2;
  let body: string[];
  if (view.isHelp) body = HELP.map((line) => cut(line, columns));
  else {
    const { chosen } = view;
    const figures = chosen === null ? [] : figuresOf(chosen, columns);
    const table = tableOf(view, columns, Math.max(1, room - figures.length - 1));
    body = chosen === null ? [cut('no connection is open', columns)] : [...table, ...figures];
  }
  body = body.slice(0, Math.max(0, room));
  while (body.length < room) body.push('');
  const lines = [
    ...head.map(style.bold),
    ...body.map((line) => painted(line, style)),
    ...foot.map(style.dim),
  ];
  return lines.slice(0, Math.max(1, rows));
}

/** One report of one connection as a line of text, for where there is no terminal. */
export function lineOf({ report }: Watched, point: Point, elapsedSeconds: number): string {
  const queued = point.queueBytes.reduce((sum, bytes) => sum + bytes, 0);
  const [[limit] = ['-']] = point.limits;
  return [
    `${elapsedSeconds.toFixed(1)} s`,
    nameOf(report),
    `sent ${bits(point.sentRate)}`,
    `received ${bits(point.receivedRate)}`,
    `rtt ${ms(point.rttMs)}`,
    `loss ${percent(point.lossShare)}`,
    `fec ${perSecond(point.protectionRate)} recovered ${perSecond(point.recoveredRate)}`,
    `queue ${bytes(queued)} for ${ms(point.oldestMs)}`,
    `limited by ${printable(limit)}`,
  ].join('  ');
}

// ---- parts of the screen ----

function headOf({ title, report }: MonitorView): string {
  const count = report === null ? '' : ` · ${counted(report.connectionsOpen, 'connection')}`;
  return `jsp monitor · ${printable(title)}${count}`;
}

function stateOf({ intervalSeconds, isPaused }: MonitorView): string {
  return isPaused ? 'PAUSED' : `every ${intervalSeconds} s`;
}

/** The connections there are, around the one that is looked at; nothing where there is only one. */
function tableOf({ chosen, report, watched }: MonitorView, columns: number, room: number): string[] {
  const all = [...watched.values()];
  if (all.length < 2 || chosen === null) return [];
  const at = all.indexOf(chosen);
  const count = Math.min(all.length, Math.min(room - 1, TABLE_ROWS_MAX));
  if (count < 1) return [];
  const from = Math.max(0, Math.min(at - (count >> 1), all.length - count));
  const lines = all.slice(from, from + count).map((each, i) => {
    const point = each.points.at(-1);
    const figures =
      point === undefined
        ? ''
        : `${bits(point.sentRate).padStart(13)}${bits(point.receivedRate).padStart(13)}${ms(point.rttMs).padStart(10)}${percent(point.lossShare).padStart(8)}`;
    return bothEnds(
      `${each === chosen ? '>' : ' '}${String(from + i + 1).padStart(3)} ${nameOf(each.report)}`,
      figures,
      columns,
    );
  });
  const hidden = (report?.connectionsOpen ?? 0) - count;
  const header = bothEnds(
    `     ${hidden > 0 ? `${hidden} more` : 'connection'}`,
    `${'sent'.padStart(13)}${'received'.padStart(13)}${'rtt'.padStart(10)}${'loss'.padStart(8)}`,
    columns,
  );
  return [header, ...lines];
}

function figuresOf({ points, report }: Watched, columns: number): string[] {
  const { metrics } = report;
  const plot = (label: string, of: (point: Point) => number, show: (value: number) => string): string =>
    sparkLine(label, points.map(of), show, columns);
  const last = points.at(-1);
  const limits = (last?.limits ?? []).map(
    ([name, share]) => `${printable(name)} ${Math.round(100 * share)} %`,
  );
  return [
    '',
    plot('sent', ({ sentRate }) => sentRate, bits),
    plot('received', ({ receivedRate }) => receivedRate, bits),
    plot('round trip', ({ rttMs }) => rttMs, ms),
    plot('loss', ({ lossShare }) => lossShare, percent),
    plot('FEC sent', ({ protectionRate }) => protectionRate, perSecond),
    plot('  recovered', ({ recoveredRate }) => recoveredRate, perSecond),
    ...QUEUES.map((name, i) => plot(name, ({ queueBytes }) => queueBytes[i], bytes)),
    plot('  oldest', ({ oldestMs }) => oldestMs, ms),
    '',
    cut(
      `${nameOf(report)}, open for ${duration(metrics.ageMs)}, ${counted(metrics.streamsOpen, 'stream')}, ${metrics.mtu} B datagrams`,
      columns,
    ),
    cut(`limited by ${limits.length === 0 ? '-' : limits.join(', ')}`, columns),
    cut(
      `window ${bytes(metrics.congestionWindowBytes)} (${printable(metrics.congestionState)}), in flight ${bytes(metrics.bytesInFlight)}, paced at ${bits(8 * metrics.pacingRate)}`,
      columns,
    ),
    cut(
      `since it opened: lost ${metrics.packetsLost - metrics.packetsSpuriouslyLost} of ${metrics.packetsSent} packets, sent again ${bytes(metrics.retransmittedBytes)}`,
      columns,
    ),
    cut(`  probe timeouts ${metrics.ptoCount}, shortest round trip ${ms(metrics.rttMinMs)}`, columns),
  ].map((line) => line.trimEnd());
}

/** Name, plot, newest value and what the full height means: as much of it as there is room for. */
function sparkLine(
  label: string,
  values: readonly number[],
  show: (value: number) => string,
  columns: number,
): string {
  const last = values.length === 0 ? '-' : show(values[values.length - 1]);
  const name = label.padEnd(LABEL_WIDTH);
  const width = Math.min(columns - LABEL_WIDTH - VALUE_WIDTH - SCALE_WIDTH, values.length === 0 ? 0 : 500);
  if (columns < LABEL_WIDTH + VALUE_WIDTH + SCALE_WIDTH + 8)
    return cut(`${name}${last.padStart(VALUE_WIDTH)}`, columns);
  const shown = values.slice(-Math.max(0, width));
  const top = niceAbove(Math.max(0, ...shown));
  const spark = shown.map((value) => SPARKS[Math.round((7 * value) / top)]).join('');
  const plot = spark.padStart(columns - LABEL_WIDTH - VALUE_WIDTH - SCALE_WIDTH);
  const scale = shown.length === 0 ? '' : `0–${show(top)}`;
  return cut(`${name}${plot}${last.padStart(VALUE_WIDTH)}${scale.padStart(SCALE_WIDTH)}`, columns);
}

/** 1, 2 or 5 times a power of ten, not below the value; what nothing is above 0 in has some height all the same. */
function niceAbove(value: number): number {
  if (value <= 0) return 1;
  const unit = 10 ** Math.floor(Math.log10(value));
  return (NICE.find((step) => step * unit >= value) ?? 10) * unit;
}

function nameOf({ id, role, remoteHost, remotePort }: ConnectionReport): string {
  const host = printable(remoteHost);
  return `#${id} ${role === 'client' ? 'to' : 'from'} ${host.includes(':') ? `[${host}]` : host}:${remotePort}`;
}

// ---- values with their units ----

function bits(rate: number): string {
  return `${scaled(rate)}bit/s`;
}

function bytes(count: number): string {
  return `${scaled(count)}B`;
}

function ms(value: number): string {
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} ms`;
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function perSecond(rate: number): string {
  return `${rate >= 10 ? Math.round(rate) : Number(rate.toFixed(1))}/s`;
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`;
}

function duration(ageMs: number): string {
  const seconds = Math.round(ageMs / 1_000);
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3_600)} h`;
}

/** Three digits and the unit's prefix. */
function scaled(value: number): string {
  let scaledTo = value;
  let prefix = 0;
  while (scaledTo >= 999.5 && prefix < PREFIXES.length - 1) {
    scaledTo /= 1_000;
    prefix++;
  }
  const digits = prefix === 0 || scaledTo >= 99.95 ? 0 : scaledTo >= 9.995 ? 1 : 2;
  return `${scaledTo.toFixed(digits)} ${PREFIXES[prefix]}`;
}

// ---- lines ----

function bothEnds(left: string, right: string, columns: number): string {
  if (left.length + right.length < columns) return left + right.padStart(columns - left.length);
  const room = columns - right.length - 1;
  return room < ENDS_MIN ? cut(left, columns) : `${cut(left, room)} ${right}`;
}

function cut(line: string, columns: number): string {
  if (line.length <= columns) return line;
  return columns < 2 ? line.slice(0, Math.max(0, columns)) : `${line.slice(0, columns - 1)}…`;
}

/** Losses are what one looks for. */
function painted(line: string, style: ScreenStyle): string {
  if (line.startsWith('>')) return style.bold(line);
  return line.startsWith('loss') && !/ 0\.0 % /.test(line) && /\d %/.test(line) ? style.red(line) : line;
}

const same = (text: string): string => text;
/** For terminals without colours. */
export const PLAIN_STYLE: ScreenStyle = { bold: same, dim: same, red: same };
const SPARKS = '▁▂▃▄▅▆▇█';
const NICE = [1, 2, 5, 10];
const PREFIXES = ['', 'k', 'M', 'G', 'T'];
const LABEL_WIDTH = 13;
const VALUE_WIDTH = 13;
const SCALE_WIDTH = 15;
const TABLE_ROWS_MAX = 9;
/** Columns of the left end below which the right one is left out. */
const ENDS_MIN = 16;
const QUEUES = ['queue system', '  media', '  chat', '  bulk'];
const KEYS = 'q quit  p pause  + - interval  ↑ ↓ 1-9 connection  ? help';
const HELP = [
  '',
  'q, Ctrl-C    quit',
  'p, space     pause: nothing new is asked for',
  '+, -         ask less often, more often',
  '↑ ↓, k j     the connection before, the next one',
  '1 to 9       the connection with this number in the list',
  '?, h         this page, and back',
  '',
  'Each plot goes from 0 to what stands behind it, and its newest value stands between.',
  'sent, received: UDP payload. loss: packets lost of those sent in the interval.',
  'FEC: repairs and repeats sent, and what they, and those of the other side, made up for.',
  'queue: bytes that wait here, by the priority of their streams. oldest: how long.',
  'limited by: why no more is sent; docs/metrics.md says what to make of it.',
];
