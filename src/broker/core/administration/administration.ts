/**
 * What operators ask of a broker, and do: requests on `$sys/admin/<verb>`, which are answered outside the core, by whoever knows what is asked [BRK-117]; and the
 * closing of a connection.
 */

import { ReasonCode } from '../../../pubsub/command.ts';
import type { Properties } from '../../../pubsub/properties.ts';
import { ADMIN_TOPICS } from '../../../pubsub/topic.ts';
import type { Audit } from '../access/audit.ts';
import type { Client } from '../delivery/client.ts';
import type { AdminRequest } from '../output.ts';
import type { Session } from '../session/session.ts';

/** What administration needs of the broker. */
export interface AdministrationSurroundings {
  readonly clients: ReadonlyMap<Client, Session>;
  readonly audit: Audit;
  readonly output: { administer(request: AdminRequest): void };
  readonly own: { tell(topic: string, payload: Uint8Array, properties: Properties): void };
  dismiss(client: Client, code: ReasonCode): void;
}

/** Where an answer goes. */
export interface Asked {
  readonly replyTopic: string;
  readonly correlation: Uint8Array | undefined;
}

export class Administration {
  private readonly broker: AdministrationSurroundings;
  private readonly asked = new Map<number, Asked>();
  private lastNumber = 0;

  constructor(broker: AdministrationSurroundings) {
    this.broker = broker;
  }

  /** A client that may do it asks for something. */
  ask(client: Client, topic: string, payload: Uint8Array, to: Asked): void {
    const verb = topic.slice(ADMIN_TOPICS.length);
    if (this.asked.size >= ASKED_MAX) {
      this.send(to, STATUS_BUSY, fault('BUSY', 'Too many requests are being answered. Try again.'));
      return;
    }
    const number = ++this.lastNumber;
    this.asked.set(number, to);
    const { principal, peer } = client;
    const request = { number, verb, payload: Uint8Array.from(payload), principal };
    this.broker.output.administer({ ...request, address: peer.facts?.address ?? '' });
  }

  /** A client may not do it. */
  deny(client: Client, topic: string, to: Asked | null): void {
    this.broker.audit.tellSeldom('denied', client, 'admin', topic);
    if (to !== null) this.tellDenied(topic, to);
  }

  /** Whoever asks hears that it may not, rather than wait in vain. */
  tellDenied(topic: string, to: Asked): void {
    this.send(to, STATUS_DENIED, fault('NOT_AUTHORIZED', `You may not ask ${topic}.`));
  }

  /**
   * The answer to a request, once.
   *
   * @param status - 0: what was asked for; else why not
   */
  answer(number: number, status: number, payload: Uint8Array): void {
    const to = this.asked.get(number);
    if (to === undefined) return;
    this.asked.delete(number);
    this.send(to, status, payload);
  }

  /** Closes the connection with this number, for whoever `by` is. False: there is none. [BRK-124] */
  kick(id: number, by: string, reason: string): boolean {
    for (const client of this.broker.clients.keys()) {
      if (client.id !== id) continue;
      this.broker.audit.tell(
        'kicked',
        client,
        `by ${by || 'nobody in particular'}${reason && `: ${reason}`}`,
      );
      this.broker.dismiss(client, ReasonCode.KICKED);
      return true;
    }
    return false;
  }

  private send({ replyTopic, correlation }: Asked, status: number, payload: Uint8Array): void {
    this.broker.own.tell(replyTopic, payload, { correlation, ...(status === 0 ? {} : { status }) });
  }
}

function fault(code: string, detail: string): Uint8Array {
  return Buffer.from(JSON.stringify({ code, detail }));
}

/** Requests that are being answered at once. */
const ASKED_MAX = 256;
const STATUS_DENIED = 403;
const STATUS_BUSY = 503;
