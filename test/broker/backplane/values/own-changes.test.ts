import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type NumberedChange,
  OwnChanges,
  type ValueEngine,
} from '../../../../src/broker/backplane/values/own-changes.ts';
import type { BackplaneEvents } from '../../../../src/broker/core/backplane/backplane-port.ts';
import type { LogPlace } from '../../../../src/broker/core/backplane/value-port.ts';
import { type FakeValues, ValueStream } from '../fake-values.ts';

const at = (offset: number, epoch = 1): LogPlace => ({ log: 'default', epoch, offset });

/** Nodes that keep values of one topic, and what they are told of what they have kept. */
class Nodes {
  readonly stream = new ValueStream();
  readonly told: string[] = [];
  private readonly nodes: FakeValues[];

  constructor(count: number) {
    this.nodes = Array.from({ length: count }, (_, i) =>
      this.stream.join(`n${i}`, (tell) =>
        tell({
          valuePlaced: (_topic, number) => void this.told.push(`n${i} placed ${number}`),
          valueOutdone: (_topic, number, latest) => {
            const has = latest === null || latest === 'to come' ? `${latest}` : textOf(latest.record);
            this.told.push(`n${i} outdone ${number} ${has}`);
          },
          valuesStored: () => {},
          valueChanged: () => {},
        } as Partial<BackplaneEvents> as BackplaneEvents),
      ),
    );
    for (const node of this.nodes) node.isSlow = true;
  }

  node(i: number): FakeValues {
    return this.nodes[i];
  }

  keep(i: number, text: string | null, place: LogPlace | null, revision = 0): void {
    const record = text === null ? null : Buffer.from(text);
    this.nodes[i].put({ topic: 't', record, place, revision, isConditional: false });
  }

  takeAway(i: number, revision: number, place: LogPlace | null): void {
    this.nodes[i].put({ topic: 't', record: null, place, revision, isConditional: true });
  }

  /** What the topic has. */
  get value(): string {
    return textOf(this.stream.latestOf('t')?.record ?? null);
  }
}

const textOf = (record: Uint8Array | null) => (record === null ? '-' : Buffer.from(record).toString());

describe('a value whose message is in a log [CLU-45]', () => {
  test('does not replace a later one, however late its node gets to it, and that node is told of the later one', () => {
    const nodes = new Nodes(2);
    nodes.node(1).isSlow = false;
    nodes.keep(0, 'one', at(1));
    nodes.keep(1, 'two', at(2));
    nodes.node(0).listen();
    nodes.node(0).send();
    expect(nodes.value).toBe('two');
    expect(nodes.told).toEqual(['n1 placed 1', 'n0 outdone 1 two']);
  });

  test('replaces an earlier one of which its node has not heard', () => {
    const nodes = new Nodes(2);
    nodes.keep(0, 'two', at(2));
    nodes.keep(1, 'one', at(1));
    nodes.node(1).send();
    nodes.node(0).send();
    expect(nodes.value).toBe('two');
  });

  test('does not come back where a later message, or what took a later value away, has taken it away', () => {
    for (const isByItself of [false, true]) {
      const nodes = new Nodes(2);
      nodes.node(1).isSlow = false;
      nodes.keep(0, 'one', at(1));
      if (isByItself) {
        nodes.keep(1, 'two', at(2));
        nodes.takeAway(1, 1, at(2));
      } else nodes.keep(1, null, at(2));
      nodes.node(0).send();
      expect(nodes.value).toBe('-');
    }
  });

  test('is not compared with one of a log of another epoch, of another log, or of none: it is later than what was there', () => {
    for (const other of [at(9, 2), { ...at(9), log: 'other' }, null]) {
      const nodes = new Nodes(2);
      nodes.keep(1, 'other', other);
      nodes.node(1).send();
      nodes.keep(0, 'one', at(1));
      nodes.node(0).send();
      expect(nodes.value).toBe('one');
    }
  });

  test('is the one that is last in the log in the end, whatever the order in which nodes are heard, cut off and come back', () => {
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ node: fc.nat(2), keeps: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ sends: fc.nat(2) }) },
      { weight: 2, arbitrary: fc.record({ listens: fc.nat(2) }) },
      { weight: 1, arbitrary: fc.record({ cuts: fc.nat(2), isCut: fc.boolean() }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), fc.infiniteStream(fc.nat(3)), (steps, delays) => {
        const nodes = new Nodes(3);
        const late: { node: number; offset: number; keeps: boolean; in: number }[] = [];
        let offset = 0;
        const known: number[] = [0, 0, 0];
        const keep = (node: number, place: number, keeps: boolean) => {
          // A core refuses by itself what is behind a value that it has kept.
          if (place < known[node]) return;
          known[node] = place;
          nodes.keep(node, keeps ? `${place}` : null, at(place));
        };
        for (const each of steps) {
          if ('sends' in each) nodes.node(each.sends).send();
          else if ('listens' in each) nodes.node(each.listens).listen();
          else if ('cuts' in each) nodes.node(each.cuts).cut(each.isCut);
          else late.push({ ...each, offset: ++offset, in: delays.next().value as number });
          for (const one of late) if (one.in-- === 0) keep(one.node, one.offset, one.keeps);
        }
        const last = late.at(-1);
        for (const one of late) if (one.in >= 0) keep(one.node, one.offset, one.keeps);
        for (let i = 0; i < 3; i++) {
          nodes.node(i).cut(false);
          nodes.node(i).send();
        }
        for (let i = 0; i < 3; i++) nodes.node(i).listen();
        if (last !== undefined) expect(nodes.value).toBe(last.keeps ? `${last.offset}` : '-');
        for (let i = 0; i < 3; i++) expect(nodes.node(i).synced).toBe(nodes.node(i).written);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a value that is in no log [CLU-45]', () => {
  test('is later than what was there before it, though its node has not heard of that', () => {
    const nodes = new Nodes(2);
    nodes.keep(1, 'theirs', null);
    nodes.node(1).send();
    nodes.keep(0, 'ours', null);
    nodes.node(0).send();
    expect(nodes.value).toBe('ours');
  });

  test('that has waited for the backplane is earlier than what others have published meanwhile', () => {
    for (const isBefore of [true, false]) {
      const nodes = new Nodes(2);
      if (isBefore) nodes.keep(0, 'ours', null);
      nodes.node(0).cut(true);
      if (!isBefore) nodes.keep(0, 'ours', null);
      nodes.keep(1, 'theirs', at(5));
      nodes.node(1).send();
      nodes.node(0).cut(false);
      nodes.node(0).send();
      expect(nodes.value).toBe('theirs');
      nodes.node(0).listen();
      expect(nodes.told).toContain('n0 outdone 1 to come');
    }
  });

  test('and has waited stays where others have published nothing meanwhile, and only taken away what was there before', () => {
    const nodes = new Nodes(2);
    nodes.keep(0, 'before', null);
    nodes.node(0).send();
    nodes.node(0).cut(true);
    nodes.keep(0, 'ours', null, 1);
    nodes.takeAway(1, 1, null);
    nodes.node(1).send();
    nodes.node(0).cut(false);
    nodes.node(0).send();
    expect(nodes.value).toBe('ours');
  });
});

describe('a change of which the answer was lost [CLU-44]', () => {
  test('is not made twice, and is told as placed', () => {
    const nodes = new Nodes(1);
    const node = nodes.node(0);
    nodes.keep(0, 'one', null);
    node.cut(true);
    node.cut(false); // both attempts arrive, and the answer to the first is one to something that is over
    node.send();
    expect(nodes.stream.revision).toBe(1);
    node.listen();
    expect(nodes.told).toEqual(['n0 placed 1']);
  });

  test('and that another one has replaced before it was heard of gives way to that', () => {
    const nodes = new Nodes(2);
    nodes.keep(0, 'one', null);
    nodes.node(0).send(); // and not heard of, for the stream has the latest of a topic alone
    nodes.keep(1, 'two', null, 1);
    nodes.node(1).send();
    nodes.node(0).listen();
    expect(nodes.told).toEqual(['n0 placed 1']);
    expect(nodes.value).toBe('two');
  });
});

/** Writes down what it is asked. */
class Engine implements ValueEngine {
  isReady = true;
  nowMs = 0;
  readonly asked: string[] = [];
  bytesMax = 1_000;

  store({ number, record }: NumberedChange, revision: number, attempt: number): number {
    this.asked.push(`store ${number} ${textOf(record)} after ${revision}, ${attempt}`);
    return record !== null && record.length > this.bytesMax ? 0 : 1;
  }

  look(topic: string, number: number, attempt: number): void {
    this.asked.push(`look ${topic} for ${number}, ${attempt}`);
  }

  take(): string[] {
    return this.asked.splice(0);
  }
}

function changesOn(engine: Engine): { own: OwnChanges; told: string[]; keep: (text: string) => number } {
  const told: string[] = [];
  const own = new OwnChanges(engine, {
    placed: (_topic, number, revision) => void told.push(`placed ${number} ${revision}`),
    outdone: (_topic, number, latest) =>
      void told.push(`outdone ${number} ${typeof latest === 'object' ? latest?.revision : latest}`),
    synced: () => void told.push(`synced ${own.synced}`),
  });
  const keep = (text: string) =>
    own.put({ topic: 't', record: Buffer.from(text), place: null, revision: 0, isConditional: false });
  return { own, told, keep };
}

describe('changes of one node [CLU-44]', () => {
  test('are handed over one a topic, the latest behind it, and none counts as stored before what has replaced it', () => {
    const engine = new Engine();
    const { own, told, keep } = changesOn(engine);
    for (const text of ['1', '2', '3']) keep(text);
    expect(engine.take()).toEqual(['store 1 1 after 0, 1']);
    own.stored(1, 7);
    expect(told).toEqual(['synced 1']);
    expect(engine.take()).toEqual(['store 3 3 after 7, 3']);
    own.passed(7);
    own.stored(3, 8);
    own.passed(8);
    expect(told.slice(1)).toEqual(['placed 1 7', 'synced 3', 'placed 3 8']);
    expect(own.isEmpty).toBe(true);
  });

  test('that are not answered are handed over again, and an answer to what is over is not listened to', () => {
    const engine = new Engine();
    const { own, keep } = changesOn(engine);
    keep('1');
    engine.nowMs = 3_000;
    own.tick();
    expect(engine.take().at(-1)).toBe('store 1 1 after 0, 3');
    own.overtaken(1, 1);
    expect(engine.take()).toEqual([]);
    own.overtaken(1, 3);
    expect(engine.take()).toEqual(['look t for 1, 4']);
  });

  test('that the engine does not take, or finds too large, give way to what is there', () => {
    for (const bytesMax of [0, 1_000]) {
      const engine = new Engine();
      engine.bytesMax = bytesMax;
      const { own, told, keep } = changesOn(engine);
      keep('1');
      if (bytesMax > 0) own.refused(1, 1);
      expect(engine.take().at(-1)).toBe('look t for 1, 2');
      own.looked(1, 2, null);
      expect(told).toEqual(['outdone 1 undefined', 'synced 1']);
      expect(own.isEmpty).toBe(true);
    }
  });

  test('that were replaced, and that was heard of before the answer, are looked at: it was no news meanwhile', () => {
    const engine = new Engine();
    const { own, told, keep } = changesOn(engine);
    keep('1');
    own.heard('t', 9, 0);
    own.stored(1, 8);
    expect(engine.take().at(-1)).toBe('look t for 1, 2');
    const theirs = { topic: 't', record: Buffer.from('2'), place: null, node: 'b', isConditional: false };
    own.looked(1, 2, { ...theirs, revision: 9, number: 0 });
    expect(told).toEqual(['outdone 1 9', 'synced 1']);
  });
});
