/** What outlives connections: durable subscriptions with their lag, sessions, and the messages that were given up, which can be published again. */
import type { DeadLetterFigures, DurableFigures, SessionFigures } from '../../broker/operations/snapshot.ts';
import { confirm, facts } from './dialogs.ts';
import { foreign, h, show } from './dom.ts';
import { bytes, count, duration, NOTHING, timeOfDay, whole } from './format.ts';
import { Problem } from './gateway.ts';
import { preview } from './message.ts';
import { RemoteTable, type TableColumn } from './remote-table.ts';
import { Pace, type Page, type View } from './view.ts';

export class SubscriptionList implements View {
  readonly name = 'subscriptions';
  readonly title = 'Subscriptions';
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly durables: RemoteTable<DurableFigures>;
  private readonly sessions: RemoteTable<SessionFigures>;
  private readonly letters = h('tbody');
  private readonly lettersNote = h('p', { class: 'summary', role: 'status' });
  private readonly redriveAll: HTMLButtonElement;
  private readonly log: HTMLSelectElement;
  private readonly pace = new Pace();

  constructor(page: Page) {
    this.page = page;
    this.durables = new RemoteTable<DurableFigures>({
      label: 'Durable subscriptions',
      columns: DURABLES,
      source: (query) => page.gateway.ask('durables', query),
      sort: '-lag',
      empty: 'No durable subscriptions.',
      placeholder: 'Search durable subscriptions',
      onOpen: (of) => void facts(foreign(of.name), durableFacts(of, this.durables.at)),
    });
    this.sessions = new RemoteTable<SessionFigures>({
      label: 'Sessions',
      columns: SESSIONS,
      source: (query) => page.gateway.ask('sessions', query),
      sort: 'name',
      empty: 'No sessions with a name.',
      placeholder: 'Search sessions',
      onOpen: (of) => void facts(foreign(of.name), sessionFacts(of, this.sessions.at)),
    });
    this.redriveAll = h(
      'button',
      { type: 'button', hidden: true, on: { click: () => void this.redrive(null) } },
      'Publish all again',
    );
    this.log = h(
      'select',
      { 'aria-label': 'Log', hidden: true, on: { change: () => void this.showLetters() } },
      h('option', { value: LOG_DEFAULT }, LOG_DEFAULT),
    );
    const columns = ['When', 'Topic', 'From', 'Attempts', 'Reason', 'Message', ''];
    this.element = h(
      'div',
      { class: 'stack' },
      h('section', {}, h('h2', {}, 'Durable subscriptions'), this.durables.element),
      h('section', {}, h('h2', {}, 'Sessions'), this.sessions.element),
      h(
        'section',
        {},
        h('h2', {}, 'Dead letters'),
        h('div', { class: 'tools' }, this.log, this.lettersNote, this.redriveAll),
        h(
          'div',
          { class: 'scroll' },
          h(
            'table',
            { class: 'plain' },
            h('thead', {}, h('tr', {}, ...columns.map((title) => h('th', {}, title)))),
            this.letters,
          ),
        ),
      ),
    );
  }

  shown(): void {
    this.pace.hurry();
    this.update();
  }

  hidden(): void {}

  search(): void {
    this.durables.focusSearch();
  }

  update(): void {
    if (!this.pace.isDue()) return;
    void this.durables.refresh();
    void this.sessions.refresh();
    void this.showLetters();
  }

  private async showLetters(): Promise<void> {
    this.offerLogs();
    try {
      const { items, next } = await this.page.gateway.ask('dead-letters', {
        log: this.log.value,
        limit: LETTERS_SHOWN,
      });
      const count = `${whole(items.length)}${next === null ? '' : ' and more'}`;
      this.showItems(items, items.length === 0 ? 'None.' : count);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.showItems([], error.status === 404 ? 'None.' : foreign(error.message));
    }
  }

  private showItems(items: readonly DeadLetterFigures[], note: string): void {
    show(this.lettersNote, note);
    this.redriveAll.hidden = !items.some(({ certain }) => certain);
    const key = items.map(({ log, offset }) => `${log}:${offset}`).join();
    if (key === this.letters.dataset.key) return;
    this.letters.dataset.key = key;
    this.letters.replaceChildren(...items.map((letter) => this.letterRow(letter)));
  }

  /** Dead letters are in a log, as all messages of QoS 1. */
  private offerLogs(): void {
    const names = (this.page.snapshot?.logs ?? []).map(({ name }) => name);
    const known = [...this.log.options].map(({ value }) => value);
    this.log.hidden = names.length < 2;
    if (names.length === 0 || names.join('\n') === known.join('\n')) return;
    const chosen = this.log.value;
    this.log.replaceChildren(...names.map((name) => h('option', { value: name }, foreign(name))));
    this.log.value = names.includes(chosen) ? chosen : names.includes(LOG_DEFAULT) ? LOG_DEFAULT : names[0];
  }

  private letterRow(letter: DeadLetterFigures): HTMLElement {
    const again = h(
      'button',
      { type: 'button', on: { click: () => void this.redrive(letter) } },
      'Publish again',
    );
    const cells: (string | HTMLElement)[] = [
      timeOfDay(letter.at),
      foreign(letter.topic),
      letter.certain ? foreign(letter.originTopic) : `${foreign(letter.originTopic)} (claimed)`,
      whole(letter.attempts),
      foreign(letter.reason),
      `${letterPreview(letter)} (${bytes(letter.bytes)})`,
      again,
    ];
    return h('tr', {}, ...cells.map((cell) => h('td', {}, cell)));
  }

  /** One of them, or all that the broker itself has made. */
  private async redrive(letter: DeadLetterFigures | null): Promise<void> {
    const { gateway } = this.page;
    const question = questionOf(letter);
    if (question !== null && !(await confirm(...question))) return;
    try {
      const request =
        letter === null
          ? { log: this.log.value }
          : { log: letter.log, offsets: [letter.offset], ...(letter.certain ? {} : { force: true }) };
      const { failed, redriven } = await gateway.order('redrive', request);
      const trouble =
        failed.length === 0 ? '' : `; ${failed.length} could not be: ${foreign(failed[0].reason)}`;
      this.page.toast(`${whole(redriven)} published again${trouble}.`, failed.length === 0 ? 'good' : 'bad');
    } catch (error) {
      this.page.fail(error);
    }
    void this.showLetters();
  }
}

/** What is asked before dead letters are published again. */
function questionOf(letter: DeadLetterFigures | null): [string, string, string] | null {
  if (letter === null) {
    return [
      'Publish all dead letters again?',
      'Each goes to the topic where it was published at first. Whoever could not handle it gets it again.',
      'Publish all again',
    ];
  }
  if (letter.certain) return null;
  return [
    'Publish it again all the same?',
    `The broker has not made this dead letter: somebody has published it, and says that it came from ${foreign(letter.originTopic)}. It would go there in the name of the broker.`,
    'Publish it',
  ];
}

function letterPreview({ preview: base64 }: DeadLetterFigures): string {
  try {
    const data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return preview({ topic: '', at: 0, data, retained: false, properties: {} });
  } catch {
    return '';
  }
}

/** How far behind it is, as time where that is known. */
function lagAge({ lag, lagMs }: DurableFigures): string {
  if (lag === 0 || lagMs === 0) return '0 s';
  return lagMs === null ? NOTHING : duration(lagMs);
}

function trend({ lagChange }: DurableFigures): string {
  if (Math.abs(lagChange) < 0.5) return 'steady';
  return lagChange > 0 ? `▲ ${count(lagChange)}/s` : `▼ ${count(-lagChange)}/s`;
}

function durableFacts(of: DurableFigures, now: number): [string, string][] {
  return [
    ['Log', of.log],
    ['Subscribers', of.subscribers === 0 ? 'none: it keeps its place' : whole(of.subscribers)],
    ['Next message', `offset ${whole(of.position)}`],
    ['Behind', `${whole(of.lag)} messages, ${lagAge(of)}, ${trend(of)}`],
    ['Delivered, not settled', whole(of.unacked)],
    ['Not settled in all', whole(of.unsettled)],
    ['Delivered again', `${whole(of.redelivered)} since the start`],
    ['Next attempt', of.nextRetryAt === null ? 'nothing waits for one' : inTime(of.nextRetryAt - now)],
  ];
}

function sessionFacts(of: SessionFigures, now: number): [string, string][] {
  return [
    ['State', of.state === 'present' ? `present, as connection ${of.client ?? ''}` : 'away'],
    ['Whose', of.principal === '' ? 'nobody in particular' : of.principal],
    ['Kept for', of.expiryMs === null ? NOTHING : duration(of.expiryMs)],
    ['Over', of.expiresAt === null ? 'not while it is present' : inTime(of.expiresAt - now)],
    ['Subscriptions', whole(of.subscriptions)],
  ];
}

function inTime(left: number): string {
  return left > 0 ? `in ${duration(left)}` : 'now';
}

const DURABLES: readonly TableColumn<DurableFigures>[] = [
  { title: 'Name', text: ({ name }) => foreign(name), sort: 'name', width: 'minmax(140px, 2fr)' },
  { title: 'Log', text: ({ log }) => foreign(log), sort: 'log', width: 'minmax(80px, 1fr)' },
  {
    title: 'Subscribers',
    text: ({ subscribers }) => whole(subscribers),
    sort: 'subscribers',
    isNumber: true,
    width: '100px',
    tone: ({ lag, subscribers }) => (subscribers === 0 && lag > 0 ? 'warn' : ''),
  },
  {
    title: 'Lag',
    text: ({ lag }) => count(lag),
    sort: 'lag',
    largestFirst: true,
    isNumber: true,
    width: '90px',
  },
  { title: 'Behind', text: lagAge, isNumber: true, width: '100px' },
  {
    title: 'Trend',
    text: trend,
    isNumber: true,
    width: '100px',
    tone: ({ lagChange }) => (lagChange >= 0.5 ? 'warn' : ''),
  },
  {
    title: 'Unacked',
    text: ({ unacked }) => count(unacked),
    sort: 'unacked',
    largestFirst: true,
    isNumber: true,
    width: '90px',
  },
  {
    title: 'Redelivered',
    text: ({ redelivered }) => count(redelivered),
    sort: 'redelivered',
    largestFirst: true,
    isNumber: true,
    width: '100px',
  },
  {
    title: 'Next attempt',
    text: ({ nextRetryAt }, at) => (nextRetryAt === null ? NOTHING : inTime(nextRetryAt - at)),
    isNumber: true,
    width: '110px',
  },
];

const SESSIONS: readonly TableColumn<SessionFigures>[] = [
  { title: 'Name', text: ({ name }) => foreign(name), sort: 'name', width: 'minmax(140px, 2fr)' },
  {
    title: 'State',
    text: ({ state }) => state,
    sort: 'state',
    width: '90px',
    tone: ({ state }) => (state === 'away' ? 'soft' : ''),
  },
  {
    title: 'Whose',
    text: ({ principal }) => foreign(principal),
    width: 'minmax(100px, 1fr)',
  },
  {
    title: 'Subscriptions',
    text: ({ subscriptions }) => count(subscriptions),
    sort: 'subscriptions',
    largestFirst: true,
    isNumber: true,
    width: '110px',
  },
  {
    title: 'Over',
    text: ({ expiresAt }, at) => (expiresAt === null ? NOTHING : inTime(expiresAt - at)),
    isNumber: true,
    width: '110px',
  },
];

const LETTERS_SHOWN = 50;
const LOG_DEFAULT = 'default';
