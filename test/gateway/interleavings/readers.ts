/** Two who read one log through two doors, and keep no more than their position: what they are told has to be true, and each message has to come to them once. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { ANONYMOUS, factsOf } from '../../../src/gateway/caller.ts';
import { Conversation } from '../../../src/gateway/conversation.ts';
import type { Exchange } from '../../../src/gateway/exchange.ts';
import { Outgoing } from '../../../src/gateway/outgoing.ts';
import { Session } from '../../../src/gateway/session.ts';
import { EventStream } from '../../../src/gateway/sse.ts';
import { subscriptionRequest } from '../../../src/gateway/subscription-request.ts';
import { slowMatches } from '../../pubsub/slow-topic.ts';
import { Violation } from '../../sim/invariants.ts';
import type { World } from './world.ts';

export interface Told {
  readonly epoch: number;
  readonly offset: number;
  readonly head: number;
  readonly recovered: boolean;
  readonly missed: number | null;
}

export interface TheMessage {
  readonly topic: string;
  readonly text: string;
  readonly offset: number;
  readonly redelivered?: boolean;
}

export interface Reader {
  breakOff(): void;
  comeBack(): void;
  setSlow(isSlow: boolean): void;
  /** Does something that only it does. */
  poke(): void;
  clearUp(): void;
  expectAll(): void;
}

/** A stretch of a log that has gone by: from a position to another, with so many offsets told to be missing. */
interface Stretch {
  readonly epoch: number;
  readonly from: number;
  to: number;
  missed: number;
}

/** What holds for each of them, whichever its door is. */
export abstract class LogReader implements Reader {
  protected readonly world: World;
  protected readonly filter: string;
  protected readonly reset: 'new' | 'earliest';
  protected readonly first: 'new' | 'earliest';
  /** Where it is; null: it was never told. */
  protected position: { epoch: number; offset: number } | null = null;
  private readonly delivered = new Map<string, string>();
  private readonly stretches: Stretch[] = [];
  protected socket: FakeSocket | null = null;
  private isSlow = false;

  constructor(world: World) {
    const { random } = world;
    this.world = world;
    this.filter = ['t/#', 't/1', 't/+'][random.below(3)];
    this.reset = random.chance(0.5) ? 'new' : 'earliest';
    this.first = random.chance(0.5) ? 'new' : 'earliest';
    world.after(random.below(50), () => this.comeBack());
  }

  abstract comeBack(): void;
  protected abstract goOff(): void;

  breakOff(): void {
    if (this.socket === null) return;
    this.world.totals.add('broken off', 1);
    this.socket.cut();
    this.socket = null;
    this.goOff();
  }

  setSlow(isSlow: boolean): void {
    this.isSlow = isSlow;
    this.socket?.setTaking(!isSlow);
  }

  poke(): void {
    this.breakOff();
    this.comeBack();
  }

  clearUp(): void {
    this.setSlow(false);
    if (this.socket === null) this.comeBack();
  }

  /** The gateway has let it go: it comes back, as long as there is a world. */
  protected onLeft(): void {
    if (this.socket === null) return;
    this.socket.cut();
    this.socket = null;
    this.goOff();
    this.world.totals.add('let go', 1);
    this.world.after(this.world.random.between(1, 40), () => this.comeBack());
  }

  protected newSocket(): FakeSocket {
    const socket = new FakeSocket(this.world);
    socket.setTaking(!this.isSlow);
    this.socket = socket;
    return socket;
  }

  protected onBegun(begun: Told): void {
    const since = this.position;
    const { totals } = this.world;
    const fail = (why: string) => {
      throw new Violation(
        `${this} asked to go on behind ${JSON.stringify(since)}, was told ${JSON.stringify(begun)}: ${why}`,
      );
    };
    if (since === null) {
      if (begun.recovered) fail('there was nothing to recover');
    } else if (begun.missed === null) {
      totals.add('reset', 1);
      if (begun.recovered) fail('it is not known what is missed');
      if (since.epoch === begun.epoch && since.offset < begun.head) fail('that position is one of the log');
    } else {
      totals.add(begun.recovered ? 'recovered' : 'missed some', 1);
      if (since.epoch !== begun.epoch) fail('that is another log');
      if (begun.offset - since.offset !== begun.missed) fail('that many are not between the two');
      if (begun.recovered !== (begun.missed === 0)) fail('missed and recovered contradict each other');
      const { log } = this.world;
      if (begun.missed > 0 && log?.epoch === begun.epoch && begun.offset >= log.earliest)
        fail('the log has some of them');
    }
    const { epoch, offset, missed } = begun;
    if (since !== null && since.epoch === epoch && missed !== null) {
      this.stretches.push({ epoch, from: since.offset, to: offset, missed });
    }
    this.position = { epoch, offset };
    this.stretches.push({ epoch, from: offset, to: offset, missed: 0 });
  }

  protected onMessage({ topic, text, offset }: TheMessage): void {
    const { position } = this;
    if (position === null) throw new Violation(`${this} got a message before it was told where it is`);
    const place = `${position.epoch}:${offset}`;
    if (!slowMatches(this.filter, topic)) throw new Violation(`${this} got ${place}, which is of ${topic}`);
    if (this.delivered.has(place)) throw new Violation(`${this} got ${place} twice`);
    if (offset <= position.offset)
      throw new Violation(`${this} got ${place} and is behind ${position.offset}`);
    this.delivered.set(place, text.trimEnd());
    this.world.totals.add('messages', 1);
    this.goTo(position.epoch, offset);
  }

  protected onPosition(epoch: number, offset: number): void {
    if (this.position?.epoch !== epoch) this.stretches.push({ epoch, from: offset, to: offset, missed: 0 });
    this.goTo(epoch, offset);
  }

  protected onGap(missed: number | null, reason: string): void {
    if (missed === null || reason !== 'retention')
      throw new Violation(`${this} was told of a gap of ${missed}, ${reason}`);
    this.world.totals.add('gaps', 1);
    const last = this.stretches.at(-1);
    if (last !== undefined) last.missed += missed;
  }

  private goTo(epoch: number, offset: number): void {
    const last = this.stretches.at(-1);
    if (last === undefined) throw new Violation(`${this} is somewhere before it has begun`);
    this.position = {
      epoch,
      offset: Math.max(offset, this.position?.epoch === epoch ? this.position.offset : 0),
    };
    last.to = Math.max(last.to, offset);
    this.stretches.push({ epoch, from: last.to, to: last.to, missed: 0 });
  }

  /** At the end: in each stretch that it has gone through, all that matched has come, but for what it was told. */
  expectAll(): void {
    const { stored, log } = this.world;
    if (this.position === null) throw new Violation(`${this} never came to read`);
    if (log?.epoch !== this.position.epoch)
      throw new Violation(`${this} is still in epoch ${this.position.epoch}`);
    const rest = {
      epoch: log.epoch,
      from: this.position.offset,
      to: log.head - 1,
      missed: this.stretches.at(-1)?.missed ?? 0,
    };
    for (const { epoch, from, to, missed } of [...this.stretches, rest]) {
      let lost = 0;
      let firstLost = 0;
      for (let offset = from + 1; offset <= to; offset++) {
        const topic = stored.get(epoch)?.get(offset)?.topic;
        if (topic === undefined || !slowMatches(this.filter, topic)) continue;
        if (this.delivered.has(`${epoch}:${offset}`)) continue;
        lost++;
        firstLost ||= offset;
      }
      if (lost > missed)
        throw new Violation(
          `${this} went from ${from} to ${to} of ${epoch} without ${lost}, such as ${firstLost}; told were ${missed}`,
        );
    }
    for (const [place, text] of this.delivered) {
      const [epoch, offset] = place.split(':').map(Number);
      const known = stored.get(epoch)?.get(offset);
      if (known !== undefined && known.text !== text)
        throw new Violation(`${this} got "${text}" at ${place}, where "${known.text}" is`);
    }
  }

  toString(): string {
    return `the reader of ${this.filter} by ${this.constructor.name}`;
  }
}

export class WsReader extends LogReader {
  private conversation: Conversation | null = null;

  comeBack(): void {
    if (this.conversation !== null) return;
    const { world } = this;
    const socket = this.newSocket();
    let buffered: Buffer = Buffer.alloc(0);
    socket.onBytes = (bytes) => {
      buffered = buffered.length === 0 ? bytes : Buffer.concat([buffered, bytes]);
      for (let frame = firstFrame(buffered); frame !== null; frame = firstFrame(buffered)) {
        buffered = buffered.subarray(frame.end);
        this.onFrame(JSON.parse(frame.text), socket);
      }
    };
    const conversation = conversationOn(world, socket, () => this.onLeft());
    this.conversation = conversation;
    const since = this.position ?? this.first;
    conversation.received(
      JSON.stringify({
        type: 'subscribe',
        id: 1,
        filters: [this.filter],
        since,
        reset: this.reset,
        retained: 'none',
      }),
    );
  }

  protected goOff(): void {
    this.conversation?.end();
    this.conversation = null;
  }

  private onFrame(frame: Record<string, unknown>, socket: FakeSocket): void {
    if (socket !== this.socket) return;
    switch (frame.type) {
      case 'subscribed':
        return this.onBegun(frame as unknown as Told);
      case 'message':
        return this.onMessage(frame as unknown as TheMessage);
      case 'position':
        return this.onPosition(frame.epoch as number, frame.offset as number);
      case 'gap':
        return this.onGap(frame.missed as number | null, frame.reason as string);
      case 'error':
        throw new Violation(`${this} was told ${JSON.stringify(frame)}`);
      case 'goodbye':
        return this.onLeft();
    }
  }
}

export class SseReader extends LogReader {
  private response: FakeResponse | null = null;
  /** As the WHATWG has an EventSource do. */
  private lastEventId = '';

  comeBack(): void {
    if (this.response !== null) return;
    const { world } = this;
    const socket = this.newSocket();
    const response = new FakeResponse(socket);
    this.response = response;
    let line = '';
    let event = { type: '', data: '', id: this.lastEventId };
    socket.onBytes = (bytes) => {
      line += bytes.toString();
      for (let end = line.indexOf('\n'); end >= 0; end = line.indexOf('\n')) {
        const text = line.slice(0, end);
        line = line.slice(end + 1);
        if (text !== '') {
          const colon = text.indexOf(':');
          const [field, value] = [text.slice(0, colon), text.slice(colon + 1).replace(/^ /, '')];
          if (field === 'event') event.type = value;
          else if (field === 'data') event.data += value;
          else if (field === 'id') event.id = value;
          continue;
        }
        this.lastEventId = event.id;
        if (event.data === '' && event.id !== '') this.onId(event.id);
        if (event.data !== '' && socket === this.socket)
          this.onEvent(event.type, JSON.parse(event.data), event.id);
        event = { type: '', data: '', id: event.id };
      }
    };
    const since = this.lastEventId === '' ? this.first : this.lastEventId;
    const request = subscriptionRequest({
      filters: [this.filter],
      since,
      reset: this.reset,
      retained: 'none',
    });
    const exchange = {
      state: stateOf(world),
      response: response as unknown as ServerResponse,
      address: '',
      proof: ANONYMOUS,
      request: null as unknown as IncomingMessage,
      onClose: (listener: () => void) => response.on('close', listener),
    } as unknown as Exchange;
    EventStream.open(exchange, request, false).catch(() => {
      if (this.response === response) this.onLeft(); // the broker is down
    });
  }

  protected goOff(): void {
    this.response?.close();
    this.response = null;
  }

  private onId(id: string): void {
    const [epoch, offset] = id.split(':').map(Number);
    if (this.position !== null && (this.position.epoch !== epoch || this.position.offset < offset))
      this.onPosition(epoch, offset);
  }

  private onEvent(type: string, data: Record<string, unknown>, id: string): void {
    if (type === 'open') this.onBegun(data as unknown as Told);
    else if (type === 'message') {
      if (id !== `${this.position?.epoch}:${data.offset}`)
        throw new Violation(`${this} got ${JSON.stringify(data)} with the id ${id}`);
      this.onMessage(data as unknown as TheMessage);
    } else if (type === 'gap' && data.missed !== this.toldAtBegin)
      this.onGap(data.missed as number | null, data.reason as string);
    else if (type === 'goodbye') this.onLeft();
    if (type !== 'gap') this.toldAtBegin = type === 'open' ? data.missed : undefined;
  }

  /** What `open` has told is told again, as `gap`, to those who listen for that alone. */
  private toldAtBegin: unknown = undefined;
}

// ---- what stands for sockets ----

/** Bytes arrive a while after the system has taken them, as long as the connection is there; the system takes none of who does not read. */
export class FakeSocket {
  onBytes: (bytes: Buffer) => void = () => {};
  writableLength = 0;
  private readonly world: World;
  private readonly waiting: { bytes: Buffer; done: () => void }[] = [];
  private isTaking = true;
  private isCut = false;
  private lastArrivalMs = 0;

  constructor(world: World) {
    this.world = world;
  }

  write(bytes: Uint8Array, done: () => void): void {
    if (this.isCut) return done();
    this.writableLength += bytes.length;
    this.waiting.push({ bytes: Buffer.from(bytes), done });
    if (this.isTaking) this.world.after(0, () => this.take());
  }

  setTaking(isTaking: boolean): void {
    this.isTaking = isTaking;
    if (isTaking) this.world.after(0, () => this.take());
  }

  cut(): void {
    this.isCut = true;
  }

  private take(): void {
    for (
      let next = this.isTaking ? this.waiting.shift() : undefined;
      next !== undefined;
      next = this.waiting.shift()
    ) {
      const { bytes, done } = next;
      this.writableLength -= bytes.length;
      this.lastArrivalMs = Math.max(this.lastArrivalMs, this.world.nowMs + this.world.random.below(8));
      this.world.after(this.lastArrivalMs - this.world.nowMs, () => {
        if (!this.isCut) this.onBytes(bytes);
      });
      done();
    }
  }
}

/** A conversation on such a socket. */
export function conversationOn(world: World, socket: FakeSocket, onEnd: () => void): Conversation {
  const outgoing = new Outgoing(world.turn, socket, {
    onSlow: () => {
      world.totals.add('slow', 1);
      conversation.slow();
    },
    onReady: () => conversation.ready(),
  });
  const wire = {
    send: (frame: Buffer) => outgoing.send(frame),
    setReading: () => {},
    end: () => outgoing.finish(onEnd),
  };
  const conversation: Conversation = new Conversation(wire, {
    clock: world.clock,
    texts: world.texts,
    payloadBytesMax: 1e6,
    pingMs: 25_000,
    open: async (request, listener) => {
      const connection = await world.backend.connect(factsOf('websocket', ''));
      return await Session.open(connection, request, listener, world.clock);
    },
    onFault: (error) => {
      if ((error as Error).message !== 'the broker is down') world.fail(error);
    },
  });
  return conversation;
}

export function firstFrame(bytes: Buffer): { text: string; end: number } | null {
  if (bytes.length < 2) return null;
  const start = bytes[1] < 126 ? 2 : 4;
  if (bytes.length < start) return null;
  const end = start + (start === 2 ? bytes[1] : bytes.readUInt16BE(2));
  return bytes.length < end ? null : { text: bytes.toString('utf8', start, end), end };
}

class FakeResponse {
  headersSent = false;
  shouldKeepAlive = true;
  readonly socket = { setNoDelay: () => {} };
  private readonly fake: FakeSocket;
  private onClose: () => void = () => {};

  constructor(fake: FakeSocket) {
    this.fake = fake;
  }

  get writableLength(): number {
    return this.fake.writableLength;
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.fake.write(bytes, done);
  }

  writeHead(): void {
    this.headersSent = true;
  }

  removeHeader(): void {}
  flushHeaders(): void {}
  end(): void {}

  destroy(): void {
    this.close();
  }

  on(_event: 'close', listener: () => void): void {
    this.onClose = listener;
  }

  close(): void {
    this.onClose();
  }
}

function stateOf({ backend, clock, eventStreams, fail }: World): object {
  return { backend, clock, eventStreams, guests: new Set(), onFault: fail };
}
