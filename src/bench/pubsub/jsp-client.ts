import { type BrokerClient, connectClient, type Subscription } from '../../client/index.ts';
import type { PubsubLoad } from './load.ts';
import type { LoadClient, OnMessage } from './load-client.ts';

/** A client of a broker of ours. */
export class JspLoadClient implements LoadClient {
  onDrain: (() => void) | null = null;
  onEnd: ((reason: string) => void) | null = null;
  private readonly client: BrokerClient;
  private subscription: Subscription | null = null;
  private isDurable = false;

  private constructor(client: BrokerClient) {
    this.client = client;
    client.on('drain', () => this.onDrain?.());
    client.on('close', (error) => this.onEnd?.(error?.message ?? 'closed'));
  }

  static async connect(url: string): Promise<JspLoadClient> {
    return new JspLoadClient(await connectClient(url));
  }

  publish(topic: string, message: Buffer): boolean {
    return this.client.publish(topic, message);
  }

  publishAcknowledged(topic: string, message: Buffer): Promise<unknown> {
    return this.client.publish(topic, message, QOS_1);
  }

  async subscribe(load: PubsubLoad, number: number, onMessage: OnMessage): Promise<void> {
    const { durable, overflow, prefix, qos, shared } = load;
    this.isDurable = durable;
    this.subscription = await this.client.subscribe(
      shared ? `$share/bench/${prefix}/#` : `${prefix}/#`,
      ({ payload, redelivered }) => onMessage(payload, redelivered),
      qos === 0 ? { overflow } : { qos, ...(durable ? durableOf(load, number) : {}) },
    );
  }

  async flush(signal: AbortSignal): Promise<number> {
    try {
      await this.client.flush({ signal });
    } catch {
      // what is unconfirmed tells
    }
    return this.client.unconfirmed;
  }

  async close(): Promise<void> {
    this.onEnd = null;
    if (this.isDurable) await this.subscription?.unsubscribe();
    this.client.destroy();
  }
}

/** All of a shared group have one name. It does not outlive the run for long, should this process not take it back. */
function durableOf({ prefix, shared }: PubsubLoad, number: number) {
  return { durable: shared ? prefix : `${prefix}/${number}`, expiryMs: DURABLE_EXPIRY_MS };
}

const QOS_1 = { qos: 1 } as const;
const DURABLE_EXPIRY_MS = 60_000;
