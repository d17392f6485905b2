import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  flag,
  list,
  nullable,
  object,
  oneOf,
  real,
  type Shape,
  ShapeError,
  table,
  text,
  whole,
} from '../../src/base/shape.ts';

const PERSON = object({
  name: text(5),
  age: whole(0, 150),
  heightM: nullable(real(0, 3)),
  role: oneOf(['player', 'referee']),
  isHere: flag,
  scores: list(whole(0, 10), 3),
  queues: table(whole(0, 10)),
});
const ADA = {
  name: 'Ada',
  age: 36,
  heightM: 1.65,
  role: 'player',
  isHere: true,
  scores: [1, 2],
  queues: { chat: 1, bulk: 0 },
};

describe('a shape', () => {
  test('lets through what is of it, without what it does not name', () => {
    expect(PERSON({ ...ADA, more: 'of another version' }, 'person')).toEqual(ADA);
    expect(PERSON({ ...ADA, heightM: undefined }, 'person').heightM).toBe(null);
  });

  test.each([
    [{ name: 'Augusta' }, 'person.name is no text of at most 5'],
    [{ age: 1.5 }, 'person.age is no whole number'],
    [{ age: 151 }, 'person.age is no number from 0 to 150'],
    [{ age: Number.NaN }, 'person.age is no number from 0 to 150'],
    [{ heightM: '1.65' }, 'person.heightM is no number from 0 to 3'],
    [{ role: 'toString' }, 'person.role is none of player, referee'],
    [{ isHere: 1 }, 'person.isHere is neither true nor false'],
    [{ scores: [1, 2, 3, 4] }, 'person.scores is no list of at most 3'],
    [{ scores: [1, 11] }, 'person.scores[1] is no number from 0 to 10'],
    [{ queues: [1] }, 'person.queues is no object'],
    [{ queues: { chat: null } }, 'person.queues.chat is no number from 0 to 10'],
  ])('refuses %j, and says where it is wrong', (wrong, message) => {
    expect(() => PERSON({ ...ADA, ...wrong }, 'person')).toThrow(new ShapeError(message));
  });

  test('takes members of the value itself, not those that every object has', () => {
    const inherits: Shape<unknown> = object({ toString: nullable(flag) });
    expect(inherits({}, 'value')).toEqual({ toString: null });
    const odd = table(flag)(JSON.parse('{"__proto__":true}'), 'value');
    expect(Object.entries(odd)).toEqual([['__proto__', true]]);
  });

  test('throws nothing else, whatever it is given', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          PERSON(value, 'value');
        } catch (error) {
          expect(error).toBeInstanceOf(ShapeError);
        }
      }),
    );
  });
});
