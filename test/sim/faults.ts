/**
 * Worlds in which things are thrown: by listeners of the application, by sockets, and by one connection's own code, at places drawn by
 * the seed. Through the whole API, with several clients of one listener, in the lab. Whoever failed ends and is told so; everybody else is
 * promised what they always are: delivery, order, content, exactly once, and to be told of every end. [CON-30] [CON-33] [CON-34]
 */

import { Prng } from '../../src/base/random.ts';
import { MILLISECOND } from '../../src/base/time.ts';
import {
  type Connection,
  connect,
  type JspError,
  type Listener,
  listen,
  type Stream,
} from '../../src/index.ts';
import type { Connection as CoreConnection } from '../../src/protocol/connection/connection.ts';
import { nobleMlKem } from '../../src/protocol/crypto/hybrid-kem.ts';
import { Identity } from '../../src/protocol/crypto/identity.ts';
import { Lab, type LabSocket } from '../../src/testing/index.ts';
import { FAULT_KINDS, type FaultKind, layTrips } from '../protocol/connection/faults.ts';
import { cheapKem } from './cheap-kem.ts';
import { DelayLog, Flow, Violation } from './invariants.ts';
import { type FlowPlan, otherSide, SIDES, type Side, type StreamPlan, scenarioOf } from './scenario.ts';
import { Totals } from './totals.ts';

/** What a faulty world does, beside the network of the scenario with the same seed. */
export interface FaultPlan {
  readonly clients: readonly { readonly streams: readonly StreamPlan[] }[];
  /** How often a listener throws when it is called. */
  readonly listenerThrows: number;
  /** How often a socket throws when it is to send; whose. */
  readonly socketThrows: number;
  readonly socketOf: 'server' | 'client';
  /** Our own bug, in a connection of the first client. */
  readonly bug: {
    readonly side: Side;
    readonly kinds: readonly FaultKind[];
    /** How often one of these places throws when it is passed. */
    readonly chance: number;
    /** It goes on throwing after the first time, also while the connection closes. */
    readonly goesOn: boolean;
  } | null;
  /** So many answers to a client's hello fail before one succeeds. */
  readonly failingAnswers: number;
  readonly end: 'clients close' | 'listener closes' | 'clients destroy';
}

export function faultPlanOf(seed: number): FaultPlan {
  const random = new Prng(seed + 0x0fa1);
  const chance = (p: number): boolean => random.chance(p);
  let label = 0;
  const flow = (quiet: number): FlowPlan => ({
    messages: chance(quiet)
      ? []
      : Array.from({ length: random.between(1, 20) }, (_, i) => ({
          atMs: chance(0.5) ? 0 : i * 3,
          size: chance(0.1) ? random.between(1_500, 12_000) : random.between(1, 900),
          delivery: 'reliable' as const,
          lifetimeMs: Number.POSITIVE_INFINITY,
          protection: null,
          tracked: chance(0.2),
        })),
    reader: chance(0.7) ? { kind: 'eager' } : { kind: 'slow', everyMs: random.between(1, 20), count: 1 },
    end: 'finish',
  });
  const stream = (): StreamPlan => {
    const opener = chance(0.5) ? 'client' : 'server';
    return {
      opener,
      openAtMs: 0,
      ordered: chance(0.7),
      delivery: 'reliable',
      priority: random.below(4),
      protection: undefined,
      label: `${label++}`,
      reset: undefined,
      flows: { client: flow(opener === 'client' ? 0 : 0.5), server: flow(opener === 'server' ? 0 : 0.5) },
    };
  };
  return {
    clients: Array.from({ length: chance(0.1) ? 3 : 2 }, () => ({
      streams: Array.from({ length: random.between(1, 2) }, stream),
    })),
    listenerThrows: chance(0.7) ? 0.02 + random.float() * 0.4 : 0,
    socketThrows: chance(0.4) ? random.float() * 0.2 : 0,
    socketOf: chance(0.5) ? 'server' : 'client',
    bug: chance(0.85)
      ? {
          side: chance(0.6) ? 'server' : 'client',
          kinds: chance(0.3) ? FAULT_KINDS : [FAULT_KINDS[random.below(FAULT_KINDS.length)]],
          chance: 1 / (2 * 100 ** random.float()),
          goesOn: chance(0.3),
        }
      : null,
    failingAnswers: chance(0.15) ? random.between(1, 2) : 0,
    end: (['clients close', 'listener closes', 'clients destroy'] as const)[random.below(3)],
  };
}

/** Runs the faulty world of a seed to its end and answers what it met. Throws, naming the seed, when a promise is broken. */
export async function runFaultySeed(seed: number): Promise<Totals> {
  const uncaught: unknown[] = [];
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (error) => uncaught.push(error));
  // No option of the API takes a KEM, and a third of the time would be ML-KEM's.
  const mlKem = { ...nobleMlKem };
  Object.assign(nobleMlKem, cheapKem);
  try {
    const world = new FaultyWorld(seed, uncaught);
    await world.toItsEnd();
    return world.totals;
  } catch (error) {
    throw new Violation(`seed ${seed}: ${(error as Error).message}`, { cause: error });
  } finally {
    Object.assign(nobleMlKem, mlKem);
    process.removeAllListeners('uncaughtException');
    for (const other of others) process.on('uncaughtException', other);
  }
}

/** Somebody's mistake, put there by the world. */
class Thrown extends Error {}

class FaultyWorld {
  readonly totals = new Totals();
  /** What went wrong where nobody could be told. */
  readonly failures: Error[] = [];
  private readonly plan: FaultPlan;
  private readonly lab: Lab;
  private readonly random: Prng;
  private readonly uncaught: unknown[];
  /** What listeners threw, in order. */
  private readonly thrown: Thrown[] = [];
  private readonly parties: Party[] = [];
  private readonly options: object;
  private bugThrown: Thrown | null = null;
  /** It was thrown while the connection was open. */
  private isBugEarly = false;
  private listenerClosed = 0;

  constructor(seed: number, uncaught: unknown[]) {
    const { links } = scenarioOf(seed);
    this.plan = faultPlanOf(seed);
    this.uncaught = uncaught;
    this.random = new Prng(seed + 7);
    this.lab = new Lab({ seed });
    for (let i = 0; i < this.plan.clients.length; i++)
      this.lab.network.connect(`client${i}`, 'server', links.client, links.server);
    this.options = {
      clock: this.lab.clock,
      random: this.lab.random,
      handshakeTimeoutMs: PATIENCE_MS,
      idleTimeoutMs: PATIENCE_MS,
      heartbeatMisses: 100,
    };
  }

  async toItsEnd(): Promise<void> {
    const { lab, plan } = this;
    const socket = lab.socket({ host: 'server', port: 4_577 });
    const listener = await listen({ identity: this.identity(), socket, ...this.options });
    listener.on('connection', (accepted) => {
      const party = this.parties.find(({ port }) => port === accepted.remotePort);
      if (party === undefined) throw new Violation('a connection came of nobody');
      party.join('server', accepted);
      this.maybeThrow('connection');
    });
    listener.on('close', () => {
      this.listenerClosed++;
      this.maybeThrow('listener close');
    });
    for (const [i, { streams }] of plan.clients.entries()) await this.connect(listener, i, streams);
    if (plan.socketOf === 'server') this.breakSocket(socket);
    this.layBug();
    for (const party of this.parties) party.begin();
    await this.until('the traffic', 900, () => this.parties.every((party) => party.isSatisfied));
    for (const party of this.parties) party.isEnding = true;
    await this.end(listener);
    this.check();
    if (socket.counters.datagramsSent === 0) throw new Violation('nothing was sent');
  }

  /** A listener's last statement. */
  maybeThrow(what: string): void {
    if (!this.random.chance(this.plan.listenerThrows)) return;
    const error = new Thrown(what);
    this.thrown.push(error);
    this.totals.add(`thrown by a listener: ${what}`, 1);
    throw error;
  }

  get now(): number {
    return this.lab.now;
  }

  later(ms: number, action: () => void): void {
    this.lab.clock.setTimer(this.now + ms * MILLISECOND, action);
  }

  private async connect(listener: Listener, i: number, streams: readonly StreamPlan[]): Promise<void> {
    const { lab } = this;
    const party = new Party(this, 1_000 + i, streams);
    this.parties.push(party);
    const { username } = new URL(listener.url);
    const attempt = async (): Promise<LabSocket> => {
      const from = { host: `client${i}`, port: party.port };
      const socket = lab.socket({ ...from, connectTo: { host: 'server', port: 4_577 } });
      try {
        const url = `jsp://${username}@server:4577`;
        party.join('client', await lab.settle(connect(url, { socket, ...this.options }), 200_000));
        return socket;
      } catch (error) {
        // The client was told that the server failed.
        const isTold = (error as JspError).code === 'ERR_JSP_PROTOCOL' && this.plan.failingAnswers > 0;
        if (!isTold) throw error;
        this.totals.add('clients told that the server failed', 1);
        party.port += 100;
        return attempt();
      }
    };
    const socket = await attempt();
    await this.until('the acceptance', 200, () => party.connections.server !== undefined);
    if (i === 0 && this.plan.socketOf === 'client') this.breakSocket(socket);
  }

  /** An identity that fails at first, if the plan says so. */
  private identity(): Identity {
    let left = this.plan.failingAnswers;
    if (left === 0) return IDENTITY;
    const sign: Identity['sign'] = (...args) => {
      if (left-- <= 0) return IDENTITY.sign(...args);
      this.totals.add('thrown in our code: answering a hello', 1);
      throw new Thrown('no answer');
    };
    return Object.create(IDENTITY, { sign: { value: sign } });
  }

  private breakSocket(socket: LabSocket): void {
    const send = socket.send.bind(socket);
    const trip = (): void => {
      if (!this.random.chance(this.plan.socketThrows / 2)) return;
      this.totals.add('thrown by a socket', 1);
      throw new Thrown('socket');
    };
    socket.send = (batch) => {
      trip();
      const isFree = send(batch);
      trip();
      return isFree;
    };
  }

  private layBug(): void {
    const { bug } = this.plan;
    if (bug === null) return;
    const [victim] = this.parties;
    const { core } = victim.connections[bug.side] as unknown as { core: CoreConnection };
    layTrips(core, bug.kinds, (place, kind) => {
      if (this.bugThrown !== null && !bug.goesOn) return;
      if (!this.random.chance(bug.chance)) return;
      const error = new Thrown(place);
      this.totals.add(`thrown in our code: ${kind}`, 1);
      this.totals.add(`thrown at ${place}`, 1);
      if (this.bugThrown !== null) this.totals.add('thrown again while closing', 1);
      if (this.bugThrown === null) this.isBugEarly = !victim.isEnding;
      this.bugThrown ??= error;
      victim.break();
      throw error;
    });
  }

  private async end(listener: Listener): Promise<void> {
    const { lab } = this;
    const closed = this.parties.flatMap(({ connections }) =>
      SIDES.map((side) => (connections[side] as Connection).closed),
    );
    if (this.plan.end === 'clients close') {
      await lab.settle(Promise.all(this.parties.map((party) => party.close())), 600_000);
    } else if (this.plan.end === 'clients destroy') {
      for (const { connections } of this.parties) connections.client?.destroy(9);
    }
    if (this.plan.end !== 'listener closes') await lab.settle(Promise.all(closed), 600_000);
    await lab.settle(listener.close(), 600_000);
    await lab.settle(Promise.all(closed), 600_000);
    await lab.run(1_000);
  }

  private check(): void {
    const { bug } = this.plan;
    if (this.failures.length > 0) throw this.failures[0];
    for (const party of this.parties) party.check();
    if (this.listenerClosed !== 1) throw new Violation(`the listener closed ${this.listenerClosed} times`);
    const messages = (list: readonly unknown[]): string =>
      list.map((error) => (error as Error).message).join(', ');
    if (
      this.uncaught.length !== this.thrown.length ||
      this.uncaught.some((error, i) => error !== this.thrown[i])
    )
      throw new Violation(
        `listeners threw ${messages(this.thrown)}; uncaught were ${messages(this.uncaught)}`,
      );
    this.totals.add('runs', 1);
    if (this.bugThrown === null || bug === null) return;
    const error = this.parties[0].errors[bug.side];
    if (error?.code === 'ERR_JSP_INTERNAL' || this.isBugEarly) {
      if (error?.cause !== this.bugThrown)
        throw new Violation(`the bug ended in ${error?.code}: ${error?.message}`);
      this.totals.add('connections ended by our bug', 1);
    }
  }

  private async until(what: string, seconds: number, predicate: () => boolean): Promise<void> {
    const end = this.now + seconds * 1_000 * MILLISECOND;
    while (!predicate()) {
      if (this.failures.length > 0) throw this.failures[0];
      if (this.now > end) {
        const missing = this.parties.flatMap(({ flows }) => flows.map((flow) => flow.missing));
        throw new Violation(`${what} does not end; ${missing.filter(Boolean).slice(0, 4).join('; ')}`);
      }
      await this.lab.run(20);
    }
  }
}

/** One client with its connection, as both applications see it. */
class Party {
  port: number;
  readonly flows: readonly Flow[];
  readonly connections: Partial<Record<Side, Connection>> = {};
  readonly errors: Partial<Record<Side, JspError | null>> = {};
  /** From now on ends are expected. */
  isEnding = false;
  private readonly world: FaultyWorld;
  private readonly streams: readonly StreamPlan[];
  private readonly byLabel = new Map<string, Record<Side, Flow>>();
  private readonly ends = new Map<string, number>();
  private isBroken = false;

  constructor(world: FaultyWorld, port: number, streams: readonly StreamPlan[]) {
    this.world = world;
    this.port = port;
    this.streams = streams;
    const delays = new DelayLog();
    for (const plan of streams) {
      const number = 2 * Number(plan.label);
      this.byLabel.set(plan.label, {
        client: new Flow(number, plan, 'client', delays),
        server: new Flow(number + 1, plan, 'server', delays),
      });
    }
    this.flows = [...this.byLabel.values()].flatMap((flows) => SIDES.map((side) => flows[side]));
  }

  join(side: Side, connection: Connection): void {
    this.connections[side] = connection;
    connection.on('stream', (stream) => {
      this.use(side, stream);
      this.world.maybeThrow('stream');
    });
    this.expectEnd(`connection of the ${side}`);
    connection.on('close', (error) => {
      this.errors[side] = error;
      this.told(`connection of the ${side}`);
      if (!this.isEnding && !this.isBroken)
        this.world.failures.push(new Violation(`a connection ended: ${error?.message}`));
      this.world.maybeThrow('close');
    });
  }

  begin(): void {
    for (const plan of this.streams) {
      const connection = this.connections[plan.opener] as Connection;
      const { label, ordered } = plan;
      const priority = (['system', 'media', 'chat', 'bulk'] as const)[plan.priority];
      this.try(() => this.use(plan.opener, connection.openStream({ label, ordered, priority })));
    }
  }

  /** Closes gracefully, which is an error when the connection fails before that is done. */
  async close(): Promise<void> {
    try {
      await this.connections.client?.close({ stallMs: PATIENCE_MS });
    } catch (error) {
      if (!this.isBroken) throw error;
    }
  }

  /** The connection is the one that fails: nothing is promised but safety, and to be told of its end. */
  break(): void {
    this.isBroken = true;
    for (const flow of this.flows) flow.broken = true;
  }

  get isSatisfied(): boolean {
    return this.flows.every(({ missing }) => missing === undefined);
  }

  check(): void {
    for (const [what, count] of this.ends)
      if (count !== 1) throw new Violation(`client ${this.port}: ${what} was told of its end ${count} times`);
  }

  private use(side: Side, stream: Stream): void {
    const flows = this.byLabel.get(stream.label) as Record<Side, Flow>;
    const incoming = flows[otherSide(side)];
    const what = `stream ${stream.label} of the ${side}`;
    this.expectEnd(what);
    stream.on('close', () => {
      this.told(what);
      this.world.maybeThrow('stream close');
    });
    stream.on('error', () => this.world.maybeThrow('error'));
    const send = (): void => this.try(() => this.send(stream, flows[side], incoming, send));
    stream.on('drain', () => {
      send();
      this.world.maybeThrow('drain');
    });
    if (incoming.plan.reader.kind === 'eager') {
      stream.on('message', (data) => {
        incoming.receive(data, this.world.now, []);
        send();
        this.world.maybeThrow('message');
      });
      stream.on('end', () => {
        this.onEnd(flows, side);
        this.world.maybeThrow('end');
      });
    } else this.iterate(stream, flows, side, send).catch((error) => this.world.failures.push(error));
    send();
  }

  /** Everything was read, and with that our direction has ended, too. */
  private onEnd(flows: Record<Side, Flow>, side: Side): void {
    const incoming = flows[otherSide(side)];
    if (incoming.broken) return;
    flows[side].finished = true;
    incoming.end();
  }

  private async iterate(
    stream: Stream,
    flows: Record<Side, Flow>,
    side: Side,
    send: () => void,
  ): Promise<void> {
    const incoming = flows[otherSide(side)];
    this.expectEnd(`iteration of flow ${incoming.number}`);
    try {
      for await (const data of stream) {
        incoming.receive(data, this.world.now, []);
        send();
        await new Promise<void>((resolve) => this.world.later(2, resolve));
      }
      this.onEnd(flows, side);
    } catch (error) {
      if (!this.isBroken && !this.isEnding) throw error;
    }
    this.told(`iteration of flow ${incoming.number}`);
  }

  private send(stream: Stream, flow: Flow, incoming: Flow, again: () => void): void {
    const { messages } = flow.plan;
    while (!flow.finished && !flow.broken) {
      const next = messages[flow.sent.length];
      if (next === undefined) {
        // The opener ends the stream when it has got everything, and the other side follows.
        if (flow.sender !== flow.stream.opener) return;
        if (incoming.delivered < incoming.plan.messages.length) return;
        flow.finished = true;
        stream.end();
        return;
      }
      if (next.atMs > 0 && flow.sent.length % 4 === 3 && stream.queuedBytes > 0) {
        this.world.later(next.atMs, again);
        return;
      }
      const { message, data } = flow.send(this.world.now);
      if (message.tracked) {
        const { index } = message;
        stream
          .sendTracked(data)
          .then(
            (outcome) => flow.settle(index, outcome, this.world.now, 0),
            (error) =>
              this.try(() => {
                throw error;
              }),
          )
          .catch((error) => this.world.failures.push(error));
      } else if (!stream.send(data)) return;
    }
  }

  /** Calls on a connection that fails throw, too. */
  private try(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!this.isBroken) throw error;
    }
  }

  private expectEnd(what: string): void {
    if (!this.ends.has(what)) this.ends.set(what, 0);
  }

  private told(what: string): void {
    this.ends.set(what, (this.ends.get(what) ?? 0) + 1);
  }
}

/** A path that loses nearly a third needs it. */
const PATIENCE_MS = 180_000;
const IDENTITY = Identity.generate(new Prng(1));
