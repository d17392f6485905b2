/** What the broker says of messages that are published with QoS 1, counted for people and told one by one for programs. */
import { printable } from '../base/errors.ts';
import { whole } from '../bench/figures.ts';
import type { PublishReceipt } from '../client/index.ts';
import type { LineWriter } from './lines.ts';
import { printableLine } from './message-lines.ts';
import { CommandError, note, warn } from './terminal.ts';

export class Receipts {
  private readonly topic: string;
  /** Where each is told as JSON. */
  private readonly writer: LineWriter | null;
  private readonly counts = new Map<PublishReceipt['result'], number>();
  /** By code. */
  private readonly refusals = new Map<string, number>();
  private published = 0;
  private inFlight = 0;
  private lastOffset: number | null = null;
  private onSettled: () => void = () => {};

  constructor(topic: string, writer: LineWriter | null) {
    this.topic = topic;
    this.writer = writer;
  }

  /** @returns what resolves when there is room for another, or null when there is now */
  add(receipt: Promise<PublishReceipt>): Promise<void> | null {
    const number = ++this.published;
    this.inFlight++;
    receipt.then(
      (stored) => this.take(number, stored),
      (error: Error) => this.refuse(number, error),
    );
    return this.inFlight < IN_FLIGHT_MAX ? null : this.until(IN_FLIGHT_MAX - 1);
  }

  /** Resolves when the broker has answered all. */
  settled(): Promise<void> {
    return this.until(0);
  }

  /** @throws CommandError ERR_JSP_NOT_STORED when the broker, or the client, did not take some */
  sumUp(): void {
    const refused = [...this.refusals.values()].reduce((sum, count) => sum + count, 0);
    if (this.published === 0) return;
    const parts = RESULTS.flatMap(([result, text]) => {
      const count = this.counts.get(result) ?? 0;
      return count === 0 ? [] : [`${whole(count)} ${text}`];
    });
    const where = this.published === 1 && this.lastOffset !== null ? ` at offset ${this.lastOffset}` : '';
    note(`${whole(this.published)} published: ${parts.join(', ') || 'none stored'}${where}`);
    if (refused === 0) return;
    const codes = [...this.refusals].map(([code, count]) => `${code} ${whole(count)}`).join(', ');
    throw new CommandError(
      'ERR_JSP_NOT_STORED',
      `${whole(refused)} of ${whole(this.published)} were refused: ${codes}`,
    );
  }

  private take(number: number, { result, offset }: PublishReceipt): void {
    this.counts.set(result, (this.counts.get(result) ?? 0) + 1);
    this.lastOffset = offset;
    this.tell({ topic: this.topic, number, result, offset });
    this.settleOne();
  }

  private refuse(number: number, error: Error): void {
    const { code = 'ERR_JSP_BUG' } = error as NodeJS.ErrnoException;
    if (!this.refusals.has(code))
      warn(`message ${number} was not stored: ${printable(error.message)} (${code})`);
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    this.tell({ topic: this.topic, number, error: code });
    this.settleOne();
  }

  private tell(line: object): void {
    this.writer?.writeLine(Buffer.from(printableLine(line)));
  }

  private settleOne(): void {
    this.inFlight--;
    this.onSettled();
  }

  private until(inFlight: number): Promise<void> {
    if (this.inFlight <= inFlight) return Promise.resolve();
    return new Promise((resolve) => {
      this.onSettled = () => {
        if (this.inFlight <= inFlight) resolve();
      };
    });
  }
}

/** Messages that the broker has not answered yet. */
const IN_FLIGHT_MAX = 1_024;
const RESULTS: readonly (readonly [PublishReceipt['result'], string])[] = [
  ['stored', 'stored'],
  ['inMemory', 'taken, and kept in memory alone'],
  ['duplicate', 'stored before'],
  ['noSubscriber', 'without a subscriber'],
];
