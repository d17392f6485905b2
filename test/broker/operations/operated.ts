import { Operations } from '../../../src/broker/operations/operations.ts';
import type { StoreMetrics } from '../../../src/broker/store/disk-store.ts';
import { type ScheduledEvent, VirtualClock } from '../../../src/testing/virtual-clock.ts';
import { LogWorld } from '../core/durable/log-world.ts';
import { FakeClient, type FakeStream } from '../core/fake-client.ts';

/** A broker's core in a time that the test moves, with what those who run it have of it. */
export class OperatedWorld {
  readonly world = new LogWorld();
  private readonly time = new VirtualClock();
  readonly operations: Operations;
  isDraining = false;
  store: StoreMetrics | null = null;

  constructor() {
    const { world } = this;
    this.operations = new Operations({
      clock: {
        now: () => this.time.now(),
        setTimer: (at, callback) => this.time.schedule(at, callback),
        clearTimer: (timer) => this.time.cancel(timer as ScheduledEvent),
        soon: (callback) => void this.time.schedule(0, callback),
      },
      wallMs: () => world.wallMs,
      url: 'jsp://broker.example:4433',
      recovery: null,
      isDraining: () => this.isDraining,
      authenticates: false,
      backplane: null,
      metrics: () => world.core.metrics(),
      storeMetrics: () => this.store,
      kick: (client, by, reason) =>
        this.inspect(({ administration }) => administration.kick(client, by, reason)),
      kickElsewhere: async () => false,
      inspect: (look) => this.inspect(look),
      timeMessages: () => {},
      onEvent: () => {},
    });
  }

  /** So many seconds pass, one after the other. */
  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      this.world.pass(1_000);
      this.time.runNext();
    }
  }

  client(): FakeClient {
    return new FakeClient(this.world.core);
  }

  subscriber(filter: string): FakeStream {
    const stream = this.client().open();
    stream.subscribe(1, filter);
    return stream;
  }

  /** What comes of a request; of a refusal its status and code. */
  async ask(verb: string, request: object | string = {}) {
    const payload = Buffer.from(typeof request === 'string' ? request : JSON.stringify(request));
    const { status, body } = await this.operations.request(verb, payload, {
      principal: 'root',
      address: '::1',
    });
    // biome-ignore lint/suspicious/noExplicitAny: whatever JSON says
    const json = JSON.parse(JSON.stringify(body)) as any;
    return status === 0 ? json : { status, code: json.code, detail: json.detail };
  }

  private inspect<T>(look: (inspection: LogWorld['core']['inspection']) => T): T {
    const result = look(this.world.core.inspection);
    this.world.core.look();
    return result;
  }
}

/** Messages on a topic that came on a stream, as JSON. */
export function jsonOn(stream: FakeStream, topic: string): unknown[] {
  stream.carry();
  return stream.link.lines
    .filter((line) => line.startsWith(`${topic}=`))
    .map((line) => JSON.parse(line.slice(topic.length + 1)));
}
