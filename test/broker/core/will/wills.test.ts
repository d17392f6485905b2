import { describe, expect, test } from 'vitest';
import {
  Command,
  encodeWill,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  topicOf,
  uint32,
} from '../../../../src/pubsub/command.ts';
import { decodeProperties, encodeProperties } from '../../../../src/pubsub/properties.ts';
import { taken, World } from '../world.ts';

describe('a will is published once', () => {
  test('when the connection is gone, where it has no delay [BRK-100]', () => {
    const world = new World();
    const listener = world.listener();
    const guest = world.hello('a');
    guest.will('gone/a', 'bye');
    expect(guest.answers).toEqual(['WELCOME 1', 'WILL_SET 2']);
    expect(taken(listener)).toEqual([]);
    guest.leave();
    expect(taken(listener)).toEqual(['gone/a=bye']);
    world.pass(120_000);
    world.hello('a').leave();
    expect(taken(listener)).toEqual([]);
    expect(world.core.metrics().willsPublished).toBe(1);
  });

  test('when its delay is over', () => {
    const world = new World();
    const listener = world.listener();
    const guest = world.hello('a');
    guest.will('gone/a', 'bye', 5_000);
    guest.leave();
    world.pass(4_999);
    expect(taken(listener)).toEqual([]);
    world.pass(1);
    expect(taken(listener)).toEqual(['gone/a=bye']);
    world.pass(120_000);
    expect(taken(listener)).toEqual([]);
  });

  test('when its session is over before its delay is [BRK-100]', () => {
    const world = new World();
    const listener = world.listener();
    const guest = world.hello('a', { expiryMs: 2_000 });
    guest.will('gone/a', 'bye', 60_000);
    guest.leave();
    world.pass(1_999);
    expect(taken(listener)).toEqual([]);
    world.pass(1);
    expect(taken(listener)).toEqual(['gone/a=bye']);
    world.pass(120_000);
    expect(taken(listener)).toEqual([]);
  });

  test('for a session without a name, whose end is that of its connection', () => {
    const world = new World();
    const listener = world.listener();
    const guest = world.hello('');
    guest.will('gone', 'bye', 60_000);
    guest.leave();
    expect(taken(listener)).toEqual(['gone=bye']);
  });

  test('at a takeover, where it has no delay [BRK-101]', () => {
    const world = new World();
    const listener = world.listener();
    const older = world.hello('a');
    older.will('gone/a', 'bye');
    world.hello('a');
    expect(taken(listener)).toEqual(['gone/a=bye']);
    older.leave();
    world.pass(120_000);
    expect(taken(listener)).toEqual([]);
  });

  test('at a takeover, where it has a delay but its session ends with the connection [BRK-101]', () => {
    const world = new World();
    const listener = world.listener();
    world.hello('a', { expiryMs: 0 }).will('gone/a', 'bye', 5_000);
    expect(world.hello('a', { expiryMs: 0 }).welcome.isPresent).toBe(false);
    expect(taken(listener)).toEqual(['gone/a=bye']);
    world.pass(120_000);
    expect(taken(listener)).toEqual([]);
  });

  test('at a clean start, taken over or not [BRK-101]', () => {
    const world = new World();
    const listener = world.listener();
    for (const leaves of [true, false]) {
      const guest = world.hello('a');
      guest.will('gone/a', `${leaves}`, 5_000);
      if (leaves) guest.leave();
      world.hello('a', { cleanStart: true });
      expect(taken(listener)).toEqual([`gone/a=${leaves}`]);
    }
    world.pass(120_000);
    expect(taken(listener)).toEqual([]);
  });
});

describe('a will is not published', () => {
  test('where its client comes back within the delay, by a takeover or after an absence [BRK-101]', () => {
    const world = new World();
    const listener = world.listener();
    for (const leaves of [true, false]) {
      const guest = world.hello('a');
      guest.will('gone/a', 'bye', 5_000);
      if (leaves) guest.leave();
      world.pass(4_999);
      expect(world.hello('a').welcome.isPresent).toBe(true);
      world.pass(59_000);
    }
    expect(taken(listener)).toEqual([]);
    expect([...world.store.state.entries('will/')]).toEqual([]);
  });

  test('where it was taken back, or another has taken its place [BRK-100]', () => {
    const world = new World();
    const listener = world.listener();
    const guest = world.hello('a');
    guest.will('gone/a', '1');
    guest.will('gone/a', '2');
    guest.leave();
    expect(taken(listener)).toEqual(['gone/a=2']);
    const back = world.hello('a');
    back.will('gone/a', '3');
    back.takeBackWill();
    back.takeBackWill();
    expect(back.answers).toEqual(['WELCOME 1', 'WILL_SET 2', 'WILL_SET 3', 'WILL_SET 4']);
    back.leave();
    world.pass(120_000);
    expect(taken(listener)).toEqual([]);
  });

  test('where an older connection of the session ends after the newer one has set its own [BRK-101]', () => {
    const world = new World();
    const listener = world.listener();
    const older = world.hello('a');
    older.will('gone/a', 'old', 5_000);
    const newer = world.hello('a');
    newer.will('gone/a', 'new', 5_000);
    older.leave();
    world.pass(60_000);
    expect(taken(listener)).toEqual([]);
    newer.leave();
    world.pass(5_000);
    expect(taken(listener)).toEqual(['gone/a=new']);
  });
});

describe('across a start of the broker a will', () => {
  test('waits until those who are to hear of it may be there, and is published once [BRK-102]', () => {
    for (const delayMs of [0, 5_000]) {
      const world = new World();
      const guest = world.hello('a');
      guest.will('gone/a', 'bye', delayMs);
      world.crash(30_000);
      const listener = world.listener();
      expect(taken(listener)).toEqual([]);
      world.pass(5_000);
      expect(taken(listener)).toEqual(['gone/a=bye']);
      world.crash(1_000);
      const later = world.listener();
      world.pass(120_000);
      expect(taken(later)).toEqual([]);
    }
  });

  test('is published where its session was over meanwhile [BRK-102]', () => {
    const world = new World();
    const guest = world.hello('a', { expiryMs: 1_000 });
    guest.will('gone/a', 'bye', 60_000);
    guest.leave();
    world.crash(30_000);
    const listener = world.listener();
    world.pass(5_000);
    expect(taken(listener)).toEqual(['gone/a=bye']);
    expect(
      [...world.store.state.entries('')].map(([key]) => key).filter((key) => !key.startsWith('sessions/')),
    ).toEqual([]);
  });

  test('is not published where its client comes back, and what is left of its delay is kept', () => {
    const world = new World();
    const back = world.hello('back');
    const gone = world.hello('gone');
    back.will('gone/back', 'bye', 20_000);
    gone.will('gone/gone', 'bye', 20_000);
    back.leave();
    gone.leave();
    world.pass(5_000);
    world.crash(5_000);
    const listener = world.listener();
    expect(world.hello('back').welcome.isPresent).toBe(true);
    world.pass(9_999);
    expect(taken(listener)).toEqual([]);
    world.pass(1);
    expect(taken(listener)).toEqual(['gone/gone=bye']);
    world.pass(120_000);
    expect(taken(listener)).toEqual([]);
  });

  test('that shuts down is kept, not published to those who are being closed as well [BRK-102]', () => {
    const world = new World();
    const listener = world.listener();
    const guest = world.hello('a');
    guest.will('gone/a', 'bye');
    world.core.shutDown();
    guest.leave();
    expect(taken(listener)).toEqual([]);
    world.crash(1_000);
    const later = world.listener();
    world.pass(5_000);
    expect(taken(later)).toEqual(['gone/a=bye']);
  });
});

describe('WILL', () => {
  test('to a topic that is none closes the connection [BRK-12]', () => {
    const world = new World();
    for (const topic of ['a/#', '$inbox/a', '\0']) {
      const guest = world.hello('a');
      guest.will(topic, '');
      expect(guest.closedWith).toBe(ReasonCode.TOPIC_INVALID);
    }
  });

  test('is refused where it is too large, or all wills together would be, and frees what it takes when it is gone [BRK-103]', () => {
    const world = new World({ willBytesMax: 40_000 });
    const one = world.hello('a');
    const other = world.hello('b');
    one.will('t', 'x'.repeat(30_000));
    other.will('t', 'x'.repeat(30_000));
    other.will('t', 'x'.repeat(70_000));
    expect(one.answers).toEqual(['WELCOME 1', 'WILL_SET 2']);
    expect(other.answers.slice(1)).toEqual([
      `REFUSED 2 ${ReasonCode.QUOTA}`,
      `REFUSED 3 ${ReasonCode.TOO_LARGE}`,
    ]);
    one.will('t', 'y'.repeat(35_000));
    one.leave();
    other.will('t', 'x'.repeat(30_000));
    expect(other.answers.slice(3)).toEqual(['WILL_SET 4']);
  });

  test('of QoS 1 is stored once, though the broker dies as it publishes it and publishes it again [BRK-102]', () => {
    for (const properties of [{}, { contentType: 'text/plain' }, { messageId: 'mine' }]) {
      const world = new World();
      const guest = world.hello('a');
      const encoded = encodeProperties(properties);
      const hasProperties = encoded.length > 2;
      const flags = PublishFlag.QOS1 | (hasProperties ? PublishFlag.PROPERTIES : 0);
      const rest = Buffer.concat([...(hasProperties ? [encoded] : []), Buffer.from('bye')]);
      guest.control.send(encodeWill(9, 'gone', flags, 5_000, rest));
      guest.leave();
      const [key, value] = [...world.store.state.entries('will/')][0];
      world.pass(5_000);
      const [log] = world.store.logs;
      Object.defineProperty(log, 'isDurable', { value: true }); // as one on disk
      expect(log.head).toBe(2);
      const [record] = log.read(1, 2, 1_000) ?? [];
      const stored = decodeProperties(record.command, record.topicEnd);
      expect(stored).toMatchObject({
        ...properties,
        messageId: expect.stringMatching(/^(\$will\/\d+|mine)$/),
      });
      expect(Buffer.from(record.command).toString()).toMatch(/bye$/);
      world.store.state.put(key, value); // that it was published is not known after the crash
      world.pass(0);
      world.crash(1_000);
      world.pass(10_000);
      expect(log.head).toBe(2);
      expect([...world.store.state.entries('will/')]).toEqual([]);
    }
  });

  test('of QoS 1 is stored beside those of others, however many there are [BRK-102]', () => {
    const world = new World();
    for (const name of ['a', 'b', 'c']) {
      const guest = world.hello(name);
      guest.control.send(encodeWill(9, name, PublishFlag.QOS1, 0, Buffer.from('bye')));
      guest.leave();
      world.pass(0);
    }
    const [log] = world.store.logs;
    const stored = log.read(1, log.head, 10_000) ?? [];
    expect(stored.map(({ command }) => [topicOf(command), uint32(command, 4)])).toEqual([
      ['a', 1],
      ['b', 2],
      ['c', 3],
    ]);
  });

  test('is read as an earlier version has kept it', () => {
    const world = new World();
    const record = Buffer.concat([Buffer.of(1, 0, 0, 0, 0), publishPrefix('gone', 0), Buffer.from('bye')]);
    world.store.state.put('will/7', Uint8Array.from(record));
    world.pass(0);
    world.crash(1_000);
    const listener = world.listener();
    world.pass(120_000);
    expect(taken(listener)).toEqual(['gone=bye']);
  });

  test('keeps properties and the flags of a PUBLISH', () => {
    const world = new World();
    const listener = world.listener();
    const guest = world.hello('a');
    const properties = encodeProperties({ contentType: 'text/plain' });
    guest.control.send(
      encodeWill(9, 't', PublishFlag.PROPERTIES, 0, Buffer.concat([properties, Buffer.from('x')])),
    );
    guest.leave();
    listener.carry();
    const [delivery] = listener.link.delivered;
    expect(delivery[0]).toBe(Command.PUBLISH);
    expect(delivery[1]).toBe(PublishFlag.PROPERTIES);
    expect(Buffer.from(delivery.subarray(9))).toEqual(Buffer.concat([properties, Buffer.from('x')]));
  });

  test('waits for the queue of a subscriber that blocks, however many come at once', () => {
    const world = new World();
    const slow = world.connect().open(1);
    slow.subscribe(1, '#', 0, 1);
    const guests = Array.from({ length: 5 }, (_, i) => world.hello(`${i}`));
    for (const [i, guest] of guests.entries()) guest.will('gone', `${i}`);
    for (const guest of guests) guest.leave();
    for (let i = 0; i < 20; i++) slow.carry();
    expect(slow.link.lines.slice(1)).toEqual([0, 1, 2, 3, 4].map((i) => `gone=${i}`));
  });
});
