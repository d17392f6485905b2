/** What those who run a broker have of it: its figures, its past, its events, whether it is ready, and what they may ask of it. */

import { readFileSync } from 'node:fs';
import type { Happening } from './event-log.ts';
import { Observation, type Operated, type Readiness } from './observation.ts';
import { type Exposition, PrometheusExport } from './prometheus.ts';
import { type Answer, type Asker, OperatorRequests } from './requests.ts';
import type {
  EventRecord,
  GatewayFigures,
  MetricsReport,
  MqttFigures,
  Snapshot,
  StatusReport,
} from './snapshot.ts';

export class Operations {
  private readonly observation: Observation;
  private readonly requests: OperatorRequests;
  private readonly prometheus: PrometheusExport;

  constructor(broker: Operated) {
    this.observation = new Observation(broker, programVersion());
    this.requests = new OperatorRequests(this.observation, broker);
    this.prometheus = new PrometheusExport(() => this.observation.report());
  }

  /** The broker as it was at the last full second. */
  snapshot(): Snapshot {
    return this.observation.snapshot();
  }

  /** The same, with distributions of all since the start. */
  report(): MetricsReport {
    return this.observation.report();
  }

  /** What changes seldom, and what the start has found. */
  status(): StatusReport {
    return this.observation.status();
  }

  /** Whether it is to be sent traffic, and why not. */
  readiness(): Readiness {
    return this.observation.readiness();
  }

  /** Events after the one of this number, the oldest first. */
  events(after = 0, limit = 1_000): EventRecord[] {
    return this.observation.eventsAfter(after, limit);
  }

  /** Something has happened. */
  note(happening: Happening): void {
    this.observation.note(happening);
  }

  /** What a scrape of Prometheus gets. */
  exposition(): Promise<Exposition> {
    return this.prometheus.page();
  }

  /** Answers a request on `$sys/admin/<verb>` of somebody who may make it. */
  request(verb: string, payload: Uint8Array, asker: Asker): Promise<Answer> {
    return this.requests.answer(verb, payload, asker);
  }

  /** The gateway of this process tells its figures; null: it is gone. */
  setGateway(figures: (() => GatewayFigures) | null): void {
    this.observation.gateway = figures;
  }

  /** A door for MQTT of this process tells its figures, until what is returned is called. */
  addMqtt(figures: () => MqttFigures): () => void {
    this.observation.mqtt.add(figures);
    return () => this.observation.mqtt.delete(figures);
  }

  close(): void {
    this.observation.close();
  }
}

/** Of the package that this is a part of; empty where that cannot be found, as in a bundle. */
export function programVersion(): string {
  try {
    const file = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
    return (JSON.parse(file) as { version: string }).version;
  } catch {
    return '';
  }
}
