import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import type { BrokerLimits } from '../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import { encodeAck, encodeNack } from '../../../src/pubsub/acknowledgement.ts';
import {
  AckFlag,
  Command,
  encodeAlias,
  encodeSubscribe,
  encodeWill,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  SubscribeFlag,
} from '../../../src/pubsub/command.ts';
import { BROKER_PROTOCOL_VERSION, encodeHello } from '../../../src/pubsub/session-commands.ts';
import {
  encodeSubscribeOptions,
  StartKind,
  type SubscribeOptionValues,
} from '../../../src/pubsub/subscribe-options.ts';
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
    let least = Number.POSITIVE_INFINITY;
    for (;;) {
      collect();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      if (heapUsed + arrayBuffers > least - KIB) return least; // what earlier tests left goes little by little
      least = heapUsed + arrayBuffers;
    }
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
  test('is at most 2 KB for a session that is away, of 20,000 [BRK-56]', () => {
    const core = new DrivenCore();
    const count = 20_000;
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
      for (let i = 0; i < 20_000; i++) hello(core, `${i}`.padEnd(255, 'x')).client.disconnect();
      return core;
    });
    expect(bytes).toBeLessThan(1_000 * 3 * KIB);
  });

  test('is bounded for wills, large and small [BRK-103]', () => {
    for (const size of [60 * KIB, 10]) {
      const core = new DrivenCore({ willBytesMax: MIB });
      const bytes = held(() => {
        for (let i = 0; i < 3_000; i++) {
          const { client, control } = hello(core, `s${i}`);
          control.send(encodeWill(2, `w/${i}`, 0, 60_000, Buffer.alloc(size)));
          client.disconnect();
        }
        return core;
      });
      expect(bytes).toBeLessThan(MIB + 5_000 * 2.5 * KIB);
    }
  });

  test('is bounded by the bound of its queues for the topics that stand behind aliases, which are charged as they are [BRK-30]', () => {
    const core = new DrivenCore({ queueBytesPerClientMax: MIB });
    const define = (client: FakeClient, streams: number, topicBytes: number) => {
      for (let s = 0; s < streams; s++) {
        const stream = client.open();
        for (let alias = 1; alias <= 256 && client.peer.closedWith === null; alias++)
          stream.send(encodeAlias(alias, `${s}/${alias}`.padEnd(topicBytes, 'x')));
      }
    };
    for (const [streams, topicBytes] of [
      [3, 1_000],
      [20, 10],
    ]) {
      const bytes = held(() => {
        const { client } = hello(core, `s${topicBytes}`);
        define(client, streams, topicBytes);
        expect(client.peer.closedWith).toBe(null);
        return client;
      });
      expect(bytes).toBeLessThan(1.5 * MIB);
    }
    const { client } = hello(core, 'greedy');
    define(client, 20, 1_000);
    expect(client.peer.closedWith).toBe(ReasonCode.LIMITED);
  });

  test('is about what its log may hold for messages that are stored, large and tiny', () => {
    for (const payloadBytes of [0, 3_000]) {
      const store = new MemoryStore([{ name: 'default', maxBytes: 4 * MIB }]);
      const core = new DrivenCore({}, () => {}, store);
      const bytes = held(() => {
        const { client } = hello(core, 'publisher');
        const stream = client.open();
        for (let id = 1; id <= 20_000; id++)
          stream.send(
            Uint8Array.from(
              Buffer.concat([publishPrefix('t', PublishFlag.QOS1, id), Buffer.alloc(payloadBytes)]),
            ),
          );
        stream.link.delivered.length = 0;
        stream.link.outbox.length = 0;
        client.disconnect();
        return core;
      });
      expect(bytes).toBeLessThan(6.5 * MIB);
      // The log is full of what is large; 20,000 empty messages come to 2 MiB, not to its 4.
      expect(bytes).toBeGreaterThan(payloadBytes === 0 ? MIB : 2 * MIB);
    }
  });

  test('is bounded by the number of durables, with long names, and with filters as they are', () => {
    const core = new DrivenCore({ durablesMax: 1_000 });
    const bytes = held(() => {
      for (let i = 0; i < 3_000; i++) {
        const client = new FakeClient(core);
        const name = `${i}`.padEnd(250, 'n');
        client.open().send(subscribe(`${i}/${'f'.repeat(200)}`, { name, unackedMax: 0xffff_ffff }));
        client.disconnect();
      }
      return core;
    });
    expect(core.metrics().internalErrors).toBe(0);
    expect(bytes).toBeLessThan(1_000 * 4 * KIB);
  });

  test('is what a connection may hold for what readers of logs have in hand, tiny messages too [BRK-38]', () => {
    const { core } = stored(1_000, 500, { queueBytesPerClientMax: 2_000 });
    const { client } = hello(core, 'reader');
    for (let i = 0; i < 3; i++) client.open(4).send(subscribe('t', { start: StartKind.EARLIEST }));
    const { queuedBytes } = core.metrics();
    expect(queuedBytes).toBeGreaterThan(300);
    expect(queuedBytes).toBeLessThan(2_000 + 3 * 300);
  });

  test('is bounded for a subscriber that acknowledges nothing, or every second message, or refuses all of them', () => {
    for (const answer of [
      () => null,
      (id: number) => (id % 2 === 0 ? encodeAck(id) : null),
      (id: number) => encodeNack(id, 0, 'x'.repeat(256)),
      (id: number) => encodeNack(id, 60_000, 'x'.repeat(256)),
      (id: number) => encodeAck(id, AckFlag.PROGRESS),
    ]) {
      const { core, publish } = stored(1_000, 5_000);
      const { client } = hello(core, 'reader');
      const stream = client.open();
      const bytes = held(() => {
        stream.send(
          subscribe('t', { name: 'd', start: StartKind.EARLIEST, unackedMax: 0xffff_ffff, deliveriesMax: 0 }),
        );
        for (let i = 1; i <= 60; i++) {
          stream.carry();
          for (const command of stream.link.delivered.splice(0)) {
            const reply =
              command[0] === Command.PUBLISH ? answer(Buffer.from(command).readUInt32BE(4)) : null;
            if (reply !== null) stream.send(reply);
          }
          core.advance(i * 1_000, i * 1_000);
          core.tick(i * 1_000);
        }
        return core;
      });
      publish(); // others go on
      expect(core.metrics()).toMatchObject({ internalErrors: 0, publishersStopped: 0 });
      expect(bytes).toBeLessThan(1_000 * 1.5 * KIB);
    }
  });
});

/** A broker whose log holds so many messages, and how another is published. */
function stored(
  unackedMax: number,
  count: number,
  limits: BrokerLimits = {},
): { core: DrivenCore; publish: () => void } {
  const core = new DrivenCore({ ...limits, unackedMax });
  const stream = hello(core, 'publisher').client.open();
  let id = 0;
  const publish = () =>
    stream.send(Buffer.concat([publishPrefix('t', PublishFlag.QOS1, ++id), Buffer.from('payload')]));
  for (let i = 0; i < count; i++) publish();
  return { core, publish };
}

function subscribe(filter: string, options: SubscribeOptionValues): Uint8Array {
  return encodeSubscribe(1, filter, SubscribeFlag.QOS1, 0, 0, encodeSubscribeOptions(options));
}
