import type {
  LogExtent,
  LogStream,
  LogStreamListener,
} from '../../../../src/broker/backplane/log/log-stream.ts';
import { decodeRecord } from '../../../../src/broker/backplane/log/record-form.ts';
import type { AppendFault, StoredRecord } from '../../../../src/broker/core/store-port.ts';

interface Kept {
  readonly offset: number;
  readonly name: string;
  readonly body: Uint8Array;
}

/** An engine that keeps one log for tests of a ClusterLog, behind a way on which what is asked and what is answered waits until the test lets it go on, or is lost when the way is cut. Seeded worlds have test/sim/cluster/model-stream.ts. */
export class ModelEngine {
  epoch = 5;
  earliest = 1;
  head = 1;
  readonly records: Kept[] = [];
  private readonly names = new Map<string, number>();

  append(name: string, body: Uint8Array): { offset: number; isDuplicate: boolean } {
    const known = this.names.get(name);
    if (known !== undefined) return { offset: known, isDuplicate: true };
    const offset = this.head++;
    this.names.set(name, offset);
    this.records.push({ offset, name, body });
    return { offset, isDuplicate: false };
  }

  /** Its window of names is over. */
  forgetNames(): void {
    this.names.clear();
  }

  /** It ends at `head` now, though it had acknowledged more. */
  lose(head: number): void {
    this.head = head;
    while ((this.records.at(-1)?.offset ?? 0) >= head) this.records.pop();
    this.forgetNames();
  }

  trim(earliest: number): void {
    this.earliest = Math.max(this.earliest, earliest);
    while (this.records.length > 0 && this.records[0].offset < this.earliest) this.records.shift();
  }

  get extent(): LogExtent {
    const { epoch, earliest, head } = this;
    return { epoch, earliest, head, bytes: 0 };
  }
}

export class ModelStream implements LogStream {
  listener: LogStreamListener | null = null;
  isUp = true;
  recordBytesMax = 1_000;
  /** The engine does not take the next so many appends, for this fault, or for now (null). */
  refusals: (AppendFault | null)[] = [];
  /** So many of what is read and looked for next are not to be had for now, though the engine is there. */
  failures = 0;
  readonly asked: (() => void)[] = [];
  readonly answers: (() => void)[] = [];
  reads = 0;
  private readonly engine: ModelEngine;
  private tail: number | null = null;

  constructor(engine: ModelEngine) {
    this.engine = engine;
  }

  append(ticket: number, body: Uint8Array, name: string): void {
    this.ask(() => {
      const refusal = this.refusals.shift();
      if (refusal !== undefined) this.answers.push(() => this.listener?.refused(ticket, refusal, ''));
      else {
        const { offset, isDuplicate } = this.engine.append(name, body);
        this.answers.push(() => this.listener?.placed(ticket, offset, isDuplicate));
        this.bring();
      }
    });
  }

  look(): void {
    this.ask(() => {
      const { extent } = this.engine;
      this.answers.push(() => this.listener?.looked(extent));
    });
  }

  beginAnew(): void {
    this.ask(() => {
      this.engine.epoch++;
      this.look();
    });
  }

  read(from: number, until: number, bytesMax: number): void {
    this.reads++;
    this.ask(() => {
      if (this.failures > 0) {
        this.failures--;
        this.answers.push(() => this.listener?.read(from, null, from));
        return;
      }
      const all = this.engine.records.filter(({ offset }) => offset >= from && offset < until);
      const count = Math.max(1, Math.floor(bytesMax / 32_768));
      const part = all.slice(0, count);
      const next = part.length < all.length ? part[part.length - 1].offset + 1 : until;
      const records = part.map(stored);
      this.answers.push(() => this.listener?.read(from, records, next));
    });
  }

  find(timeMs: number): void {
    this.ask(() => {
      if (this.failures > 0) {
        this.failures--;
        this.answers.push(() => this.listener?.found(timeMs, null));
        return;
      }
      const found = this.engine.records.map(stored).find(({ publishedAt }) => publishedAt >= timeMs);
      this.answers.push(() => this.listener?.found(timeMs, found?.offset ?? Number.POSITIVE_INFINITY));
    });
  }

  /** What others write is sent. */
  get isFollowed(): boolean {
    return this.tail !== null;
  }

  follow(from: number | null): void {
    this.tail = from;
    if (from !== null) this.ask(() => this.bring());
  }

  /** What others have appended comes, too. */
  bring(): void {
    if (this.tail === null || !this.isUp) return;
    for (const record of this.engine.records) {
      if (record.offset < this.tail) continue;
      this.tail = record.offset + 1;
      const brought = stored(record);
      this.answers.push(() => this.listener?.arrived(brought, brought.offset));
    }
  }

  /** The engine does the next `count` things that it was asked for, and tells so many. */
  step(count = 1): void {
    for (const act of this.asked.splice(0, count)) act();
    for (const tell of this.answers.splice(0, count)) tell();
  }

  /** All that is to be done is done, and told. */
  settle(): void {
    while (this.asked.length + this.answers.length > 0) this.step(1_000);
  }

  /** @param done - of what was asked so much has come to the engine */
  cut(done: number): void {
    if (!this.isUp) return;
    for (const act of this.asked.splice(0, done)) act();
    this.isUp = false;
    this.asked.length = 0;
    this.answers.length = 0;
    this.listener?.down();
  }

  mend(): void {
    if (this.isUp) return;
    this.isUp = true;
    this.listener?.up();
  }

  private ask(act: () => void): void {
    if (this.isUp) this.asked.push(act);
  }
}

function stored({ body, offset }: Kept): StoredRecord {
  const record = decodeRecord(body, offset);
  if (record === null) throw new Error('no record');
  return record;
}
