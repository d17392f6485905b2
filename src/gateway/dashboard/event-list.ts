/** What has happened, as sentences; and the view of it, which can be searched. */
import type { EventRecord } from '../../broker/operations/snapshot.ts';
import { foreign, h, show } from './dom.ts';
import { timeOfDay } from './format.ts';
import type { Page, View } from './view.ts';

/** An event in words. */
export function eventSentence({ address, detail, door, principal, what }: EventRecord): string {
  const who = principal === '' ? '' : ` “${principal}”`;
  const where = address === '' ? '' : ` (${door === '' ? '' : `${door}, `}${address})`;
  return `${words(what)}${who}${where}${detail === '' ? '' : `: ${detail}`}`;
}

/** How an event is to be taken. */
export function eventTone({ what }: EventRecord): string {
  const name = what.toLowerCase();
  if (BAD.some((part) => name.includes(part))) return 'bad';
  return WARN.some((part) => name.includes(part)) ? 'warn' : '';
}

export class EventList implements View {
  readonly name = 'events';
  readonly title = 'Events';
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly field: HTMLInputElement;
  private readonly kind: HTMLSelectElement;
  private readonly list = h('ol', { class: 'log', 'aria-label': 'Events, newest first', tabindex: '0' });
  private readonly summary = h('p', { class: 'summary', role: 'status' });
  private shownKey = '';

  constructor(page: Page) {
    this.page = page;
    const changed = (): void => this.update();
    this.field = h('input', {
      type: 'search',
      class: 'search',
      placeholder: 'Search events',
      'aria-label': 'Search events',
      autocomplete: 'off',
      spellcheck: 'false',
      on: { input: changed },
    });
    this.kind = h(
      'select',
      { 'aria-label': 'Kind of events', on: { change: changed } },
      h('option', { value: '' }, 'All kinds'),
    );
    this.element = h(
      'div',
      { class: 'table' },
      h('div', { class: 'tools' }, this.field, this.kind, this.summary),
      this.list,
    );
  }

  shown(): void {
    this.update();
  }

  hidden(): void {}

  search(): void {
    this.field.focus();
  }

  update(): void {
    const { events } = this.page;
    this.offerKinds();
    const wanted = this.field.value.trim().toLowerCase();
    const kind = this.kind.value;
    const matching = events.filter(
      (event) =>
        (kind === '' || event.what === kind) &&
        (wanted === '' || eventSentence(event).toLowerCase().includes(wanted)),
    );
    show(
      this.summary,
      matching.length === events.length ? `${events.length}` : `${matching.length} of ${events.length}`,
    );
    const seen = matching.slice(-LINES_SHOWN).reverse();
    const key = `${seen.length} ${seen[0]?.number} ${wanted} ${kind}`;
    if (key === this.shownKey) return;
    this.shownKey = key;
    this.list.replaceChildren(...seen.map(lineOf));
    if (seen.length === 0)
      this.list.append(
        h('li', { class: 'empty' }, events.length === 0 ? 'Nothing has happened yet.' : 'Nothing matches.'),
      );
  }

  private offerKinds(): void {
    const known = new Set([...this.kind.options].map(({ value }) => value));
    for (const { what } of this.page.events) {
      if (known.has(what) || known.size > KINDS_MAX) continue;
      known.add(what);
      this.kind.append(h('option', { value: what }, words(foreign(what))));
    }
  }
}

function lineOf(event: EventRecord): HTMLElement {
  const time = h(
    'time',
    { datetime: new Date(event.at).toISOString(), title: new Date(event.at).toString() },
    timeOfDay(event.at),
  );
  return h(
    'li',
    { class: eventTone(event) },
    time,
    h('span', { class: 'name' }, foreign(eventSentence(event))),
  );
}

/** `storeFailed` as words: “Store failed”. */
function words(what: string): string {
  const spaced = what
    .replace(/[-_]/g, ' ')
    .replace(/([a-z])([A-Z])/g, '$1 $2')
    .toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

const BAD = ['fail', 'refused', 'denied', 'error', 'corrupt', 'readonly'];
const WARN = ['limited', 'revoked', 'kicked', 'expired', 'draining', 'takeover', 'stalled', 'full'];
const LINES_SHOWN = 300;
const KINDS_MAX = 50;
