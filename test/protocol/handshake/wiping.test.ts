import { afterEach, describe, expect, test, vi } from 'vitest';
import { MemoryBudget } from '../../../src/base/memory-budget.ts';
import type { RandomSource } from '../../../src/base/random.ts';
import { Prng } from '../../../src/base/random.ts';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { EarlyData } from '../../../src/protocol/handshake/handshake.ts';
import { Tickets } from '../../../src/protocol/handshake/tickets.ts';
import { EndpointCounters } from '../../../src/protocol/trace/counters.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { defaultParameters } from '../../../src/protocol/wire/transport-parameters.ts';
import {
  FIRST_ID,
  initial,
  keysOf,
  newClient,
  newServer,
  present,
  run,
  SERVER_ID,
  SERVER_IDENTITY,
} from './exchange.ts';

/** Every secret that the two sides made since the last test, as the arrays that they were made in. */
const SECRETS = vi.hoisted(() => [] as { name: string; bytes: Uint8Array }[]);

vi.mock('../../../src/protocol/crypto/key-schedule.ts', async (original) => {
  const real = (await original()) as Record<string, unknown>;
  const watched = [
    'initialSecret',
    'clientInitialSecret',
    'serverInitialSecret',
    'handshakeSecret',
    'handshakeTraffic',
    'masterSecret',
    'applicationTraffic',
    'exporterSecret',
    'finishedValue',
    'earlySecret',
    'earlyTraffic',
    'resumptionSecret',
  ];
  return { ...real, ...Object.fromEntries(watched.map((name) => [name, watch(name, real[name])])) };
});

vi.mock('../../../src/protocol/crypto/hybrid-kem.ts', async (original) => {
  const real = (await original()) as typeof import('../../../src/protocol/crypto/hybrid-kem.ts');
  const { decapsulate } = real.HybridKemKey.prototype;
  real.HybridKemKey.prototype.decapsulate = watch('decapsulate', decapsulate) as typeof decapsulate;
  return { ...real, encapsulate: watch('encapsulate', real.encapsulate) };
});

/** `call`, with a note of all the byte arrays in what it returns. */
function watch(name: string, call: unknown): unknown {
  return function watched(this: unknown, ...given: unknown[]): unknown {
    const result = (call as (...given: unknown[]) => unknown).apply(this, given);
    const parts = result instanceof Uint8Array ? { '': result } : ((result ?? {}) as object);
    for (const [part, bytes] of Object.entries(parts)) {
      if (bytes instanceof Uint8Array && part !== 'ciphertext')
        SECRETS.push({ name: `${name} ${part}`, bytes });
    }
    return result;
  };
}

/** Gives seeded bytes and notes those that keys are made from: all draws of 64 bytes and more. */
class WatchedRandom implements RandomSource {
  private readonly prng: Prng;

  constructor(seed: number) {
    this.prng = new Prng(seed);
  }

  fill(target: Uint8Array): void {
    this.prng.fill(target);
    if (target.length >= 64) SECRETS.push({ name: `seed of ${target.length} bytes`, bytes: target });
  }
}

const sides = () =>
  [newClient({ random: new WatchedRandom(1) }), newServer({ random: new WatchedRandom(2) })] as const;

/** What is not zero, but for the value of FINISHED that the client sent and the packet keys' own secrets. */
function left(except: readonly string[] = []): string[] {
  return SECRETS.filter(({ bytes }) => bytes.some((byte) => byte !== 0))
    .map(({ name }) => name.trim())
    .filter((name) => !except.includes(name));
}

afterEach(() => {
  SECRETS.length = 0;
});

describe('secrets of the handshake [HS-25]', () => {
  test('are zero on both sides when it is complete and the keys of its packets are wiped', () => {
    const [client, server] = sides();
    keysOf(client).expectFrom(FIRST_ID);
    expect([initial(client).open, initial(server).seal]).not.toContain(null);
    expect(run(client, server)).toBe(0);
    keysOf(client).discardAll();
    keysOf(server).discardAll();
    // Two seeds, what the KEM gave to both, 3 Initial secrets and 2 x 2 traffic secrets a side, ...
    expect(SECRETS.length).toBeGreaterThan(20);
    // FINISHED is no secret once it was sent or compared.
    expect(left(['finishedValue'])).toEqual([]);
  });

  test.each(['the hello', 'the flight'])('are zero when a client gives up at %s', (at) => {
    const [client, server] = sides();
    server.receive(0, client.hello);
    if (at === 'the hello') {
      const hello = present(server.hello).slice();
      hello[40] ^= 1;
      client.receive(0, hello.subarray(0, 100));
    } else {
      client.receive(0, present(server.hello));
      const flight = present(server.flight).slice();
      flight[flight.length - 1] ^= 1;
      expect(client.receive(1, flight)).not.toBe(0);
    }
    client.forget();
    keysOf(client).discardAll();
    server.forget();
    keysOf(server).discardAll();
    expect(left(['finishedValue'])).toEqual([]);
  });

  /** What takes a client back that was there before, with tickets of which the keys are watched. */
  function resumed() {
    const config = { keys: null, lifetimeMs: 60_000, earlyDataBytesMax: 100, usedMax: 10, epochMs: 0 };
    const counted = { memory: new MemoryBudget(2 ** 20), counters: new EndpointCounters() };
    const { fingerprint } = SERVER_IDENTITY;
    const tickets = new Tickets(config, fingerprint, chooseAead('auto'), new Prng(3), counted);
    const open = tickets.open.bind(tickets);
    tickets.open = (ticket, now) => {
      const opened = open(ticket, now);
      if (opened !== null) SECRETS.push({ name: 'ticket key', bytes: opened.key });
      return opened;
    };
    const parameters = {
      ...defaultParameters(SERVER_ID),
      originalDestinationId: FIRST_ID,
      earlyDataBytes: 100,
    };
    const server = () => newServer({ random: new WatchedRandom(2), parameters, tickets });
    const [first, firstServer] = [newClient(), server()];
    expect(run(first, firstServer)).toBe(0);
    const { nonce, ticket, lifetimeSeconds } = present(firstServer.takeTicket());
    const kept = {
      suite: 1,
      fingerprint,
      clientIdentity: null,
      key: present(keysOf(first).ticketKey(nonce)),
      receivedAtMs: 0,
      lifetimeSeconds,
      parameters: present(first.peerParameters),
      ticket,
    };
    for (const side of [first, firstServer]) keysOf(side).discardAll();
    const resumption = { ticket: kept, ageMs: 0, hasEarlyData: true };
    return { client: newClient({ random: new WatchedRandom(1), resumption }), server };
  }

  test('are zero when a ticket was taken, with its early data, and when it is shown again', () => {
    const { client, server } = resumed();
    const one = server();
    expect(run(client, one)).toBe(0);
    expect([client.isResumed, one.isResumed]).toEqual([true, true]);
    expect([client.earlyData, one.earlyData]).toEqual([EarlyData.ACCEPTED, EarlyData.ACCEPTED]);
    const other = server();
    expect(other.receive(0, client.hello)).toBe(CloseCode.HANDSHAKE_TIMEOUT);
    for (const side of [client, one, other]) keysOf(side).discardAll();
    const names = SECRETS.map(({ name }) => name.trim());
    for (const name of ['earlySecret', 'earlyTraffic', 'resumptionSecret', 'ticket key'])
      expect(names.filter((other) => other === name).length).toBeGreaterThan(1);
    expect(left(['finishedValue'])).toEqual([]);
  });

  test('are zero when a ticket is shown by who has not its key', () => {
    const { client, server } = resumed();
    const hello = client.hello.slice();
    hello[hello.length - 1] ^= 1;
    const one = server();
    expect(one.receive(0, hello)).toBe(CloseCode.CRYPTO_ERROR);
    client.forget();
    for (const side of [client, one]) keysOf(side).discardAll();
    expect(left(['finishedValue'])).toEqual([]);
  });

  test('are zero when either side is forgotten half-way', () => {
    const [client, server] = sides();
    server.receive(0, client.hello);
    client.receive(0, present(server.hello));
    expect(left().length).toBeGreaterThan(0);
    for (const side of [client, server]) {
      side.forget();
      keysOf(side).discardAll();
    }
    expect(left(['finishedValue'])).toEqual([]);
  });
});
