import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ReasonCode } from '../../../src/pubsub/command.ts';
import { FakeCluster } from './fake-cluster.ts';

describe('what an operator orders on one node', () => {
  test('is done on the node that has the session, which is said, and kept there [CLU-53]', () => {
    const cluster = new FakeCluster({}, 'a', 'b', 'c');
    const guest = cluster.node('b').hello('sensor-17');
    cluster.pass(10);
    const answers: boolean[] = [];
    cluster
      .node('a')
      .core.inspection.kickElsewhere('sensor-17', 'root', 'floods', (kicked) => answers.push(kicked));
    cluster.pass(10);
    expect(answers).toEqual([true]);
    expect(guest.closedWith).toBe(ReasonCode.KICKED);
    const { trace } = cluster.node('b').core;
    expect(trace).toMatchObject([{ what: 'kicked', detail: 'by root on the node a: floods' }]);
    cluster
      .node('a')
      .core.inspection.kickElsewhere('sensor-17', 'root', '', (kicked) => answers.push(kicked));
    cluster.pass(900);
    expect(answers).toEqual([true]);
    cluster.pass(200);
    expect(answers).toEqual([true, false]);
  });

  test('comes to nothing at once where this node is cut off, or is one of very many [CLU-53]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const { inspection } = cluster.node('a').core;
    const answers: boolean[] = [];
    for (let i = 0; i < 257; i++) inspection.kickElsewhere(`${i}`, '', '', (kicked) => answers.push(kicked));
    expect(answers).toEqual([false]);
    cluster.pass(1_100);
    expect(answers.length).toBe(257);
    cluster.node('a').backplane.isConnected = false;
    inspection.kickElsewhere('x', '', '', (kicked) => answers.push(kicked));
    expect(answers.length).toBe(258);
  });

  test('of rules that were read anew all others hear, and not itself [CLU-53]', () => {
    const cluster = new FakeCluster({}, 'a', 'b', 'c');
    cluster.node('a').core.inspection.tellAccessRead();
    cluster.settle();
    expect([...cluster.nodes.values()].map(({ core }) => core.accessReadings)).toEqual([0, 1, 1]);
  });

  test('may be anything, and nothing fails [CLU-53]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const { backplane } = cluster.node('a');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(3), (bytes, kind) => {
        backplane.push((events) => events.received('b', Buffer.concat([Buffer.of(kind), bytes])));
        cluster.settle();
      }),
      { numRuns: 300 },
    );
    backplane.push((events) => events.received('b', new Uint8Array(0)));
    cluster.settle();
    expect(cluster.faults).toEqual([]);
  });
});
