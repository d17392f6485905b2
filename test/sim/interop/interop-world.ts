/**
 * The world that a scenario is played in: clients and servers on a simulated network, each an endpoint of ours, with applications that send
 * each other messages and check what comes. A scenario adds what is particular about it: what the network does, what somebody else sends,
 * which endpoint is gone for a while.
 *
 * Whatever the scenario, these hold, or its run fails: a transfer's messages come once, whole, unchanged and in order; no server sends an
 * address that is not validated more than three times what came from there; no exception comes out of our own code; at the end both sides
 * know that, and why, it is over, and nothing is kept of it.
 */
import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import { type ConnectionConfig, checkedConnectionConfig } from '../../../src/protocol/connection/config.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { CloseReason } from '../../../src/protocol/connection/lifecycle.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import type { EcnCodepoint } from '../../../src/protocol/datagram/index.ts';
import {
  type ConnectTarget,
  Endpoint,
  type EndpointEvent,
  type ServerConfig,
} from '../../../src/protocol/endpoint/index.ts';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import type { LabDatagram, LabPort } from '../../../src/testing/network.ts';
import { World, type WorldNode } from '../../../src/testing/world.ts';
import type { LinkOptions } from '../../../src/udp/link.ts';
import { configOf } from '../crypto.ts';
import { Violation } from '../invariants.ts';
import { Totals } from '../totals.ts';
import { AmplificationWatch } from './amplification-watch.ts';
import { type FlowEnd, TRANSFER_SETTINGS, Transfer, type TransferPlan } from './transfer.ts';

export interface InteropWorldOptions {
  /** `cheap`: a checksum in the place of the AEAD, and a KEM that keeps no secret. Default: real in one world of eight. */
  readonly crypto?: 'real' | 'cheap';
}

export interface HostOptions {
  readonly config?: Partial<ConnectionConfig>;
  /** Its place on the network, by default `client` and `server`. */
  readonly host?: string;
  readonly port?: number;
}

export interface ServerOptions extends HostOptions {
  readonly accept?: Partial<ServerConfig>;
}

export class InteropWorld {
  readonly seed: number;
  readonly world: World;
  /** What the run met: evidence that the scenario did what it is for. */
  readonly totals = new Totals();
  /** For the scenario's own choices. */
  readonly random: Prng;
  readonly watch = new AmplificationWatch();
  private readonly isReal: boolean;
  private readonly hosts: InteropHost[] = [];
  /** What streams of transfers are for those that open them, and that take them. */
  private readonly flows = new Map<ConnectionStream, FlowEnd>();
  /** The flows of streams that have not come yet, by label. */
  private readonly expected = new Map<string, FlowEnd>();
  private transfers = 0;

  constructor(seed: number, { crypto }: InteropWorldOptions = {}) {
    this.seed = seed;
    // The budget of turns tells a run without an end from a long one.
    this.world = new World({ seed, turnsMax: TURNS_MAX });
    this.random = new Prng(seed + CHOICES_SEED);
    this.isReal = crypto === undefined ? seed % 8 === 0 : crypto === 'real';
    this.totals.add(`worlds, ${this.isReal ? 'real' : 'cheap'} crypto`, 1);
  }

  get now(): Micros {
    return this.world.now;
  }

  server({ accept, ...options }: ServerOptions = {}): InteropHost {
    return this.add('server', { host: 'server', ...options }, { ...ACCEPTS, ...accept });
  }

  client(options: HostOptions = {}): InteropHost {
    return this.add('client', { host: 'client', ...options }, null);
  }

  /** What datagrams meet between two hosts, in both directions or differently in each. */
  link(a: string, b: string, there: LinkOptions, back: LinkOptions = there): void {
    this.world.network.connect(a, b, there, back);
  }

  /** Somebody who is no endpoint of ours: sends what it likes, from where it is, and sees what comes. */
  stranger(host: string, port = 0, receive: (datagram: LabDatagram) => void = () => {}): LabPort {
    return this.world.network.open(host, port, receive);
  }

  /** Lets a connection's both applications send each other messages, on streams that its own side opens. */
  transfer(connection: Connection, plan: TransferPlan): Transfer {
    const transfer = new Transfer(this.transfers++, plan);
    for (const flow of transfer.flows) {
      this.expected.set(flow.label, flow.other);
      const stream = connection.streams.open({
        ...TRANSFER_SETTINGS,
        label: flow.label,
        earlyData: plan.isEarly,
      });
      this.flows.set(stream, flow.opener);
      flow.opener.send(stream);
    }
    for (const { node } of this.hosts) node.wake();
    return transfer;
  }

  /** Runs until `predicate` holds, and fails when it does not within `ms`. */
  until(predicate: () => boolean, ms: number, what: string): void {
    const end = this.world.run({ until: predicate, forMs: ms });
    if (end !== 'until') this.fail(`${what} did not come within ${ms} ms (${end}); ${this.state}`);
  }

  run(ms: number): void {
    this.world.run({ forMs: ms });
  }

  /** Does something at a time from now, after which the hosts look whether there is something to send. */
  after(ms: number, action: () => void): void {
    this.world.clock.schedule(this.now + Math.round(ms * MILLISECOND), () => {
      action();
      for (const { node } of this.hosts) node.wake();
    });
  }

  /** Closes what the clients still have, waits until nothing is left, and takes stock. */
  end(): Totals {
    const open = this.hosts.flatMap((host) => host.connections);
    for (const connection of open) {
      if (connection.role !== 'client') continue;
      connection.lifecycle.finish(CODE, 'done', this.now + 60_000_000, 60_000_000, this.now);
    }
    for (const { node } of this.hosts) node.wake();
    if (this.world.run({ forMs: 900_000 }) !== 'quiet') this.fail(`it does not come to rest; ${this.state}`);
    for (const host of this.hosts) this.checkEnd(host);
    this.totals.add('virtual seconds', this.now / 1_000_000);
    return this.totals;
  }

  /** Why a run failed, with its seed. */
  fail(problem: string): never {
    throw new Violation(`seed ${this.seed}, at ${this.now} us: ${problem}`);
  }

  /** A stream came. For {@link InteropHost}. */
  take(stream: ConnectionStream): void {
    const flow = this.expected.get(stream.label);
    if (flow === undefined)
      this.fail(`stream "${stream.label}" came, but none was opened, or it has come before`);
    this.expected.delete(stream.label);
    this.flows.set(stream, flow);
    flow.send(stream);
  }

  /** What is to be done on a stream. For {@link InteropHost}. */
  flowOf(stream: ConnectionStream): FlowEnd {
    const flow = this.flows.get(stream);
    if (flow === undefined) this.fail(`stream "${stream.label}" is nobody's`);
    return flow;
  }

  private add(role: 'client' | 'server', options: HostOptions, server: ServerConfig | null): InteropHost {
    const config = checkedConnectionConfig({
      ...configOf(this.isReal ? 'real' : 'null'),
      ...options.config,
    });
    const random = this.world.random.fork();
    const endpoint = new Endpoint({ connection: config, random, server });
    const host = new InteropHost(this, role, endpoint, options.host ?? role, options.port ?? PORT);
    this.hosts.push(host);
    return host;
  }

  private checkEnd({ endpoint, connections, node, name, expects }: InteropHost): void {
    const { connectionsOpen, internalErrors } = endpoint.counters;
    if (internalErrors > 0) this.fail(`${internalErrors} exceptions came out of the ${name}'s own code`);
    if (connectionsOpen > 0) this.fail(`the ${name} still has ${connectionsOpen} connections`);
    for (const { lifecycle } of connections) {
      const { reason } = lifecycle;
      if (reason === null) this.fail(`the ${name} does not know that a connection is over`);
      else if (!expects(reason)) this.fail(`the ${name}'s connection was closed: ${JSON.stringify(reason)}`);
    }
    this.totals.addAll(`${node.host} `, { ...endpoint.counters });
    for (const { counters } of connections) this.totals.addAll('', { ...counters });
  }

  private get state(): string {
    return this.hosts
      .map(({ name, connections }) => {
        const states = connections.map(({ lifecycle }) => JSON.stringify(lifecycle.reason ?? 'open'));
        return `${name}: ${states.join(', ')}`;
      })
      .join('; ');
  }
}

/** An endpoint with its place on the network and its application. */
export class InteropHost {
  readonly name: string;
  readonly endpoint: Endpoint;
  readonly node: WorldNode;
  /** Those that were told to be complete, and those that it began itself. */
  readonly connections: Connection[] = [];
  /** Whether a connection may end like that. By default as a world ends that goes well. */
  expects: (reason: CloseReason) => boolean = isAsPlanned;
  /** Sees each event before the application acts on it. */
  onEvent: (event: EndpointEvent) => void = () => {};
  /** An application in the place of the one that does transfers. */
  application: ((event: EndpointEvent, now: Micros) => void) | null = null;
  /** What it sends instead of a datagram; an empty list drops it. */
  filter: ((data: Uint8Array) => readonly Uint8Array[]) | null = null;
  /** Datagrams that it sent, before any filter. */
  datagramsSent = 0;
  private readonly interop: InteropWorld;
  private lastArrivals: readonly LabDatagram[] = [];

  constructor(
    interop: InteropWorld,
    name: 'client' | 'server',
    endpoint: Endpoint,
    host: string,
    port: number,
  ) {
    this.interop = interop;
    this.name = name;
    this.endpoint = endpoint;
    this.node = interop.world.add(endpoint, { host, port, pump: (now) => this.pump(now) });
    const { node } = this;
    const send = node.port.send.bind(node.port);
    node.port.send = (data: Uint8Array, to: string, toPort: number, ecn?: EcnCodepoint) => {
      this.datagramsSent++;
      if (name === 'server') interop.watch.sent(to, toPort, data, (problem) => interop.fail(problem));
      const datagrams = this.filter === null ? [data] : this.filter(data);
      for (const datagram of datagrams) send(datagram, to, toPort, ecn);
    };
  }

  /** Begins a connection to a server, which pins its identity and has met nobody before, unless told otherwise. */
  connect(
    server: InteropHost,
    { pin = INTEROP_IDENTITY.fingerprint, ...met }: Partial<ConnectTarget> = {},
  ): Connection {
    const { host, port } = server.node.port;
    const target = { host, port, pin, isLoopback: false, ...met };
    const connection = this.endpoint.connect(target, this.interop.now);
    this.connections.push(connection);
    this.node.wake();
    return connection;
  }

  private pump(now: Micros): void {
    this.noteArrivals();
    const { endpoint, interop } = this;
    for (let event = endpoint.pollEvent(); event !== null; event = endpoint.pollEvent()) {
      this.onEvent(event);
      if (event.type === 'connected' && !this.connections.includes(event.connection))
        this.connections.push(event.connection);
      else if (this.application !== null) this.application(event, now);
      else if (event.type === 'stream') interop.take(event.stream);
      else if (event.type === 'readable') interop.flowOf(event.stream).read(event.stream, now);
      else if (event.type === 'writable') interop.flowOf(event.stream).send(event.stream);
    }
  }

  private noteArrivals(): void {
    const { arrivals } = this.node;
    if (arrivals === this.lastArrivals) return;
    this.lastArrivals = arrivals;
    if (this.name === 'server') this.interop.watch.received(arrivals);
  }
}

/** The handshake of a connection is complete on its own side. */
export function isComplete({ lifecycle }: Connection): boolean {
  return lifecycle.isEstablished && lifecycle.isOpen;
}

function isAsPlanned({ by, scope, code }: CloseReason): boolean {
  // The last word may be lost every time: then it looks like silence, or like a peer that knows of nothing.
  if (by === 'timeout' || by === 'reset') return true;
  return scope === 'application' && code === CODE;
}

/** Of every server of these worlds, unless a scenario has another. */
export const INTEROP_IDENTITY: Identity = Identity.generate(new Prng(12));
const ACCEPTS: ServerConfig = {
  identity: INTEROP_IDENTITY,
  acceptUnpinned: false,
  halfOpenMax: 16,
  connectionsMax: 64,
  isLoopback: () => false,
};
const PORT = 4577;
const CODE = 12;
const TURNS_MAX = 1_000_000;
const CHOICES_SEED = 0x1207_0000;
