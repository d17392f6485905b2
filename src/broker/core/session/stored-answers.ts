/** Answers that promise something the store is still writing: they go out when it is safe, in the order in which they were given. [BRK-55] */

import { Ring } from '../../../base/ring.ts';
import {
  AppendFault,
  type LogPort,
  type StoreEvents,
  type StoreFailure,
  type StorePort,
} from '../store-port.ts';

interface StoredAnswer {
  /** Changes of the state, and records of each log, that were handed to the store before. */
  readonly written: number;
  readonly heads: number[];
  /** Of logs that are kept elsewhere: the tickets of what was on its way there; of others 0. */
  readonly tickets: readonly number[];
  readonly send: () => void;
  readonly refuse: (fault: AppendFault) => void;
}

export class StoredAnswers implements Partial<StoreEvents> {
  private readonly store: StorePort;
  private readonly waiting = new Ring<StoredAnswer>();
  private stateFailed = false;

  constructor(store: StorePort) {
    this.store = store;
  }

  /** The state keeps nothing any more: what begins now ends with the process. */
  get keepsNothing(): boolean {
    return this.stateFailed;
  }

  /** Calls `send` when every change and record that was handed to the store until now is safe: at once, if it is; or `refuse` when that fails. */
  whenSafe(send: () => void, refuse: (fault: AppendFault) => void): void {
    this.add(this.store.state.written, send, refuse);
  }

  /** The same without changes of the state. */
  whenLogsAreSafe(send: () => void): void {
    this.add(0, send, send);
  }

  stored(): void {
    this.goOn();
  }

  placed(): void {
    this.goOn();
  }

  stateStored(): void {
    this.goOn();
  }

  /** What was not stored yet is gone: it is not waited for any more. */
  storeFailed(log: LogPort | null, { fault }: StoreFailure): void {
    if (log === null) {
      this.stateFailed ||= fault === AppendFault.FAILED;
      const answers = this.takeAll();
      for (const answer of answers) {
        if (this.store.state.synced < answer.written) answer.refuse(fault);
        else this.waiting.push(answer);
      }
    } else {
      const place = this.store.logs.indexOf(log);
      for (let i = 0; i < this.waiting.length; i++) {
        const answer = this.waiting.peek(i);
        if (answer !== undefined) answer.heads[place] = 0;
      }
    }
    this.goOn();
  }

  private add(written: number, send: () => void, refuse: (fault: AppendFault) => void): void {
    if (written > this.store.state.synced && this.stateFailed) {
      refuse(AppendFault.FAILED);
      return;
    }
    const { logs } = this.store;
    const heads = logs.map(({ head, elsewhere }) => (elsewhere === undefined ? head : 0));
    const tickets = logs.map(({ elsewhere }) => elsewhere?.lastTicket ?? 0);
    this.waiting.push({ written, heads, tickets, send, refuse });
    this.goOn();
  }

  private goOn(): void {
    for (
      let next = this.waiting.peek();
      next !== undefined && this.isSafe(next);
      next = this.waiting.peek()
    ) {
      this.waiting.shift();
      next.send();
    }
  }

  private takeAll(): StoredAnswer[] {
    const answers: StoredAnswer[] = [];
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) answers.push(next);
    return answers;
  }

  private isSafe({ written, heads, tickets }: StoredAnswer): boolean {
    const { state, logs } = this.store;
    if (state.synced < written) return false;
    return logs.every(
      ({ synced, elsewhere }, i) => synced >= heads[i] && (elsewhere?.placedTicket ?? 0) >= tickets[i],
    );
  }
}
