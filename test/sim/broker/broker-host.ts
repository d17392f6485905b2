import { BrokerService } from '../../../src/broker/service.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import { Violation } from '../invariants.ts';
import type { SimConnection } from './network.ts';
import type { BrokerWorld } from './run.ts';
import type { BrokerScenario } from './scenario.ts';

/** The machine that a broker runs on: its process dies and comes back. */
export class BrokerHost {
  private readonly world: BrokerWorld;
  private readonly limits: BrokerScenario['limits'];
  private service: BrokerService | null = null;
  private processClock: LabClock;
  private connections: SimConnection[] = [];

  constructor(world: BrokerWorld, limits: BrokerScenario['limits']) {
    this.world = world;
    this.limits = limits;
    this.processClock = new LabClock(world.clock);
    world.network.tap = (_stream, message) => this.onSent(message);
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
    this.world.model.brokerDied(true);
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

  private onSent(message: Uint8Array): void {
    if (message[0] !== PUBLISH) return;
    const topicEnd = 8 + message[2] * 256 + message[3];
    const hasProperties = (message[1] & 0x10) !== 0;
    const start = hasProperties ? topicEnd + 2 + message[topicEnd] * 256 + message[topicEnd + 1] : topicEnd;
    this.world.model.leaves(Buffer.from(message).toString('latin1', start).trimEnd());
  }
}

const PUBLISH = 0x01;
/** Above what any message of a world is charged. */
const MESSAGE_CHARGE_MAX = 1_000;
