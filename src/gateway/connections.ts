/**
 * The connections that bring requests. A client may send the next request before the last one is answered, and Node tells of the end of a connection only the answer whose
 * turn it is: here all of them are told, so that nothing of a caller outlives his connection. And who does not read what he is answered is let go. [GW-8]
 */

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { MILLISECOND, type Micros } from '../base/time.ts';
import type { Clock, TimerHandle } from '../udp/clock.ts';
import type { Exchange } from './exchange.ts';
import { CRAWL_BYTES_PER_MS } from './outgoing.ts';

/** What is under way on one connection. */
interface Line {
  readonly exchanges: Set<Exchange>;
  /** Bytes that the system has not taken, as the last look found them, and since when they are as many. */
  waitingBytes: number;
  since: Micros;
}

export class Connections {
  private readonly clock: Clock;
  /** All that were accepted: of one that speaks TLS what is below that. */
  private readonly accepted = new Set<Socket>();
  /** Those that have brought a request. */
  private readonly lines = new Map<Socket, Line>();
  private timer: TimerHandle | null = null;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  get size(): number {
    return this.accepted.size;
  }

  /** One that goes on in HTTP where it has offered something else comes again. */
  accept(socket: Socket): void {
    if (this.accepted.has(socket)) return;
    this.accepted.add(socket);
    socket.on('close', () => this.accepted.delete(socket));
  }

  /** A request has come: it is told when its answer, or its connection, is over. */
  begin(exchange: Exchange): void {
    const { socket } = exchange.request;
    const line = this.lines.get(socket) ?? this.open(socket);
    line.exchanges.add(exchange);
    exchange.response.on('close', () => {
      line.exchanges.delete(exchange);
      exchange.close();
    });
  }

  /** It has brought a request that was refused at once: whether the answer is read is looked after as that of others. */
  know(socket: Socket): void {
    if (!this.lines.has(socket)) this.open(socket);
  }

  /** Something that it has asked for is not answered. */
  isBusy(socket: Duplex): boolean {
    return (this.lines.get(socket as Socket)?.exchanges.size ?? 0) > 0;
  }

  /** Cuts all of them off. */
  destroy(): void {
    for (const socket of this.accepted) socket.destroy();
  }

  close(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private open(socket: Socket): Line {
    const line: Line = { exchanges: new Set(), waitingBytes: 0, since: 0 };
    this.lines.set(socket, line);
    socket.on('close', () => {
      this.lines.delete(socket);
      for (const exchange of line.exchanges) exchange.close();
      line.exchanges.clear();
    });
    this.lookLater();
    return line;
  }

  private lookLater(): void {
    const { clock } = this;
    this.timer ??= clock.setTimer(clock.now() + LOOK_MS * MILLISECOND, () => {
      this.timer = null;
      this.look(clock.now());
      if (this.lines.size > 0) this.lookLater();
    });
  }

  private look(now: Micros): void {
    for (const [socket, line] of this.lines) {
      const { writableLength } = socket;
      if (writableLength === 0 || writableLength !== line.waitingBytes) {
        line.waitingBytes = writableLength;
        line.since = now;
        continue;
      }
      // The system may say that it moves only when it has taken all of an answer.
      const allowedMs = STALL_MS + writableLength / CRAWL_BYTES_PER_MS;
      if (now - line.since > allowedMs * MILLISECOND) socket.destroy();
    }
  }
}

const LOOK_MS = 5_000;
/** Longer than what has rules of its own: a stream of events, which is told why it is let go. [GW-45] */
const STALL_MS = 30_000;
