/**
 * The WebSockets of a gateway: their upgrade, their sockets, and what has to be looked after while time passes. What is said on them is the matter of conversation.ts. Frames
 * of deliveries are written by outgoing.ts, all others by `ws`: both write whole frames only, so that they can share a socket.
 */

import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';
import { MILLISECOND } from '../base/time.ts';
import type { TimerHandle } from '../udp/clock.ts';
import { factsOf } from './caller.ts';
import { Conversation, type ConversationSurroundings, type Wire } from './conversation.ts';
import type { DeliveryTexts } from './delivery-text.ts';
import { CloseCode, goodbye, goodbyeOfGateway } from './goodbye.ts';
import { type ByteSink, Outgoing, type OutgoingListener, type OutgoingTurn } from './outgoing.ts';
import { Problem } from './problem.ts';
import { Session, type SessionRequest } from './session.ts';
import type { GatewayState, Guest } from './state.ts';
import { WS_SUBPROTOCOL } from './ws-protocol.ts';

export class WebSockets {
  private readonly state: GatewayState;
  private readonly server: WebSocketServer;
  private readonly turn: OutgoingTurn;
  private readonly texts: DeliveryTexts;
  /** All of them, by the second of the round in which they are pinged. */
  private readonly rounds: Set<WebSocketClient>[] = Array.from({ length: PING_S }, () => new Set());
  private round = 0;
  /** Those who have not said yet who they are, in the order in which they came. */
  private readonly waiting = new Set<WebSocketClient>();
  private readonly slow = new Set<WebSocketClient>();
  /** Bytes of messages that have not come whole. */
  private partialBytes = 0;
  private timer: TimerHandle | null = null;

  constructor(state: GatewayState) {
    this.state = state;
    this.turn = state.eventStreams.turn;
    this.texts = state.eventStreams.texts;
    state.whenClosed.push(() => this.close());
    this.server = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false, // [GW-50] there is no compression of frames what it costs in memory and time a client is not worth what it saves
      // A text may take two characters for one of the payload, and base64 four for three.
      // What is kept of a part, and of what is read at once, is more than its bytes, be it ever so short.
      maxFragments: FRAGMENTS_MAX,
      maxBufferedChunks: CHUNKS_MAX,
      maxPayload: 2 * state.limits.payloadBytesMax + ENVELOPE_BYTES,
      handleProtocols: (offered) => (offered.has(WS_SUBPROTOCOL) ? WS_SUBPROTOCOL : false),
    });
  }

  /**
   * Takes a socket over, whose host, origin and path are in order.
   *
   * @param greeting - who it is, as far as its request has said; null: its first message does
   * @throws {Problem} REQUEST_INVALID, where it is no WebSocket of ours
   */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, greeting: SessionRequest | null): void {
    const offered = request.headers['sec-websocket-protocol'];
    if (offered !== undefined && !offered.split(',').some((name) => name.trim() === WS_SUBPROTOCOL)) {
      throw new Problem('REQUEST_INVALID', `The subprotocol here is ${WS_SUBPROTOCOL}.`);
    }
    const address = this.state.addresses.of(request);
    this.server.handleUpgrade(request, socket, head, (webSocket) => {
      const client = new WebSocketClient(this, webSocket, socket, address);
      this.state.guests.add(client);
      this.rounds[client.round].add(client);
      this.tickLater();
      if (greeting === null) this.waiting.add(client);
      else client.conversation.greet(greeting);
    });
  }

  // ---- for its clients ----

  outgoingOf(sink: ByteSink, listener: OutgoingListener): Outgoing {
    return new Outgoing(this.turn, sink, listener);
  }

  conversationOf(wire: Wire, address: string): Conversation {
    const { state, texts } = this;
    const around: ConversationSurroundings = {
      clock: state.clock,
      texts,
      payloadBytesMax: state.limits.payloadBytesMax,
      pingMs: PING_S * 1_000,
      open: async (request, listener) => {
        const connection = await state.backend.connect(factsOf('websocket', address));
        return await Session.open(connection, request, listener, state.clock);
      },
      onFault: state.onFault,
    };
    return new Conversation(wire, around);
  }

  /** More, or less, of a client's message waits for the rest of it. True: all of them together are too much, and he is among those who are to blame. [GW-49] */
  holds(change: number, clientBytes: number): boolean {
    this.partialBytes += change;
    return this.partialBytes > this.state.limits.inFlightBytesMax && clientBytes > BLAMELESS_BYTES;
  }

  setSlow(client: WebSocketClient, isSlow: boolean): void {
    if (isSlow) this.slow.add(client);
    else this.slow.delete(client);
  }

  forget(client: WebSocketClient): void {
    this.state.guests.delete(client);
    this.waiting.delete(client);
    this.slow.delete(client);
    this.rounds[client.round].delete(client);
  }

  // ---- time ----

  private close(): void {
    if (this.timer !== null) this.state.clock.clearTimer(this.timer);
    this.timer = null;
  }

  private tickLater(): void {
    if (this.timer !== null) return;
    const { clock } = this.state;
    this.timer = clock.setTimer(clock.now() + TICK_MS * MILLISECOND, () => {
      this.timer = null;
      this.tick();
      if (this.rounds.some((clients) => clients.size > 0)) this.tickLater();
    });
  }

  private tick(): void {
    const now = this.state.clock.now();
    for (const client of this.waiting) {
      if (client.conversation.isWaiting) {
        if (now - client.since < GREETING_MS * MILLISECOND) break;
        client.conversation.greetAnonymously();
      }
      this.waiting.delete(client);
    }
    for (const client of this.slow) if (client.outgoing.isStalled) client.giveUp();
    // A few each second, rather than all of them at once.
    this.round = (this.round + 1) % PING_S;
    for (const client of this.rounds[this.round]) client.ping();
  }

  get now(): number {
    return this.state.clock.now();
  }

  /** In which those who come now are pinged. */
  get currentRound(): number {
    return this.round;
  }

  get onFault(): (error: unknown) => void {
    return this.state.onFault;
  }
}

/** One client. */
class WebSocketClient implements Wire, ByteSink, OutgoingListener, Guest {
  readonly conversation: Conversation;
  readonly outgoing: Outgoing;
  readonly since: number;
  readonly round: number;
  private readonly owner: WebSockets;
  private readonly webSocket: WebSocket;
  private readonly socket: Duplex;
  /** Pings in a row that nothing came after. */
  private unheard = 0;
  /** Bytes that have come and are not a whole message yet, but for less than what comes at once. */
  private partialBytes = 0;
  /** From its goodbye until its socket has closed. */
  private ending: NodeJS.Timeout | undefined = undefined;

  constructor(owner: WebSockets, webSocket: WebSocket, socket: Duplex, address: string) {
    this.owner = owner;
    this.webSocket = webSocket;
    this.socket = socket;
    this.since = owner.now;
    this.round = owner.currentRound;
    this.outgoing = owner.outgoingOf(this, this);
    this.conversation = owner.conversationOf(this, address);
    socket.prependListener('data', (bytes: Buffer) => this.onBytes(bytes.length));
    webSocket.on('message', (data: Buffer, isBinary: boolean) => this.onMessage(data, isBinary));
    webSocket.on('ping', (data) => this.onControl(data.length));
    webSocket.on('pong', (data) => this.onControl(data.length));
    webSocket.on('error', () => {}); // a fault of the peer's: `ws` has closed it with the code of that
    webSocket.on('close', () => this.onClose());
  }

  // ---- as a wire ----

  send(frame: Buffer): void {
    this.outgoing.send(frame);
  }

  setReading(isReading: boolean): void {
    if (isReading) this.webSocket.resume();
    else this.webSocket.pause();
  }

  end(closeCode: number, reason: string): void {
    this.outgoing.finish(() => this.webSocket.close(closeCode, reason));
    this.webSocket.resume(); // to read the answer to that
    this.ending ??= setTimeout(() => this.webSocket.terminate(), CLOSE_MS_MAX).unref();
  }

  // ---- as what bytes are written to ----

  get writableLength(): number {
    return this.socket.writableLength;
  }

  write(bytes: Uint8Array, done: () => void): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.socket.write(bytes, done);
    else done();
  }

  // ---- as somebody who is sent to ----

  onSlow(): void {
    this.owner.setSlow(this, true);
    this.conversation.slow();
  }

  onReady(): void {
    this.owner.setSlow(this, false);
    this.conversation.ready();
  }

  /** It has taken nothing for too long: if it reads what it has after all, it reads why. */
  giveUp(): void {
    this.owner.setSlow(this, false);
    this.conversation.stalled();
  }

  // ---- as a guest ----

  goodbye(): void {
    this.conversation.leave(goodbyeOfGateway());
  }

  /** [GW-58] silent for two of them: gone */
  ping(): void {
    if (this.webSocket.readyState !== WebSocket.OPEN || this.webSocket.isPaused) return;
    if (this.unheard >= PINGS_UNHEARD_MAX) this.webSocket.terminate();
    else {
      this.unheard++;
      this.webSocket.ping();
    }
  }

  // ---- what comes ----

  private onBytes(count: number): void {
    this.partialBytes += count;
    if (!this.owner.holds(count, this.partialBytes)) return;
    const why = 'Messages that have not come whole take too much of the gateway.';
    this.conversation.leave(goodbye('LIMITED', why, 1_000, CloseCode.TRY_AGAIN));
    this.webSocket.terminate();
  }

  private onWhole(count: number): void {
    const bytes = Math.min(count, this.partialBytes);
    this.partialBytes -= bytes;
    this.owner.holds(-bytes, 0);
  }

  private onMessage(data: Buffer, isBinary: boolean): void {
    this.unheard = 0;
    this.onWhole(this.partialBytes);
    if (isBinary) {
      const why = 'Messages are texts of JSON.';
      this.conversation.leave(goodbye('BAD_REQUEST', why, null, CloseCode.UNSUPPORTED_DATA)); // [GW-50] binary: 1003
      return;
    }
    try {
      this.conversation.received(data.toString());
    } catch (error) {
      this.owner.onFault(error);
      const why = 'The gateway has failed at this; its log says more.';
      this.conversation.leave(goodbye('INTERNAL_ERROR', why, 1_000, CloseCode.INTERNAL_ERROR));
    }
  }

  /** `ws` has answered a ping: who asks and does not read is not read either. */
  private onControl(dataBytes: number): void {
    this.unheard = 0;
    this.onWhole(dataBytes + CONTROL_FRAME_BYTES);
    this.outgoing.look();
  }

  private onClose(): void {
    clearTimeout(this.ending);
    this.onWhole(this.partialBytes);
    this.outgoing.end();
    this.conversation.end();
    this.owner.forget(this);
  }
}

/** Seconds between two pings of a client: it is one of so many rounds. [GW-58] */
const PING_S = 25;
const PINGS_UNHEARD_MAX = 2;
const TICK_MS = 1_000;
/** For so long a client may say nothing before it is taken for anybody. [GW-52] */
const GREETING_MS = 5_000;
/** From the goodbye to the end of the socket. */
const CLOSE_MS_MAX = 3_000;
/** With so much of one message nobody is let go: it is what comes at once. */
const BLAMELESS_BYTES = 64 * 1024;
/** Of a client's ping or pong, beside its data. */
const CONTROL_FRAME_BYTES = 6;
/** Parts of a message: of the largest, such of 4 KiB. */
const FRAGMENTS_MAX = 512;
const CHUNKS_MAX = 8_192;
/** What a message has beside its payload. */
const ENVELOPE_BYTES = 64 * 1024;
