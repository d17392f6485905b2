/** What all requests to a gateway have in common. */

import type { GatewayFigures } from '../broker/operations/snapshot.ts';
import { type Clock, systemClock } from '../udp/clock.ts';
import { AnswerTimes } from './answer-times.ts';
import type { Backend } from './backend.ts';
import { Addresses } from './caller.ts';
import { DeliveryTexts } from './delivery-text.ts';
import { EventStreams } from './event-streams.ts';
import { IdempotencyKeys } from './idempotency.ts';
import { Load } from './load.ts';
import type { MqttLimitOptions } from './mqtt/limits.ts';
import type { MqttBroker } from './mqtt/options.ts';
import { DEFAULT_LIMITS, type GatewayOptions, type GivenLimits, type LocalBroker } from './options.ts';
import { Origins } from './origin.ts';
import { OutgoingTurn } from './outgoing.ts';
import { SharedSessions } from './sessions.ts';

/** Somebody who is connected for long, and has to be told when the gateway goes. */
export interface Guest {
  /** It goes: the caller may come back, here or elsewhere. */
  goodbye(): void;
}

class GatewayCounters {
  /** Requests that came. */
  requests = 0;
  /** Their answers, by the first digit of the status. */
  readonly byStatus: Record<string, number> = { '2xx': 0, '3xx': 0, '4xx': 0, '5xx': 0 };
  /** Messages that callers published by HTTP. */
  published = 0;

  answered(status: number): void {
    this.byStatus[status < 300 ? '2xx' : status < 400 ? '3xx' : status < 500 ? '4xx' : '5xx']++;
  }
}

export class GatewayState {
  readonly backend: Backend;
  readonly clock: Clock;
  readonly limits: GivenLimits;
  readonly addresses: Addresses;
  readonly origins: Origins;
  readonly sessions: SharedSessions;
  readonly answerTimes: AnswerTimes;
  /** Subscriptions that are read as server-sent events, and what they share with WebSockets. */
  readonly eventStreams: EventStreams;
  readonly keys: IdempotencyKeys;
  readonly load: Load;
  /** What the broker tells of itself, where it is in this process. */
  readonly operations: LocalBroker['operations'] | null;
  /** The broker as MQTT needs it, and bounds of its clients; null: there are to be none here. */
  readonly mqtt: { readonly broker: MqttBroker; readonly limits: MqttLimitOptions } | null;
  readonly counters = new GatewayCounters();
  /** Those who are connected for long. */
  readonly guests = new Set<Guest>();
  /** Called when it has closed: by those who have given others something to keep, or have a timer. */
  readonly whenClosed: (() => void)[] = [];
  /** A fault of the gateway itself, which has cost one caller his answer. */
  readonly onFault: (error: unknown) => void;
  /** Takes nobody any more. */
  isDraining = false;

  constructor(options: GatewayOptions, backend: Backend, onFault: (error: unknown) => void) {
    this.backend = backend;
    this.clock = options.clock ?? systemClock;
    this.limits = { ...DEFAULT_LIMITS, ...given(options.limits ?? {}) };
    this.addresses = new Addresses(options.trustedProxies ?? []);
    this.origins = new Origins(hostsOf(options), options.origins ?? []);
    this.sessions = new SharedSessions(backend, this.clock, this.limits.sessionsMax);
    this.answerTimes = new AnswerTimes(this.clock, this.limits.answerMs);
    this.eventStreams = new EventStreams(new OutgoingTurn(this.clock), new DeliveryTexts());
    this.keys = new IdempotencyKeys(this.clock);
    this.load = new Load(this.limits, this.clock);
    const { broker } = options;
    this.operations = typeof broker === 'object' && 'serve' in broker ? (broker.operations ?? null) : null;
    this.mqtt = mqttOf(options);
    this.onFault = onFault;
  }

  /** What the broker shows of its gateway. */
  figures(): GatewayFigures {
    const { counters, eventStreams, guests, load } = this;
    return {
      requests: counters.requests,
      byStatus: { ...counters.byStatus },
      webSockets: guests.size - eventStreams.size,
      eventStreams: eventStreams.size,
      inFlight: load.inFlight,
      refused: { ...load.refused },
    };
  }
}

function mqttOf({ broker, mqtt = {} }: GatewayOptions): GatewayState['mqtt'] {
  const isHere = mqtt !== false && typeof broker === 'object' && 'sessionNote' in broker;
  return isHere ? { broker: broker as MqttBroker, limits: mqtt } : null;
}

/** The name that it was told to listen on is one of its own. */
function hostsOf({ host, hosts = [] }: GatewayOptions): readonly string[] {
  return host === undefined ? hosts : [host, ...hosts];
}

function given<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
