import { performance } from 'node:perf_hooks';
import { ReceiveBatch, type TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { type DatagramSocket, socketCounters } from '../../src/udp/datagram-socket.ts';

/** What went between a sender and a receiver, and how long the receiver and the handing over took. */
export interface HandOver {
  receiverMs: number;
  outsideMs: number;
  toReceiver: number;
  toSender: number;
  /** Batches that the receiver was handed. */
  batches: number;
}

/** One of two sockets that hand over to each other, in the next turn of the event loop, what they are given to send. */
export class HandOverSocket implements DatagramSocket {
  readonly localHost = '127.0.0.1';
  readonly localPort: number;
  readonly remote = null;
  readonly receiveBufferBytes = 4 * 1024 * 1024;
  readonly sendBufferBytes = 4 * 1024 * 1024;
  readonly counters = socketCounters();
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;
  private peer: HandOverSocket = this;
  private readonly isReceiver: boolean;
  private readonly wire: HandOver;
  private filling: Inbox;
  private spare: Inbox;
  private isDue = false;

  /** The sender's socket and the receiver's. */
  static pair(isShared: boolean, wire: HandOver): [HandOverSocket, HandOverSocket] {
    const sender = new HandOverSocket(isShared, false, wire);
    const receiver = new HandOverSocket(isShared, true, wire);
    sender.peer = receiver;
    receiver.peer = sender;
    return [sender, receiver];
  }

  private constructor(isShared: boolean, isReceiver: boolean, wire: HandOver) {
    this.isReceiver = isReceiver;
    this.wire = wire;
    this.localPort = isReceiver ? 2 : 1;
    this.filling = new Inbox(isShared);
    this.spare = new Inbox(isShared);
  }

  send(batch: TransmitBatch): boolean {
    const from = performance.now();
    for (let i = 0; i < batch.count; i++) this.peer.take(batch, i, this.localPort);
    const took = performance.now() - from;
    this.wire.outsideMs += took;
    if (this.isReceiver) this.wire.receiverMs -= took;
    return true;
  }

  async close(): Promise<void> {
    this.onBatch = null;
  }

  ref(): void {}
  unref(): void {}

  private take(batch: TransmitBatch, i: number, port: number): void {
    const { wire } = this;
    if (this.isReceiver) wire.toReceiver++;
    else wire.toSender++;
    this.filling.take(batch, i, port);
    if (this.isDue) return;
    this.isDue = true;
    setImmediate(this.handOver);
  }

  private readonly handOver = (): void => {
    const inbox = this.filling;
    this.filling = this.spare;
    this.spare = inbox;
    this.isDue = false;
    const from = performance.now();
    this.onBatch?.(inbox.batch);
    if (this.isReceiver) {
      this.wire.receiverMs += performance.now() - from;
      this.wire.batches++;
    }
    inbox.clear();
  };
}

/** Datagrams that wait for the next turn. */
class Inbox {
  readonly batch: ReceiveBatch;
  private readonly arena: Uint8Array | null;
  private used = 0;
  /** Views are made once: a socket that reads into the same memory again does so, too. */
  private readonly views = new Map<number, Uint8Array>();

  constructor(isShared: boolean) {
    this.arena = isShared ? new Uint8Array(ARENA_BYTES) : null;
    this.batch = new ReceiveBatch({ isExclusive: !isShared });
  }

  take(batch: TransmitBatch, i: number, port: number): void {
    const start = batch.offset[i];
    const length = batch.length[i];
    const bytes = batch.arena.subarray(start, start + length);
    if (this.arena === null) {
      const copy = Buffer.allocUnsafeSlow(length);
      copy.set(bytes);
      this.batch.push(copy, '127.0.0.1', port);
    } else {
      this.arena.set(bytes, this.used);
      this.batch.push(this.view(this.used, length), '127.0.0.1', port, 0, true, this.used);
      this.used += length;
    }
  }

  clear(): void {
    this.used = 0;
    this.batch.clear();
  }

  private view(at: number, length: number): Uint8Array {
    const key = at * 65_536 + length;
    let view = this.views.get(key);
    if (view === undefined) {
      if (this.views.size >= VIEWS_MAX) this.views.clear();
      view = (this.arena as Uint8Array).subarray(at, at + length);
      this.views.set(key, view);
    }
    return view;
  }
}

const ARENA_BYTES = 4 * 1024 * 1024;
const VIEWS_MAX = 4_096;
