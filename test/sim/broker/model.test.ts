import { describe, expect, test } from 'vitest';
import { Violation } from '../invariants.ts';
import { Holder, Model, Shelf } from './model.ts';

/** A model in which two messages were published to `a`, and a subscription. */
function begin(qos: 0 | 1 = 1, isShared = false) {
  let nowMs = 1_000;
  const model = new Model(() => nowMs);
  const shelf = new Shelf('shelf', 'a', qos, isShared);
  shelf.sinceMs = 0;
  model.shelves.push(shelf);
  const holder = new Holder(shelf);
  const [first, second] = [1, 2].map(() => model.publish('p', 'a', qos, { ttlMs: 500 }));
  const get = (publication: { text: string }, more: object = {}, by = holder) =>
    model.delivered(by, { topic: 'a', text: () => publication.text, ...more });
  const pass = (ms: number) => {
    nowMs += ms;
  };
  return { model, shelf, holder, first, second, get, pass };
}

describe('the oracle of the broker simulation notices', () => {
  test('a message that nobody published, or to another topic, or outside of the filter', () => {
    const { model, get } = begin();
    expect(() => get({ text: 'p a 3' })).toThrow(Violation);
    expect(() => get(model.publish('p', 'b', 0))).toThrow(/published to b/);
  });

  test('a QoS 0 message that comes out of order, but for one that went another way, or after a broker died; one that comes twice always', () => {
    const { model, get, first, second } = begin(0);
    const third = model.publish('p', 'a', 0);
    const last = model.publish('p', 'a', 0);
    model.arrives(last.text, 0, 2);
    get(last);
    get(third);
    expect(() => get(third)).toThrow(/second time/);
    expect(() => get(second)).toThrow(/behind number 3/);
    model.brokerDied(false);
    get(first);
    expect(() => get(first)).toThrow(/second time/);
  });

  test('a second delivery without REDELIVERED, by whomever', () => {
    const { get, shelf, first } = begin();
    const at = { epoch: 1, offset: 1 };
    get(first, at);
    get(first, { ...at, redelivered: true });
    expect(() => get(first, at)).toThrow(/second time/);
    expect(() => get(first, at, new Holder(shelf))).toThrow(/second time/);
  });

  test('first deliveries out of order, in offsets as told; members of a shared group have none', () => {
    const { get, first, second } = begin();
    get(second, { epoch: 1, offset: 2 });
    expect(() => get(first, { epoch: 1, offset: 1, redelivered: true })).toThrow(/behind number 2/);
    const shared = begin(1, true);
    shared.get(shared.second, { epoch: 1, offset: 2 });
    shared.get(shared.first, { epoch: 1, offset: 1 });
  });

  test('that, too, where it was on its way to another holder, but for one that is given up or has expired', () => {
    const { get, shelf, first, second } = begin();
    get(second, { epoch: 1, offset: 2 });
    const other = new Holder(shelf);
    shelf.givesUp = true;
    expect(() => get(first, { epoch: 1, offset: 1 }, other)).toThrow(/behind number 2/);
    const again = begin();
    again.get(again.second, { epoch: 1, offset: 2 });
    expect(() =>
      again.get(again.first, { epoch: 1, offset: 1, redelivered: true }, new Holder(again.shelf)),
    ).toThrow(/behind number 2/);
    const last = begin();
    last.shelf.givesUp = true;
    last.get(last.second, { epoch: 1, offset: 2 });
    last.get(last.first, { epoch: 1, offset: 1, redelivered: true }, new Holder(last.shelf));
    const short = begin();
    short.model.arrives(short.first.text, 500);
    short.get(short.second, { epoch: 1, offset: 2 });
    short.pass(500);
    short.get(short.first, { epoch: 1, offset: 1 }, new Holder(short.shelf));
  });

  test('an offset that is used again, and a message that is stored twice', () => {
    const { model, get, first, second } = begin();
    model.stored(first, 1, 7);
    expect(() => get(second, { epoch: 1, offset: 7 })).toThrow(/offset 1:7 was "p a 1"/);
    expect(() => get(first, { epoch: 1, offset: 8 })).toThrow(/is stored at 1:7 and at 1:8/);
    get(first, { epoch: 2, offset: 8 });
  });

  test('a message that leaves the broker after its time', () => {
    const { model, first, pass } = begin();
    pass(100);
    model.arrives(first.text, 500);
    pass(499);
    model.leaves(first.text);
    pass(1);
    expect(() => model.leaves(first.text)).toThrow(/0 ms after its time to live/);
  });

  test('that, too, of a copy that a living broker reads, for the first stands; one that has died may have had the first, and the next counts from the second', () => {
    const { model, first, pass } = begin();
    model.arrives(first.text, 500);
    pass(300);
    model.arrives(first.text, 100); // the other one took long
    pass(150);
    model.leaves(first.text);
    model.arrives(first.text, 500);
    pass(50);
    expect(() => model.leaves(first.text)).toThrow(/0 ms after its time to live/);
    model.brokerDied(false);
    model.arrives(first.text, 10);
    pass(9);
    model.leaves(first.text);
    pass(1);
    expect(() => model.leaves(first.text)).toThrow(/0 ms after its time to live/);
  });

  test('what outlives a broker by as much as the clock was set back, also while there was none, and no longer; nothing is owed that had expired before', () => {
    const { model, first, second, pass } = begin();
    model.arrives(first.text, 100);
    model.arrives(second.text, 500);
    model.stored(first, 1, 1);
    model.stored(second, 1, 2);
    pass(200);
    model.clockSet(-1_000);
    expect(() => model.leaves(first.text)).toThrow(/100 ms after its time to live/);
    model.brokerDied(false);
    model.clockSet(-50);
    model.brokerBegan();
    model.clockSet(-5_000); // it lives, and does not notice
    expect(model.missing()).toEqual(['shelf (a) has not got "p a 2"']);
    pass(949);
    model.leaves(first.text);
    pass(1);
    expect(() => model.leaves(first.text)).toThrow(/0 ms after its time to live/);
    pass(399);
    model.leaves(second.text);
    expect(model.missing()).toHaveLength(1);
    pass(1);
    expect(() => model.leaves(second.text)).toThrow(/0 ms after its time to live/);
    expect(model.missing()).toEqual([]);
  });

  test('an acknowledged message that was not handled, unless a gap was told, it expired, or all was lost; and a time to live that grew', () => {
    const { model, shelf, first, second, pass } = begin();
    expect(model.missing()).toEqual([]);
    model.stored(first, 1, 1);
    model.stored(second, 1, 2);
    expect(model.missing().length).toBe(2);
    shelf.handled.add(first.text);
    expect(model.missing()).toEqual(['shelf (a) has not got "p a 2"']);
    shelf.missedTold = 1;
    expect(model.missing()).toEqual([]);
    shelf.missedTold = 0;
    model.arrives(second.text, 500);
    pass(500);
    expect(model.missing()).toEqual([]);
    const third = model.publish('p', 'a', 1);
    model.stored(third, 1, 3);
    expect(model.missing().length).toBe(1);
    model.brokerDied(true);
    expect(model.missing()).toEqual([]);
    expect(() => model.arrives(third.text, 501)).not.toThrow(); // it has no time to live
    expect(() => model.arrives(second.text, 501)).toThrow(/was given 500/);
  });

  test('a will that is stored twice, that is published while its client is connected, or that does not come when its client is dead', () => {
    const { model, shelf, get } = begin();
    const will = model.publish('p.will', 'a', 1, { isWill: true });
    expect(() => model.leaves(will.text, 'c', 1, true)).toThrow(/its client is connected/);
    model.leaves(will.text, 'c', 1, false);
    expect(model.missing()).toEqual([]);
    model.died(will);
    expect(model.missing()).toHaveLength(1);
    get(will, { epoch: 1, offset: 7 });
    shelf.handled.add(will.text);
    expect(model.missing()).toEqual([]);
    expect(() => get(will, { epoch: 1, offset: 8 })).toThrow(/stored at 1:7 and at 1:8/);
  });

  test('a last value that is missing, older than one that was stored, or of a topic that has none; one whose publisher had no answer may be it, or not', () => {
    const { model } = begin();
    const [first, second, third] = [1, 2, 3].map(() => model.publish('p', 'v', 1, { isRetained: true }));
    const faultsOf = (text?: string) => model.falseValues(new Map(text === undefined ? [] : [['v', text]]));
    expect(faultsOf()).toEqual([]);
    for (const publication of [first, second]) model.stored(publication, undefined, undefined);
    expect(faultsOf(second.text)).toEqual([]);
    expect(faultsOf(third.text)).toEqual([]);
    expect(faultsOf(first.text)).toHaveLength(1);
    expect(faultsOf()).toHaveLength(1);
    expect(faultsOf('another')).toHaveLength(1);
  });
});
