import { describe, expect, test } from 'vitest';
import { EVERYONE, OPEN } from '../../../src/broker/core/access/principal.ts';
import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import { PublishFlag, publishPrefix, ReasonCode } from '../../../src/pubsub/command.ts';
import { AuthMethod } from '../../../src/pubsub/session-commands.ts';
import { DrivenCore } from '../core/driven-core.ts';
import { LateStore } from '../core/durable/late-store.ts';
import { Subscriber } from '../core/durable/log-world.ts';
import { FakeClient, type FakeStream } from '../core/fake-client.ts';
import { publish1 } from '../core/publishing/publishing.ts';
import { type ClaimNode, ClaimWorld, LEASE_MS } from './claim-world.ts';
import { FakeBackplane } from './fake-backplane.ts';

function world(...names: string[]): ClaimWorld {
  return new ClaimWorld(7, names);
}

/** Publishes messages of QoS 1 with these ids, each its id. */
function publish(client: FakeClient, ...ids: number[]): FakeStream {
  const stream = client.open();
  for (const id of ids) {
    stream.send(Buffer.concat([publishPrefix('log/t', PublishFlag.QOS1, id), Buffer.from(`${id}`)]));
  }
  return stream;
}

/** The same of messages that are given names: each its id, its name and its text. */
function publishNamed(client: FakeClient, ...messages: (readonly [number, string, string])[]): FakeStream {
  const stream = client.open();
  for (const [id, messageId, text] of messages) publish1(stream, id, 'log/t', text, { messageId });
  return stream;
}

function reading(node: ClaimNode, name: string | undefined, filter: string): Subscriber {
  return new Subscriber(new FakeClient(node.core).open()).subscribe(
    filter,
    name === undefined ? {} : { name },
  );
}

describe('a session with a name', () => {
  test('is had at every node: the older client is told that it was taken, and the newer one finds it as it was left [CLU-20] [CLU-22]', () => {
    const w = world('a', 'b');
    const first = w.node('a').hello('x');
    w.pass(50);
    expect(first.welcome.isPresent).toBe(false);
    publish(first.client, 1, 2, 3);
    w.pass(50);
    const second = w.node('b').hello('x');
    w.pass(50);
    expect(first.closedWith).toBe(ReasonCode.SESSION_TAKEN);
    expect(second.welcome).toMatchObject({ isPresent: true, epoch: first.welcome.epoch });
    expect(second.welcome.lastIds.reduce((sum, id) => sum + id)).toBe(3);
    const gone = { claims: 0, handedOver: 1, lost: 0 };
    expect(w.node('a').core.metrics()).toMatchObject({ sessions: 0, sessionsAway: 0, cluster: gone });
    expect(w.node('b').core.metrics()).toMatchObject({ sessions: 1, sessionsAway: 0 });
    expect(w.faults).toEqual([]);
  });

  test('goes on at another node after its client has gone, with its will taken back and its note', () => {
    const w = world('a', 'b');
    const first = w.node('a').hello('x');
    w.pass(20);
    first.will('gone', 'x', 5_000);
    w.node('a').core.inspection.setNote('x', Buffer.from('note'), () => {});
    w.pass(20);
    first.leave();
    w.pass(1_000);
    const second = w.node('b').hello('x');
    w.pass(50);
    expect(second.welcome.isPresent).toBe(true);
    expect(Buffer.from(w.node('b').core.inspection.noteOf('x') ?? []).toString()).toBe('note');
    w.pass(20_000);
    for (const { core } of w.living()) expect(core.metrics().willsPublished).toBe(0);
  });

  test('begins anew at another node when its client asks for that, and its will is published there once', () => {
    const w = world('a', 'b');
    const first = w.node('a').hello('x');
    w.pass(20);
    first.will('gone', 'x', 5_000);
    w.pass(20);
    first.leave();
    const second = w.node('b').hello('x', { cleanStart: true });
    w.pass(50);
    expect(second.welcome.isPresent).toBe(false);
    expect(w.living().map(({ core }) => core.metrics().willsPublished)).toEqual([0, 1]);
  });

  test('which its client may not have is refused, and nobody is disturbed [CLU-22] [BRK-118]', () => {
    const w = world('a', 'b');
    for (const { core } of w.living()) core.admission.policy = { authenticates: true, anonymous: null };
    const hello = (node: string, name: string) => {
      const { core } = w.node(node);
      const guest = w.node(node).hello('x', { method: AuthMethod.API_KEY, credentials: Buffer.from(name) });
      core.answer({ principal: { ...EVERYONE, kind: 'apiKey', name, id: name } });
      w.pass(50);
      return guest;
    };
    const first = hello('a', 'ann');
    expect(first.welcome.isPresent).toBe(false);
    const thief = hello('b', 'bob');
    expect(thief.answers).toEqual([`REFUSED 1 ${ReasonCode.NOT_AUTHORIZED}`]);
    expect(first.closedWith).toBeNull();
    const again = hello('b', 'ann');
    expect(again.welcome.isPresent).toBe(true);
    for (const { core } of w.living()) core.admission.policy = OPEN;
  });

  test('is given back when nothing of it is left, and free for every node [CLU-21]', () => {
    const w = world('a', 'b');
    const short = w.node('a').hello('x', { expiryMs: 0 });
    const away = w.node('a').hello('y', { expiryMs: 5_000 });
    w.pass(50);
    away.leave();
    expect(w.table.holderOf('s/x')).toBe('a');
    expect(w.table.holderOf('s/y')).toBe('a');
    short.leave();
    w.pass(6_000);
    expect([...w.table.values.keys()]).toEqual(['numbers']);
    w.node('b').hello('x');
    w.pass(50);
    expect(w.table.holderOf('s/x')).toBe('b');
  });

  test('is taken by force where its node does not answer for 2 s, which closes its client with MOVED when it hears of it [CLU-22] [CLU-20]', () => {
    const w = world('a', 'b');
    const first = w.node('a').hello('x');
    w.pass(50);
    w.node('a').isDeaf = true;
    const second = w.node('b').hello('x');
    w.pass(1_900);
    expect(second.control.link.delivered).toHaveLength(0);
    w.pass(300);
    expect(second.welcome.isPresent).toBe(true);
    w.node('a').isDeaf = false;
    first.will('t', 'x', 0);
    w.pass(50);
    expect(first.closedWith).toBe(ReasonCode.MOVED);
    const lost = { claims: 0, handedOver: 0, lost: 1 };
    expect(w.node('a').core.metrics()).toMatchObject({ sessions: 0, willsPublished: 0, cluster: lost });
    expect(second.closedWith).toBeNull();
  });

  test('that stands as the session of a node which does not know that it has it goes to the next that asks at once [CLU-61]', () => {
    const w = world('a', 'b');
    const gone = w.node('a').hello('x');
    w.lost = 1;
    for (let ms = 0; w.table.holderOf('s/x') === null && ms < 200; ms++) w.pass(1);
    expect(w.table.holderOf('s/x')).toBe('a'); // which is not told so
    gone.leave();
    w.pass(300);
    w.lost = 0;
    expect(w.node('a').core.metrics().cluster).toMatchObject({ claims: 0 });
    expect(w.table.holderOf('s/x')).toBe('a');
    const next = w.node('b').hello('x');
    w.pass(50);
    expect(next.welcome.isPresent).toBe(false);
    expect(w.table.holderOf('s/x')).toBe('b');
  });

  test('that cannot be had for 6 s is refused with BUSY, and its client may try again', () => {
    const w = world('a', 'b');
    w.cut('b');
    const guest = w.node('b').hello('x');
    w.pass(6_100);
    expect(guest.answers).toEqual([`REFUSED 1 ${ReasonCode.BUSY}`]);
    w.pass(1_100);
    expect(guest.closedWith).toBe(ReasonCode.BUSY);
    w.heal('b');
    const again = w.node('b').hello('x');
    w.pass(500);
    expect(again.welcome.isPresent).toBe(false);
  });
});

test('a will that its node has published takes no room any more, and frees none when its client comes back [BRK-103] [CLU-24]', () => {
  const w = new ClaimWorld(7, ['a'], { willBytesMax: 40_000 });
  const hello = (session: string) => {
    const guest = w.node('a').hello(session);
    w.pass(50);
    return guest;
  };
  const answerTo = (guest: ReturnType<typeof hello>): string | undefined => {
    guest.will('gone', 'x'.repeat(30_000));
    w.pass(50);
    return guest.answers.at(-1);
  };
  for (let i = 0; i < 3; i++) {
    const guest = hello('x');
    expect(answerTo(guest)).toMatch(/^WILL_SET/);
    guest.leave();
    w.pass(50);
    expect(w.node('a').core.metrics().willsPublished).toBe(i + 1);
  }
  expect(answerTo(hello('x'))).toMatch(/^WILL_SET/);
  expect(answerTo(hello('y'))).toBe(`REFUSED 2 ${ReasonCode.QUOTA}`);
});

test('a will that is still being published takes nothing from the one that its client leaves when it is back meanwhile [CLU-24]', () => {
  const w = world('a');
  const { core } = w.node('a');
  const first = w.node('a').hello('x');
  w.pass(50);
  first.will('gone', 'first');
  w.pass(50);
  first.leave();
  const second = w.node('a').hello('x');
  second.will('gone', 'second');
  expect(core.metrics().willsPublished).toBe(0); // it is not stored yet that it is still this node's
  w.pass(50);
  expect(core.metrics().willsPublished).toBe(1);
  second.leave();
  w.pass(50);
  expect(core.metrics().willsPublished).toBe(2);
  w.pass(120_000);
  expect([...w.table.values.keys()]).toEqual(['numbers']);
});

test('a will that its client leaves while the one before is still being published outlives its node [CLU-24]', () => {
  const w = world('a', 'b');
  w.node('a').hello('x');
  w.pass(50);
  // The connection before is taken for gone, and its will published, as the next one comes.
  const second = w.node('a').hello('x');
  w.pass(50);
  second.will('gone', 'first');
  w.pass(50);
  const third = w.node('a').hello('x');
  third.will('gone', 'second');
  w.pass(50);
  expect([second.closedWith, third.answers]).toEqual([ReasonCode.SESSION_TAKEN, ['WELCOME 1', 'WILL_SET 2']]);
  const published = (name: string) => w.node(name).core.metrics().willsPublished;
  expect(published('a')).toBe(1);
  w.kill('a');
  w.pass(LEASE_MS + 60_000);
  expect(published('b')).toBe(1);
});

test('8,192 clients wait at a node for what is not its own; the next is refused with BUSY at once, until one has gone', () => {
  const w = world('a', 'b');
  w.cut('b');
  const waiting = Array.from({ length: 8_192 }, (_, i) => w.node('b').hello(`x${i}`));
  const next = w.node('b').hello('next');
  w.pass(1_100);
  expect([waiting[8_191].answers, next.answers]).toEqual([[], [`REFUSED 1 ${ReasonCode.BUSY}`]]);
  expect([waiting[8_191].closedWith, next.closedWith]).toEqual([null, ReasonCode.BUSY]);
  waiting[4_711].leave();
  const [taken, refused] = ['taken', 'refused'].map((name) => w.node('b').hello(name));
  w.pass(1_100);
  expect([taken.answers, refused.answers]).toEqual([[], [`REFUSED 1 ${ReasonCode.BUSY}`]]);
});

describe('of two attempts of a client', () => {
  test('the one that has gone takes nothing: its connection ended while its node asked for the session [CLU-22]', () => {
    const w = world('a', 'b');
    w.node('a').hello('x');
    w.pass(50);
    w.cut('b');
    const gone = w.node('b').hello('x');
    w.pass(1_000);
    const newer = w.node('a').hello('x');
    w.pass(50);
    gone.leave();
    w.heal('b');
    w.pass(7_000);
    expect(newer.closedWith).toBeNull();
    expect(w.table.holderOf('s/x')).toBe('a');
    expect(w.node('a').core.metrics().cluster).toMatchObject({ claims: 1, handedOver: 0, lost: 0 });
  });

  test('the older one is refused with BUSY, though its node asks last and does not know that it has gone [CLU-60]', () => {
    const w = world('a', 'b');
    w.cut('b');
    const older = w.node('b').hello('x');
    w.pass(1_000);
    const newer = w.node('a').hello('x');
    w.pass(50);
    expect(newer.welcome.isPresent).toBe(false);
    w.heal('b');
    w.pass(500);
    expect(older.answers).toEqual([`REFUSED 1 ${ReasonCode.BUSY}`]);
    expect(newer.closedWith).toBeNull();
    const newest = w.node('b').hello('x');
    w.pass(500);
    expect(newest.welcome.isPresent).toBe(true);
    expect(newer.closedWith).toBe(ReasonCode.SESSION_TAKEN);
  });

  test('both at one node the newer one asks for itself when the older one is refused, or has gone [CLU-60]', () => {
    for (const isGone of [false, true]) {
      const w = world('a', 'b');
      w.cut('b');
      const oldest = w.node('b').hello('x');
      w.pass(500);
      const older = w.node('a').hello('x');
      w.pass(500);
      const newest = w.node('b').hello('x');
      w.pass(50);
      if (isGone) oldest.leave();
      w.heal('b');
      w.pass(1_000);
      if (!isGone) expect(oldest.answers).toEqual([`REFUSED 1 ${ReasonCode.BUSY}`]);
      expect(older.closedWith).toBe(ReasonCode.SESSION_TAKEN);
      expect(newest.welcome.isPresent).toBe(true);
      expect(newest.closedWith).toBeNull();
    }
  });

  test('what was handed over for one that has gone meanwhile is looked after: its will is published, and it ends in time [CLU-60]', () => {
    const w = world('a', 'b');
    const first = w.node('a').hello('x', { expiryMs: 30_000 });
    w.pass(50);
    first.will('gone', 'x', 10_000);
    w.pass(50);
    const gone = w.node('b').hello('x');
    w.pass(3); // it was asked for, and did not come yet
    gone.leave();
    w.pass(200);
    expect(first.closedWith).toBe(ReasonCode.SESSION_TAKEN);
    expect(w.table.holderOf('s/x')).toBeNull();
    w.pass(6_000);
    expect(w.table.holderOf('s/x')).toBe('a');
    w.pass(40_000);
    expect(w.living().map(({ core }) => core.metrics().willsPublished)).toEqual([1, 0]);
    expect([...w.table.values.keys()]).toEqual(['numbers']);
  });
});

describe('a node that is gone', () => {
  test('leaves its sessions to the others, each to one: wills after their delay, and sessions end in time [CLU-24] [CLU-26]', () => {
    const w = world('a', 'b', 'c');
    for (let i = 0; i < 40; i++) {
      const guest = w.node('a').hello(`s${i}`, { expiryMs: 60_000 });
      w.pass(5);
      guest.will('gone', `${i}`, i < 20 ? 5_000 : 600_000);
    }
    const nameless = w.node('a').hello('', {});
    w.pass(5);
    nameless.will('gone', 'nameless');
    w.pass(100);
    w.kill('a');
    w.pass(LEASE_MS + 2_000);
    const sessions = () => w.living().map(({ core }) => core.metrics().sessions);
    expect(sessions().reduce((sum, n) => sum + n)).toBe(40);
    expect(Math.min(...sessions())).toBeGreaterThan(5);
    w.pass(10_000);
    const wills = () => w.living().reduce((sum, { core }) => sum + core.metrics().willsPublished, 0);
    expect(wills()).toBe(21);
    w.pass(60_000);
    expect(wills()).toBe(41);
    expect(sessions()).toEqual([0, 0]);
    expect([...w.table.values.keys()]).toEqual(['numbers']);
    expect(w.faults).toEqual([]);
  });

  test('has published the will of a client without a session that went before, and nobody does again [CLU-24]', () => {
    const w = world('a', 'b');
    const listener = new FakeClient(w.node('a').core).open();
    listener.subscribe(1, 'gone');
    const guest = w.node('a').hello('');
    w.pass(50);
    for (const will of ['first', 'second']) {
      guest.will('gone', will);
      w.pass(50);
    }
    guest.leave();
    w.pass(50);
    listener.carry();
    expect(listener.link.lines).toEqual(['SUBSCRIBED 1', 'gone=second']);
    expect(w.node('a').core.metrics().cluster).toMatchObject({ lost: 0 });
    w.kill('a');
    w.pass(40_000);
    expect(w.node('b').core.metrics().willsPublished).toBe(0);
    expect([...w.table.values.keys()]).toEqual(['numbers']);
    expect(w.faults).toEqual([]);
  });

  test('that comes back takes at once what it has left', () => {
    const w = world('a', 'b');
    w.node('a').hello('x');
    w.pass(50);
    w.kill('a');
    w.pass(500);
    w.start('a');
    w.pass(200);
    expect(w.node('a').core.metrics()).toMatchObject({ sessions: 1, sessionsAway: 1 });
    const guest = w.node('b').hello('x');
    w.pass(50);
    expect(guest.welcome.isPresent).toBe(true);
  });

  test('has published what its logs say: its sessions go on behind that, though it could not say so any more [CLU-28]', () => {
    const w = world('a', 'b');
    const first = w.node('a').hello('x');
    w.pass(50);
    publish(first.client, 1, 2, 3, 4, 5);
    w.node('a').look();
    w.kill('a');
    w.pass(LEASE_MS + 100);
    const second = w.node('b').hello('x');
    w.pass(500);
    expect(second.welcome.isPresent).toBe(true);
    expect(Math.max(...second.welcome.lastIds)).toBe(5);
  });

  test('was refused messages, which are refused wherever they come again, and whose ids are no other’s [BRK-83] [CLU-28]', () => {
    const w = world('a', 'b', 'c');
    const first = w.node('a').hello('x');
    w.pass(50);
    publishNamed(first.client, [1, 'n', 'one'], [2, '$reserved', 'two'], [3, 'm', 'three']);
    w.pass(50);
    for (const [node, from] of [
      ['b', 4],
      ['c', 5],
    ] as const) {
      const next = w.node(node).hello('x');
      w.pass(50);
      expect(Math.max(...next.welcome.lastIds)).toBe(from - 1);
      const stream = publishNamed(
        next.client,
        [2, '$reserved', 'two'],
        [3, 'm', 'three'],
        [from, node, 'new'],
      );
      w.pass(50);
      stream.carry();
      expect(stream.link.lines.sort()).toEqual([
        'PUBLISHED 3',
        `PUBLISHED ${from}`,
        `REFUSED 2 ${ReasonCode.NOT_AUTHORIZED}`,
      ]);
    }
  });

  test('has lost with its node what was refused there: what the logs lack before what they have is refused again [CLU-28]', () => {
    const w = world('a', 'b', 'c');
    const first = w.node('a').hello('x');
    w.pass(50);
    publish(first.client, 1, 2, 5);
    w.node('a').look();
    w.kill('a');
    w.pass(LEASE_MS + 100);
    for (const [node, last] of [
      ['b', 5],
      ['c', 6],
    ] as const) {
      const next = w.node(node).hello('x');
      w.pass(500);
      expect(Math.max(...next.welcome.lastIds)).toBe(last);
      const stream = publish(next.client, 2, 3, 4, 5, last + 1);
      w.pass(50);
      stream.carry();
      expect(stream.link.lines.sort()).toEqual([
        'PUBLISHED 2',
        'PUBLISHED 5',
        `PUBLISHED ${last + 1}`,
        `REFUSED 3 ${ReasonCode.STORE_FAILED}`,
        `REFUSED 4 ${ReasonCode.STORE_FAILED}`,
      ]);
    }
  });

  test('only cut off gives up what it has before the others take it, and takes nothing back from them [CLU-26]', () => {
    const w = world('a', 'b');
    const guest = w.node('a').hello('x');
    const nameless = w.node('a').hello('');
    w.pass(50);
    w.cut('a');
    w.pass(LEASE_MS - 1_500);
    expect(guest.closedWith).toBeNull();
    w.pass(700);
    expect(guest.closedWith).toBe(ReasonCode.MOVED);
    expect(nameless.closedWith).toBeNull();
    expect(w.table.holderOf('s/x')).toBe('a');
    w.pass(6_000);
    expect(w.table.holderOf('s/x')).toBe('b');
    w.heal('a');
    w.pass(10_000);
    expect(w.table.holderOf('s/x')).toBe('b');
    expect(w.node('a').core.metrics().sessions).toBe(0);
  });

  test('that is cut off lets clients in without their sessions, and sends them back to these when it is of the cluster again [CLU-29]', () => {
    const w = world('a', 'b');
    const before = w.node('a').hello('x');
    w.pass(50);
    publish(before.client, 1, 2);
    w.pass(50);
    w.cut('a');
    w.pass(LEASE_MS);
    const meanwhile = w.node('a').hello('x');
    const listener = new FakeClient(w.node('a').core).open();
    listener.subscribe(1, 'live/#');
    w.pass(50);
    expect(meanwhile.welcome).toMatchObject({ isPresent: false, epoch: 0, lastIds: [0, 0, 0, 0] });
    meanwhile.client.open().send(Buffer.concat([publishPrefix('live/t', 0), Buffer.from('on')]));
    meanwhile.will('gone', 'x', 0);
    w.pass(1_500);
    listener.carry();
    expect(listener.link.lines.join()).toContain('live/t=on');
    expect(meanwhile.answers.join()).toContain('REFUSED');
    w.pass(6_000);
    w.heal('a');
    w.pass(1_000);
    expect(meanwhile.closedWith).toBe(ReasonCode.MOVED);
    const after = w.node('a').hello('x');
    w.pass(3_000);
    expect(after.welcome).toMatchObject({ isPresent: true, epoch: before.welcome.epoch });
    expect(after.welcome.lastIds.reduce((sum, id) => sum + id)).toBe(2);
    w.pass(20_000);
    for (const { core } of w.living()) expect(core.metrics().willsPublished).toBe(0);
    expect(w.faults).toEqual([]);
  });
});

describe('what a node changes of a claim that it has lost, and its core has not heard of that,', () => {
  test('counts as unwritten until it has, and is not written [CLU-20] [CLU-25]', () => {
    const w = world('a', 'b');
    w.node('a').hello('x');
    w.pass(50);
    const { state, table } = w.node('a');
    const before = w.table.values.get('s/x');
    table.lapse();
    state.put('session/x', Buffer.from('stale'));
    state.delete('note/x');
    const { written } = state;
    state.put('own', Buffer.from('of this process alone'));
    expect(state.synced).toBeLessThan(written);
    w.pass(50);
    expect(state.synced).toBe(state.written);
    expect(state.written).toBe(written);
    expect(w.table.values.get('s/x')).toBe(before);
    expect(state.get('session/x')).toBeUndefined();
  });

  test('goes into no claim that has come back in between', () => {
    const w = world('a');
    w.node('a').hello('x');
    w.pass(50);
    const { state, table } = w.node('a');
    table.lapse();
    table.claim('s/x', 'force', { mayTake: () => true, ageMs: 0 });
    while (table.entriesOf('s/x') === undefined) w.clock.runInstant(); // the core hears nothing meanwhile
    state.put('session/x', Buffer.from('stale'));
    expect(Buffer.from(state.get('session/x') ?? []).toString()).not.toBe('stale');
    w.pass(50);
    expect(state.synced).toBe(state.written);
  });

  test('publishes no will: whoever has it now does, of a client with a session and of one without [CLU-24]', () => {
    for (const session of ['x', '']) {
      const w = world('a', 'b');
      const listeners = w.living().map(({ core }) => new FakeClient(core).open());
      for (const listener of listeners) listener.subscribe(1, 'gone');
      const guest = w.node('a').hello(session);
      w.pass(50);
      guest.will('gone', 'x', 0);
      w.pass(50);
      w.node('a').table.lapse();
      guest.leave(); // the core hears of this first
      w.pass(50);
      expect(w.node('a').core.metrics().willsPublished, session).toBe(0);
      w.kill('a');
      w.pass(40_000);
      expect(w.node('b').core.metrics().willsPublished, session).toBe(1);
      expect(w.faults).toEqual([]);
    }
  });

  test('tells nobody of a durable subscription that it is SUBSCRIBED [BRK-55] [CLU-23]', () => {
    const w = world('a', 'b');
    const gone = new FakeClient(w.node('a').core);
    new Subscriber(gone.open()).subscribe('log/#', { name: 'd' });
    w.pass(50);
    gone.disconnect();
    w.pass(50);
    expect(w.table.holderOf('d/d')).toBe('a');
    w.cut('a'); // it cannot have it back
    w.node('a').table.lapse();
    const reader = reading(w.node('a'), 'd', 'log/#');
    expect(reader.take()).toEqual([]);
    w.pass(50);
    expect(reader.take()).toEqual([]);
    expect(w.faults).toEqual([]);
  });
});

describe('a durable subscription', () => {
  test('goes on at every node with its cursor and what it has not settled; whoever held it is told [CLU-23]', () => {
    const w = world('a', 'b');
    const publisher = new FakeClient(w.node('a').core);
    const first = reading(w.node('a'), 'd', 'log/#');
    w.pass(50);
    publish(publisher, 1, 2, 3);
    w.pass(50);
    expect(first.messages()).toEqual(['1 log/t=1', '2 log/t=2', '3 log/t=3']);
    first.ack(1);
    w.pass(50);
    const second = reading(w.node('b'), 'd', 'log/#');
    w.pass(400);
    expect(first.stream.link.resetWith).toBe(ReasonCode.TAKEN);
    expect(second.take()).toEqual(['SUBSCRIBED at 4 recovered', 'POSITION 2', '2!2 log/t=2', '3!2 log/t=3']);
    expect(w.node('a').core.durables()).toEqual([]);
    publish(publisher, 4);
    w.pass(50);
    expect(second.messages()).toEqual(['4 log/t=4']);
  });

  test('whose node is gone goes on where its subscriber comes, and what may have been delivered carries REDELIVERED [CLU-23]', () => {
    const w = world('a', 'b', 'c');
    const first = reading(w.node('a'), 'd', 'log/#');
    w.pass(50);
    publish(new FakeClient(w.node('b').core), 1, 2, 3);
    w.pass(50);
    expect(first.messages()).toHaveLength(3);
    w.kill('a');
    w.pass(1_000);
    const second = reading(w.node('c'), 'd', 'log/#');
    w.pass(4_000); // its holder does not answer
    expect(second.messages().map((line) => line.replace(/!\d/, '!'))).toEqual([
      '1! log/t=1',
      '2! log/t=2',
      '3! log/t=3',
    ]);
  });

  test('that was taken while it was about to be handed over, and has come back, stays with its new subscriber when what the handover waited for is stored [CLU-22]', () => {
    const store = new LateStore(new MemoryStore());
    const backplane = new FakeBackplane();
    backplane.values.complete();
    const faults: unknown[] = [];
    const core = new DrivenCore({}, (fault) => faults.push(fault), store, backplane);
    const pass = () => core.advance(1_000, 1_000_000);
    const safe = () => {
      for (let i = 0; i < 3; i++) store.step(i);
      pass();
    };
    const subscribe = () => {
      const subscriber = new Subscriber(new FakeClient(core).open()).subscribe('log/#', { name: 'd' });
      pass();
      backplane.push((events) => events.claimed('d/d', new Map()));
      pass();
      return subscriber;
    };
    pass();
    const first = subscribe();
    safe();
    expect(first.take()).toEqual(['SUBSCRIBED at 1']);
    publish(new FakeClient(core), 1); // is on its way to the log
    backplane.push((events) => events.claimAsked('d/d', 'b', 0));
    pass();
    expect(first.stream.link.resetWith).toBe(ReasonCode.TAKEN);
    backplane.push((events) => events.claimLost('d/d'));
    pass();
    expect(core.durables()).toEqual([]);
    const second = subscribe();
    expect(core.durables()).toMatchObject([{ name: 'd', subscribers: 1 }]);
    backplane.asked.length = 0;
    safe();
    expect(core.durables()).toMatchObject([{ name: 'd', subscribers: 1 }]);
    expect(backplane.asked).not.toContainEqual(['release', 'd/d']);
    safe();
    expect(second.take()[0]).toMatch(/^SUBSCRIBED/);
    expect(faults).toEqual([]);
  });

  test('that another client may not have is refused, and nobody is disturbed [BRK-118]', () => {
    const w = world('a', 'b');
    const open = (node: string, name: string) => {
      const { core } = w.node(node);
      core.admission.policy = {
        authenticates: true,
        anonymous: { ...EVERYONE, kind: 'apiKey', name, id: name },
      };
      const subscriber = reading(w.node(node), 'd', 'log/#');
      core.admission.policy = OPEN;
      w.pass(400);
      return subscriber;
    };
    const first = open('a', 'ann');
    expect(first.take()).toEqual(['SUBSCRIBED at 1']);
    expect(open('b', 'bob').take()).toEqual(['REFUSED NOT_AUTHORIZED']);
    expect(first.stream.link.resetWith).toBeNull();
    expect(open('b', 'ann').take()).toEqual(['SUBSCRIBED at 1 recovered']);
  });

  test('is over everywhere when its last filter is taken back', () => {
    const w = world('a', 'b');
    const first = reading(w.node('a'), 'd', 'log/#');
    w.pass(50);
    expect(w.table.holderOf('d/d')).toBe('a');
    first.unsubscribe('log/#');
    w.pass(50);
    expect(w.table.holderOf('d/d')).toBeNull();
  });

  test('which is of a group stays where it has members, and comes to a node that asks when it has none [CLU-23]', () => {
    const w = world('a', 'b');
    const first = reading(w.node('a'), undefined, '$share/g/log/#');
    w.pass(50);
    const second = reading(w.node('b'), undefined, '$share/g/log/#');
    w.pass(200);
    expect(w.table.holderOf('d/$share/g/log/#')).toBe('a');
    expect(first.stream.link.resetWith).toBeNull();
    expect(second.take()).toEqual([]); // it is relayed to that node, which is another page's [CLU-50]
    first.stream.end();
    w.pass(50);
    const third = reading(w.node('b'), undefined, '$share/g/log/#');
    w.pass(200);
    expect(w.table.holderOf('d/$share/g/log/#')).toBe('b');
    expect(third.take()).toEqual(['SUBSCRIBED at 1 recovered']);
  });
});

test('what waits in a node that knows nothing of its claims costs nothing when it is idle: no change is written [CLU-25]', () => {
  const w = world('a', 'b');
  w.node('a').hello('x');
  reading(w.node('b'), 'd', 'log/#');
  w.pass(1_000);
  const { changes } = w.table;
  w.pass(60_000);
  expect(w.table.changes - changes).toBeLessThan(3);
});
