import { accessSync, constants, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { printableJson } from '../base/errors.ts';
import {
  BITS_PER_SECOND_MAX,
  ControlError,
  MESSAGE_BYTES_MAX,
  RUN_SECONDS_MAX,
  STREAMS_MAX,
} from '../bench/link/control.ts';
import { type Measured, measureLink, type Progress } from '../bench/link/measure.ts';
import { reportPage } from '../bench/link/page.ts';
import type { Congestion, LinkReport, LinkSettings, MtuChoice } from '../bench/link/report.ts';
import { BenchRefusal, NotABenchServer } from '../bench/link/session.ts';
import { intervalText, reportText, rowText } from '../bench/link/table.ts';
import { DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN } from '../protocol/endpoint/index.ts';
import { CONTROLLERS, DELIVERIES, type Delivery } from '../transport/options.ts';
import type { Protection } from '../transport/protection.ts';
import { oneOfWords, protections, seconds, wholeNumber, words } from './arguments.ts';
import { ProgressLine } from './progress-line.ts';
import { qlogOption } from './qlog-option.ts';
import { CommandError, cannotWrite, coloursOf, note, onStopSignal, print } from './terminal.ts';

interface LinkOptions {
  reverse?: boolean;
  bidir?: boolean;
  size: number;
  mtu: MtuChoice[];
  rate: number;
  streams: number;
  delivery?: Delivery;
  seconds: number;
  omit?: number;
  lossSeconds: number;
  interval?: number;
  congestion: Congestion[] | 'auto';
  protection: Protection[];
  json?: boolean;
  report?: string;
}

export function addBenchLink(bench: Command): void {
  bench
    .command('link')
    .argument('<url>', 'what "jsp bench serve" prints on the other host')
    .description(
      'measure the link to another host: rate, loss, round trips, and which size of datagrams it takes',
    )
    .option('--reverse', 'the server sends and this side receives')
    .option('--bidir', 'both send at once')
    .option('--mtu <bytes,...>', 'sizes of datagrams, as UDP payload; auto: what the library finds', mtus, [
      ...MTUS,
    ])
    .option('--size <bytes>', 'of a message; without it what suits', wholeNumber(16, MESSAGE_BYTES_MAX), 0)
    .option('--rate <bits/s>', 'a fixed rate, such as 5M: best effort, as iperf3 -u -b', rate, 0)
    .option('--streams <n>', 'at once, in each direction', wholeNumber(1, STREAMS_MAX), 1)
    .option('--delivery <mode>', `of messages: ${DELIVERIES.join(', ')}`, oneOfWords(DELIVERIES))
    .option('--seconds <s>', 'of measurement for each size', seconds, 5)
    .option(
      '--omit <s>',
      'of warm-up before, which is not measured; without it as the round trip asks',
      seconds,
    )
    .option(
      '--loss-seconds <s>',
      'longest to count small datagrams for the loss; 0: not at all',
      secondsOrNone,
      20,
    )
    .option('--interval <s>', 'print a line for each interval', seconds)
    .option(
      '--congestion <name,...>',
      `auto, ${CONTROLLERS.join(', ')}; several are compared`,
      congestion,
      'auto',
    )
    .option('--protection <how>', 'against loss: off, auto, 10+3, auto:overhead=1.2', protections, ['off'])
    .option('--json', 'print the report as a line of JSON, behind a line for each interval with --interval')
    .option('--report <file.html>', 'write a page with plots that needs no network')
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(link);
}

async function link(url: string, options: LinkOptions): Promise<void> {
  if (options.report !== undefined) assertWritable(options.report);
  const stop = new AbortController();
  const forget = onStopSignal((signal) => stop.abort(new Error(`stopped by ${signal}`)));
  const view = new View(options);
  let measured: Measured;
  try {
    measured = await measureLink({
      url,
      settings: settingsOf(options),
      intervalSeconds: Math.min(options.interval ?? SAMPLE_SECONDS, options.seconds),
      onProgress: (progress) => view.show(progress),
      signal: stop.signal,
    });
  } catch (error) {
    if (stop.signal.aborted)
      throw new CommandError('ERR_JSP_BENCH_INTERRUPTED', 'stopped before anything was measured');
    throw toldError(error, url);
  } finally {
    forget();
    view.end();
  }
  const { report, error } = measured;
  print(options.json ? printableJson(JSON.stringify(report)) : reportText(report));
  if (options.report !== undefined) writeReport(options.report, report);
  if (error === null) return;
  if (!stop.signal.aborted) throw toldError(error, url);
  process.exitCode = EXIT_INTERRUPTED;
}

function settingsOf(options: LinkOptions): LinkSettings {
  const { bidir, reverse, rate } = options;
  if (bidir && reverse)
    throw new CommandError('ERR_JSP_USAGE', '--bidir sends both ways, --reverse one: choose');
  if (options.protection.length > 1) throw new CommandError('ERR_JSP_USAGE', '--protection takes one way');
  return {
    direction: bidir ? 'both' : reverse ? 'down' : 'up',
    mtus: options.mtu,
    bitsPerSecond: rate,
    streams: options.streams,
    delivery: options.delivery ?? (rate > 0 ? 'bestEffort' : 'reliable'),
    messageBytes: options.size,
    congestion: options.congestion,
    protection: options.protection[0],
    seconds: Math.min(options.seconds, RUN_SECONDS_MAX / 4),
    omitSeconds: options.omit ?? null,
    lossSeconds: options.lossSeconds,
  };
}

/** What kept a measurement from beginning, or ended it, and what to do. */
function toldError(error: unknown, url: string): unknown {
  if (error instanceof ControlError) {
    return new CommandError(
      'ERR_JSP_BENCH_REFUSED',
      `the server answers what makes no sense: ${error.message}; use the same package on both hosts`,
      { cause: error },
    );
  }
  if (error instanceof NotABenchServer) {
    return new CommandError(
      'ERR_JSP_NOT_A_BENCH_SERVER',
      `no measurements are served at ${url}: pass the URL that "jsp bench serve" prints on the other host`,
      { cause: error },
    );
  }
  if (error instanceof BenchRefusal) {
    const { code, message, retrySeconds } = error.refusal;
    const when =
      retrySeconds === null ? '' : `; it is free in ${Math.ceil(retrySeconds)} s at the latest, try again`;
    const name = code === 'busy' ? 'ERR_JSP_BENCH_BUSY' : 'ERR_JSP_BENCH_REFUSED';
    return new CommandError(name, `${message}${when}`, { cause: error });
  }
  return error;
}

function writeReport(path: string, report: LinkReport): void {
  try {
    writeFileSync(path, reportPage(report));
  } catch (error) {
    throw cannotWrite(path, error);
  }
  note(`wrote ${path}`);
}

/** Told before minutes are spent on what could not be written then. */
function assertWritable(path: string): void {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) throw new Error('it is a folder');
    accessSync(found === undefined ? dirname(path) : path, constants.W_OK);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** Progress: a line that changes on a terminal, and lines that stay elsewhere. */
class View {
  private readonly options: LinkOptions;
  private readonly line = new ProgressLine(process.stderr);

  constructor(options: LinkOptions) {
    this.options = options;
  }

  show(progress: Progress): void {
    switch (progress.type) {
      case 'phase':
        return this.line.begin(progress.text, progress.seconds);
      case 'interval':
        return this.interval(progress);
      case 'row':
        return this.line.above(() => note(rowText(progress.row)));
    }
  }

  end(): void {
    this.line.end();
  }

  private interval(progress: Extract<Progress, { type: 'interval' }>): void {
    const { direction } = progress.of;
    const text = intervalText(direction, progress.interval);
    this.line.note(text.trim());
    const { interval, json } = this.options;
    if (interval === undefined) return;
    if (json) print(JSON.stringify(progress));
    else this.line.above(() => print(coloursOf(process.stdout).dim(text)));
  }
}

function mtus(text: string): MtuChoice[] {
  const parse = wholeNumber(DATAGRAM_BYTES_MIN, DATAGRAM_BYTES_MAX);
  return text.split(',').map((each) => (each === 'auto' ? 'auto' : parse(each)));
}

function congestion(text: string): Congestion[] | 'auto' {
  return text === 'auto' ? 'auto' : words(CONTROLLERS)(text);
}

/** As iperf3 has it: bits a second, with K, M or G for thousands of them. */
function rate(text: string): number {
  const [, digits, unit] = /^(\d*\.?\d+)([KMG]?)$/i.exec(text) ?? [];
  const value = Number(digits) * (UNITS[(unit ?? '').toUpperCase()] ?? 1);
  if (value > 0 && value <= BITS_PER_SECOND_MAX) return value;
  throw new InvalidArgumentError('It must be bits a second, such as 500K, 20M or 1G.');
}

function secondsOrNone(text: string): number {
  return text === '0' ? 0 : seconds(text);
}

const UNITS: Readonly<Record<string, number>> = { '': 1, K: 1e3, M: 1e6, G: 1e9 };
const MTUS: readonly MtuChoice[] = [512, 1_100, 1_200, 1_400, 1_472, 8_972, 'auto'];
/** From one look at the counters to the next, for the plots. */
const SAMPLE_SECONDS = 0.5;
/** As shells have it for SIGINT. */
const EXIT_INTERRUPTED = 130;

const HELP = `
First the idle path is measured with small datagrams, then how much it loses at a rate that fills no queue, then each size under load, with round
trips of its own before and meanwhile. Sizes are exact: one that does not arrive is told as such, and the largest that does is looked for. All is
counted where it arrives. At the end comes what to choose, and why. Ctrl-C prints what is known by then.

Examples:
  $ jsp bench link jsp://FINGERPRINT@host:4579
  $ jsp bench link URL --reverse --mtu 1200,1400 --seconds 10 --interval 1
  $ jsp bench link URL --rate 5M --mtu 1200             loss, jitter, one-way delay, as iperf3 -u -b 5M
  $ jsp bench link URL --bidir --congestion cubic,bbr --report link.html
`;
