import { Prng } from '../../../src/base/random.ts';
import type { Micros } from '../../../src/base/time.ts';
import { ReceiveBatch, TransmitBatch } from '../../../src/protocol/datagram/index.ts';
import { Endpoint, type ServerConfig } from '../../../src/protocol/endpoint/index.ts';
import { config, IDENTITY, PORT } from '../connection/pair.ts';

/** A server that is fed by hand. */
export function serverEndpoint(accept: Partial<ServerConfig> = {}, seed = 1): Endpoint {
  const server: ServerConfig = {
    identity: IDENTITY,
    acceptUnpinned: false,
    halfOpenMax: 16,
    connectionsMax: 64,
    isLoopback: () => false,
    ...accept,
  };
  return new Endpoint({ connection: config(), random: new Prng(seed), server });
}

/** The datagrams with which clients begin, one list a client. */
export function firstFlights(
  count: number,
  seed = 100,
  pin: Uint8Array | null = IDENTITY.fingerprint,
): Uint8Array[][] {
  const client = new Endpoint({ connection: config(), random: new Prng(seed), server: null });
  return Array.from({ length: count }, () => {
    client.connect({ host: 'server', port: PORT, pin, isLoopback: false }, 0);
    return drain(client, 0);
  });
}

/** Hands datagrams over as one batch. */
export function hand(
  endpoint: Endpoint,
  datagrams: readonly Uint8Array[],
  now: Micros,
  host = 'client',
  port = 1,
): void {
  const batch = new ReceiveBatch();
  for (const data of datagrams) batch.push(data.slice(), host, port);
  endpoint.receive(batch, now);
}

/** Takes all that the endpoint wants to send. */
export function drain(endpoint: Endpoint, now: Micros): Uint8Array[] {
  const batch = new TransmitBatch(256 * 1024, 192);
  const datagrams: Uint8Array[] = [];
  while (endpoint.transmit(batch, now) > 0) {
    for (let i = 0; i < batch.count; i++) {
      datagrams.push(batch.arena.slice(batch.offset[i], batch.offset[i] + batch.length[i]));
    }
    batch.clear();
  }
  return datagrams;
}

/** Lets time pass: hands out the timeouts that are due until `end`. */
export function pass(endpoint: Endpoint, end: Micros): void {
  for (let turns = 0; endpoint.nextTimeout() <= end; turns++) {
    if (turns > 100_000) throw new Error('there is no end of timeouts');
    const now = endpoint.nextTimeout();
    endpoint.timeout(now);
    drain(endpoint, now);
  }
}
