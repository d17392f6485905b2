import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ReasonCode } from '../../src/pubsub/command.ts';
import { DrivenCore } from '../broker/core/driven-core.ts';
import { FakeClient } from '../broker/core/fake-client.ts';

const NAMES = ['a', 'a/b', '+', '#', 'a/#', '', 'a//b', '$x', '$share/g/a', '\u0000', '\ufffd'];
const name = fc.oneof(
  fc.constantFrom(...NAMES.map((text) => Buffer.from(text))),
  fc.uint8Array({ maxLength: 6 }),
);
/** Commands of which most are well formed, with names of which many are not. */
const command = fc
  .record({
    command: fc.constantFrom(1, 1, 1, 2, 2, 3, 4, 5, 6, 0x82),
    flags: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 4, 0x20, 0x40, 0x40, 0xff),
    id: fc.constantFrom(0, 1, 1, 0xffffffff),
    name,
    hasName: fc.boolean(),
    body: fc.oneof(fc.constant(new Uint8Array(0)), fc.uint8Array({ maxLength: 9 })),
  })
  .map((fields) => {
    const topic = fields.hasName || fields.command <= 3 ? fields.name : new Uint8Array(0);
    const id = fields.command === 1 ? 0 : fields.id;
    const header = Buffer.from([fields.command, fields.flags, 0, topic.length, 0, 0, 0, 0]);
    header.writeUInt32BE(id, 4);
    return Buffer.concat([header, topic, fields.body]);
  });
const step = fc.record({
  client: fc.nat(2),
  stream: fc.nat(2),
  bytes: fc.oneof(
    { weight: 9, arbitrary: command },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }) },
  ),
  carry: fc.nat(3),
});

describe('the broker core under arbitrary commands', () => {
  test('never throws, closes only with codes of the specification, and cleans up [BRK-6]', () => {
    const codes: number[] = Object.values(ReasonCode);
    let failed = 0;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const core = new DrivenCore({ queueMessagesMax: 3, filtersPerClientMax: 3, routesMax: 8 });
        const clients = [0, 1, 2].map(() => new FakeClient(core));
        const streams = clients.map((client) => [client.open(1), client.open(2), client.open()]);
        for (const { client, stream, bytes, carry } of steps) {
          streams[client][stream].send(bytes);
          streams[(client + 1) % 3][stream].carry(carry);
          expect(core.metrics().queuedMessages).toBeLessThanOrEqual(9 * 3);
        }
        for (const { peer } of clients) {
          if (peer.closedWith === null) continue;
          failed++;
          expect(codes).toContain(peer.closedWith);
        }
        for (const all of streams) for (const { link } of all) expect(() => link.commands).not.toThrow();
        for (const client of clients) client.disconnect();
        expect(core.metrics()).toMatchObject({ clients: 0, streams: 0, filters: 0, publishersStopped: 0 });
      }),
      { numRuns: 500 },
    );
    expect(failed).toBeGreaterThan(100);
  });
});
