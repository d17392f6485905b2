/** Live messages of a filter as they come, at most so many a second as one can look at; and a form that publishes one. */
import { opened } from './dialogs.ts';
import { foreign, h, show } from './dom.ts';
import type { ServerEvent } from './event-stream.ts';
import { bytes, count, hexDump, timeOfDay, whole } from './format.ts';
import type { Receipt } from './gateway.ts';
import { LiveStream } from './live.ts';
import { type LiveMessage, messageOf, preview, textOf } from './message.ts';
import type { Page, View } from './view.ts';

export class Messages implements View {
  readonly name = 'messages';
  readonly title = 'Messages';
  readonly element: HTMLElement;
  private readonly page: Page;
  private readonly filter: HTMLInputElement;
  private readonly start: HTMLButtonElement;
  private readonly pause: HTMLButtonElement;
  private readonly summary = h('p', { class: 'summary', role: 'status' }, 'Not watching.');
  private readonly list = h('ol', {
    class: 'log tail',
    'aria-label': 'Messages, newest first',
    tabindex: '0',
  });
  private stream: LiveStream | null = null;
  private paused = false;
  private came = 0;
  private skipped = 0;
  /** Messages that may still be shown in this second. */
  private allowance = SHOWN_PER_SECOND;
  private waiting: HTMLElement[] = [];
  private frame = 0;

  constructor(page: Page) {
    this.page = page;
    this.filter = h('input', {
      id: 'tail-filter',
      value: '#',
      autocomplete: 'off',
      spellcheck: 'false',
      class: 'search',
      'aria-label': 'Filter of topics, such as sensors/+/temperature or #',
    });
    this.start = h('button', { type: 'submit', class: 'main' }, 'Watch');
    this.pause = h(
      'button',
      { type: 'button', disabled: true, on: { click: () => this.togglePause() } },
      'Pause',
    );
    const tail = h(
      'section',
      { class: 'table' },
      h(
        'form',
        {
          class: 'tools',
          on: {
            submit: (event) => {
              event.preventDefault();
              if (this.stream === null) this.watch();
              else this.stop('Stopped.');
            },
          },
        },
        this.filter,
        this.start,
        this.pause,
        this.summary,
      ),
      this.list,
    );
    this.list.append(h('li', { class: 'empty' }, EMPTY));
    this.element = h('div', { class: 'split' }, tail, publishForm(page));
  }

  shown(): void {}

  /** Nobody looks: nothing is watched. */
  hidden(): void {
    if (this.stream !== null) this.stop('Stopped, because another view was opened.');
  }

  search(): void {
    this.filter.focus();
    this.filter.select();
  }

  key(key: string): boolean {
    if (key !== 'p' || this.stream === null) return false;
    this.togglePause();
    return true;
  }

  update(): void {
    this.allowance = SHOWN_PER_SECOND;
    if (this.stream !== null) this.tell();
  }

  private watch(): void {
    const filter = this.filter.value.trim();
    if (filter === '') return;
    this.came = 0;
    this.skipped = 0;
    this.list.replaceChildren();
    show(this.start, 'Stop');
    this.pause.disabled = false;
    this.stream = new LiveStream(this.page.gateway, [filter], {
      onEvent: (event) => this.take(event),
      onState: (state) => {
        if (state.name === 'waiting') show(this.summary, foreign(`${state.why} Watching again soon.`));
        else if (state.name === 'refused') this.stop(state.problem.message);
        else if (state.name === 'open') this.tell();
      },
    });
  }

  private stop(why: string): void {
    this.stream?.close();
    this.stream = null;
    this.paused = false;
    show(this.start, 'Watch');
    show(this.pause, 'Pause');
    this.pause.disabled = true;
    show(this.summary, foreign(why));
  }

  private togglePause(): void {
    this.paused = !this.paused;
    show(this.pause, this.paused ? 'Go on' : 'Pause');
    this.tell();
  }

  private take(event: ServerEvent): void {
    if (event.event !== 'message') return;
    this.came++;
    if (this.paused || this.allowance <= 0) {
      this.skipped++;
      return;
    }
    const message = messageOf(event);
    if (message === null) return;
    this.allowance--;
    this.waiting.push(lineOf(message));
    if (this.frame === 0) this.frame = requestAnimationFrame(() => this.flush());
  }

  /** Shows what came since the last picture, newest first. */
  private flush(): void {
    this.frame = 0;
    const isAtTop = this.list.scrollTop < 4;
    const before = this.list.scrollHeight;
    this.list.prepend(...this.waiting.reverse());
    this.waiting = [];
    while (this.list.children.length > LINES_MAX) this.list.lastElementChild?.remove();
    // Who reads further down keeps the lines in sight.
    if (!isAtTop) this.list.scrollTop += this.list.scrollHeight - before;
    this.tell();
  }

  private tell(): void {
    const skipped = this.skipped === 0 ? '' : `, ${whole(this.skipped)} not shown`;
    const state = this.paused ? 'Paused' : 'Watching';
    show(this.summary, `${state}: ${whole(this.came)} came${skipped}.`);
  }
}

function lineOf(message: LiveMessage): HTMLElement {
  const { data, retained, topic } = message;
  const open = (): void => showMessage(message);
  return h(
    'li',
    {},
    h('time', {}, timeOfDay(message.at)),
    h(
      'button',
      { type: 'button', class: 'name topic', title: 'The whole message', on: { click: open } },
      foreign(topic),
    ),
    retained ? h('span', { class: 'tag' }, 'retained') : null,
    h('span', { class: 'payload' }, preview(message)),
    h('small', {}, bytes(data.length)),
  );
}

function showMessage(message: LiveMessage): void {
  const { data, properties, topic } = message;
  const text = textOf(message);
  const content = h('pre', { tabindex: '0' }, text ?? hexDump(data.subarray(0, HEX_BYTES_MAX)));
  const toggle = h('button', { type: 'button' }, 'As hex');
  let isHex = text === null;
  toggle.hidden = isHex;
  toggle.addEventListener('click', () => {
    isHex = !isHex;
    show(toggle, isHex ? 'As text' : 'As hex');
    show(content, isHex ? hexDump(data.subarray(0, HEX_BYTES_MAX)) : (text ?? ''));
  });
  const list = Object.entries(properties).flatMap(([name, value]) => [
    h('dt', {}, foreign(name)),
    h('dd', {}, foreign(value)),
  ]);
  opened(
    foreign(topic),
    [h('dl', {}, h('dt', {}, 'Size'), h('dd', {}, `${whole(data.length)} bytes`), ...list), content],
    [toggle],
  );
}

/** The form that publishes: what is typed stays, so that it can go again. */
function publishForm(page: Page): HTMLElement {
  const topic = h('input', {
    id: 'publish-topic',
    required: true,
    autocomplete: 'off',
    spellcheck: 'false',
    placeholder: 'sensors/kitchen/temperature',
  });
  const payload = h('textarea', {
    id: 'publish-payload',
    rows: '6',
    spellcheck: 'false',
    placeholder: '21.5',
  });
  const qos = h(
    'select',
    { id: 'publish-qos' },
    h('option', { value: '1' }, '1: stored'),
    h('option', { value: '0' }, '0: at most once'),
  );
  const type = h(
    'select',
    { id: 'publish-type' },
    h('option', { value: 'text/plain; charset=utf-8' }, 'Text'),
    h('option', { value: 'application/json' }, 'JSON'),
  );
  const ttl = h('input', {
    id: 'publish-ttl',
    autocomplete: 'off',
    placeholder: 'for ever',
    pattern: '\\d+(ms|s|m|h|d)?',
    title: 'Such as 500ms, 30s or 2h',
  });
  const retain = h('input', { id: 'publish-retain', type: 'checkbox' });
  const result = h('p', { class: 'result', role: 'status' });
  const send = h('button', { type: 'submit', class: 'main', title: 'Ctrl+Enter' }, 'Publish');
  const publish = async (): Promise<void> => {
    send.disabled = true;
    try {
      const receipt = await page.gateway.publish({
        topic: topic.value,
        payload: payload.value,
        contentType: type.value,
        qos: qos.value === '1' ? 1 : 0,
        retain: retain.checked,
        ttl: ttl.value.trim(),
      });
      result.className = 'result good';
      show(result, `${timeOfDay(Date.now())} ${receiptSentence(receipt)}`);
    } catch (error) {
      result.className = 'result bad';
      show(result, foreign(error instanceof Error ? error.message : String(error)));
    } finally {
      send.disabled = false;
    }
  };
  const field = (label: string, control: HTMLElement): HTMLElement =>
    h('div', { class: 'field' }, h('label', { for: control.id }, label), control);
  const form = h(
    'form',
    {
      class: 'card publish',
      on: {
        submit: (event) => {
          event.preventDefault();
          void publish();
        },
        keydown: (event) => {
          const { ctrlKey, key, metaKey } = event as KeyboardEvent;
          if (key === 'Enter' && (ctrlKey || metaKey)) form.requestSubmit();
        },
      },
    },
    h('h2', {}, 'Publish'),
    field('Topic', topic),
    field('Message', payload),
    h('div', { class: 'fields' }, field('Quality', qos), field('As', type), field('Lives', ttl)),
    h('label', { class: 'check' }, retain, ' also keep it as the last value of its topic'),
    h('div', { class: 'actions' }, result, h('span', { class: 'spring' }), send),
  );
  return form;
}

function receiptSentence({ duplicate, offset, result, subscribers }: Receipt): string {
  const to =
    subscribers === undefined
      ? ''
      : subscribers === 1
        ? ', to one subscriber'
        : `, to ${count(subscribers)} subscribers`;
  if (duplicate === true) return 'It had been stored before.';
  const where = result === 'inMemory' ? 'In memory' : 'Stored';
  if (offset !== undefined) return `${where} at offset ${whole(offset)}${to}.`;
  if (result === 'noSubscriber') return 'Taken; nobody is subscribed.';
  return `Taken${to}.`;
}

/** As many as somebody may look at, and what the list keeps. */
const SHOWN_PER_SECOND = 50;
const LINES_MAX = 200;
const HEX_BYTES_MAX = 4_096;
const EMPTY =
  'Messages of the filter appear here as they come: # for all, + for any one level. What you may not read does not come.';
