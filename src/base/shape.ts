/**
 * Shapes of JSON that a stranger sends: what is not of the shape is refused, what it does not name is left out, and nothing in it is longer
 * than it says. A shape is a function from any value to a checked one, so that its type is the type of what it lets through.
 */

/** Why a value is not of a shape. */
export class ShapeError extends Error {}

export type Shape<T> = (value: unknown, at: string) => T;

export type Shaped<S> = S extends Shape<infer T> ? T : never;

/** A finite number from `min` to `max`. */
export function real(min: number, max: number): Shape<number> {
  return (value, at) => {
    if (typeof value !== 'number' || !(value >= min && value <= max)) {
      throw new ShapeError(`${at} is no number from ${min} to ${max}`);
    }
    return value;
  };
}

/** The same without a fraction. */
export function whole(min: number, max: number): Shape<number> {
  const checked = real(min, max);
  return (value, at) => {
    if (!Number.isInteger(checked(value, at))) throw new ShapeError(`${at} is no whole number`);
    return value as number;
  };
}

/** Text of at most so many UTF-16 units. */
export function text(lengthMax: number): Shape<string> {
  return (value, at) => {
    if (typeof value !== 'string' || value.length > lengthMax)
      throw new ShapeError(`${at} is no text of at most ${lengthMax}`);
    return value;
  };
}

export const flag: Shape<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw new ShapeError(`${at} is neither true nor false`);
  return value;
};

export function oneOf<const T extends string>(known: readonly T[]): Shape<T> {
  return (value, at) => {
    const found = known.find((each) => each === value);
    if (found === undefined) throw new ShapeError(`${at} is none of ${known.join(', ')}`);
    return found;
  };
}

export function nullable<T>(shape: Shape<T>): Shape<T | null> {
  return (value, at) => (value === null || value === undefined ? null : shape(value, at));
}

export function list<T>(shape: Shape<T>, lengthMax: number): Shape<T[]> {
  return (value, at) => {
    if (!Array.isArray(value) || value.length > lengthMax)
      throw new ShapeError(`${at} is no list of at most ${lengthMax}`);
    return value.map((each, i) => shape(each, `${at}[${i}]`));
  };
}

/** An object used as a table: whatever its members are called, each is of the shape. */
export function table<T>(shape: Shape<T>): Shape<Record<string, T>> {
  return (value, at) => {
    const members = Object.entries(anObject(value, at));
    return Object.fromEntries(members.map(([name, each]) => [name, shape(each, `${at}.${name}`)]));
  };
}

/** An object with these members; others that it has are left out. */
export function object<M extends Record<string, Shape<unknown>>>(
  members: M,
): Shape<{ [K in keyof M]: Shaped<M[K]> }> {
  return (value, at) => {
    const found = anObject(value, at);
    const checked: Record<string, unknown> = {};
    for (const [name, shape] of Object.entries(members)) {
      checked[name] = shape(Object.hasOwn(found, name) ? found[name] : undefined, `${at}.${name}`);
    }
    return checked as { [K in keyof M]: Shaped<M[K]> };
  };
}

function anObject(value: unknown, at: string): Record<string, unknown> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return value as Record<string, unknown>;
  throw new ShapeError(`${at} is no object`);
}
