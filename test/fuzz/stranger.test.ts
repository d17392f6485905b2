import { expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { FrameType } from '../../src/protocol/wire/frame-type.ts';
import { handshakeOf } from '../protocol/connection/internals.ts';
import { Pair } from '../protocol/connection/pair.ts';
import { integers } from '../protocol/connection/rogue.ts';
import { Stranger } from '../protocol/connection/stranger.ts';

const SEEDS = Number(process.env.STRANGER_SEEDS ?? 80);

test('anybody who knows the fingerprint can send Initial packets with anything in them, and gets no more than is due', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    try {
      harass(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
});

function harass(seed: number): void {
  const random = new Prng(seed);
  const pair = new Pair({ seed, link: { delayMs: 1 } });
  const stranger = new Stranger(pair, seed);
  const hello = handshakeOf(pair.connect().client.halfOpen)?.hello ?? new Uint8Array(0);
  pair.client.node.remove();
  let sent = 0;
  const post = (frames: Uint8Array, padding: number): void => {
    stranger.post(frames, Math.max(4, frames.length) + padding);
    sent++;
  };
  post(crypto(hello, 0, 600), 500);
  pair.run(2);
  for (let k = 0; k < 80; k++) {
    const frames: Uint8Array[] = [];
    do frames.push(frame(random, hello));
    while (random.chance(0.5));
    if (random.chance(0.3)) stranger.skip(random.below(4) === 0 ? random.below(2 ** 30) : 1);
    post(Buffer.concat(frames), random.chance(0.2) ? random.below(1_000) : 0);
    pair.run(random.chance(0.1) ? random.below(1_500) : random.float());
    expect(stranger.bytesHeard).toBeLessThanOrEqual(3 * stranger.bytesSaid);
  }
  pair.run(20_000);
  const { connectionsOpen, handshakesCompleted } = pair.server.endpoint.counters;
  expect({ connectionsOpen, handshakesCompleted }).toEqual({ connectionsOpen: 0, handshakesCompleted: 0 });
  expect(sent).toBe(81);
}

function frame(random: Prng, hello: Uint8Array): Uint8Array {
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2: {
      const offset = random.below(hello.length);
      return crypto(hello, offset, random.between(1, hello.length - offset), random.chance(0.002));
    }
    case 3: {
      const largest = random.below(4);
      return integers(FrameType.ACK, largest, random.below(100), 0, random.below(largest + 1));
    }
    case 4:
      return random.chance(0.02) ? integers(FrameType.CONNECTION_CLOSE, 0, 0, 0, 0) : PING;
    case 5:
      return new Uint8Array(random.between(1, 40));
    default:
      return PING;
  }
}

function crypto(hello: Uint8Array, offset: number, length: number, isDamaged = false): Uint8Array {
  const part = hello.slice(offset, offset + Math.min(length, 1_000));
  if (isDamaged) part[0] ^= 1;
  return Buffer.concat([integers(FrameType.CRYPTO, offset, hello.length, part.length), part]);
}

const PING = integers(FrameType.PING);
