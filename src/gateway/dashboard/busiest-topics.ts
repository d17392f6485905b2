/** The topics that the most messages go to, as bars; two views have them. */
import type { TopicFigures } from '../../broker/operations/snapshot.ts';
import { foreign, h, show } from './dom.ts';
import { bytes, count } from './format.ts';
import { type Gateway, Problem } from './gateway.ts';
import { Pace } from './view.ts';

export class BusiestTopics {
  readonly element = h('ol', { class: 'bars' });
  private readonly gateway: Gateway;
  private readonly limit: number;
  private readonly pace = new Pace();

  constructor(gateway: Gateway, limit: number) {
    this.gateway = gateway;
    this.limit = limit;
  }

  shown(): void {
    this.pace.hurry();
  }

  async update(): Promise<void> {
    if (!this.pace.isDue()) return;
    try {
      const { topics } = await this.gateway.ask('topics', { limit: this.limit });
      this.show(topics);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }

  /** Each with a bar as long as its rate. */
  private show(topics: readonly TopicFigures[]): void {
    const list = this.element;
    const most = Math.max(1e-9, ...topics.map(({ rate }) => rate));
    while (list.children.length > topics.length) list.lastElementChild?.remove();
    if (topics.length === 0) {
      list.replaceChildren(
        h(
          'li',
          { class: 'empty' },
          'Nothing is being published. ',
          h('a', { class: 'link', href: '#messages' }, 'Publish something'),
          '.',
        ),
      );
      return;
    }
    if (list.querySelector('.empty') !== null) list.replaceChildren();
    topics.forEach(({ bytesRate, rate, subscribers, topic }, i) => {
      const line =
        list.children[i] ??
        list.appendChild(
          h('li', {}, h('span', { class: 'bar' }), h('span', { class: 'name' }), h('b'), h('small')),
        );
      const [bar, name, figure, more] = line.children as unknown as HTMLElement[];
      bar.style.width = `${(100 * rate) / most}%`;
      show(name, foreign(topic));
      name.title = foreign(topic);
      show(figure, `${count(rate)}/s`);
      show(more, `${bytes(bytesRate)}/s to ${count(subscribers)}`);
    });
  }
}
