/**
 * A node that is cut off from its cluster for so long that others take what it has. [CLU-29] Sessions cannot be had here then; so that what needs nobody else goes on, clients are let in
 * without theirs, and sent back to them when the cluster is there again.
 */

import { ReasonCode } from '../../../pubsub/command.ts';
import type { Client } from '../delivery/client.ts';
import type { BackplaneEvents } from './backplane-port.ts';

/** What {@link CutOff} needs of the broker. */
export interface CutOffSurroundings {
  /** Closes a connection. */
  dismiss(client: Client, code: ReasonCode): void;
}

export class CutOff implements Partial<BackplaneEvents> {
  /** It is so now. */
  isNow = false;
  private readonly broker: CutOffSurroundings;
  /** Those whose sessions are elsewhere. */
  private readonly without = new Set<Client>();

  constructor(broker: CutOffSurroundings) {
    this.broker = broker;
  }

  cutOff(isCutOff: boolean): void {
    this.isNow = isCutOff;
    if (isCutOff) return;
    const clients = [...this.without];
    this.without.clear();
    for (const client of clients) if (!client.closed) this.broker.dismiss(client, ReasonCode.MOVED);
  }

  /** A client has named a session, and is here without it. */
  letIn(client: Client): void {
    this.without.add(client);
  }

  disconnect(client: Client): void {
    this.without.delete(client);
  }
}
