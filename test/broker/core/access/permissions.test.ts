import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Allowance } from '../../../../src/broker/core/access/access.ts';
import {
  Command,
  encodeAlias,
  encodeSubscribe,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  SubscribeFlag,
} from '../../../../src/pubsub/command.ts';
import { decodeNotice, NoticeCode } from '../../../../src/pubsub/session-commands.ts';
import {
  encodeSubscribeOptions,
  StartKind,
  type SubscribeOptionValues,
} from '../../../../src/pubsub/subscribe-options.ts';
import { type Guest, taken } from '../world.ts';
import { Guarded, message, reader, somebody } from './guarded.ts';

const DENIED = ReasonCode.NOT_AUTHORIZED;

describe('what a client may publish', () => {
  test('goes on; what it may not is dropped, told and counted, or refused by its id [BRK-114]', () => {
    const world = new Guarded();
    const all = world.enter(somebody('all', ['allow subscribe #']));
    const heard = reader(all, '#');
    const guest = world.enter(somebody('anna', ['allow publish a/# secret', 'deny publish a/x']), 's');
    const stream = guest.client.open();
    for (const topic of ['a/b', 'a/x', 'b', 'a/b', 'a/x']) stream.publish(topic, '1');
    expect(taken(heard)).toEqual(['SUBSCRIBED 1', 'a/b=1', 'a/b=1']);
    world.pass(1_000);
    guest.control.carry();
    const notices = guest.control.link.delivered
      .filter(([command]) => command === Command.NOTICE)
      .map((bytes) => decodeNotice(bytes));
    expect(notices.map(({ code }) => code)).toEqual([NoticeCode.NOT_AUTHORIZED, NoticeCode.NOT_AUTHORIZED]);
    expect(notices.map(({ value }) => value)).toEqual([1, 2]);
    expect(notices[1].text).toBe('a/x');
    stream.send(message('b', '2', {}, 1));
    stream.send(message('a/b', '3', {}, 2));
    stream.send(message('b', '2', {}, 1));
    expect(taken(stream)).toEqual([`REFUSED 1 ${DENIED}`, 'PUBLISHED 2', `REFUSED 1 ${DENIED}`]);
    expect(taken(heard)).toEqual(['a/b=3']);
    expect(world.core.metrics()).toMatchObject({ publishesDenied: 4, publishesRefused: 1 });
    expect(guest.closedWith).toBeNull();
    expect(world.core.trace.filter(({ what }) => what === 'denied').map(({ detail }) => detail)).toEqual([
      'publish a/x',
      'publish: 2 more',
      'publish b',
    ]);
  });

  test('is judged by the topic behind an alias, and so is a will [BRK-114]', () => {
    const world = new Guarded();
    const heard = reader(world.enter(somebody('all', ['allow subscribe #'])), '#');
    taken(heard);
    const guest = world.enter(somebody('anna', ['allow publish a']), 's', { expiryMs: 0 });
    const stream = guest.client.open();
    for (const topic of ['a', 'b']) {
      stream.send(encodeAlias(1, topic));
      stream.send(Buffer.of(Command.PUBLISH, PublishFlag.ALIAS, 0, 1, 0, 0, 0, 0, 0x31));
    }
    expect(taken(heard)).toEqual(['a=1']);
    guest.will('b', 'gone');
    expect(guest.answers.slice(-1)).toEqual([`REFUSED 2 ${DENIED}`]);
    guest.will('a', 'gone');
    guest.leave();
    expect(taken(heard)).toEqual(['a=gone']);
  });
});

describe('what a client may subscribe to', () => {
  test('is what one rule allows; what is denied of that is withheld, live, from a log and as last value [BRK-115]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow subscribe a/# c', 'deny subscribe a/secret/#']));
    const writer = world.enter(somebody('all', ['allow publish #'])).client.open();
    writer.send(Buffer.concat([publishPrefix('a/secret/1', PublishFlag.RETAIN), Buffer.from('r')]));
    writer.send(Buffer.concat([publishPrefix('a/open', PublishFlag.RETAIN), Buffer.from('r')]));
    for (const filter of ['#', 'b', 'a/secret/1', 'a/secret/#', '+/open']) {
      expect(taken(reader(guest, filter))).toEqual([`REFUSED 1 ${DENIED}`]);
    }
    const live = reader(guest, 'a/+/1');
    const whole = reader(guest, 'a/#');
    const log = guest.client.open();
    log.send(encodeSubscribe(1, 'a/#', SubscribeFlag.QOS1, 0, 0));
    for (const topic of ['a/secret/1', 'a/open/1', 'a/secret', 'c']) writer.publish(topic, '1');
    writer.send(message('a/secret/2', '2', {}, 1));
    writer.send(message('a/open/2', '2', {}, 2));
    expect(taken(live).slice(1)).toEqual(['a/open/1=1']);
    expect(taken(whole).slice(1)).toEqual(['a/open=r', 'a/open/1=1', 'a/open/2=2']);
    expect(taken(log).filter((line) => line.includes('='))).toEqual(['a/open=r', 'a/open/1=1', 'a/open/2=2']);
    expect(world.core.metrics().deliveriesWithheld).toBe(10);
    whole.unsubscribe(2, 'a/#');
    whole.subscribe(3, 'c');
    writer.publish('c', '3');
    expect(taken(whole)).toEqual(['UNSUBSCRIBED 2', 'SUBSCRIBED 3', 'c=3']);
  });

  test('of a shared subscription is judged behind the group, and as a whole [BRK-115]', () => {
    const world = new Guarded();
    const guest = world.enter(
      somebody('anna', ['allow subscribe,share a/# b', 'deny subscribe a/secret', 'deny share b']),
    );
    for (const [filter, answer] of [
      ['$share/g/a/open/#', 'SUBSCRIBED 1'],
      ['$share/g/a/#', `REFUSED 1 ${DENIED}`],
      ['$share/g/a/secret', `REFUSED 1 ${DENIED}`],
      ['$share/a/#', `REFUSED 1 ${DENIED}`],
      ['$share/g/b', `REFUSED 1 ${DENIED}`],
      ['b', 'SUBSCRIBED 1'],
    ]) {
      expect([filter, ...taken(reader(guest, filter))]).toEqual([filter, answer]);
    }
  });

  test('takes the topic for its dead letters into account [BRK-115]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow subscribe #', 'allow publish dead/anna']));
    const ask = (deadLetter: string): string[] => {
      const stream = guest.client.open();
      stream.send(durable(1, 'a', { name: `d-${deadLetter}`, deadLetter }));
      return taken(stream);
    };
    expect(ask('dead/anna')).toEqual(['SUBSCRIBED 1']);
    expect(ask('dead/otto')).toEqual([`REFUSED 1 ${DENIED}`]);
    expect(ask('$sys/admin/kick')).toEqual([`REFUSED 1 ${ReasonCode.TOPIC_INVALID}`]);
  });

  test('never brings it a topic that the rules deny it, whatever the filters [BRK-115]', () => {
    const level = fc.constantFrom('a', 'b', '+');
    const filter = fc.oneof(
      fc.array(level, { minLength: 1, maxLength: 3 }).map((levels) => levels.join('/')),
      fc.array(level, { maxLength: 2 }).map((levels) => [...levels, '#'].join('/')),
    );
    const rule = fc.record({ effect: fc.constantFrom('allow', 'allow', 'deny'), filter });
    const topics = ['a', 'b', 'a/a', 'a/b', 'b/a', 'b/b', 'a/b/a', 'b/b/b'];
    fc.assert(
      fc.property(
        fc.array(rule, { minLength: 1, maxLength: 4 }),
        fc.array(filter, { minLength: 1, maxLength: 3 }),
        (rules, filters) => {
          const world = new Guarded();
          const principal = somebody(
            'anna',
            rules.map((one) => `${one.effect} subscribe ${one.filter}`),
          );
          const guest = world.enter(principal);
          const stream = guest.client.open();
          for (const [i, each] of filters.entries()) stream.subscribe(i + 1, each);
          taken(stream);
          const writer = world.enter(somebody('all', ['allow publish #'])).client.open();
          for (const topic of topics) writer.publish(topic, 'x');
          const { access } = principal;
          const held = filters.filter((each) => access?.maySubscribe(each, false) !== Allowance.DENIED);
          const expected = topics.filter(
            (topic) => access?.mayReceive(topic) && held.some((each) => matches(each, topic)),
          );
          return taken(stream).join() === expected.map((topic) => `${topic}=x`).join();
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('requests', () => {
  test('need an action of their own, and are answered by whoever may read them [BRK-116]', () => {
    const world = new Guarded();
    const asker = world.enter(somebody('asker', ['allow request service/#']), 'asker');
    const inbox = reader(asker, '$inbox/asker/#');
    expect(taken(inbox)).toEqual(['SUBSCRIBED 1']);
    const service = world.enter(somebody('service', ['allow subscribe service/#']), 'service');
    const requests = reader(service, 'service/#');
    const other = world
      .enter(somebody('other', ['allow publish other', 'allow subscribe other']), 'other')
      .client.open();
    const stream = asker.client.open();
    const answers = service.client.open();
    answers.publish('$inbox/asker/1', 'too early');
    stream.send(message('service/x', 'ask', { replyTopic: '$inbox/asker/1' }));
    expect(taken(requests)).toEqual(['SUBSCRIBED 1', 'service/x=ask']);
    other.publish('$inbox/asker/1', 'forged');
    answers.publish('$inbox/asker/2', 'nobody asked');
    answers.publish('$inbox/asker/1', 'answer');
    expect(taken(inbox)).toEqual(['$inbox/asker/1=answer']);
    world.pass(5 * 60_000);
    answers.publish('$inbox/asker/1', 'too late');
    stream.publish('service/x', 'no request');
    expect(taken(inbox)).toEqual([]);
    expect(taken(requests)).toEqual([]);
    expect(taken(reader(service, '$inbox/asker/#'))).toEqual([`REFUSED 1 ${DENIED}`]);
  });

  test('have nobody publish for their client where it may not [BRK-116]', () => {
    const world = new Guarded();
    const heard = reader(world.enter(somebody('all', ['allow subscribe #'])), '#');
    taken(heard);
    const asker = world.enter(somebody('asker', ['allow request service', 'allow publish mine']), 'asker');
    const stream = asker.client.open();
    for (const replyTopic of ['secret', '$inbox/other/1', '$sys/admin/kick', 'mine']) {
      stream.send(message('nobody/there', 'ask', { replyTopic }));
      stream.send(message('service', 'ask', { replyTopic }));
    }
    // Where it may be answered it hears that it may not ask. [BRK-114]
    const denial = JSON.stringify({ code: 'NOT_AUTHORIZED', detail: 'You may not ask nobody/there.' });
    expect(taken(heard)).toEqual([`mine=${denial}`, 'service=ask']);
    expect(world.core.metrics().publishesDenied).toBe(7);
  });
});

describe('what operators ask', () => {
  test('needs admin, and is answered by whoever knows [BRK-117]', () => {
    const world = new Guarded();
    const operator = world.enter(somebody('op', ['allow admin #']), 'op');
    const inbox = reader(operator, '$inbox/op/#');
    const stream = operator.client.open();
    stream.send(
      message('$sys/admin/status', '{}', { replyTopic: '$inbox/op/1', correlation: Buffer.from('c') }),
    );
    stream.send(message('$sys/admin/kick', '{"client":1}', { replyTopic: '$inbox/op/2' }, 1));
    expect(taken(stream)).toEqual(['PUBLISHED 1']);
    const [first, second] = world.core.requests;
    expect(first).toMatchObject({ verb: 'status', principal: { name: 'op' } });
    expect(Buffer.from(second.payload).toString()).toBe('{"client":1}');
    const { administration } = world.core;
    administration.answer(second.number, 0, Buffer.from('done'));
    administration.answer(first.number, 404, Buffer.from('no'));
    administration.answer(first.number, 0, Buffer.from('twice'));
    world.core.look();
    expect(taken(inbox)).toEqual(['SUBSCRIBED 1', '$inbox/op/2=done', '$inbox/op/1=no']);
    expect(taken(reader(operator, '$sys/#'))).toEqual(['SUBSCRIBED 1']);
  });

  test('is answered with 403 for others, who hear nothing of the broker either [BRK-117]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', ['allow publish,subscribe,share,request # $sys/#']), 'anna');
    const inbox = reader(guest, '$inbox/anna/#');
    const stream = guest.client.open();
    stream.send(message('$sys/admin/status', '{}', { replyTopic: '$inbox/anna/1' }));
    stream.send(message('$sys/admin/status', '{}', { replyTopic: '$inbox/anna/2' }, 7));
    expect(taken(stream)).toEqual([`REFUSED 7 ${DENIED}`]);
    expect(taken(inbox).filter((line) => line.includes('NOT_AUTHORIZED')).length).toBe(2);
    for (const filter of ['$sys/#', '$sys/feed', '$share/g/$sys/#', '$sys/admin/+']) {
      expect(taken(reader(guest, filter))).toEqual([`REFUSED 1 ${DENIED}`]);
    }
    expect(world.core.requests).toEqual([]);
    expect(guest.closedWith).toBeNull();
  });

  test('is bounded, and nothing else is published there [BRK-117]', () => {
    const world = new Guarded();
    const operator = world.enter(somebody('op', ['allow admin,publish # $sys/#']), 'op');
    const inbox = reader(operator, '$inbox/op/#');
    const stream = operator.client.open();
    for (let i = 0; i < 257; i++) stream.send(message('$sys/admin/x', '', { replyTopic: '$inbox/op/1' }));
    expect(world.core.requests.length).toBe(256);
    expect(taken(inbox).slice(1)).toHaveLength(1);
    operator.will('$sys/admin/kick', 'x');
    expect(operator.closedWith).toBe(ReasonCode.TOPIC_INVALID);
    const other = world.enter(somebody('op', ['allow publish # $sys/#'])).client;
    other.open().publish('$sys/feed', 'mine');
    expect(other.peer.closedWith).toBe(ReasonCode.TOPIC_INVALID);
  });

  test('can be to close a connection [BRK-123] [BRK-124]', () => {
    const world = new Guarded();
    const guest = world.enter(somebody('anna', []), 'a');
    expect(world.core.administration.kick(guest.client.end.id, 'op', 'too loud')).toBe(true);
    expect(world.core.administration.kick(guest.client.end.id, 'op', '')).toBe(false);
    world.core.look();
    expect(guest.closedWith).toBe(ReasonCode.KICKED);
    expect(world.core.trace.map(({ what, principal, detail }) => [what, principal, detail])).toEqual([
      ['authenticated', 'anna', 'a'],
      ['kicked', 'anna', 'by op: too loud'],
    ]);
  });
});

describe('sessions and durable subscriptions', () => {
  test('are their principal’s, also after a start of the broker [BRK-118]', () => {
    const world = new Guarded();
    const anna = somebody('anna', ['allow subscribe #']);
    const otto = somebody('otto', ['allow subscribe #']);
    const first = world.enter(anna, 's');
    expect(hold(first)).toEqual(['SUBSCRIBED 1']);
    for (const crashes of [false, true]) {
      if (crashes) {
        world.crash(1_000);
        world.guard();
      }
      const thief = world.enter(otto, 's');
      expect(thief.answers).toEqual([`REFUSED 1 ${DENIED}`]);
      expect(first.closedWith).toBeNull();
      world.pass(1_000);
      expect(thief.closedWith).toBe(DENIED);
      expect(hold(world.enter(otto, 'o'))).toEqual([`REFUSED 1 ${DENIED}`]);
      expect(world.enter(otto, 's', { cleanStart: true }).answers).toEqual([`REFUSED 1 ${DENIED}`]);
    }
    // By another way to say the same: a key instead of a token.
    const back = world.enter({ ...anna, kind: 'jwt', id: 'token' }, 's');
    expect(back.welcome.isPresent).toBe(true);
    expect(hold(back)).toEqual(['SUBSCRIBED 1']);
    expect(world.enter(somebody('otto', []), 's').answers).toEqual([`REFUSED 1 ${DENIED}`]);
  });

  test('from before anybody was asked belong to whoever takes them first [BRK-118]', () => {
    const world = new Guarded();
    world.core.admission.policy = {
      authenticates: false,
      anonymous: { ...somebody('', []), kind: 'anonymous', access: null },
    };
    const before = world.hello('s');
    hold(before);
    world.guard();
    const anna = world.enter(somebody('anna', ['allow subscribe #']), 's');
    expect(before.closedWith).toBe(ReasonCode.SESSION_TAKEN);
    expect(anna.welcome.isPresent).toBe(true);
    expect(hold(anna)).toEqual(['SUBSCRIBED 1']);
    const otto = somebody('otto', ['allow subscribe #']);
    expect(world.enter(otto, 's').answers).toEqual([`REFUSED 1 ${DENIED}`]);
    expect(hold(world.enter(otto, 'o'))).toEqual([`REFUSED 1 ${DENIED}`]);
  });
});

/** Takes a durable subscription; its answer. */
function hold(guest: Guest): string[] {
  const stream = guest.client.open();
  stream.send(durable(1, 'a/#', { name: 'd', start: StartKind.EARLIEST }));
  return taken(stream).filter((line) => !line.startsWith('POSITION'));
}

function durable(id: number, filter: string, options: SubscribeOptionValues): Buffer {
  return encodeSubscribe(id, filter, SubscribeFlag.QOS1, 0, 0, encodeSubscribeOptions(options));
}

function matches(filter: string, topic: string): boolean {
  const pattern = `/${filter}`.replaceAll(/\/\+/g, '/[^/]*').replace(/\/#$/, '(/.*)?');
  return new RegExp(`^${pattern}$`).test(`/${topic}`);
}
