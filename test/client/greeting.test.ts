import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import type { CredentialsSource } from '../../src/client/credentials.ts';
import { UrlDialer } from '../../src/client/dialing.ts';
import { Greeter } from '../../src/client/greeting.ts';
import { Life } from '../../src/client/life.ts';
import { Command, encodeRefused, ReasonCode } from '../../src/pubsub/command.ts';
import {
  decodeHello,
  decodeRenew,
  encodeNotice,
  encodeRenewed,
  encodeWelcome,
  NoticeCode,
} from '../../src/pubsub/session-commands.ts';
import { Backoff } from '../../src/transport/backoff.ts';
import { FakeBroker, settled, until } from './fake-broker.ts';
import { type FakeConnection, FakeNetwork, type FakeStream } from './fake-transport.ts';
import { ManualClock } from './manual-clock.ts';

const WELCOME = {
  version: 1,
  isPresent: false,
  epoch: 1,
  lastIds: [0, 0, 0, 0],
  expiryMs: 1_000,
  aliases: 0,
  messageBytesMax: 1_000_000,
  filtersMax: 100,
  serverTimeMs: 1,
  credentialsMs: 0,
};

/** A life over a broker that answers HELLO as the test says: with WELCOME, a code of REFUSED, or not at all. */
function worldWith(credentials: CredentialsSource | undefined, answers: (number | null)[] = []) {
  const clock = new ManualClock();
  const network = new FakeNetwork();
  const hellos: { session: string; text: string; method: number }[] = [];
  const world = { urls: [] as string[], streams: [] as FakeStream[], renewed: [] as string[] };
  const connectTo = async (url: string) => {
    world.urls.push(url);
    const [near, far] = network.connect();
    far.on('stream', (stream: FakeStream) => {
      world.streams.push(stream);
      stream.on('message', (message: Buffer) => answer(stream, message));
    });
    return near;
  };
  const answer = (stream: FakeStream, message: Buffer): void => {
    const id = message.readUInt32BE(4);
    const renew = message[0] === Command.RENEW ? decodeRenew(message) : null;
    if (renew !== null) {
      world.renewed.push(Buffer.from(renew.credentials).toString());
      stream.send(encodeRenewed(id, 0));
      return;
    }
    const hello = decodeHello(message);
    if (hello === null) return;
    const text = Buffer.from(hello.credentials).toString();
    hellos.push({ session: hello.session, text, method: hello.method });
    const code = answers.length === 0 ? 0 : answers.shift();
    if (code === 0) stream.send(encodeWelcome(id, WELCOME));
    else if (typeof code === 'number') stream.send(encodeRefused(id, code, 'no'));
  };
  const greeter = new Greeter({ name: 'me', expiryMs: 1_000, isPassing: false }, credentials, clock);
  const dialer = new UrlDialer(['jsp://a', 'jsp://b'], {}, greeter, true, connectTo);
  const life = new Life(dialer, new Backoff({}, dialer.ways, () => 0.5), clock, {
    onState: () => {},
    withCost: (reason) => reason,
  });
  const retry = async (): Promise<void> => {
    clock.advance(40_000);
    await settled();
  };
  return { life, clock, hellos, greeter, retry, world };
}

function connectionOf({ link }: Life): FakeConnection {
  return link?.connection as unknown as FakeConnection;
}

describe('a client says HELLO', () => {
  test('on each connection, and is online when WELCOME has come [CLT-7]', async () => {
    const { life, hellos, retry } = worldWith({ jwt: 'token' });
    await life.begin('reject', undefined);
    expect(life.link?.welcome).toEqual(WELCOME);
    connectionOf(life).break();
    await retry();
    expect(hellos).toEqual([
      { session: 'me', text: 'token', method: 3 },
      { session: 'me', text: 'token', method: 3 },
    ]);
  });

  test('with credentials that are asked for in each attempt [CLT-7]', async () => {
    let asked = 0;
    const { life, hellos, retry } = worldWith(async () => ({ apiKey: `key ${++asked}` }));
    await life.begin('reject', undefined);
    connectionOf(life).break();
    await retry();
    expect(hellos.map(({ text }) => text)).toEqual(['key 1', 'key 2']);
  });

  test('and a credentials function that fails, or never answers, fails that attempt alone [CLT-7]', async () => {
    const answers: (() => Promise<null>)[] = [
      () => Promise.reject(new Error('no network')),
      () => new Promise(() => {}),
      () => Promise.resolve(null),
    ];
    const { life, hellos, world, retry } = worldWith(() => answers.shift()?.() ?? null);
    const connecting = life.begin('wait', undefined);
    await settled();
    await retry();
    await retry(); // the time of the second is over
    await retry();
    await connecting;
    expect([life.state, life.failedAttempts, hellos.length]).toEqual(['online', 2, 1]);
    expect(world.urls).toEqual(['jsp://a', 'jsp://b', 'jsp://a']);
  });

  test('once more with other credentials when the broker does not take them, then it is over [CLT-4]', async () => {
    const denied = ReasonCode.NOT_AUTHORIZED;
    let asked = 0;
    const { life, hellos, retry } = worldWith(
      () => ({ jwt: `${++asked}` }),
      [0, denied, 0, denied, denied, 0],
    );
    await life.begin('reject', undefined);
    for (const state of ['offline', 'online'] as const) {
      if (life.link !== null) connectionOf(life).break();
      await retry();
      expect(life.state).toBe(state);
    }
    connectionOf(life).break();
    for (let i = 0; i < 3; i++) await retry();
    expect(life.state).toBe('closed');
    expect(life.failure).toMatchObject({ code: 'ERR_JSP_NOT_AUTHORIZED' });
    expect(hellos.map(({ text }) => text)).toEqual(['1', '2', '3', '4', '5']);
  });

  test('and never again with credentials that have expired, once it knows [CLT-40]', async () => {
    const expired = ReasonCode.TOKEN_EXPIRED;
    const answers = ['old', 'old', 'new'];
    const { life, hellos, retry } = worldWith(() => ({ jwt: answers.shift() ?? '' }), [expired, 0]);
    const connecting = life.begin('wait', undefined);
    await settled();
    expect([life.state, hellos.length]).toEqual(['connecting', 1]);
    const over = expect(connecting).rejects.toMatchObject({ code: 'ERR_JSP_TOKEN_EXPIRED' });
    await retry();
    await over;
    expect(hellos.map(({ text }) => text)).toEqual(['old']);
  });

  test('with new ones when those that it had have expired, and without such a function is over [CLT-40]', async () => {
    let asked = 0;
    for (const source of [() => ({ jwt: `${++asked}` }), { jwt: 'always' }]) {
      const { life, hellos, retry } = worldWith(source);
      await life.begin('reject', undefined);
      connectionOf(life).peer?.destroy(ReasonCode.TOKEN_EXPIRED);
      await settled();
      await retry();
      const isOver = typeof source !== 'function';
      expect([life.state, hellos.map(({ text }) => text)]).toEqual(
        isOver ? ['closed', ['always']] : ['online', ['1', '2']],
      );
      if (isOver) expect(life.failure).toMatchObject({ code: 'ERR_JSP_TOKEN_EXPIRED' });
    }
  });

  test('and comes back after an operator has closed its connection', async () => {
    const { life, retry } = worldWith({ apiKey: 'k' });
    await life.begin('reject', undefined);
    connectionOf(life).peer?.destroy(ReasonCode.KICKED);
    await settled();
    await retry();
    expect(life.state).toBe('online');
  });

  test.each([
    ['credentials that never change', { jwt: 'x' }, ReasonCode.NOT_AUTHORIZED, 'closed'],
    ['another version', undefined, ReasonCode.UNSUPPORTED, 'closed'],
    ['a full broker', undefined, ReasonCode.LIMITED, 'connecting'],
  ] as const)(
    'and a refusal because of %s is final where it has to be: %o [CLT-4]',
    async (_, source, code, state) => {
      const { life } = worldWith(source, [code]);
      void life.begin('wait', undefined).catch(() => {});
      await settled();
      expect(life.state).toBe(state);
      life.end(null);
    },
  );

  test('and gives up a broker that does not answer [CLT-7]', async () => {
    const { life, clock, retry } = worldWith(undefined, [null]);
    const connecting = life.begin('wait', undefined);
    await settled();
    clock.advance(10_000);
    await settled();
    expect(life.failedAttempts).toBe(1);
    await retry();
    await connecting;
  });

  test('never again after its session was taken by another [CLT-4]', async () => {
    const { life, retry } = worldWith(undefined);
    await life.begin('reject', undefined);
    const { peer } = connectionOf(life);
    peer?.destroy(ReasonCode.SESSION_TAKEN);
    await settled();
    await retry();
    expect(life.failure).toBeInstanceOf(JspError);
    expect(life.state).toBe('closed');
  });

  test('and tries the URLs that a broker names when it goes [CLT-5]', async () => {
    const { life, world, retry } = worldWith(undefined);
    await life.begin('reject', undefined);
    const named = `jsp://${'A'.repeat(43)}@10.0.0.1:4577`;
    life.onShuttingDown(0, `nonsense\njsp://10.0.0.1:1\n${named}`);
    connectionOf(life).break();
    await retry();
    connectionOf(life).break();
    await retry();
    expect(world.urls).toEqual(['jsp://a', named, 'jsp://b']);
  });

  test('and gives new credentials before the old ones expire [CLT-7]', async () => {
    let asked = 0;
    const { life, world, greeter } = worldWith(() => ({ jwt: `${++asked}` }));
    await life.begin('reject', undefined);
    const heard: number[] = [];
    const { link } = life;
    if (link === null) throw new Error('offline');
    link.onNotice = ({ code }) => {
      heard.push(code);
      void greeter.renew(link);
    };
    world.streams[0].send(encodeNotice({ code: NoticeCode.CREDENTIALS_EXPIRE, value: 1_000, text: '' }));
    await until(() => world.renewed.length === 1);
    expect([heard, world.renewed]).toEqual([[NoticeCode.CREDENTIALS_EXPIRE], ['2']]);
  });
});

test('a broker gives the session of a name to the newer of two clients, and the older one does not come back [CLT-4]', async () => {
  const broker = new FakeBroker();
  const older = await broker.client({ session: 'same' });
  const over = once(older, 'close');
  const newer = await broker.client({ session: 'same' });
  expect(await over).toMatchObject([{ code: 'ERR_JSP_SESSION_TAKEN' }, 0]);
  expect(await newer.ping()).toBeGreaterThan(0);
});

test('a client that closes ends a session whose name nobody else knows, and leaves one that the application has named [CLT-7]', async () => {
  const broker = new FakeBroker();
  const passing = (await broker.returningClient()).client;
  const named = (await broker.returningClient({ session: 'mine' })).client;
  await passing.close();
  await named.close();
  await until(() => broker.service.metrics().sessionsAway === 1);
  expect(broker.service.metrics().sessions).toBe(1);
});

test('a client that drains ends its session, too', async () => {
  const broker = new FakeBroker();
  const { client } = await broker.returningClient();
  await client.drain();
  await until(() => broker.service.metrics().sessions === 0);
});

test('a ticket is shown in the first attempt alone, whatever becomes of that [CLT-3] [HS-55]', async () => {
  const shown: unknown[] = [];
  const greeter = new Greeter(null, undefined, new ManualClock());
  const connectTo = async (_: string, { ticket }: { ticket?: Uint8Array | undefined }) => {
    shown.push(ticket);
    throw new JspError('ERR_JSP_HANDSHAKE_TIMEOUT', 'nobody there');
  };
  const dialer = new UrlDialer(['jsp://a'], { ticket: Uint8Array.of(1) }, greeter, true, connectTo);
  const dial = () => dialer.dial(() => {}, new AbortController().signal);
  await expect(dial()).rejects.toThrow('nobody there');
  await expect(dial()).rejects.toThrow('nobody there');
  expect(shown).toEqual([Uint8Array.of(1), undefined]);
});
