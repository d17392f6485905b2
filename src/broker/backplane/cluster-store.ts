/** What the core of a node stands on: the logs of its cluster, and the state that it may write. What they tell is heard in the order in which it came. */

import { Ring } from '../../base/ring.ts';
import { isAfter } from '../../pubsub/acknowledgement.ts';
import { NO_IDS } from '../core/store/memory-store.ts';
import type { LogRecord, StatePort, StoreEvents, StorePort } from '../core/store-port.ts';
import type { ClusterLog, Tell } from './log/cluster-log.ts';

/** Where the state is. */
export type StateKeeper = Pick<StorePort, 'state' | 'hasNews' | 'tell'>;

export class ClusterStore implements StorePort {
  readonly logs: readonly ClusterLog[];
  readonly state: StatePort;
  private readonly keeper: StateKeeper;
  private readonly news: StoreNews;

  constructor(logs: readonly ClusterLog[], keeper: StateKeeper, news: StoreNews) {
    this.logs = logs;
    this.state = keeper.state;
    this.keeper = keeper;
    this.news = news;
  }

  get hasNews(): boolean {
    return this.news.length > 0 || this.keeper.hasNews;
  }

  tell(events: StoreEvents): void {
    if (this.keeper.hasNews) this.keeper.tell(events);
    this.news.tell(events);
  }

  lastIds(session: number): readonly number[] {
    return this.news.lastIds(session);
  }

  /** What was refused is known as long as this node has the session: by those who refused it. */
  isMissing(): boolean {
    return false;
  }

  forgetSession(session: number): void {
    this.news.forgetSession(session);
  }
}

/** What the logs have to tell, and which messages of sessions they have taken. */
export class StoreNews {
  /** To be called when there is something, soon. */
  onNews: () => void = () => {};
  private readonly waiting = new Ring<Tell>();
  private readonly ids = new Map<number, number[]>();
  private isCalled = false;
  private readonly call = () => {
    this.isCalled = false;
    if (this.waiting.length > 0) this.onNews();
  };

  get length(): number {
    return this.waiting.length;
  }

  push(tell: Tell): void {
    this.waiting.push(tell);
    if (this.isCalled) return;
    this.isCalled = true;
    queueMicrotask(this.call);
  }

  /** What comes meanwhile is told the next time. */
  tell(events: StoreEvents): void {
    for (let left = this.waiting.length; left > 0; left--) this.waiting.shift()?.(events);
  }

  /** A log has this record of this node. */
  placed({ session, sequence, id }: LogRecord): void {
    if (session === 0 || id === 0) return;
    const ids = this.ids.get(session) ?? [0, 0, 0, 0];
    if (ids[sequence] === 0 || isAfter(id, ids[sequence])) ids[sequence] = id;
    this.ids.set(session, ids);
  }

  lastIds(session: number): readonly number[] {
    return this.ids.get(session) ?? NO_IDS;
  }

  forgetSession(session: number): void {
    this.ids.delete(session);
  }
}
