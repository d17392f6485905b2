import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Histogram } from '../../base/histogram.ts';
import { sharedMicros } from '../metronome.ts';
import { type PubsubLoad, Schedule, stamp, topicOf } from './load.ts';
import type { LoadClient } from './load-client.ts';

/** What became of the messages of a publisher; those of the warm-up are not counted. */
export interface PublisherCounts {
  /** Due in the time of the measurement; where no rate was asked for, as many as were published. */
  offered: number;
  published: number;
  /** The broker has said that it has them. */
  acknowledged: number;
  /** The broker, or the client, has not taken them, with QoS 1. */
  refused: number;
}

/** Publishes what a load has due, as soon as it is due and the client takes it. */
export class LoadPublisher {
  readonly counts: PublisherCounts = { offered: 0, published: 0, acknowledged: 0, refused: 0 };
  private readonly client: LoadClient;
  private readonly load: PubsubLoad;
  private readonly number: number;
  private readonly schedule: Schedule;
  private readonly measuredFrom: number;
  private readonly endsAt: number;
  private readonly topics: readonly string[];
  private readonly message: Buffer;
  /** How long after they were due messages were acknowledged. */
  private readonly acknowledgements: Histogram;
  /** Published with QoS 1 and not acknowledged. */
  private inFlight = 0;
  /** The next message, counted from the first of the warm-up on. */
  private next = 0;
  /** Messages of the warm-up so far. */
  private warming = 0;
  /** The client has said that it has enough for now. */
  private isFull = false;
  private isOver = false;

  constructor(
    client: LoadClient,
    load: PubsubLoad,
    number: number,
    startMicros: number,
    acknowledgements: Histogram,
  ) {
    this.client = client;
    this.acknowledgements = acknowledgements;
    this.load = load;
    this.number = number;
    this.schedule = new Schedule(load, number, startMicros);
    this.measuredFrom = startMicros + load.warmUpSeconds * 1e6;
    this.endsAt = this.measuredFrom + load.seconds * 1e6;
    this.topics = Array.from({ length: load.topics }, (_, i) => topicOf(load, i));
    this.message = randomBytes(load.size);
    client.onDrain = () => {
      this.isFull = false;
      this.goOn();
    };
    if (load.rate > 0) this.counts.offered = this.schedule.measured;
  }

  /** Its time is over, or its connection. */
  get over(): boolean {
    return this.isOver;
  }

  /** Publishes what is due. Without a rate it goes on by itself from the first call on. */
  readonly goOn = (): void => {
    if (this.isOver || this.isFull) return;
    if (this.load.rate === 0) return this.fill();
    const { schedule } = this;
    const now = sharedMicros();
    const total = schedule.warmUp + schedule.measured;
    while (this.next < total && !this.isFull && !this.isOver) {
      const due = schedule.dueMicros(this.next);
      if (due > now) break;
      const number = this.next++ - schedule.warmUp;
      this.publish(due, Math.max(0, number + 1));
    }
    if (this.next === total || now >= this.endsAt) this.isOver = true;
  };

  /** Resolves when the broker has everything; or not, when it does not get on. */
  async settle(signal: AbortSignal): Promise<void> {
    this.isOver = true;
    if (this.load.qos === 1) {
      while (this.inFlight > 0 && !signal.aborted) await sleep(SETTLE_MS);
      return;
    }
    const { counts } = this;
    counts.acknowledged = Math.max(0, counts.published - (await this.client.flush(signal)));
  }

  /** A burst a turn, so that the connection has its turns, too. */
  private fill(): void {
    for (let i = 0; i < BURST; i++) {
      const now = sharedMicros();
      if (now >= this.endsAt) this.isOver = true;
      if (this.isOver || this.isFull) return;
      this.publish(now, now < this.measuredFrom ? 0 : this.counts.published + 1);
    }
    setImmediate(this.goOn);
  }

  /** @param number - 0 in the warm-up */
  private publish(dueMicros: number, number: number): void {
    stamp(this.message, dueMicros, this.number, number);
    try {
      const topic = this.topics[(number === 0 ? this.warming++ : number) % this.topics.length];
      if (this.load.qos === 1) this.publishToLog(topic, dueMicros, number);
      else this.isFull = !this.client.publish(topic, this.message);
    } catch {
      this.isOver = true; // the end of the connection tells why
      return;
    }
    if (number === 0) return;
    this.counts.published++;
    if (this.load.rate === 0) this.counts.offered++;
  }

  /** With QoS 1. */
  private publishToLog(topic: string, dueMicros: number, number: number): void {
    this.isFull = ++this.inFlight >= this.load.window;
    this.client.publishAcknowledged(topic, this.message).then(
      () => {
        if (number > 0) {
          this.counts.acknowledged++;
          this.acknowledgements.record(sharedMicros() - dueMicros);
        }
        this.onSettled();
      },
      () => {
        if (number > 0) this.counts.refused++;
        this.onSettled();
      },
    );
  }

  private onSettled(): void {
    this.inFlight--;
    if (!this.isFull) return;
    this.isFull = false;
    this.goOn();
  }
}

const BURST = 64;
const SETTLE_MS = 5;
