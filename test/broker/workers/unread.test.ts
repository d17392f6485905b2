/** What the core of a broker holds of very many clients of a worker who have it stop their streams. */
import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { UNKNOWN_CONNECTION } from '../../../src/broker/carrying.ts';
import { CoreLine } from '../../../src/broker/workers/core-line.ts';
import { WorkerLine, type WorkerStream } from '../../../src/broker/workers/worker-line.ts';
import type { MessageConnection, MessageStream } from '../../../src/pubsub/message-stream.ts';
import { systemClock } from '../../../src/udp/clock.ts';

const KIB = 1_024;
const MIB = 1_024 * KIB;

/** A stream of a client who has much to say. */
class Talker extends EventEmitter {
  readonly messageBytesMax = MIB;
  readonly priority = 'normal';
  readonly ordered = true;
  readonly label = '';
  readonly delivery = 'reliable';
  readonly hasReceivedBestEffort = false;
  readonly queuedBytes = 0;
  readonly id: number;
  highWaterMark = 0;
  saidBytes = 0;
  private isPaused = false;
  private readonly message: Uint8Array;
  private left: number;

  constructor(id: number, messages: number, messageBytes: number) {
    super();
    this.id = id;
    this.left = messages;
    this.message = new Uint8Array(messageBytes).fill(id);
  }

  /** Says what may be read of it now. */
  speak(): void {
    for (; this.left > 0 && !this.isPaused; this.left--) {
      this.saidBytes += this.message.length;
      this.emit('message', this.message);
    }
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }
}

/** A worker and the core; batches are on their way until {@link Lines.carry}. */
class Lines {
  readonly streams = new Map<number, WorkerStream>();
  readonly heard = new Map<number, number>();
  /** What the core does when it has read a message. */
  onHeard: (stream: WorkerStream) => void = () => {};
  private readonly due: (() => void)[] = [];
  private readonly toCore: Uint8Array[] = [];
  private readonly toWorker: Uint8Array[] = [];
  readonly worker: CoreLine;
  private readonly core: WorkerLine;

  constructor() {
    const clock = {
      now: () => systemClock.now(),
      soon: (act: () => void) => void this.due.push(act),
      setTimer: () => ({}) as never,
      clearTimer: () => {},
    };
    const around = { clock, sharedMs: () => 0 };
    this.worker = new CoreLine({ ...around, port: { post: (batch) => this.toCore.push(batch) } });
    this.core = new WorkerLine({
      ...around,
      port: { post: (batch) => this.toWorker.push(batch) },
      onConnection: (connection) => connection.on('stream', (stream) => this.hear(stream)),
      onFault: (error) => {
        throw error;
      },
    });
  }

  /** Brings everything that is on its way to its end. */
  carry(): void {
    do {
      for (const act of this.due.splice(0)) act();
      for (const batch of this.toCore.splice(0)) this.core.take(batch);
      for (const act of this.due.splice(0)) act();
      for (const batch of this.toWorker.splice(0)) this.worker.take(batch);
    } while (this.due.length + this.toCore.length + this.toWorker.length > 0);
  }

  private hear(stream: WorkerStream): void {
    this.streams.set(stream.id, stream);
    this.heard.set(stream.id, 0);
    stream.on('message', (message) => {
      this.heard.set(stream.id, (this.heard.get(stream.id) ?? 0) + message.length);
      this.onHeard(stream);
    });
  }
}

/** A client with so many talkers, in the worker. */
function client(lines: Lines, talkers: readonly Talker[]): void {
  const connection = Object.assign(new EventEmitter(), { openableStreams: 0 });
  const facts = { ...UNKNOWN_CONNECTION, isEstablished: true, holdStreams: () => {}, announceEnd: () => {} };
  lines.worker.serve(connection as unknown as MessageConnection, facts);
  for (const talker of talkers) connection.emit('stream', talker as unknown as MessageStream);
}

/** Each says what it may, when what the one before said is done with. */
function oneByOne(lines: Lines, talkers: readonly Talker[]): void {
  for (const talker of talkers) {
    talker.speak();
    lines.carry();
  }
}

function sum(numbers: Iterable<number>): number {
  return [...numbers].reduce((all, each) => all + each, 0);
}

/** Bytes that the worker has read and the core has not. */
function between(lines: Lines, talkers: readonly Talker[]): number {
  return sum(talkers.map(({ saidBytes }) => saidBytes)) - sum(lines.heard.values());
}

test('many clients with stopped streams have little each, and others are read all the same [BRK-138]', () => {
  const lines = new Lines();
  const stopped = Array.from({ length: 1_000 }, (_, id) => new Talker(id, 300, KIB));
  for (const talker of stopped) client(lines, [talker]);
  const read = new Talker(1_000, 300, KIB);
  client(lines, [read]);
  lines.onHeard = (stream) => {
    if (stream.id < 1_000) stream.pause();
  };
  oneByOne(lines, stopped);
  for (let round = 0; round < 300; round++) oneByOne(lines, [read]);
  expect(lines.heard.get(1_000)).toBe(300 * KIB);
  const held = between(lines, [...stopped, read]);
  expect(held).toBeGreaterThan(64 * MIB);
  expect(held).toBeLessThanOrEqual(65 * MIB + 1_000 * 18 * KIB);
});
