import { expect, test } from 'vitest';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import type { StatePort } from '../../../../src/broker/core/store-port.ts';
import { PublishFlag, publishPrefix, ReasonCode } from '../../../../src/pubsub/command.ts';
import type { FakeStream } from '../fake-client.ts';
import { SlowStore } from '../publishing/slow-store.ts';
import { World } from '../world.ts';

/** Of `chat` streams. */
const SEQUENCE = 2;

/** A store that remembers the ids of sessions, and whose state is safe when the test says so. */
class Store extends SlowStore {
  override readonly state: StatePort & { takeNews(): boolean };
  stateIsSlow = false;
  private synced = 0;
  private readonly values = new MemoryStore().state;

  constructor() {
    super();
    const { values } = this;
    const syncedOf = () => (this.stateIsSlow ? this.synced : values.written);
    this.state = {
      get: (key) => values.get(key),
      put: (key, value) => values.put(key, value),
      delete: (key) => values.delete(key),
      entries: (prefix) => values.entries(prefix),
      takeNews: () => values.takeNews(),
      get written() {
        return values.written;
      },
      get synced() {
        return syncedOf();
      },
    };
  }

  slowDown(): void {
    this.synced = this.values.written;
    this.stateIsSlow = true;
  }

  /** An id that no log has. */
  missing = 0;

  override isMissing(_session?: number, _sequence?: number, id?: number): boolean {
    return id === this.missing;
  }

  override lastIds(session?: number): readonly number[] {
    const ids = [0, 0, 0, 0];
    for (const record of this.log('default').records) {
      if (record.session === session) ids[record.sequence] = record.id;
    }
    return ids;
  }
}

function publish(stream: FakeStream, id: number, flags = 0): void {
  stream.send(Buffer.concat([publishPrefix('t', PublishFlag.QOS1 | flags, id), Buffer.from(`${id}`)]));
}

function told(stream: FakeStream): string[] {
  stream.carry();
  return stream.link.commands.map(({ name, id, body }) => `${name} ${id} ${body[0] ?? ''}`.trim());
}

test('WELCOME waits for what the session has published to be safe, and covers it then [BRK-53] [BRK-55]', () => {
  const world = new World({}, new Store());
  const first = world.hello('a');
  const stream = first.client.open();
  for (const id of [1, 2, 3]) publish(stream, id);
  const second = world.hello('a');
  expect(second.answers).toEqual([]);
  world.store.sync('default', 2);
  world.pass(1);
  expect(second.answers).toEqual([]);
  world.store.sync('default');
  world.pass(1);
  expect(second.welcome.lastIds[SEQUENCE]).toBe(3);
  const again = second.client.open();
  for (const id of [2, 3, 4]) publish(again, id);
  world.store.sync('default');
  world.pass(1);
  expect(told(again)).toEqual(['PUBLISHED 2 1', 'PUBLISHED 3 1', 'PUBLISHED 4 0']);
  expect(world.store.log('default').records.map(({ id }) => id)).toEqual([1, 2, 3, 4]);
});

test('WELCOME does not cover what was lost with its log while the publisher was away [BRK-53]', () => {
  const world = new World({}, new Store());
  const first = world.hello('a');
  const stream = first.client.open();
  publish(stream, 1);
  world.store.sync('default');
  world.pass(1);
  for (const id of [2, 3]) publish(stream, id);
  first.leave();
  world.store.fail('default');
  world.pass(1);
  const second = world.hello('a');
  expect(second.welcome.lastIds[SEQUENCE]).toBe(1);
  const again = second.client.open();
  publish(again, 2);
  again.carry();
  expect(again.link.lines).toEqual([`REFUSED 2 ${ReasonCode.STORE_FAILED}`]);
});

test('a message that was refused is refused when it comes again, for its publisher may not have heard; and no id of it is given to another message, whoever has the session next [BRK-53] [BRK-83]', () => {
  const world = new World({}, new Store());
  const first = world.hello('a');
  const stream = first.client.open();
  publish(stream, 1);
  world.store.fill('default');
  publish(stream, 2);
  world.store.log('default').fault = null;
  publish(stream, 3);
  first.leave();
  world.store.sync('default');
  const second = world.hello('a');
  world.pass(1);
  expect(second.welcome.lastIds[SEQUENCE]).toBe(3);
  const again = second.client.open();
  // The same process knows what it has no answer to; another one goes on behind what WELCOME tells.
  for (const id of [2, 3, 4]) publish(again, id);
  world.store.sync('default');
  world.pass(1);
  expect(told(again).sort()).toEqual(['PUBLISHED 3 1', 'PUBLISHED 4 0', 'REFUSED 2 0']);
});

test('a message that no log has is refused when it comes again after a start of the broker, for its publisher may not have heard [BRK-53] [STO-20]', () => {
  const world = new World({}, new Store());
  const stream = world.hello('a').client.open();
  for (const id of [7, 9]) publish(stream, id);
  world.store.sync('default');
  world.crash(1_000);
  const again = world.hello('a').client.open();
  world.store.missing = 8;
  for (const id of [8, 9]) publish(again, id);
  again.carry();
  expect(again.link.lines.sort()).toEqual(['PUBLISHED 9', `REFUSED 8 ${ReasonCode.STORE_FAILED}`]);
});

test('the ids of a session are known after a start of the broker, as far as they are in the logs [BRK-53]', () => {
  const world = new World({}, new Store());
  const stream = world.hello('a').client.open();
  for (const id of [7, 8]) publish(stream, id);
  world.store.sync('default');
  world.crash(1_000);
  const back = world.hello('a');
  expect(back.welcome.lastIds[SEQUENCE]).toBe(8);
  const again = back.client.open();
  publish(again, 8);
  expect(told(again)).toEqual(['PUBLISHED 8 1']);
  expect(world.hello('b').welcome.lastIds[SEQUENCE]).toBe(0);
});

test('PUBLISHED of a last value is sent when its message and the value are safe [BRK-104]', () => {
  const world = new World({}, new Store());
  const { client } = world.hello('a');
  world.store.slowDown();
  const stream = client.open();
  publish(stream, 1);
  publish(stream, 2, PublishFlag.RETAIN);
  publish(stream, 3);
  world.store.sync('default');
  world.pass(1);
  expect(told(stream)).toEqual(['PUBLISHED 1 0']);
  world.store.stateIsSlow = false;
  world.core.stateStored();
  world.pass(1);
  expect(told(stream)).toEqual(['PUBLISHED 1 0', 'PUBLISHED 3 0']);
});

test('WILL_SET is sent when the will is safe, and the next is not read before [BRK-55]', () => {
  const world = new World({}, new Store());
  const guest = world.hello('a');
  guest.control.carry();
  world.store.slowDown();
  guest.will('gone', '1');
  guest.will('gone', '2');
  expect(guest.answers).toEqual(['WELCOME 1']);
  expect(guest.control.inbox.length).toBe(1);
  world.store.stateIsSlow = false;
  world.core.stateStored();
  world.pass(1);
  guest.control.pump();
  expect(guest.answers).toEqual(['WELCOME 1', 'WILL_SET 2', 'WILL_SET 3']);
});

test('a last value whose log has it and that was not kept is kept when it comes again, and answered when that is safe; one that is kept stays as it is [BRK-53] [BRK-104]', () => {
  const world = new World({}, new Store());
  const first = world.hello('a');
  publish(first.client.open(), 1, PublishFlag.RETAIN);
  world.store.sync('default');
  world.pass(1);
  world.store.state.delete('retained/t'); // the process ended before that was written
  world.crash(10);
  expect(world.core.metrics().retainedMessages).toBe(0);
  world.store.slowDown();
  const again = world.hello('a').client.open();
  publish(again, 1, PublishFlag.RETAIN);
  world.pass(1);
  expect(world.core.metrics().retainedMessages).toBe(1);
  expect(told(again)).toEqual([]);
  world.store.stateIsSlow = false;
  world.core.stateStored();
  world.pass(1);
  expect(told(again)).toEqual(['PUBLISHED 1 1']);
  const { written } = world.store.state;
  publish(again, 1, PublishFlag.RETAIN);
  world.pass(1);
  expect(world.store.state.written).toBe(written);
});
