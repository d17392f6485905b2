/**
 * A connection under pressure: a client that sends more than a bottleneck carries, on streams of several kinds, and a server that reads all
 * of it at once and notes how old each message was. In virtual time, without encryption.
 */

import { Prng } from '../../src/base/random.ts';
import { MILLISECOND, type Micros, NEVER } from '../../src/base/time.ts';
import { type ConnectionConfig, checkedConnectionConfig } from '../../src/protocol/connection/config.ts';
import type { Connection } from '../../src/protocol/connection/connection.ts';
import { Identity } from '../../src/protocol/crypto/identity.ts';
import { type ReceiveBatch, TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { Endpoint } from '../../src/protocol/endpoint/index.ts';
import type { ConnectionStream, StreamSettings } from '../../src/protocol/stream/connection-stream.ts';
import { Delivery, Priority } from '../../src/protocol/wire/frame-type.ts';
import { type LabEndpoint, World, type WorldNode } from '../../src/testing/world.ts';
import type { LinkCounters, LinkOptions } from '../../src/udp/link.ts';
import { configOf } from './crypto.ts';

export interface PressureOptions {
  readonly seed: number;
  /** From the client to the server. */
  readonly link: LinkOptions;
  /** From the server to the client. Default: the delay of `link`. */
  readonly back?: LinkOptions;
  readonly client?: Partial<ConnectionConfig>;
  readonly server?: Partial<ConnectionConfig>;
  /** So long the client's socket takes for a datagram. Default 0. */
  readonly datagramTime?: Micros;
  /** Most datagrams that it takes at a time. */
  readonly datagramsMax?: number;
}

/** An endpoint whose socket takes its time for a batch: what is sent is for the endpoint to decide. */
class BusyEndpoint implements LabEndpoint {
  private readonly endpoint: Endpoint;
  private readonly datagramTime: Micros;
  private freeAt: Micros = 0;

  constructor(endpoint: Endpoint, datagramTime: Micros) {
    this.endpoint = endpoint;
    this.datagramTime = datagramTime;
  }

  receive(batch: ReceiveBatch, now: Micros): void {
    this.endpoint.receive(batch, now);
  }

  transmit(batch: TransmitBatch, now: Micros): number {
    if (now < this.freeAt) return 0;
    const count = this.endpoint.transmit(batch, now);
    this.freeAt = now + count * this.datagramTime;
    return count;
  }

  nextTimeout(): Micros {
    const timeout = this.endpoint.nextTimeout();
    return this.endpoint.wantsTransmit ? Math.min(timeout, this.freeAt) : timeout;
  }

  timeout(now: Micros): void {
    if (this.endpoint.nextTimeout() <= now) this.endpoint.timeout(now);
  }
}

/** What a stream is given to send. */
export interface Load {
  readonly settings?: Partial<StreamSettings>;
  readonly bytes: number;
  /** A message this often, by and large; without it as many as the stream takes. */
  readonly everyMs?: number;
  readonly lifetimeMs?: number;
}

/** A stream with its load, and what became of it. */
export class Flow {
  /** How old messages were when they were read, in ms. */
  readonly agesMs: number[] = [];
  /** How long messages waited at the sender until nothing of the stream did, in ms. */
  readonly waitsMs: number[] = [];
  waitingSince: Micros = -1;
  receivedBytes = 0;
  offered = 0;
  readonly stream: ConnectionStream;
  readonly load: Load;

  constructor(stream: ConnectionStream, load: Load) {
    this.stream = stream;
    this.load = load;
  }

  /** Forgets what was measured so far. */
  restart(): void {
    this.agesMs.length = 0;
    this.waitsMs.length = 0;
    this.receivedBytes = 0;
    this.offered = 0;
  }

  ageMs(quantile: number): number {
    return quantileOf(this.agesMs, quantile);
  }

  waitMs(quantile: number): number {
    return quantileOf(this.waitsMs, quantile);
  }
}

function quantileOf(values: readonly number[], quantile: number): number {
  const sorted = values.slice().sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(quantile * sorted.length))] ?? Number.NaN;
}

export class Pressure {
  readonly world: World;
  readonly client: Endpoint;
  readonly server: Endpoint;
  readonly connections: Connection[] = [];
  readonly flows: Flow[] = [];
  private readonly clientNode: WorldNode;
  private readonly flowsByLabel = new Map<string, Flow>();
  private readonly random: Prng;

  constructor(options: PressureOptions) {
    const { seed, link, back = { delayMs: link.delayMs }, client, server, datagramTime = 0 } = options;
    this.world = new World({ seed });
    this.world.network.connect('client', 'server', link, back);
    this.random = new Prng(seed);
    const config = (changes: Partial<ConnectionConfig> = {}) =>
      checkedConnectionConfig({ ...configOf('null'), ...changes });
    const accept = {
      identity: IDENTITY,
      acceptUnpinned: false,
      halfOpenMax: 16,
      connectionsMax: 64,
      isLoopback: () => false,
    };
    this.client = new Endpoint({ connection: config(client), random: this.random.fork(), server: null });
    this.server = new Endpoint({ connection: config(server), random: this.random.fork(), server: accept });
    this.clientNode = this.world.add(new BusyEndpoint(this.client, datagramTime), {
      host: 'client',
      port: PORT,
      batch: new TransmitBatch(undefined, options.datagramsMax),
      pump: () => this.offer(),
    });
    this.world.add(this.server, { host: 'server', port: PORT, pump: (now) => this.read(now) });
    this.connect();
  }

  /** One more connection of the client's endpoint. */
  connect(): Connection {
    const target = { host: 'server', port: PORT, pin: IDENTITY.fingerprint, isLoopback: false };
    const connection = this.client.connect(target, this.world.now);
    this.connections.push(connection);
    this.clientNode.wake();
    const isReady = () => connection.lifecycle.takesStreams && connection.lifecycle.isEstablished;
    if (this.world.run({ until: isReady, forMs: 10_000 }) !== 'until') throw new Error('it does not connect');
    return connection;
  }

  /** Loads a new stream of a connection. */
  flow(load: Load, connection: Connection = this.connections[0]): Flow {
    const stream = connection.streams.open({
      priority: Priority.CHAT,
      delivery: Delivery.RELIABLE,
      ordered: true,
      label: `${this.flows.length}`,
      ...load.settings,
    });
    const flow = new Flow(stream, load);
    this.flows.push(flow);
    this.flowsByLabel.set(`${this.flows.length - 1}`, flow);
    this.clientNode.wake();
    if (load.everyMs !== undefined) this.sendOnTime(flow, load.everyMs, this.world.now);
    return flow;
  }

  run(ms: number): this {
    this.world.run({ forMs: ms });
    return this;
  }

  /** What the bottleneck was given to carry, and what it dropped. */
  get sentOnLink(): Readonly<Pick<LinkCounters, 'sentBytes' | 'droppedQueue'>> {
    return { ...this.world.network.link('client', 'server').counters };
  }

  /** Forgets what was measured so far, such as how the connection found its rate. */
  restart(): void {
    for (const flow of this.flows) flow.restart();
  }

  /** Nothing is sent on it any more. */
  stop(flow: Flow): void {
    this.flows.splice(this.flows.indexOf(flow), 1);
  }

  private sendOnTime(flow: Flow, everyMs: number, at: Micros): void {
    this.clientNode.at(at, () => {
      if (!this.flows.includes(flow)) return;
      this.send(flow);
      // not in step with anything else
      this.sendOnTime(
        flow,
        everyMs,
        at + Math.round(everyMs * MILLISECOND * (0.9 + 0.2 * this.random.float())),
      );
    });
  }

  private offer(): void {
    while (this.client.pollEvent() !== null);
    for (const flow of this.flows) {
      if (flow.load.everyMs !== undefined) {
        this.noteWait(flow);
        continue;
      }
      while (flow.stream.sender.queue.bytes < SATURATING_BYTES) this.send(flow);
    }
  }

  private noteWait(flow: Flow): void {
    if (flow.waitingSince < 0 || flow.stream.sender.queue.bytes > 0) return;
    flow.waitsMs.push((this.world.now - flow.waitingSince) / MILLISECOND);
    flow.waitingSince = -1;
  }

  private send(flow: Flow): void {
    const { stream, load } = flow;
    const { now } = this.world;
    const data = new Uint8Array(load.bytes);
    new DataView(data.buffer).setFloat64(0, now);
    const deadline = load.lifetimeMs === undefined ? NEVER : now + load.lifetimeMs * MILLISECOND;
    flow.offered++;
    stream.send(data, stream.delivery, deadline, true);
    if (flow.waitingSince < 0) flow.waitingSince = now;
  }

  private read(now: Micros): void {
    for (let event = this.server.pollEvent(); event !== null; event = this.server.pollEvent()) {
      if (event.type !== 'readable') continue;
      const { stream } = event;
      const flow = this.flowsByLabel.get(stream.label) as Flow;
      for (let data = stream.read(now); data !== null; data = stream.read(now)) {
        const sentAt = new DataView(data.buffer, data.byteOffset).getFloat64(0);
        flow.agesMs.push((now - sentAt) / MILLISECOND);
        flow.receivedBytes += data.length;
      }
      stream.onRead();
    }
  }
}

const IDENTITY = Identity.generate(new Prng(4577));
const PORT = 4577;
/** So much waits on a stream that saturates its connection. */
const SATURATING_BYTES = 262_144;
