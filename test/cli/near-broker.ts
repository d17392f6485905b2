import { onTestFinished } from 'vitest';
import { type Broker, startBroker } from '../../src/broker/index.ts';
import { MESSAGE_BYTES_MAX } from '../../src/cli/arguments.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';

/**
 * A broker in the process of the tests, with a client of it, for what tests one command: another process for each of the others would be most of the
 * time that it takes. Tests that share it use a topic each.
 */
export class NearBroker {
  readonly broker: Broker;
  readonly client: BrokerClient;

  private constructor(broker: Broker, client: BrokerClient) {
    this.broker = broker;
    this.client = client;
  }

  static async start(): Promise<NearBroker> {
    const broker = await startBroker({
      identity: generateIdentity(),
      port: 0,
      messageBytesMax: MESSAGE_BYTES_MAX,
    });
    const client = await connectClient(broker.url, { messageBytesMax: MESSAGE_BYTES_MAX });
    return new NearBroker(broker, client);
  }

  get url(): string {
    return this.broker.url;
  }

  /** Publishes, and resolves when the broker has it. */
  async publish(topic: string, ...payloads: (string | Uint8Array)[]): Promise<void> {
    for (const payload of payloads) this.client.publish(topic, payload);
    await this.client.flush();
  }

  async subscribe(filter: string): Promise<Heard> {
    const heard = new Heard();
    const subscription = await this.client.subscribe(filter, ({ payload }) =>
      heard.add(Buffer.from(payload)),
    );
    onTestFinished(() => {
      subscription.close();
    });
    return heard;
  }

  async close(): Promise<void> {
    this.client.destroy();
    await this.broker.close({ drainMs: 0 });
  }
}

/** What a subscription in the process of the tests got. */
export class Heard {
  readonly payloads: Buffer[] = [];
  private onPayload: () => void = () => {};

  add(payload: Buffer): void {
    this.payloads.push(payload);
    this.onPayload();
  }

  get texts(): string[] {
    return this.payloads.map(String);
  }

  /** Resolves when there were so many. */
  async until(count: number): Promise<this> {
    while (this.payloads.length < count) {
      await new Promise<void>((resolve) => {
        this.onPayload = resolve;
      });
    }
    return this;
  }
}
