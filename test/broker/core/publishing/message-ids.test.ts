import { describe, expect, test } from 'vitest';
import { MessageIds } from '../../../../src/broker/core/publishing/message-ids.ts';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import { ReasonCode } from '../../../../src/pubsub/command.ts';
import { DrivenCore } from '../driven-core.ts';
import { FakeClient } from '../fake-client.ts';
import { publish1, receipts } from './publishing.ts';
import { SlowStore } from './slow-store.ts';

const named = (messageId: string) => ({ messageId });

describe('a message that names itself', () => {
  test('is taken once, whoever sends it again and under whatever id, and told where it is when it is safe [BRK-91]', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const subscriber = new FakeClient(core).open();
    subscriber.subscribe(1, '#');
    const [one, other] = [new FakeClient(core).open(), new FakeClient(core).open()];
    publish1(one, 1, 'a', 'x', named('m'));
    publish1(one, 2, 'a', 'x', named('m'));
    publish1(other, 1, 'a', 'x', named('m'));
    publish1(other, 2, 'b', 'x', named('m'));
    publish1(other, 3, 'a', 'x', named('n'));
    expect(receipts(other)).toEqual([]);
    store.sync('default');
    core.look();
    expect(receipts(one)).toEqual(['1* 0 @1', '2* 1 @1']);
    expect(receipts(other)).toEqual(['1* 1 @1', '3* 0 @3']);
    subscriber.carry();
    expect(subscriber.link.lines).toEqual(['SUBSCRIBED 1', 'a=x', 'b=x', 'a=x']);
  });

  test('is remembered for two minutes from when it was taken, and no longer for being sent again [BRK-91]', () => {
    const store = new MemoryStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    for (let id = 1; id <= 4; id++) {
      publish1(publisher, id, 'a', 'x', named('m'));
      core.goOn(60_000);
    }
    expect(receipts(publisher)).toEqual(['1* 3 @1', '2* 1 @1', '3* 3 @2', '4* 1 @2']);
  });

  test('is remembered as long by a broker that has started again, also while it still looks for it [BRK-91]', () => {
    const store = new SlowStore();
    const before = new DrivenCore({}, undefined, store);
    before.goOn(1_000_000);
    publish1(new FakeClient(before).open(), 1, 'a', 'x', named('m'));
    store.sync('default');
    before.look();
    const core = new DrivenCore({}, undefined, store);
    store.isLoading = true;
    core.goOn(1_060_000);
    const publisher = new FakeClient(core).open();
    publish1(publisher, 1, 'a', 'x', named('m'));
    publish1(publisher, 2, 'a', 'x', named('other'));
    expect([publisher.link.paused, publisher.inbox.length]).toEqual([true, 1]);
    store.load('default');
    core.look();
    publisher.pump();
    core.goOn(60_000);
    publish1(publisher, 3, 'a', 'x', named('m'));
    store.sync('default');
    core.look();
    expect(receipts(publisher)).toEqual(['1* 1 @1', '3* 0 @3']);
  });

  test('that waits while the broker still looks for it is charged to its client, and gone with its stream [BRK-91] [BRK-38]', () => {
    const store = new SlowStore();
    const before = new DrivenCore({}, undefined, store);
    publish1(new FakeClient(before).open(), 1, 'a', 'x');
    store.sync('default');
    store.isLoading = true;
    const core = new DrivenCore({ queueBytesPerClientMax: 4_096 }, undefined, store);
    core.goOn(1_000);
    const publisher = new FakeClient(core).open();
    publish1(publisher, 1, 'a', 'x', named('m'));
    expect(core.metrics().publishersStopped).toBe(1);
    publisher.end();
    expect(core.metrics().publishersStopped).toBe(0);
    const hostile = new FakeClient(core);
    for (let i = 0; i < 32; i++) publish1(hostile.open(), 1, 'a', 'x'.repeat(1_000), named(`${i}`));
    expect(hostile.peer.closedWith).toBe(ReasonCode.LIMITED);
    store.load('default');
    core.look();
    expect(store.log('default').records).toHaveLength(1);
  });

  test('that was refused, or lost by a log that failed, is not one that was taken [BRK-91] [BRK-83]', () => {
    const store = new SlowStore();
    const core = new DrivenCore({}, undefined, store);
    const publisher = new FakeClient(core).open();
    publish1(publisher, 1, 'a', 'x', named('m'));
    store.fail('default');
    core.look();
    publish1(publisher, 2, 'a', 'x', named('m'));
    const failed = (id: number) => `${id} refused ${ReasonCode.STORE_FAILED}`;
    expect(receipts(publisher)).toEqual([failed(1), failed(2)]);
  });

  test('is not among more than 100,000, nor among more than 32 MiB, that are kept in mind [BRK-91]', () => {
    const ids = new MessageIds();
    const keyOf = (i: number) => `${i}`.padStart(6, '0');
    for (let i = 0; i <= 100_000; i++) ids.add({ key: keyOf(i), log: null, offset: -1, atMs: 0 });
    const known = (key: string) => ids.find(key, 0) !== undefined;
    expect([0, 1, 100_000].map((i) => known(keyOf(i)))).toEqual([false, true, true]);
    for (let i = 0; i < 30_000; i++) {
      ids.add({ key: keyOf(i).padEnd(1_024), log: null, offset: -1, atMs: 0 });
    }
    expect([
      known(keyOf(100_000)),
      known(keyOf(0).padEnd(1_024)),
      known(keyOf(29_999).padEnd(1_024)),
    ]).toEqual([false, false, true]);
  });
});
