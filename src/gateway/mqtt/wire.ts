/** The sockets of MQTT clients: a TCP or TLS connection, or a WebSocket, of which each binary frame is a piece of the stream (MQTT 5, section 6). [MQT-2] */

import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { WebSocket } from 'ws';
import { type ByteSink, Outgoing, type OutgoingListener, type OutgoingTurn } from '../outgoing.ts';
import { MqttConnection, type MqttSurroundings, type MqttWire } from './connection.ts';

/** Who looks after them. */
export interface WireOwner {
  readonly turn: OutgoingTurn;
  readonly around: MqttSurroundings;
  /** More, or less, of a client's packets waits for the rest. True: all of them together are too much, and this one is among those who are to blame. */
  holds(change: number, client: MqttClient): boolean;
  setSlow(client: MqttClient, isSlow: boolean): void;
  forget(client: MqttClient): void;
  onFault(error: unknown): void;
}

/** One client. */
export abstract class MqttClient implements MqttWire, ByteSink, OutgoingListener {
  readonly connection: MqttConnection;
  readonly outgoing: Outgoing;
  readonly address: string;
  protected readonly owner: WireOwner;
  private held = 0;
  /** Bytes that have come and are not handed on yet, but for less than what comes at once. */
  protected unframed = 0;
  /** Until its socket has closed; null: it has not said its last word. */
  private ending: NodeJS.Timeout | null = null;

  constructor(owner: WireOwner, address: string) {
    this.owner = owner;
    this.address = address;
    this.outgoing = new Outgoing(owner.turn, this, this);
    this.connection = new MqttConnection(this, owner.around);
  }

  abstract readonly writableLength: number;
  abstract write(bytes: Uint8Array, done: () => void): void;
  abstract setReading(isReading: boolean): void;
  /** Closes it, when all was written. */
  protected abstract closeSocket(): void;
  /** Cuts it off. */
  abstract destroy(): void;

  /** Bytes that it has sent and that wait for the rest of their packet. */
  get heldBytes(): number {
    return this.held;
  }

  // ---- as a wire ----

  get bufferedBytes(): number {
    return this.outgoing.bufferedBytes;
  }

  send(packet: Buffer): void {
    this.outgoing.send(packet);
  }

  end(): void {
    if (this.ending !== null) return;
    this.ending = setTimeout(() => this.destroy(), CLOSE_MS_MAX).unref();
    this.outgoing.finish(() => this.closeSocket());
  }

  account(): void {
    const bytes = this.connection.keptBytes + this.unframed;
    if (bytes === this.held) return;
    const change = bytes - this.held;
    this.held = bytes;
    if (this.owner.holds(change, this)) this.destroy();
  }

  // ---- as somebody who is sent to ----

  onSlow(): void {
    this.owner.setSlow(this, true);
    this.connection.slow();
  }

  onReady(): void {
    this.owner.setSlow(this, false);
    this.connection.ready();
  }

  // ---- of its kind ----

  protected onBytes(bytes: Buffer): void {
    if (this.ending !== null) return;
    try {
      this.connection.received(bytes);
    } catch (error) {
      this.owner.onFault(error);
      this.destroy();
    }
    this.account();
  }

  protected onClose(): void {
    this.unframed = 0;
    this.outgoing.end();
    this.connection.ended();
    this.account();
    if (this.ending !== null) clearTimeout(this.ending);
    this.owner.forget(this);
  }
}

export class TcpClient extends MqttClient {
  private readonly socket: Socket;

  constructor(owner: WireOwner, socket: Socket, address: string) {
    super(owner, address);
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS); // one that says no keep-alive is noticed to be gone all the same
    socket.on('data', (bytes: Buffer) => this.onBytes(bytes));
    socket.on('error', () => {}); // `close` follows
    socket.on('close', () => this.onClose());
  }

  get writableLength(): number {
    return this.socket.writableLength;
  }

  write(bytes: Uint8Array, done: () => void): void {
    this.socket.write(bytes, done);
  }

  setReading(isReading: boolean): void {
    if (isReading) this.socket.resume();
    else this.socket.pause();
  }

  destroy(): void {
    this.socket.destroy();
  }

  protected closeSocket(): void {
    this.socket.end();
    this.socket.resume(); // to see the other end
  }
}

export class WebSocketMqttClient extends MqttClient {
  private readonly webSocket: WebSocket;

  /** @param socket - below it */
  constructor(owner: WireOwner, webSocket: WebSocket, socket: Duplex, address: string) {
    super(owner, address);
    this.webSocket = webSocket;
    // A frame is kept until it is whole. [MQT-3]
    socket.prependListener('data', (bytes: Buffer) => {
      this.unframed += bytes.length;
      this.account();
    });
    webSocket.on('ping', (data) => this.onControl(data.length));
    webSocket.on('pong', (data) => this.onControl(data.length));
    webSocket.on('message', (bytes: Buffer, isBinary: boolean) => {
      this.unframed = 0;
      if (isBinary) this.onBytes(bytes);
      else webSocket.close(UNSUPPORTED_DATA, 'MQTT is binary'); // [MQT-2]
    });
    webSocket.on('error', () => {}); // a fault of the peer's: `ws` has closed it with the code of that
    webSocket.on('close', () => this.onClose());
  }

  get writableLength(): number {
    return this.webSocket.bufferedAmount;
  }

  write(bytes: Uint8Array, done: () => void): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.send(bytes, BINARY, done);
    else done();
  }

  setReading(isReading: boolean): void {
    if (isReading) this.webSocket.resume();
    else this.webSocket.pause();
  }

  destroy(): void {
    this.webSocket.terminate();
  }

  /** `ws` has answered a ping: who asks and does not read is not read either. [MQT-18] */
  private onControl(dataBytes: number): void {
    this.unframed = Math.max(0, this.unframed - dataBytes - CONTROL_FRAME_BYTES);
    this.account();
    this.outgoing.look();
    this.connection.look();
  }

  protected closeSocket(): void {
    this.webSocket.close(NORMAL_CLOSURE);
    this.webSocket.resume(); // to read the answer to that
  }
}

const BINARY = { binary: true } as const;
const NORMAL_CLOSURE = 1000;
const UNSUPPORTED_DATA = 1003;
/** Of a client's ping or pong, beside its data. */
const CONTROL_FRAME_BYTES = 6;
/** From the last word to the end of the socket. */
const CLOSE_MS_MAX = 3_000;
const KEEP_ALIVE_MS = 60_000;
