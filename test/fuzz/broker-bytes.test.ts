import { expect, test } from 'vitest';
import vectors from '../../spec/vectors/broker-commands.json' with { type: 'json' };
import { Prng } from '../../src/base/random.ts';
import { ReasonCode } from '../../src/pubsub/command.ts';
import { DrivenCore } from '../broker/core/driven-core.ts';
import { FakeClient, type FakeStream } from '../broker/core/fake-client.ts';
import { Totals } from '../sim/totals.ts';
import { RandomCommands } from './random-command.ts';

/** Commands of all kinds, well-formed and not, of which hostile clients make others. */
const CORPUS = [...vectors.valid, ...vectors.invalid].map(({ bytes }) => Buffer.from(bytes, 'hex'));
const BYTES_MAX = 2_000;
/** Of the streams of a client. */
const ROLES = ['control', 'publishing', 'publishing', 'subscribing', 'subscribing', 'subscribing'] as const;

/** A client that sends whatever bytes it likes, and comes back when it is thrown out. */
class Hostile {
  thrownOut = 0;
  private readonly core: DrivenCore;
  private readonly random: Prng;
  private readonly commands: RandomCommands;
  private client: FakeClient;
  private streams: FakeStream[] = [];

  constructor(core: DrivenCore, random: Prng) {
    this.core = core;
    this.random = random;
    this.commands = new RandomCommands(random);
    this.client = this.come();
  }

  step(): void {
    const { random } = this;
    if (this.client.peer.closedWith !== null) {
      expect(Object.values(ReasonCode)).toContain(this.client.peer.closedWith);
      this.thrownOut++;
      this.client = this.come();
    }
    const at = random.below(this.streams.length);
    const stream = this.streams[at];
    stream.send(random.chance(0.98) ? this.commands.next(ROLES[at]) : this.bytes());
    stream.carry();
    if (random.chance(0.01)) stream.end();
    if (random.chance(0.01)) {
      this.client.disconnect();
      this.client = this.come();
    }
  }

  leave(): void {
    if (this.client.peer.closedWith === null) this.client.disconnect();
  }

  private come(): FakeClient {
    const client = new FakeClient(this.core);
    this.streams = ROLES.map(() => client.open());
    if (this.random.chance(0.7)) this.streams[0].send(this.commands.hello(`s${this.random.below(3)}`));
    return client;
  }

  private bytes(): Uint8Array {
    const { random } = this;
    const bytes = Uint8Array.from(CORPUS[random.below(CORPUS.length)].subarray(0, BYTES_MAX));
    switch (random.below(8)) {
      case 0:
        random.fill(bytes);
        return bytes;
      case 1:
        return bytes.subarray(0, random.below(bytes.length + 1));
      case 2: {
        const other = CORPUS[random.below(CORPUS.length)].subarray(0, BYTES_MAX);
        return Buffer.concat([
          bytes.subarray(0, random.below(bytes.length + 1)),
          other.subarray(random.below(other.length + 1)),
        ]);
      }
      case 3:
      case 4:
        for (let i = random.between(1, 4); i > 0; i--)
          bytes[random.below(Math.min(bytes.length, random.chance(0.5) ? 12 : BYTES_MAX))] =
            random.below(256);
        return bytes;
      case 5:
        bytes[random.below(bytes.length)] ^= 1 << random.below(8);
        return bytes;
      default:
        return bytes;
    }
  }
}

test('bytes of any kind throw nothing out of the broker, close connections with codes of the specification only, and cost bystanders nothing [BRK-6] [BRK-40]', () => {
  let thrownOut = 0;
  const met = new Totals();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const random = new Prng(seed);
    const faults: unknown[] = [];
    const core = new DrivenCore({ queueMessagesMax: 50, filtersPerClientMax: 20, routesMax: 64 }, (error) =>
      faults.push(error),
    );
    const hostile = Array.from({ length: 3 }, () => new Hostile(core, random));
    const [publisher, subscriber] = [new FakeClient(core).open(), new FakeClient(core).open()];
    subscriber.subscribe(1, TOPIC);
    const sent: string[] = [];
    try {
      for (let step = 0; step < STEPS; step++) {
        hostile[random.below(hostile.length)].step();
        if (step % 20 !== 0) continue;
        core.advance(step * 50, step * 50);
        core.tick(step * 50);
        publisher.publish(TOPIC, `${step}`);
        sent.push(`${TOPIC}=${step}`);
        subscriber.carry();
        publisher.ping(1);
        publisher.carry();
      }
      expect(subscriber.link.lines.filter((line) => line.startsWith(TOPIC))).toEqual(sent);
      expect(publisher.link.lines.length).toBe(sent.length);
      expect(faults).toEqual([]);
      const { cluster: _, ...figures } = core.metrics();
      met.addAll('', { ...figures });
      for (const each of hostile) {
        each.leave();
        thrownOut += each.thrownOut;
      }
      expect(core.metrics()).toMatchObject({
        clients: 2,
        internalErrors: 0,
        publishersStopped: 0,
        queuedBytes: 0,
      });
    } catch (error) {
      throw new Error(
        `seed ${seed}: ${(error as Error).message}; ${faults.map((fault) => (fault as Error).stack).join('\n')}`,
        { cause: error },
      );
    }
  }
  expect(thrownOut).toBeGreaterThan(50);
  expect(met.zeros(MET)).toEqual([]);
});

/** What the hostile ones got as far as, or this has proved little. */
const MET = [
  ...['messagesStored', 'redelivered', 'rejected', 'droppedExpired', 'duplicates', 'requestsRefused'],
  ...['durablesTaken', 'sessionsTaken', 'sessionsExpired', 'willsPublished', 'retainedMessages'],
];
const TOPIC = 'bystander/only';
const SEEDS = Number(process.env.BROKER_SEEDS ?? 8);
const STEPS = 600;
