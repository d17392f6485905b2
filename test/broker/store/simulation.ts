/**
 * Worlds in which a store lives several lives on a disk that fails as disks do, drawn from a seed: power cuts, kills, a full disk, syncs that fail, bits that
 * flip. A publisher that sends again what it was not told of, and a reader whose cursor is in the state, are promised what they always are: nothing that was
 * told of as stored is lost or changed, nothing is there twice, no offset means two records, no cursor is ahead of its log, and damage is always told.
 */

import { Prng } from '../../../src/base/random.ts';
import type { LogOptions, LogPort, StoreEvents, StoreFailure } from '../../../src/broker/core/store-port.ts';
import { AppendFault } from '../../../src/broker/core/store-port.ts';
import type { DiskStore } from '../../../src/broker/store/disk-store.ts';
import { StoreDamagedError, type StoreFinding } from '../../../src/broker/store/findings.ts';
import { repairStore } from '../../../src/broker/store/repair.ts';
import { systemSurroundings } from '../../../src/broker/store/surroundings.ts';
import { Totals } from '../../sim/totals.ts';
import { settled } from './store-clock.ts';
import { allOf, Bench, DIRECTORY, payloadOf, recordOf } from './stores.ts';

export type LifeEnd = 'close' | 'power cut' | 'kill' | 'flip' | 'flip after kill';

export interface LifePlan {
  readonly end: LifeEnd;
  readonly steps: number;
  /** Operations of the disk until the power fails. */
  readonly operations: number;
  readonly failingSyncs: number;
  readonly shortWrites: number;
  /** Bytes that the disk has room for beyond what it holds; infinite: no bound. */
  readonly room: number;
}

export interface StorePlan {
  readonly seed: number;
  readonly logs: readonly LogOptions[];
  readonly segmentBytes: number;
  readonly checkpointBytes: number;
  readonly cacheBytes: number;
  readonly verifyBytes: number;
  readonly lives: readonly LifePlan[];
}

export function storePlanOf(seed: number): StorePlan {
  const random = new Prng(seed + 0x5707e);
  const { chance, between } = {
    chance: (p: number) => random.chance(p),
    between: random.between.bind(random),
  };
  const sync = chance(0.15) ? ('interval' as const) : ('always' as const);
  const bounds = (): Partial<LogOptions> =>
    chance(0.7) ? {} : chance(0.5) ? { maxMessages: between(5, 60) } : { maxBytes: between(4_000, 40_000) };
  const logs: LogOptions[] = [{ name: 'default', sync, ...bounds() }];
  for (const name of ['a', 'b'].slice(0, random.below(3)))
    logs.push({ name, filters: [`${name}/#`], sync, ...bounds() });
  const life = (isLast: boolean): LifePlan => {
    const ends: LifeEnd[] = ['power cut', 'power cut', 'power cut', 'kill', 'close'];
    if (isLast) ends.push('flip', 'flip after kill', 'flip');
    return {
      end: ends[random.below(ends.length)],
      steps: between(3, 25),
      operations: between(5, 200),
      failingSyncs: chance(0.12) ? 0.05 : 0,
      shortWrites: chance(0.3) ? 0.3 : 0,
      room: chance(0.12) ? between(500, 8_000) : Number.POSITIVE_INFINITY,
    };
  };
  const count = between(1, 4);
  return {
    seed,
    logs,
    segmentBytes: between(600, 8_000),
    checkpointBytes: between(500, 20_000),
    cacheBytes: chance(0.5) ? 1_000 : 100_000,
    verifyBytes: chance(0.3) ? 1_000 : 1_000_000,
    lives: Array.from({ length: count }, (_, i) => life(i === count - 1)),
  };
}

export async function runStoreSeed(seed: number): Promise<Totals> {
  const world = new World(storePlanOf(seed));
  let timer: NodeJS.Timeout | undefined;
  const hangs = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it waits for ever')), HANGS_MS);
  });
  try {
    await Promise.race([world.run(), hangs]);
  } catch (error) {
    throw new Error(`seed ${seed}, life ${world.lifeNumber}: ${(error as Error).stack}`);
  } finally {
    clearTimeout(timer);
  }
  return world.totals;
}

/** A message of a publisher: what became of it, as far as the publisher knows. */
interface Sent {
  readonly log: string;
  readonly session: number;
  readonly sequence: number;
  readonly id: number;
  readonly payload: string;
  fate: 'waits' | 'stored' | 'refused';
  offset: number;
}

class World {
  readonly totals = new Totals();
  lifeNumber = 0;
  private readonly plan: StorePlan;
  private readonly bench: Bench;
  private readonly random: Prng;
  private readonly sent: Sent[] = [];
  private readonly nextIds = new Map<string, number>();
  /** What each offset of a log was seen to mean, by log and epoch. */
  private readonly meant = new Map<string, string>();
  private readonly epochs = new Map<string, number>();
  /** Changes of the state in order, and how many of them are stored. */
  private changes: (readonly [key: string, value: string | null])[] = [];
  private changesStored = 0;
  private writtenBefore = 0;
  private failed = false;
  private isCut = false;

  constructor(plan: StorePlan) {
    this.plan = plan;
    this.bench = new Bench(plan.seed);
    this.random = new Prng(plan.seed + 1);
    this.bench.logs = plan.logs;
    const { segmentBytes, checkpointBytes, cacheBytes, verifyBytes } = plan;
    this.bench.settings = { segmentBytes, checkpointBytes, cacheBytes, verifyBytes };
  }

  async run(): Promise<void> {
    for (const life of this.plan.lives) {
      this.lifeNumber++;
      await this.live(life);
      if (life.end.startsWith('flip')) return this.flip();
    }
    this.lifeNumber++;
    const { store } = await this.open();
    await this.checkAll(store);
    await store.close();
  }

  // ---- a life ----

  private async live(life: LifePlan): Promise<void> {
    const { bench, random, totals } = this;
    const { files } = bench;
    const store = await this.lastingOpen(life);
    if (store !== null) {
      files.faults.failingSyncs = life.failingSyncs;
      files.faults.failingReads = life.failingSyncs;
      files.faults.room = files.usedBytes + life.room;
      for (let i = 0; i < life.steps && !this.isCut; i++) await this.step(store);
      files.faults.room = Number.POSITIVE_INFINITY;
      files.faults.failingReads = 0;
    }
    if (life.end === 'close' || life.end === 'flip') {
      files.operationsLeft = Number.POSITIVE_INFINITY;
      files.faults.failingSyncs = 0;
      await this.closeOf(store as DiskStore);
    } else if (!this.isCut && random.chance(0.5)) await settled(200);
    totals.add(`lives ended by ${life.end}`, 1);
    const isCut = life.end === 'power cut';
    this.isCut = true;
    files.operationsLeft = 0; // whatever still runs does nothing more, and nobody hears of it
    bench.files = isCut ? files.afterPowerCut() : files.afterKill();
    if (isCut) bench.settings = { ...bench.settings, boot: `boot ${this.lifeNumber}` };
    totals.addAll('disk ', files.counts);
  }

  /** Null: the power has failed while it was opened. */
  private async lastingOpen(life: LifePlan): Promise<DiskStore | null> {
    const { files } = this.bench;
    this.isCut = false;
    this.failed = false;
    files.faults.shortWrites = life.shortWrites;
    if (life.end !== 'power cut') return (await this.open()).store;
    files.operationsLeft = life.operations;
    const cut = new Promise<null>((resolve) => {
      files.onPowerCut = () => {
        this.isCut = true;
        resolve(null);
      };
    });
    const opened = await Promise.race([this.open(), cut]);
    return opened === null ? null : opened.store;
  }

  private async open() {
    const result = await this.bench.open();
    const { store, report } = result;
    const events = this.events(store);
    store.listener = {
      onNews: () => store.tell(events),
      onFinding: (finding) => fail(`damage was found where there is none: ${finding.message}`),
      onFailure: () => {},
    };
    for (const finding of report.findings) this.totals.add(`found ${finding.kind}`, 1);
    await this.check(store);
    return result;
  }

  private async step(store: DiskStore): Promise<void> {
    const { random, bench } = this;
    const kind = random.below(10);
    if (kind < 6) for (let i = random.between(1, 6); i > 0; i--) this.publish(store);
    else if (kind < 8) this.moveCursor(store);
    else this.readAnywhere(store);
    if (random.chance(0.3)) await bench.clock.pass(random.between(1, 400));
    else await settled(random.below(40));
    if (bench.files.faults.room < Number.POSITIVE_INFINITY && random.chance(0.1)) {
      bench.files.faults.room = Number.POSITIVE_INFINITY;
      await bench.clock.pass(1_100);
    }
  }

  private publish(store: DiskStore): void {
    const { random } = this;
    const log = store.logs[random.below(store.logs.length)];
    const session = random.below(4);
    const sequence = random.below(2);
    const key = `${session} ${sequence}`;
    const id = (this.nextIds.get(key) ?? 0) + random.between(1, 2);
    this.nextIds.set(key, id);
    const size = random.chance(0.1) ? random.between(500, 3_000) : random.below(120);
    const payload = `${this.sent.length}:${'x'.repeat(size)}`;
    const sent: Sent = { log: log.name, session, sequence, id, payload, fate: 'waits', offset: -1 };
    this.sent.push(sent);
    this.append(log, sent);
  }

  private append(log: LogPort, sent: Sent): void {
    const { session, sequence, id, payload } = sent;
    sent.offset = log.append(
      recordOf({ session, sequence, id, payload, publishedAt: this.bench.clock.wallMs() }),
    );
    if (sent.offset === AppendFault.DUPLICATE) fail(`id ${id} of session ${session} is called a duplicate`);
    if (sent.offset < 0) sent.fate = 'refused';
    this.totals.add(sent.offset < 0 ? 'refused at once' : 'appended', 1);
  }

  /** As a reader does who is behind: what is not in memory is loaded meanwhile. */
  private readAnywhere(store: DiskStore): void {
    const { random } = this;
    const log = store.logs[random.below(store.logs.length)];
    if (log.earliest >= log.synced) return;
    const from = random.between(log.earliest, log.synced - 1);
    const records = log.read(from, log.synced, random.between(1, 2_000));
    this.totals.add(records === null ? 'reads from the disk' : 'reads from memory', 1);
    for (const { offset } of records ?? [])
      if (offset < from || offset >= log.synced || log.synced > log.head) fail(`offset ${offset} was read`);
  }

  private moveCursor(store: DiskStore): void {
    const { random } = this;
    const log = store.logs[random.below(store.logs.length)];
    const key = `cursor/${log.name}/${random.below(3)}`;
    if (random.chance(0.2) && store.state.get(key) !== undefined) {
      store.state.delete(key);
      this.changes.push([key, null]);
    } else {
      const value = `${log.synced}`;
      store.state.put(key, Buffer.from(value));
      this.changes.push([key, value]);
    }
    this.writtenBefore = store.state.written;
  }

  private events(store: DiskStore): StoreEvents {
    const life = this.lifeNumber;
    const isOver = () => this.isCut || this.lifeNumber !== life;
    return {
      stored: (log) => {
        if (isOver()) return;
        for (const sent of this.sent) {
          if (sent.log === log.name && sent.fate === 'waits' && sent.offset > 0 && sent.offset < log.synced)
            this.settle(log, sent);
        }
      },
      placed: () => {},
      stateStored: () => {
        if (isOver()) return;
        // What the store writes of its own counts as well; when all is stored, so is all of ours.
        if (store.state.synced >= this.writtenBefore) this.changesStored = this.changes.length;
      },
      loaded: () => {},
      trimmed: () => {},
      storeFailed: (log, failure) => {
        if (!isOver()) this.onFailure(log, failure);
      },
    };
  }

  private settle(log: LogPort, sent: Sent): void {
    sent.fate = 'stored';
    const key = `${log.name} ${log.epoch} ${sent.offset}`;
    const before = this.meant.get(key);
    if (before !== undefined && before !== sent.payload)
      fail(`offset ${sent.offset} of ${log.name} was given twice`);
    this.meant.set(key, sent.payload);
  }

  private onFailure(log: LogPort | null, { fault }: StoreFailure): void {
    this.totals.add(
      `told ${fault === AppendFault.FULL ? 'full' : 'failed'}: ${log === null ? 'state' : 'log'}`,
      1,
    );
    if (fault === AppendFault.FAILED) this.failed = true;
    if (log === null) return;
    for (const sent of this.sent) if (sent.log === log.name && sent.fate === 'waits') sent.fate = 'refused';
    if (log.head !== log.synced) fail('a log has failed and still has records that are not stored');
  }

  private async closeOf(store: DiskStore): Promise<void> {
    try {
      await store.close();
    } catch (error) {
      if (!this.failed) throw error;
    }
  }

  // ---- what is promised ----

  /** After each start; then the publisher sends again what it does not know to be stored. */
  private async check(store: DiskStore): Promise<void> {
    for (const log of store.logs) await this.checkLog(log);
    this.checkState(store);
    this.sendAgain(store);
  }

  private async checkLog(log: LogPort): Promise<void> {
    const isInterval = this.plan.logs[0].sync === 'interval';
    const epoch = this.epochs.get(log.name);
    if (epoch !== undefined && epoch !== log.epoch && !isInterval) fail(`${log.name} has another epoch`);
    const isAsBefore = epoch === undefined || epoch === log.epoch;
    this.epochs.set(log.name, log.epoch);
    const records = await allOf(log);
    const payloads = new Map(records.map((record) => [record.offset, payloadOf(record)]));
    for (let offset = log.earliest; offset < log.head; offset++)
      if (!payloads.has(offset)) fail(`${log.name} has no record ${offset}, and says nothing of it`);
    const options = this.plan.logs.find(({ name }) => name === log.name);
    const isBounded = options?.maxBytes !== undefined || options?.maxMessages !== undefined;
    if (!isBounded && log.earliest !== 1) fail(`${log.name} begins at ${log.earliest}`);
    if (options?.maxMessages !== undefined && records.length > options.maxMessages)
      fail(`${log.name} keeps too many`);
    for (const sent of this.sent) {
      if (
        sent.log !== log.name ||
        sent.fate !== 'stored' ||
        sent.offset < log.earliest ||
        sent.offset === ELSEWHERE
      )
        continue;
      if (!isAsBefore || (isInterval && !payloads.has(sent.offset))) {
        if (isAsBefore) fail(`record ${sent.offset} of ${log.name} is gone, and the epoch is the same`);
        sent.fate = 'refused'; // the machine went down, and that much was never promised
      } else if (payloads.get(sent.offset) !== sent.payload) {
        fail(`record ${sent.offset} of ${log.name} is not what was stored`);
      }
    }
    const times = new Map<string, number>();
    for (const payload of payloads.values()) times.set(payload, (times.get(payload) ?? 0) + 1);
    for (const [payload, count] of times)
      if (count > 1) fail(`${payload.slice(0, 20)} is in ${log.name} ${count} times`);
  }

  private checkState(store: DiskStore): void {
    const actual = [...store.state.entries('cursor/')]
      .map(([key, value]) => `${key}=${Buffer.from(value)}`)
      .sort();
    const values = new Map<string, string>();
    let found = -1;
    for (let n = 0; n <= this.changes.length; n++) {
      if (n > 0) {
        const [key, value] = this.changes[n - 1];
        if (value === null) values.delete(key);
        else values.set(key, value);
      }
      if (n < this.changesStored) continue;
      const expected = [...values].map(([key, value]) => `${key}=${value}`).sort();
      if (expected.join() === actual.join()) found = n;
    }
    if (found === -1) fail(`the state is ${actual}, which it never was since ${this.changesStored} changes`);
    this.changes = this.changes.slice(0, found);
    this.changesStored = found;
    for (const [key, value] of store.state.entries('cursor/')) {
      const log = store.logs.find(({ name }) => name === key.split('/')[1]) as LogPort;
      const isInterval = this.plan.logs[0].sync === 'interval';
      if (Number(Buffer.from(value)) > log.head && !isInterval) fail(`${key} is ahead of its log`);
    }
  }

  private sendAgain(store: DiskStore): void {
    const waiting = this.sent.filter(({ fate }) => fate === 'waits').sort((a, b) => a.id - b.id);
    for (const sent of waiting) {
      const log = store.logs.find(({ name }) => name === sent.log) as LogPort;
      const { session, sequence, id } = sent;
      if (session !== 0 && store.isMissing(session, sequence, id)) {
        sent.fate = 'refused'; // as it was before, which nobody has heard
        this.totals.add('found refused', 1);
        continue;
      }
      if (session !== 0 && id <= store.lastIds(session)[sequence]) {
        sent.fate = 'stored'; // as WELCOME says
        sent.offset = ELSEWHERE;
        this.totals.add('found stored', 1);
        continue;
      }
      if (session === 0) {
        sent.fate = 'refused'; // nobody sends it again
        continue;
      }
      const offset = log.append(
        recordOf({ session, sequence, id, payload: sent.payload, publishedAt: this.bench.clock.wallMs() }),
      );
      if (offset === AppendFault.DUPLICATE) {
        sent.fate = 'stored';
        sent.offset = ELSEWHERE;
        this.totals.add('found duplicate', 1);
      } else if (offset < 0) sent.fate = 'refused';
      else {
        sent.offset = offset;
        this.totals.add('sent again', 1);
      }
    }
  }

  /** In the end each message that was told of as stored is in its log once, if that has not dropped it. */
  private async checkAll(store: DiskStore): Promise<void> {
    await store.idle();
    for (const log of store.logs) {
      const records = await allOf(log);
      const counts = new Map<string, number>();
      for (const record of records) counts.set(payloadOf(record), (counts.get(payloadOf(record)) ?? 0) + 1);
      const isWhole = log.earliest === 1;
      for (const sent of this.sent) {
        if (sent.log !== log.name || sent.fate === 'refused') continue;
        const count = counts.get(sent.payload) ?? 0;
        if (count > 1 || (isWhole && count !== 1))
          fail(`${sent.payload.slice(0, 20)} is in ${log.name} ${count} times (${sent.fate})`);
      }
      this.totals.add('records at the end', records.length);
    }
  }

  // ---- a bit flips ----

  private async flip(): Promise<void> {
    const { bench, random, totals } = this;
    const paths = bench.files.paths();
    const path = paths[random.below(paths.length)];
    const content = bench.files.contentOf(path).slice();
    const byte = random.below(content.length);
    content[byte] ^= 1 << random.below(8);
    bench.files.overwrite(path, content);
    totals.add('flips', 1);
    await checkDamaged(bench, path, (findings, lost) => this.checkFlipped(findings, lost));
  }

  /** What was told of as stored is there, unless it was said to be lost. */
  private async checkFlipped(findings: readonly StoreFinding[], store: DiskStore): Promise<void> {
    for (const log of store.logs) {
      const payloads = new Map((await allOf(log)).map((record) => [record.offset, payloadOf(record)]));
      const isTold = (offset: number) =>
        findings.some(({ log: name, from, until }) => name === log.name && offset >= from && offset < until);
      for (const { log: name, fate, offset, payload } of this.sent) {
        if (name !== log.name || fate !== 'stored' || offset < log.earliest || offset === ELSEWHERE) continue;
        const found = payloads.get(offset);
        if (
          found !== payload &&
          !(found === undefined && isTold(offset)) &&
          log.epoch === this.epochs.get(name)
        ) {
          fail(`record ${offset} of ${name} is gone, and nobody said so`);
        }
      }
    }
  }
}

/**
 * Opens a store that somebody has damaged: it is refused with the file and a repair makes it good, or it says what it has found. Then `check` looks at what there
 * is, with everything that was told.
 */
export async function checkDamaged(
  bench: Bench,
  path: string,
  check: (findings: readonly StoreFinding[], store: DiskStore) => Promise<void>,
): Promise<'refused' | 'told' | 'unharmed'> {
  const told: StoreFinding[] = [];
  let isRefused = false;
  let opened = await bench.open().catch((error: unknown) => {
    if (!(error instanceof StoreDamagedError)) throw error;
    const name = path.slice(DIRECTORY.length + 1);
    if (!error.findings.some(({ file }) => file === name || name.startsWith('manifest'))) {
      fail(`${name} is damaged, and refused was ${error.message}`);
    }
    told.push(...error.findings);
    isRefused = true;
    return null;
  });
  if (opened === null) {
    const report = await repairStore(bench.files, DIRECTORY, systemSurroundings(bench.surroundings()));
    told.push(...report.findings);
    opened = await bench.open();
  }
  told.push(...opened.report.findings);
  opened.store.listener = {
    onNews: () => {},
    onFinding: (finding) => told.push(finding),
    onFailure: () => {},
  };
  await check(told, opened.store);
  await opened.store.close();
  return isRefused ? 'refused' : told.length > 0 ? 'told' : 'unharmed';
}

/** A world takes some ms; only one that waits for what never comes takes as long. */
const HANGS_MS = 30_000;
/** The offset of a message of which the publisher was told only that it is stored. */
const ELSEWHERE = Number.POSITIVE_INFINITY;

function fail(message: string): never {
  throw new Error(message);
}
