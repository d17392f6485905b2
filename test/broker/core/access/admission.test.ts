import { describe, expect, test } from 'vitest';
import { UNKNOWN_CONNECTION } from '../../../../src/broker/carrying.ts';
import { EVERYONE, type Principal } from '../../../../src/broker/core/access/principal.ts';
import { Command, encodePlain, ReasonCode } from '../../../../src/pubsub/command.ts';
import {
  AuthMethod,
  decodeNotice,
  encodeRenew,
  NoticeCode,
} from '../../../../src/pubsub/session-commands.ts';
import { FakeClient } from '../fake-client.ts';
import { Guest, World } from '../world.ts';

describe('a client of a broker that asks for credentials', () => {
  test('is asked about when it shows some, and nothing is done until that is known [BRK-110] [BRK-111]', () => {
    const { world, guest } = asking();
    expect(world.core.questions).toMatchObject([{ method: AuthMethod.API_KEY, session: 'a', renews: null }]);
    expect(Buffer.from(world.core.questions[0].credentials).toString()).toBe('key');
    expect(guest.answers).toEqual([]);
    expect(guest.control.link.paused).toBe(true);
    world.core.answer({ principal: anna });
    expect(guest.answers).toEqual(['WELCOME 1']);
    expect(guest.control.link.paused).toBe(false);
    guest.client.open().publish('t', 'x');
    expect(guest.closedWith).toBeNull();
  });

  test('is closed when it does anything else before, whoever it is [BRK-111]', () => {
    for (const isAsked of [true, false]) {
      const { world, guest } = isAsked ? asking() : { world: strict(), guest: null };
      const client = guest?.client ?? world.connect();
      const listener = world.core.metrics().clients;
      const stream = client.open();
      stream.ping(7);
      expect(client.peer.closedWith).toBeNull();
      stream.publish('t', 'x');
      expect(client.peer.closedWith).toBe(ReasonCode.NOT_AUTHORIZED);
      expect(world.core.metrics()).toMatchObject({ clients: listener - 1, messagesIn: 0 });
      world.core.answer({ principal: anna }); // too late
      expect(world.core.metrics().sessions).toBe(0);
    }
    for (const command of [encodePlain(Command.LEAVE, 0), encodeRenew(1, AuthMethod.JWT, Buffer.from('x'))]) {
      const guest = new Guest(strict().connect());
      guest.control.send(command);
      expect(guest.closedWith).toBe(ReasonCode.NOT_AUTHORIZED);
    }
  });

  test('that says nothing is closed after 10 s [BRK-111]', () => {
    const world = strict();
    const client = world.connect();
    world.pass(9_999);
    expect(client.peer.closedWith).toBeNull();
    world.pass(1);
    expect(client.peer.closedWith).toBe(ReasonCode.NOT_AUTHORIZED);
  });

  test('is refused, told why, and closed a second later when it is not let in [BRK-111]', () => {
    const { world, guest } = asking();
    world.core.answer({ code: ReasonCode.NOT_AUTHORIZED, reason: 'Who are you?' });
    expect(guest.answers).toEqual([`REFUSED 1 ${ReasonCode.NOT_AUTHORIZED}`]);
    expect(guest.control.link.commands[0].body.subarray(2).toString()).toBe('Who are you?');
    world.pass(999);
    expect(guest.closedWith).toBeNull();
    world.pass(1);
    expect(guest.closedWith).toBe(ReasonCode.NOT_AUTHORIZED);
    expect(world.core.metrics()).toMatchObject({ clients: 0, sessions: 0 });
  });

  test('is refused when nobody can tell in time, and an answer that comes then has no effect [BRK-111]', () => {
    const { world, guest } = asking();
    world.pass(10_000);
    expect(guest.answers).toEqual([`REFUSED 1 ${ReasonCode.BUSY}`]);
    world.core.answer({ principal: anna });
    expect(guest.answers).toEqual([`REFUSED 1 ${ReasonCode.BUSY}`]);
  });

  test('is refused while 1,024 others are being looked at [BRK-111]', () => {
    const world = strict();
    for (let i = 0; i < 1_024; i++) show(world, `s${i}`);
    expect(world.core.questions.length).toBe(1_024);
    expect(show(world, 'late').answers).toEqual([`REFUSED 1 ${ReasonCode.BUSY}`]);
    world.core.answer({ principal: anna });
    expect(show(world, 'next').answers).toEqual([]);
  });

  test('that shows none is nobody, or the anonymous one where there are rules for that [BRK-110]', () => {
    expect(strict().hello('a').answers).toEqual([`REFUSED 1 ${ReasonCode.NOT_AUTHORIZED}`]);
    const world = strict({ ...EVERYONE });
    expect(world.hello('a').answers).toEqual(['WELCOME 1']);
    const client = world.connect();
    client.open().publish('t', 'x');
    world.pass(60_000);
    expect(client.peer.closedWith).toBeNull();
    expect(world.core.questions).toEqual([]);
  });

  test('that shows none is asked about all the same when its handshake has proved an identity, also when it renews [AUT-13]', () => {
    const world = strict({ ...EVERYONE });
    const client = new FakeClient(world.core, { ...UNKNOWN_CONNECTION, identity: 'F' });
    const guest = new Guest(client);
    guest.hello('a');
    expect([world.core.questions.length, guest.answers]).toEqual([1, []]);
    world.core.answer({ principal: anna });
    expect(guest.answers).toEqual(['WELCOME 1']);
    guest.control.send(encodeRenew(2, AuthMethod.NONE, Buffer.alloc(0)));
    expect(world.core.questions).toMatchObject([{ method: AuthMethod.NONE, renews: anna }]);
    world.core.answer({ principal: anna });
    expect(guest.answers).toEqual(['WELCOME 1', 'RENEWED 2']);
  });

  test('that shows some is not the anonymous one meanwhile', () => {
    const world = strict({ ...EVERYONE });
    const guest = show(world, 'a');
    guest.client.open().publish('t', 'x');
    expect(guest.closedWith).toBe(ReasonCode.NOT_AUTHORIZED);
  });

  test('that is let in nowhere, for there are too many sessions, says who it is again before long [BRK-56] [BRK-111]', () => {
    const world = new World({ sessionsMax: 1 });
    world.core.admission.policy = { authenticates: true, anonymous: null };
    show(world, 'first');
    world.core.answer({ principal: anna });
    const guest = show(world, 'second');
    world.core.answer({ principal: anna });
    expect(guest.answers).toEqual([`REFUSED 1 ${ReasonCode.LIMITED}`]);
    world.pass(9_999);
    expect(guest.closedWith).toBeNull();
    world.pass(1);
    expect(guest.closedWith).toBe(ReasonCode.NOT_AUTHORIZED);
  });

  test('takes no other session than its credentials are for [BRK-111]', () => {
    for (const [session, code] of [
      ['hers', 'WELCOME 1'],
      ['a', `REFUSED 1 ${ReasonCode.NOT_AUTHORIZED}`],
    ]) {
      const world = strict();
      const guest = show(world, session);
      world.core.answer({ principal: { ...anna, session: 'hers' } });
      expect(guest.answers).toEqual([code]);
    }
  });
});

describe('credentials that expire', () => {
  test('are told of in time, and then the connection is closed [BRK-112]', () => {
    const { world, guest } = welcomed(100_000);
    expect(guest.welcome.credentialsMs).toBe(100_000);
    world.pass(79_999);
    expect(guest.answers.slice(1)).toEqual([]);
    world.pass(1);
    guest.control.carry();
    const notice = decodeNotice(guest.control.link.delivered[1]);
    expect(notice).toEqual({ code: NoticeCode.CREDENTIALS_EXPIRE, value: 20_000, text: '' });
    world.pass(19_999);
    expect(guest.closedWith).toBeNull();
    world.pass(1);
    expect(guest.closedWith).toBe(ReasonCode.TOKEN_EXPIRED);
  });

  test('give way to others of the same principal, and to nobody else’s [BRK-112]', () => {
    const { world, guest } = welcomed(100_000);
    world.pass(90_000);
    renew(guest, 2);
    expect(world.core.questions).toMatchObject([{ method: AuthMethod.JWT, renews: { name: 'anna' } }]);
    world.core.answer({ principal: { ...anna, expiresAt: world.wallMs + 50_000 } });
    expect(guest.answers.slice(-1)).toEqual(['RENEWED 2']);
    world.pass(49_999);
    expect(guest.closedWith).toBeNull();
    renew(guest, 3);
    world.core.answer({ code: ReasonCode.NOT_AUTHORIZED, reason: 'no' });
    expect(guest.answers.slice(-1)).toEqual([`REFUSED 3 ${ReasonCode.NOT_AUTHORIZED}`]);
    expect(guest.closedWith).toBeNull();
    renew(guest, 4);
    world.core.answer({ principal: { ...anna, session: 'another' } });
    expect(guest.answers.slice(-1)).toEqual([`REFUSED 4 ${ReasonCode.NOT_AUTHORIZED}`]);
    renew(guest, 5);
    world.core.answer({ principal: { ...anna, name: 'otto' } });
    expect(guest.closedWith).toBe(ReasonCode.NOT_AUTHORIZED);
  });

  test('are too old when the wall clock says so, set as it may be [BRK-112]', () => {
    const { world, guest } = welcomed(100_000);
    world.wallMs -= 50_000; // set back: they are good for longer
    world.pass(120_000);
    expect(guest.closedWith).toBeNull();
    world.wallMs += 40_000;
    world.pass(10_000);
    expect(guest.closedWith).toBe(ReasonCode.TOKEN_EXPIRED);
    const late = strict();
    const other = show(late, 'a');
    late.core.answer({ principal: { ...anna, expiresAt: late.wallMs } });
    expect(other.answers).toEqual([`REFUSED 1 ${ReasonCode.TOKEN_EXPIRED}`]);
  });
});

const anna: Principal = { ...EVERYONE, name: 'anna', kind: 'apiKey', id: 'k1' };

function strict(anonymous: Principal | null = null): World {
  const world = new World();
  world.core.admission.policy = { authenticates: true, anonymous };
  return world;
}

function show(world: World, session: string): Guest {
  return world.hello(session, { method: AuthMethod.API_KEY, credentials: Buffer.from('key') });
}

function asking(): { world: World; guest: Guest } {
  const world = strict();
  return { world, guest: show(world, 'a') };
}

function welcomed(forMs: number): { world: World; guest: Guest } {
  const { world, guest } = asking();
  world.core.answer({ principal: { ...anna, expiresAt: world.wallMs + forMs } });
  return { world, guest };
}

function renew(guest: Guest, id: number): void {
  guest.control.send(encodeRenew(id, AuthMethod.JWT, Buffer.from('token')));
}
