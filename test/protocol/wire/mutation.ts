import fc from 'fast-check';

/** Bytes with one to four mutations: a byte changed, a bit flipped, the tail cut, bytes taken out, put in or doubled. */
export function mutated(bytes: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const mutation = fc.record({
    kind: fc.constantFrom('set', 'flip', 'cut', 'remove', 'insert', 'double'),
    at: fc.nat(2 ** 20),
    length: fc.integer({ min: 1, max: 8 }),
    value: fc.oneof(fc.nat(255), fc.constantFrom(0x00, 0x3f, 0x40, 0x7f, 0x80, 0xc0, 0xff)),
  });
  return fc.tuple(bytes, fc.array(mutation, { minLength: 1, maxLength: 4 })).map(([original, mutations]) => {
    let result = Array.from(original);
    for (const { kind, at, length, value } of mutations) {
      const place = result.length === 0 ? 0 : at % result.length;
      const chunk = result.slice(place, place + length);
      if (kind === 'cut') result = result.slice(0, place);
      else if (kind === 'remove') result.splice(place, length);
      else if (kind === 'insert') result.splice(place, 0, ...Array(length).fill(value));
      else if (kind === 'double') result.splice(place, 0, ...chunk);
      else if (result.length > 0) result[place] = kind === 'set' ? value : result[place] ^ (1 << (value & 7));
    }
    return Uint8Array.from(result);
  });
}
