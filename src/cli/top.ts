/** `jsp top`: a broker while it works, on a terminal; elsewhere a line for each look. */

import type { Command } from 'commander';
import { whole } from '../bench/figures.ts';
import type { AdminVerbs, History, HistoryFigure, Snapshot } from '../broker/operations/snapshot.ts';
import { seconds, wholeNumber } from './arguments.ts';
import { age, clientTable, durableTable, topicTable } from './lists.ts';
import { Operator, type OperatorOptions, withOperatorOptions } from './operator.ts';
import { Screen, Waiter } from './screen.ts';
import { type Colours, coloursOf, onStopSignal, print, printJson } from './terminal.ts';

interface TopOptions extends OperatorOptions {
  interval: number;
  count: number;
}

/** What one look has brought. */
interface Look {
  readonly now: Snapshot;
  readonly history: History;
  readonly clients: AdminVerbs['clients']['answer'];
  readonly durables: AdminVerbs['durables']['answer'];
  readonly topics: AdminVerbs['topics']['answer'];
}

export function addTopCommand(program: Command): void {
  const command = program
    .command('top')
    .description('watch a broker: rates, latencies, queues, and who has the most of each')
    .option('--interval <seconds>', 'time from one look to the next', seconds, 1)
    .option('--count <n>', 'looks to take; 0: until you quit', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0);
  withOperatorOptions(command, 'print each look as a line of JSON').addHelpText('after', HELP).action(top);
}

async function top(options: TopOptions): Promise<void> {
  const { interval, count, json } = options;
  const operator = await Operator.connect(options);
  const view = new TopView();
  const waiter = new Waiter();
  const forget = onStopSignal(() => waiter.quit());
  let screen: Screen | null = null;
  try {
    view.look = await lookWith(operator, view);
    if (process.stdout.isTTY === true && !json) {
      const style = coloursOf(process.stdout);
      screen = new Screen(
        (size) => view.linesOf(size, style),
        (key) => {
          if (key === 'q' || key === '\x03') waiter.quit();
          else if (view.press(key)) waiter.wake();
        },
      );
      screen.draw();
    }
    for (let looks = 0; count === 0 || looks < count; looks++) {
      await waiter.wait(interval * 1_000);
      if (waiter.isOver) break;
      view.look = await lookWith(operator, view);
      if (screen !== null) screen.draw();
      else if (json) printJson(view.look);
      else print(lineOf(view.look));
    }
  } finally {
    forget();
    screen?.restore();
    process.stdin.pause();
    await operator.close();
  }
}

async function lookWith(operator: Operator, { clientSort }: TopView): Promise<Look> {
  const [now, history, clients, durables, topics] = await Promise.all([
    operator.ask('metrics', {}),
    operator.ask('history', { seconds: HISTORY_S }),
    operator.ask('clients', { sort: clientSort, limit: CLIENTS }),
    operator.ask('durables', { sort: '-lag', limit: DURABLES }),
    operator.ask('topics', { limit: TOPICS }),
  ]);
  return { now, history, clients, durables, topics };
}

/** For pipes and files: one line a look. */
export function lineOf({ now, history }: Look): string {
  const rate = (figure: HistoryFigure) => whole(history.columns[figure].at(-1) ?? 0);
  const { deliver, commit } = now.latency;
  return [
    new Date(now.at).toISOString().slice(11, 19),
    now.state,
    `in ${rate('in')}/s`,
    `out ${rate('out')}/s`,
    `deliver p99 ${ms(deliver.p99)}`,
    `commit p99 ${ms(commit.p99)}`,
    `queued ${whole(now.queues.messages)}`,
    `drops ${rate('drops')}/s`,
    `clients ${whole(now.clients)}`,
  ].join('  ');
}

export class TopView {
  look: Look | null = null;
  clientSort: string = SORTS[0].sort;
  private sortIndex = 0;

  /** True: something else is to be asked for. */
  press(key: string): boolean {
    if (key !== 's') return false;
    this.sortIndex = (this.sortIndex + 1) % SORTS.length;
    this.clientSort = SORTS[this.sortIndex].sort;
    return true;
  }

  linesOf({ columns, rows }: { columns: number; rows: number }, style: Colours): string[] {
    if (this.look === null) return [];
    const { now, history, clients, durables, topics } = this.look;
    const { bold, dim } = style;
    const section = (title: string, table: string): string[] => {
      const [header, ...body] = table.split('\n');
      return body.length === 0 ? [] : ['', dim(title), bold(header), ...body];
    };
    const lines = [
      ...headOf(now, history, columns, style),
      ...section(
        `clients by ${SORTS[this.sortIndex].name} (${whole(clients.total)})`,
        clientTable(clients.items),
      ),
      ...section(
        `durable subscriptions by lag (${whole(durables.total)})`,
        durableTable(durables.items, durables.at),
      ),
      ...section('topics', topicTable(topics.topics)),
    ];
    const foot = dim('q quit   s sort clients');
    const shown = lines.slice(0, Math.max(1, rows - 1)).map((line) => cut(line, columns));
    return [...shown, ...Array(Math.max(0, rows - 1 - shown.length)).fill(''), foot];
  }
}

function headOf(
  now: Snapshot,
  history: History,
  columns: number,
  { bold, dim, red, yellow }: Colours,
): string[] {
  const { columns: past } = history;
  const width = Math.max(10, Math.min(HISTORY_S, columns - 46));
  const state =
    now.state === 'ready' ? bold(now.state) : now.state === 'draining' ? yellow(now.state) : red(now.state);
  const rate = (figure: HistoryFigure) => past[figure].at(-1) ?? 0;
  const spark = (figure: HistoryFigure) => sparkline(past[figure].slice(-width));
  const { deliver, commit, group } = now.latency;
  const figure = (name: string, text: string) => `${dim(name.padEnd(9))} ${text}`;
  const dropped = rate('drops') > 0 ? yellow(`${whole(rate('drops'))}/s`) : '0/s';
  const stopped = now.queues.stopped > 0 ? yellow(whole(now.queues.stopped)) : '0';
  return [
    `${state}  up ${age(now.at - now.startedAt)}  clients ${whole(now.clients)}  sessions away ${whole(now.sessionsAway)}  subscriptions ${whole(now.subscriptions)}  cpu ${(now.cpu * 100).toFixed(0)} %  memory ${bytes(now.memory.rss)}`,
    figure(
      'in',
      `${`${whole(rate('in'))}/s`.padEnd(14)} ${`${bytes(rate('bytesIn'))}/s`.padEnd(12)} ${spark('in')}`,
    ),
    figure(
      'out',
      `${`${whole(rate('out'))}/s`.padEnd(14)} ${`${bytes(rate('bytesOut'))}/s`.padEnd(12)} ${spark('out')}`,
    ),
    figure(
      'deliver',
      `p50 ${ms(deliver.p50).padEnd(10)} p99 ${ms(deliver.p99).padEnd(10)}  ${spark('deliverP99')}`,
    ),
    figure(
      'commit',
      `p50 ${ms(commit.p50).padEnd(10)} p99 ${ms(commit.p99).padEnd(10)}  ${spark('commitP99')}  ${dim(`group ${group.p50 ?? '-'}`)}`,
    ),
    figure(
      'queues',
      `${whole(now.queues.messages)} messages, ${bytes(now.queues.bytes)}   stopped ${stopped}   drops ${dropped}   unsettled ${whole(now.unsettled)}   dead letters ${whole(now.deadLetters)}`,
    ),
  ];
}

/** Values as bars of a character each, on a scale of their own; where nothing is known there is none. */
export function sparkline(values: readonly (number | null)[]): string {
  const most = Math.max(0, ...values.map((value) => value ?? 0));
  return values
    .map((value) => {
      if (value === null) return ' ';
      return most === 0
        ? BARS[0]
        : BARS[Math.min(BARS.length - 1, Math.round((value / most) * (BARS.length - 1)))];
    })
    .join('');
}

function ms(value: number | null): string {
  if (value === null) return '-';
  return value < 10 ? `${value.toFixed(2)} ms` : `${whole(value)} ms`;
}

function bytes(value: number): string {
  const power = value < 1_000 ? 0 : Math.min(4, Math.floor(Math.log10(value) / 3));
  const scaled = value / 1_000 ** power;
  return `${power === 0 || scaled >= 100 ? Math.round(scaled) : scaled.toFixed(1)} ${['B', 'kB', 'MB', 'GB', 'TB'][power]}`;
}

/** A line that fits, with its styles, which take no place. */
function cut(line: string, columns: number): string {
  let left = columns;
  let out = '';
  for (const [part, styling] of line.matchAll(ESCAPES_AND_TEXT)) {
    if (styling !== undefined) out += styling;
    else {
      out += part.slice(0, Math.max(0, left));
      left -= part.length;
    }
  }
  return out;
}

const BARS = '▁▂▃▄▅▆▇█';
// biome-ignore lint/suspicious/noControlCharactersInRegex: styles begin with one
const ESCAPES_AND_TEXT = /(\x1b\[\d+m)|[^\x1b]+/g;
const HISTORY_S = 60;
const CLIENTS = 15;
const DURABLES = 8;
const TOPICS = 8;
const SORTS = [
  { sort: '-rateOut', name: 'what they are sent' },
  { sort: '-rateIn', name: 'what they send' },
  { sort: '-queuedBytes', name: 'what waits for them' },
] as const satisfies readonly { sort: string; name: string }[];

const HELP = `
Rates are those of the last second, latencies those from when the broker takes a message to when it hands it to the transport of a subscriber (deliver), and to when it is on the
disk (commit). The bars are the last minute, each row on a scale of its own.

Examples:
  $ jsp top
  $ jsp top --count 10 | tee top.log
  $ jsp top --json --interval 10 | jq '.now.queues'
`;
