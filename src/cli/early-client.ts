/**
 * A client for what is said once: with the ticket that an earlier command was given, what it publishes is in its first datagram. It does not come
 * back when its connection is lost, for that would take a session, which has to be asked for first.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerClient, type BrokerClientOptions, connectClient } from '../client/index.ts';
import { tokenServer } from '../transport/address-tokens.ts';
import { type ConnectOptions, connect } from '../transport/connect.ts';
import type { Connection } from '../transport/connection.ts';
import { parseServerUrl } from '../transport/url.ts';
import { knownServers } from './known-servers.ts';

export interface EarlyClient {
  readonly client: BrokerClient;
  /** Resolves when there is a ticket for the next command, or none came in time. */
  ticketKept(): Promise<void>;
}

export async function connectEarly(
  url: string,
  options: ConnectOptions,
  clientOptions: BrokerClientOptions,
): Promise<EarlyClient> {
  const known = knownServers();
  const server = tokenServer(parseServerUrl(url));
  const ticket = known === false || server === null ? null : known.takeTicket(server);
  const connection = await connect(url, {
    ...options,
    streamDefaults: { earlyData: true },
    ...(ticket === null ? {} : { ticket, earlyData: true }),
  });
  const kept = keepTicket(connection, (next) => {
    if (known !== false && server !== null) known.putTicket(server, next);
  });
  const client = await connectClient(connection, clientOptions);
  return { client, ticketKept: () => Promise.race([kept, sleep(TICKET_MS_MAX, undefined, { ref: false })]) };
}

/** Servers give a ticket as soon as the handshake is complete. */
function keepTicket(connection: Connection, keep: (ticket: Uint8Array) => void): Promise<void> {
  return new Promise((resolve) => {
    connection.once('ticket', (ticket) => {
      keep(ticket);
      resolve();
    });
    void connection.closed.then(() => resolve());
  });
}

/** A broker that gives tickets has sent one by then. */
const TICKET_MS_MAX = 1_000;
