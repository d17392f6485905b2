/** All MQTT clients of a door, or of a gateway's WebSockets: what they share, and what has to be looked after while time passes. */

import { MILLISECOND } from '../../base/time.ts';
import type { MqttFigures } from '../../broker/operations/snapshot.ts';
import type { ConnectionFacts } from '../../pubsub/message-stream.ts';
import type { Clock, TimerHandle } from '../../udp/clock.ts';
import { LocalBackend } from '../backend.ts';
import { OutgoingTurn } from '../outgoing.ts';
import { Session } from '../session.ts';
import { MqttReason } from './codes.ts';
import type { MqttSurroundings } from './connection.ts';
import { MqttCounters, type MqttLimits } from './limits.ts';
import type { MqttBroker } from './options.ts';
import { IncomingPublish, OutgoingPublish } from './publish.ts';
import type { MqttClient, WireOwner } from './wire.ts';

export class MqttClients implements WireOwner {
  readonly turn: OutgoingTurn;
  readonly counters = new MqttCounters();
  readonly around: MqttSurroundings;
  private readonly clock: Clock;
  private readonly limits: MqttLimits;
  private readonly backend: LocalBackend;
  private readonly clients = new Set<MqttClient>();
  private readonly slow = new Set<MqttClient>();
  private partialBytes = 0;
  private timer: TimerHandle | null = null;
  private whenEmpty: (() => void) | null = null;
  private readonly operations: MqttBroker['operations'];
  readonly onFault: (error: unknown) => void;

  constructor(broker: MqttBroker, limits: MqttLimits, clock: Clock, onFault: (error: unknown) => void) {
    this.clock = clock;
    this.limits = limits;
    this.onFault = onFault;
    this.operations = broker.operations;
    this.turn = new OutgoingTurn(clock);
    this.backend = new LocalBackend(broker, onFault);
    this.around = {
      clock,
      limits,
      counters: this.counters,
      onFault,
      incoming: new IncomingPublish(),
      outgoing: new OutgoingPublish(),
      open: async (address, request, listener) =>
        await Session.open(await this.backend.connect(factsOf(address)), request, listener, clock),
      logsOf: (filter) => broker.logsOf(filter),
      notes: {
        of: (session) => broker.sessionNote(session),
        set: (session, note) => broker.setSessionNote(session, note),
      },
    };
  }

  /** From now on the broker shows figures of them, until what is returned is called. */
  show(): () => void {
    const figures = (): MqttFigures => {
      const { deliveredQos1: _, ...shown } = this.counters;
      return { ...shown, connections: this.clients.size };
    };
    return this.operations?.addMqtt(figures) ?? (() => {});
  }

  get size(): number {
    return this.clients.size;
  }

  add(client: MqttClient): void {
    this.clients.add(client);
    this.tickLater();
  }

  /** All are told that the broker goes. Resolves when they are gone. */
  async leave(): Promise<void> {
    for (const { connection } of this.clients) {
      connection.leave(MqttReason.SERVER_SHUTTING_DOWN, 'the server is going; come back in a while');
    }
    if (this.clients.size === 0) return;
    await new Promise<void>((resolve) => {
      this.whenEmpty = resolve;
    });
  }

  /** Nobody is looked after any more. */
  close(): void {
    if (this.timer !== null) this.clock.clearTimer(this.timer);
    this.timer = null;
  }

  // ---- for its clients ----

  holds(change: number, { connection, heldBytes }: MqttClient): boolean {
    this.partialBytes += change;
    const blameless = connection.isLetIn ? BLAMELESS_BYTES : 0;
    return this.partialBytes > this.limits.partialBytesMax && heldBytes > blameless;
  }

  setSlow(client: MqttClient, isSlow: boolean): void {
    if (isSlow) this.slow.add(client);
    else this.slow.delete(client);
  }

  forget(client: MqttClient): void {
    this.clients.delete(client);
    this.slow.delete(client);
    if (this.clients.size > 0 || this.whenEmpty === null) return;
    this.whenEmpty();
    this.whenEmpty = null;
  }

  private tickLater(): void {
    if (this.timer !== null) return;
    const { clock } = this;
    this.timer = clock.setTimer(clock.now() + TICK_MS * MILLISECOND, () => {
      this.timer = null;
      const now = clock.now();
      for (const { connection } of this.clients) connection.tick(now);
      for (const client of this.slow) if (client.outgoing.isStalled) client.destroy(); // [MQT-18] it has taken nothing for too long
      this.around.outgoing.forget();
      if (this.clients.size > 0) this.tickLater();
    });
  }
}

/** What the broker is told of a client, which it shows as one of this door. [MQT-24] Who publishes too fast is not read for a while. */
function factsOf(address: string): ConnectionFacts {
  return { door: 'mqtt', address, overLimit: 'wait', exporter: () => null, link: () => null };
}

const TICK_MS = 1_000;
/** With so much of one packet nobody is cut off who was let in: it is what comes at once. */
const BLAMELESS_BYTES = 64 * 1024;
