import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import type { Connection } from '../../src/protocol/connection/connection.ts';
import { KeyState, NEXT_KEY_STATES } from '../../src/protocol/connection/key-updates.ts';
import { ConnectionState, NEXT_CONNECTION_STATES } from '../../src/protocol/connection/lifecycle.ts';
import { KeyGenerations } from '../../src/protocol/crypto/key-generations.ts';
import { packetKeys } from '../../src/protocol/crypto/key-schedule.ts';
import type { PacketKeys } from '../../src/protocol/crypto/packet-keys.ts';
import type { ClientTicket, TicketConfig } from '../../src/protocol/endpoint/index.ts';
import type { ClientHandshake } from '../../src/protocol/handshake/client.ts';
import { EarlyData, HandshakeState } from '../../src/protocol/handshake/handshake.ts';
import type { ServerHandshake } from '../../src/protocol/handshake/server.ts';
import { EcnState, PathEcn } from '../../src/protocol/path/ecn.ts';
import { AddressState } from '../../src/protocol/path/path.ts';
import { CandidateState, NEXT_CANDIDATE_STATES } from '../../src/protocol/path/path-candidate.ts';
import { NEXT_RECEIVE_STATES, ReceiveState } from '../../src/protocol/stream/receive/receive-stream.ts';
import { NEXT_SEND_STATES, SendState } from '../../src/protocol/stream/send/send-stream.ts';
import { PacketSpace, PacketType } from '../../src/protocol/wire/packet-header.ts';
import { InteropWorld, isComplete } from '../sim/interop/interop-world.ts';
import { nullAead } from '../sim/null-aead.ts';
import { internalsOf } from './connection/internals.ts';
import { connectionsOf } from './connection/packet-log.ts';
import { newClient, newServer } from './handshake/exchange.ts';

const { INITIAL, HANDSHAKE } = PacketSpace;

/** What the page says of one machine. */
interface Machine {
  readonly states: readonly string[];
  /** As `from -> to`, with `role: ` before it where there are roles. */
  readonly ways: readonly string[];
}

describe('spec/state-machines.md', () => {
  const text = readFileSync(new URL('../../spec/state-machines.md', import.meta.url), 'utf8');
  const page = machinesOf(text);

  test.each([
    ['Connection', ConnectionState],
    ['Handshake', HandshakeState],
    ['Key updates', KeyState],
    ['Sending half of a stream', SendState],
    ['Receiving half of a stream', ReceiveState],
    ['Address of a client, to its server', AddressState],
    ['Path that is tried', CandidateState],
    ['ECN on a path', EcnState],
  ])('has the states that the code has: %s', (name, states) => {
    expect(page.get(name)?.states.toSorted()).toEqual(Object.keys(states).toSorted());
  });

  test('knows of no machine that is not held against the code', () => {
    expect([...page.keys()]).toEqual([
      'Connection',
      'Handshake',
      'Generation of 1-RTT keys, to open',
      'Key updates',
      'Sending half of a stream',
      'Receiving half of a stream',
      'Address of a client, to its server',
      'Path that is tried',
      'ECN on a path',
    ]);
  });

  test.each([
    ['Connection', ConnectionState, NEXT_CONNECTION_STATES],
    ['Key updates', KeyState, NEXT_KEY_STATES],
    ['Sending half of a stream', SendState, NEXT_SEND_STATES],
    ['Receiving half of a stream', ReceiveState, NEXT_RECEIVE_STATES],
    ['Path that is tried', CandidateState, NEXT_CANDIDATE_STATES],
  ])('has the ways that the code allows, once each: %s', (name, states, next) => {
    const allowed = next.flatMap((targets, from) =>
      targets.map((to) => `${nameOf(states, from)} -> ${nameOf(states, to)}`),
    );
    expect(page.get(name)?.ways.toSorted()).toEqual(allowed.toSorted());
  });

  test('has the ways that handshakes go, whatever comes', () => {
    const seen = new Set<string>();
    const watch = (role: string, side: ClientHandshake | ServerHandshake, act: () => void): void => {
      const before = nameOf(HandshakeState, side.state);
      act();
      const after = nameOf(HandshakeState, side.state);
      if (after !== before) seen.add(`${role}: ${before} -> ${after}`);
    };
    // What is done wrong, at which step; the last one is a handshake that goes well.
    for (const fault of [
      'client hello',
      'server hello',
      'server flight',
      'client flight',
      'refusal',
      '',
      'nobody decides',
    ]) {
      const access = { asksForIdentity: false, isDecided: fault !== 'nobody decides' };
      const [client, server] = [newClient(), newServer({ access })];
      const bytes = (name: string, right: Uint8Array | null): Uint8Array =>
        name === fault || right === null ? Uint8Array.of(9, 9) : right;
      watch('server', server, () => server.receive(INITIAL, bytes('client hello', client.hello)));
      watch('client', client, () => client.receive(INITIAL, bytes('server hello', server.hello)));
      watch('client', client, () => client.receive(HANDSHAKE, bytes('server flight', server.flight)));
      watch('server', server, () => server.receive(HANDSHAKE, bytes('client flight', client.flight)));
      watch('server', server, () => (fault === 'refusal' ? server.forget() : server.admit()));
    }
    const [client, server] = [newClient(), newServer()];
    server.receive(INITIAL, client.hello);
    watch('client', client, () => client.forget());
    watch('server', server, () => server.forget());
    watch('server', server, () => server.receive(HANDSHAKE, Uint8Array.of(1)));
    expect([...seen].toSorted()).toEqual(page.get('Handshake')?.ways.toSorted());
  });

  test('has the order in which keys come and go, of a client that is back with a ticket and of its server', () => {
    const world = new InteropWorld(1, { crypto: 'cheap' });
    const server = world.server({ accept: { tickets: TICKETS } });
    const client = world.client();
    let ticket: ClientTicket | null = null;
    client.onEvent = (event) => {
      if (event.type === 'ticket') ticket = event.ticket;
    };
    client.connect(server);
    world.until(() => ticket !== null, 10_000, 'the ticket');
    if (ticket === null) throw new Error('there is no ticket');
    const before = new Set(connectionsOf(server.endpoint));
    const connection = client.connect(server, { resumption: { ticket, ageMs: 0, hasEarlyData: true } });
    world.transfer(connection, { streams: 1, messages: 1, bytes: 100, way: 'both', isEarly: true });
    const sides = new Map<'client' | 'server', Connection>([['client', connection]]);
    const seen = { client: [keysOf(connection)], server: [''] };
    const look = (): void => {
      const found = connectionsOf(server.endpoint).find((other) => !before.has(other));
      if (found !== undefined) sides.set('server', found);
      for (const [role, side] of sides) {
        const keys = keysOf(side);
        if (keys !== seen[role].at(-1)) seen[role].push(keys);
      }
    };
    const isConfirmedAll = (): boolean => {
      look();
      return [...sides.values()].every(({ lifecycle }) => lifecycle.state === ConnectionState.CONFIRMED);
    };
    world.until(() => isConfirmedAll() && sides.size === 2, 10_000, 'the confirmation');
    expect(connection.handshake.earlyData).toBe(EarlyData.ACCEPTED);
    world.end();
    look();
    for (const role of ['client', 'server'] as const) {
      const steps = keyStepsOf(text, role);
      let at = 0;
      for (const keys of seen[role]) {
        while (at < steps.length && steps[at] !== keys) at++;
        expect(steps[at], `${role}: ${seen[role].join(' -> ')}`).toBe(keys);
      }
      expect(at).toBe(steps.length - 1);
      expect(seen[role].length).toBeGreaterThanOrEqual(4);
    }
  });

  test('has the states and ways of generations of keys, whatever packets ask for', () => {
    const machine = page.get('Generation of 1-RTT keys, to open');
    const seen = new Set<string>();
    const states = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const random = new Prng(seed);
      const generations = new Generations();
      for (let step = 0; step < 20; step++) {
        const before = generations.states();
        const kind = random.below(3);
        if (kind === 0) generations.ask();
        else if (kind === 1) generations.open();
        else generations.retire();
        generations.states().forEach((state, i) => {
          states.add(state);
          if (state !== before[i]) seen.add(`${before[i]} -> ${state}`);
        });
      }
    }
    expect([...states].toSorted()).toEqual(machine?.states.toSorted());
    expect([...seen].toSorted()).toEqual(machine?.ways.toSorted());
  });

  test("has the ways that the address of a server's client goes, with a token and without", () => {
    const seen = new Set<string>();
    for (const mode of ['never', 'always'] as const) {
      const world = new InteropWorld(1, { crypto: 'cheap' });
      const server = world.server({ accept: { retry: { mode, epochMs: 0 } } });
      const connection = world.client().connect(server);
      let before = '';
      world.until(
        () => {
          const [halfOpen] = connectionsOf(server.endpoint);
          if (halfOpen === undefined) return false;
          const after = nameOf(AddressState, halfOpen.path.validation.state);
          if (after !== before && before !== '') seen.add(`${before} -> ${after}`);
          before = after;
          return isComplete(connection) && halfOpen.lifecycle.isEstablished;
        },
        10_000,
        'the handshake',
      );
    }
    expect([...seen].toSorted()).toEqual(page.get('Address of a client, to its server')?.ways.toSorted());
  });

  test('has the ways that ECN goes, whatever is acknowledged, lost or silent', () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 300; seed++) {
      const random = new Prng(seed);
      const ecn = new PathEcn();
      let sent = 0;
      let marked = 0;
      for (let step = 0; step < 30; step++) {
        const before = nameOf(EcnState, ecn.state);
        const kind = random.below(12);
        const newest = { count: 1, numbers: [sent - 1] };
        if (kind < 8) {
          if (ecn.state === EcnState.TESTING || ecn.state === EcnState.CAPABLE) marked++;
          ecn.onPacketSent(INITIAL, sent++);
          ecn.onDatagramSent();
        } else if (kind === 8 && sent > 0) ecn.onAck(INITIAL, newest, { ect0: marked, ect1: 0, ce: 0 });
        else if (kind === 9 && random.chance(0.3)) ecn.onAck(INITIAL, newest, { ect0: 0, ect1: 1, ce: 0 });
        else if (kind === 10)
          ecn.onLost(INITIAL, { count: sent, numbers: Array.from({ length: sent }, (_, i) => i) });
        else if (kind === 11) ecn.onProbeTimeout(random.between(1, 4));
        const after = nameOf(EcnState, ecn.state);
        if (after !== before) seen.add(`${before} -> ${after}`);
      }
    }
    expect([...seen].toSorted()).toEqual(page.get('ECN on a path')?.ways.toSorted());
  });
});

/** The keys that a connection has, as the page calls them. */
function keysOf(connection: Connection): string {
  const { keys } = internalsOf(connection);
  const sealing = keys.toSeal(PacketSpace.APPLICATION)?.epoch;
  const isEarly = sealing === PacketType.ZERO_RTT || keys.toOpen(PacketType.ZERO_RTT) !== null;
  const there: readonly [string, boolean][] = [
    ['Initial', keys.toSeal(INITIAL) !== null],
    ['0-RTT', isEarly],
    ['Handshake', keys.toSeal(HANDSHAKE) !== null],
    ['1-RTT, to seal', sealing === PacketType.ONE_RTT],
    ['1-RTT, to open', keys.toOpen(PacketType.ONE_RTT) !== null],
    ['exporter', keys.exported('a use', new Uint8Array(0), 32) !== null],
  ];
  return namesOf(new Set(there.filter(([, is]) => is).map(([name]) => name)));
}

/** What the page says that a side has behind each step: none before the first. */
function keyStepsOf(text: string, role: string): string[] {
  const section = text.split(/^## /m).find((each) => each.startsWith('Packet keys\n')) ?? '';
  const rows = tablesOf(section).find(([head]) => head[1] === 'step') ?? [];
  const there = new Set<string>();
  const steps = [''];
  for (const [, , come, go] of rows.filter((row) => row[0] === role)) {
    for (const name of come.split(';')) there.add(name.trim());
    for (const name of go.split(';')) there.delete(name.trim());
    steps.push(namesOf(there));
  }
  return steps;
}

function namesOf(names: ReadonlySet<string>): string {
  return [...names].filter(Boolean).toSorted().join(' + ');
}

const TICKETS: TicketConfig = {
  keys: null,
  lifetimeMs: 3_600_000,
  earlyDataBytesMax: 16_384,
  usedMax: 10,
  epochMs: 0,
};

/** All generations of one direction, the keys of each as long as somebody has them. */
class Generations {
  private readonly generations: KeyGenerations;
  /** By generation, those that were made. */
  private readonly keys: PacketKeys[];
  private current = 0;
  private openedFrom = 0;

  constructor() {
    const secrets = { client: new Uint8Array(32).fill(1), server: new Uint8Array(32).fill(2) };
    this.generations = new KeyGenerations(nullAead, true, secrets);
    this.keys = [packetKeys(nullAead, secrets.server, PacketType.ONE_RTT)];
  }

  /** A packet of the other phase comes, of the next generation as far as its number goes. */
  ask(): void {
    const keys = this.generations.other(this.keys[this.current], this.openedFrom + 1);
    if (keys !== null) this.keys[this.current + 1] = keys;
  }

  /** It opens, if it came. */
  open(): void {
    const next = this.keys[this.current + 1];
    if (next === undefined || !this.generations.isNext(next)) return;
    this.openedFrom += 10;
    this.generations.advanceOpening(this.keys[this.current], this.openedFrom, () => {});
    this.current++;
  }

  retire(): void {
    this.generations.retire(this.keys[this.current], null);
  }

  states(): string[] {
    const previous = this.generations.other(this.keys[this.current], this.openedFrom - 1);
    return Array.from({ length: GENERATIONS }, (_, i) => {
      const keys = this.keys[i];
      if (keys === undefined) return 'NOT_MADE';
      if (i === this.current) return 'CURRENT';
      if (this.generations.isNext(keys)) return 'NEXT';
      return keys === previous ? 'PREVIOUS' : 'FORGOTTEN';
    });
  }
}

function nameOf(states: Readonly<Record<string, number>>, state: number): string {
  return Object.keys(states).find((name) => states[name] === state) ?? `state ${state}`;
}

const GENERATIONS = 22;

/** The tables of each section: one whose first column is `state`, one with `from` and `to`. */
function machinesOf(text: string): Map<string, Machine> {
  const machines = new Map<string, Machine>();
  for (const section of text.split(/^## /m).slice(1)) {
    const states: string[] = [];
    const ways: string[] = [];
    for (const [head, , ...rows] of tablesOf(section)) {
      const [from, to] = [head.indexOf('from'), head.indexOf('to')];
      const isOfWays = from >= 0 && to >= 0;
      if (head[0] !== 'state' && !isOfWays) continue;
      if (head[0] === 'state') states.push(...rows.map((row) => row[0]));
      else if (head[0] === 'role') ways.push(...rows.map((row) => `${row[0]}: ${row[from]} -> ${row[to]}`));
      else ways.push(...rows.map((row) => `${row[from]} -> ${row[to]}`));
    }
    if (states.length > 0) machines.set(section.slice(0, section.indexOf('\n')), { states, ways });
  }
  return machines;
}

/** The cells of each table, its line of dashes included. */
function tablesOf(section: string): string[][][] {
  const blocks = section.split('\n\n').filter((block) => block.trimStart().startsWith('|'));
  return blocks.map((block) =>
    block
      .trim()
      .split('\n')
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      ),
  );
}
