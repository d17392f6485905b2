import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { encodeWill } from '../../../src/pubsub/command.ts';
import { BROKER_PROTOCOL_VERSION, encodeHello } from '../../../src/pubsub/session-commands.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient, type FakeStream } from './fake-client.ts';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const DAY_MS = 24 * 60 * 60 * 1_000;
const KIB = 1024;
const MIB = 1024 * KIB;

/** Bytes of heap and of buffers that are held when `attack` is over, and not before. What it answers is held meanwhile. */
function held(attack: () => unknown): number {
  const bytes = () => {
    collect();
    collect();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const before = bytes();
  const result = attack();
  const after = bytes();
  expect(result).toBeDefined();
  return after - before;
}

/** A client that says HELLO, on the first of its streams. */
function hello(
  core: DrivenCore,
  session: string,
  expiryMs = DAY_MS,
): { client: FakeClient; control: FakeStream } {
  const client = new FakeClient(core);
  const control = client.open();
  const identity = {
    version: BROKER_PROTOCOL_VERSION,
    cleanStart: false,
    aliases: 0,
    capabilities: 0,
    method: 0 as const,
  };
  control.send(encodeHello(1, { ...identity, session, expiryMs, credentials: new Uint8Array() }));
  return { client, control };
}

describe('what clients can make a broker hold', () => {
  test('is at most 2 KB for a session that is away, of 100,000 [BRK-56]', () => {
    const core = new DrivenCore();
    const count = 100_000;
    const bytes = held(() => {
      for (let i = 0; i < count; i++) hello(core, `sensor-${i}-of-the-fleet`).client.disconnect();
      return core;
    });
    expect(core.metrics()).toMatchObject({ clients: 0 });
    expect(bytes / count).toBeLessThan(2 * KIB);
    expect(bytes / count).toBeGreaterThan(50);
  });

  test('is bounded by the number of sessions, however long their names, and however many ask [BRK-56]', () => {
    const core = new DrivenCore({ sessionsMax: 1_000 });
    const bytes = held(() => {
      for (let i = 0; i < 20_000; i++) hello(core, `${i}`.padEnd(256, 'x')).client.disconnect();
      return core;
    });
    expect(bytes).toBeLessThan(1_000 * 3 * KIB);
  });

  test('is bounded for wills, large and small [BRK-103]', () => {
    for (const size of [60 * KIB, 10]) {
      const core = new DrivenCore({ willBytesMax: MIB });
      const bytes = held(() => {
        for (let i = 0; i < 5_000; i++) {
          const { client, control } = hello(core, `s${i}`);
          control.send(encodeWill(2, `w/${i}`, 0, 60_000, Buffer.alloc(size)));
          client.disconnect();
        }
        return core;
      });
      expect(bytes).toBeLessThan(MIB + 5_000 * 2.5 * KIB);
    }
  });
});
