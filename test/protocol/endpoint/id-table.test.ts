import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng, type RandomSource } from '../../../src/base/random.ts';
import { ConnectionIdTable, LOCAL_ID_BYTES } from '../../../src/protocol/endpoint/routing.ts';

describe('the table of connection ids', () => {
  test('finds an owner by its whole id, wherever it stands, and nobody else', () => {
    const table = new ConnectionIdTable<{ localId: Uint8Array }>();
    const random = new Prng(1);
    const owners = Array.from({ length: 500 }, () => ({ localId: table.issue(random) }));
    for (const owner of owners) table.add(owner);
    expect(table.size).toBe(500);
    for (const owner of owners) {
      const buffer = new Uint8Array(20);
      buffer.set(owner.localId, 5);
      expect(table.lookup(buffer, 5)).toBe(owner);
      for (let bit = 0; bit < 8 * LOCAL_ID_BYTES; bit++) {
        buffer[5 + (bit >> 3)] ^= 1 << (bit & 7);
        expect(table.lookup(buffer, 5)).toBeNull();
        buffer[5 + (bit >> 3)] ^= 1 << (bit & 7);
      }
    }
    for (const owner of owners) table.remove(owner);
    expect(table.size).toBe(0);
    expect(table.lookup(owners[0].localId, 0)).toBeNull();
  });

  test('answers as a map from texts would', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: 50 }),
        fc.array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: 20 }),
        (ids, others) => {
          const table = new ConnectionIdTable<{ localId: Uint8Array }>();
          const twin = new Map<string, { localId: Uint8Array }>();
          for (const localId of ids) {
            // Ids are issued so that their first 52 bits differ; those that do not are not used here.
            if ([...twin.values()].some((owner) => sharesKey(owner.localId, localId))) continue;
            const owner = { localId };
            table.add(owner);
            twin.set(text(localId), owner);
          }
          for (const id of [...ids, ...others]) expect(table.lookup(id, 0)).toBe(twin.get(text(id)) ?? null);
        },
      ),
    );
  });

  test('issues no id twice, and none that another could be taken for', () => {
    const table = new ConnectionIdTable<{ localId: Uint8Array }>();
    // Gives the same bytes three times, then others.
    const bytes = [1, 1, 1, 2];
    const stuck: RandomSource = { fill: (target) => target.fill(bytes.shift() ?? 3) };
    const first = { localId: table.issue(stuck) };
    table.add(first);
    const second = { localId: table.issue(stuck) };
    expect([...first.localId]).toEqual(Array(8).fill(1));
    expect([...second.localId]).toEqual(Array(8).fill(2));
  });
});

function sharesKey(one: Uint8Array, other: Uint8Array): boolean {
  return Buffer.compare(one.subarray(0, 6), other.subarray(0, 6)) === 0 && one[6] >> 4 === other[6] >> 4;
}

function text(id: Uint8Array): string {
  return Buffer.from(id).toString('hex');
}
