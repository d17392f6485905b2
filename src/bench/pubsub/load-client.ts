/** A client of whatever broker is measured: the bench publishes and subscribes by it, and knows no more of the broker. */

import { JspError } from '../../base/errors.ts';
import { type BrokerClient, connectClient, type Subscription } from '../../client/index.ts';
import type { PubsubLoad } from './load.ts';

export interface LoadClient {
  /** With QoS 0: false when it has enough for now, until `onDrain` is called. */
  publish(topic: string, message: Buffer): boolean;
  /** With QoS 1: resolves when the broker has it. */
  publishAcknowledged(topic: string, message: Buffer): Promise<unknown>;
  /** Called when {@link publish} may go on. */
  onDrain: (() => void) | null;
  /** Called when the connection ends, and was not to. */
  onEnd: ((reason: string) => void) | null;
  /**
   * Takes all messages of the load, or its share of them.
   *
   * @param number - of the subscriber, over all processes
   * @param onMessage - the bytes are good until it returns
   */
  subscribe(load: PubsubLoad, number: number, onMessage: OnMessage): Promise<void>;
  /** With QoS 0: resolves when the broker has what was published, with how many messages may not have come to it. */
  flush(signal: AbortSignal): Promise<number>;
  /** Takes back what would outlive the run, and leaves. */
  close(): Promise<void>;
}

export type OnMessage = (payload: Buffer, redelivered: boolean) => void;

/** Connects to the broker at this URL, which {@link brokerKindOf} knows. */
export async function connectLoadClient(url: string, load: PubsubLoad): Promise<LoadClient> {
  const kind = brokerKindOf(url);
  if (kind === 'jsp' || kind === null) return new JspLoadClient(await connectClient(url));
  try {
    if (kind === 'mqtt') return await (await import('./mqtt-client.ts')).MqttLoadClient.connect(url);
    return await (await import('./nats-client.ts')).NatsLoadClient.connect(url, load);
  } catch (error) {
    if (error instanceof JspError) throw error;
    const { message } = error as Error; // neither here nor there the name and the password in the URL
    throw new JspError('ERR_JSP_SOCKET', `the broker at ${new URL(url).host}: ${message}`, { cause: error });
  }
}

/** What speaks at a URL; null where that is none that can be measured. */
export function brokerKindOf(url: string): 'jsp' | 'mqtt' | 'nats' | null {
  const [scheme] = url.toLowerCase().split('://');
  return KINDS[scheme] ?? null;
}

/** A package that is no dependency of this one, for only who measures another broker needs it. */
export async function foreignClient<T>(name: string): Promise<T> {
  try {
    return (await import(name)) as T;
  } catch (error) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `the client for this broker is not installed: npm install ${name}`,
      { cause: error },
    );
  }
}

class JspLoadClient implements LoadClient {
  onDrain: (() => void) | null = null;
  onEnd: ((reason: string) => void) | null = null;
  private readonly client: BrokerClient;
  private subscription: Subscription | null = null;
  private isDurable = false;

  constructor(client: BrokerClient) {
    this.client = client;
    client.on('drain', () => this.onDrain?.());
    client.on('close', (error) => this.onEnd?.(error?.message ?? 'closed'));
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

const KINDS: Readonly<Record<string, 'jsp' | 'mqtt' | 'nats'>> = {
  jsp: 'jsp',
  mqtt: 'mqtt',
  mqtts: 'mqtt',
  ws: 'mqtt',
  wss: 'mqtt',
  nats: 'nats',
  tls: 'nats',
};
const QOS_1 = { qos: 1 } as const;
const DURABLE_EXPIRY_MS = 60_000;
