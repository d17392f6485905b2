import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { NodeMessage } from '../../../src/broker/core/backplane/node-message.ts';
import { endFor } from '../../../src/broker/core/backplane/relay.ts';
import {
  decodeRelayRequest,
  encodeRelayRequest,
  type RelayRequest,
} from '../../../src/broker/core/backplane/relay-request.ts';
import { ttlOf } from '../../../src/broker/core/delivery/expiry.ts';
import { encodeAck, encodeNack, NACK_BACKOFF } from '../../../src/pubsub/acknowledgement.ts';
import {
  encodeSubscribe,
  encodeUnsubscribe,
  PublishFlag,
  publishPrefix,
  ReasonCode,
  SubscribeFlag,
  uint32,
} from '../../../src/pubsub/command.ts';
import { encodeProperties } from '../../../src/pubsub/properties.ts';
import {
  encodeSubscribeOptions,
  StartKind,
  type SubscribeOptionValues,
} from '../../../src/pubsub/subscribe-options.ts';
import type { FakeStream } from '../core/fake-client.ts';
import { FakeCluster, type FakeNode, given } from './fake-cluster.ts';

const GROUP = '$share/g/jobs/#';

function join(node: FakeNode, options: SubscribeOptionValues = {}, mark?: number): FakeStream {
  const stream = node.connect().open(mark);
  stream.send(encodeSubscribe(1, GROUP, SubscribeFlag.QOS1, 0, 0, encodeSubscribeOptions(options)));
  return stream;
}

let lastId = 0;
function publish(stream: FakeStream, payload: string, topic = 'jobs/1', ttlMs = 0): void {
  const flags = PublishFlag.QOS1 | (ttlMs > 0 ? PublishFlag.PROPERTIES : 0);
  const properties = ttlMs > 0 ? encodeProperties({ ttlMs }) : Buffer.alloc(0);
  stream.send(Buffer.concat([publishPrefix(topic, flags, ++lastId), properties, Buffer.from(payload)]));
}

/** A message as a member has it. */
interface Job {
  readonly id: number;
  readonly payload: string;
  readonly isAgain: boolean;
}

/** What has come to a member since this was asked. */
function jobsOf(stream: FakeStream): Job[] {
  stream.carry();
  const jobs = stream.link.commands.flatMap(({ name, id, flags, body }) => {
    if (name !== 'PUBLISH') return [];
    const from = (flags & PublishFlag.PROPERTIES) === 0 ? 0 : 2 + body.readUInt16BE(0);
    return [{ id, payload: body.toString('utf8', from), isAgain: (flags & PublishFlag.REDELIVERED) !== 0 }];
  });
  stream.link.delivered.length = 0;
  return jobs;
}

function payloads(jobs: readonly Job[]): string[] {
  return jobs.map(({ payload, isAgain }) => (isAgain ? `${payload}+` : payload));
}

function finish(stream: FakeStream, jobs: readonly Job[]): void {
  for (const { id } of jobs) stream.send(encodeAck(id));
}

/** A cluster, a group that the node `a` has with a member there, one of node `b`, and a publisher on `c`. */
function worldOf(options: SubscribeOptionValues = {}) {
  const cluster = new FakeCluster({}, 'a', 'b', 'c');
  const members = ['a', 'b'].map((name) => {
    const member = join(cluster.node(name), options);
    cluster.pass(1);
    return member;
  });
  const publisher = cluster.node('c').connect().open();
  return { cluster, members, publisher, owner: members[0], guest: members[1] };
}

describe('a shared group of QoS 1 in a cluster', () => {
  test('gives each message to one of its members, whichever node they are on, and has it settled from there [CLU-51]', () => {
    const { cluster, members, publisher } = worldOf();
    for (const member of members) expect(given(member)[0]).toBe('SUBSCRIBED 1');
    for (let i = 0; i < 10; i++) publish(publisher, `${i}`);
    cluster.pass(10);
    const jobs = members.map(jobsOf);
    expect(
      jobs
        .flat()
        .map(({ payload }) => Number(payload))
        .sort((a, b) => a - b),
    ).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    for (const each of jobs) expect(each.length).toBeGreaterThan(2);
    const [durable] = cluster.node('a').core.durables();
    expect(durable).toMatchObject({ name: GROUP, subscribers: 2, unsettled: 10 });
    for (const [i, member] of members.entries()) finish(member, jobs[i]);
    cluster.pass(10);
    expect(cluster.node('a').core.durables()[0]).toMatchObject({ unsettled: 0, lag: 0 });
    expect(cluster.faults).toEqual([]);
    const { carried } = cluster;
    cluster.pass(30_000);
    expect(cluster.carried).toBe(carried); // no traffic when idle
  });

  test('has what a member refuses, and what it leaves behind, come again to others, and says so [CLU-51]', () => {
    const { cluster, publisher, owner, guest } = worldOf({ backoffMs: [10] });
    for (let i = 0; i < 4; i++) publish(publisher, `${i}`);
    cluster.pass(10);
    const [first, ...rest] = jobsOf(guest);
    finish(owner, jobsOf(owner));
    guest.send(encodeNack(first.id, NACK_BACKOFF, 'not now'));
    cluster.pass(100);
    const again = [...jobsOf(owner), ...jobsOf(guest)];
    expect(payloads(again)).toEqual([`${first.payload}+`]);
    finish(owner, again);
    finish(guest, again);
    guest.end();
    cluster.pass(10);
    expect(payloads(jobsOf(owner))).toEqual(rest.map(({ payload }) => `${payload}+`));
    expect(cluster.node('a').core.durables()[0].subscribers).toBe(1);
  });

  test('gives a member no more than its client takes, and what waits for it is charged to that [CLU-51]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    join(cluster.node('a'), { unackedMax: 1 });
    cluster.pass(1);
    const slow = join(cluster.node('b'), { unackedMax: 10_000 }, 1);
    cluster.pass(1);
    const publisher = cluster.node('a').connect().open();
    for (let i = 0; i < 600; i++) publish(publisher, 'x'.repeat(4_000));
    cluster.pass(10);
    const { queued } = slow.channel.client;
    const waiting = queued.bytes;
    expect(waiting).toBeGreaterThan(200_000);
    expect(waiting).toBeLessThan(300_000);
    for (let i = 0; i < 600; i++) {
      slow.carry(1);
      cluster.pass(1); // the group's reader rests now and then
    }
    expect(slow.link.delivered.length).toBeGreaterThan(400);
    slow.end();
    cluster.settle();
    expect(queued.bytes).toBe(0);
  });

  test('tells a member of what has expired while it waited for its client [CLU-51]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    join(cluster.node('a'), { unackedMax: 1 });
    cluster.pass(1);
    const slow = join(cluster.node('b'), {}, 1);
    cluster.pass(1);
    const publisher = cluster.node('a').connect().open();
    publish(publisher, 'busy');
    for (let i = 0; i < 4; i++) publish(publisher, `${i}`, 'jobs/1', 500);
    cluster.pass(10);
    slow.carry(1);
    cluster.pass(600);
    const lines: string[] = [];
    for (let i = 0; i < 12; i++) {
      slow.carry(1);
      cluster.settle();
    }
    lines.push(...given(slow));
    expect(lines.filter((line) => line.startsWith('DROPPED')).length).toBeGreaterThan(0);
    expect(lines.filter((line) => line.startsWith('jobs')).length).toBeLessThanOrEqual(2);
    expect(cluster.node('a').core.durables()[0].unsettled).toBeLessThanOrEqual(2);
  });

  test('takes the way to the member from the time that a message has to live [CLU-51] [BRK-72]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    join(cluster.node('a'), { unackedMax: 1 });
    cluster.pass(1);
    const far = join(cluster.node('b'));
    cluster.pass(1);
    const publisher = cluster.node('a').connect().open();
    publish(publisher, 'busy');
    cluster.pass(1);
    const late: (() => void)[] = [];
    cluster.carries = (from, to, bytes) => {
      if (to !== 'b') return true;
      const copy = Buffer.from(bytes);
      late.push(() => cluster.node('b').backplane.push((events) => events.received(from, copy)));
      return false;
    };
    given(far);
    publish(publisher, 'short', 'jobs/1', 300);
    publish(publisher, 'long', 'jobs/1', 1_000);
    cluster.pass(400);
    for (const arrive of late.splice(0)) arrive();
    cluster.pass(10);
    far.carry();
    const published = far.link.delivered.filter((command) => command[0] === 1);
    expect(given(far).map((line) => line.split(/[ =]/)[0])).toEqual(['POSITION', 'DROPPED', 'jobs/1']);
    expect(ttlOf(published[0])).toBeGreaterThan(500);
    expect(ttlOf(published[0])).toBeLessThanOrEqual(600);
  });

  test('goes on at the node of another member when its own is gone, from where it was, and nothing is lost [CLU-52]', () => {
    const { cluster, publisher, owner, guest } = worldOf();
    const more = join(cluster.node('c'));
    cluster.pass(1);
    for (let i = 0; i < 9; i++) publish(publisher, `${i}`);
    cluster.pass(50);
    const seen = [owner, guest, more].flatMap((member) => {
      const jobs = jobsOf(member);
      if (member !== owner) finish(member, jobs.slice(0, 1));
      return jobs;
    });
    expect(seen.length).toBe(9);
    cluster.pass(50);
    cluster.kill('a');
    for (let i = 9; i < 12; i++) publish(publisher, `${i}`);
    cluster.pass(100);
    cluster.tellGone('a');
    cluster.pass(5_000);
    const after = [guest, more].map(jobsOf);
    const settled = 2;
    expect(after.flat().length).toBe(12 - settled);
    const names = after.flat().map(({ payload }) => payload);
    expect(new Set(names).size).toBe(names.length);
    for (const name of ['9', '10', '11']) expect(names).toContain(name);
    // Below what the store knew may have been delivered, nobody can say. [BRK-69]
    expect(after.flat().every(({ isAgain }) => isAgain)).toBe(true);
    finish(guest, after[0]);
    finish(more, after[1]);
    cluster.pass(100);
    const groups = [...cluster.nodes.values()].flatMap(({ core }) => core.durables());
    expect(groups).toMatchObject([{ name: GROUP, subscribers: 2, unsettled: 0, lag: 0 }]);
    expect(cluster.faults).toEqual([]);
  });

  test('moves when its node closes, and members go on with it [CLU-52]', () => {
    const { cluster, publisher, owner, guest } = worldOf();
    publish(publisher, '1');
    cluster.pass(10);
    const before = [owner, guest].flatMap(jobsOf);
    expect(before.length).toBe(1);
    cluster.node('a').core.shutDown(1_000);
    cluster.settle();
    owner.end();
    cluster.pass(5_000);
    publish(publisher, '2');
    cluster.pass(100);
    expect(payloads(jobsOf(guest))).toEqual(['1+', '2']);
    expect(cluster.node('b').core.durables()).toMatchObject([{ subscribers: 1 }]);
  });

  test('is over with its last member, wherever that is, when it unsubscribes [CLU-51]', () => {
    const { cluster, owner, guest, publisher } = worldOf();
    owner.send(encodeUnsubscribe(2, GROUP));
    cluster.pass(10);
    publish(publisher, '1');
    cluster.pass(10);
    expect(jobsOf(guest).length).toBe(1);
    guest.send(encodeUnsubscribe(2, GROUP));
    cluster.pass(100);
    expect(given(guest)).toEqual(['UNSUBSCRIBED 2']);
    for (const { core } of cluster.nodes.values()) expect(core.durables()).toEqual([]);
    publish(publisher, '2');
    const anew = join(cluster.node('c'));
    cluster.pass(10);
    expect(jobsOf(anew)).toEqual([]);
  });

  test('loses nothing when messages between nodes are lost, doubled or cut off [CLU-52]', () => {
    for (let seed = 1; seed <= 12; seed++) {
      const prng = new Prng(seed);
      const { cluster, publisher, owner, guest } = worldOf({ ackWaitMs: 200 });
      cluster.carries = () => !prng.chance(0.05);
      const done = new Set<string>();
      for (let i = 0; i < 40; i++) {
        publish(publisher, `${i}`);
        cluster.pass(prng.below(20));
        for (const member of [owner, guest]) {
          const jobs = jobsOf(member);
          finish(member, jobs);
          for (const { payload } of jobs) done.add(payload);
        }
      }
      cluster.carries = () => true;
      for (let i = 0; i < 30; i++) {
        cluster.pass(500);
        for (const member of [owner, guest]) {
          const jobs = jobsOf(member);
          finish(member, jobs);
          for (const { payload } of jobs) done.add(payload);
        }
      }
      expect({ seed, done: done.size }).toEqual({ seed, done: 40 });
      expect(cluster.node('a').core.durables()).toMatchObject([{ unsettled: 0, lag: 0, subscribers: 2 }]);
      expect(cluster.faults).toEqual([]);
    }
  });

  test('gives what was not settled at a node that does not know yet how far its log goes [CLU-52] [CLU-33]', () => {
    const { cluster, publisher, owner, guest } = worldOf();
    const other = cluster.node('b');
    other.store.lags = true;
    for (let i = 0; i < 6; i++) publish(publisher, `${i}`);
    cluster.pass(50);
    const given = [owner, guest].flatMap(jobsOf);
    expect(given.length).toBe(6);
    expect(other.store.logs[0].head).toBe(1);
    cluster.kill('a');
    cluster.tellGone('a');
    cluster.pass(5_000);
    const again = jobsOf(guest);
    expect(payloads(again)).toEqual(['0+', '1+', '2+', '3+', '4+', '5+']);
    finish(guest, again);
    cluster.pass(100);
    expect(other.core.durables()).toMatchObject([{ unsettled: 0, lag: 0, position: 7 }]);
    expect(cluster.faults).toEqual([]);
  });

  test('keeps its place where a node hands it on that does not know yet how far its log goes [CLU-52] [CLU-33]', () => {
    const { cluster, publisher, owner, guest } = worldOf();
    const more = join(cluster.node('c'));
    cluster.pass(1);
    cluster.node('b').store.lags = true;
    for (let i = 0; i < 6; i++) publish(publisher, `${i}`);
    cluster.pass(50);
    for (const member of [owner, guest, more]) finish(member, jobsOf(member).slice(0, 1));
    cluster.pass(50);
    // To b, which has heard nothing of the log, and on before it does.
    cluster.node('b').store.isDeaf = true;
    cluster.kill('a');
    cluster.tellGone('a');
    cluster.pass(50);
    const [group] = cluster.node('b').core.durables();
    expect(group).toMatchObject({ name: GROUP, position: 7, unsettled: 3 });
    cluster.kill('b');
    cluster.tellGone('b');
    cluster.pass(5_000);
    const again = jobsOf(more);
    expect(again.length).toBe(3);
    expect(cluster.node('c').core.durables()).toMatchObject([{ position: 7, unsettled: 3 }]);
    finish(more, again);
    cluster.pass(100);
    expect(cluster.node('c').core.durables()).toMatchObject([{ unsettled: 0, lag: 0 }]);
  });

  test('tells a member that goes on with it what the log has not kept meanwhile [CLU-52] [BRK-71]', () => {
    for (const heir of ['b', 'c']) {
      const { cluster, publisher, guest } = worldOf();
      const more = heir === 'c' ? join(cluster.node('c')) : null;
      cluster.pass(1);
      for (let i = 0; i < 6; i++) publish(publisher, `${i}`);
      cluster.pass(50);
      given(guest);
      for (const { store } of cluster.nodes.values()) store.logs[0].dropped = 4;
      cluster.kill('a');
      cluster.tellGone('a');
      cluster.pass(5_000);
      const told = [guest, more].flatMap((member) => (member === null ? [] : given(member)));
      expect(told.filter((line) => line.startsWith('DROPPED')).length).toBe(1);
      expect(told.filter((line) => line.startsWith('jobs')).length).toBeGreaterThanOrEqual(3);
      expect(cluster.faults).toEqual([]);
    }
  });

  test('is not over with the last member that its node knows while those of other nodes are on their way to it [CLU-52]', () => {
    const { cluster, publisher, owner, guest } = worldOf();
    for (let i = 0; i < 6; i++) publish(publisher, `${i}`);
    cluster.pass(50);
    const held = jobsOf(guest);
    expect(held.length).toBe(3);
    finish(owner, jobsOf(owner));
    cluster.pass(50);
    cluster.node('a').backplane.push((events) => events.connected()); // it was cut off: all streams are broken
    cluster.settle();
    owner.send(encodeUnsubscribe(2, GROUP));
    cluster.pass(5_000);
    expect(payloads(jobsOf(guest))).toEqual(held.map(({ payload }) => `${payload}+`));
    publish(publisher, '6');
    cluster.pass(100);
    expect(payloads(jobsOf(guest))).toEqual(['6']);
  });

  test('is over a while after its last member has unsubscribed where none was on its way to it after all [CLU-52]', () => {
    const { cluster, owner, guest } = worldOf();
    guest.end();
    cluster.pass(10);
    owner.send(encodeUnsubscribe(2, GROUP));
    cluster.pass(100);
    const durables = () => [...cluster.nodes.values()].flatMap(({ core }) => core.durables());
    expect(durables()).toMatchObject([{ name: GROUP, subscribers: 0 }]);
    cluster.pass(15_000);
    expect(durables()).toEqual([]);
  });

  test('is taken by the node of a member that was asking the one before to be let in as that went [CLU-51] [CLU-52]', () => {
    const cluster = new FakeCluster({}, 'a', 'b');
    const owner = join(cluster.node('a'));
    cluster.pass(1);
    const publisher = cluster.node('b').connect().open();
    publish(publisher, '1');
    cluster.pass(10);
    expect(payloads(jobsOf(owner))).toEqual(['1']);
    cluster.carries = () => false;
    const member = join(cluster.node('b'));
    cluster.pass(1);
    expect(given(member)).toEqual([]);
    cluster.kill('a');
    cluster.tellGone('a');
    cluster.carries = () => true;
    cluster.pass(5_000);
    member.carry();
    expect(member.link.lines[0]).toBe('SUBSCRIBED 1');
    expect(payloads(jobsOf(member))).toEqual(['1+']);
    expect(cluster.node('b').core.durables()).toMatchObject([{ name: GROUP, subscribers: 1 }]);
    expect(cluster.faults).toEqual([]);
  });

  test('turns a member away that came while it was asked where the log ends, when it cannot begin there [CLU-33] [CLU-51]', () => {
    const ofAnotherLog = { start: StartKind.OFFSET, startValue: 1, epoch: 99 };
    const before = new FakeCluster({}, 'a', 'b');
    join(before.node('a'));
    before.pass(1);
    const requests: Buffer[] = [];
    before.carries = (_, to, bytes) => to !== 'a' || requests.push(bytes) < 0;
    join(before.node('b'), ofAnotherLog);
    before.pass(1);
    const request = requests.filter(([kind]) => kind === NodeMessage.STREAM);
    expect(request.length).toBe(1);
    // It comes late: nobody has the group any more, and one of `a` is about to begin it anew.
    const cluster = new FakeCluster({}, 'a', 'b');
    const { store, backplane } = cluster.node('a');
    store.lags = true;
    store.isDeaf = true;
    const owner = join(cluster.node('a'), ofAnotherLog);
    cluster.pass(1);
    const answers: Buffer[] = [];
    cluster.carries = (_, to, bytes) => to !== 'b' || answers.push(bytes) < 0;
    backplane.push((events) => events.received('b', request[0]));
    cluster.pass(100);
    expect([given(owner), answers]).toEqual([[], []]);
    store.isDeaf = false;
    cluster.pass(1);
    expect(given(owner)).toEqual([`REFUSED 1 ${ReasonCode.EPOCH_MISMATCH}`]);
    expect(answers.map((bytes) => bytes.at(-1))).toEqual([endFor(ReasonCode.EPOCH_MISMATCH)]);
    expect(cluster.faults).toEqual([]);
  });

  test('gives a member nothing before it is told where it begins, also when its node takes the group meanwhile [CLU-52] [BRK-55]', () => {
    const cluster = new FakeCluster({}, 'a', 'b', 'c');
    const owner = join(cluster.node('a'));
    cluster.pass(1);
    cluster.node('b').backplane.takesLong = true; // so its SUBSCRIBED is held up for a second [CLU-4]
    const member = join(cluster.node('b'));
    cluster.pass(100);
    const publisher = cluster.node('c').connect().open();
    for (let i = 0; i < 4; i++) publish(publisher, `${i}`);
    cluster.pass(100);
    finish(owner, jobsOf(owner));
    cluster.pass(100);
    cluster.kill('a');
    cluster.tellGone('a');
    cluster.pass(5_000);
    expect(given(member)).toEqual(['SUBSCRIBED 1', 'POSITION 0', 'jobs/1=1', 'jobs/1=3']);
    expect(cluster.node('b').core.durables()).toMatchObject([{ name: GROUP, subscribers: 1 }]);
    expect(cluster.faults).toEqual([]);
  });

  test('is not asked for any more by a member that is gone while it was sought [CLU-52] [CLU-22]', () => {
    const { cluster, guest } = worldOf();
    const asked: string[] = [];
    cluster.claims.ask = (key, { name }) => asked.push(`${name} asks for ${key}`);
    cluster.claims.release = (key, { name }) => asked.push(`${name} releases ${key}`);
    cluster.node('b').backplane.push((events) => events.connected()); // its streams are over
    cluster.pass(100);
    expect(asked).toEqual([`b asks for d/${GROUP}`]);
    guest.end();
    cluster.settle();
    expect(asked.slice(1)).toEqual([`b releases d/${GROUP}`]);
  });

  test('counts what comes from other nodes and is no message [CLU-50] [CLU-53]', () => {
    const { cluster } = worldOf();
    const { backplane, core } = cluster.node('a');
    const none = [NodeMessage.STREAM, NodeMessage.ORDER, 99].map((kind) => Buffer.of(kind));
    for (const bytes of none) backplane.push((events) => events.received('b', bytes));
    cluster.settle();
    expect(core.metrics().cluster?.invalid).toBe(none.length);
  });

  test('refuses what another node asks for and it cannot give, and what is no request at all [CLU-51]', () => {
    const { cluster } = worldOf();
    const contrary = cluster.node('b').connect().open();
    contrary.send(encodeSubscribe(1, '$share/g/$sys/#', SubscribeFlag.QOS1, 0, 0));
    cluster.pass(100);
    const answers = given(contrary);
    expect(answers.length).toBe(1);
    const request: RelayRequest = {
      group: GROUP,
      options: { unackedMax: 7 },
      withoutSession: 2 ** 40 + 1,
      takesCompressed: true,
      messageBytesMax: 1_000,
      owner: { name: 'me', kind: 'apiKey', id: 'k' },
    };
    const bytes = encodeRelayRequest(request);
    expect(decodeRelayRequest(bytes)).toEqual(request);
    for (let length = 0; length < bytes.length; length++) {
      const cut = decodeRelayRequest(bytes.subarray(0, length));
      expect(cut === null || uint32(bytes, 8) === 1_000).toBe(true);
    }
  });
});
