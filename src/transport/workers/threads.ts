/**
 * The threads of a server's workers, as seen from the main thread: started, started anew when one ends, watched. `Seat` is its twin in each of
 * them. A thread goes through these states:
 *
 *     Starting -> Working -> (ended) -> Waiting -> Starting ...
 *                                 \-> Over, when all are closed
 */

import { randomFillSync } from 'node:crypto';
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
  type WorkerOptions,
} from 'node:worker_threads';
import { JspError } from '../../base/errors.ts';
import { type Channel, type CommonGround, NO_SEAT } from './fellows.ts';
import { type Order, type Report, receivedError, type SeatData } from './messages.ts';

/** How threads are started, as `new Worker` of `node:worker_threads` has it; each has the same. */
export type ThreadOptions = Pick<
  WorkerOptions,
  'argv' | 'env' | 'execArgv' | 'resourceLimits' | 'trackUnmanagedFds'
>;

/** Whose threads they are. */
export interface ThreadsOwner {
  /** What a thread is given when it is started, and is started anew: its `Seat.data`. */
  dataFor(number: number): unknown;
  /** A port of the owner's that it is given, too: its `Seat.port`. */
  portFor(number: number): MessagePort | null;
  /** The thread said so. */
  onReady(number: number): void;
  onTold(number: number, message: unknown): void;
  /** A thread that worked has ended, by this error; another is started in its place after so many ms. [WRK-9] */
  onEnded(number: number, error: JspError, restartsInMs: number): void;
  /** Its event loop does not turn, or does again. [WRK-10] */
  onStuck(number: number, isStuck: boolean): void;
}

interface Thread {
  readonly worker: Worker;
  readonly seat: number;
  readonly control: MessagePort;
  readonly questions: Map<number, Question>;
  /** Why it ends, as far as that is known. */
  failure: Error | null;
  /** When its work began, by `performance.now()`; null: it has not. */
  readyAtMs: number | null;
  isStuck: boolean;
  beat: number;
  beatAtMs: number;
}

/** What a thread that is started is given of its way to a fellow, and that fellow. */
interface Meeting {
  readonly thread: Thread;
  readonly own: Channel;
  readonly theirs: Channel;
}

interface Question {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** One worker for the life of the server, with the thread that it has now. */
interface Position {
  thread: Thread | null;
  /** How often its threads ended, one soon after the other. */
  failures: number;
  timer: NodeJS.Timeout | null;
}

export class WorkerThreads {
  readonly count: number;
  private readonly entry: URL;
  private readonly owner: ThreadsOwner;
  private readonly options: ThreadOptions;
  private readonly positions: Position[];
  private readonly common: CommonGround;
  private readonly connections: Int32Array;
  private readonly seatsTaken: Int32Array<SharedArrayBuffer>;
  private readonly beats: Int32Array<SharedArrayBuffer>;
  private readonly watch: NodeJS.Timeout;
  private seats = 0;
  private asked = 0;
  private isOver = false;
  private isReferenced = true;
  /** Of {@link start}: what the first start of each is waited for by. */
  private readonly starting = new Map<number, Question>();

  /** @param entry - the module of a thread, which makes itself `Seat.own()` */
  constructor(entry: URL, count: number, owner: ThreadsOwner, options: ThreadOptions = {}) {
    this.entry = entry;
    this.count = count;
    this.owner = owner;
    this.options = options;
    this.positions = Array.from({ length: count }, () => ({ thread: null, failures: 0, timer: null }));
    const connections = new SharedArrayBuffer(4 * count);
    this.connections = new Int32Array(connections);
    this.beats = new Int32Array(new SharedArrayBuffer(4 * count));
    this.seatsTaken = new Int32Array(new SharedArrayBuffer(4 * count)).fill(NO_SEAT);
    const secret = randomFillSync(new Uint8Array(SECRET_BYTES));
    this.common = { secret, connections, seats: this.seatsTaken.buffer };
    this.watch = setInterval(() => this.look(), BEAT_MS).unref();
  }

  /**
   * Starts all of them. Resolves with what the work of each began with; when one does not begin, the others are ended again.
   *
   * @throws what the thread threw
   */
  async start(): Promise<unknown[]> {
    const begun = this.positions.map(
      (_, number) =>
        new Promise<unknown>((resolve, reject) => this.starting.set(number, { resolve, reject })),
    );
    for (let number = 0; number < this.count; number++) this.startThread(number);
    try {
      return await Promise.all(begun);
    } catch (error) {
      void Promise.allSettled(begun); // of the others nobody is told
      await this.end();
      throw error;
    }
  }

  /** Whether a thread works, be it stuck. */
  isWorking(number: number): boolean {
    const thread = this.positions[number]?.thread;
    return thread != null && thread.readyAtMs !== null;
  }

  isStuck(number: number): boolean {
    return this.positions[number]?.thread?.isStuck === true;
  }

  /** Asks a thread. Rejects when it ends before it has answered. */
  ask(number: number, question: unknown): Promise<unknown> {
    const thread = this.positions[number]?.thread;
    if (thread == null) return Promise.reject(ended(number, null));
    const id = this.asked++;
    return new Promise((resolve, reject) => {
      thread.questions.set(id, { resolve, reject });
      post(thread, { kind: 'ask', id, question });
    });
  }

  /** Tells all of them that there are now something. */
  tell(message: unknown): void {
    for (const { thread } of this.positions) if (thread !== null) post(thread, { kind: 'tell', message });
  }

  /** Ends a thread, whatever it does; another one takes its place. */
  async restart(number: number): Promise<void> {
    const thread = this.positions[number]?.thread;
    if (thread == null) return;
    thread.failure ??= new Error('it was ended to be started anew');
    await thread.worker.terminate();
  }

  /** Ends a thread that has done its work; none takes its place. */
  async dismiss(number: number): Promise<void> {
    const position = this.positions[number];
    if (position.timer !== null) clearTimeout(position.timer);
    position.timer = null;
    const { thread } = position;
    position.thread = null;
    await thread?.worker.terminate();
  }

  /** Ends all of them. */
  async end(): Promise<void> {
    this.isOver = true;
    clearInterval(this.watch);
    await Promise.all(this.positions.map((_, number) => this.dismiss(number)));
  }

  /** No thread that ends is followed by another from now on. */
  stopRestarting(): void {
    this.isOver = true;
    for (const position of this.positions) {
      if (position.timer !== null) clearTimeout(position.timer);
      position.timer = null;
    }
  }

  setReferenced(referenced: boolean): void {
    this.isReferenced = referenced;
    for (const { thread, timer } of this.positions) {
      if (referenced) thread?.worker.ref();
      else thread?.worker.unref();
      if (referenced) timer?.ref();
      else timer?.unref();
    }
  }

  // ---- a thread's life ----

  private startThread(number: number): void {
    const position = this.positions[number];
    position.timer = null;
    const given = this.owner.dataFor(number);
    const port = this.owner.portFor(number);
    const { port1: control, port2 } = new MessageChannel();
    const seat = this.seats++ % SEATS;
    const meetings = this.meetingsWith(seat);
    const channels = meetings.map(({ own }) => own);
    const data: SeatData = {
      number,
      seat,
      count: this.count,
      common: this.common,
      beats: this.beats.buffer,
      control: port2,
      channels,
      data: given,
      port,
    };
    Atomics.store(this.connections, number, 0);
    // Before it has an id to give: a fellow that does not turn hears of it later than of what comes for it.
    Atomics.store(this.seatsTaken, number, seat);
    const transferList = [
      port2,
      ...(port === null ? [] : [port]),
      ...channels.map((channel) => channel.port),
    ];
    let worker: Worker;
    try {
      const name = `jsp worker ${number}`;
      worker = new Worker(this.entry, { name, ...this.options, workerData: data, transferList });
    } catch (error) {
      Atomics.store(this.seatsTaken, number, NO_SEAT);
      for (const end of [control, ...transferList, ...meetings.map(({ theirs }) => theirs.port)]) end.close();
      throw error;
    }
    for (const { thread, theirs } of meetings) post(thread, { kind: 'meet', channel: theirs }, [theirs.port]);
    const thread: Thread = {
      worker,
      seat,
      control,
      questions: new Map(),
      failure: null,
      readyAtMs: null,
      isStuck: false,
      beat: 0,
      beatAtMs: performance.now(),
    };
    position.thread = thread;
    if (!this.isReferenced) worker.unref();
    control.on('message', (report: Report) => this.onReport(number, thread, report));
    control.unref();
    worker.on('error', (error) => {
      thread.failure = error instanceof Error ? error : new Error(String(error));
    });
    worker.on('exit', (code) => this.onExit(number, thread, code));
  }

  /** A channel between the thread that is to have this seat and each that is there. */
  private meetingsWith(seat: number): Meeting[] {
    const meetings: Meeting[] = [];
    for (const { thread } of this.positions) {
      if (thread === null) continue;
      const { port1, port2 } = new MessageChannel();
      const there = new SharedArrayBuffer(4);
      const back = new SharedArrayBuffer(4);
      const own: Channel = { seat: thread.seat, port: port1, outgoing: there, incoming: back };
      const theirs: Channel = { seat, port: port2, outgoing: back, incoming: there };
      meetings.push({ thread, own, theirs });
    }
    return meetings;
  }

  private onReport(number: number, thread: Thread, report: Report): void {
    if (this.positions[number].thread !== thread) return;
    if (report.kind === 'tell') return this.owner.onTold(number, report.message);
    if (report.kind === 'failed') {
      thread.failure = receivedError(report.error);
      void thread.worker.terminate(); // its module may have begun something that keeps it going
    } else if (report.kind === 'ready') {
      thread.readyAtMs = thread.beatAtMs = performance.now();
      this.starting.get(number)?.resolve(report.value);
      this.starting.delete(number);
      this.owner.onReady(number);
    } else {
      const question = thread.questions.get(report.id);
      thread.questions.delete(report.id);
      if (report.error === undefined) question?.resolve(report.value);
      else question?.reject(receivedError(report.error));
    }
  }

  private onExit(number: number, thread: Thread, code: number): void {
    this.hearOut(number, thread);
    const error = ended(number, thread.failure ?? new Error(`it ended by process.exit(${code})`));
    this.forget(thread, error);
    const position = this.positions[number];
    if (position.thread !== thread) return;
    position.thread = null;
    Atomics.store(this.connections, number, 0);
    Atomics.store(this.seatsTaken, number, NO_SEAT);
    const first = this.starting.get(number);
    this.starting.delete(number);
    if (first !== undefined) return first.reject(thread.failure instanceof JspError ? thread.failure : error);
    if (this.isOver) return;
    const { readyAtMs } = thread;
    if (readyAtMs !== null && performance.now() - readyAtMs >= STABLE_MS) position.failures = 0;
    this.startLater(number, error);
  }

  private startLater(number: number, error: JspError): void {
    const position = this.positions[number];
    const waitMs =
      position.failures === 0 ? 0 : Math.min(WAIT_MS_MAX, WAIT_MS_MIN * 2 ** (position.failures - 1));
    position.failures++;
    position.timer = setTimeout(() => this.startAnew(number), waitMs);
    if (!this.isReferenced) position.timer.unref();
    this.owner.onEnded(number, error, waitMs);
  }

  /** [WRK-9] Where the system has no thread, or what it would be given cannot be given, that is an end as well. */
  private startAnew(number: number): void {
    try {
      this.startThread(number);
    } catch (error) {
      this.startLater(number, ended(number, error instanceof Error ? error : new Error(String(error))));
    }
  }

  /** What it reported in its last moments may still wait here. */
  private hearOut(number: number, thread: Thread): void {
    for (let last = receiveMessageOnPort(thread.control); last !== undefined; ) {
      this.onReport(number, thread, last.message as Report);
      last = receiveMessageOnPort(thread.control);
    }
  }

  private forget(thread: Thread, error: JspError): void {
    thread.control.close();
    for (const { reject } of thread.questions.values()) reject(error);
    thread.questions.clear();
  }

  /** Whether each of them has turned since the last look. */
  private look(): void {
    const now = performance.now();
    for (const [number, { thread }] of this.positions.entries()) {
      if (thread === null || thread.readyAtMs === null) continue;
      const beat = Atomics.load(this.beats, number);
      if (beat !== thread.beat) {
        thread.beat = beat;
        thread.beatAtMs = now;
      }
      const isStuck = now - thread.beatAtMs >= STUCK_MS;
      if (isStuck === thread.isStuck) continue;
      thread.isStuck = isStuck;
      this.owner.onStuck(number, isStuck);
    }
  }
}

function post(thread: Thread, order: Order, transfer: readonly Channel['port'][] = []): void {
  thread.control.postMessage(order, transfer);
}

function ended(number: number, cause: Error | null): JspError {
  const why = cause === null ? 'it is not there now' : cause.message;
  return new JspError(
    'ERR_JSP_WORKER_FAILED',
    `worker ${number} ended: ${why}`,
    cause === null ? {} : { cause },
  );
}

/** How often a thread shows that it turns, and is looked at. */
export const BEAT_MS = 1_000;
/** [WRK-10] */
const STUCK_MS = 5_000;
/** [WRK-9] */
const WAIT_MS_MIN = 100;
const WAIT_MS_MAX = 10_000;
const STABLE_MS = 10_000;
const SECRET_BYTES = 32;
/** Numbers of 24 bits. [WRK-2] */
const SEATS = 2 ** 24;
