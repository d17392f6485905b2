import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MemoryBudget } from '../../../src/base/memory-budget.ts';
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, SECOND } from '../../../src/base/time.ts';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import {
  type ClientTicket,
  decodeClientTicket,
  encodeClientTicket,
  isUsable,
} from '../../../src/protocol/handshake/client-ticket.ts';
import {
  type EarlyLimits,
  maskedAge,
  type OpenedTicket,
  type TicketConfig,
  type TicketContent,
  Tickets,
} from '../../../src/protocol/handshake/tickets.ts';
import { EndpointCounters } from '../../../src/protocol/trace/counters.ts';
import { defaultParameters } from '../../../src/protocol/wire/transport-parameters.ts';
import { present, SERVER_IDENTITY } from './exchange.ts';

const EPOCH_MS = 1_800_000_000_000;
const HOUR_MS = 3_600_000;
const LIMITS: EarlyLimits = {
  earlyDataBytes: 16_384,
  initialMaxData: 262_144,
  initialMaxStreamData: 131_072,
  initialMaxStreams: 100,
  maxMessageBytes: 2 ** 24,
  bestEffortBytes: 0,
};
const CONTENT: TicketContent = {
  suite: 1,
  key: new Uint8Array(32).fill(7),
  provedAtMs: EPOCH_MS,
  limits: LIMITS,
  clientIdentity: null,
};
const KEYS = { current: new Uint8Array(32).fill(1), previous: [] };

function ticketsOf(
  seed: number,
  config: Partial<TicketConfig> = {},
  fingerprint = SERVER_IDENTITY.fingerprint,
): Tickets {
  const all: TicketConfig = {
    keys: null,
    lifetimeMs: 24 * HOUR_MS,
    earlyDataBytesMax: 16_384,
    usedMax: 1_000,
    epochMs: EPOCH_MS,
    ...config,
  };
  const counted = { memory: new MemoryBudget(2 ** 30), counters: new EndpointCounters() };
  return new Tickets(all, fingerprint, chooseAead('auto'), new Prng(seed), counted);
}

function given(tickets: Tickets, content = CONTENT, now = 0): Uint8Array {
  return tickets.give(tickets.nonce(), content, now).ticket;
}

/** What becomes of a ticket that is shown, so many ms old as its client says. */
function shown(tickets: Tickets, ticket: Uint8Array, ageMs: number, now: number): string | null {
  const opened = tickets.open(ticket, now);
  return opened === null ? null : tickets.take(opened, maskedAge(opened.key, ageMs), now);
}

describe('tickets', () => {
  test('say to their server what it wrote, and nothing to another identity [HS-51]', () => {
    const server = ticketsOf(1);
    const clientIdentity = new Uint8Array(32).fill(9);
    const ticket = given(server, { ...CONTENT, clientIdentity });
    const opened = server.open(ticket, SECOND) as OpenedTicket;
    expect(opened).toMatchObject({ ...CONTENT, clientIdentity, isOwn: true, issuedAtMs: EPOCH_MS });
    const other = ticketsOf(1, { keys: KEYS }, new Uint8Array(32));
    expect(other.open(given(ticketsOf(2, { keys: KEYS })), 0)).toBeNull();
    expect(ticketsOf(3, { keys: KEYS }).open(given(ticketsOf(2, { keys: KEYS })), 0)).not.toBeNull();
  });

  test('are worth nothing when a bit of them is changed, or they are cut short [HS-51]', () => {
    const server = ticketsOf(1);
    const ticket = given(server);
    fc.assert(
      fc.property(fc.nat(ticket.length * 8 - 1), fc.nat(ticket.length - 1), (bit, length) => {
        const changed = ticket.slice();
        changed[bit >> 3] ^= 1 << (bit & 7);
        expect(server.open(changed, 0)).toBeNull();
        expect(server.open(ticket.subarray(0, length), 0)).toBeNull();
      }),
    );
    expect(server.open(new Uint8Array(600), 0)).toBeNull();
  });

  test('are taken once, with early data only while the hello is fresh [HS-52] [HS-53]', () => {
    const server = ticketsOf(1);
    const [first, second, third] = [given(server), given(server), given(server)];
    const hour = HOUR_MS * MILLISECOND;
    expect(shown(server, first, HOUR_MS - 200, hour)).toBe('early');
    expect(shown(server, first, HOUR_MS - 200, hour)).toBe('refused');
    expect(shown(server, second, HOUR_MS - 200, hour + 11 * SECOND)).toBe('taken');
    expect(shown(server, third, HOUR_MS + 11_000, hour)).toBe('taken');
  });

  test('bring no early data to a process that shares the keys, nor to the one that was started anew [HS-53]', () => {
    const [one, other] = [ticketsOf(1, { keys: KEYS }), ticketsOf(2, { keys: KEYS })];
    const tickets = Array.from({ length: 100 }, () => given(one));
    for (const ticket of tickets) expect(shown(one, ticket, 0, SECOND)).toBe('early');
    for (const ticket of tickets) {
      expect(shown(one, ticket, 0, SECOND)).toBe('refused');
      expect(shown(other, ticket, 0, SECOND)).toBe('taken');
    }
  });

  test('of more clients than are remembered bring none either [HS-53]', () => {
    const server = ticketsOf(1, { usedMax: 10 });
    const uses = Array.from({ length: 20 }, () => shown(server, given(server), 0, 0));
    expect(uses.filter((use) => use === 'early')).toHaveLength(10);
    expect(uses.filter((use) => use === 'taken')).toHaveLength(10);
  });

  test('end with their lifetime, and a row of them a week after identities were proved [HS-54]', () => {
    const server = ticketsOf(1, { keys: KEYS, lifetimeMs: HOUR_MS });
    const ticket = given(server);
    const hour = HOUR_MS * MILLISECOND;
    expect(server.open(ticket, hour)).not.toBeNull();
    expect(server.open(ticket, hour + SECOND)).toBeNull();
    const week = 7 * 24 * HOUR_MS;
    const late = given(server, { ...CONTENT, provedAtMs: EPOCH_MS - week });
    expect(server.open(late, 0)).not.toBeNull();
    expect(server.open(late, SECOND)).toBeNull();
  });

  test('live through one change of the server’s own keys, and no second [HS-54]', () => {
    const server = ticketsOf(1, { lifetimeMs: HOUR_MS });
    const hour = HOUR_MS * MILLISECOND;
    const ticket = given(server, CONTENT, hour - SECOND);
    expect(server.open(ticket, hour + SECOND)).not.toBeNull();
    const young = given(server, CONTENT, hour + 2 * SECOND);
    expect(server.open(young, hour + 3 * SECOND)).not.toBeNull();
    expect(server.open(ticket, 3 * hour)).toBeNull();
    expect(server.open(young, 3 * hour)).toBeNull();
  });

  test('are opened by keys of before [HS-54]', () => {
    const old = ticketsOf(1, { keys: KEYS });
    const current = new Uint8Array(32).fill(2);
    expect(ticketsOf(2, { keys: { current, previous: [KEYS.current] } }).open(given(old), 0)).not.toBeNull();
    expect(ticketsOf(2, { keys: { current, previous: [] } }).open(given(old), 0)).toBeNull();
  });

  test('allow early data only where each limit is what it was, or higher [HS-57]', () => {
    const server = ticketsOf(1);
    const now = { ...defaultParameters(new Uint8Array(8)), ...LIMITS };
    expect(server.allows(LIMITS, now)).toBe(true);
    for (const name of Object.keys(LIMITS) as (keyof EarlyLimits)[]) {
      if (LIMITS[name] > 0) expect(server.allows(LIMITS, { ...now, [name]: LIMITS[name] - 1 })).toBe(false);
      if (name !== 'earlyDataBytes') expect(server.allows({ ...LIMITS, [name]: 0 }, now)).toBe(true);
    }
    expect(server.allows({ ...LIMITS, earlyDataBytes: 0 }, now)).toBe(false);
  });

  test('hide their age from all who have not their key [HS-52]', () => {
    const keys = Array.from({ length: 50 }, (_, n) => new Uint8Array(32).fill(n));
    expect(new Set(keys.map((key) => maskedAge(key, 5_000))).size).toBe(50);
  });
});

describe('a ticket as a client keeps it', () => {
  const kept: ClientTicket = {
    suite: 1,
    fingerprint: new Uint8Array(SERVER_IDENTITY.fingerprint),
    clientIdentity: null,
    key: CONTENT.key,
    receivedAtMs: EPOCH_MS,
    lifetimeSeconds: 3_600,
    parameters: {
      ...defaultParameters(new Uint8Array(0)),
      ...LIMITS,
      originalDestinationId: new Uint8Array(0),
    },
    ticket: new Uint8Array(150).fill(3),
  };

  test('is bytes, and comes back out of them [HS-55]', () => {
    const host = 'fe80::1%eth0';
    for (const clientIdentity of [null, new Uint8Array(32).fill(9)]) {
      const ticket = { ...kept, clientIdentity };
      expect(decodeClientTicket(encodeClientTicket(ticket, host))).toEqual({ ...ticket, host });
    }
  });

  test('of a server that says it lives for ever lives for 7 days [HS-54]', () => {
    const bytes = encodeClientTicket({ ...kept, lifetimeSeconds: Number.MAX_SAFE_INTEGER }, '');
    expect(decodeClientTicket(bytes)?.lifetimeSeconds).toBe(604_800);
  });

  test('is nothing when it is cut short, or anything else', () => {
    const bytes = encodeClientTicket(kept, '');
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.uint8Array({ maxLength: 400 }), (length, any) => {
        expect(decodeClientTicket(bytes.subarray(0, length))).toBeNull();
        const decoded = decodeClientTicket(any);
        if (decoded !== null) expect(present(decoded).ticket.length).toBeLessThan(400);
      }),
    );
  });

  test('is of use as long as it lives, by a clock that was not set back, and never for more than 7 days [HS-54]', () => {
    expect(isUsable(kept, EPOCH_MS + 3_600_000)).toBe(true);
    expect(isUsable(kept, EPOCH_MS + 3_600_001)).toBe(false);
    expect(isUsable(kept, EPOCH_MS - 1)).toBe(false);
    const long = { ...kept, lifetimeSeconds: 2 ** 32 - 1 };
    expect(isUsable(long, EPOCH_MS + 604_800_000)).toBe(true);
    expect(isUsable(long, EPOCH_MS + 604_800_001)).toBe(false);
  });
});
