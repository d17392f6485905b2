import { expect, test } from 'vitest';
import { World } from '../world.ts';

/** What the broker says of a note. */
function set(world: World, name: string, note: string | Uint8Array): boolean | null {
  let kept: boolean | null = null;
  world.core.inspection.setNote(name, Buffer.from(note), (isKept) => {
    kept = isKept;
  });
  world.core.look();
  return kept;
}

function noteOf(world: World, name: string): string | null {
  const note = world.core.inspection.noteOf(name);
  return note === null ? null : Buffer.from(note).toString();
}

test('a note lives as long as its session, whoever is connected, and outlives the broker [BRK-130]', () => {
  const world = new World();
  const guest = world.hello('a');
  expect(noteOf(world, 'a')).toBeNull();
  expect(set(world, 'a', 'one')).toBe(true);
  expect(set(world, 'a', 'two')).toBe(true);
  guest.leave();
  expect(noteOf(world, 'a')).toBe('two');
  world.crash(1_000);
  expect(noteOf(world, 'a')).toBe('two');
  world.hello('a');
  expect(noteOf(world, 'a')).toBe('two');
  world.hello('a', { cleanStart: true });
  expect(noteOf(world, 'a')).toBeNull();
  expect([...world.store.state.entries('note/')]).toEqual([]);
});

test('an empty note takes it away, and of a session that is over while the broker is down nothing stays [BRK-130]', () => {
  const world = new World();
  world.hello('a', { expiryMs: 10_000 }).leave();
  world.hello('b').leave();
  set(world, 'a', 'a');
  set(world, 'b', 'b');
  expect(set(world, 'b', '')).toBe(true);
  expect(noteOf(world, 'b')).toBeNull();
  world.crash(20_000);
  expect([...world.store.state.entries('note/')]).toEqual([]);
});

test('a note is refused where there is no session that outlives its connection, above 64 KiB, and above the bound of all [BRK-130]', () => {
  const world = new World();
  world.hello('short', { expiryMs: 0 });
  expect(set(world, 'nobody', 'x')).toBe(false);
  expect(set(world, 'short', 'x')).toBe(false);
  const largest = new Uint8Array(64 * 1024).fill(1);
  let kept = 0;
  for (let i = 0; i <= 4_096; i++) {
    world.hello(`s${i}`).leave();
    if (set(world, `s${i}`, largest)) kept++;
  }
  expect(kept).toBe(4_080); // with what each costs beside its bytes
  expect(set(world, 's0', Buffer.alloc(64 * 1024 + 1))).toBe(false);
  expect(noteOf(world, 's0')).toHaveLength(64 * 1024);
  expect(set(world, 's0', 'less')).toBe(true);
  expect(set(world, 's4095', 'x')).toBe(true);
});
