import { describe, expect, test } from 'vitest';
import {
  anything,
  checkOptions,
  chosenOptions,
  flag,
  number,
  type OptionTable,
  oneOf,
  text,
  whole,
} from '../../src/base/options.ts';
import { abortSignal } from '../../src/transport/abort.ts';

interface Tea {
  cups?: number | undefined;
  sugarGrams?: number | undefined;
  kind?: 'black' | 'green' | undefined;
  milk?: boolean | undefined;
  name?: string | undefined;
  signal?: AbortSignal | undefined;
  extra?: unknown;
}

const TEA: OptionTable<Tea> = {
  cups: whole(1, 4),
  sugarGrams: number(0, 20),
  kind: oneOf(['black', 'green']),
  milk: flag,
  name: text,
  signal: abortSignal,
  extra: anything,
};

const brew = (options: object): void => checkOptions<Tea>('brew', options, TEA);

describe('options', () => {
  test('that are known and in range are let through, and so are those that are undefined', () => {
    brew({});
    brew({ cups: 4, sugarGrams: 0.5, kind: 'green', milk: false, name: '', extra: null });
    brew({ signal: AbortSignal.abort() });
    brew({ cups: undefined, kind: undefined, milk: undefined });
  });

  test.each([
    ['cup', 'cups'],
    ['Cups', 'cups'],
    ['sugergrams', 'sugarGrams'],
    ['sugar', 'sugarGrams'],
    ['mlik', 'milk'],
    ['toString', 'extra'],
    ['__proto', 'extra'],
  ])('with the unknown name %s are refused with the nearest there is, %s', (wrong, right) => {
    let message = '';
    try {
      brew({ cups: 2, [wrong]: undefined });
    } catch (error) {
      expect(error).toMatchObject({ name: 'JspError', code: 'ERR_JSP_OPTION_INVALID' });
      message = (error as Error).message;
    }
    expect(message).toContain(`brew has no option "${wrong}"`);
    if (right !== 'extra') expect(message).toContain(`"${right}"`);
    expect(Object.keys(TEA).some((name) => message.includes(`nearest it has is "${name}"`))).toBe(true);
  });

  test('that somebody inherits are looked at, too', () => {
    brew(Object.create({ cups: 2 }));
    expect(() => brew(Object.create({ cubs: 2 }))).toThrow('"cups"');
  });

  test.each([
    [{ cups: 0 }, 'cups must be a whole number from 1 to 4, not 0'],
    [{ cups: 1.5 }, 'cups must be a whole number from 1 to 4, not 1.5'],
    [{ cups: '2' }, 'cups must be a whole number from 1 to 4, not "2"'],
    [{ sugarGrams: Number.NaN }, 'sugarGrams must be a number from 0 to 20, not NaN'],
    [{ sugarGrams: 21 }, 'sugarGrams must be a number from 0 to 20, not 21'],
    [{ kind: 'mate' }, 'kind must be one of black, green, not "mate"'],
    [{ milk: 1 }, 'milk must be true or false, not 1'],
    [{ name: null }, 'name must be a string, not null'],
    [{ milk: [1, 'x', {}, ['y'], 5] }, 'milk must be true or false, not [1, "x", an object, a list, …]'],
    [{ signal: {} }, 'signal must be an AbortSignal, not an object'],
  ])('that cannot have their value are refused: %j', (options, message) => {
    expect(() => brew(options)).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID', message: `brew: ${message}` }),
    );
  });

  test.each([[null], ['strong'], [7]])('that are no object are refused: %j', (options) => {
    expect(() => brew(options as never)).toThrow('brew: options must be an object');
  });

  test('are handed on without those that are undefined or belong to somebody else', () => {
    const options = { cups: 2, milk: undefined, biscuits: 3 };
    expect(chosenOptions<Tea>(options, TEA)).toEqual({ cups: 2 });
    expect(Object.keys(chosenOptions<Tea>(options, TEA))).toEqual(['cups']);
  });
});
