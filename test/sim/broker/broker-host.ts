import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import { BrokerService } from '../../../src/broker/service.ts';
import { Command, HEADER_BYTES, PublishFlag } from '../../../src/pubsub/command.ts';
import { decodeProperties, endOfProperties } from '../../../src/pubsub/properties.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import { Violation } from '../invariants.ts';
import type { SimConnection, SimStream } from './network.ts';
import type { BrokerWorld } from './run.ts';
import type { BrokerScenario } from './scenario.ts';

/** The machine that a broker runs on: its process dies and comes back. */
export class BrokerHost {
  private readonly world: BrokerWorld;
  private readonly limits: BrokerScenario['limits'];
  private readonly keepsStore: boolean;
  private store = new MemoryStore();
  /** Of its logs, where that stays; undefined where a receipt may be of an earlier one. */
  readonly epoch: number | undefined;
  private stores = 1;
  private service: BrokerService | null = null;
  private processClock: LabClock;
  private connections: SimConnection[] = [];

  constructor(world: BrokerWorld, { limits, store }: BrokerScenario) {
    this.world = world;
    this.limits = limits;
    this.keepsStore = store === 'kept';
    this.epoch = this.keepsStore ? 1 : undefined;
    this.processClock = new LabClock(world.clock);
    // What they find is told, and not thrown: the broker would take it for a fault of the transport.
    world.network.onSent = (stream, message) => world.guard(() => this.onSent(stream, message));
    world.network.onRead = (stream, message) => world.guard(() => this.onRead(stream, message));
  }

  get isUp(): boolean {
    return this.service !== null;
  }

  start(): void {
    if (this.service !== null) return;
    this.processClock = new LabClock(this.world.clock);
    this.service = new BrokerService(this.limits, {
      clock: this.processClock,
      wallMs: this.world.wall.now,
      store: this.store,
      onFault: (error) => this.world.fail(error),
    });
  }

  /** Takes a connection. */
  serve(connection: SimConnection): void {
    this.connections.push(connection);
    this.service?.serve(connection);
  }

  /** The process is killed, and starts again after a while. */
  crash(downMs: number, noticedMs: number): void {
    if (this.service === null) return;
    this.service = null;
    this.processClock.sleep(Number.MAX_SAFE_INTEGER / 4_000, false);
    for (const connection of this.connections.splice(0)) connection.kill(noticedMs);
    if (!this.keepsStore) this.store = new MemoryStore([], ++this.stores);
    this.world.model.brokerDied(!this.keepsStore);
    this.world.after(downMs, () => this.start());
  }

  get isSettled(): boolean {
    if (this.service === null) return false;
    const { queuedMessages, publishersStopped } = this.service.metrics();
    return queuedMessages === 0 && publishersStopped === 0;
  }

  /** What is held is within its bounds. */
  expectBounded(): void {
    if (this.service === null) return;
    const { queuedBytes, clients } = this.service.metrics();
    const bound = clients * (this.limits.queueBytesPerClientMax + MESSAGE_CHARGE_MAX);
    if (queuedBytes > bound) throw new Violation(`the broker queues ${queuedBytes} of ${bound} bytes`);
  }

  /** Nobody is there any more, and nothing of anybody is. */
  expectEmpty(): void {
    const metrics = this.service?.metrics();
    const { clients, streams, subscriptions, filters, queuedBytes, lanes } = metrics ?? {};
    for (const [name, held] of Object.entries({
      clients,
      streams,
      subscriptions,
      filters,
      queuedBytes,
      lanes,
    }))
      if (held !== 0) throw new Violation(`all clients have gone, and ${name} is ${held}`);
  }

  toString(): string {
    if (this.service === null) return 'the broker is down';
    const { queuedMessages, publishersStopped, clients } = this.service.metrics();
    return `the broker has ${clients} clients, queues ${queuedMessages} messages and stops ${publishersStopped} publishers`;
  }

  private onRead({ connection: { end, path }, id }: SimStream, message: Uint8Array): void {
    if (end === 'client') return;
    this.world.trace(() => `broker reads from ${path.name} on ${id} ${textOf(message)}`);
    const { text, ttlMs } = publishOf(message);
    if (text !== null) this.world.model.arrives(text, ttlMs);
  }

  private onSent({ connection: { end, path }, id }: SimStream, message: Uint8Array): void {
    if (end === 'client') return;
    this.world.trace(() => `broker sends to ${path.name} on ${id} ${textOf(message)}`);
    const { text } = publishOf(message);
    if (text !== null) this.world.model.leaves(text);
  }
}

/** A command for whoever follows one world. */
function textOf(message: Uint8Array): string {
  const name = Object.entries(Command).find(([, code]) => code === message[0])?.[0];
  const { text } = publishOf(message);
  const id = Buffer.from(message).readUInt32BE(4);
  return `${name} ${id} flags ${message[1]} ${text ?? Buffer.from(message).toString('hex', HEADER_BYTES)}`;
}

/** The text of a PUBLISH, and its time to live; null of another command. */
function publishOf(message: Uint8Array): { text: string | null; ttlMs: number } {
  if (message[0] !== Command.PUBLISH) return { text: null, ttlMs: 0 };
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length);
  const topicEnd = HEADER_BYTES + bytes.readUInt16BE(2);
  const hasProperties = (message[1] & PublishFlag.PROPERTIES) !== 0;
  const { ttlMs = Number.POSITIVE_INFINITY } = hasProperties ? decodeProperties(message, topicEnd) : {};
  if (bytes.toString('latin1', HEADER_BYTES, topicEnd).startsWith('dead/')) return { text: null, ttlMs };
  const start = hasProperties ? endOfProperties(message, topicEnd) : topicEnd;
  return { text: bytes.toString('latin1', start).trimEnd(), ttlMs };
}

/** Above what any message of a world is charged. */
const MESSAGE_CHARGE_MAX = 1_000;
