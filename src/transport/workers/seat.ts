/**
 * A worker's thread, as seen from inside: what it was started with, its way to the main thread, and its fellows. `WorkerThreads` is its twin in
 * the main thread.
 */

import { type MessagePort, workerData } from 'node:worker_threads';
import { systemRandom } from '../system-crypto.ts';
import { Fellows } from './fellows.ts';
import { type Order, type Report, type SeatData, sentError } from './messages.ts';
import { BEAT_MS } from './threads.ts';

/** What the thread does for its owner in the main thread. */
export interface SeatDuties {
  /** Answers a question; what it throws is the answer, too. */
  answer(question: unknown): unknown | Promise<unknown>;
  /** Was told something. */
  told?(message: unknown): void;
}

export class Seat {
  /** Which of the workers this is, from 0: the same when it is started anew. */
  readonly number: number;
  /** How many workers there are. */
  readonly count: number;
  /** What the owner gave to this thread. */
  readonly data: unknown;
  /** Leads to the owner. */
  readonly port: MessagePort | null;
  readonly fellows: Fellows;
  private readonly control: MessagePort;

  /** @param data - with which `WorkerThreads` started the thread */
  constructor({ beats, channels, common, control, count, data, number, port, seat }: SeatData) {
    this.number = number;
    this.count = count;
    this.data = data;
    this.port = port;
    this.control = control;
    this.fellows = new Fellows(number, seat, common, systemRandom);
    for (const channel of channels) this.fellows.meet(channel);
    const own = new Int32Array(beats);
    setInterval(() => Atomics.add(own, number, 1), BEAT_MS).unref();
  }

  /** That of this thread. */
  static own(): Seat {
    return new Seat(workerData as SeatData);
  }

  /**
   * Begins the work: what `begin` answers is told to the owner, who has waited for it, and `duties` are done from then on. What it throws is told, too, and
   * the owner ends the thread.
   */
  async work(begin: () => Promise<{ readonly value: unknown; readonly duties: SeatDuties }>): Promise<void> {
    const orders: Order[] = [];
    let duties: SeatDuties | null = null;
    this.control.on('message', (order: Order) => {
      if (duties === null) orders.push(order);
      else this.obey(order, duties);
    });
    try {
      const begun = await begin();
      duties = begun.duties;
      this.report({ kind: 'ready', value: begun.value });
      for (const order of orders) this.obey(order, duties);
    } catch (error) {
      this.report({ kind: 'failed', error: sentError(error) });
    }
  }

  /** Tells the owner something. */
  tell(message: unknown): void {
    this.report({ kind: 'tell', message });
  }

  private obey(order: Order, duties: SeatDuties): void {
    if (order.kind === 'meet') this.fellows.meet(order.channel);
    else if (order.kind === 'tell') duties.told?.(order.message);
    else void this.answer(order.id, order.question, duties);
  }

  private async answer(id: number, question: unknown, duties: SeatDuties): Promise<void> {
    try {
      this.report({ kind: 'answer', id, value: await duties.answer(question) });
    } catch (error) {
      this.report({ kind: 'answer', id, error: sentError(error) });
    }
  }

  private report(report: Report): void {
    this.control.postMessage(report);
  }
}
