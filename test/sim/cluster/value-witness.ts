/** Asks every node for the last values of all topics, when everything is over: each has them all, the right ones, and the same as the others. */

import { connectClientBy } from '../../../src/client/broker-client.ts';
import type { BrokerClient } from '../../../src/client/index.ts';
import { LabClock } from '../../../src/testing/lab.ts';
import type { BrokerWorld, Witness } from '../broker/run.ts';

/** What one node says. */
interface Seen {
  readonly url: string;
  client: BrokerClient | null;
  isSubscribed: boolean;
  readonly values: Map<string, string>;
}

export class ValueWitness implements Witness {
  private readonly world: BrokerWorld;
  private readonly seen: readonly Seen[];

  constructor(world: BrokerWorld) {
    this.world = world;
    this.seen = world.urls.map((url) => ({ url, client: null, isSubscribed: false, values: new Map() }));
  }

  begin(): void {
    for (const each of this.seen) this.ask(each).catch((error) => this.world.fail(error));
  }

  get isContent(): boolean {
    return this.seen.every(({ isSubscribed }) => isSubscribed) && this.faults.length === 0;
  }

  get faults(): readonly string[] {
    const { model } = this.world;
    const [first] = this.seen;
    if (first.client === null) return [];
    return this.seen.flatMap(({ url, values }) => [
      ...model.falseValues(values).map((fault) => `${fault} at ${url}`),
      ...[...values]
        .filter(([topic, text]) => first.values.get(topic) !== text)
        .map(
          ([topic, text]) =>
            `${topic} has "${text}" at ${url} and "${first.values.get(topic)}" at ${first.url}`,
        ),
    ]);
  }

  async leave(): Promise<void> {
    this.world.totals.add('last values seen', this.seen[0].values.size);
    for (const { client } of this.seen) client?.destroy();
  }

  private async ask(seen: Seen): Promise<void> {
    const { world } = this;
    const path = { name: `witness of ${seen.url}`, latencyMs: 1, jitterMs: 0, frozenUntil: 0 };
    const dial = () => {
      const [near, far] = world.network.connect(path);
      world.brokerAt(seen.url).serve(far);
      return Promise.resolve(near);
    };
    const client = await connectClientBy(dial, [seen.url], {
      ...{ random: world.random.fork(), clock: new LabClock(world.clock) },
    });
    seen.client = client;
    await client.subscribe('v/#', (message) => {
      seen.values.set(message.topic, message.text().trimEnd());
    });
    seen.isSubscribed = true;
  }
}
