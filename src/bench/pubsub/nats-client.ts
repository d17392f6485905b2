import type { PubsubLoad } from './load.ts';
import { foreignClient, type LoadClient, type OnMessage } from './load-client.ts';

/** What is used of the package `@nats-io/transport-node`. */
interface NatsModule {
  connect(options: object): Promise<NatsConnection>;
}

interface NatsConnection {
  publish(subject: string, message: Uint8Array): void;
  subscribe(
    subject: string,
    options: { queue?: string; callback: (error: Error | null, message: { data: Uint8Array }) => void },
  ): unknown;
  flush(): Promise<void>;
  closed(): Promise<Error | undefined>;
  close(): Promise<void>;
}

/** And of `@nats-io/jetstream`. */
interface JetStreamModule {
  jetstream(connection: NatsConnection): JetStream;
  jetstreamManager(connection: NatsConnection): Promise<{
    streams: { add(config: object): Promise<unknown>; delete(name: string): Promise<unknown> };
    consumers: { add(stream: string, config: object): Promise<{ name: string }> };
  }>;
}

interface JetStream {
  publish(subject: string, message: Uint8Array): Promise<unknown>;
  consumers: {
    get(stream: string, name: string): Promise<{ consume(options: object): Promise<unknown> }>;
  };
}

interface StoredMessage {
  readonly data: Uint8Array;
  readonly redelivered: boolean;
  ack(): void;
}

/** A client of a NATS server: QoS 0 by its core, QoS 1 by a stream of JetStream, which the run makes, in its memory, and takes back. */
export class NatsLoadClient implements LoadClient {
  onDrain: (() => void) | null = null;
  onEnd: ((reason: string) => void) | null = null;
  private readonly connection: NatsConnection;
  private readonly jetStream: JetStreamModule | null;
  private readonly log: JetStream | null;
  /** Messages since the server was last asked whether it has them. */
  private sent = 0;
  /** The stream that this client takes back. */
  private stream: string | null = null;
  private isClosing = false;

  private constructor(connection: NatsConnection, jetStream: JetStreamModule | null) {
    this.connection = connection;
    this.jetStream = jetStream;
    this.log = jetStream?.jetstream(connection) ?? null;
    void connection.closed().then((error) => {
      if (!this.isClosing) this.onEnd?.(error?.message ?? 'the connection to the server has ended');
    });
  }

  static async connect(url: string, { qos }: PubsubLoad): Promise<NatsLoadClient> {
    const { connect } = await foreignClient<NatsModule>('@nats-io/transport-node');
    const jetStream = qos === 0 ? null : await foreignClient<JetStreamModule>('@nats-io/jetstream');
    return new NatsLoadClient(await connect(optionsOf(url)), jetStream);
  }

  /** What is published waits in the client without a bound, so it is asked now and then how far it has come. */
  publish(topic: string, message: Buffer): boolean {
    // A copy, for what is not written at once is kept, and the next message has the same memory.
    this.connection.publish(subjectOf(topic), Buffer.from(message));
    if (++this.sent % WAITING_MAX !== 0) return true;
    this.connection.flush().then(
      () => this.onDrain?.(),
      () => {}, // the end of the connection tells why
    );
    return false;
  }

  publishAcknowledged(topic: string, message: Buffer): Promise<unknown> {
    return (this.log as JetStream).publish(subjectOf(topic), Buffer.from(message));
  }

  async subscribe(load: PubsubLoad, number: number, onMessage: OnMessage): Promise<void> {
    const { durable, prefix, qos, shared } = load;
    const subject = `${subjectOf(prefix)}.>`;
    if (qos === 0) {
      this.connection.subscribe(subject, {
        ...(shared ? { queue: 'bench' } : {}),
        callback: (_error, { data }) => onMessage(bufferOf(data), false),
      });
      return await this.connection.flush();
    }
    const stream = streamOf(prefix);
    const manager = await (this.jetStream as JetStreamModule).jetstreamManager(this.connection);
    await manager.streams.add({ name: stream, subjects: [subject], storage: 'memory' });
    if (number === 0) this.stream = stream;
    const name = shared ? 'bench' : `bench-${number}`;
    const kept = durable || shared ? { durable_name: name } : {};
    const config = { ...kept, ack_policy: 'explicit', deliver_policy: 'all', max_ack_pending: UNACKED_MAX };
    const consumer = await manager.consumers.add(stream, config);
    const reader = await (this.log as JetStream).consumers.get(stream, consumer.name);
    await reader.consume({
      max_messages: PULLED_MAX,
      callback: (message: StoredMessage) => {
        onMessage(bufferOf(message.data), message.redelivered);
        message.ack();
      },
    });
  }

  async flush(signal: AbortSignal): Promise<number> {
    const given = new Promise<'late'>((resolve) =>
      signal.addEventListener('abort', () => resolve('late'), { once: true }),
    );
    const flushed = this.connection.flush().then(
      () => 'there' as const,
      () => 'late' as const,
    );
    return (await Promise.race([flushed, given])) === 'there' ? 0 : this.sent % WAITING_MAX;
  }

  async close(): Promise<void> {
    if (this.stream !== null) {
      const manager = await (this.jetStream as JetStreamModule).jetstreamManager(this.connection);
      await manager.streams.delete(this.stream);
    }
    this.isClosing = true;
    await this.connection.close();
  }
}

/** `nats://user:password@host:port`, or a token in the place of the user; `tls://` likewise. */
function optionsOf(url: string): object {
  const { host, password, protocol, username } = new URL(url);
  const [user, pass] = [username, password].map(decodeURIComponent);
  const who = pass !== '' ? { user, pass } : user !== '' ? { token: user } : {};
  return { servers: host, reconnect: false, ...who, ...(protocol === 'tls:' ? { tls: {} } : {}) };
}

function subjectOf(topic: string): string {
  return topic.replaceAll('/', '.');
}

function streamOf(prefix: string): string {
  return prefix.replaceAll('/', '-');
}

function bufferOf(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

const WAITING_MAX = 512;
const PULLED_MAX = 1_000;
/** As many as `jsp` has unacknowledged by default, and more where a group shares them. */
const UNACKED_MAX = 10_000;
