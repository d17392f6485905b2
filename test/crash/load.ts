/** The load of a crash test, and its judge: publishers whose messages are acknowledged, a durable subscriber that must get each of them. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { Holder, Model, Shelf } from '../sim/broker/model.ts';
import { Violation } from '../sim/invariants.ts';

export interface CrashReport {
  readonly rounds: number;
  readonly published: number;
  readonly acknowledged: number;
  readonly delivered: number;
  readonly redelivered: number;
  /** Not taken, and told so. */
  readonly refused: number;
  readonly resumed: number;
  readonly seconds: number;
}

export interface LoadPace {
  /** Messages between two pauses. */
  readonly burst: number;
  readonly pauseMs: number;
  /** What a broker refuses with STORE_FAILED is not published again, and no fault: the log of a cluster was out of reach for so long that it had to be told [CLU-34]. */
  readonly takesRefusals?: boolean;
}

/** How a run tells how far it is. */
export type Progress = (round: number, model: Model) => void;

/** Publishes at its pace, as far as acknowledgements come. */
export class LoadPublisher {
  readonly name: string;
  /** Messages that were refused, and what the first was told. */
  refused = 0;
  firstRefusal = '';
  /** For how long at most a message had no answer. */
  answerMsMax = 0;
  private readonly model: Model;
  private readonly client: BrokerClient;
  private outstanding = 0;
  private stopped = false;
  /** So was the last message that was answered. */
  private isRefused = false;
  private wake: (() => void) | null = null;

  private constructor(name: string, model: Model, client: BrokerClient) {
    this.name = name;
    this.model = model;
    this.client = client;
  }

  static async start(
    url: string | readonly string[],
    name: string,
    model: Model,
    fail: (error: unknown) => void,
    pace: LoadPace = BUSY,
  ): Promise<LoadPublisher> {
    const client = await connectClient(url, { session: name, reconnect: EAGER });
    const publisher = new LoadPublisher(name, model, client);
    publisher.run(pace).catch(fail);
    return publisher;
  }

  /** Publishes nothing more, and resolves when everything is answered. */
  async stop(): Promise<void> {
    this.stopped = true;
    while (this.outstanding > 0) await sleep(10);
    await this.client.close();
  }

  toString(): string {
    return `${this.name} awaits ${this.outstanding} answers and ${this.backlog} deliveries, was refused ${this.refused}`;
  }

  /** What the subscriber has not handled: a test waits for it in the end. */
  private get backlog(): number {
    return this.model.publications.size - this.model.refused - this.model.shelves[0].handled.size;
  }

  private async run({ burst, pauseMs, takesRefusals = false }: LoadPace): Promise<void> {
    for (let i = 0; !this.stopped; i++) {
      while (this.backlog > BACKLOG_MAX && !this.stopped) await sleep(10);
      while (this.outstanding >= OUTSTANDING_MAX) {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
      if (this.stopped) return;
      const topic = `${LOAD_TOPIC}/${i % TOPICS}`;
      const publication = this.model.publish(this.name, topic, 1);
      this.outstanding++;
      const receipt = this.client.publish(topic, publication.text.padEnd(PAYLOAD_BYTES), { qos: 1 });
      receipt
        .then(({ offset }) => {
          this.isRefused = false;
          this.model.stored(publication, this.model.soleEpoch, offset ?? undefined);
        })
        .catch((error) => {
          if (!takesRefusals || error.code !== 'ERR_JSP_STORE_FAILED') throw error;
          this.onRefusal(error);
        })
        .finally(() => {
          this.answerMsMax = Math.max(this.answerMsMax, this.model.ageMs(publication));
          this.outstanding--;
          this.wake?.();
        });
      if (i % burst === 0) await sleep(pauseMs);
      if (this.isRefused) await sleep(REFUSED_PAUSE_MS);
    }
  }

  private onRefusal(error: Error): void {
    this.refused++;
    this.model.refused++;
    this.isRefused = true;
    this.firstRefusal ||= error.message;
  }
}

/** What a crash test begins with: the oracle, and the shelf of the one durable subscription. */
export function beginCrash(): { model: Model; shelf: Shelf; holder: Holder } {
  const model = new Model(() => performance.now());
  const shelf = new Shelf('the durable subscription', `${LOAD_TOPIC}/#`, 1);
  model.shelves.push(shelf);
  return { model, shelf, holder: new Holder(shelf) };
}

/** What a run came to, which began at `startedAtMs` by `performance.now()`. */
export function reportOf(model: Model, rounds: number, resumed: number, startedAtMs: number): CrashReport {
  const { deliveries: delivered, redeliveries: redelivered, publications } = model;
  const acknowledged = [...publications.values()].filter(({ storedAtMs }) => storedAtMs !== null).length;
  const seconds = (performance.now() - startedAtMs) / 1_000;
  const { size: published } = publications;
  return {
    rounds,
    published,
    acknowledged,
    delivered,
    redelivered,
    refused: model.refused,
    resumed,
    seconds,
  };
}

/** A broker whose process is killed, and whose machine is not, loses no record: its log goes on as it was. */
export function expectOneEpoch(model: Model, epoch: number | undefined): void {
  if (epoch !== model.soleEpoch)
    throw new Violation(`the log had the epoch ${model.soleEpoch}, and has ${epoch}`);
}

/** Waits until everything that was acknowledged has come, as long as something comes. */
export async function untilComplete(model: Model, { handled } = model.shelves[0]): Promise<void> {
  let before = -1;
  let stillSince = performance.now();
  for (;;) {
    const missing = model.missing();
    if (missing.length === 0) return;
    if (handled.size !== before) stillSince = performance.now();
    before = handled.size;
    if (performance.now() - stillSince > COMPLETE_MS_MAX)
      throw new Violation(
        `${missing.length} acknowledged messages are missing: ${missing.slice(0, 5).join('; ')}`,
      );
    await sleep(100);
  }
}

export const LOAD_TOPIC = 'load';
/** So that a client that has lost its broker is back at once. */
export const EAGER = { minMs: 5, maxMs: 100 };
const TOPICS = 4;
const OUTSTANDING_MAX = 256;
const BACKLOG_MAX = 3_000;
const PAYLOAD_BYTES = 128;
const REFUSED_PAUSE_MS = 100;
export const BUSY: LoadPace = { burst: 32, pauseMs: 1 };
const COMPLETE_MS_MAX = 30_000;
