/**
 * Reads a stream of JetStream from a place on, by a consumer that is this reader's alone, keeps no account of what was taken, and is forgotten by NATS when nobody asks it. What it is
 * asked for comes in the order of the stream; whether all of it came is seen by the numbers that the consumer gives its deliveries.
 */

import type { ConsumerConfig, JetStreamManager } from '@nats-io/jetstream';
import type { Msg, Subscription } from '@nats-io/transport-node';
import type { NatsLine } from './line.ts';
import type { NatsModules } from './modules.ts';

export interface ReaderSurroundings {
  readonly line: NatsLine;
  readonly modules: NatsModules;
  readonly manager: JetStreamManager;
  readonly stream: string;
  /** Told in the list of consumers. */
  readonly node: string;
}

export interface ReaderListener {
  /** @param pending - how many are behind it, as far as the stream goes */
  message(message: Msg, offset: number, pending: number): void;
  /** What was asked for has come, or comes no more: `code` of NATS. */
  ended(code: number): void;
  /** Something was lost: this reader is of no more use. */
  lost(): void;
  /** A sign of life. */
  idle(): void;
}

/** Where a reader begins. */
export type ReaderStart = { readonly from: number } | { readonly timeMs: number };

export class StreamReader {
  listener: ReaderListener;
  private readonly surroundings: ReaderSurroundings;
  private readonly name: string;
  private readonly inbox: string;
  private readonly subscription: Subscription;
  private delivered = 0;
  private isClosed = false;

  private constructor(surroundings: ReaderSurroundings, name: string, listener: ReaderListener) {
    const { line, modules } = surroundings;
    this.surroundings = surroundings;
    this.name = name;
    this.listener = listener;
    this.inbox = modules.transport.createInbox();
    const take = (message: Msg) => {
      if (!this.isClosed) this.take(message);
    };
    const ended = () => {
      if (!this.isClosed) this.listener.lost();
    };
    this.subscription = line.subscribe(this.inbox, take, { ended });
  }

  /** @throws what the client library throws where it cannot be made */
  static async open(
    surroundings: ReaderSurroundings,
    start: ReaderStart,
    listener: ReaderListener,
  ): Promise<StreamReader> {
    const { modules, manager, stream, node } = surroundings;
    const { AckPolicy, DeliverPolicy, ReplayPolicy } = modules.jetstream;
    const name = `jsp_${node}_${modules.transport.nuid.next()}`;
    const begin: Partial<ConsumerConfig> =
      'from' in start
        ? { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, start.from) }
        : { deliver_policy: DeliverPolicy.StartTime, opt_start_time: new Date(start.timeMs).toISOString() };
    await manager.consumers.add(stream, {
      ...{ name, ack_policy: AckPolicy.None, replay_policy: ReplayPolicy.Instant },
      ...{ mem_storage: true, num_replicas: 1, inactive_threshold: INACTIVE_MS * NANOS_A_MS },
      ...begin,
    });
    return new StreamReader(surroundings, name, listener);
  }

  /** Asks for so many more. */
  pull(options: {
    batch: number;
    max_bytes?: number;
    no_wait?: boolean;
    expires?: number;
    idle_heartbeat?: number;
  }): void {
    const { line, stream } = this.surroundings;
    line.nats.publish(`$JS.API.CONSUMER.MSG.NEXT.${stream}.${this.name}`, JSON.stringify(options), {
      reply: this.inbox,
    });
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const { line, manager, stream } = this.surroundings;
    if (line.nats.isClosed()) return;
    this.subscription.unsubscribe();
    manager.consumers.delete(stream, this.name).catch(() => {}); // NATS forgets it by itself
  }

  private take(message: Msg): void {
    const { listener } = this;
    const place = placeOf(message.reply);
    if (place === null) {
      const code = message.headers?.code ?? 0;
      if (code === IDLE) listener.idle();
      else listener.ended(code);
      return;
    }
    if (place.delivered !== ++this.delivered) {
      listener.lost();
      return;
    }
    listener.message(message, place.offset, place.pending);
  }
}

/** Where a delivery is, by its reply subject: `$JS.ACK.<stream>.<consumer>.<deliveries>.<offset>.<delivered>.<time>.<pending>`, before which domain and account may stand. Null: it is none. */
function placeOf(reply: string | undefined): { offset: number; delivered: number; pending: number } | null {
  if (!reply?.startsWith('$JS.ACK.')) return null;
  const tokens = reply.split('.');
  // With domain and account in front there is one more behind.
  const at = tokens.length >= 12 ? 7 : 5;
  const [offset, delivered, pending] = [at, at + 1, at + 3].map((place) => Number(tokens[place]));
  return Number.isSafeInteger(offset) && Number.isSafeInteger(delivered)
    ? { offset, delivered, pending }
    : null;
}

const IDLE = 100;
const INACTIVE_MS = 30_000;
const NANOS_A_MS = 1_000_000;
