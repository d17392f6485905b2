/** What an operator wants to have a trace of: who came in, who was refused what, and what was done to whom. It is told to the driver, which keeps it. [BRK-123] */

import type { Client } from '../delivery/client.ts';
import type { AuditEvent, AuditRecord } from '../output.ts';
import { type Time, Timer } from '../timers.ts';

export interface AuditSurroundings extends Time {
  readonly output: { audit(record: AuditRecord): void };
}

/** What a client does again and again, and is told of once a second. */
interface Repeated {
  count: number;
  readonly timer: Timer;
}

export class Audit {
  private readonly broker: AuditSurroundings;
  private readonly repeated = new Map<Client, Map<string, Repeated>>();

  constructor(broker: AuditSurroundings) {
    this.broker = broker;
  }

  tell(what: AuditEvent, client: Client, detail: string): void {
    const { door = 'native', address = '' } = client.peer.facts ?? {};
    const principal = client.principal?.name ?? '';
    this.broker.output.audit({ at: this.broker.wallMs, what, principal, address, door, detail });
  }

  /** The same where no connection is concerned. */
  tellOf(what: AuditEvent, principal: string, detail: string): void {
    this.broker.output.audit({ at: this.broker.wallMs, what, principal, address: '', door: '', detail });
  }

  /** Something that may come very often: told at once, and what comes within a second after that as a number. */
  tellSeldom(what: AuditEvent, client: Client, kind: string, detail: string): void {
    const { timers, nowMs } = this.broker;
    let kinds = this.repeated.get(client);
    if (kinds === undefined) {
      kinds = new Map();
      this.repeated.set(client, kinds);
    }
    const known = kinds.get(kind);
    if (known !== undefined) {
      known.count++;
      return;
    }
    const repeated: Repeated = { count: 0, timer: new Timer(() => this.sum(what, client, kind)) };
    kinds.set(kind, repeated);
    timers.set(repeated.timer, nowMs + APART_MS);
    this.tell(what, client, `${kind} ${detail}`);
  }

  forget(client: Client): void {
    for (const { timer } of this.repeated.get(client)?.values() ?? []) this.broker.timers.clear(timer);
    this.repeated.delete(client);
  }

  private sum(what: AuditEvent, client: Client, kind: string): void {
    const kinds = this.repeated.get(client);
    const { count = 0 } = kinds?.get(kind) ?? {};
    kinds?.delete(kind);
    if (kinds?.size === 0) this.repeated.delete(client);
    if (count > 0) this.tell(what, client, `${kind}: ${count} more`);
  }
}

const APART_MS = 1_000;
