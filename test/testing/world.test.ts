import { describe, expect, test } from 'vitest';
import { MILLISECOND, type Micros, NEVER } from '../../src/base/time.ts';
import type { ReceiveBatch, TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { type LabEndpoint, LabFailure, World, type WorldNode } from '../../src/testing/world.ts';

describe('world', () => {
  test('endpoints talk, and the run ends when nothing is left to happen', () => {
    const { world, client, server } = pair({ delayMs: 5 });
    client.queue.push({ host: 'server', port: 1, bytes: 3 });
    expect(world.run()).toBe('quiet');
    expect(server.received).toEqual(['client:1 3']);
    expect(world.now).toBe(START + 5 * MILLISECOND);
  });

  test('datagrams that arrive at one instant are handed over as one batch', () => {
    const { world, client, server } = pair({ delayMs: 5 });
    for (let i = 1; i <= 4; i++) client.queue.push({ host: 'server', port: 1, bytes: i });
    world.run();
    expect(server.batches).toEqual([4]);
  });

  test('a datagram is copied when it is sent, because arenas are used again', () => {
    const { world, client, server } = pair({ delayMs: 5 });
    client.fill = 7;
    client.queue.push({ host: 'server', port: 1, bytes: 2 });
    world.run({ forMs: 1 });
    client.arena?.fill(0);
    world.run();
    expect(server.lastData).toEqual(Uint8Array.of(7, 7));
  });

  test('timers are rounded up to whole milliseconds, or exact where that is asked for', () => {
    for (const [timerGranularity, expected] of [
      [MILLISECOND, 2_000],
      [1, 1_234],
    ] as const) {
      const world = new World({ seed: 1, timerGranularity });
      const endpoint = new ScriptedEndpoint();
      endpoint.deadlines.push(START + 1_234);
      world.add(endpoint, { host: 'a', port: 1 });
      world.run();
      expect(endpoint.timeouts).toEqual([START + expected]);
    }
  });

  test('a deadline that moves earlier is kept, and one that is taken back does not fire', () => {
    const world = new World({ seed: 1 });
    const endpoint = new ScriptedEndpoint();
    endpoint.deadlines.push(START + 50 * MILLISECOND);
    const node = world.add(endpoint, { host: 'a', port: 1 });
    node.at(START + 10 * MILLISECOND, () => endpoint.deadlines.unshift(START + 20 * MILLISECOND));
    node.at(START + 30 * MILLISECOND, () => endpoint.deadlines.pop());
    world.run();
    expect(endpoint.timeouts).toEqual([START + 20 * MILLISECOND]);
  });

  test('the pump sees which datagrams this turn came from, and what it sends goes out in the same turn', () => {
    const { world, server, serverNode, client } = pair({ delayMs: 5 });
    const seen: Micros[] = [];
    serverNode.pump = () => {
      for (const { sentAt, host, port } of serverNode.arrivals) {
        if (seen.length > 0) return;
        seen.push(sentAt);
        server.queue.push({ host, port, bytes: 9 });
      }
    };
    client.queue.push({ host: 'server', port: 1, bytes: 1 });
    world.run();
    expect(seen).toEqual([START]);
    expect(client.received).toEqual(['server:1 9']);
    expect(world.now).toBe(START + 10 * MILLISECOND);
  });

  test('what the pump does after nothing was left to send is sent as well', () => {
    const { world, client, clientNode, server } = pair({ delayMs: 5 });
    let calls = 0;
    clientNode.pump = () => {
      if (++calls === 2) client.queue.push({ host: 'server', port: 1, bytes: 4 });
    };
    world.run();
    expect(server.received).toEqual(['client:1 4']);
  });

  test('a run ends by its predicate or its time', () => {
    const { world, client, server } = pair({ delayMs: 5 });
    client.queue.push({ host: 'server', port: 1, bytes: 3 });
    expect(world.run({ forMs: 4 })).toBe('time');
    expect(world.now).toBe(START + 4 * MILLISECOND);
    expect(world.run({ until: () => server.received.length > 0 })).toBe('until');
  });

  test('endpoints that never rest make the run fail with its seed', () => {
    const { world, clientNode, client, serverNode, server } = pair({}, 77);
    for (const [node, endpoint, to] of [
      [clientNode, client, 'server'],
      [serverNode, server, 'client'],
    ] as const) {
      node.pump = () => {
        if (node.arrivals.length > 0) endpoint.queue.push({ host: to, port: 1, bytes: 1 });
        node.arrivals = [];
      };
    }
    client.queue.push({ host: 'server', port: 1, bytes: 1 });
    expect(() => world.run()).toThrow(/seed 77.*livelock/);
  });

  test('a timeout that changes nothing is a livelock as well', () => {
    const world = new World({ seed: 5 });
    const stuck = new ScriptedEndpoint();
    stuck.nextTimeout = () => START;
    world.add(stuck, { host: 'a', port: 1 });
    expect(() => world.run()).toThrow(/seed 5.*livelock/);
  });

  test('an error of an endpoint is reported with seed, time and host, and keeps its cause', () => {
    const { world, clientNode } = pair({}, 42);
    const cause = new Error('broken');
    clientNode.pump = () => {
      throw cause;
    };
    let failure: unknown;
    try {
      world.run();
    } catch (error) {
      failure = error;
    }
    expect(failure).toBeInstanceOf(LabFailure);
    expect(failure).toMatchObject({ seed: 42, cause, message: `seed 42, at ${START} us: client: broken` });
  });

  test('what an endpoint had packed when it threw is not sent by the next that takes its turn', () => {
    const thrown = pair({});
    thrown.client.queue.push({ host: 'server', port: 1, bytes: 3 });
    const { transmit } = thrown.client;
    thrown.client.transmit = (batch) => {
      transmit.call(thrown.client, batch);
      throw new Error('broken');
    };
    expect(() => thrown.world.run()).toThrow(LabFailure);
    const { world, client, server } = pair({});
    client.queue.push({ host: 'server', port: 1, bytes: 2 });
    world.run();
    expect(server.received).toEqual(['client:1 2']);
    expect(world.network.counters.sent).toBe(1);
  });

  test('a node that was removed gets nothing more', () => {
    const { world, client, server, serverNode } = pair({ delayMs: 5 });
    client.queue.push({ host: 'server', port: 1, bytes: 3 });
    world.run({ forMs: 1 });
    serverNode.remove();
    world.run();
    expect(server.received).toEqual([]);
    expect(world.network.counters.droppedUnreachable).toBe(1);
  });
});

const START = new World({ seed: 0 }).now;

function pair(link: ConstructorParameters<typeof World>[0]['link'], seed = 1) {
  const world = new World({ seed, link: link ?? {} });
  const client = new ScriptedEndpoint();
  const server = new ScriptedEndpoint();
  const clientNode: WorldNode = world.add(client, { host: 'client', port: 1 });
  const serverNode: WorldNode = world.add(server, { host: 'server', port: 1 });
  return { world, client, server, clientNode, serverNode };
}

/** Sends what is queued, remembers what comes. */
class ScriptedEndpoint implements LabEndpoint {
  queue: { host: string; port: number; bytes: number }[] = [];
  received: string[] = [];
  batches: number[] = [];
  deadlines: Micros[] = [];
  timeouts: Micros[] = [];
  fill = 0;
  arena: Uint8Array | undefined;
  lastData: Uint8Array | undefined;

  receive(batch: ReceiveBatch): void {
    this.batches.push(batch.count);
    for (let i = 0; i < batch.count; i++) {
      this.received.push(`${batch.host[i]}:${batch.port[i]} ${batch.data[i].length}`);
      this.lastData = batch.data[i];
    }
  }

  transmit(batch: TransmitBatch): number {
    this.arena = batch.arena;
    for (const { host, port, bytes } of this.queue) {
      batch.arena.fill(this.fill, batch.used, batch.used + bytes);
      batch.push(bytes, host, port);
    }
    this.queue = [];
    return batch.count;
  }

  nextTimeout(): Micros {
    return this.deadlines[0] ?? NEVER;
  }

  timeout(now: Micros): void {
    this.timeouts.push(now);
    this.deadlines.length = 0;
  }
}
