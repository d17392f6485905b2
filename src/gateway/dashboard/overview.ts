/** The view that one leaves open: what flows, how fast, what waits, what is lost, who is there; and under it the topics, logs and events of now. */
import type { HistoryFigure, LogFigures, Snapshot } from '../../broker/operations/snapshot.ts';
import { BusiestTopics } from './busiest-topics.ts';
import { Chart, type ChartOptions } from './chart.ts';
import { ClusterNodes } from './cluster-nodes.ts';
import { foreign, h, show } from './dom.ts';
import { eventSentence, eventTone } from './event-list.ts';
import { bytes, count, duration, ms, percent, timeOfDay, whole } from './format.ts';
import { dropped } from './timeline.ts';
import type { Page, View } from './view.ts';

interface Plot {
  readonly chart: Chart;
  readonly figures: readonly HistoryFigure[];
  readonly note: (snapshot: Snapshot) => string;
  /** The same with all digits, for whoever points at it. */
  readonly exact?: ((snapshot: Snapshot) => string) | undefined;
}

export class Overview implements View {
  readonly name = 'overview';
  readonly title = 'Overview';
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly plots: readonly Plot[];
  private readonly topics: BusiestTopics;
  private readonly nodes: ClusterNodes;
  private readonly logs = h('ul', { class: 'lines' });
  private readonly events = h('ol', { class: 'lines' });

  constructor(page: Page) {
    this.page = page;
    this.topics = new BusiestTopics(page.gateway, TOPICS_SHOWN);
    this.nodes = new ClusterNodes(page.gateway);
    this.plots = PLOTS.map(({ exact, figures, note, ...options }) => ({
      chart: new Chart(options),
      exact,
      figures,
      note,
    }));
    const panel = (title: string, to: string, list: HTMLElement): HTMLElement =>
      h('section', { class: 'card panel' }, h('h2', {}, h('a', { href: `#${to}` }, title)), list);
    this.element = h(
      'div',
      {},
      h('div', { class: 'charts' }, ...this.plots.map(({ chart }) => chart.element)),
      h(
        'div',
        { class: 'panels' },
        panel('Busiest topics', 'topics', this.topics.element),
        panel('Logs', 'storage', this.logs),
        panel('Latest events', 'events', this.events),
        this.nodes.element,
      ),
    );
  }

  shown(): void {
    this.topics.shown();
    this.nodes.shown();
    this.update();
  }

  hidden(): void {}

  update(): void {
    const { snapshot, spanSeconds, timeline } = this.page;
    const from = timeline.since(spanSeconds);
    const at = timeline.at.slice(from);
    const to = at[at.length - 1] ?? Date.now() / 1_000;
    // Of a broker that has just begun there is no picture of what was before.
    const begin = Math.max(to - spanSeconds, Math.min(at[0] ?? to, to - SPAN_SECONDS_MIN));
    for (const { chart, exact, figures, note } of this.plots) {
      chart.update(
        at,
        figures.map((figure) => timeline.column(figure).slice(from)),
        begin,
        to,
      );
      const said = snapshot === null ? '' : note(snapshot);
      show(chart.note, said);
      chart.note.title = snapshot === null ? '' : (exact?.(snapshot) ?? said);
    }
    if (snapshot !== null) fill(this.logs, storeLines(snapshot));
    this.showEvents();
    void this.topics.update();
    void this.nodes.update(snapshot);
  }

  recolour(): void {
    for (const { chart } of this.plots) chart.recolour();
  }

  private showEvents(): void {
    if (!this.page.isKnown) return;
    const lines = this.page.events
      .slice(-EVENTS_SHOWN)
      .reverse()
      .map((event): Line => [timeOfDay(event.at), foreign(eventSentence(event)), eventTone(event)]);
    fill(this.events, lines.length === 0 ? [['', 'Nothing has happened yet.', 'empty']] : lines);
  }
}

type Line = readonly [left: string, text: string, tone: string];

function fill(list: HTMLElement, lines: readonly Line[]): void {
  while (list.children.length > lines.length) list.lastElementChild?.remove();
  lines.forEach(([left, text, tone], i) => {
    const line = list.children[i] ?? list.appendChild(h('li', {}, h('span'), h('span', { class: 'name' })));
    if (line.className !== tone) line.className = tone;
    show(line.children[0], left);
    show(line.children[1], text);
  });
}

function storeLines(snapshot: Snapshot): Line[] {
  const { freeBytes, logs, retained } = snapshot;
  const lines = logs.slice(0, LOGS_SHOWN).map((log) => logLine(log, snapshot.at));
  if (logs.length === 0) lines.push(['', 'No logs: nothing of QoS 1 has been published.', 'empty']);
  if (logs.length > LOGS_SHOWN) lines.push(['', `and ${logs.length - LOGS_SHOWN} more`, 'soft']);
  if (freeBytes !== null) lines.push(['disk', `${bytes(freeBytes)} left`, freeBytes < 1e9 ? 'warn' : '']);
  if (retained.messages > 0) {
    lines.push(['last values', `${count(retained.messages)}, ${bytes(retained.bytes)}`, '']);
  }
  return lines;
}

function logLine({ bytes: size, earliest, head, name, oldestAt, state }: LogFigures, now: number): Line {
  const age = oldestAt === null ? '' : `, ${duration(now - oldestAt)} back`;
  const tone = state === 'open' ? '' : state === 'full' ? 'warn' : 'bad';
  const what = state === 'open' ? '' : `${state}: `;
  return [foreign(name), `${what}${count(head - earliest)} messages, ${bytes(size)}${age}`, tone];
}

/** Why deliveries did not happen, the most frequent reason first. */
function dropReasons({ drops }: Snapshot): string {
  const reasons = Object.entries(drops)
    .filter(([reason, messages]) => messages > 0 && reason !== 'expired')
    .sort(([, a], [, b]) => b - a)
    .slice(0, 2)
    .map(([reason, messages]) => `${count(messages)} ${DROP_WORDS[reason] ?? reason}`);
  return reasons.length === 0 ? '' : ` (${reasons.join(', ')})`;
}

const DROP_WORDS: Readonly<Record<string, string>> = {
  oldest: 'oldest of full queues',
  newest: 'newest of full queues',
  superseded: 'by newer ones',
  retention: 'past retention',
  tooLarge: 'too large',
  compressed: 'compressed',
  rejected: 'rejected',
  discarded: 'of closed streams',
  unauthorized: 'not permitted',
};

const rate = (value: number): string => `${count(value)}/s`;
const bytesRate = (value: number): string => `${bytes(value)}/s`;

const PLOTS: readonly (ChartOptions & Omit<Plot, 'chart'>)[] = [
  {
    title: 'Messages',
    series: [
      { label: 'in', colour: 1, format: rate },
      { label: 'out', colour: 2, format: rate },
    ],
    axis: count,
    figures: ['in', 'out'],
    note: (of) => `${count(of.in.messages)} in, ${count(of.out.messages)} out since the start`,
    exact: (of) => `${whole(of.in.messages)} messages in, ${whole(of.out.messages)} out`,
  },
  {
    title: 'Bytes',
    series: [
      { label: 'in', colour: 1, format: bytesRate },
      { label: 'out', colour: 2, format: bytesRate },
    ],
    axis: bytes,
    atLeast: 100,
    figures: ['bytesIn', 'bytesOut'],
    note: (of) => `${bytes(of.in.bytes)} in, ${bytes(of.out.bytes)} out since the start`,
    exact: (of) => `${whole(of.in.bytes)} bytes in, ${whole(of.out.bytes)} out`,
  },
  {
    title: 'Publish to delivery',
    series: [
      { label: 'p50', colour: 3, format: ms },
      { label: 'p99', colour: 4, format: ms },
    ],
    axis: ms,
    atLeast: 0.2,
    figures: ['deliverP50', 'deliverP99'],
    note: ({ latency: { deliver } }) =>
      deliver.max === null ? 'nothing delivered just now' : `slowest of the last second ${ms(deliver.max)}`,
  },
  {
    title: 'Publish to disk',
    series: [
      { label: 'p50', colour: 3, format: ms },
      { label: 'p99', colour: 4, format: ms },
    ],
    axis: ms,
    atLeast: 0.2,
    figures: ['commitP50', 'commitP99'],
    note: ({ latency: { group }, stored }) =>
      group.p50 === null
        ? `${count(stored)} stored since the start`
        : `${count(group.p50)} messages a sync, ${count(stored)} stored`,
  },
  {
    title: 'Waiting',
    series: [
      { label: 'messages', colour: 5, format: count },
      { label: 'publishers stopped', colour: 6, format: count },
    ],
    axis: count,
    figures: ['queuedMessages', 'stopped'],
    note: ({ queues }) =>
      `${bytes(queues.bytes)} of ${bytes(queues.bytesMax)}, ${bytes(queues.transportBytes)} on the way out`,
  },
  {
    title: 'Not delivered',
    series: [
      { label: 'dropped', colour: 6, format: rate },
      { label: 'expired', colour: 7, format: rate },
      { label: 'dead letters', colour: 4, format: rate },
    ],
    axis: count,
    figures: ['drops', 'expired', 'deadLetters'],
    note: (of) => `${count(dropped(of))} dropped${dropReasons(of)}, ${count(of.deadLetters)} dead letters`,
  },
  {
    title: 'Clients',
    series: [
      { label: 'connected', colour: 1, format: count },
      { label: 'sessions away', colour: 7, format: count },
    ],
    axis: count,
    figures: ['clients', 'sessionsAway'],
    note: (of) =>
      `${count(of.subscriptions)} subscriptions, ${count(of.durables)} durable, ${count(of.unsettled)} unsettled`,
    exact: ({ http }) =>
      http === null
        ? 'No gateway runs in the process of this broker'
        : `By HTTP: ${whole(http.requests)} requests, ${whole(http.webSockets)} WebSockets, ${whole(http.eventStreams)} event streams`,
  },
  {
    title: 'Process',
    series: [
      { label: 'memory', colour: 5, format: bytes },
      { label: 'heap', colour: 1, format: bytes },
    ],
    axis: bytes,
    atLeast: 1e6,
    figures: ['rss', 'heap'],
    note: ({ cpu, loopDelay }) =>
      `CPU ${percent(cpu)} of a core${loopDelay.p99 === null ? '' : `, event loop p99 ${ms(loopDelay.p99)} late`}`,
  },
];

/** The shortest stretch of time that is shown. */
const SPAN_SECONDS_MIN = 60;
const LOGS_SHOWN = 6;
const EVENTS_SHOWN = 8;
const TOPICS_SHOWN = 8;
