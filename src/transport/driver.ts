/**
 * Runs an endpoint on a socket and a clock. It is the only caller of the sans-IO core, and each of its turns goes the same way:
 *
 *   1. hand in what happened: a batch of datagrams or a call of the application, which began the turn; then the timeout if it is due
 *      ({@link Driver.timeout}), and the hellos that there is time for ({@link Driver.answerHellos});
 *   2. hand out the core's events to the application, which may make more calls ({@link Driver.deliverEvents});
 *   3. take out and send what the core wants sent, a batch at a time ({@link Driver.transmit});
 *   4. see to the next turn: soon when there is more to do, else when the one timer says ({@link Driver.comeBack}).
 */

import { AsyncResource } from 'node:async_hooks';
import { JspError } from '../base/errors.ts';
import { MILLISECOND, type Micros, NEVER, SECOND } from '../base/time.ts';
import { type ReceiveBatch, TransmitBatch } from '../protocol/datagram/index.ts';
import type { Endpoint, EndpointEvent, ForeignPackets } from '../protocol/endpoint/index.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';
import { ImpairedSocket, type ImpairmentOptions, impairSocket } from '../udp/impaired-socket.ts';
import type { Radio } from './radio.ts';

/** What the driver's owner does with events, and with a socket that broke. */
export interface DriverOwner {
  onEvent(event: EndpointEvent): void;
  onSocketError(error: Error, fatal: boolean): void;
  /** The system does not take datagrams of so many bytes to this address. */
  onDatagramRefused(bytes: number, host: string, port: number): void;
  /** Of a batch that came, these are other workers'. The bytes are the socket's, to be copied now. */
  onForeign?(batch: ReceiveBatch, foreign: ForeignPackets): void;
}

export class Driver {
  readonly endpoint: Endpoint;
  socket: DatagramSocket;
  readonly clock: Clock;
  /** Hears of what is sent, where a connection spares the radio of its machine. */
  radio: Radio | null = null;
  /** Where events are handed out: the context of `listen` or `connect`, whoever woke the process up. [CON-31] */
  readonly context = new AsyncResource('JSP');
  private readonly owner: DriverOwner;
  /** The batch that the socket holds, while it does. */
  private held: TransmitBatch | null = null;
  private timer: TimerHandle | null = null;
  private timerAt: Micros = NEVER;
  /** Until when hellos rest while many wait. */
  private hellosAfter: Micros = 0;
  private turnIsDue = false;
  /** When the latest turn at the end of a tick was over. */
  private tickEndedAt: Micros = -TICKS_APART;
  private inTurn = false;
  /** How far the wait before overdue timeouts has come. */
  private overdue: Overdue = Overdue.NONE;
  /** Datagrams handed over since the last step of that wait. */
  private handedOver = 0;
  private roundsLeft = 0;
  /** The machine slept, or the process stood still, and the core does not know yet. */
  private isResumed = false;
  private readonly forgetClock: () => void;
  private stopping: Promise<void> | null = null;
  /** While it waits for peers to hear that their connections are over: called when all have. */
  private onHeard: (() => void) | null = null;
  private stopped = false;

  constructor(endpoint: Endpoint, socket: DatagramSocket, clock: Clock, owner: DriverOwner) {
    this.endpoint = endpoint;
    this.socket = socket;
    this.clock = clock;
    this.owner = owner;
    this.listen(socket);
    this.forgetClock = clock.onResume?.(this.onResume) ?? (() => {});
  }

  now(): Micros {
    return this.clock.now();
  }

  // ---- what the owner asks ----

  /**
   * The application changed something: takes a turn once it has done all it does now, so that small sends share packets. That is at the end
   * of the tick, for waiting until the event loop has gone round costs latency; but when the loop runs tick after tick, such as one for
   * each of many sockets that it reads, the sends of all of them share packets.
   */
  wake(): void {
    if (this.turnIsDue || this.inTurn || this.stopped) return;
    this.turnIsDue = true;
    const { clock } = this;
    if (clock.atEndOfTick !== undefined && clock.now() - this.tickEndedAt >= TICKS_APART) {
      clock.atEndOfTick(this.onEndOfTick);
    } else {
      clock.soon(this.onSoon);
    }
  }

  /** Takes a turn at once. */
  flush(): void {
    if (!this.inTurn) this.turn();
  }

  /** Sends what is due although a turn may be under way: for a thread that ends now, whatever it was doing. */
  sendLast(): void {
    for (let i = 0; i < LAST_TURNS && this.endpoint.wantsTransmit && this.held === null; i++) this.transmit();
  }

  /** Takes what another worker got for this one. */
  take(batch: ReceiveBatch): void {
    this.onBatch(batch);
  }

  /** Puts a bad network around the socket, or another one, or with null a good one. */
  impair(options: ImpairmentOptions | null): void {
    if (this.socket instanceof ImpairedSocket) return this.socket.impair(options);
    if (options === null || this.stopping !== null) return;
    // What the socket holds of ours it gives back as before.
    const inner = this.socket;
    this.socket = impairSocket(inner, options, this.clock);
    const { onWritable } = inner;
    inner.onWritable = () => {
      onWritable?.();
      if (this.held !== null) this.onWritable();
    };
    this.listen(this.socket);
  }

  /** Whether the open socket keeps the process alive. */
  setReferenced(referenced: boolean): void {
    if (this.stopping !== null) return;
    if (referenced) this.socket.ref();
    else this.socket.unref();
  }

  /** Sends what is due, goes on as long as a peer may not have heard the CONNECTION_CLOSE [CON-9], then stops for good and closes the socket. */
  stop(): Promise<void> {
    this.stopping ??= this.linger();
    return this.stopping;
  }

  /** A call on a connection threw. When that is our bug it ends the connection, and no other. Returns what to throw, if anybody is to catch it. [CON-33] */
  onInternalError(connection: EndpointEvent['connection'], error: unknown): JspError {
    if (error instanceof JspError) return error;
    this.endpoint.onInternalError(connection, error, this.clock.now());
    this.wake();
    return internalError(error);
  }

  // ---- what happens ----

  private listen(socket: DatagramSocket): void {
    socket.onBatch = this.onBatch;
    socket.onWritable = this.onWritable;
    socket.onError = this.onError;
    socket.onTooLarge = this.onTooLarge;
  }

  private readonly onBatch = (batch: ReceiveBatch): void => {
    if (this.stopped) return;
    this.handedOver += batch.count;
    const { endpoint } = this;
    endpoint.receive(batch, this.clock.now(), 0);
    if (endpoint.foreign.count > 0) this.owner.onForeign?.(batch, endpoint.foreign);
    this.turn();
  };

  private readonly onSoon = (): void => {
    this.turnIsDue = false;
    this.turn();
  };

  private readonly onEndOfTick = (): void => {
    this.turnIsDue = false;
    this.turn();
    this.tickEndedAt = this.clock.now();
  };

  private readonly onTimer = (): void => {
    this.timer = null;
    this.timerAt = NEVER;
    this.turn();
  };

  /** The loop polled the socket once more. */
  private readonly onPolled = (): void => {
    if (this.stopped) return;
    if (this.overdue === Overdue.POLLING) {
      this.overdue = Overdue.HANDING_OVER;
    } else if (this.handedOver >= DATAGRAMS_A_POLL && this.roundsLeft > 0) {
      this.roundsLeft--;
    } else {
      this.overdue = Overdue.DUE;
      this.turn();
      return;
    }
    this.handedOver = 0;
    this.clock.soon(this.onPolled);
  };

  private readonly onResume = (): void => {
    if (this.stopped) return;
    this.isResumed = true;
    this.turn();
  };

  private readonly onWritable = (): void => {
    if (this.held !== null) giveBack(this.held);
    this.held = null;
    this.turn();
  };

  private readonly onError = (error: Error, fatal: boolean): void => {
    if (!this.stopped) this.owner.onSocketError(error, fatal);
  };

  private readonly onTooLarge = (bytes: number, host: string, port: number): void => {
    if (this.stopped) return;
    this.owner.onDatagramRefused(bytes, host, port);
    this.wake();
  };

  // ---- a turn, in the order of its steps ----

  private turn(): void {
    if (!this.stopped) this.context.runInAsyncScope(this.takeTurn, this);
  }

  private takeTurn(): void {
    this.inTurn = true;
    try {
      this.timeout();
      this.answerHellos();
      this.deliverEvents();
      this.transmit();
      this.deliverEvents(); // of what sending found, such as a connection that is over
    } finally {
      // Also when the clock or the socket of somebody else threw: the next turn goes on from here.
      this.inTurn = false;
      this.comeBack();
    }
  }

  /**
   * Hands in the timeouts that are due. When one is overdue the process was busy, or stood still, and what makes the timeout void may
   * wait in the socket: it is read first, whatever began this turn. What `soon` calls now may run before what the next poll brings is
   * handed over, so the second call counts; and one poll brings so many datagrams at most, so that a full one is followed by another.
   * When it is overdue by much, peers are asked before they count as gone.
   */
  private timeout(): void {
    const now = this.clock.now();
    const late = now - this.endpoint.nextTimeout();
    if (late > STALL) this.isResumed = true;
    if (this.overdue === Overdue.NONE && (late > LATE || this.isResumed)) {
      this.overdue = Overdue.POLLING;
      this.roundsLeft = POLLS_MAX;
      this.clock.soon(this.onPolled);
    }
    if (this.overdue === Overdue.POLLING || this.overdue === Overdue.HANDING_OVER) return;
    this.overdue = Overdue.NONE;
    const hasSlept = this.isResumed;
    this.isResumed = false;
    if (hasSlept || this.endpoint.nextTimeout() <= now) this.endpoint.timeout(now, hasSlept);
  }

  /** As many as there is time for; the event loop turns before the others are answered. [CON-35] */
  private answerHellos(): void {
    const { endpoint, clock } = this;
    if (!endpoint.hasHellos) return;
    const from = clock.now();
    if (from < this.hellosAfter && endpoint.hasManyHellos) return;
    let now = from;
    for (let i = 0; i < HELLOS_A_TURN && endpoint.hasHellos && now - from < HELLOS_TIME; i++) {
      endpoint.answerHello(now);
      now = clock.now();
    }
    // When more come than can be answered, who is connected has most of the time. [CON-41]
    this.hellosAfter = now + HELLOS_REST * (now - from);
  }

  private deliverEvents(): void {
    for (;;) {
      const event = this.endpoint.pollEvent();
      if (event === null || this.stopped) return;
      try {
        this.owner.onEvent(event);
      } catch (error) {
        // Not a listener's: those are isolated.
        this.onInternalError(event.connection, error);
      }
    }
  }

  /** A few batches at most, so that datagrams that came meanwhile are looked at before more are sent. */
  private transmit(): void {
    if (this.held !== null || !this.endpoint.wantsTransmit) return;
    const batch = FREE_BATCHES.pop() ?? new TransmitBatch();
    for (let i = 0; i < BATCHES_A_TURN && this.endpoint.wantsTransmit; i++) {
      if (this.endpoint.transmit(batch, this.clock.now()) === 0) break;
      let isFree: boolean;
      try {
        isFree = this.socket.send(batch);
      } catch (error) {
        // [CON-34] Its datagrams count as lost. The batch is left to the socket, which may hold it.
        this.endpoint.counters.batchesRefused++;
        this.onError(error as Error, false);
        return;
      }
      if (!isFree) {
        this.held = batch;
        return;
      }
      batch.clear();
      this.radio?.onSent(this.clock.now());
    }
    giveBack(batch);
  }

  /** Sees to it that there is a next turn when one is needed. */
  private comeBack(): void {
    if (this.stopped) return;
    if (this.onHeard !== null && this.endpoint.answersUntil === 0) this.onHeard();
    if (this.hasWork) this.goOn();
    else if (this.overdue === Overdue.NONE) this.armTimer();
  }

  /** After the loop has gone round, so that datagrams that came meanwhile are looked at first. */
  private goOn(): void {
    if (this.turnIsDue) return;
    this.turnIsDue = true;
    this.clock.soon(this.onSoon);
  }

  private get hasWork(): boolean {
    const { endpoint } = this;
    return endpoint.hasEvents || endpoint.hasHellos || (endpoint.wantsTransmit && this.held === null);
  }

  /** Moving a timer costs more than one early wake-up, so a timer that is set for earlier is left as it is. */
  private armTimer(): void {
    const at = this.endpoint.nextTimeout();
    if (at === NEVER) return;
    if (this.timer !== null) {
      if (this.timerAt <= at) return;
      this.clock.clearTimer(this.timer);
    }
    this.timerAt = Math.max(at, this.clock.now() + MILLISECOND);
    this.timer = this.clock.setTimer(this.timerAt, this.onTimer);
  }

  // ---- the end ----

  private async linger(): Promise<void> {
    this.transmit();
    const now = this.clock.now();
    const until = Math.min(this.endpoint.answersUntil, now + LINGER_MAX);
    if (until > now) await this.allHaveHeard(until);
    this.stopped = true;
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
    this.forgetClock();
    await this.socket.close();
  }

  /** Every peer knows that its connection is over, or has had the time that it takes to hear of it. */
  private allHaveHeard(until: Micros): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.clock.setTimer(until, resolve);
      this.onHeard = () => {
        this.clock.clearTimer(timer);
        resolve();
      };
    });
  }
}

/** What an application is told when a connection ends by a bug of ours. */
export function internalError(cause: unknown): JspError {
  const what = cause instanceof Error ? cause.message : String(cause);
  return new JspError(
    'ERR_JSP_INTERNAL',
    `a bug in jetstream-proto ended the connection, please report it: ${what}`,
    { cause },
  );
}

/** Most sockets take a batch at once, so that all drivers of the process can share a few. */
function giveBack(batch: TransmitBatch): void {
  batch.clear();
  if (FREE_BATCHES.length < FREE_BATCHES_MAX) FREE_BATCHES.push(batch);
}

const FREE_BATCHES: TransmitBatch[] = [];
const FREE_BATCHES_MAX = 4;
const BATCHES_A_TURN = 4;
/** Good-byes of some ten thousand connections. */
const LAST_TURNS = 16;
/** Ticks that follow each other sooner are those of a loop that is busy. */
const TICKS_APART: Micros = 100;
/** A turn answers hellos until this much time has passed, and no more than so many; with the KEM in JavaScript one takes longer. */
const HELLOS_TIME: Micros = MILLISECOND / 2;
const HELLOS_A_TURN = 8;
/** Times as long as it answered hellos, a driver with many that wait does everything else. */
const HELLOS_REST = 4;
const LINGER_MAX: Micros = 30 * SECOND;
/** A timeout that comes later than this, which is more than timers are late by themselves, waits until the socket was read. */
const LATE: Micros = 2 * MILLISECOND;
/** A timeout that comes later than this tells that the machine slept or the process stood still. [CON-16] */
const STALL: Micros = SECOND;
/** libuv reads no more datagrams of a socket before it lets the loop turn. */
const DATAGRAMS_A_POLL = 32;
/** So many full polls in a row, and timeouts are due all the same: a flood does not keep them away. */
const POLLS_MAX = 64;

/** What overdue timeouts wait for. */
const Overdue = {
  NONE: 0,
  /** The socket is to be polled. */
  POLLING: 1,
  /** What the poll brought is to be handed over. */
  HANDING_OVER: 2,
  /** Nothing any more. */
  DUE: 3,
} as const;
type Overdue = (typeof Overdue)[keyof typeof Overdue];
