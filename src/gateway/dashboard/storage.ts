/** What is stored: the logs with their reach and their disk, and what the last start has found. */
import type { LogFigures, Snapshot } from '../../broker/operations/snapshot.ts';
import { recoveryFacts } from './broker-facts.ts';
import { foreign, h, show } from './dom.ts';
import { bytes, count, duration, NOTHING, whole } from './format.ts';
import type { Page, View } from './view.ts';

export class Storage implements View {
  readonly name = 'storage';
  readonly title = 'Storage';
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly disk = h('p', { class: 'summary' });
  private readonly body = h('tbody');
  private readonly rows = new Map<string, HTMLElement[]>();
  private readonly recovery = h('dl');
  private recoveryAt = -1;

  constructor(page: Page) {
    this.page = page;
    this.element = h(
      'div',
      { class: 'stack' },
      h(
        'section',
        {},
        h('h2', {}, 'Logs'),
        this.disk,
        h(
          'div',
          { class: 'scroll' },
          h(
            'table',
            { class: 'plain' },
            h(
              'thead',
              {},
              h('tr', {}, ...HEADS.map((title, i) => h('th', { class: i > 1 ? 'number' : '' }, title))),
            ),
            this.body,
          ),
        ),
      ),
      h('section', {}, h('h2', {}, 'The last start'), this.recovery),
    );
  }

  shown(): void {
    this.update();
  }

  hidden(): void {}

  update(): void {
    const { snapshot, status } = this.page;
    if (snapshot === null) return;
    show(this.disk, diskSentence(snapshot));
    const names = new Set(snapshot.logs.map(({ name }) => name));
    for (const [name, cells] of this.rows) {
      if (names.has(name)) continue;
      cells[0].parentElement?.remove();
      this.rows.delete(name);
    }
    for (const log of snapshot.logs) this.showLog(log, snapshot.at);
    if (status !== null && status.startedAt !== this.recoveryAt) {
      this.recoveryAt = status.startedAt;
      const entries = recoveryFacts(status.recovery);
      this.recovery.replaceChildren(
        ...entries.flatMap(([name, text]) => [h('dt', {}, name), h('dd', {}, foreign(text))]),
      );
    }
  }

  private showLog(log: LogFigures, now: number): void {
    let cells = this.rows.get(log.name);
    if (cells === undefined) {
      cells = HEADS.map((_, i) => h('td', { class: i > 1 ? 'number' : '' }));
      this.rows.set(log.name, cells);
      this.body.append(h('tr', {}, ...cells));
    }
    const { bytes: size, durable, earliest, head, lastSyncAt, oldestAt, segments, state, synced } = log;
    const texts = [
      foreign(log.name),
      durable ? state : `${state}, in memory`,
      bytes(size),
      whole(segments),
      count(head - earliest),
      `${whole(earliest)} – ${whole(Math.max(earliest, head - 1))}`,
      oldestAt === null ? NOTHING : duration(now - oldestAt),
      head > synced && durable ? count(head - synced) : '0',
      lastSyncAt === null ? NOTHING : `${duration(now - lastSyncAt)} ago`,
    ];
    texts.forEach((text, i) => {
      show(cells[i], text);
    });
    cells[1].className = state === 'open' ? '' : state === 'full' ? 'warn' : 'bad';
  }
}

function diskSentence({ freeBytes, logs, retained }: Snapshot): string {
  const used = logs.reduce((sum, log) => sum + log.bytes, 0);
  const free = freeBytes === null ? '' : `; the disk has ${bytes(freeBytes)} left`;
  return `${whole(logs.length)} logs take ${bytes(used)}${free}. ${whole(retained.messages)} last values take ${bytes(retained.bytes)} of memory.`;
}

const HEADS = [
  'Log',
  'State',
  'Size',
  'Segments',
  'Messages',
  'Offsets',
  'Reaches back',
  'Not on disk yet',
  'Last sync',
];
