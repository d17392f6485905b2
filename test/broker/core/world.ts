import type { BrokerLimits } from '../../../src/broker/core/state.ts';
import { MemoryStore } from '../../../src/broker/core/store/memory-store.ts';
import type { StorePort } from '../../../src/broker/core/store-port.ts';
import { Command, encodePlain, encodeWill } from '../../../src/pubsub/command.ts';
import {
  AuthMethod,
  BROKER_PROTOCOL_VERSION,
  decodeWelcome,
  encodeHello,
  type Hello,
  type Welcome,
} from '../../../src/pubsub/session-commands.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient, type FakeStream } from './fake-client.ts';

/** A broker in a time of the test's own, which can be stopped and started again on what its store holds. */
export class World<S extends StorePort = MemoryStore> {
  readonly store: S;
  readonly faults: unknown[] = [];
  core: DrivenCore;
  nowMs = 5_000;
  wallMs = 1_700_000_000_000;
  private readonly limits: BrokerLimits;

  constructor(limits: BrokerLimits = {}, store: S = new MemoryStore() as StorePort as S) {
    this.limits = limits;
    this.store = store;
    this.core = this.start();
  }

  /** Time passes as it does where the driver calls in time. */
  pass(ms: number): void {
    const endMs = this.nowMs + ms;
    while (this.nowMs < endMs)
      this.jump(Math.min(endMs, Math.max(this.core.nextTimeoutMs, this.nowMs)) - this.nowMs);
  }

  /** The broker stands still for so long. */
  jump(ms: number): void {
    this.nowMs += ms;
    this.wallMs += ms;
    this.core.advance(this.nowMs, this.wallMs);
  }

  /** The process ends without a word, and another begins after so long. Its clock has another origin. */
  crash(downMs: number): void {
    this.nowMs = 77;
    this.wallMs += downMs;
    this.core = this.start();
  }

  connect(): FakeClient {
    return new FakeClient(this.core);
  }

  /** A client that has said who it is. */
  hello(session: string, options: Partial<Hello> = {}): Guest {
    const guest = new Guest(this.connect());
    guest.hello(session, options);
    return guest;
  }

  /** A stream of a client without a name that is subscribed to `filter`. */
  listener(filter = '#'): FakeStream {
    const stream = this.connect().open();
    stream.subscribe(1, filter);
    stream.carry();
    stream.link.delivered.length = 0;
    return stream;
  }

  private start(): DrivenCore {
    const core = new DrivenCore(this.limits, (error) => this.faults.push(error), this.store);
    core.advance(this.nowMs, this.wallMs);
    return core;
  }
}

/** A client with a control stream. */
export class Guest {
  readonly client: FakeClient;
  readonly control: FakeStream;
  private lastId = 0;

  constructor(client: FakeClient) {
    this.client = client;
    this.control = client.open();
  }

  hello(session: string, options: Partial<Hello> = {}): void {
    this.control.send(
      encodeHello(++this.lastId, {
        version: BROKER_PROTOCOL_VERSION,
        cleanStart: false,
        aliases: 0,
        capabilities: 0,
        expiryMs: 60_000,
        method: AuthMethod.NONE,
        session,
        credentials: new Uint8Array(),
        ...options,
      }),
    );
  }

  will(topic: string, payload: string, delayMs = 0, flags = 0): void {
    this.control.send(encodeWill(++this.lastId, topic, flags, delayMs, Buffer.from(payload)));
  }

  takeBackWill(): void {
    this.control.send(encodePlain(Command.WILL, ++this.lastId));
  }

  /** What the last WELCOME has said. */
  get welcome(): Welcome {
    this.control.carry();
    const welcomes = this.control.link.delivered.filter(([command]) => command === Command.WELCOME);
    const welcome = welcomes.length === 0 ? null : decodeWelcome(welcomes[welcomes.length - 1]);
    if (welcome === null) throw new Error('no WELCOME has come');
    return welcome;
  }

  get answers(): string[] {
    this.control.carry();
    return this.control.link.lines;
  }

  get closedWith(): number | null {
    return this.client.peer.closedWith;
  }

  /** The connection is gone. */
  leave(): void {
    this.client.disconnect();
  }
}

/** What a stream has been given since this was asked last. */
export function taken(stream: FakeStream): string[] {
  stream.carry();
  const { lines } = stream.link;
  stream.link.delivered.length = 0;
  return lines;
}
