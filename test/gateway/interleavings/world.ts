/** A broker, publishers and those who read by WebSocket and by server-sent events, in virtual time: who breaks off, comes back, reads slowly, and what the log forgets meanwhile is a seed's. */

import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import type { LogOptions, StorePort } from '../../../src/broker/core/store-port.ts';
import { BrokerService } from '../../../src/broker/service.ts';
import { openStore } from '../../../src/broker/store/open-store.ts';
import type { Backend } from '../../../src/gateway/backend.ts';
import { ANONYMOUS, factsOf } from '../../../src/gateway/caller.ts';
import { DeliveryTexts } from '../../../src/gateway/delivery-text.ts';
import { EventStreams } from '../../../src/gateway/event-streams.ts';
import { localPair, Turns } from '../../../src/gateway/local-connection.ts';
import { OutgoingTurn } from '../../../src/gateway/outgoing.ts';
import { PublishState } from '../../../src/gateway/publishing.ts';
import { Session } from '../../../src/gateway/session.ts';
import { PublishFlag, publishPrefix } from '../../../src/pubsub/command.ts';
import type { MessageConnection } from '../../../src/pubsub/message-stream.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import { VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { FaultyFileSystem } from '../../broker/store/faulty-file-system.ts';
import { inVirtualTime, WallClock } from '../../sim/broker/virtual-time.ts';
import { Violation } from '../../sim/invariants.ts';
import { Totals } from '../../sim/totals.ts';
import { DurableReader } from './durable-reader.ts';
import { type Reader, SseReader, WsReader } from './readers.ts';

export interface Stored {
  readonly topic: string;
  readonly text: string;
}

/** Runs the world of a seed to its end, and answers what it met. */
export async function runInterleaving(seed: number): Promise<Totals> {
  const world = new World(seed);
  try {
    return await inVirtualTime(world.virtual, world.wall, new Prng(seed + 1), () => world.toItsEnd());
  } catch (error) {
    const story = error instanceof Violation ? error.message : ((error as Error).stack ?? String(error));
    throw new Violation(`seed ${seed}, at ${world.nowMs} ms: ${story}`);
  }
}

export class World {
  readonly virtual = new VirtualClock();
  readonly wall = new WallClock(this.virtual);
  readonly random: Prng;
  readonly totals = new Totals();
  readonly texts = new DeliveryTexts();
  /** By epoch and offset: what publishers were told that is there. */
  readonly stored = new Map<number, Map<number, Stored>>();
  readonly backend: Backend;
  readonly clock = new LabClock(this.virtual);
  readonly turn = new OutgoingTurn(this.clock);
  readonly eventStreams = new EventStreams(this.turn, this.texts);
  /** Bytes of a payload beside its number: with many of them sockets become slow. */
  readonly padding: number;
  isQuiet = false;
  /** Lives of the broker. */
  life = 0;
  private readonly kind: 'kept' | 'lost' | 'disk';
  private readonly logs: readonly LogOptions[];
  private disk: FaultyFileSystem;
  private memory: MemoryStore;
  private epochs = 1;
  private store: StorePort | null = null;
  private service: BrokerService | null = null;
  private brokerClock = new LabClock(this.virtual);
  private connections: MessageConnection[] = [];
  private readonly turns = new Turns(this.clock);
  private readonly publishers: (Session | null)[] = [null, null];
  private readonly readers: Reader[];
  private published = 0;
  private failure: unknown = null;

  constructor(seed: number) {
    this.random = new Prng(seed);
    const { random } = this;
    this.kind = (['kept', 'lost', 'disk'] as const)[random.below(3)];
    this.logs = [{ name: 'default', maxMessages: random.between(8, 40) }];
    this.padding = random.chance(0.15) ? 8_000 : 0;
    this.disk = new FaultyFileSystem(random.fork());
    this.memory = new MemoryStore(this.logs, this.epochs);
    this.backend = {
      ...{
        connect: (facts) => this.connect(facts),
        probe: async () => {},
        close: async () => {},
        failure: null,
        tellsAddress: true,
      },
    };
    this.readers = [new WsReader(this), new SseReader(this), new WsReader(this), new DurableReader(this)];
  }

  get nowMs(): number {
    return Math.floor(this.virtual.now() / MILLISECOND);
  }

  /** Epoch and bounds of the log as they are now; null: the broker is down. */
  get log(): { epoch: number; earliest: number; head: number } | null {
    return this.store?.logs[0] ?? null;
  }

  after(ms: number, act: () => void): void {
    this.virtual.schedule(this.virtual.now() + Math.round(ms * MILLISECOND), () => this.guard(act));
  }

  guard(act: () => void): void {
    try {
      act();
    } catch (error) {
      this.fail(error);
    }
  }

  readonly fail = (error: unknown): void => {
    this.failure ??= error;
  };

  async toItsEnd(): Promise<Totals> {
    await this.start();
    const { random } = this;
    const steps = random.between(16, 32);
    for (let i = 0; i < steps; i++) {
      this.step();
      if (random.chance(0.7)) await this.run(random.below(12));
    }
    this.isQuiet = true;
    if (this.service === null) await this.start();
    for (const reader of this.readers) reader.clearUp();
    await this.run(7_000); // whoever is to come back does, and hears where it is
    for (const reader of this.readers) reader.expectAll();
    this.totals.add('worlds', 1);
    this.totals.add(`store ${this.kind}`, 1);
    this.totals.add('published', this.published);
    return this.totals;
  }

  private step(): void {
    const { random } = this;
    const what = random.float();
    if (what < 0.45) this.publish(random.between(1, 6));
    else if (what < 0.5)
      this.publish(random.between(20, 50)); // more than some logs keep
    else if (what < 0.72) random.chance(0.5) ? this.any.breakOff() : this.any.comeBack();
    else if (what < 0.82) this.any.setSlow(random.chance(0.5));
    else if (what < 0.85) void this.crash().catch(this.fail);
    else this.any.poke();
  }

  private get any(): Reader {
    return this.readers[this.random.below(this.readers.length)];
  }

  // ---- the broker ----

  private async start(): Promise<void> {
    this.life++;
    this.brokerClock = new LabClock(this.virtual);
    if (this.kind === 'disk') {
      const { wall, random, brokerClock: clock } = this;
      const surroundings = { files: this.disk, clock, wallMs: wall.now, boot: 'one' };
      const options = { directory: '/store', logs: this.logs };
      const opening = openStore(options, {
        ...surroundings,
        random: () => random.uint32() + 1,
        ...SMALL_PARTS,
      });
      let opened: Awaited<typeof opening> | null = null;
      opening.then((found) => {
        opened = found;
      }, this.fail);
      while (opened === null) await this.run(1);
      const { store } = opened as Awaited<typeof opening>;
      const service = this.serveOn(store);
      store.listener = {
        onNews: () => service.hear(),
        onFinding: this.fail,
        onFailure: (_log, failure) => this.fail(failure),
      };
      if (store.hasNews) service.hear();
    } else this.serveOn(this.memory);
  }

  private serveOn(store: StorePort): BrokerService {
    this.store = store;
    this.service = new BrokerService(
      { stallMs: 0 },
      { clock: this.brokerClock, wallMs: this.wall.now, store, onFault: this.fail },
    );
    return this.service;
  }

  private async crash(): Promise<void> {
    if (this.service === null) return;
    this.totals.add('crashes', 1);
    this.service = null;
    this.store = null;
    this.brokerClock.sleep(Number.MAX_SAFE_INTEGER / 4_000, false);
    for (const connection of this.connections.splice(0)) connection.destroy(1);
    if (this.kind === 'lost') this.memory = new MemoryStore(this.logs, ++this.epochs);
    if (this.kind === 'disk') {
      this.disk.operationsLeft = 0;
      this.disk = this.random.chance(0.5) ? this.disk.afterPowerCut() : this.disk.afterKill();
    }
    await this.start();
  }

  private async connect(facts: Parameters<Backend['connect']>[0]): Promise<MessageConnection> {
    if (this.service === null) throw new Error('the broker is down');
    const [near, far] = localPair({ facts, turns: this.turns, onFault: this.fail });
    this.connections.push(far);
    this.service.serve(far);
    return near;
  }

  // ---- publishers ----

  private publish(count: number): void {
    const index = this.random.below(this.publishers.length);
    const session = this.publishers[index];
    if (session === null || session.isOver) {
      void this.openPublisher(index, count);
      return;
    }
    for (let i = 0; i < count; i++) this.publishOne(session);
  }

  private async openPublisher(index: number, count: number): Promise<void> {
    try {
      const session = await Session.open(
        await this.connect(factsOf('http', '')),
        { proof: ANONYMOUS },
        {},
        this.clock,
      );
      this.publishers[index] = session;
      for (let i = 0; i < count; i++) this.publishOne(session);
    } catch {
      // the broker is down
    }
  }

  private publishOne(session: Session): void {
    const topic = `t/${this.random.below(3)}`;
    const text = `${++this.published}`;
    const payload = Buffer.from(text.padEnd(this.padding));
    const command = Buffer.concat([publishPrefix(topic, PublishFlag.QOS1), payload]);
    const epoch = this.log?.epoch ?? 0;
    session.publish(command, ({ state, offset }) => {
      if (state !== PublishState.TAKEN || offset < 0) return;
      let log = this.stored.get(epoch);
      if (log === undefined) {
        log = new Map();
        this.stored.set(epoch, log);
      }
      log.set(offset, { topic, text });
    });
  }

  // ---- time ----

  private async run(forMs: number): Promise<void> {
    const { virtual } = this;
    const end = virtual.now() + forMs * MILLISECOND;
    await instant();
    while (virtual.nextAt <= end) {
      virtual.runInstant();
      await instant();
      if (this.failure !== null) throw this.failure;
    }
    virtual.advanceTo(end);
    if (this.failure !== null) throw this.failure;
  }
}

const instant = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const SMALL_PARTS = { segmentBytes: 16_384, cacheBytes: 4_096, checkpointBytes: 4_096 };
