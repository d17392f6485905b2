import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ClusterLog } from '../../../../src/broker/backplane/log/cluster-log.ts';
import {
  AppendFault,
  type LogRecord,
  type StoredRecord,
  type StoreEvents,
} from '../../../../src/broker/core/store-port.ts';
import { HEADER_BYTES, PublishFlag, publishPrefix } from '../../../../src/pubsub/command.ts';
import { encodeProperties } from '../../../../src/pubsub/properties.ts';
import { StoreClock } from '../../store/store-clock.ts';
import { ModelEngine, ModelStream } from './model-stream.ts';

interface Placed {
  readonly offset: number;
  readonly isDuplicate: boolean;
}

/** A node of a cluster with one log, whose news is heard at once. */
class Node {
  readonly stream: ModelStream;
  readonly clock = new StoreClock();
  readonly log: ClusterLog;
  readonly placed: Placed[] = [];
  readonly told: string[] = [];
  onHead: (() => void) | null = null;

  constructor(engine: ModelEngine, life = 'a') {
    this.stream = new ModelStream(engine);
    const events: StoreEvents = {
      placed: (_log, _ticket, offset, isDuplicate) => this.placed.push({ offset, isDuplicate }),
      stored: () => this.told.push('stored'),
      loaded: () => {
        this.told.push('loaded');
        this.onHead?.();
      },
      trimmed: () => this.told.push('trimmed'),
      begunAnew: () => this.told.push('begun anew'),
      stateStored: () => {},
      storeFailed: () => {},
    };
    this.log = new ClusterLog({ name: 'default' }, this.stream, engine.extent, {
      clock: this.clock,
      life,
      push: (tell) => tell(events),
      onPlaced: () => {},
    });
  }

  /** All records in [from, until), as who reads gets them that asks again when something was loaded. */
  readAll(from: number, until = this.log.head, bytesMax = 65_536): StoredRecord[] {
    const found: StoredRecord[] = [];
    for (let at = from; at < until; ) {
      const records = this.log.read(at, until, bytesMax);
      if (records === null) {
        if (this.stream.asked.length + this.stream.answers.length === 0) throw new Error('nothing comes');
        this.stream.settle();
      } else if (records.length === 0) break;
      else {
        found.push(...records);
        at = records[records.length - 1].offset + 1;
      }
    }
    return found;
  }
}

const offsetsOf = (records: readonly StoredRecord[]) => records.map(({ offset }) => offset);

describe('a record that is appended', () => {
  test('is on its way until the engine has it, and is then told with its offset, in the order of appends [CLU-30]', () => {
    const node = new Node(new ModelEngine());
    expect([1, 2, 3].map((id) => node.log.append(recordOf('a', { id })))).toEqual([
      AppendFault.PENDING,
      AppendFault.PENDING,
      AppendFault.PENDING,
    ]);
    expect([node.log.lastTicket, node.log.placedTicket, node.placed]).toEqual([3, 0, []]);
    node.stream.step(2);
    expect(node.placed).toEqual([
      { offset: 1, isDuplicate: false },
      { offset: 2, isDuplicate: false },
    ]);
    expect([node.log.head, node.log.synced, node.log.placedTicket]).toEqual([3, 3, 2]);
  });

  test('is handed over again under its name when the engine comes back, behind nothing that came later [CLU-32] [CLU-34]', () => {
    const engine = new ModelEngine();
    const node = new Node(engine);
    for (const id of [1, 2, 3]) node.log.append(recordOf('a', { id }));
    node.stream.cut(1); // the engine has the first, and nobody knows
    node.log.append(recordOf('a', { id: 4 }));
    node.stream.mend();
    node.stream.settle();
    expect(node.placed).toEqual([1, 2, 3, 4].map((offset) => ({ offset, isDuplicate: offset === 1 })));
    expect(engine.records.map(({ name }) => name)).toEqual(['9:1:1', '9:1:2', '9:1:3', '9:1:4']);
  });

  test('is refused when no engine has answered for 8 s, and what comes then at once; it goes on when the engine answers [CLU-34]', async () => {
    const node = new Node(new ModelEngine());
    node.log.append(recordOf('a', { id: 1 }));
    node.stream.cut(0);
    await node.clock.pass(7_000);
    expect(node.placed).toEqual([]);
    await node.clock.pass(1_500);
    expect(node.placed).toEqual([{ offset: AppendFault.UNREACHABLE, isDuplicate: false }]);
    expect(node.log.append(recordOf('a', { id: 2 }))).toBe(AppendFault.UNREACHABLE);
    node.stream.mend();
    expect(node.log.append(recordOf('a', { id: 2 }))).toBe(AppendFault.UNREACHABLE);
    node.stream.settle();
    expect(node.log.append(recordOf('a', { id: 2 }))).toBe(AppendFault.PENDING);
  });

  test('of an engine that was gone for as long before is refused at once [CLU-34]', async () => {
    const node = new Node(new ModelEngine());
    node.stream.cut(0);
    await node.clock.pass(9_000);
    expect(node.log.append(recordOf('a', { id: 1 }))).toBe(AppendFault.UNREACHABLE);
  });

  test('is looked after by one timer, however many are on their way, and by none when none is', async () => {
    const node = new Node(new ModelEngine());
    for (let id = 1; id <= 5; id++) node.log.append(recordOf('a', { id }));
    expect(node.clock.pending).toBe(1);
    node.stream.settle();
    await node.clock.pass(1_000);
    expect(node.clock.pending).toBe(0);
  });

  test('goes again to an engine that is there and silent, and to one that did not take it for now', async () => {
    const node = new Node(new ModelEngine());
    node.log.append(recordOf('a', { id: 1 }));
    node.stream.asked.length = 0; // lost on the way
    await node.clock.pass(3_000);
    node.stream.settle();
    expect(node.placed).toEqual([{ offset: 1, isDuplicate: false }]);
    node.stream.refusals = [null, null];
    for (const id of [2, 3]) node.log.append(recordOf('a', { id }));
    node.stream.settle();
    expect(node.placed).toHaveLength(1);
    await node.clock.pass(300);
    node.stream.settle();
    expect(node.placed.slice(1)).toEqual([
      { offset: 2, isDuplicate: false },
      { offset: 3, isDuplicate: false },
    ]);
  });

  test('that a silent engine was handed twice is answered twice; the second answer is no answer to what came since [CLU-30]', async () => {
    const engine = new ModelEngine();
    const { log, stream, clock, placed } = new Node(engine);
    for (let id = 1; id <= 8; id++) log.append(recordOf('a', { id }));
    await clock.pass(3_000); // all goes once more, and then the engine is back
    stream.step(8);
    expect(placed).toHaveLength(8);
    for (let id = 9; id <= 24; id++) log.append(recordOf('a', { id }));
    stream.step(8); // the second answers
    expect(placed).toHaveLength(8);
    stream.settle();
    expect(placed.map(({ offset }) => offset)).toEqual(engine.records.map(({ offset }) => offset));
    expect(placed).toHaveLength(24);
  });

  test('that was not taken is refused where one behind it of its session was: it would come out of order [CLU-34]', async () => {
    const engine = new ModelEngine();
    const node = new Node(engine);
    node.stream.refusals = [null];
    node.log.append(recordOf('a', { id: 1 }));
    node.log.append(recordOf('a', { id: 1, session: 8 }));
    node.log.append(recordOf('a', { id: 2 }));
    node.stream.settle();
    await node.clock.pass(300);
    node.stream.settle();
    expect(node.placed.map(({ offset }) => offset)).toEqual([AppendFault.UNREACHABLE, 1, 2]);
  });

  test('that the engine refuses for good is told so, and one that is too large for it at once', () => {
    const node = new Node(new ModelEngine());
    node.stream.refusals = [AppendFault.FULL];
    node.log.append(recordOf('a', { id: 1 }));
    node.stream.settle();
    expect(node.placed).toEqual([{ offset: AppendFault.FULL, isDuplicate: false }]);
    expect(node.log.append(recordOf('x'.repeat(1_000), { id: 2 }))).toBe(AppendFault.TOO_LARGE);
  });

  test('with the name of another message, at another node too, is known as its repetition, or where it is another one refused [BRK-91] [CLU-32]', () => {
    const engine = new ModelEngine();
    const [one, other] = [new Node(engine, 'a'), new Node(engine, 'b')];
    for (const [node, name] of [
      [one, 'n'],
      [other, 'n'],
      [one, 'p\x1f1'],
      [other, 'p\x1f1'],
      [other, 'p\x1f2'],
    ] as const) {
      node.log.append(named('x', name));
      node.stream.settle();
    }
    expect(one.placed.map(({ offset }) => offset)).toEqual([1, 2]);
    expect(other.placed).toEqual([
      { offset: 1, isDuplicate: true },
      { offset: 2, isDuplicate: true },
      { offset: AppendFault.CONTRADICTION, isDuplicate: false },
    ]);
  });
});

describe('a log that is read', () => {
  test('has what all nodes have written, as far back as it goes, and holes where it has dropped something [CLU-33]', () => {
    const engine = new ModelEngine();
    const [one, other] = [new Node(engine, 'a'), new Node(engine, 'b')];
    for (let id = 1; id <= 20; id++)
      (id % 2 === 0 ? one : other).log.append(recordOf(`${id}`, { id, session: id }));
    one.stream.settle();
    other.stream.settle();
    const late = new Node(engine, 'c');
    expect(offsetsOf(late.readAll(1))).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    const { reads } = late.stream;
    expect(offsetsOf(late.readAll(5, 9))).toEqual([5, 6, 7, 8]);
    expect(late.stream.reads).toBe(reads); // from memory
    engine.records.splice(9, 3);
    expect(offsetsOf(new Node(engine, 'd').readAll(9))).toEqual([9, 13, 14, 15, 16, 17, 18, 19, 20]);
  });

  test('tells those who follow it of what others write, and where it ends whoever asks [CLU-33]', () => {
    const engine = new ModelEngine();
    const [one, other] = [new Node(engine, 'a'), new Node(engine, 'b')];
    expect(one.log.headNow()).toBe(null);
    let head: number | null = null;
    one.onHead = () => {
      one.onHead = null;
      head = one.log.headNow();
    };
    other.log.append(recordOf('1', { id: 1 }));
    other.stream.settle();
    one.stream.settle();
    expect(head).toBe(2);
    one.log.follow(true);
    one.stream.settle();
    other.log.append(recordOf('2', { id: 2 }));
    other.stream.settle();
    expect(one.log.head).toBe(2);
    one.stream.bring();
    one.stream.settle();
    expect(one.log.head).toBe(3);
    expect(textsOf(one.readAll(2))).toEqual(['2']);
    expect(one.stream.reads).toBe(0);
  });

  test('is followed for 10 s more when nobody reads it, and for good where somebody does again meanwhile', async () => {
    const node = new Node(new ModelEngine());
    node.log.follow(true);
    node.stream.settle();
    node.log.follow(false);
    await node.clock.pass(9_000);
    node.log.follow(true);
    await node.clock.pass(9_000);
    node.stream.settle();
    expect(node.stream.isFollowed).toBe(true);
    node.log.follow(false);
    await node.clock.pass(9_999);
    expect(node.stream.isFollowed).toBe(true);
    await node.clock.pass(1);
    expect(node.stream.isFollowed).toBe(false);
  });

  test.each([true, false])('leaves no timer behind when it is closed (read: %s)', (isRead) => {
    const node = new Node(new ModelEngine());
    node.log.append(recordOf('a', { id: 1 }));
    node.log.follow(true);
    node.log.follow(isRead);
    expect(node.clock.pending).toBeGreaterThan(1);
    node.log.close();
    expect(node.clock.pending).toBe(0);
  });

  test('that is out of reach has its last known end, and those who wait for records get them when it is back [CLU-33]', () => {
    const engine = new ModelEngine();
    const [one, other] = [new Node(engine, 'a'), new Node(engine, 'b')];
    other.log.append(recordOf('1', { id: 1 }));
    other.stream.settle();
    one.log.headNow();
    one.stream.settle();
    expect(one.log.read(1, 2, 0)).toBe(null);
    one.stream.cut(0);
    expect(one.log.headNow()).toBe(2);
    expect(one.log.read(1, 2, 0)).toBe(null);
    one.told.length = 0;
    one.stream.mend();
    expect(one.told).toContain('loaded');
    expect(textsOf(one.readAll(1))).toEqual(['1']);
  });

  test('that an engine which is there does not give for now is asked for again half a second later [CLU-33]', async () => {
    const node = new Node(new ModelEngine());
    node.log.append(recordOf('1', { id: 1, publishedAt: 100 }));
    node.stream.settle();
    for (const ask of [() => node.log.read(1, 2, 65_536), () => node.log.firstAt(50)]) {
      node.stream.failures = 1;
      node.told.length = 0;
      expect(ask()).toBe(null);
      node.stream.settle();
      await node.clock.pass(499);
      expect(node.told).toEqual([]);
      await node.clock.pass(1);
      expect(node.told).toEqual(['loaded']);
      expect(ask()).toBe(null);
      node.stream.settle();
      expect(ask()).not.toBe(null);
    }
  });

  test('says what it has dropped before it goes on behind that [BRK-71]', () => {
    const engine = new ModelEngine();
    const node = new Node(engine);
    for (let id = 1; id <= 10; id++) node.log.append(recordOf(`${id}`, { id }));
    node.stream.settle();
    engine.trim(8);
    expect(node.log.read(3, 11, 65_536)).toBe(null);
    node.stream.settle();
    expect(node.told.slice(-2)).toEqual(['trimmed', 'loaded']);
    expect(node.log.earliest).toBe(8);
    expect(offsetsOf(node.readAll(8))).toEqual([8, 9, 10]);
  });

  test('leaves out a repetition that the engine did not know any more, for whoever reads in order [CLU-32]', () => {
    const engine = new ModelEngine();
    const [one, other] = [new Node(engine, 'a'), new Node(engine, 'b')];
    for (const [node, id] of [
      [one, 1],
      [one, 2],
      [other, 1],
      [other, 2],
      [one, 3],
    ] as const) {
      engine.forgetNames();
      node.log.append(recordOf(`${id}`, { id }));
      node.stream.settle();
    }
    expect(engine.records).toHaveLength(5);
    const reader = new Node(engine, 'c');
    expect(textsOf(reader.readAll(1))).toEqual(['1', '2', '3']);
    expect(textsOf(reader.readAll(3))).toEqual(['3']); // again, from anywhere
    expect(reader.log.figures.repeated).toBe(2);
  });

  test('that was removed, or has lost what it had acknowledged, is another one for all that is known of it [CLU-36]', () => {
    for (const isRemoved of [true, false]) {
      const engine = new ModelEngine();
      const node = new Node(engine);
      for (const id of [1, 2, 3]) node.log.append(recordOf(`${id}`, { id }));
      node.log.follow(true);
      node.stream.settle();
      expect(offsetsOf(node.readAll(1))).toEqual([1, 2, 3]);
      const { epoch } = node.log;
      node.stream.cut(0);
      engine.lose(isRemoved ? 1 : 3);
      if (isRemoved) engine.epoch = 99;
      node.told.length = 0;
      node.stream.mend();
      node.stream.settle();
      expect(node.told.filter((each) => each === 'begun anew')).toHaveLength(1);
      expect(node.log.epoch).not.toBe(epoch);
      expect(node.log.head).toBe(isRemoved ? 1 : 3);
      node.log.append(recordOf('new', { id: 3 }));
      node.stream.settle();
      expect(textsOf(node.readAll(1)).at(-1)).toBe('new');
    }
  });

  test('that has lost something is another one before anything is appended to it: nothing comes in the place of what was lost, unseen [CLU-36]', () => {
    const engine = new ModelEngine();
    const node = new Node(engine);
    for (const id of [1, 2, 3]) node.log.append(recordOf(`${id}`, { id }));
    node.log.follow(true);
    node.stream.settle();
    const { epoch } = node.log;
    for (const id of [4, 5, 6]) node.log.append(recordOf(`${id}`, { id }));
    node.stream.cut(0);
    engine.lose(3);
    node.stream.mend();
    while (engine.epoch === epoch) node.stream.step();
    expect(engine.head).toBe(3);
    node.stream.settle();
    expect(node.placed.slice(3).map(({ offset }) => offset)).toEqual([3, 4, 5]);
    expect(node.told.filter((each) => each === 'begun anew')).toHaveLength(1);
    expect(node.log.epoch).toBe(engine.epoch);
    expect(textsOf(node.readAll(1))).toEqual(['1', '2', '4', '5', '6']);
  });

  test('finds the first record of a time', () => {
    const engine = new ModelEngine();
    const node = new Node(engine);
    for (const [i, publishedAt] of [100, 200, 300].entries())
      node.log.append(recordOf('x', { id: i + 1, publishedAt }));
    node.stream.settle();
    for (const [timeMs, offset] of [
      [150, 2],
      [400, 4],
    ] as const) {
      expect(node.log.firstAt(timeMs)).toBe(null);
      node.stream.settle();
      expect(node.log.firstAt(timeMs)).toBe(offset);
    }
  });
});

test('whatever happens on the way, what is told as placed is in the log, once, and in the order of its session [CLU-30] [CLU-32] [CLU-34]', async () => {
  const action = fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 20 }));
  await fc.assert(
    fc.asyncProperty(fc.array(action, { maxLength: 120 }), async (actions) => {
      const engine = new ModelEngine();
      const nodes = [new Node(engine, 'a'), new Node(engine, 'b')];
      const sent: string[][] = [[], []];
      const ids = [0, 0];
      // What is not taken is told, before anything is lost or handed over twice: else the order could not be kept.
      const isRefusing = [false, false];
      const settle = (which: number) => {
        nodes[which].stream.settle();
        nodes[which].stream.refusals.length = 0;
        isRefusing[which] = false;
      };
      for (const [kind, arg] of actions) {
        const which = arg % 2;
        const { log, stream, clock } = nodes[which];
        if (kind <= 4) {
          for (let more = arg >> 1; more >= 0; more--) {
            const id = ++ids[which];
            const text = `${which}:${id}`;
            if (log.append(recordOf(text, { id, session: 1 + which })) === AppendFault.PENDING)
              sent[which].push(text);
          }
        } else if (kind === 5) stream.step(arg);
        else if (kind === 6) {
          if (isRefusing[which]) settle(which);
          stream.cut(arg);
        } else if (kind === 7) stream.mend();
        else if (kind === 8) {
          stream.settle();
          stream.refusals.push(null);
          isRefusing[which] = true;
        } else {
          if (arg < 14 || isRefusing[which]) settle(which); // else it is taken for silent, and is handed everything twice
          await clock.pass(arg * 200);
        }
      }
      for (const [which, node] of nodes.entries()) {
        node.stream.mend();
        for (let i = 0; i < 60; i++) {
          node.stream.settle();
          await node.clock.pass(250);
        }
        expect(node.placed).toHaveLength(sent[which].length);
        expect(node.log.figures.pending).toBe(0);
      }
      const reader = new Node(engine, 'c');
      const read = reader.readAll(1);
      const texts = textsOf(read);
      expect(new Set(texts).size).toBe(texts.length);
      for (const [which, { placed }] of nodes.entries()) {
        for (const [i, { offset }] of placed.entries()) {
          if (offset > 0) expect(read[offset - 1] && textsOf([read[offset - 1]])[0]).toBe(sent[which][i]);
        }
        const own = read.filter(({ session }) => session === 1 + which).map(({ id }) => id);
        expect(own).toEqual([...own].sort((a, b) => a - b));
      }
    }),
    { numRuns: 150 },
  );
});

function recordOf(text: string, of: Partial<LogRecord>): LogRecord {
  const command = Buffer.concat([publishPrefix('t', PublishFlag.QOS1, 1), Buffer.from(text)]);
  return {
    command,
    topicEnd: HEADER_BYTES + 1,
    session: 9,
    sequence: 1,
    id: 0,
    expiresAt: 0,
    publishedAt: 1,
    ...of,
  };
}

function named(text: string, messageId: string): LogRecord {
  const properties = encodeProperties({ messageId });
  const prefix = publishPrefix('t', PublishFlag.QOS1 | PublishFlag.PROPERTIES, 1);
  return { ...recordOf('', { session: 0 }), command: Buffer.concat([prefix, properties, Buffer.from(text)]) };
}

function textsOf(records: readonly StoredRecord[]): string[] {
  return records.map(({ command, topicEnd }) => Buffer.from(command.subarray(topicEnd)).toString());
}
