/**
 * A worker's end of what it shares with the core of its broker: it hands on what the clients of its connections say, as far as the core is not behind with that ({@link Backlog}), and does on
 * their streams what the core orders.
 */

import { isCompressed, ReasonCode, reasonCodeName, STREAM_LABEL } from '../../pubsub/command.ts';
import {
  type ConnectionFacts,
  type MessageConnection,
  type MessageStream,
  STREAM_PRIORITIES,
  sendCommand,
} from '../../pubsub/message-stream.ts';
import type { Clock } from '../../udp/clock.ts';
import { Backlog, ClientBacklog, StreamBacklog } from './backlog.ts';
import {
  type BatchPort,
  FrameReader,
  FrameWriter,
  LINK_FIGURES,
  Manner,
  MESSAGE_BYTES,
  Order,
  Report,
} from './frames.ts';

/** What is known of a connection where it is. */
export interface TransportFacts extends ConnectionFacts {
  /** Its handshake is complete: nothing of what it has proved changes any more. */
  readonly isEstablished: boolean;
  /** So many more of its streams (or fewer, below 0) count as open although they are closed: it may open no others in their place. */
  holdStreams(count: number): void;
  /** The client is told that the broker ends within so long, and where to go: empty, here again. */
  announceEnd(url: string, withinMs: number): void;
}

export interface CoreLineSurroundings {
  readonly port: BatchPort;
  readonly clock: Clock;
  /** A monotonic time that the core has, too. */
  readonly sharedMs: () => number;
}

/** A connection of a client. */
class Served {
  readonly number: number;
  readonly connection: MessageConnection;
  readonly facts: TransportFacts;
  readonly streams = new Set<ServedStream>();
  readonly backlog = new ClientBacklog(this.streams);
  /** Streams that the core has opened. */
  opened = 0;
  /** What the core was told last. */
  toldOpenable = 0;
  toldAddress = '';
  toldIdentity = '';
  /** Its identity was told as it stays. */
  isSettled = false;
  /** Batches in which the core was told of it, and of its link, last. */
  toldIn = 0;
  linkIn = 0;

  constructor(number: number, connection: MessageConnection, facts: TransportFacts) {
    this.number = number;
    this.connection = connection;
    this.facts = facts;
  }
}

/** A stream of such a connection. */
class ServedStream {
  readonly number: number;
  readonly stream: MessageStream;
  readonly served: Served;
  readonly backlog: StreamBacklog;
  /** Bytes that the core has given, and those of which it knows that they have left. */
  givenBytes = 0;
  toldBytes = 0;
  isWatched = false;
  /** The batch in which the core was told last what has left. */
  leftIn = 0;

  constructor(number: number, stream: MessageStream, served: Served) {
    this.number = number;
    this.stream = stream;
    this.served = served;
    this.backlog = new StreamBacklog(served.backlog, stream);
  }

  /** The client has opened it: such streams have odd numbers. */
  get isByClient(): boolean {
    return this.number % 2 === 1;
  }
}

export class CoreLine {
  private readonly around: CoreLineSurroundings;
  private readonly writer = new FrameWriter();
  private readonly reader = new FrameReader();
  private readonly backlog = new Backlog(this.writer);
  private readonly connections = new Map<number, Served>();
  private readonly streams = new Map<number, ServedStream>();
  private lastConnection = 0;
  private lastStream = -1;
  /** Streams of which something has not left yet, or the core does not know it. */
  private watched: ServedStream[] = [];
  private isLooking = false;
  private isFlushDue = false;
  /** Connections of which something has changed that is told when the core has taken what it was told before. */
  private readonly changed = new Set<Served>();
  /** Clients of whom the core has not heard yet. */
  private unheard = 0;
  /** Connections that are still to be looked at in this round. */
  private round: IterableIterator<Served> | null = null;
  private readonly flush = () => this.flushNow();
  private readonly look = () => {
    this.isLooking = false;
    this.lookAtWatched();
  };

  constructor(around: CoreLineSurroundings) {
    this.around = around;
  }

  /** Serves a client, until its connection closes. While the core stands still no more come than it can be told of. [BRK-135] */
  serve(connection: MessageConnection, facts: TransportFacts): void {
    if (this.unheard >= UNHEARD_MAX) {
      connection.destroy(ReasonCode.BUSY, reasonCodeName(ReasonCode.BUSY));
      return;
    }
    this.unheard++;
    this.backlog.whenTaken(() => {
      this.unheard--;
    });
    const served = new Served(++this.lastConnection, connection, facts);
    this.connections.set(served.number, served);
    this.writer.frame(Report.CONNECTED, served.number);
    this.tellFacts(served);
    connection.on('stream', (stream) => this.streamCame(served, stream));
    connection.on('close', (error) => {
      this.connections.delete(served.number);
      this.changed.delete(served);
      this.backlog.forgetClient(served.backlog);
      for (const stream of served.streams) this.forget(stream);
      this.writer.frame(Report.DISCONNECTED, served.number);
      this.writer.text(error === null ? '' : error.message || 'the connection failed');
      this.flushLater();
    });
    this.flushLater();
  }

  /** Does what the core orders. */
  take(batch: Uint8Array): void {
    const { reader, writer } = this;
    reader.begin(batch);
    let message: Uint8Array = NOTHING;
    let manner: number = Manner.RELIABLE;
    let untilMs = 0;
    let isMessages = false;
    while (!reader.isAtEnd) {
      const type = reader.u8();
      if (type === Order.TO) this.send(reader.u32(), message, manner, untilMs);
      else if (type === Order.MESSAGE) {
        manner = reader.u8();
        untilMs = reader.f64();
        message = reader.take(reader.u32());
        isMessages = true;
      } else this.takeOrder(type);
    }
    if (isMessages) this.lookSoon();
    if (writer.length > 0) this.flushLater();
  }

  /** Looks at a part of the connections, so that the core knows of each, every ten times that this is called, where its client is and how its link is. */
  tellOfLinks(): void {
    this.round ??= this.connections.values();
    for (let left = Math.ceil(this.connections.size / LOOKS_OF_A_ROUND); left > 0; left--) {
      const { value: served, done } = this.round.next();
      if (done === true) {
        this.round = null;
        break;
      }
      this.lookAt(served);
      if (!this.backlog.isTaken(served.linkIn)) continue;
      const link = served.facts.link();
      if (link === null) continue;
      served.linkIn = this.backlog.number;
      this.writer.frame(Report.LINK, served.number);
      for (const name of LINK_FIGURES) this.writer.f64(link[name]);
    }
    if (this.writer.length > 0) this.flushLater();
  }

  /** Sends what was said so far. */
  flushNow(): void {
    this.isFlushDue = false;
    const { writer } = this;
    if (writer.length === 0) return;
    const batch = writer.take();
    this.backlog.sent(batch.length);
    this.around.port.post(batch);
  }

  // ---- what clients say ----

  private streamCame(served: Served, stream: MessageStream): void {
    this.lastStream += 2;
    const { writer } = this;
    writer.frame(Report.STREAM, served.number);
    writer.u32(this.lastStream);
    writer.f64(stream.id);
    writer.f64(stream.messageBytesMax);
    writer.u8(STREAM_PRIORITIES.indexOf(stream.priority));
    writer.u8(stream.ordered ? 1 : 0);
    writer.text(stream.label);
    writer.text(stream.delivery);
    this.carry(new ServedStream(this.lastStream, stream, served));
    this.flushLater();
  }

  private carry(each: ServedStream): void {
    const { stream, served } = each;
    this.streams.set(each.number, each);
    served.streams.add(each);
    stream.highWaterMark = HIGH_WATER_BYTES;
    this.backlog.began(each.backlog);
    stream.on('message', (message) => this.messageCame(each, message));
    stream.on('drain', () => this.lookSoon());
    stream.on('end', () => {
      // What the core answers comes later than the transport would end this direction by itself.
      (stream as { allowHalfOpen?: boolean }).allowHalfOpen = true;
      this.report(Report.ENDED, each);
    });
    let why = '';
    stream.on('error', (error) => {
      why = error.message || 'the stream failed';
    });
    stream.on('close', () => {
      if (this.streams.has(each.number)) {
        this.report(Report.CLOSED, each);
        this.writer.text(why);
        if (each.isByClient) {
          served.facts.holdStreams(1); // [BRK-135]
          this.backlog.whenTaken(() => served.facts.holdStreams(-1));
        }
      }
      this.forget(each);
      this.lookAt(served); // another one may be opened
    });
  }

  private messageCame(each: ServedStream, message: Uint8Array): void {
    const { writer } = this;
    const { served } = each;
    if (!served.isSettled) this.lookAt(served);
    writer.frame(Report.MESSAGE, each.number);
    writer.u8(each.stream.hasReceivedBestEffort ? 1 : 0);
    writer.u32(message.length);
    writer.put(message);
    this.backlog.read(each.backlog, message.length + MESSAGE_BYTES);
    if (writer.length >= BATCH_BYTES) this.flushNow();
    else this.flushLater();
  }

  /** Tells of a connection what has changed. */
  private lookAt(served: Served): void {
    const { facts, connection } = served;
    const openable = served.opened + connection.openableStreams;
    const isSameIdentity = (facts.identity ?? '') === served.toldIdentity;
    const isSame = openable === served.toldOpenable && facts.address === served.toldAddress && isSameIdentity;
    served.isSettled = facts.isEstablished;
    if (isSame || !this.connections.has(served.number)) return;
    // Whose a message is is told before it, which is once. What may change again and again waits its turn.
    if (isSameIdentity && !this.backlog.isTaken(served.toldIn)) {
      this.changed.add(served);
      return;
    }
    this.writer.frame(Report.FACTS, served.number);
    this.tellFacts(served);
    this.flushLater();
  }

  private tellFacts(served: Served): void {
    const { facts, connection } = served;
    served.toldIn = this.backlog.number;
    served.toldOpenable = served.opened + connection.openableStreams;
    served.toldAddress = facts.address;
    served.toldIdentity = facts.identity ?? '';
    this.writer.u32(served.toldOpenable);
    this.writer.text(served.toldAddress);
    this.writer.text(served.toldIdentity);
  }

  // ---- what the core orders ----

  private send(number: number, message: Uint8Array, manner: number, untilMs: number): void {
    const each = this.streams.get(number);
    if (each === undefined) return;
    const { stream } = each;
    each.givenBytes += message.length;
    if (!each.isWatched) {
      each.isWatched = true;
      this.watched.push(each);
    }
    try {
      if (manner === Manner.RELIABLE) sendCommand(stream, message, false);
      else {
        const isForEver = untilMs === Number.POSITIVE_INFINITY;
        const lifetimeMs = isForEver ? 0 : untilMs - this.around.sharedMs();
        if (lifetimeMs <= 0 && !isForEver) return; // [BRK-86] too late
        const delivery = manner === Manner.BEST_EFFORT ? 'bestEffort' : 'reliable';
        if (isCompressed(message)) stream.send(message, { delivery, lifetimeMs, compression: false });
        else stream.send(message, { delivery, lifetimeMs });
      }
    } catch {
      // closed: its end is told
    }
  }

  private takeOrder(type: number): void {
    const { reader } = this;
    if (type === Order.TAKEN) {
      this.taken();
      return;
    }
    const subject = reader.u32();
    switch (type) {
      case Order.OPEN:
        this.open(subject, reader.u32(), reader.u8());
        return;
      case Order.CLOSE: {
        const code = reader.u32();
        this.connections.get(subject)?.connection.destroy(code, reasonCodeName(code));
        return;
      }
      case Order.EXPORT:
        this.answerSecret(subject);
        return;
      case Order.SYNC:
        this.answer(subject, NOTHING);
        return;
      case Order.ANNOUNCE: {
        const url = reader.text();
        for (const { facts } of this.connections.values()) facts.announceEnd(url, subject);
        return;
      }
    }
    const value = type === Order.RESET || type === Order.UNREAD ? reader.u32() : 0;
    const each = this.streams.get(subject);
    if (each === undefined) return;
    const { stream } = each;
    if (type === Order.PAUSE) this.backlog.pause(each.backlog);
    else if (type === Order.RESUME) this.backlog.resume(each.backlog);
    else if (type === Order.UNREAD) this.backlog.unread(each.backlog, value);
    else if (type === Order.END) attempt(() => stream.end());
    else if (type === Order.RESET) {
      this.forget(each); // the core knows that it is over
      attempt(() => stream.reset(value));
    }
  }

  /** The core has taken a batch: what was not told meanwhile is. */
  private taken(): void {
    this.backlog.taken();
    for (const served of this.changed) {
      if (!this.backlog.isTaken(served.toldIn)) continue;
      this.changed.delete(served);
      this.lookAt(served);
    }
    if (this.watched.length > 0) this.lookSoon();
  }

  private open(connection: number, number: number, priority: number): void {
    const served = this.connections.get(connection);
    if (served === undefined) return; // which the core will hear
    served.opened++;
    try {
      const stream = served.connection.openStream({
        label: STREAM_LABEL,
        priority: STREAM_PRIORITIES[priority],
        delivery: 'reliable',
        ordered: true,
      });
      this.carry(new ServedStream(number, stream, served));
    } catch {
      this.writer.frame(Report.NOT_OPENED, number);
      this.flushLater();
    }
  }

  private answerSecret(connection: number): void {
    const { reader } = this;
    const question = reader.u32();
    const length = reader.u32();
    const label = reader.text();
    const context = Uint8Array.from(reader.blob());
    const secret = this.connections.get(connection)?.facts.exporter(label, context, length) ?? null;
    void Promise.resolve(secret).then((found) => this.answer(question, found ?? NOTHING));
  }

  private answer(question: number, what: Uint8Array): void {
    this.writer.frame(Report.ANSWER, question);
    this.writer.blob(what);
    this.flushLater();
  }

  // ---- what has left ----

  /** When the transport has sent what it could of what was given to it now. */
  private lookSoon(): void {
    if (this.isLooking) return;
    this.isLooking = true;
    this.around.clock.soon(this.look);
  }

  /** Tells what has left of each stream, and looks again as long as something has not. */
  private lookAtWatched(): void {
    const { watched, writer } = this;
    let kept = 0;
    let isWaiting = false;
    for (const each of watched) {
      const waiting = each.stream.queuedBytes;
      // While the transport has it in another form, such as compressed, that is not known to the byte; when it has nothing it is.
      const leftBytes = waiting === 0 ? each.givenBytes : Math.max(each.toldBytes, each.givenBytes - waiting);
      const isThere = this.streams.has(each.number);
      const isNews = isThere && leftBytes > each.toldBytes;
      const isDue = isNews && this.backlog.isTaken(each.leftIn);
      if (isDue) {
        writer.frame(Report.LEFT, each.number);
        writer.u32(leftBytes - each.toldBytes);
        each.toldBytes = leftBytes;
        each.leftIn = this.backlog.number;
      }
      each.isWatched = (waiting > 0 && isThere) || (isNews && !isDue);
      if (each.isWatched) watched[kept++] = each;
      isWaiting ||= waiting > 0 && isThere;
    }
    watched.length = kept;
    if (writer.length > 0) this.flushLater();
    if (!isWaiting || this.isLooking) return;
    this.isLooking = true;
    const { clock } = this.around;
    clock.setTimer(clock.now() + LOOK_AGAIN_MICROS, this.look);
  }

  private forget(each: ServedStream): void {
    this.streams.delete(each.number);
    each.served.streams.delete(each);
    this.backlog.forget(each.backlog);
  }

  private report(type: number, { number }: ServedStream): void {
    this.writer.frame(type, number);
    this.flushLater();
  }

  private flushLater(): void {
    if (this.isFlushDue) return;
    this.isFlushDue = true;
    const { clock } = this.around;
    if (clock.atEndOfTick === undefined) clock.soon(this.flush);
    else clock.atEndOfTick(this.flush);
  }
}

function attempt(act: () => void): void {
  try {
    act();
  } catch {
    // It is over already, which the core hears.
  }
}

const NOTHING = new Uint8Array(0);
/** A batch that has so much goes before the turn is over. */
const BATCH_BYTES = 64 * 1_024;
/** A stream that has more than this tells when it has half of it. */
const HIGH_WATER_BYTES = 16 * 1_024;
const LOOK_AGAIN_MICROS = 5_000;
const LOOKS_OF_A_ROUND = 10;
/** Clients of whom the core has not heard yet: as many as come in several seconds at most. */
const UNHEARD_MAX = 4_096;
