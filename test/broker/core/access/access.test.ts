import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ACCESS_ACTIONS,
  Access,
  type AccessAction,
  type AccessRule,
  Allowance,
} from '../../../../src/broker/core/access/access.ts';
import { filterFault, topicFault } from '../../../../src/pubsub/topic.ts';

describe('rules', () => {
  test('allow nothing that none of them allows, and a denial wins [BRK-113]', () => {
    const access = new Access([
      allow(['publish', 'subscribe'], 'a/#', 'b/+'),
      deny(['publish'], 'a/secret/#'),
      deny(['subscribe'], 'b/x'),
    ]);
    expect(
      ['a', 'a/b', 'b/x', 'a/secret', 'a/secret/x', 'c', 'b/x/y'].map((topic) => access.mayPublish(topic)),
    ).toEqual([true, true, true, false, false, false, false]);
    expect(access.maySubscribe('a/#', false)).toBe(Allowance.ALLOWED);
    expect(access.maySubscribe('b/+', false)).toBe(Allowance.PARTLY);
    expect(access.maySubscribe('b/x', false)).toBe(Allowance.DENIED);
    expect(access.maySubscribe('b/#', false)).toBe(Allowance.DENIED);
    expect(access.maySubscribe('#', false)).toBe(Allowance.DENIED);
    expect(new Access([]).mayPublish('a')).toBe(false);
    expect(new Access([allow(['admin'], '#')]).mayPublish('a')).toBe(false);
  });

  test('judge a shared subscription by what stands behind the group, and by its own action', () => {
    const access = new Access([allow(['subscribe', 'share'], 't/#'), deny(['subscribe'], 't/secret')]);
    expect(access.maySubscribe('t/#', false)).toBe(Allowance.PARTLY);
    expect(access.maySubscribe('t/#', true)).toBe(Allowance.DENIED);
    expect(access.maySubscribe('t/open/#', true)).toBe(Allowance.ALLOWED);
    expect(access.maySubscribe('t/secret', true)).toBe(Allowance.DENIED);
    expect(new Access([allow(['subscribe'], '#')]).maySubscribe('t', true)).toBe(Allowance.DENIED);
    const unshared = new Access([allow(['subscribe', 'share'], '#'), deny(['share'], 'a/b')]);
    expect(unshared.maySubscribe('a/#', true)).toBe(Allowance.DENIED);
    expect(unshared.maySubscribe('a/#', false)).toBe(Allowance.ALLOWED);
  });

  test('for # are for administration, too, and others name what may be asked', () => {
    expect(new Access([allow(['admin'], '#')]).mayAdminister()).toBe(true);
    const some = new Access([allow(['admin'], '#'), deny(['admin'], '$sys/admin/kick')]);
    expect(some.mayAdminister()).toBe(false);
    expect(some.mayAdminister('$sys/admin/kick')).toBe(false);
    expect(some.mayAdminister('$sys/feed')).toBe(true);
    expect(new Access([allow(['subscribe', 'publish'], '#', '$sys/#')]).mayAdminister('$sys/feed')).toBe(
      false,
    );
  });

  test('say what a slow reading of them says, topic by topic [BRK-113]', () => {
    fc.assert(
      fc.property(fc.array(RULE, { maxLength: 6 }), fc.constantFrom(...TOPICS), (rules, topic) => {
        const access = new Access(rules);
        expect(access.mayPublish(topic)).toBe(slowly(rules, 'publish', topic));
        expect(access.mayRequest(topic)).toBe(slowly(rules, 'request', topic));
        expect(access.mayReceive(topic)).toBe(slowly(rules, 'subscribe', topic));
      }),
      { numRuns: 400 },
    );
  });

  test('never let a subscription have a topic that they do not allow, and withhold only what they deny [BRK-113] [BRK-115]', () => {
    fc.assert(
      fc.property(fc.array(RULE, { maxLength: 6 }), FILTER, fc.boolean(), (rules, filter, shared) => {
        const access = new Access(rules);
        const allowance = access.maySubscribe(filter, shared);
        const matched = TOPICS.filter((topic) => slowMatch(filter, topic));
        const allowed = matched.filter((topic) => slowly(rules, 'subscribe', topic));
        if (allowance === Allowance.ALLOWED) expect(allowed).toEqual(matched);
        if (allowance === Allowance.PARTLY) {
          const denied = matched.filter((topic) => !allowed.includes(topic));
          expect(denied.filter((topic) => !isDenied(rules, 'subscribe', topic))).toEqual([]);
        }
        if (allowance !== Allowance.DENIED && shared) {
          expect(matched.filter((topic) => !slowly(rules, 'share', topic))).toEqual([]);
        }
      }),
      { numRuns: 400 },
    );
  });
});

function allow(actions: AccessAction[], ...filters: string[]): AccessRule {
  return { effect: 'allow', actions, filters };
}

function deny(actions: AccessAction[], ...filters: string[]): AccessRule {
  return { effect: 'deny', actions, filters };
}

/** The rules as the specification tells them, one topic at a time. */
function slowly(rules: readonly AccessRule[], action: AccessAction, topic: string): boolean {
  const speak = rules.filter(
    (rule) => rule.actions.includes(action) && rule.filters.some((f) => slowMatch(f, topic)),
  );
  return speak.some(({ effect }) => effect === 'allow') && !isDenied(rules, action, topic);
}

function isDenied(rules: readonly AccessRule[], action: AccessAction, topic: string): boolean {
  return rules.some(
    ({ effect, actions, filters }) =>
      effect === 'deny' && actions.includes(action) && filters.some((filter) => slowMatch(filter, topic)),
  );
}

/** By a regular expression. */
function slowMatch(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false;
  const pattern = `/${filter}`
    .replaceAll(/[$.]/g, '\\$&')
    .replaceAll(/\/\+/g, '/[^/]*')
    .replace(/\/#$/, '(/.*)?');
  return new RegExp(`^${pattern}$`).test(`/${topic}`);
}

const LEVEL = fc.constantFrom('a', 'b', '', '+');
const FILTER = fc
  .tuple(fc.array(LEVEL, { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))
  .filter((filter) => filterFault(filter) === null);
const RULE: fc.Arbitrary<AccessRule> = fc.record({
  effect: fc.constantFrom('allow', 'allow', 'deny'),
  actions: fc.uniqueArray(fc.constantFrom(...ACCESS_ACTIONS), { minLength: 1 }),
  filters: fc.array(FILTER, { minLength: 1, maxLength: 3 }),
});
const NAMES = ['a', 'b', 'c', ''];
const TOPICS = NAMES.flatMap((a) => [
  a,
  ...NAMES.flatMap((b) => [`${a}/${b}`, ...NAMES.map((c) => `${a}/${b}/${c}`)]),
]).filter((topic) => topicFault(topic) === null);
