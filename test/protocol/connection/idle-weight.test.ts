import { expect, test } from 'vitest';
import { Connection } from '../../../src/protocol/connection/connection.ts';
import { Pair } from './pair.ts';

/** Objects that can be reached, functions among them; not from one that is `left`, which is counted itself. */
function reachable(
  roots: Iterable<object>,
  known: ReadonlySet<object> = new Set(),
  isLeft: (found: object) => boolean = () => false,
): Set<object> {
  const found = new Set<object>();
  const open = [...roots];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (found.has(next) || known.has(next)) continue;
    found.add(next);
    if (isLeft(next)) continue;
    if (ArrayBuffer.isView(next)) {
      open.push(next.buffer);
      continue;
    }
    const values: unknown[] = Object.values(Object.getOwnPropertyDescriptors(next)).map(({ value }) => value);
    if (next instanceof Map) values.push(...next.keys(), ...next.values());
    else if (next instanceof Set) values.push(...next);
    for (const value of values)
      if ((typeof value === 'object' && value !== null) || typeof value === 'function') open.push(value);
  }
  return found;
}

/** What V8 takes for an object, about, in bytes: there is no asking. */
function weightOf(object: object): number {
  if (object instanceof ArrayBuffer) return 88 + object.byteLength;
  if (ArrayBuffer.isView(object)) return 96;
  if (typeof object === 'function') return 56;
  if (object instanceof Map || object instanceof Set) return 32 + 32 * (8 + object.size);
  const values = Object.values(object);
  // Other numbers than small whole ones are objects themselves.
  const boxed = values.filter((value) => typeof value === 'number' && (value | 0) !== value).length;
  return (Array.isArray(object) ? 48 : 24) + 8 * values.length + 16 * boxed;
}

/** What the server's side of an established connection over which nothing comes holds by itself, in bytes. */
function idleWeight(): number {
  const quiet = () => new Pair().connected().run(1_000).server;
  const { core, endpoint } = quiet();
  // Shared by all: what another connection has, of another endpoint, and what their endpoint has.
  const shared = reachable([quiet().core]);
  const ofEndpoint = reachable([endpoint], shared, (found) => found instanceof Connection);
  ofEndpoint.delete(core);
  let bytes = 0;
  for (const object of reachable([core], new Set([...shared, ...ofEndpoint]))) bytes += weightOf(object);
  return bytes;
}

test('an idle connection holds no more than 12 KB', () => {
  const bytes = idleWeight();
  expect(bytes).toBeGreaterThan(6_000); // or nothing was found
  expect(bytes).toBeLessThan(12_288);
});
