import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { explain } from '../../../src/broker/auth/explain.ts';
import { Grants } from '../../../src/broker/auth/grants.ts';
import type { AuthAction, AuthRule } from '../../../src/broker/auth/options.ts';
import { Access, Allowance } from '../../../src/broker/core/access/access.ts';

function filled(rules: readonly AuthRule[]) {
  return new Grants().rulesOf({ rules }, { name: 'bob', claims: {} }, 'test');
}

const level = fc.constantFrom('a', 'b', '$sys', '');
const topic = fc.array(level, { minLength: 1, maxLength: 3 }).map((levels) => levels.join('/'));
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([levels, isOpen]) => [...levels, ...(isOpen ? ['#'] : [])].join('/'));
const actions = fc.subarray<AuthAction>(['publish', 'subscribe', 'share', 'request', 'admin'], {
  minLength: 1,
});
const rule = fc
  .record({
    effect: fc.constantFrom('allow', 'allow', 'deny'),
    actions,
    topics: fc.array(filter, { minLength: 1, maxLength: 2 }),
  })
  .map(
    ({ effect, actions, topics }): AuthRule =>
      effect === 'allow' ? { allow: actions, topics } : { deny: actions, topics },
  );

describe('an explanation [AUT-15]', () => {
  test('says what the core does, whatever the rules are', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(fc.array(rule, { maxLength: 5 }), topic, filter, (rules, topic, filter) => {
        const all = filled(rules);
        const access = new Access(all);
        const verdict = (action: AuthAction, name: string) => {
          const verdicts = explain(all, action, name).map((each) => each.verdict);
          const whole = verdicts.includes('denied')
            ? 'denied'
            : verdicts.includes('partly')
              ? 'partly'
              : 'allowed';
          seen.add(`${action} ${whole}`);
          return whole;
        };
        const yes = (is: boolean) => (is ? 'allowed' : 'denied');
        const of = (allowance: Allowance) => ['denied', 'allowed', 'partly'][allowance];
        expect(verdict('publish', topic)).toBe(yes(access.mayPublish(topic)));
        expect(verdict('request', topic)).toBe(yes(access.mayRequest(topic)));
        expect(verdict('admin', '')).toBe(yes(access.mayAdminister()));
        expect(verdict('subscribe', filter)).toBe(of(access.maySubscribe(filter, false)));
        expect(verdict('share', filter)).toBe(of(access.maySubscribe(filter, true)));
      }),
      { numRuns: 1_000 },
    );
    expect(seen.size).toBe(4 * 2 + 3);
    expect([Allowance.DENIED, Allowance.ALLOWED, Allowance.PARTLY]).toEqual([0, 1, 2]);
  });

  test('names the rule that decides, and what is withheld', () => {
    const rules = filled([
      { allow: ['publish', 'subscribe'], topics: ['x', 'a/${client}/#'], at: 'jsp.toml:3' },
      { deny: ['subscribe'], topics: ['a/+/secret'], at: 'jsp.toml:4' },
    ]);
    expect(explain(rules, 'publish', 'a/bob/1')).toMatchObject([
      { verdict: 'allowed', by: { filter: 'a/bob/#', rule: { at: 'jsp.toml:3' } } },
    ]);
    expect(explain(rules, 'publish', 'a/eve/1')).toMatchObject([
      { verdict: 'denied', by: null, others: [{ filter: 'x' }, { filter: 'a/bob/#' }] },
    ]);
    expect(explain(rules, 'subscribe', 'a/bob/#')).toMatchObject([
      { verdict: 'partly', withheld: [{ rule: { at: 'jsp.toml:4' } }] },
    ]);
    expect(explain(rules, 'subscribe', 'a/bob/secret')).toMatchObject([
      { verdict: 'denied', by: { rule: { effect: 'deny' } } },
    ]);
    expect(
      explain(rules, 'subscribe', '$share/g/a/bob/1').map(({ action, verdict }) => [action, verdict]),
    ).toEqual([
      ['subscribe', 'allowed'],
      ['share', 'denied'],
    ]);
  });
});
