/** Topics: those that the most messages go to, and the tree of the last values that are kept. */
import { BusiestTopics } from './busiest-topics.ts';
import { opened } from './dialogs.ts';
import { foreign, h, show } from './dom.ts';
import type { ServerEvent } from './event-stream.ts';
import { bytes, hexDump, whole } from './format.ts';
import { LiveStream } from './live.ts';
import { type LiveMessage, messageOf, preview, textOf } from './message.ts';
import type { Page, View } from './view.ts';

export class TopicList implements View {
  readonly name = 'topics';
  readonly title = 'Topics';
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly busiest: BusiestTopics;
  private readonly filter: HTMLInputElement;
  private readonly summary = h('p', { class: 'summary', role: 'status' });
  private readonly tree = h('ul', { class: 'tree', 'aria-label': 'Last values by topic' });
  private stream: LiveStream | null = null;
  private values = new Map<string, LiveMessage>();
  private quiet = 0;

  constructor(page: Page) {
    this.page = page;
    this.busiest = new BusiestTopics(page.gateway, TOPICS_SHOWN);
    this.filter = h('input', {
      value: '#',
      class: 'search',
      autocomplete: 'off',
      spellcheck: 'false',
      'aria-label': 'Filter of topics whose last values are shown',
    });
    const form = h(
      'form',
      {
        class: 'tools',
        on: {
          submit: (event) => {
            event.preventDefault();
            this.load();
          },
        },
      },
      this.filter,
      h('button', { type: 'submit', class: 'main' }, 'Show'),
      this.summary,
    );
    this.element = h(
      'div',
      { class: 'split even' },
      h('section', { class: 'card panel' }, h('h2', {}, 'Busiest topics'), this.busiest.element),
      h('section', { class: 'card panel' }, h('h2', {}, 'Last values'), form, this.tree),
    );
  }

  shown(): void {
    this.busiest.shown();
    this.update();
    this.load();
  }

  hidden(): void {
    this.finish();
  }

  search(): void {
    this.filter.focus();
    this.filter.select();
  }

  update(): void {
    void this.busiest.update();
  }

  /** Subscribes for as long as last values come, which is the way for whoever may read them. */
  private load(): void {
    this.finish();
    const filter = this.filter.value.trim();
    if (filter === '') return;
    this.values = new Map();
    show(this.summary, 'Looking …');
    this.waitForMore();
    this.stream = new LiveStream(this.page.gateway, [filter], {
      onEvent: (event) => this.take(event),
      onState: (state) => {
        if (state.name !== 'refused') return;
        this.finish();
        show(this.summary, foreign(state.problem.message));
      },
    });
  }

  private take(event: ServerEvent): void {
    const message = event.event === 'message' ? messageOf(event) : null;
    if (message === null || !message.retained) return;
    this.values.set(message.topic, message);
    if (this.values.size >= VALUES_MAX) this.finish();
    else this.waitForMore();
  }

  private waitForMore(): void {
    clearTimeout(this.quiet);
    this.quiet = window.setTimeout(() => this.finish(), QUIET_MS);
  }

  private finish(): void {
    clearTimeout(this.quiet);
    if (this.stream === null) return;
    this.stream.close();
    this.stream = null;
    const { size } = this.values;
    const rest = size >= VALUES_MAX ? ', and more: narrow the filter' : '';
    show(
      this.summary,
      size === 0 ? 'No last values.' : `${whole(size)} value${size === 1 ? '' : 's'}${rest}`,
    );
    this.tree.replaceChildren(...branches(this.values));
  }
}

interface Branch {
  readonly children: Map<string, Branch>;
  value: LiveMessage | null;
  count: number;
}

/** Topics by their levels, each level that can be opened; the first ones open where there are few. */
function branches(values: ReadonlyMap<string, LiveMessage>): HTMLElement[] {
  const root: Branch = { children: new Map(), value: null, count: 0 };
  for (const [topic, message] of [...values].sort(([a], [b]) => (a < b ? -1 : 1))) {
    let branch = root;
    for (const level of topic.split('/')) {
      let next = branch.children.get(level);
      if (next === undefined) {
        next = { children: new Map(), value: null, count: 0 };
        branch.children.set(level, next);
      }
      next.count++;
      branch = next;
    }
    branch.value = message;
  }
  const isOpen = values.size <= OPEN_MAX;
  return [...root.children].map(([level, branch]) => branchElement(level, branch, isOpen));
}

function branchElement(level: string, branch: Branch, isOpen: boolean): HTMLElement {
  const { children, value } = branch;
  const name = h('span', { class: 'level' }, level === '' ? '(empty)' : foreign(level));
  const leaf = value === null ? null : valueButton(value);
  if (children.size === 0) return h('li', { class: 'leaf' }, name, leaf);
  const list = h('ul');
  // What is not open is made when it is opened.
  const make = (): void => {
    if (list.children.length > 0) return;
    list.append(...[...children].map(([next, below]) => branchElement(next, below, isOpen)));
  };
  if (isOpen) make();
  const details = h(
    'details',
    { open: isOpen, on: { toggle: make } },
    h('summary', {}, name, h('small', {}, whole(branch.count)), leaf),
    list,
  );
  return h('li', {}, details);
}

function valueButton(message: LiveMessage): HTMLElement {
  const open = (): void => {
    const text = textOf(message) ?? hexDump(message.data.subarray(0, 4_096));
    opened(foreign(message.topic), [h('pre', { tabindex: '0' }, text)]);
  };
  return h(
    'button',
    {
      type: 'button',
      class: 'value',
      title: `${bytes(message.data.length)}: the whole value`,
      on: { click: open },
    },
    preview(message) || '(empty)',
  );
}

const TOPICS_SHOWN = 30;
const VALUES_MAX = 2_000;
const OPEN_MAX = 60;
/** When nothing has come for so long, those were all. */
const QUIET_MS = 700;
