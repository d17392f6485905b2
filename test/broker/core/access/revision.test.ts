import { describe, expect, test } from 'vitest';
import type { Principal } from '../../../../src/broker/core/access/principal.ts';
import {
  Command,
  encodeSubscribe,
  Overflow,
  PublishFlag,
  ReasonCode,
  SubscribeFlag,
} from '../../../../src/pubsub/command.ts';
import { encodeProperties } from '../../../../src/pubsub/properties.ts';
import {
  AuthMethod,
  decodeNotice,
  encodeRenew,
  NoticeCode,
} from '../../../../src/pubsub/session-commands.ts';
import { encodeSubscribeOptions } from '../../../../src/pubsub/subscribe-options.ts';
import type { FakeStream } from '../fake-client.ts';
import { type Guest, taken } from '../world.ts';
import { Guarded, message, reader, somebody } from './guarded.ts';

const DENIED = ReasonCode.NOT_AUTHORIZED;

describe('when a principal is none any more', () => {
  test('its connections are closed, and nothing of it stays: sessions, durable subscriptions, wills [BRK-119]', () => {
    const world = new Guarded();
    const anna = somebody('anna', ['allow subscribe,publish #']);
    const otto = somebody('otto', ['allow subscribe,publish #']);
    const heard = reader(world.enter(otto, 'listener'), '#');
    const here = world.enter(anna, 'here');
    here.will('will/here', 'x');
    for (const [principal, name] of [
      [anna, 'away'],
      [otto, 'other'],
    ] as const) {
      const guest = world.enter(principal, name);
      hold(guest, `d-${name}`);
      guest.will(`will/${name}`, 'x', 60_000);
      guest.leave();
    }
    world.core.reauthorize((principal) => (principal.id === anna.id ? null : principal));
    expect(here.closedWith).toBe(DENIED);
    expect(world.core.metrics()).toMatchObject({ clients: 1, sessions: 2, durables: 1 });
    world.pass(120_000);
    expect(taken(heard)).toEqual(['SUBSCRIBED 1', 'will/other=x']);
    expect(
      world.core.trace
        .filter(({ what }) => what === 'revoked')
        .map(({ principal, detail }) => `${principal} ${detail}`),
    ).toEqual([
      'anna the connection',
      'anna the session here',
      'anna the session away',
      'anna the durable subscription d-away',
    ]);
    // The names are free.
    expect(world.enter(otto, 'away').welcome.isPresent).toBe(false);
    expect(hold(world.enter(otto, 'another'), 'd-away')).toEqual(['SUBSCRIBED 1']);
  });

  test('what is kept for its name stays for who is known by that, and no will of who is not [BRK-118] [BRK-119]', () => {
    const world = new Guarded();
    const anna = somebody('anna', ['allow subscribe,publish #']);
    const heard = reader(world.enter(somebody('otto', ['allow subscribe #'])), '#');
    const guest = world.enter(anna, 'away');
    hold(guest, 'd');
    guest.will('will', 'x', 30_000);
    guest.leave();
    const next = { ...anna, id: 'another key' };
    world.core.reauthorize((principal) => (principal.id === anna.id ? next : principal));
    world.pass(40_000);
    expect(taken(heard)).toEqual(['SUBSCRIBED 1']);
    const back = world.enter(next, 'away');
    expect(back.welcome.isPresent).toBe(true);
    expect(hold(back, 'd')).toEqual(['SUBSCRIBED 1']);
    expect(world.core.metrics().durables).toBe(1);
  });

  test('what somebody else left to be published, or may publish still, is published [BRK-119]', () => {
    const world = new Guarded();
    const anna = somebody('anna', ['allow publish #']);
    const heard = reader(world.enter(somebody('otto', ['allow subscribe #'])), '#');
    const guest = world.enter(anna, 'here');
    guest.will('will/here', 'x');
    const away = world.enter(anna, 'away');
    away.will('will/away', 'x', 30_000);
    away.leave();
    const less = somebody('anna', ['allow publish will/#']);
    world.core.reauthorize((principal) => (principal.id === anna.id ? less : principal));
    guest.leave();
    world.pass(40_000);
    expect(taken(heard)).toEqual(['SUBSCRIBED 1', 'will/here=x', 'will/away=x']);
  });

  test('it is too late for credentials that were being looked at meanwhile [BRK-119]', () => {
    const world = new Guarded();
    const anna = somebody('anna', ['allow publish #']);
    const ask = () => world.hello('s', { method: AuthMethod.API_KEY, credentials: Buffer.from('k') });
    const guest = ask();
    world.core.reauthorize(() => null);
    world.core.answer({ principal: anna });
    expect(guest.answers).toEqual([`REFUSED 1 ${DENIED}`]);
    const next = ask(); // asked by what is true now
    world.core.answer({ principal: anna });
    expect(next.answers).toEqual(['WELCOME 1']);
  });

  test('nobody else notices, also where the review itself fails for one [BRK-119]', () => {
    const world = new Guarded();
    const guests = ['a', 'b', 'c'].map((name) => world.enter(somebody(name, ['allow publish #']), name));
    world.core.reauthorize((principal) => {
      if (principal.name === 'b') throw new Error('no');
      return principal;
    });
    expect(guests.map(({ closedWith }) => closedWith)).toEqual([null, ReasonCode.INTERNAL_ERROR, null]);
    expect(world.faults.length).toBe(2); // for its session, too
  });
});

describe('when a principal may do less', () => {
  test('filters end that it may not have, and it is told of each [BRK-119]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow subscribe #']), 's');
    const only = reader(guest, 'a/#');
    const both = reader(guest, 'a/#');
    both.subscribe(2, 'b/#');
    const inbox = reader(guest, '$inbox/s/#');
    const writer = world.enter(somebody('w', ['allow publish,request #'])).client.open();
    taken(both);
    become(world, ['allow subscribe b/#']);
    for (const topic of ['a/1', 'b/1']) writer.publish(topic, 'x');
    expect(taken(only)).toEqual(['SUBSCRIBED 1']);
    expect(only.link.resetWith).toBe(DENIED);
    expect(taken(both)).toEqual(['b/1=x']);
    expect(inbox.link.resetWith).toBeNull();
    guest.control.carry();
    const notices = guest.control.link.delivered
      .filter(([command]) => command === Command.NOTICE)
      .map((bytes) => decodeNotice(bytes));
    expect(notices).toEqual([1, 2].map(() => ({ code: NoticeCode.REVOKED, value: 0, text: 'a/#' })));
    expect(world.core.metrics().subscriptions).toBe(2);
    expect(world.faults).toEqual([]);
  });

  test('what is queued and not for it any more is discarded, and told; what still is comes [BRK-119]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow subscribe #']), 's');
    const stream = guest.client.open(1); // its transport takes one message
    stream.subscribe(1, '#');
    const writer = world.enter(somebody('w', ['allow publish #'])).client.open();
    for (const topic of ['a', 'b', 'secret', 'a', 'secret', 'b']) writer.publish(topic, 'x');
    become(world, ['allow subscribe #', 'deny subscribe secret']);
    expect(drain(stream)).toEqual(['SUBSCRIBED 1', 'a=x', 'b=x', 'DROPPED 1 3', 'a=x', 'DROPPED 1 3', 'b=x']);
    writer.publish('secret', 'x');
    writer.publish('a', 'y');
    expect(drain(stream)).toEqual(['a=y']);
    become(world, ['allow subscribe #']);
    writer.publish('secret', 'z');
    expect(drain(stream)).toEqual(['secret=z']);
  });

  test('a publisher that waited for it goes on [BRK-119]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow subscribe #']), 's');
    const stream = guest.client.open(1);
    stream.subscribe(1, 'a', Overflow.BLOCK, 1);
    const writer = world.enter(somebody('w', ['allow publish #'])).client.open();
    for (let i = 0; i < 4; i++) writer.publish('a', `${i}`);
    expect(writer.link.paused).toBe(true);
    become(world, ['allow subscribe b']);
    world.pass(1);
    expect(writer.link.paused).toBe(false);
    expect(stream.link.resetWith).toBe(DENIED);
  });

  test('a log is read no further, by who holds it and by who comes back; a group goes on [BRK-119]', () => {
    const world = new Guarded();
    const anna = somebody('anna', ['allow subscribe,share #']);
    const guest = world.enter(anna, 's');
    const writer = world.enter(somebody('w', ['allow publish #', 'allow subscribe,share #'])).client.open();
    hold(guest, 'd');
    const away = world.enter(anna, 'away');
    hold(away, 'd-away', 'a/#');
    hold(away, 'd-kept', 'b/#');
    away.leave();
    const grouped = guest.client.open();
    grouped.send(encodeSubscribe(1, '$share/g/a/#', SubscribeFlag.QOS1, 0, 0));
    taken(grouped);
    become(world, ['allow subscribe b/#']);
    expect(world.core.metrics()).toMatchObject({ durables: 2 }); // d-kept, and the group
    writer.send(message('a/1', 'x', {}, 1));
    writer.send(message('b/1', 'x', {}, 2));
    expect(taken(grouped)).toEqual([]);
    expect(grouped.link.resetWith).toBe(DENIED);
    const other = world.enter(somebody('o', ['allow subscribe,share #'])).client.open();
    other.send(encodeSubscribe(1, '$share/g/a/#', SubscribeFlag.QOS1, 0, 0));
    expect(taken(other).filter((line) => line.includes('='))).toEqual(['a/1=x']);
    const back = world.enter(somebody('anna', ['allow subscribe b/#']), 'away');
    expect(hold(back, 'd-kept', 'b/#')).toEqual(['SUBSCRIBED 1', 'b/1=x']);
  });

  test('a will goes that it may not leave, and what it publishes is looked at anew [BRK-119]', () => {
    const world = new Guarded();
    const heard = reader(world.enter(somebody('all', ['allow subscribe #'])), '#');
    const guest = world.enter(somebody('anna', ['allow publish #']), 's', { expiryMs: 0 });
    const stream = guest.client.open();
    guest.will('a', 'gone');
    stream.publish('a', '1');
    become(world, ['allow publish b']);
    stream.publish('a', '2');
    stream.publish('b', '2');
    guest.leave();
    expect(taken(heard)).toEqual(['SUBSCRIBED 1', 'a=1', 'b=2']);
  });

  test.each<[string, string[], boolean]>([
    ['stays as long as that is allowed', ['allow request svc/#', 'allow subscribe b'], true],
    ['goes where nothing but publishing is', ['allow publish #'], false],
  ])('a will with a topic for replies, which needs `request`, %s [BRK-114] [BRK-119]', (_, rules, stays) => {
    const world = new Guarded();
    const heard = reader(world.enter(somebody('all', ['allow subscribe #'])), '#');
    const guest = world.enter(somebody('anna', ['allow request svc/#']), 's', { expiryMs: 0 });
    const properties = encodeProperties({ replyTopic: '$inbox/s/1' }).toString('latin1');
    guest.will('svc/a', `${properties}x`, 0, PublishFlag.PROPERTIES);
    expect(guest.answers).toEqual(['WELCOME 1', 'WILL_SET 2']);
    become(world, rules);
    guest.client.disconnect();
    expect(taken(heard)).toEqual(['SUBSCRIBED 1', ...(stays ? [expect.stringMatching(/^svc\/a=/)] : [])]);
  });

  test('so are wills of before a crash whose sessions did not outlive it [BRK-119]', () => {
    const world = new Guarded();
    const rules = ['allow publish a b'];
    const [anna, otto, zoe] = ['anna', 'otto', 'zoe'].map((name) => somebody(name, rules));
    for (const [principal, topic] of [
      [anna, 'a'],
      [otto, 'a'],
      [zoe, 'a'],
      [zoe, 'b'],
    ] as const) {
      const guest = world.enter(principal, ''); // a session without a name
      guest.will(topic, principal.name);
      expect(guest.answers).toEqual(['WELCOME 1', 'WILL_SET 2']);
    }
    world.crash(1_000);
    world.guard();
    const heard = reader(world.enter(somebody('all', ['allow subscribe #'])), '#');
    const lessZoe = somebody('zoe', ['allow publish b']);
    world.core.reauthorize((principal) => {
      if (principal.name === 'anna') return null;
      return principal.name === 'zoe' ? lessZoe : principal;
    });
    world.pass(120_000);
    expect(taken(heard).sort()).toEqual(['SUBSCRIBED 1', 'a=otto', 'b=zoe']);
    expect([...world.store.state.entries('will/')]).toEqual([]);
  });

  test('its dead letters go nowhere that it may not publish, and what it reads is kept for it [BRK-119]', () => {
    const world = new Guarded();
    const heard = reader(world.enter(somebody('all', ['allow subscribe #', 'allow publish #'])), 'secret');
    const writer = world.enter(somebody('w', ['allow publish #'])).client.open();
    const subscribe = (guest: Guest, filter: string, deadLetter: string, id = 1) => {
      const stream = guest.client.open();
      const name = filter.startsWith('$') ? {} : { name: 'd' };
      const options = encodeSubscribeOptions({ ...name, deliveriesMax: 1, deadLetter });
      stream.send(encodeSubscribe(id, filter, SubscribeFlag.QOS1, 0, 0, options));
      return stream;
    };
    const lines = (stream: FakeStream) => taken(stream).filter((line) => !line.startsWith('POSITION'));
    const guest = world.enter(somebody('anna', ['allow subscribe,share,publish #']), 's');
    const durable = subscribe(guest, 'mine', 'secret');
    const grouped = subscribe(guest, '$share/g/mine', 'secret');
    writer.send(message('mine', 'x', {}, 1));
    expect([lines(durable), lines(grouped)]).toEqual([
      ['SUBSCRIBED 1', 'mine=x'],
      ['SUBSCRIBED 1', 'mine=x'],
    ]);
    become(world, ['allow subscribe,share #', 'allow publish mine']);
    expect([durable.link.resetWith, grouped.link.resetWith]).toEqual([DENIED, DENIED]);
    writer.send(message('mine', 'y', {}, 2));
    world.pass(60_000);
    expect(lines(subscribe(guest, 'mine', 'secret'))).toEqual([`REFUSED 1 ${DENIED}`]);
    expect(lines(subscribe(guest, 'mine', 'mine'))).toEqual(['SUBSCRIBED 1', 'mine=y']);
    expect(taken(heard)).toEqual(['SUBSCRIBED 1']);
    expect(world.core.metrics().deadLetters).toBe(0);
    expect(world.faults).toEqual([]);
  });

  test('by a RENEW it is the same [BRK-119]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow subscribe #']), 's');
    const stream = reader(guest, 'a');
    guest.control.send(encodeRenew(2, AuthMethod.API_KEY, Buffer.from('k')));
    world.core.answer({ principal: somebody('anna', ['allow subscribe b']) });
    expect(guest.answers).toContain('RENEWED 2');
    expect(stream.link.resetWith).toBe(DENIED);
  });
});

/** Anna has these rules from now on, wherever she is. */
function become(world: Guarded, rules: readonly string[]): void {
  const now = somebody('anna', rules);
  world.core.reauthorize((principal: Principal) => (principal.name === 'anna' ? now : principal));
}

function hold(guest: Guest, name: string, filter = 'a/#'): string[] {
  const stream = guest.client.open();
  stream.send(encodeSubscribe(1, filter, SubscribeFlag.QOS1, 0, 0, encodeSubscribeOptions({ name })));
  return taken(stream).filter((line) => !line.startsWith('POSITION'));
}

/** What comes as the transport takes it. */
function drain(stream: ReturnType<typeof reader>): string[] {
  for (let i = 0; i < 20; i++) stream.carry();
  return taken(stream);
}
