import { describe, expect, test } from 'vitest';
import { MemoryAccount } from '../../../src/base/memory-budget.ts';
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import type { ClientCredentials } from '../../../src/protocol/handshake/client.ts';
import type { ClientTicket } from '../../../src/protocol/handshake/client-ticket.ts';
import { EarlyData } from '../../../src/protocol/handshake/handshake.ts';
import type { Resumption } from '../../../src/protocol/handshake/ticket-offer.ts';
import type { TicketConfig } from '../../../src/protocol/handshake/tickets.ts';
import { qlogHeader } from '../../../src/protocol/trace/qlog-trace.ts';
import type { Tracing } from '../../../src/protocol/trace/trace.ts';
import { Delivery, FrameType, Priority } from '../../../src/protocol/wire/frame-type.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { collecting, faultsOf, readLog } from '../trace/qlog-log.ts';
import { eachSeed, Pair, type PairOptions, type Side } from './pair.ts';

const TICKETS: TicketConfig = {
  keys: null,
  lifetimeMs: 3_600_000,
  earlyDataBytesMax: 16_384,
  usedMax: 1_000,
  epochMs: 1_800_000_000_000,
};
/** So often a captured first datagram is sent again, in bursts. */
const REPLAYS = 10_000;
const HEADER = qlogHeader({ role: 'client', groupId: '', referenceTimeMs: 0, title: '' });
const SHARED = { current: new Uint8Array(32).fill(1), previous: [] };

function pairOf(tickets: Partial<TicketConfig> = {}, options: PairOptions = {}): Pair {
  return new Pair({ ...options, accept: { ...options.accept, tickets: { ...TICKETS, ...tickets } } });
}

/** The ticket that the client was given last. */
function ticketOf(side: Side): ClientTicket {
  const given = side.events.filter((event) => event.type === 'ticket').at(-1);
  if (given?.type !== 'ticket') throw new Error('there is no ticket');
  return given.ticket;
}

/** A ticket of a server with these options, which is gone. */
function ticketFrom(tickets: Partial<TicketConfig> = {}, options: PairOptions = {}): ClientTicket {
  const pair = pairOf(tickets, { seed: 77, ...options }).connected();
  pair.until(() => pair.client.events.some(({ type }) => type === 'ticket'), 1_000, 'the ticket');
  return ticketOf(pair.client);
}

/** Connects with a ticket, and says something early and something that is to wait. */
function comeBack(pair: Pair, ticket: ClientTicket, early = ['early'], late = ['late'], ageMs = 0): number {
  const resumption: Resumption = { ticket, ageMs, hasEarlyData: true };
  pair.client.connection = null;
  pair.connect(resumption);
  const stream = pair.client.open({ earlyData: true });
  for (const text of early) pair.client.send(stream, text);
  const other = pair.client.open({ priority: Priority.SYSTEM });
  for (const text of late) pair.client.send(other, text);
  return stream.id;
}

/** What became of early data, and of the ticket. */
function outcome({ client }: Pair): [EarlyData, boolean] {
  const { earlyData, isResumed } = client.core.handshake;
  return [earlyData, isResumed];
}

/** All texts that the server's application got, whatever connection they came on. */
function arrivedAt(side: Side): string[] {
  return [...side.messages.values()].flat().map((data) => Buffer.from(data).toString());
}

/** A pair of which the client has been there once, and is back with its ticket. */
function resumed(options: PairOptions = {}, tickets: Partial<TicketConfig> = {}): Pair {
  const pair = pairOf(tickets, options).connected();
  pair.until(() => pair.client.events.some(({ type }) => type === 'ticket'), 5_000, 'the ticket');
  pair.client.close();
  pair.run(2_000);
  pair.client.sent.length = 0;
  pair.server.sent.length = 0;
  return pair;
}

describe('a client that comes back with a ticket', () => {
  test('says its first words in its first datagram, and hears the answer to them in a round trip [HS-34] [HS-59] [PKT-19]', () => {
    const pair = resumed();
    const { now } = pair;
    comeBack(pair, ticketOf(pair.client), ['on'], []);
    pair.until(() => arrivedAt(pair.server).includes('on'), 100, 'the message');
    expect(pair.now - now).toBeLessThan(6_000); // one way takes 5 ms
    expect(pair.client.sent).toHaveLength(1);
    const [{ data, packets }] = pair.client.sent;
    expect(data).toHaveLength(1_200);
    expect(packets.map(({ type }) => type)).toEqual([PacketType.INITIAL, PacketType.ZERO_RTT]);
    const answered = pair.server.streams.at(-1);
    if (answered === undefined) throw new Error('the stream did not come');
    pair.server.send(answered, 'done');
    pair.until(() => pair.client.texts(answered.id).includes('done'), 100, 'the answer');
    expect(pair.now - now).toBeLessThan(13_000);
    expect(pair.client.core.handshake.earlyData).toBe(EarlyData.ACCEPTED);
  });

  test('sends no 0-RTT packet where it has nothing to say in one [HS-59]', () => {
    const pair = resumed();
    pair.client.connection = null;
    pair.connect({ ticket: ticketOf(pair.client), ageMs: 0, hasEarlyData: true });
    pair.client.send(pair.client.open(), 'late');
    pair.until(() => arrivedAt(pair.server).includes('late'), 200, 'the message');
    const types = pair.client.sent.flatMap(({ packets }) => packets.map(({ type }) => type));
    expect(types[0]).toBe(PacketType.INITIAL);
    expect(types).not.toContain(PacketType.ZERO_RTT);
  });

  test('is told of before it has answered, and once more when it has [HS-59]', () => {
    const pair = resumed();
    const before = pair.server.events.length;
    comeBack(pair, ticketOf(pair.client));
    pair.run(200);
    const told = pair.server.events.slice(before).map(({ type }) => type);
    expect(told.slice(0, 2)).toEqual(['early', 'stream']);
    expect(told.filter((type) => type === 'connected')).toHaveLength(1);
    expect(told.indexOf('connected')).toBeGreaterThan(told.indexOf('readable'));
  });

  test('is resumed: nobody signs, the identity is that of the ticket, and another ticket comes [HS-33] [HS-55]', () => {
    const pair = resumed();
    const ticket = ticketOf(pair.client);
    comeBack(pair, ticket);
    pair.run(300);
    expect(pair.client.core.handshake.isResumed).toBe(true);
    expect(pair.client.core.handshake.peerFingerprint).toEqual(ticket.fingerprint);
    const flight = pair.server.packets.filter(({ type }) => type === PacketType.HANDSHAKE);
    const bytes = flight.flatMap(({ frames }) => frames).find(({ type }) => type === FrameType.CRYPTO)?.total;
    expect(bytes).toBeLessThan(300);
    expect(ticketOf(pair.client).ticket).not.toEqual(ticket.ticket);
    expect(pair.server.endpoint.counters).toMatchObject({ ticketsAccepted: 1, earlyDataAccepted: 1 });
  });

  test('keeps back what is not marked, and all that follows it on its stream [HS-59]', () => {
    const pair = resumed();
    pair.client.connection = null;
    pair.connect({ ticket: ticketOf(pair.client), ageMs: 0, hasEarlyData: true });
    const stream = pair.client.open();
    const marked = { protection: null, compression: null, earlyData: true };
    const say = (text: string, asks: typeof marked | null) =>
      stream.send(Buffer.from(text), 0, Number.POSITIVE_INFINITY, false, 0, asks);
    say('1', marked);
    say('2', marked);
    say('3', null);
    say('4', marked);
    pair.client.node.wake();
    pair.run(300);
    const early = pair.client.packets.filter(({ type }) => type === PacketType.ZERO_RTT);
    const sent = early.flatMap(({ frames }) => frames).filter(({ type }) => type >= FrameType.MESSAGE);
    expect(sent.reduce((sum, { count }) => sum + count, 0)).toBe(2);
    expect(pair.server.texts(stream.id)).toEqual(['1', '2', '3', '4']);
    expect(early.flatMap(({ frames }) => frames.map(({ type }) => type))).not.toContain(FrameType.ACK);
  });

  test('sends no more early than the server takes, and the rest when it may [HS-56]', () => {
    const pair = resumed({}, { earlyDataBytesMax: 2_000 });
    const texts = Array.from({ length: 40 }, (_, i) => `${i} ${'x'.repeat(200)}`);
    const id = comeBack(pair, ticketOf(pair.client), texts, []);
    pair.run(300);
    const early = pair.client.packets.filter(({ type }) => type === PacketType.ZERO_RTT);
    const messages = early.flatMap(({ frames }) => frames.filter(({ type }) => type >= FrameType.MESSAGE));
    const data = messages.reduce((sum, { data }) => sum + data.length, 0);
    expect(data).toBeGreaterThan(1_000);
    expect(data).toBeLessThanOrEqual(2_000);
    expect(pair.server.texts(id)).toEqual(texts);
  });

  test('is heard when its first datagram is lost: what was early goes again with the hello [REC-16]', () => {
    const pair = resumed();
    pair.client.filter = (data, index) => (index === 0 ? [] : [{ data }]);
    comeBack(pair, ticketOf(pair.client), ['on'], []);
    pair.until(() => arrivedAt(pair.server).includes('on'), 1_200, 'the message');
    expect(pair.client.sent.length).toBeLessThanOrEqual(3);
    pair.run(500);
    expect(arrivedAt(pair.server)).toEqual(['on']);
  });

  test('is welcome at a server that has more clients than before, and so less memory for each [HS-57]', () => {
    const pair = resumed();
    const { memory } = pair.server.endpoint;
    new MemoryAccount(memory, 0).take(Math.floor(memory.available * 0.8));
    comeBack(pair, ticketOf(pair.client), ['on'], []);
    pair.run(300);
    expect(pair.client.core.handshake.earlyData).toBe(EarlyData.ACCEPTED);
    expect(arrivedAt(pair.server)).toEqual(['on']);
  });

  test('has an answer to each of its packets, also to those that have no room for data [HS-59]', () => {
    const pair = resumed();
    pair.client.filter = (data, index) => (index < 30 ? [] : [{ data }]);
    const texts = Array.from({ length: 14 }, (_, i) => `${i} ${'x'.repeat(1_000)}`);
    comeBack(pair, ticketOf(pair.client), texts, []);
    pair.run(8_000);
    const early = pair.client.packets.filter(({ type }) => type === PacketType.ZERO_RTT);
    const elicits = ({ type }: { type: number }) => type !== FrameType.PADDING && type !== FrameType.ACK;
    expect(early.length).toBeGreaterThan(15);
    for (const { frames } of early) expect(frames.some(elicits)).toBe(true);
  });

  test('follows a Retry with what it had to say [HS-30] [HS-33]', () => {
    const options: PairOptions = { accept: { retry: { mode: 'always', epochMs: 0 } } };
    const pair = resumed(options);
    const id = comeBack(pair, ticketOf(pair.client), ['a', 'b'], ['c']);
    pair.run(500);
    expect(pair.client.core.handshake.earlyData).toBe(EarlyData.ACCEPTED);
    expect(pair.server.texts(id)).toEqual(['a', 'b']);
    expect(arrivedAt(pair.server).sort()).toEqual(['a', 'b', 'c']);
  });
});

describe('early data that is refused', () => {
  test('is told of in the client’s log with the id under which its server has one [TRC-3]', () => {
    const client = collecting();
    const names: string[] = [];
    const named = (tracing: Tracing): Tracing => ({
      ...tracing,
      open: (role, groupId) => {
        names.push(groupId);
        return tracing.open(role, groupId);
      },
    });
    const sides = { client: { tracing: named(client) }, server: { tracing: named(collecting()) } };
    const pair = pairOf({ keys: null }, sides);
    comeBack(pair, ticketFrom());
    pair.run(2_000);
    expect(arrivedAt(pair.server).sort()).toEqual(['early', 'late']);
    const [first, last] = [names[0], names.at(-1)];
    const log = readLog(HEADER + client.records.join(''));
    expect(faultsOf(log)).toEqual([]);
    const updated = log.events.filter(({ name }) => name === 'connectivity:connection_id_updated');
    expect(updated.map(({ data }) => data)).toEqual([{ owner: 'remote', old: first, new: last }]);
    expect(last).not.toBe(first);
  });

  const texts = ['one', 'two', 'x'.repeat(3_000), 'four'];

  test('is sent again once, in order, by a hello without a ticket, when the server does not know that [HS-50] [HS-58]', () => {
    const ticket = ticketFrom();
    const pair = pairOf();
    const id = comeBack(pair, ticket, texts, ['late']);
    pair.run(500);
    expect(outcome(pair)).toEqual([EarlyData.REFUSED, false]);
    expect(pair.server.texts(id)).toEqual(texts);
    expect(arrivedAt(pair.server)).toHaveLength(5);
    const initials = pair.client.packets.filter(({ type }) => type === PacketType.INITIAL);
    expect(initials.map(({ number }) => number)).toEqual(initials.map((_, i) => i));
    expect(pair.server.endpoint.counters).toMatchObject({ ticketsRefused: 1, connectionsOpen: 1 });
  });

  test('is sent again once when the ticket is of another process that shares the keys [HS-53] [HS-58]', () => {
    const ticket = ticketFrom({ keys: SHARED });
    const pair = pairOf({ keys: SHARED });
    const id = comeBack(pair, ticket, texts, ['late']);
    pair.run(500);
    expect(outcome(pair)).toEqual([EarlyData.REFUSED, true]);
    expect(pair.server.texts(id)).toEqual(texts);
    expect(arrivedAt(pair.server)).toHaveLength(5);
    expect(pair.server.endpoint.counters).toMatchObject({ ticketsAccepted: 1, earlyDataRefused: 1 });
  });

  test('is sent again when the server allows less than it did, within that [HS-57]', () => {
    const ticket = ticketFrom({ keys: SHARED });
    const pair = pairOf(
      { keys: SHARED },
      { server: { streamsMax: 1, connectionWindowStartBytes: 4_096, streamWindowStartBytes: 2_048 } },
    );
    const id = comeBack(pair, ticket, ['one', 'two', 'x'.repeat(3_000)], []);
    pair.run(2_000);
    expect(pair.client.closed).toBeNull();
    expect(pair.server.texts(id)).toEqual(['one', 'two', 'x'.repeat(3_000)]);
  });

  /** A server that takes less in every way than the one that was there before. */
  const LESS = {
    messageBytesMax: 1_000,
    streamsMax: 2,
    connectionWindowStartBytes: 4_096,
    streamWindowStartBytes: 2_048,
    bestEffortBytes: 1_000,
    receiveDatagramBytesMax: 600,
  };

  test.each([
    ['with the ticket taken', SHARED],
    ['with the ticket refused', null],
  ])(
    'is not sent where it is too large now: each such message is told of, and all others arrive, %s [STR-46] [HS-57]',
    (_, keys) => {
      const ticket = ticketFrom(keys === null ? {} : { keys });
      const pair = pairOf({ keys }, { server: LESS });
      const large = 'x'.repeat(1_001);
      const early = ['one', large, 'y'.repeat(1_000), large, 'five'];
      const id = comeBack(pair, ticket, early, ['late', large, 'later']);
      const best = pair.client.open({ delivery: Delivery.BEST_EFFORT });
      const tracking = best.track();
      best.send(Buffer.from(large), Delivery.BEST_EFFORT, Number.POSITIVE_INFINITY, false, tracking);
      best.send(Buffer.from('best'), Delivery.BEST_EFFORT, Number.POSITIVE_INFINITY, false);
      const third = pair.client.open();
      pair.client.send(third, 'waits for a stream');
      pair.run(3_000);
      expect(pair.client.closed).toBeNull();
      expect(pair.server.texts(id)).toEqual(['one', 'y'.repeat(1_000), 'five']);
      expect(pair.server.texts(id + 2)).toEqual(['late', 'later']);
      const unsent = pair.client.events.flatMap((event) => (event.type === 'unsent' ? [event] : []));
      expect(unsent.map(({ stream, tracking: number }) => [stream.id, number])).toEqual([
        [id, 0],
        [id, 0],
        [id + 2, 0],
        [best.id, tracking],
      ]);
      for (const { data, bytesMax } of unsent)
        expect([`${Buffer.from(data)}`, bytesMax]).toEqual([large, 1_000]);
      expect(pair.client.events.filter(({ type }) => type === 'outcome')).toEqual([]);
      // What waited for a stream goes when others have ended.
      for (const stream of [...pair.client.core.streams.values()])
        if (stream !== third) pair.client.end(stream);
      for (const stream of pair.server.streams) pair.server.end(stream);
      pair.run(3_000);
      expect(pair.server.texts(best.id)).toEqual(['best']);
      expect(pair.server.texts(third.id)).toEqual(['waits for a stream']);
      expect(pair.client.core.streams.limits.messages.peer).toBe(1_000);
      for (const { data } of pair.client.sent.slice(-5)) expect(data.length).toBeLessThanOrEqual(600);
    },
  );

  test('is one when the hello is not fresh, or the ticket was used before [HS-52] [HS-53]', () => {
    const pair = resumed();
    const ticket = ticketOf(pair.client);
    comeBack(pair, ticket, ['stale'], [], 3_600_000);
    pair.run(300);
    expect(outcome(pair)).toEqual([EarlyData.REFUSED, true]);
    pair.client.close();
    pair.run(2_000);
    comeBack(pair, ticket, ['again'], []);
    pair.run(300);
    expect(outcome(pair)).toEqual([EarlyData.REFUSED, false]);
    expect(arrivedAt(pair.server)).toEqual(['stale', 'again']);
  });

  test('after a Retry, too, also when the refusal is lost: the token is as good as before [HS-38] [HS-58]', () => {
    const ticket = ticketFrom();
    for (const lost of [-1, 1]) {
      const pair = pairOf({}, { accept: { retry: { mode: 'always', epochMs: 0 } } });
      pair.server.filter = (data, index) => (index === lost ? [] : [{ data }]);
      const id = comeBack(pair, ticket, texts, []);
      pair.run(5_000);
      expect(pair.client.closed).toBeNull();
      expect(outcome(pair)).toEqual([EarlyData.REFUSED, false]);
      expect(pair.server.texts(id)).toEqual(texts);
      expect(pair.server.endpoint.counters.tokensRefused).toBe(0);
    }
  });

  test('arrives once, whatever the path loses and mixes up, as does all else [HS-58]', () => {
    const ticket = ticketFrom();
    const shared = ticketFrom({ keys: SHARED });
    eachSeed(1, 12, (seed) => {
      const link = { delayMs: 20, jitterMs: 15, loss: 0.25, duplicate: 0.1 };
      const isUnknown = seed % 2 === 0;
      const pair = pairOf(isUnknown ? {} : { keys: SHARED }, {
        seed,
        link,
        client: { handshakeTimeoutMs: 60_000 },
        server: { handshakeTimeoutMs: 60_000 },
      });
      comeBack(pair, isUnknown ? ticket : shared, texts, ['late']);
      pair.until(() => arrivedAt(pair.server).length >= 5, 60_000, 'all that was said');
      pair.run(2_000);
      expect(arrivedAt(pair.server).sort()).toEqual([...texts, 'late'].sort());
    });
  });
});

describe('a server whose application decides about its clients', () => {
  /** A client that was there before anybody decided, and is back with early data; what is decided about it is `decide`. */
  function deciding(decide: (pair: Pair, core: Connection) => void, credentials?: ClientCredentials) {
    const access = { asksForIdentity: true, isDecided: false };
    const pair = resumed({ accept: { access }, ...(credentials === undefined ? {} : { credentials }) });
    access.isDecided = true;
    const ticket = ticketOf(pair.client);
    pair.server.events.length = 0;
    pair.client.events.length = 0;
    pair.server.onEvent = (event) => {
      if (event.type !== 'admission') return;
      pair.world.clock.schedule(pair.now + 100_000, () => {
        decide(pair, event.connection);
        pair.server.node.wake();
      });
    };
    comeBack(pair, ticket, ['early'], ['late']);
    pair.run(50);
    expect(pair.server.events.map(({ type }) => type)).toEqual(['admission']);
    return pair;
  }
  const letIn = (pair: Pair, core: Connection) => pair.server.endpoint.admit(core, null, pair.now);
  const refuse = (pair: Pair, core: Connection) =>
    pair.server.endpoint.refuse(core, { scope: 'application', code: 403, reason: '' }, pair.now);

  test('sees early data when it has let the client in, once; the ticket proves who that is, and another comes then [HS-47] [HS-58]', () => {
    const robot = Identity.generate(new Prng(5), { hybrid: true });
    const pair = deciding(letIn, { identity: robot, payload: null });
    expect(arrivedAt(pair.server)).toEqual([]);
    expect(pair.server.frames(FrameType.TICKET)).toEqual([]);
    const flights = pair.client.packets.filter(({ type }) => type === PacketType.HANDSHAKE);
    const flight = flights.flatMap(({ frames }) => frames.filter(({ type }) => type === FrameType.CRYPTO));
    expect(flight).toMatchObject([{ total: 35 }]); // FINISHED: nobody shows or signs anything
    pair.run(300);
    expect(outcome(pair)).toEqual([EarlyData.REFUSED, true]);
    expect(arrivedAt(pair.server).sort()).toEqual(['early', 'late']);
    expect(pair.server.events.slice(0, 3).map(({ type }) => type)).toEqual([
      'admission',
      'connected',
      'stream',
    ]);
    const [{ connection }] = pair.server.events;
    expect(connection.handshake.peerFingerprint).toEqual(Uint8Array.from(robot.fingerprint));
    expect(pair.server.frames(FrameType.TICKET)).toHaveLength(1);
    // Of this server it gets tickets that allow none.
    expect(ticketOf(pair.client).parameters.earlyDataBytes).toBe(0);
  });

  test('sees none of a client that is refused, which gets no ticket [HS-47]', () => {
    const pair = deciding(refuse);
    pair.run(1_000);
    expect(pair.client.closed).toMatchObject({ by: 'peer', isRefused: true, code: 403 });
    expect(arrivedAt(pair.server)).toEqual([]);
    expect(pair.server.frames(FrameType.TICKET)).toEqual([]);
  });

  test('is not even asked about a captured first datagram that is sent again [HS-47] [HS-53]', () => {
    const pair = deciding(letIn);
    const [{ data }] = pair.client.sent;
    pair.run(300);
    pair.client.close();
    pair.run(3_000);
    pair.server.events.length = 0;
    for (let i = 0; i < 20; i++) {
      pair.client.inject(data);
      pair.run(100);
    }
    pair.run(20_000);
    expect(pair.server.events).toEqual([]);
    expect(arrivedAt(pair.server).sort()).toEqual(['early', 'late']);
  });
});

describe('a captured first datagram', () => {
  test('that is sent again, from there and elsewhere, has nothing handled a second time [HS-53]', () => {
    const pair = resumed();
    comeBack(pair, ticketOf(pair.client), ['pay'], []);
    pair.run(300);
    const [{ data }] = pair.client.sent;
    pair.client.close();
    pair.run(3_000);
    const accepted = pair.server.endpoint.counters.earlyDataAccepted;
    for (let i = 0; i < REPLAYS / 25; i++) {
      for (let k = 0; k < 25; k++) pair.client.inject(data);
      pair.run(20);
    }
    expect(pair.server.endpoint.counters.earlyDataAccepted).toBe(accepted);
    expect(pair.server.endpoint.counters.ticketsRefused).toBeGreaterThan(300);
    expect(arrivedAt(pair.server)).toEqual(['pay']);
  });

  test.each([
    ['the server that was started anew with its keys', SHARED],
    ['the server that was started anew and has others', null],
    ['another server that shares its keys', SHARED],
  ])('has nothing handled a second time by %s, however often it comes [HS-53] [HS-54]', (who, keys) => {
    const pair = resumed({ seed: 5 }, { keys: SHARED });
    comeBack(pair, ticketOf(pair.client), ['pay'], []);
    pair.run(300);
    expect(arrivedAt(pair.server)).toEqual(['pay']);
    const [{ data }] = pair.client.sent;
    // It is at the same place, knows the client, and its clock goes on; another one may be ahead.
    const other = pairOf(
      { keys, epochMs: TICKETS.epochMs + Math.floor(pair.now / MILLISECOND) },
      { seed: who.length },
    ).connected();
    for (let i = 0; i < REPLAYS / 100; i++) {
      for (let k = 0; k < 100; k++) other.client.inject(data);
      other.run(20);
    }
    const { counters } = other.server.endpoint;
    expect(counters.ticketsAccepted + counters.ticketsRefused).toBeGreaterThan(0);
    expect([counters.earlyDataAccepted, counters.handshakesCompleted]).toEqual([0, 1]);
    expect(arrivedAt(other.server)).toEqual([]);
  });
});

describe('early data that was taken', () => {
  test('is not taken for refused when its server gave the handshake up meanwhile: the client hears of that, and nothing comes twice [HS-53]', () => {
    for (const mode of ['never', 'always'] as const) {
      const pair = resumed({
        client: { handshakeTimeoutMs: 60_000 },
        accept: { retry: { mode, epochMs: 0 } },
      });
      const mute = pair.now + 12_000 * MILLISECOND; // the server gives up after 10 s
      let sent = 0;
      pair.server.filter = (data) => (pair.now < mute && (mode === 'never' || sent++ > 0) ? [] : [{ data }]);
      comeBack(pair, ticketOf(pair.client), ['pay'], []);
      pair.run(40_000);
      expect(pair.client.events.at(-1)).toMatchObject({ type: 'closed', reason: { by: 'peer' } });
      expect(arrivedAt(pair.server)).toEqual(['pay']);
      expect(pair.server.endpoint.counters).toMatchObject({ earlyDataAccepted: 1, connectionsOpen: 0 });
    }
  });
});

describe('a ticket', () => {
  test('that is lost on the way is said again, until the client has it [HS-55]', () => {
    let dropped = 0;
    const pair = pairOf();
    pair.server.filter = (data, index) => {
      const hasTicket = pair.server.sent[index].packets.some(({ frames }) =>
        frames.some(({ type }) => type === FrameType.TICKET),
      );
      if (!hasTicket || dropped === 3) return [{ data }];
      dropped++;
      return [];
    };
    pair.connected();
    pair.until(() => pair.client.events.some(({ type }) => type === 'ticket'), 10_000, 'the ticket');
    expect(dropped).toBe(3);
    pair.run(5_000);
    expect(pair.server.frames(FrameType.TICKET)).toHaveLength(4);
  });

  test('with a binder that somebody else made closes the handshake [HS-33]', () => {
    const pair = resumed();
    const ticket = { ...ticketOf(pair.client), key: new Uint8Array(32) };
    comeBack(pair, ticket);
    pair.run(300);
    expect(pair.client.events.at(-1)).toMatchObject({ type: 'closed', reason: { code: 0x0b } });
    expect(arrivedAt(pair.server)).toEqual([]);
  });
});
