/** Where clients come to a broker by the transport: what it needs of a listener, whether that has them in this thread or in others. */

import type { JspError } from '../base/errors.ts';
import { MILLISECOND } from '../base/time.ts';
import type { ConnectionFacts, MessageConnection } from '../pubsub/message-stream.ts';
import type { ClientRefusal } from '../transport/authorize.ts';
import { announceGoAway, type CloseOptions, type Connection, holdStreams } from '../transport/connection.ts';
import { announcedUrl, type GoAwayOptions } from '../transport/go-away.ts';
import {
  announceEnd,
  type Listener,
  type ListenerMetrics,
  type ListenOptions,
  listen,
} from '../transport/listen.ts';
import type { WorkerEvent } from '../transport/workers/workers-listener.ts';
import { systemClock } from '../udp/clock.ts';
import type { TransportFacts } from './workers/core-line.ts';

/** What a door tells its broker. */
export interface DoorOwner {
  onConnection(connection: MessageConnection, facts: ConnectionFacts): void;
  onRefused(refusal: ClientRefusal): void;
  /** The list of keys was read again (null), or cannot be. */
  onAuthorizedKeys(error: JspError | null): void;
  /** A fault of our own, which has cost a client its connection. */
  onFault(error: unknown): void;
  /** One of its workers ended, or is there again, or does not turn. */
  onWorker(event: WorkerEvent): void;
  /** It failed for good; `onClose` follows. */
  onError(error: JspError): void;
  onClose(): void;
}

/** A worker as it is now. */
export interface WorkerFigures {
  /** Its number, from 0. */
  readonly worker: number;
  /** It serves. */
  readonly isThere: boolean;
  readonly connections: number;
}

/** Open from the start; it tells nothing before it has an owner. */
export interface NativeDoor {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  owner: DoorOwner | null;
  /** Null: there are none. */
  readonly workers: readonly WorkerFigures[] | null;
  metrics(): ListenerMetrics;
  /** Clients are told that it ends within that time, and where to go; {@link close} follows. */
  announceEnd(options: GoAwayOptions): void;
  close(options?: CloseOptions): Promise<void>;
  /** Ends a worker, with the connections that it has; another takes its place. */
  restartWorker(worker: number): Promise<void>;
  ref(): void;
  unref(): void;
}

/** A listener in this thread. @throws {JspError} as `listen` does */
export async function openDoor(options: ListenOptions): Promise<NativeDoor> {
  return new ListenerDoor(await listen(options));
}

class ListenerDoor implements NativeDoor {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  owner: DoorOwner | null = null;
  readonly workers = null;
  private readonly listener: Listener;

  constructor(listener: Listener) {
    this.listener = listener;
    this.url = listener.url;
    this.host = listener.host;
    this.port = listener.port;
    listener.on('connection', (connection) => this.owner?.onConnection(connection, factsOf(connection)));
    listener.on('refused', (refusal) => this.owner?.onRefused(refusal));
    listener.on('authorizedKeys', (error) => this.owner?.onAuthorizedKeys(error));
    listener.on('error', (error) => this.owner?.onError(error));
    listener.on('close', () => this.owner?.onClose());
  }

  metrics(): ListenerMetrics {
    return this.listener.metrics();
  }

  announceEnd(options: GoAwayOptions): void {
    announceEnd(this.listener, options);
  }

  close(options?: CloseOptions): Promise<void> {
    return this.listener.close(options);
  }

  async restartWorker(): Promise<void> {}

  ref(): void {
    this.listener.ref();
  }

  unref(): void {
    this.listener.unref();
  }
}

/** Of a connection of the transport, in the thread that it is in. */
export function factsOf(connection: Connection): TransportFacts {
  return {
    door: 'native',
    get address() {
      return connection.remoteHost;
    },
    overLimit: 'wait',
    get isEstablished() {
      return connection.isEstablished;
    },
    get identity() {
      return connection.isEstablished ? connection.peerIdentity : null; // [AUT-13] not of early data
    },
    exporter: (label, context, length) =>
      connection.isOpen && connection.isEstablished
        ? connection.exportKeyingMaterial(length, label, context)
        : null, // [AUT-5] early data can prove nothing: it may be somebody's who captured it
    link: () => {
      const { rttMs, packetLossRate: loss, packetsRecovered, mtu, ...counts } = connection.metrics();
      const { packetsLost, packetsSent, packetsReceived, bytesSent, bytesReceived } = counts;
      const packets = { packetsRecovered, packetsLost, packetsSent, packetsReceived };
      return { rttMs, loss, ...packets, bytesSent, bytesReceived, mtu };
    },
    holdStreams: (count) => holdStreams(connection, count),
    announceEnd: (url, withinMs) => {
      const closesAt = systemClock.now() + withinMs * MILLISECOND;
      announceGoAway(connection, announcedUrl(url === '' ? undefined : url), closesAt);
    },
  };
}
