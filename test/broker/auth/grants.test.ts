import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Grants } from '../../../src/broker/auth/grants.ts';
import type { AuthRule } from '../../../src/broker/auth/options.ts';
import { Access } from '../../../src/broker/core/access/access.ts';

function filtersOf(rule: AuthRule, name: string, claims: Record<string, unknown> = {}): readonly string[] {
  return new Grants().rulesOf({ rules: [rule] }, { name, claims }, 'test')[0].filters;
}

describe('what stands for the client in a rule [AUT-3]', () => {
  const allow = (filter: string): AuthRule => ({ allow: '*', topics: [filter] });
  const deny = (filter: string): AuthRule => ({ deny: '*', topics: [filter] });

  test('is its name, and the claims of its token', () => {
    expect(filtersOf(allow('a/${client}/#'), 'bob')).toEqual(['a/bob/#']);
    expect(filtersOf(allow('u-${client}/${claim.room}'), 'bob', { room: 7 })).toEqual(['u-bob/7']);
  });

  test('is one filter for each value of a claim that is a list', () => {
    const claims = { rooms: ['a', 'b', 3], floors: ['1', '2'] };
    expect(filtersOf(allow('${claim.rooms}/x'), 'bob', claims)).toEqual(['a/x', 'b/x', '3/x']);
    expect(filtersOf(allow('${claim.rooms}/${claim.floors}'), 'bob', claims)).toHaveLength(6);
  });

  test.each(['+', '#', 'a/b', '$sys', 'a+', '', 'x\n', 1.5, null, true, {}, undefined])(
    'never is a value that means something else: %j allows nothing, and denies all it could be',
    (value) => {
      const claims = value === undefined ? {} : { it: value };
      expect(filtersOf(allow('a/${claim.it}/b'), 'bob', claims)).toEqual([]);
      expect(filtersOf(deny('a/x${claim.it}/b'), 'bob', claims)).toEqual(['a/+/b']);
      if (typeof value === 'string') expect(filtersOf(allow('${client}/b'), value)).toEqual([]);
    },
  );

  test('leaves nothing out of a denial: of a list the sound values, and all others', () => {
    expect(filtersOf(deny('${claim.rooms}/x'), 'bob', { rooms: ['a', '#'] })).toEqual(['a/x', '+/x']);
    expect(filtersOf(deny('${claim.rooms}/x'), 'bob', { rooms: [] })).toEqual(['+/x']);
  });

  test('is not of an inherited name', () => {
    expect(filtersOf(allow('${claim.constructor}'), 'bob')).toEqual([]);
  });

  test('makes a filter too long, or too many, never an open one', () => {
    const long = { it: 'x'.repeat(1_024), many: Array.from({ length: 40 }, (_, i) => `${i}`) };
    expect(filtersOf(allow('a/${claim.it}'), 'bob', long)).toEqual([]);
    expect(filtersOf(deny('a/${claim.it}'), 'bob', long)).toEqual(['a/+']);
    const many = '${claim.many}/${claim.many}';
    expect(filtersOf(allow(many), 'bob', long)).toEqual([]);
    expect(filtersOf(deny(many), 'bob', long)).toEqual(['+/+']);
  });

  test('gives whatever name or claim no more than the level it stands in', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', '/', '+', '#', '$', ' ', '{', '}', 'é') }),
        (value) => {
          const rules = new Grants().rulesOf(
            { rules: [{ allow: ['publish'], topics: ['home/${client}/x', 'home/${claim.c}/y'] }] },
            { name: value, claims: { c: value } },
            'test',
          );
          const access = new Access(rules);
          for (const topic of ['home/other/x', 'home/other/y', 'home/a/b/x', 'home', 'x', 'home//x'])
            if (topic !== `home/${value}/x`) expect(access.mayPublish(topic)).toBe(false);
          if (/^[a é{}]+$/.test(value)) expect(access.mayPublish(`home/${value}/x`)).toBe(true);
        },
      ),
    );
  });
});

describe('what is granted', () => {
  const grants = new Grants(
    {
      reader: {
        rules: [{ allow: ['subscribe'], topics: ['news/#'], at: 'a.toml:3' }],
        limits: { publishesPerSecond: 5, connections: 9 },
      },
      writer: { rules: [{ allow: ['publish'], topics: ['news/#'] }], limits: { publishesPerSecond: 50 } },
    },
    { connections: 2, subscriptions: 3 },
  );

  test('is its own, and that of its roles, each with where it comes from', () => {
    const own: AuthRule = { deny: ['subscribe'], topics: ['news/secret'] };
    const rules = grants.rulesOf({ rules: [own], roles: ['reader'] }, { name: 'bob', claims: {} }, 'key 1', [
      'writer',
      'reader',
    ]);
    expect(rules.map(({ effect, from, at }) => [effect, from, at])).toEqual([
      ['deny', 'key 1', undefined],
      ['allow', 'role "reader"', 'a.toml:3'],
      ['allow', 'role "writer"', undefined],
    ]);
  });

  test('has "*" for every action but admin, and every topic for admin alone [AUT-1]', () => {
    const of = (rule: AuthRule) =>
      new Access(new Grants().rulesOf({ rules: [rule] }, { name: 'a', claims: {} }, 'test'));
    const all = of({ allow: '*', topics: ['#'] });
    expect([all.mayPublish('x'), all.mayRequest('x'), all.mayAdminister()]).toEqual([true, true, false]);
    const admin = of({ allow: ['admin'] });
    expect([admin.mayAdminister(), admin.mayPublish('x')]).toEqual([true, false]);
  });

  test('has the limits of its own, else the widest of its roles, else those of everybody', () => {
    expect(grants.limitsOf({})).toEqual({ connections: 2, subscriptions: 3 });
    expect(grants.limitsOf({ roles: ['reader'] }, ['writer'])).toEqual({
      connections: 9,
      subscriptions: 3,
      publishesPerSecond: 50,
    });
    expect(grants.limitsOf({ roles: ['reader'], limits: { connections: 1 } })).toMatchObject({
      connections: 1,
      publishesPerSecond: 5,
    });
  });

  test('is refused where a role is not there [AUT-2]', () => {
    expect(() => grants.checkRoles('the key k', { roles: ['raeder'] })).toThrow(
      /the key k: there is no role "raeder"; there are "reader", "writer"/,
    );
  });
});
