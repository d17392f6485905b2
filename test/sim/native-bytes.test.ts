import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { nativeAddon } from '../../src/base/native-addon.ts';
import { chooseAead } from '../../src/protocol/crypto/aead.ts';
import { type ReceiveBatch, TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { Endpoint } from '../../src/protocol/endpoint/endpoint.ts';
import { runSeed } from './run.ts';
import { scenarioOf } from './scenario.ts';

const WORLDS = 3;

test.skipIf(nativeAddon() === null)(
  'the same seeds give the same bytes, opened one by one, by the batch, and without the native addon',
  async () => {
    const seeds = Array.from({ length: 200 }, (_, i) => i + 1)
      .filter((seed) => JSON.stringify(scenarioOf(seed)).includes('"real"'))
      .slice(0, WORLDS);
    expect(seeds).toHaveLength(WORLDS);
    const native = await digestOf(seeds);
    expect(native.datagrams).toBeGreaterThan(100);
    expect(await inArenas(() => digestOf(seeds))).toEqual(native);
    expect(await withoutAddon(() => digestOf(seeds))).toEqual(native);
  },
);

/** Of all that is sent in these worlds. */
async function digestOf(seeds: readonly number[]): Promise<{ digest: string; datagrams: number }> {
  const hash = createHash('sha256');
  let datagrams = 0;
  const { clear } = TransmitBatch.prototype;
  TransmitBatch.prototype.clear = function (this: TransmitBatch): void {
    for (let i = 0; i < this.count; i++) {
      hash.update(this.arena.subarray(this.offset[i], this.offset[i] + this.length[i]));
      datagrams++;
    }
    clear.call(this);
  };
  try {
    for (const seed of seeds) await runSeed(seed);
  } finally {
    TransmitBatch.prototype.clear = clear;
  }
  return { digest: hash.digest('hex'), datagrams };
}

/** All datagrams of a batch lie in one memory. */
async function inArenas<T>(run: () => Promise<T>): Promise<T> {
  const { receive } = Endpoint.prototype;
  Endpoint.prototype.receive = function (this: Endpoint, batch: ReceiveBatch, ...rest): void {
    const data = batch.data.slice(0, batch.count);
    const arena = new Uint8Array(data.reduce((sum, { length }) => sum + length, 0));
    let used = 0;
    data.forEach((datagram, i) => {
      arena.set(datagram, used);
      batch.data[i] = arena.subarray(used, used + datagram.length);
      batch.offset[i] = used;
      used += datagram.length;
    });
    batch.arena = arena;
    try {
      receive.call(this, batch, ...rest);
    } finally {
      batch.arena = null;
    }
  };
  try {
    return await run();
  } finally {
    Endpoint.prototype.receive = receive;
  }
}

/** Keys that are made meanwhile are not for the addon. */
async function withoutAddon<T>(run: () => Promise<T>): Promise<T> {
  const provider = chooseAead('auto') as { isNative?: boolean };
  expect(provider.isNative).toBe(true);
  provider.isNative = false;
  try {
    return await run();
  } finally {
    provider.isNative = true;
  }
}
