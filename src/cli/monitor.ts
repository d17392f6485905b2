import { performance } from 'node:perf_hooks';
import { type Command, InvalidArgumentError } from 'commander';
import { printable } from '../base/errors.ts';
import {
  lineOf,
  MonitorView,
  PLAIN_STYLE,
  ProcessReader,
  type ProcessReport,
  reportOf,
  screenOf,
  tellingProcesses,
} from '../monitor/index.ts';
import { connect } from '../transport/connect.ts';
import { GOODBYE, seconds, wholeNumber } from './arguments.ts';
import { qlogOption } from './qlog-option.ts';
import { Screen, Waiter } from './screen.ts';
import { CommandError, coloursOf, note, onStopSignal, print, printJson } from './terminal.ts';

interface MonitorCommandOptions {
  pid?: number | true;
  interval: number;
  count: number;
  rate?: number;
  top: number;
  json?: boolean;
}

/** Where reports come from. */
interface ReportSource {
  readonly title: string;
  take(): Promise<ProcessReport>;
  close(): Promise<void>;
}

export function addMonitorCommand(program: Command): void {
  program
    .command('monitor')
    .description(
      'look at connections while they work: those of a process here, or one of its own to a server',
    )
    .argument('[url]', 'a server to connect to; what the link to it does is shown, as mtr does for a route')
    .option(
      '--pid [pid]',
      'a process of yours on this machine; without an id, lists those that can be watched',
      processId,
    )
    .option('--interval <seconds>', 'time from one look to the next', seconds, 1)
    .option('--count <n>', 'looks to take; 0: until you quit', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0)
    .option(
      '--rate <n>',
      'with a URL: probes a second, small packets that the server acknowledges',
      wholeNumber(1, 100),
    )
    .option(
      '--top <n>',
      'with --pid: connections to show, those with the most traffic',
      wholeNumber(1, 1_000),
      20,
    )
    .option('--json', 'print each look as a line of JSON')
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(monitor);
}

/**
 * @throws CommandError ERR_JSP_USAGE; JspError ERR_JSP_MONITOR of a process that cannot be watched, or what `connect` throws
 */
async function monitor(url: string | undefined, options: MonitorCommandOptions): Promise<void> {
  if ((url === undefined) === (options.pid === undefined))
    throw new CommandError('ERR_JSP_USAGE', 'monitor takes either the URL of a server or --pid');
  if (options.pid !== undefined && options.rate !== undefined)
    throw new CommandError('ERR_JSP_USAGE', 'only a connection of its own is probed: --rate goes with a URL');
  if (options.pid === true) return listProcesses();
  const source =
    url === undefined
      ? await processSource(options.pid as number, options.top)
      : await linkSource(url, options.rate);
  try {
    await watch(source, options);
  } finally {
    await source.close();
  }
}

/** Looks again and again, until there were enough, somebody quits, or there is nothing to look at any more. */
async function watch(source: ReportSource, options: MonitorCommandOptions): Promise<void> {
  const view = new MonitorView({ title: source.title, intervalSeconds: options.interval });
  const { stdin, stdout } = process;
  const isScreen = stdout.isTTY === true && !options.json;
  const waiter = new Waiter();
  const forget = onStopSignal(() => waiter.quit());
  const begun = performance.now();
  const output = isScreen ? screenFor(view, waiter) : null;
  try {
    view.take(await source.take()); // what the first look is compared with
    output?.draw();
    for (let looks = 0; options.count === 0 || looks < options.count; ) {
      await waiter.wait(view.intervalSeconds * 1_000);
      if (waiter.isOver) break;
      if (view.isPaused) continue;
      view.take(await source.take());
      looks++;
      if (output !== null) output.draw();
      else printLook(view, (performance.now() - begun) / 1_000, options);
    }
  } finally {
    forget();
    output?.restore();
    stdin.pause();
  }
}

function screenFor(view: MonitorView, waiter: Waiter): Screen {
  const style = process.env.NO_COLOR ? PLAIN_STYLE : coloursOf(process.stdout);
  return new Screen(
    (size) => screenOf(view, size, style),
    (key) => {
      const interval = view.intervalSeconds;
      if (view.press(key) === 'quit') waiter.quit();
      else if (view.intervalSeconds !== interval) waiter.wake();
    },
  );
}

function printLook(view: MonitorView, seconds: number, { json }: MonitorCommandOptions): void {
  if (json) {
    const connections = [...view.watched.values()].map(({ report, points }) => ({
      ...report,
      last: points.at(-1) ?? null,
    }));
    const look = { ...view.report, seconds, connections };
    printJson(look);
    return;
  }
  const lines = [...view.watched.values()].flatMap((watched) => {
    const point = watched.points.at(-1);
    return point === undefined ? [] : [lineOf(watched, point, seconds)];
  });
  if (lines.length === 0) lines.push(`${seconds.toFixed(1)} s  no connection is open`);
  print(lines.join('\n'));
}

/** A process of this machine. */
async function processSource(pid: number, top: number): Promise<ReportSource> {
  const reader = await ProcessReader.open(pid);
  try {
    const { name } = await reader.ask(0);
    return {
      title: `process ${pid} (${name})`,
      take: () => reader.ask(top),
      close: async () => reader.close(),
    };
  } catch (error) {
    reader.close();
    throw error;
  }
}

/** A connection of our own: heartbeats, which any server acknowledges, are what measures the link. */
async function linkSource(url: string, rate = PROBES_A_SECOND): Promise<ReportSource> {
  const connection = await connect(url, {
    heartbeatMs: Math.floor(1_000 / rate),
    heartbeatMisses: Math.min(PROBES_MISSED_MAX, PATIENCE_SECONDS * rate),
  });
  const { host, hostname } = new URL(url);
  const name = `link to ${hostname === '' ? host : host.slice(host.lastIndexOf('@') + 1)}`;
  return {
    title: name,
    take: async () => {
      if (!connection.isOpen)
        throw (
          (await connection.closed) ?? new CommandError('ERR_JSP_USAGE', 'the server closed the connection')
        );
      const report = reportOf(1, connection);
      const { bytesReceived, bytesSent } = report.metrics;
      return {
        pid: process.pid,
        name,
        atMs: performance.now(),
        connectionsOpen: 1,
        bytesSent,
        bytesReceived,
        connections: [report],
      };
    },
    close: () => connection.close(GOODBYE),
  };
}

async function listProcesses(): Promise<void> {
  const pids = tellingProcesses();
  if (pids.length === 0) {
    note(
      'No process of yours tells a monitor anything now. Programs do with JSP_MONITOR=1, or when they call serveMetrics(); jsp commands by themselves.',
    );
    process.exitCode = 1;
    return;
  }
  for (const pid of pids) print(await describe(pid));
  note('Watch one of them with: jsp monitor --pid PID');
}

async function describe(pid: number): Promise<string> {
  try {
    const reader = await ProcessReader.open(pid);
    const { name, connectionsOpen } = await reader.ask(0, LIST_ANSWER_MS).finally(() => reader.close());
    return `${String(pid).padStart(7)}  ${printable(name)}  ${connectionsOpen} connection${connectionsOpen === 1 ? '' : 's'}`;
  } catch (error) {
    return `${String(pid).padStart(7)}  (${(error as Error).message})`;
  }
}

function processId(text: string): number {
  const pid = Number(text);
  if (/^\d+$/.test(text) && pid > 0 && pid <= PID_MAX) return pid;
  throw new InvalidArgumentError('It must be the id of a process.');
}

const PROBES_A_SECOND = 5;
/** How long a link may be silent before the connection is given up, and how many probes may be lost in a row. */
const PATIENCE_SECONDS = 30;
const PROBES_MISSED_MAX = 100;
const LIST_ANSWER_MS = 1_000;
const PID_MAX = 4_194_304;

const HELP = `
With a URL it connects to the server (a broker, or any other of JetStreamProto) and sends five small probes a second, which the server's
transport acknowledges whatever it serves. With --pid it asks a process of yours on this machine: jsp commands tell by themselves, other programs
with JSP_MONITOR=1 or after serveMetrics(). Without an id it lists what can be watched.

On a terminal: q quit, p pause, + and - change the interval, arrows or 1-9 choose a connection, ? explains. Elsewhere each look is a line.

Examples:
  $ jsp monitor jsp://FINGERPRINT@game.example.org:4577
  $ jsp monitor "$(cat .jsp/url)" --rate 50 --interval 0.2
  $ jsp monitor --pid
  $ jsp monitor --pid 4711
  $ jsp monitor --pid 4711 --json --count 10 | jq '.connections[0].last'
`;
