import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TopicTable } from '../../src/pubsub/topic-table.ts';

describe('the topic table', () => {
  it('answers with the value stored last for the same bytes, or not at all', () => {
    const key = fc.uint8Array({ maxLength: 3, max: 5 });
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.nat()), { maxLength: 200 }), (steps) => {
        const table = new TopicTable<number>(16);
        const stored = new Map<string, number>();
        for (const [bytes, value] of steps) {
          table.store(bytes, 0, bytes.length, value);
          stored.set(bytes.join(), value);
          expect(table.lookup(bytes, 0, bytes.length)).toBe(value);
        }
        for (const [text, value] of stored) {
          const bytes = Uint8Array.from(text === '' ? [] : text.split(',').map(Number));
          expect([undefined, value]).toContain(table.lookup(bytes, 0, bytes.length));
        }
      }),
    );
  });

  it('remembers all of a handful of topics, and only so many of a crowd', () => {
    const table = new TopicTable<number>(1024);
    const name = (i: number) => Buffer.from(`sensors/${i}/temperature`);
    for (let i = 0; i < 200; i++) table.store(name(i), 0, name(i).length, i);
    for (let i = 0; i < 200; i++) expect(table.lookup(name(i), 0, name(i).length)).toBe(i);
    for (let i = 0; i < 20_000; i++) table.store(name(i), 0, name(i).length, i);
    let hits = 0;
    for (let i = 0; i < 20_000; i++) if (table.lookup(name(i), 0, name(i).length) === i) hits++;
    expect(hits).toBeGreaterThan(900);
    expect(hits).toBeLessThanOrEqual(1024);
  });

  it('keeps its own copy of a topic', () => {
    const table = new TopicTable<number>(16);
    const bytes = Buffer.from('..a/b..');
    table.store(bytes, 2, 5, 7);
    bytes.fill(0);
    expect(table.lookup(Buffer.from('a/b'), 0, 3)).toBe(7);
  });
});
