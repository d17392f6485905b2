import { expect, test } from 'vitest';
import { ClaimedIds, IDS_KEYS } from '../../../src/broker/core/backplane/claimed-ids.ts';
import { Session, SessionState } from '../../../src/broker/core/session/session.ts';
import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import type { LogPort, StoredRecord } from '../../../src/broker/core/store-port.ts';
import { Timers } from '../../../src/broker/core/timers.ts';
import { publishPrefix } from '../../../src/pubsub/command.ts';

/** A log of small records of one session, which are read so many at a time when a test lets them be. */
class SlowLog {
  readonly name: string;
  readonly filters = [];
  readonly isDurable = true;
  readonly epoch = 5;
  readonly earliest = 1;
  head = 1;
  /** From where it was read. */
  readonly reads: number[] = [];
  private readonly records: { session: number; id: number }[] = [];
  private readonly counts = new Map<number, number>();
  private loaded = 0;
  private readonly command: Buffer;

  constructor(name: string, command = COMMAND) {
    this.name = name;
    this.command = command;
  }

  get synced(): number {
    return this.head;
  }

  /** So many records of a session, with ids from 1 on. */
  grow(count: number, session: number): void {
    const before = this.counts.get(session) ?? 0;
    for (let i = 1; i <= count; i++) this.records.push({ session, id: before + i });
    this.counts.set(session, before + count);
    this.head += count;
  }

  /** Records up to this offset can be read. */
  load(until: number): void {
    this.loaded = until;
  }

  read(from: number, until: number): readonly StoredRecord[] | null {
    this.reads.push(from);
    const end = Math.min(until, this.loaded, from + 1_000);
    if (end <= from) return null;
    return this.records.slice(from - 1, end - 1).map((record, i) => ({
      ...{ ...record, offset: from + i, sequence: 2, command: this.command, topicEnd: 9 },
      ...{ publishedAt: 0, expiresAt: 0 },
    }));
  }
}

class Node {
  readonly logs: readonly SlowLog[];
  readonly timers = new Timers();
  readonly ids: ClaimedIds;
  readonly faults: unknown[] = [];
  private readonly store: MemoryStore;
  private nowMs = 0;

  constructor(...logs: readonly SlowLog[]) {
    this.logs = logs;
    const { state } = new MemoryStore();
    const store = { logs: logs as unknown as LogPort[], state } as unknown as MemoryStore;
    this.store = store;
    const now = () => this.nowMs;
    this.ids = new ClaimedIds({
      ...{ store, timers: this.timers, wallMs: 0 },
      get nowMs() {
        return now();
      },
      storedAnswers: { whenLogsAreSafe: (act) => act() },
      publishers: { refusedOf: () => [], recallRefused: () => {} },
      claims: { holds: () => true },
      reportFault: (error) => this.faults.push(error),
    });
  }

  connect(name: string, number: number): Session {
    const session = new Session(null, name, number, 1);
    session.expiryMs = 60_000;
    session.state = SessionState.PRESENT;
    this.ids.begin(session);
    return session;
  }

  /** A session comes from another node, with what that has noted of it. Returns what has become of it. */
  take(name: string, number: number, noted: Uint8Array | undefined): { session: Session; isKnown: boolean } {
    const session = new Session(null, name, number, 1);
    session.expiryMs = 60_000;
    this.ids.takeUp(session, noted);
    const taken = { session, isKnown: false };
    this.ids.whenKnown(session, () => {
      taken.isKnown = true;
    });
    return taken;
  }

  noted(name: string): Uint8Array | undefined {
    return this.store.state.get(IDS_KEYS + name);
  }

  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    for (;;) {
      const next = Math.min(endMs, Math.max(this.nowMs, this.timers.nextMs));
      this.nowMs = next;
      const timer = this.timers.takeDue(next);
      if (timer === null) break;
      timer.run();
    }
  }
}

/** Where a node that takes it up reads the only log from. */
function readFrom(noted: Uint8Array | undefined, log: SlowLog): number {
  const node = new Node(log);
  log.reads.length = 0;
  node.take('of the test', 99, noted);
  return log.reads[0] ?? log.head; // nothing is to be read
}

test('what there is to read of the logs for a session stays little, though its client publishes nothing [CLU-28]', () => {
  const log = new SlowLog('default');
  const node = new Node(log);
  node.connect('reads', 1);
  for (let round = 0; round < 5; round++) {
    log.grow(10_000, 2);
    node.pass(2_000);
  }
  log.grow(8_000, 2);
  node.pass(2_000);
  expect(readFrom(node.noted('reads'), log)).toBe(50_001);
});

test('of many that publish nothing a few at a time are noted, those first of which the most is to be read [CLU-28]', () => {
  const log = new SlowLog('default');
  const node = new Node(log);
  for (let i = 1; i <= 100; i++) node.connect(`s${i}`, i);
  const places = () => Array.from({ length: 100 }, (_, i) => readFrom(node.noted(`s${i + 1}`), log));
  log.grow(10_000, 200);
  node.pass(2_000);
  expect(places().filter((from) => from > 1).length).toBe(32);
  node.pass(6_000);
  expect(places().filter((from) => from > 1).length).toBe(100);
});

test('a session goes on at the next node where the logs were read for it at the one before, whose client did not wait for all of it [CLU-28]', () => {
  const log = new SlowLog('default');
  const first = new Node(log);
  first.connect('x', 1);
  log.grow(3_000, 1);
  log.grow(60_000, 2);
  let noted = first.noted('x');
  for (const reached of [20_000, 40_000]) {
    const node = new Node(log);
    log.load(reached);
    const { session: taken, isKnown } = node.take('x', 1, noted);
    expect(isKnown).toBe(false);
    node.ids.settle(taken);
    node.ids.onMoved(taken);
    noted = node.noted('x');
    expect(readFrom(noted, log)).toBe(reached);
    expect(node.faults).toEqual([]);
  }
  log.load(log.head);
  const last = new Node(log);
  const taken = last.take('x', 1, noted);
  expect(taken.isKnown).toBe(true);
  expect(taken.session.sequences.lastIds[2]).toBe(3_000);
});

test('it does not where several logs have something of it, for only all of them say what none has [CLU-28]', () => {
  const [one, two] = [new SlowLog('one'), new SlowLog('two')];
  const first = new Node(one, two);
  first.connect('x', 1);
  one.grow(5_000, 1);
  two.grow(5_000, 2);
  const node = new Node(one, two);
  one.load(3_000);
  const { session } = node.take('x', 1, first.noted('x'));
  node.ids.settle(session);
  expect(node.noted('x')).toBeUndefined();
});

test('those of which little is to be read do not wait for those of which much is [CLU-28]', () => {
  const log = new SlowLog('default');
  const before = new Node(log);
  before.connect('far', 1);
  log.grow(60_000, 3);
  before.connect('near', 2);
  log.grow(1_000, 2);
  const node = new Node(log);
  const known: string[] = [];
  const take = (name: string, number: number, noted: Uint8Array | undefined) => {
    const { session } = node.take(name, number, noted);
    node.ids.whenKnown(session, () => known.push(name));
    return session;
  };
  const gone = take('gone', 4, before.noted('far'));
  take('far', 1, before.noted('far'));
  const near = take('near', 2, before.noted('near'));
  log.reads.length = 0;
  log.load(log.head);
  node.ids.onMoved(gone); // nobody waits any more for what was being read
  for (let i = 0; i < 3; i++) node.pass(1);
  expect(log.reads[0]).toBe(60_001);
  expect(known).toEqual(['gone', 'near', 'far']);
  expect(near.sequences.lastIds[2]).toBe(1_000);
});

test('a log is read for them some megabytes a turn, and in the next turn it goes on by itself [CLU-28]', () => {
  const log = new SlowLog('default', Buffer.concat([COMMAND, Buffer.alloc(4_096)]));
  const before = new Node(log);
  before.connect('x', 1);
  log.grow(5_000, 1);
  log.load(log.head);
  const node = new Node(log);
  const taken = node.take('x', 1, before.noted('x'));
  expect(taken.isKnown).toBe(false);
  expect(log.reads).toEqual([1, 1_001]);
  node.pass(0);
  expect(taken.isKnown).toBe(true);
  expect(taken.session.sequences.lastIds[2]).toBe(5_000);
});

const COMMAND = publishPrefix('t');
