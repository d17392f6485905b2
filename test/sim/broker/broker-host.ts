import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import type { StorePort } from '../../../src/broker/core/store-port.ts';
import { BrokerService } from '../../../src/broker/service.ts';
import { openStore } from '../../../src/broker/store/open-store.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import { FaultyFileSystem } from '../../broker/store/faulty-file-system.ts';
import { Violation } from '../invariants.ts';
import type { SimConnection } from './network.ts';
import type { Broker, BrokerWorld } from './run.ts';
import type { BrokerEvent, BrokerScenario } from './scenario.ts';
import { SimWorker, THREADS_MS_MAX } from './sim-worker.ts';

/** The machine that a broker runs on: its process dies and comes back. */
export class BrokerHost implements Broker {
  readonly url = 'sim';
  private readonly world: BrokerWorld;
  private readonly limits: BrokerScenario['limits'];
  private readonly keepsStore: boolean;
  private readonly hasDisk: boolean;
  private store: StorePort = new MemoryStore();
  private disk: FaultyFileSystem;
  /** Lives of the process. */
  private life = 0;
  private isStarting = false;
  /** Of its logs, where that stays; undefined where a receipt may be of an earlier one. */
  readonly epoch: number | undefined;
  private stores = 1;
  private service: BrokerService | null = null;
  private processClock: LabClock;
  private connections: SimConnection[] = [];
  /** Where clients are, when that is not the process itself; as many as {@link workerCount} says. */
  private workers: SimWorker[] = [];
  private readonly workerCount: number;

  /** @param workerCount - 0: clients are in the broker's own thread */
  constructor(world: BrokerWorld, { limits, store }: BrokerScenario, workerCount = 0) {
    this.world = world;
    this.workerCount = workerCount;
    if (workerCount > 0) world.model.threadsMs = THREADS_MS_MAX;
    this.limits = limits;
    this.keepsStore = store !== 'lost';
    this.hasDisk = store === 'disk';
    this.epoch = store === 'kept' ? 1 : undefined;
    this.disk = new FaultyFileSystem(world.random.fork());
    this.processClock = new LabClock(world.clock);
  }

  get isUp(): boolean {
    return this.service !== null;
  }

  start(): void {
    if (this.service !== null || this.isStarting) return;
    this.processClock = new LabClock(this.world.clock);
    this.life++;
    if (this.hasDisk) this.open(this.life).catch((error) => this.world.fail(error));
    else this.begin();
  }

  /** Opens the store on its disk, and begins when that is done. */
  private async open(life: number): Promise<void> {
    this.isStarting = true;
    const { wall, random } = this.world;
    const surroundings = { files: this.disk, clock: this.processClock, wallMs: wall.now, boot: 'one' };
    const { store, report } = await openStore(
      { directory: '/store' },
      { ...surroundings, random: () => random.uint32() + 1, ...SMALL_PARTS },
    );
    if (life !== this.life) return;
    this.isStarting = false;
    if (report.findings.some(({ isLoss }) => isLoss))
      throw new Violation(`the store has findings: ${JSON.stringify(report.findings)}`);
    this.store = store;
    const service = this.begin();
    store.listener = {
      onNews: () => {
        if (life === this.life) service.hear();
      },
      onFinding: (finding) => this.world.fail(new Violation(`the store finds ${JSON.stringify(finding)}`)),
      onFailure: (_log, failure) => this.world.fail(new Violation(`the store fails: ${failure}`)),
    };
    if (store.hasNews) service.hear();
  }

  private begin(): BrokerService {
    this.world.model.brokerBegan();
    this.service = new BrokerService(this.limits, {
      clock: this.processClock,
      wallMs: this.world.wall.now,
      store: this.store,
      onFault: (error) => this.world.fail(error),
    });
    this.workers = Array.from({ length: this.workerCount }, () => this.newWorker(this.life));
    return this.service;
  }

  /** A thread of this life of the process, which crashes now and then. */
  private newWorker(life: number): SimWorker {
    const { world, processClock, service } = this;
    const worker = new SimWorker(world.random.fork(), processClock, {
      onConnection: (connection) => service?.serve(connection),
      onFault: (error) => world.fail(error),
    });
    world.after(WORKER_LIFE_MS_MIN + world.random.below(WORKER_LIFE_MS), () => {
      if (world.isClear || life !== this.life || this.service === null) return;
      world.totals.add('workers crashed', 1);
      worker.crash(world.random.below(WORKER_NOTICED_MS_MAX));
      this.workers[this.workers.indexOf(worker)] = this.newWorker(life);
    });
    return worker;
  }

  /** Takes a connection. */
  serve(connection: SimConnection): void {
    this.connections.push(connection);
    if (this.workerCount === 0) this.service?.serve(connection);
    else if (this.service !== null) this.workers[this.world.random.below(this.workerCount)].serve(connection);
  }

  /** The process is killed, and starts again after a while. */
  suffer(event: BrokerEvent): void {
    if (this.service === null || event.kind !== 'crash') return;
    this.service = null;
    this.processClock.sleep(Number.MAX_SAFE_INTEGER / 4_000, false);
    for (const connection of this.connections.splice(0)) connection.kill(event.noticedMs);
    this.life++;
    if (!this.keepsStore) this.store = new MemoryStore([], ++this.stores);
    if (this.hasDisk) this.leaveDisk();
    this.world.model.brokerDied(!this.keepsStore);
    this.world.after(event.downMs, () => this.start());
  }

  /** The process ends with whatever it had begun to write; or the machine does, and what was not synced may be gone. */
  private leaveDisk(): void {
    const isCut = this.world.random.chance(0.5);
    this.disk.operationsLeft = 0;
    this.disk = isCut ? this.disk.afterPowerCut() : this.disk.afterKill();
    this.world.totals.add(isCut ? 'power cuts' : 'kills with a disk', 1);
    this.isStarting = false;
  }

  clearUp(): void {
    this.start();
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
}

const SMALL_PARTS = { segmentBytes: 16_384, cacheBytes: 4_096, checkpointBytes: 4_096 };
const WORKER_LIFE_MS_MIN = 500;
const WORKER_LIFE_MS = 60_000;
/** Its clients find out after so long at most, which is longer than anything else of these worlds takes to be noticed. */
export const WORKER_NOTICED_MS_MAX = 20_000;
/** Above what any message of a world is charged. */
const MESSAGE_CHARGE_MAX = 1_000;
