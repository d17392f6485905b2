import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type LocalConnection,
  type LocalStream,
  localPair,
  Turns,
} from '../../src/gateway/local-connection.ts';
import { COMMAND_BYTES_MAX } from '../../src/pubsub/command.ts';
import type { ConnectionFacts } from '../../src/pubsub/message-stream.ts';
import type { Clock } from '../../src/udp/clock.ts';

const FACTS: ConnectionFacts = {
  ...({ door: 'http', address: '192.0.2.1', overLimit: 'refuse' } as const),
  ...{ exporter: () => null, link: () => null },
};

/** A clock that stands still until it is told otherwise, and counts how often the event loop was let go on. */
function standingClock() {
  const clock = {
    ms: 0,
    yields: 0,
    now: () => clock.ms * 1_000,
    setTimer: () => ({}),
    clearTimer: () => {},
    soon: (callback: () => void) => {
      clock.yields++;
      setImmediate(callback);
    },
  };
  return clock satisfies Clock;
}

function pair(clock: Clock = standingClock()) {
  const faults: unknown[] = [];
  const [near, far] = localPair({ facts: FACTS, turns: new Turns(clock), onFault: (e) => faults.push(e) });
  return { near, far, faults };
}

const OPTIONS = { label: 'x', priority: 'chat', delivery: 'reliable', ordered: true } as const;

/** Opens a stream, and notes what its far end is told. */
async function opened(near: LocalConnection, far: LocalConnection) {
  const told: string[] = [];
  const accepted = new Promise<LocalStream>((resolve) => far.on('stream', resolve));
  const stream = near.openStream(OPTIONS);
  const peer = await accepted;
  note(peer, told);
  return { stream, peer, told };
}

function note(stream: LocalStream, told: string[]): void {
  stream.on('message', (message: Buffer) => told.push(message.toString()));
  stream.on('end', () => told.push('end'));
  stream.on('error', (error) => told.push(`error ${error.applicationCode}`));
  stream.on('close', () => told.push('close'));
  stream.on('drain', () => told.push('drain'));
}

async function settled(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('a connection within the process', () => {
  test('tells all who listen, in the order in which they came', async () => {
    const { near, far } = pair();
    const { stream, peer, told } = await opened(near, far);
    peer.on('message', (message: Buffer) => told.push(`again ${message}`));
    peer.on('end', () => told.push('ended'));
    stream.send(Buffer.from('x'));
    stream.end();
    await settled();
    expect(told).toEqual(['x', 'again x', 'end', 'ended']);
  });

  test('hands what was sent over in a later turn, in order, as the very same bytes', async () => {
    const { near, far } = pair();
    const { stream, peer } = await opened(near, far);
    const got: Buffer[] = [];
    peer.on('message', (message: Buffer) => got.push(message));
    const sent = [Buffer.from('a'), Buffer.from('b')];
    for (const message of sent) expect(stream.send(message)).toBe(true);
    await Promise.resolve();
    expect(got).toEqual([]);
    await settled();
    expect(got[0]).toBe(sent[0]);
    expect(got[1]).toBe(sent[1]);
    expect([near.facts, far.facts]).toEqual([undefined, FACTS]);
  });

  test('hands over together what comes in one turn of the event loop, and at once where that is much', async () => {
    const clock = standingClock();
    const { near, far } = pair(clock);
    const others = [await opened(near, far), await opened(near, far)];
    const told: string[] = [];
    for (const { peer } of others) note(peer, told);
    const { yields } = clock;
    const send = (): void => {
      for (const { stream } of others) stream.send(Buffer.from(`${told.length}`));
    };
    send();
    for (let microtasks = 0; microtasks < 10; microtasks++) await Promise.resolve();
    send();
    expect(told).toEqual([]);
    await settled();
    expect([told, clock.yields]).toEqual([['0', '0', '0', '0'], yields + 1]);
    // A loop that is busy with other sockets does not call.
    clock.soon = () => {};
    for (let i = 0; i < 32; i++) send();
    await Promise.resolve();
    expect(told.length).toBe(4 + 64);
  });

  test('hands over in the same turn what is said in answer, by promises as well, and lets the event loop go on between those who answer each other', async () => {
    let turns = 0;
    const clock: Clock = {
      ...standingClock(),
      soon: (callback) => {
        setImmediate(() => {
          turns++;
          callback();
        });
      },
      atEndOfTick: (callback) => void Promise.resolve().then(() => process.nextTick(callback)),
    };
    const { near, far } = pair(clock);
    const { stream, peer } = await opened(near, far);
    const at: number[] = [];
    const answer = (end: LocalStream) => async (): Promise<void> => {
      at.push(turns);
      await Promise.resolve();
      if (at.length < 100) end.send(Buffer.from('again'));
    };
    peer.on('message', answer(peer));
    stream.on('message', answer(stream));
    stream.send(Buffer.from('x'));
    while (at.length < 100) await settled();
    expect(new Set(at.slice(0, 5)).size).toBe(1);
    expect(new Set(at).size).toBeGreaterThan(5);
  });

  test('tells a sender when it is enough, and when half of that was read', async () => {
    const { near, far } = pair();
    const { stream, peer } = await opened(near, far);
    const told: string[] = [];
    note(stream, told);
    stream.highWaterMark = 10;
    peer.pause();
    expect([stream.send(Buffer.alloc(10)), stream.send(Buffer.alloc(1))]).toEqual([true, false]);
    await settled();
    expect([told, stream.queuedBytes]).toEqual([[], 11]);
    peer.resume();
    await settled();
    expect([told, stream.queuedBytes]).toEqual([['drain'], 0]);
  });

  test('tells of an end behind what was sent, not while paused, and closes when both have ended', async () => {
    const { near, far } = pair();
    const { stream, peer, told } = await opened(near, far);
    peer.pause();
    stream.send(Buffer.from('last'));
    stream.end();
    await settled();
    expect(told).toEqual([]);
    peer.resume();
    await settled();
    expect(told).toEqual(['last', 'end']);
    peer.send(Buffer.from('answer'));
    peer.end();
    await settled();
    expect(told).toEqual(['last', 'end', 'close']);
    expect(() => stream.send(Buffer.from('x'))).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_STREAM_CLOSED' }),
    );
  });

  test('tells of a reset with its code, of a closed connection with its own, and of neither twice', async () => {
    const { near, far } = pair();
    const first = await opened(near, far);
    const second = await opened(near, far);
    first.stream.reset(14);
    await settled();
    expect(first.told).toEqual(['error 14', 'close']);
    const ends: unknown[] = [];
    for (const end of [near, far]) end.on('close', (error) => ends.push(error?.applicationCode ?? null));
    near.destroy(9, 'why');
    near.destroy(10);
    await settled();
    expect(second.told).toEqual(['error 9', 'close']);
    expect(ends).toEqual([null, 9]);
    expect(() => near.openStream(OPTIONS)).toThrow(expect.objectContaining({ code: 'ERR_JSP_CLOSED' }));
  });

  test('lets what was not read in time go', async () => {
    const clock = standingClock();
    const { near, far } = pair(clock);
    const { stream, peer, told } = await opened(near, far);
    peer.pause();
    stream.send(Buffer.from('short'), { lifetimeMs: 10 });
    stream.send(Buffer.from('long'), { lifetimeMs: 20 });
    stream.send(Buffer.from('for ever'));
    clock.ms = 10;
    peer.resume();
    await settled();
    expect(told).toEqual(['long', 'for ever']);
  });

  test('pays for a listener that throws alone', async () => {
    const turns = new Turns(standingClock());
    const faults: unknown[] = [];
    const make = () => localPair({ facts: FACTS, turns, onFault: (e) => faults.push(e) });
    const [[near, far], [otherNear, otherFar]] = [make(), make()];
    const victim = await opened(near, far);
    const other = await opened(otherNear, otherFar);
    const bug = new Error('bug');
    victim.peer.on('message', () => {
      throw bug;
    });
    victim.stream.send(Buffer.from('a'));
    other.stream.send(Buffer.from('b'));
    await settled();
    expect(faults).toEqual([bug]);
    expect(other.told).toEqual(['b']);
    expect(() => near.openStream(OPTIONS)).toThrow();
    expect(() => otherNear.openStream(OPTIONS)).not.toThrow();
  });

  test('has a bound on its streams and on messages', async () => {
    const { near, far } = pair();
    const { stream } = await opened(near, far);
    const { openableStreams } = near;
    for (let i = 0; i < openableStreams; i++) near.openStream(OPTIONS);
    expect(near.openableStreams).toBe(0);
    expect(() => near.openStream(OPTIONS)).toThrow(expect.objectContaining({ code: 'ERR_JSP_QUEUE_FULL' }));
    expect(() => stream.send(Buffer.alloc(COMMAND_BYTES_MAX + 1))).toThrow(
      expect.objectContaining({ code: 'ERR_JSP_MESSAGE_TOO_LARGE' }),
    );
  });

  test('lets the event loop go on between two ends that answer each other without end', async () => {
    const clock = standingClock();
    const { near, far } = pair(clock);
    const { stream, peer } = await opened(near, far);
    let left = 20_000;
    peer.on('message', (message: Buffer) => void peer.send(message));
    stream.on('message', (message: Buffer) => {
      if (left-- > 0) stream.send(message);
    });
    stream.send(Buffer.from('x'));
    while (left > 0) await settled();
    expect(clock.yields).toBeGreaterThan(5);
  });

  test('carries any sends, pauses and marks without loss, in order, and within the marks but for one message', async () => {
    const step = fc.oneof(
      fc.record({ bytes: fc.integer({ min: 0, max: 50 }) }),
      fc.constantFrom('pause', 'resume', 'wait'),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60 }),
        fc.integer({ min: 1, max: 100 }),
        async (steps, mark) => {
          const { near, far } = pair();
          const { stream, peer } = await opened(near, far);
          const got: Buffer[] = [];
          peer.on('message', (message: Buffer) => got.push(message));
          let writable = true;
          stream.on('drain', () => {
            writable = true;
          });
          stream.highWaterMark = mark;
          const sent: Buffer[] = [];
          for (const each of steps) {
            if (each === 'pause') peer.pause();
            else if (each === 'resume') peer.resume();
            else if (each === 'wait') await settled();
            else if (writable) {
              const message = Buffer.alloc(each.bytes, sent.length);
              writable = stream.send(message);
              sent.push(message);
              expect(stream.queuedBytes).toBeLessThanOrEqual(mark + each.bytes);
            }
          }
          peer.resume();
          await settled();
          expect(got).toEqual(sent);
          expect(writable).toBe(true);
        },
      ),
      { numRuns: 60 },
    );
  });
});
