import { randomBytes } from 'node:crypto';
import type { PubsubLoad } from './load.ts';
import { foreignClient, type LoadClient, type OnMessage } from './load-client.ts';

/** What is used of the package `mqtt` (MQTT.js). */
interface MqttModule {
  connectAsync(url: string, options: object): Promise<MqttClient>;
}

interface MqttClient {
  publish(topic: string, message: Buffer, options: object, done: (error?: Error | null) => void): unknown;
  subscribeAsync(filter: string, options: object): Promise<unknown>;
  unsubscribeAsync(filter: string): Promise<unknown>;
  on(
    event: 'message',
    listener: (topic: string, payload: Buffer, packet: { dup?: boolean }) => void,
  ): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'close', listener: () => void): unknown;
  endAsync(force: boolean, options?: object): Promise<unknown>;
}

/** A client of a broker that speaks MQTT 5, by MQTT.js. */
export class MqttLoadClient implements LoadClient {
  onDrain: (() => void) | null = null;
  onEnd: ((reason: string) => void) | null = null;
  private readonly module: MqttModule;
  private readonly url: string;
  private client: MqttClient;
  /** Messages that were not written to the connection yet. */
  private waiting = 0;
  private onWritten: (() => void) | null = null;
  /** What outlives the connection, to be taken back. */
  private durable: string | null = null;
  private isClosing = false;

  private constructor(module: MqttModule, url: string, client: MqttClient) {
    this.module = module;
    this.url = url;
    this.client = client;
    this.watch();
  }

  static async connect(url: string): Promise<MqttLoadClient> {
    const module = await foreignClient<MqttModule>('mqtt');
    return new MqttLoadClient(module, url, await module.connectAsync(url, optionsFor(clientId())));
  }

  publish(topic: string, message: Buffer): boolean {
    this.waiting++;
    // A copy, for what is not written at once is kept, and the next message has the same memory.
    this.client.publish(topic, Buffer.from(message), QOS_0, this.written);
    return this.waiting < WAITING_MAX;
  }

  publishAcknowledged(topic: string, message: Buffer): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.client.publish(topic, Buffer.from(message), QOS_1, (error) =>
        error ? reject(error) : resolve(undefined),
      );
    });
  }

  async subscribe(load: PubsubLoad, number: number, onMessage: OnMessage): Promise<void> {
    const { durable, prefix, qos, shared } = load;
    if (durable) {
      // The session is what is durable: it is another client from now on, with a name.
      this.isClosing = true;
      await this.client.endAsync(false);
      this.isClosing = false;
      this.durable = `${prefix.replaceAll('/', '-')}-${number}`;
      const session = { clean: false, properties: { sessionExpiryInterval: SESSION_SECONDS } };
      this.client = await this.module.connectAsync(this.url, { ...optionsFor(this.durable), ...session });
      this.watch();
    }
    this.client.on('message', (_topic, payload, { dup }) => onMessage(payload, dup === true));
    await this.client.subscribeAsync(shared ? `$share/bench/${prefix}/#` : `${prefix}/#`, { qos });
  }

  /** MQTT does not say what came of QoS 0: what was written counts as there. */
  async flush(signal: AbortSignal): Promise<number> {
    if (this.waiting > 0 && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.onWritten = resolve;
        signal.addEventListener('abort', () => resolve(), { once: true });
      });
    }
    return this.waiting;
  }

  async close(): Promise<void> {
    this.isClosing = true;
    const properties = this.durable === null ? undefined : { sessionExpiryInterval: 0 };
    await this.client.endAsync(false, { reasonCode: 0, properties });
  }

  private watch(): void {
    let reason = 'the connection to the broker has ended';
    this.client.on('error', (error) => {
      reason = error.message;
    });
    this.client.on('close', () => {
      if (!this.isClosing) this.onEnd?.(reason);
    });
  }

  private readonly written = (): void => {
    const wasFull = this.waiting >= WAITING_MAX;
    this.waiting--;
    if (this.waiting === 0) this.onWritten?.();
    if (wasFull) this.onDrain?.();
  };
}

function clientId(): string {
  return `jsp-bench-${randomBytes(6).toString('hex')}`;
}

function optionsFor(id: string): object {
  return { protocolVersion: 5, clientId: id, reconnectPeriod: 0, connectTimeout: 10_000 };
}

const QOS_0 = { qos: 0 } as const;
const QOS_1 = { qos: 1 } as const;
/** So many that are not written are enough. */
const WAITING_MAX = 256;
/** A session does not outlive the run for long, should this process not take it back. */
const SESSION_SECONDS = 60;
