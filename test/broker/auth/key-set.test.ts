import { describe, expect, test } from 'vitest';
import { Authenticator } from '../../../src/broker/auth/authenticator.ts';
import { ReasonCode } from '../../../src/pubsub/command.ts';
import { AuthMethod } from '../../../src/pubsub/session-commands.ts';
import { ManualClock } from '../../client/manual-clock.ts';
import { AUDIENCE, ISSUER, mint, type SigningKey, signingKey } from './minting.ts';

const URL_OF_KEYS = 'https://id.example/jwks.json';
const [OLD, NEW, STRANGE] = [
  signingKey('ES256', 'old'),
  signingKey('ES256', 'new'),
  signingKey('ES256', 'strange'),
];
const OPTIONS = { jwt: { issuer: ISSUER, audience: AUDIENCE, algorithms: ['ES256'], jwks: URL_OF_KEYS } };

/** An issuer's server, and a broker's authenticator that asks it. */
class World {
  readonly clock = new ManualClock();
  asked = 0;
  answer: () => Promise<Response> = () => this.keys(OLD);
  readonly troubles: (string | null)[] = [];
  changes = 0;

  keys(...keys: SigningKey[]): Promise<Response> {
    return Promise.resolve(Response.json({ keys: keys.map(({ jwk }) => jwk) }));
  }

  async open(before?: Authenticator): Promise<Authenticator> {
    const around = {
      clock: this.clock,
      fetch: (url: unknown, init: RequestInit | undefined) => {
        this.asked++;
        expect([url, init?.redirect]).toEqual([URL_OF_KEYS, 'error']);
        expect(init?.signal).toBeInstanceOf(AbortSignal);
        return this.answer();
      },
    };
    const auth = await Authenticator.open(OPTIONS, around as never, before);
    auth.onTrouble = (_, reason) => this.troubles.push(reason);
    auth.onChange = () => this.changes++;
    return auth;
  }

  /** Lets so much time pass, until who asks for keys then is done, and has set a timer for the next time. */
  async pass(seconds: number): Promise<void> {
    const { pending } = this.clock;
    this.clock.advance(seconds * 1_000);
    while (this.clock.pending < pending) await new Promise((resolve) => setImmediate(resolve));
  }
}

/** What becomes of a new token of this key. */
async function with_(auth: Authenticator, key: SigningKey): Promise<string> {
  return show(auth, await mint(key));
}

async function show(auth: Authenticator, token: string): Promise<string> {
  const decision = await auth.authenticate({
    method: AuthMethod.JWT,
    credentials: Buffer.from(token),
    session: '',
    renews: null,
    facts: { door: 'native', address: '', overLimit: 'wait', exporter: () => null, link: () => null },
  });
  if ('principal' in decision) return 'taken';
  return decision.code === ReasonCode.BUSY ? 'later' : 'refused';
}

describe('the keys of a URL [AUT-10]', () => {
  test('are asked for once for all tokens, and again when a token names one that is not known', async () => {
    const world = new World();
    const auth = await world.open();
    expect([await with_(auth, OLD), await with_(auth, OLD), world.asked]).toEqual(['taken', 'taken', 1]);
    world.answer = () => world.keys(OLD, NEW);
    expect([await with_(auth, NEW), world.asked]).toEqual(['refused', 1]); // just asked
    await world.pass(31);
    expect([await with_(auth, NEW), world.asked]).toEqual(['taken', 2]);
    expect(await with_(auth, OLD)).toBe('taken');
  });

  test('are those that were there, too, when they come under another name', async () => {
    const world = new World();
    const auth = await world.open();
    const renamed = { ...OLD, jwk: { ...OLD.jwk, kid: 'renamed' } };
    world.answer = () => world.keys(renamed);
    await world.pass(31);
    expect([await with_(auth, renamed), world.changes]).toEqual(['taken', 1]);
    await world.pass(601);
    expect(world.changes).toBe(1);
  });

  test('are not asked for by strangers more often than the cool-down has it, however many there are', async () => {
    const world = new World();
    const auth = await world.open();
    await world.pass(31);
    const outcomes = await Promise.all(Array.from({ length: 50 }, () => with_(auth, STRANGE)));
    expect([new Set(outcomes), world.asked]).toEqual([new Set(['refused']), 2]);
    expect([await with_(auth, STRANGE), world.asked]).toEqual(['refused', 2]);
    await world.pass(29);
    expect([await with_(auth, STRANGE), world.asked]).toEqual(['refused', 2]);
    await world.pass(2);
    expect([await with_(auth, STRANGE), world.asked]).toEqual(['refused', 3]);
  });

  test('are waited for by a token of a new one, though strangers have had them asked for just before, and while they cannot be had', async () => {
    const world = new World();
    const auth = await world.open();
    await world.pass(31);
    expect([await with_(auth, STRANGE), world.asked]).toEqual(['refused', 2]);
    world.answer = () => world.keys(OLD, NEW);
    await world.pass(1);
    expect([await with_(auth, NEW), await with_(auth, STRANGE), world.asked]).toEqual([
      'later',
      'refused',
      2,
    ]);
    await world.pass(30);
    expect([await with_(auth, NEW), world.asked]).toEqual(['taken', 3]);
    world.answer = () => Promise.reject(new TypeError('fetch failed'));
    const next = { ...STRANGE, jwk: { ...STRANGE.jwk, kid: 'next' } };
    await world.pass(31);
    expect([await with_(auth, next), await with_(auth, NEW)]).toEqual(['later', 'taken']);
  });

  test('come again by themselves, and one that is gone counts no more, not even for a token that was taken', async () => {
    const world = new World();
    const auth = await world.open();
    const token = await mint(OLD);
    expect(await show(auth, token)).toBe('taken');
    world.answer = () => world.keys(NEW);
    await world.pass(599);
    expect([await show(auth, token), world.changes]).toEqual(['taken', 0]);
    await world.pass(2);
    expect([await show(auth, token), await with_(auth, NEW), world.changes]).toEqual(['refused', 'taken', 1]);
  });

  test.each<[string, () => Promise<Response>]>([
    ['does not answer', () => Promise.reject(new TypeError('fetch failed'))],
    ['answers with an error', () => Promise.resolve(new Response('busy', { status: 503 }))],
    ['answers something else', () => Promise.resolve(new Response('<html>'))],
    ['answers no keys', () => Promise.resolve(Response.json({ keys: [] }))],
    [
      'answers without end',
      () =>
        Promise.resolve(
          new Response(new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(65_536)) })),
        ),
    ],
  ])('are those that came last while it %s, which is told once, and asked again', async (_, answer) => {
    const world = new World();
    const auth = await world.open();
    world.answer = answer;
    await world.pass(601);
    expect([await with_(auth, OLD), world.troubles]).toEqual(['taken', [expect.any(String)]]);
    await world.pass(31);
    await world.pass(31);
    expect([await with_(auth, OLD), world.troubles.length]).toEqual(['taken', 1]);
    expect(auth.troubles).toEqual([[URL_OF_KEYS, expect.any(String)]]);
    world.answer = () => world.keys(OLD, NEW);
    await world.pass(31);
    expect([await with_(auth, NEW), world.troubles.at(-1)]).toEqual(['taken', null]);
  });

  test('may not be there at the start: tokens wait, and the broker does not', async () => {
    const world = new World();
    world.answer = () => Promise.reject(new TypeError('fetch failed'));
    const auth = await world.open();
    expect([await with_(auth, OLD), auth.troubles.length, world.asked]).toEqual(['later', 1, 1]);
    world.answer = () => world.keys(OLD);
    await world.pass(31);
    expect(await with_(auth, OLD)).toBe('taken');
  });

  test('go over to whoever takes the place of this, and are not asked for by it any more', async () => {
    const world = new World();
    const before = await world.open();
    world.answer = () => Promise.reject(new TypeError('fetch failed'));
    const auth = await world.open(before);
    before.close();
    expect([await with_(auth, OLD), world.asked]).toEqual(['taken', 2]);
    await world.pass(30);
    expect(world.asked).toBe(3);
    auth.close();
    await world.pass(10_000);
    expect(world.asked).toBe(3);
  });
});
