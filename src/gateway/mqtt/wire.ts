/** The sockets of MQTT clients: a TCP or TLS connection, or a WebSocket, of which each binary frame is a piece of the stream (MQTT 5, section 6). [MQT-2] */

import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { type ByteSink, Outgoing, type OutgoingListener, type OutgoingTurn } from '../outgoing.ts';
import { MqttConnection, type MqttSurroundings, type MqttWire } from './connection.ts';

/** Who looks after them. */
export interface WireOwner {
  readonly turn: OutgoingTurn;
  /** Of a connection from this address. */
  aroundFor(address: string): MqttSurroundings;
  /** More, or less, of a client's packets waits for the rest. True: all of them together are too much, and this one is among those who are to blame. */
  holds(change: number, clientBytes: number): boolean;
  setSlow(client: MqttClient, isSlow: boolean): void;
  forget(client: MqttClient): void;
  onFault(error: unknown): void;
}

/** One client. */
export abstract class MqttClient implements MqttWire, ByteSink, OutgoingListener {
  readonly connection: MqttConnection;
  readonly outgoing: Outgoing;
  protected readonly owner: WireOwner;
  private held = 0;
  private isEnding = false;

  constructor(owner: WireOwner, address: string) {
    this.owner = owner;
    this.outgoing = new Outgoing(owner.turn, this, this);
    this.connection = new MqttConnection(this, owner.aroundFor(address));
  }

  abstract readonly writableLength: number;
  abstract write(bytes: Uint8Array, done: () => void): void;
  abstract setReading(isReading: boolean): void;
  /** Closes it, when all was written. */
  protected abstract closeSocket(): void;
  /** Cuts it off. */
  abstract destroy(): void;

  // ---- as a wire ----

  get bufferedBytes(): number {
    return this.outgoing.bufferedBytes;
  }

  send(packet: Buffer): void {
    this.outgoing.send(packet);
  }

  end(): void {
    if (this.isEnding) return;
    this.isEnding = true;
    this.outgoing.finish(() => this.closeSocket());
    setTimeout(() => this.destroy(), CLOSE_MS_MAX).unref();
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
    if (this.isEnding) return;
    try {
      this.connection.received(bytes);
    } catch (error) {
      this.owner.onFault(error);
      this.destroy();
    }
    this.account();
  }

  protected onClose(): void {
    this.outgoing.end();
    this.connection.ended();
    this.account();
    this.owner.forget(this);
  }

  private account(): void {
    const { keptBytes } = this.connection;
    if (keptBytes === this.held) return;
    const change = keptBytes - this.held;
    this.held = keptBytes;
    if (this.owner.holds(change, keptBytes)) this.destroy();
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

  constructor(owner: WireOwner, webSocket: WebSocket, address: string) {
    super(owner, address);
    this.webSocket = webSocket;
    webSocket.on('message', (bytes: Buffer, isBinary: boolean) => {
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

  protected closeSocket(): void {
    this.webSocket.close(NORMAL_CLOSURE);
    this.webSocket.resume(); // to read the answer to that
  }
}

const BINARY = { binary: true } as const;
const NORMAL_CLOSURE = 1000;
const UNSUPPORTED_DATA = 1003;
/** From the last word to the end of the socket. */
const CLOSE_MS_MAX = 3_000;
const KEEP_ALIVE_MS = 60_000;
