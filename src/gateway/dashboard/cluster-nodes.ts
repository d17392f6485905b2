/** The nodes of the cluster that the broker is of, each with who is there and how far the engine behind is away; nothing where it is alone. */
import type { NodeReport, Snapshot } from '../../broker/operations/snapshot.ts';
import { foreign, h, show } from './dom.ts';
import { count, duration, ms } from './format.ts';
import { type Gateway, Problem } from './gateway.ts';
import { Pace } from './view.ts';

export class ClusterNodes {
  readonly element: HTMLElement;
  private readonly gateway: Gateway;
  private readonly pace = new Pace();
  private readonly title = h('h2', {}, 'Cluster');
  private readonly list = h('ul', { class: 'lines' });

  constructor(gateway: Gateway) {
    this.gateway = gateway;
    this.element = h('section', { class: 'card panel' }, this.title, this.list);
    this.element.hidden = true;
  }

  shown(): void {
    this.pace.hurry();
  }

  async update(snapshot: Snapshot | null): Promise<void> {
    this.element.hidden = (snapshot?.cluster ?? null) === null;
    if (this.element.hidden || !this.pace.isDue()) return;
    try {
      const { at, cluster, figures, nodes } = await this.gateway.ask('cluster', {});
      const state = figures?.connected === false ? ': cut off from the other nodes' : '';
      show(this.title, foreign(`Cluster ${cluster ?? ''}${state}`));
      this.title.className = state === '' ? '' : 'bad';
      this.show(nodes, at);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
    }
  }

  private show(nodes: readonly NodeReport[], now: number): void {
    const { list } = this;
    while (list.children.length > nodes.length) list.lastElementChild?.remove();
    nodes.forEach((node, i) => {
      const line = list.children[i] ?? list.appendChild(h('li', {}, h('span'), h('span', { class: 'name' })));
      line.className = node.draining ? 'warn' : '';
      show(line.children[0], foreign(node.node));
      show(line.children[1], foreign(sentenceOf(node, now)));
      (line as HTMLElement).title = foreign(node.urls.join('\n'));
    });
  }
}

function sentenceOf(
  { claims, clients, draining, isAsked, lagMs, sessions, startedAt }: NodeReport,
  now: number,
): string {
  const what = `${count(clients)} clients, ${count(sessions)} sessions, ${count(claims)} claims, ${ms(lagMs)} to store`;
  const where = isAsked ? ', this broker' : '';
  return `${what}, for ${duration(now - startedAt)}${where}${draining ? ', closing' : ''}`;
}
