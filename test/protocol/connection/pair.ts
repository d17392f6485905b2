import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, type Micros, SECOND } from '../../../src/base/time.ts';
import {
  type ConnectionConfig,
  checkedConnectionConfig,
  defaultConnectionConfig,
} from '../../../src/protocol/connection/config.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { CloseReason } from '../../../src/protocol/connection/lifecycle.ts';
import { chooseAead } from '../../../src/protocol/crypto/aead.ts';
import { Identity } from '../../../src/protocol/crypto/identity.ts';
import { EcnCodepoint } from '../../../src/protocol/datagram/index.ts';
import { Endpoint, type EndpointEvent, type ServerConfig } from '../../../src/protocol/endpoint/index.ts';
import type { ClientCredentials } from '../../../src/protocol/handshake/client.ts';
import type { Resumption } from '../../../src/protocol/handshake/ticket-offer.ts';
import type { ConnectionStream, StreamSettings } from '../../../src/protocol/stream/connection-stream.ts';
import { Delivery, Priority } from '../../../src/protocol/wire/frame-type.ts';
import type { LabDatagram } from '../../../src/testing/network.ts';
import { World, type WorldNode } from '../../../src/testing/world.ts';
import type { LinkOptions } from '../../../src/udp/link.ts';
import { cheapKem } from '../../sim/cheap-kem.ts';
import { internalsOf } from './internals.ts';
import {
  connectionsOf,
  type LoggedDatagram,
  type LoggedFrame,
  type LoggedPacket,
  readDatagram,
} from './packet-log.ts';

export interface PairOptions {
  seed?: number;
  /** Of both directions. Default: perfect, 5 ms. */
  link?: LinkOptions;
  client?: Partial<ConnectionConfig>;
  server?: Partial<ConnectionConfig>;
  accept?: Partial<ServerConfig>;
  /** What the client says of itself. Default: nothing. */
  credentials?: ClientCredentials;
  /** The client knows that the server's identity is hybrid. Default false. */
  pinsHybrid?: boolean;
  /** Default: the server's fingerprint. */
  pin?: Uint8Array | null;
  /** Both ends are on one machine. */
  loopback?: boolean;
  timerGranularity?: Micros;
  /** What the client shows of an earlier connection. */
  token?: Uint8Array;
}

/** What is sent instead of the `index`th datagram that a side wants to send, with a delay if need be. */
export type Filter = (
  data: Uint8Array,
  index: number,
  ecn: EcnCodepoint,
) => readonly { data: Uint8Array; afterMs?: number; ecn?: EcnCodepoint }[];

/** A client and a server on a simulated network, with a record of all that they sent and were told. */
export class Pair {
  readonly world: World;
  readonly client: Side;
  readonly server: Side;
  readonly seed: number;
  private readonly pin: Uint8Array | null;
  private readonly loopback: boolean;
  private readonly token: Uint8Array | null;
  private readonly credentials: ClientCredentials | undefined;
  private readonly pinsHybrid: boolean;

  constructor(options: PairOptions = {}) {
    const { seed = 1, link = { delayMs: 5 }, loopback = false } = options;
    this.seed = seed;
    this.credentials = options.credentials;
    this.pinsHybrid = options.pinsHybrid ?? false;
    this.loopback = loopback;
    this.token = options.token ?? null;
    this.pin = options.pin === undefined ? IDENTITY.fingerprint : options.pin;
    this.world = new World({ seed, link, timerGranularity: options.timerGranularity ?? MILLISECOND });
    const random = new Prng(seed);
    const server: ServerConfig = {
      identity: IDENTITY,
      acceptUnpinned: false,
      halfOpenMax: 16,
      connectionsMax: 64,
      isLoopback: () => loopback,
      ...options.accept,
    };
    this.client = new Side(
      this.world,
      'client',
      new Endpoint({ connection: config(options.client), random: random.fork(), server: null }),
    );
    this.server = new Side(
      this.world,
      'server',
      new Endpoint({ connection: config(options.server), random: random.fork(), server }),
    );
  }

  get now(): Micros {
    return this.world.now;
  }

  /** Starts the client's connection; it takes its course with {@link run}. */
  connect(resumption: Resumption | null = null): this {
    const { loopback: isLoopback, pin, token } = this;
    this.client.connection = this.client.endpoint.connect(
      {
        host: 'server',
        port: PORT,
        pin,
        isLoopback,
        token,
        resumption,
        credentials: this.credentials,
        isHybrid: this.pinsHybrid,
      },
      this.now,
    );
    this.client.node.wake();
    return this;
  }

  /** Connects and runs until both sides have told so, and the handshake is confirmed. */
  connected(): this {
    this.connect();
    this.until(() => this.client.isConnected && this.server.isConnected, 150_000, 'the handshake');
    return this.until(() => internalsOf(this.client.core).spaces[1] === null, 30_000, 'the confirmation');
  }

  run(ms: number): this {
    this.world.run({ forMs: ms });
    return this;
  }

  /** Runs until `predicate` holds, and fails when it does not within `ms`. */
  until(predicate: () => boolean, ms = 60_000, what = 'what was waited for'): this {
    const end = this.world.run({ until: predicate, forMs: ms });
    if (end !== 'until') throw new Error(`seed ${this.seed}: ${what} did not come within ${ms} ms (${end})`);
    return this;
  }

  /** Runs until both endpoints have forgotten their connections. */
  toTheEnd(): this {
    return this.until(
      () =>
        this.client.endpoint.counters.connectionsOpen + this.server.endpoint.counters.connectionsOpen === 0,
      120_000,
      'oblivion',
    );
  }

  /** Sends a message there and back on a new stream of the client. */
  echo(text = 'hello'): this {
    const stream = this.client.open();
    this.client.send(stream, text);
    this.until(() => this.server.texts(stream.id).includes(text), 60_000, 'the message');
    const back = this.server.streams.find(({ id }) => id === stream.id);
    if (back === undefined) throw new Error(`seed ${this.seed}: the stream did not come`);
    this.server.send(back, `${text} back`);
    return this.until(() => this.client.texts(stream.id).includes(`${text} back`), 60_000, 'the answer');
  }
}

/** One end, with an application that reads all it gets unless told otherwise. */
export class Side {
  readonly name: 'client' | 'server';
  readonly endpoint: Endpoint;
  readonly node: WorldNode;
  /** What it was told, in order. */
  readonly events: EndpointEvent[] = [];
  /** What it sent, in order, before any filter or link. */
  readonly sent: LoggedDatagram[] = [];
  /** With which ECN codepoint each datagram of {@link sent} went. */
  readonly codepoints: EcnCodepoint[] = [];
  /** What reached it. */
  readonly arrived: LabDatagram[] = [];
  /** Messages that were read, by stream. */
  readonly messages = new Map<number, Uint8Array[]>();
  connection: Connection | null = null;
  /** Streams that the other side opened. */
  readonly streams: ConnectionStream[] = [];
  readsAll = true;
  filter: Filter | null = null;
  onEvent: (event: EndpointEvent) => void = () => {};
  /** Puts a datagram on the network that the endpoint did not send. */
  readonly inject: (data: Uint8Array) => void;
  private readonly world: World;
  private lastArrivals: readonly LabDatagram[] = [];

  constructor(world: World, name: 'client' | 'server', endpoint: Endpoint) {
    this.world = world;
    this.name = name;
    this.endpoint = endpoint;
    this.node = world.add(endpoint, { host: name, port: PORT, pump: () => this.pump() });
    const { port } = this.node;
    const send = port.send.bind(port);
    this.inject = (data) => send(data, name === 'client' ? 'server' : 'client', PORT);
    port.send = (data, host, toPort, ecn = EcnCodepoint.NOT_ECT) => {
      const index = this.sent.length;
      this.sent.push(readDatagram(endpoint, data, world.now));
      this.codepoints.push(ecn);
      if (this.filter === null) return send(data, host, toPort, ecn);
      for (const { data: bytes, afterMs = 0, ecn: other = ecn } of this.filter(data.slice(), index, ecn)) {
        if (afterMs === 0) send(bytes, host, toPort, other);
        else world.clock.schedule(world.now + afterMs * MILLISECOND, () => send(bytes, host, toPort, other));
      }
    };
  }

  get core(): Connection {
    if (this.connection === null) throw new Error(`the ${this.name} has no connection`);
    return this.connection;
  }

  /** The connection even before its handshake is complete. */
  get halfOpen(): Connection {
    const [connection] = connectionsOf(this.endpoint);
    if (connection === undefined) throw new Error(`the ${this.name} has no connection`);
    return connection;
  }

  get isConnected(): boolean {
    return this.events.some(({ type }) => type === 'connected');
  }

  get closed(): CloseReason | null {
    const event = this.events.find(({ type }) => type === 'closed');
    return event?.type === 'closed' ? event.reason : null;
  }

  get packets(): LoggedPacket[] {
    return this.sent.flatMap(({ packets }) => packets);
  }

  /** Frames of a type that were sent. */
  frames(type: number): LoggedFrame[] {
    return this.packets.flatMap(({ frames }) => frames.filter((frame) => frame.type === type));
  }

  get bytesSent(): number {
    return this.sent.reduce((sum, { data }) => sum + data.length, 0);
  }

  open(settings: Partial<StreamSettings> = {}): ConnectionStream {
    const stream = this.core.streams.open({
      priority: Priority.CHAT,
      delivery: Delivery.RELIABLE,
      ordered: true,
      label: '',
      ...settings,
    });
    this.node.wake();
    return stream;
  }

  /** Sends a message as its stream would, by default reliably and for ever. */
  send(stream: ConnectionStream, data: Uint8Array | string): number {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    const result = stream.send(bytes, stream.delivery, Number.POSITIVE_INFINITY, false);
    this.node.wake();
    return result;
  }

  /** Ends a stream behind what was sent. */
  end(stream: ConnectionStream): void {
    stream.finish();
    this.node.wake();
  }

  reset(stream: ConnectionStream, code: number): void {
    stream.reset(code);
    this.node.wake();
  }

  /** What was read of a stream, as text. */
  texts(stream: number): string[] {
    return (this.messages.get(stream) ?? []).map((data) => Buffer.from(data).toString());
  }

  /** Reads at most `count` messages. */
  read(stream: ConnectionStream, count = Number.POSITIVE_INFINITY): number {
    let read = 0;
    for (; read < count; read++) {
      const message = stream.read(this.world.now);
      if (message === null) break;
      const list = this.messages.get(stream.id) ?? [];
      list.push(message.slice());
      this.messages.set(stream.id, list);
    }
    stream.onRead();
    this.node.wake();
    return read;
  }

  close(scope: 'application' | 'transport' = 'application', code = 0, reason = ''): void {
    this.core.lifecycle.close(scope, code, reason, this.world.now);
    this.node.wake();
  }

  finish(code = 0, reason = '', withinMs = 10_000, stallMs = 10_000): void {
    const { now } = this.world;
    this.core.lifecycle.finish(code, reason, now + withinMs * MILLISECOND, stallMs * MILLISECOND, now);
    this.node.wake();
  }

  private pump(): void {
    if (this.node.arrivals !== this.lastArrivals) {
      this.lastArrivals = this.node.arrivals;
      this.arrived.push(...this.node.arrivals);
    }
    for (let event = this.endpoint.pollEvent(); event !== null; event = this.endpoint.pollEvent()) {
      this.events.push(event);
      if (event.type === 'connected') this.connection ??= event.connection;
      if (event.type === 'stream') this.streams.push(event.stream);
      if (event.type === 'readable' && this.readsAll) this.read(event.stream);
      this.onEvent(event);
    }
  }
}

/** Runs `check` with one seed after the other; a failure names its seed. */
export function eachSeed(first: number, count: number, check: (seed: number) => void): void {
  for (let seed = first; seed < first + count; seed++) {
    try {
      check(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** `length` bytes that no other `tag` gives. */
export function bytesOf(length: number, tag = 0): Uint8Array {
  const bytes = new Uint8Array(length);
  new Prng(tag * 7919 + length).fill(bytes);
  return bytes;
}

/** What both ends have by default: real cryptography, but for the KEM, which would be a fifth of the time and is tested where it belongs. */
export function config(changes: Partial<ConnectionConfig> = {}): ConnectionConfig {
  return checkedConnectionConfig({ ...defaultConnectionConfig(AEAD), mlKem: cheapKem, ...changes });
}

export const AEAD = chooseAead('auto');
export const IDENTITY: Identity = Identity.generate(new Prng(4577));
export const PORT = 4577;
export const SECONDS = SECOND;
