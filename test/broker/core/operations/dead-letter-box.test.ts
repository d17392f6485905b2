import { describe, expect, test } from 'vitest';
import type { DeadLetter, DeadLetterPage } from '../../../../src/broker/core/operations/dead-letter-box.ts';
import { MemoryStore } from '../../../../src/broker/core/store/memory-store.ts';
import { LateStore } from '../durable/late-store.ts';
import { LogWorld } from '../durable/log-world.ts';

const options = { name: 'd', deliveriesMax: 1, deadLetter: 'dead', ackWaitMs: 1_000 };

/** A world with so many dead letters, between other messages. */
function worldWith(letters: number, store = new MemoryStore()): LogWorld {
  const world = new LogWorld({ store });
  world.append('b=first');
  const subscriber = world.subscriber().subscribe('a', options);
  for (let i = 0; i < letters; i++) {
    const offset = world.append(`a=${i}`);
    world.core.look();
    subscriber.nack(offset, 0, `no ${i}`);
  }
  return world;
}

function listed(world: LogWorld, query: Partial<Parameters<typeof listIn>[1]> = {}): DeadLetterPage | null {
  return listIn(world, query);
}

function listIn(
  world: LogWorld,
  query: { below?: number; limit?: number; all?: boolean; isWanted?: () => boolean },
): DeadLetterPage | null {
  let found: DeadLetterPage | null = null;
  const asked = { below: Number.POSITIVE_INFINITY, limit: 100, all: false, isWanted: () => true, ...query };
  world.core.inspection.deadLetters.list(world.log, asked, (page) => {
    found = page;
  });
  return found;
}

const payloadOf = ({ record }: DeadLetter) => String(record.command).slice(-1);

describe('dead letters, as an operator sees them [OPS-8]', () => {
  test('come the newest first, in pages, with where they were and why they are there', () => {
    const world = worldWith(5);
    const page = listed(world, { limit: 2 }) as DeadLetterPage;
    expect(page.letters.map(payloadOf)).toEqual(['4', '3']);
    expect(page.letters[0]).toMatchObject({
      topic: 'dead',
      origin: { topic: 'a', attempts: 1, reason: 'no 4' },
      isCertain: true,
    });
    const next = listed(world, { below: page.next ?? 0 }) as DeadLetterPage;
    expect(next.letters.map(payloadOf)).toEqual(['2', '1', '0']);
    expect(next.next).toBe(null);
  });

  test('are found behind many thousand messages that are none, page after page', () => {
    const world = worldWith(1);
    world.fill('b=x', 40_000);
    const first = listed(world) as DeadLetterPage;
    expect(first.letters).toEqual([]);
    expect(first.next).toBe(world.log.head - 64 * 512);
    expect((listed(world, { below: first.next ?? 0 }) as DeadLetterPage).letters.map(payloadOf)).toEqual([
      '0',
    ]);
  });

  test('go back to where they were published, once, also after a start of the broker', () => {
    const store = new MemoryStore();
    const world = worldWith(3, store);
    const reader = world.subscriber().subscribe('a');
    const { letters } = listed(world) as DeadLetterPage;
    expect(world.core.inspection.deadLetters.redrive(world.log, letters[1])).toBe(null);
    world.core.look();
    expect(reader.messages().map((line) => line.slice(-3))).toEqual(['a=1']);
    expect((listed(world) as DeadLetterPage).letters.map(payloadOf)).toEqual(['2', '0']);
    world.restart();
    expect((listed(world) as DeadLetterPage).letters.map(payloadOf)).toEqual(['2', '0']);
    expect((listed(world, { all: true }) as DeadLetterPage).letters.map(payloadOf)).toEqual(['2', '1', '0']);
  });

  test('that only say so are not taken for those that the broker made', () => {
    const world = worldWith(0);
    const origin = { epoch: 1, offset: 1, topic: 'secret/door', attempts: 9, reason: 'trust me' };
    world.appendWith('dead=!', { origin });
    expect((listed(world) as DeadLetterPage).letters).toMatchObject([{ isCertain: false, origin }]);
  });

  test('of a log on a disk are waited for', () => {
    const store = new LateStore(new MemoryStore());
    const world = new LogWorld({ store });
    world.appendWith('dead=!', { origin: { epoch: 1, offset: 1, topic: 'a', attempts: 1, reason: '' } });
    store.step(1);
    world.core.look();
    let found: DeadLetterPage | null = null;
    const query = { below: Number.POSITIVE_INFINITY, limit: 9, all: false, isWanted: () => true };
    world.core.inspection.deadLetters.list(world.log, query, (page) => {
      found = page;
    });
    expect(found).toBe(null);
    store.step(2);
    world.core.look();
    expect(found).toMatchObject({ letters: [{ topic: 'dead' }], next: null });
  });
});
