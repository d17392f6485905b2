/** How the broker's driver carries out what the core says, on streams and connections that it knows by their faces in pubsub/. */

import { isCompressed, reasonCodeName, STREAM_LABEL } from '../pubsub/command.ts';
import {
  type ConnectionFacts,
  type MessageConnection,
  type MessageStream,
  STREAM_PRIORITIES,
  sendCommand,
} from '../pubsub/message-stream.ts';
import type { AuthQuestion } from './core/access/principal.ts';
import type { BrokerCore, BrokerEffect } from './core/broker-core.ts';
import type { Channel, Client } from './core/delivery/client.ts';
import { ACCOUNTED_BYTES_MIN } from './core/delivery/delivery.ts';
import type { AdminRequest, AuditRecord } from './core/output.ts';
import { Action, type Link, type Peer } from './core/output.ts';

/** A stream on which effects are carried out. */
export interface CarryingLink extends Link {
  /** Takes `bytes` as one message and may keep them. False: enough for now; the core is told when it has drained. */
  send(bytes: Uint8Array): boolean;
  /** The same for a message that lives for so long (0: for ever), and may be lost if it is best effort. */
  sendFor(bytes: Uint8Array, lifetimeMs: number, isBestEffort: boolean): boolean;
  limit(bytes: number): void;
  pause(): void;
  resume(): void;
  end(): void;
  reset(code: number): void;
}

/** A connection on which effects are carried out. */
export interface CarryingPeer extends Peer {
  /** Opens a stream for `lane`, which the core is told of. */
  open(lane: Channel): void;
  close(code: number): void;
}

/** What else the core asks for. */
export interface CoreDriver {
  /** Whose the credentials are is to be told to `Admission.decide`. */
  authenticate(client: Client, question: AuthQuestion): void;
  audit(record: AuditRecord): void;
  /** The answer is to be told to `Administration.answer`. */
  administer(request: AdminRequest): void;
  /** Another node of the cluster has read its rules anew. */
  readAccess(): void;
}

/**
 * Does everything that the core says, on its streams and connections, which are {@link CarryingLink}s and {@link CarryingPeer}s. What fails is the fault of
 * the client for whom it was done. [BRK-40]
 */
export function carryOut(core: BrokerCore, driver: CoreDriver): void {
  for (let effect = core.poll(); effect !== null; effect = core.poll()) {
    const { channel, client } = effect;
    try {
      if (client !== null) carryOutFor(client, effect, driver);
      else if (channel === null) carryOutElsewhere(effect, driver);
      else if (!channel.client.closed) carryOutOn(channel, effect, core);
    } catch (error) {
      const failed = client ?? channel?.client;
      if (failed !== undefined) core.failed(failed, error);
    }
  }
}

function carryOutFor(client: Client, { action, value, subject }: BrokerEffect, driver: CoreDriver): void {
  if (action === Action.CLOSE) (client.peer as CarryingPeer).close(value);
  else driver.authenticate(client, subject as AuthQuestion);
}

function carryOutElsewhere({ action, subject }: BrokerEffect, driver: CoreDriver): void {
  if (action === Action.AUDIT) driver.audit(subject as AuditRecord);
  else if (action === Action.READ_ACCESS) driver.readAccess();
  else driver.administer(subject as AdminRequest);
}

function carryOutOn(channel: Channel, effect: BrokerEffect, core: BrokerCore): void {
  const link = channel.link as CarryingLink;
  switch (effect.action) {
    case Action.SEND:
    case Action.SEND_BEST_EFFORT: {
      const { bytes, value } = effect;
      const isPlain = value === 0 && effect.action === Action.SEND;
      const writable = isPlain
        ? link.send(bytes)
        : link.sendFor(bytes, value, effect.action === Action.SEND_BEST_EFFORT);
      if (!writable || bytes.length >= ACCOUNTED_BYTES_MIN) core.sent(channel, writable);
      break;
    }
    case Action.LIMIT:
      link.limit(effect.value);
      break;
    case Action.PAUSE:
      link.pause();
      break;
    case Action.RESUME:
      link.resume();
      break;
    case Action.END:
      link.end();
      break;
    case Action.RESET:
      link.reset(effect.value);
      break;
    case Action.OPEN:
      (channel.client.peer as CarryingPeer).open(channel);
      break;
  }
}

/** A stream of the transport. None of its methods throws when it is gone: the core hears of that by the stream's own events. */
export class StreamLink implements CarryingLink {
  readonly id: number;
  readonly priority: number;
  readonly messageBytesMax: number;
  private readonly stream: MessageStream;
  private paused = false;

  constructor(stream: MessageStream) {
    this.stream = stream;
    this.id = stream.id;
    this.messageBytesMax = stream.messageBytesMax;
    this.priority = STREAM_PRIORITIES.indexOf(stream.priority);
  }

  get queuedBytes(): number {
    return this.stream.queuedBytes;
  }

  get roomBytes(): number {
    return this.stream.highWaterMark - this.stream.queuedBytes;
  }

  limit(bytes: number): void {
    this.stream.highWaterMark = bytes;
  }

  send(bytes: Uint8Array): boolean {
    try {
      return sendCommand(this.stream, bytes, bytes.length >= TRANSFER_BYTES_MIN); // [BRK-7] large ones without a copy
    } catch {
      return false; // closed
    }
  }

  sendFor(bytes: Uint8Array, lifetimeMs: number, isBestEffort: boolean): boolean {
    const delivery = isBestEffort ? 'bestEffort' : 'reliable';
    try {
      return isCompressed(bytes)
        ? this.stream.send(bytes, { delivery, lifetimeMs, compression: false })
        : this.stream.send(bytes, { delivery, lifetimeMs });
    } catch {
      return false; // closed
    }
  }

  pause(): void {
    this.paused = true;
    this.stream.pause();
  }

  /** Resumes when the turn is over: what then comes is another one. */
  resume(): void {
    this.paused = false;
    queueMicrotask(() => {
      if (!this.paused) this.stream.resume();
    });
  }

  end(): void {
    try {
      this.stream.end();
    } catch {
      // closed already
    }
  }

  reset(code: number): void {
    this.stream.reset(code);
  }
}

/** A connection of the transport. */
export class ClientConnection implements CarryingPeer {
  readonly facts: ConnectionFacts;
  private readonly connection: MessageConnection;
  private readonly attach: (lane: Channel, stream: MessageStream | null) => void;

  constructor(
    connection: MessageConnection,
    facts: ConnectionFacts,
    attach: (lane: Channel, stream: MessageStream | null) => void,
  ) {
    this.connection = connection;
    this.facts = facts;
    this.attach = attach;
  }

  get openableStreams(): number {
    return this.connection.openableStreams;
  }

  open(lane: Channel): void {
    let stream: MessageStream | null = null;
    try {
      stream = this.connection.openStream({
        label: STREAM_LABEL,
        priority: STREAM_PRIORITIES[lane.priority],
        delivery: 'reliable',
        ordered: true,
      });
    } catch {
      // it closes
    }
    this.attach(lane, stream);
  }

  close(code: number): void {
    this.connection.destroy(code, reasonCodeName(code));
  }
}

/** Of a connection of which nothing is known. */
export const UNKNOWN_CONNECTION: ConnectionFacts = {
  door: 'native',
  address: '',
  overLimit: 'wait',
  exporter: () => null,
  link: () => null,
};

/** The stream of a lane that could not be opened any more. */
export const NOWHERE: CarryingLink = {
  id: -1,
  priority: 0,
  messageBytesMax: 0,
  queuedBytes: 0,
  roomBytes: 0,
  send: () => false,
  sendFor: () => false,
  limit: ignore,
  pause: ignore,
  resume: ignore,
  end: ignore,
  reset: ignore,
};

function ignore(): void {}

/** Below this a copy is cheaper than keeping hold of the bytes. */
const TRANSFER_BYTES_MIN = 4_096;
