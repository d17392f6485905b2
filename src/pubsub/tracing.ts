/**
 * Traces across publish and delivery, for who hands in the API of OpenTelemetry: a message carries the context of its publisher as W3C Trace Context has it (property
 * `traceparent`), which the broker passes on as it is. Without the API nothing of this is there. [OPS-11]
 */

import { Command, HEADER_BYTES, PublishFlag, topicEndOf } from './command.ts';
import { endOfProperties, findProperty, PropertyType, valueLength } from './properties.ts';
import { decodeName } from './topic.ts';

/** What is used of `@opentelemetry/api`; the module itself is one. */
export interface TelemetryApi {
  readonly ROOT_CONTEXT: object;
  readonly SpanKind: { readonly INTERNAL: number; readonly PRODUCER: number; readonly CONSUMER: number };
  readonly SpanStatusCode: { readonly ERROR: number };
  readonly trace: {
    readonly getTracer: (name: string) => {
      startSpan(
        name: string,
        options: {
          kind?: number;
          attributes?: Record<string, string | number | boolean>;
          startTime?: number;
        },
        context?: object,
      ): TelemetrySpan;
    };
    setSpan(context: object, span: TelemetrySpan): object;
    setSpanContext(
      context: object,
      spanContext: { traceId: string; spanId: string; traceFlags: number; isRemote?: boolean },
    ): object;
  };
  readonly context: { active(): object; with<T>(context: object, act: () => T): T };
}

export interface TelemetrySpan {
  spanContext(): { traceId: string; spanId: string; traceFlags: number };
  setAttribute(name: string, value: string | number | boolean): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): void;
  end(): void;
}

export class Tracing {
  private readonly api: TelemetryApi;
  private readonly tracer: ReturnType<TelemetryApi['trace']['getTracer']>;

  constructor(api: TelemetryApi) {
    this.api = api;
    this.tracer = api.trace.getTracer('jetstream-proto');
  }

  /** A message is published: the span of that is the context that goes with it, under the one that is active, or that it comes with. */
  publishing<T>(topic: string, traceparent: string | undefined, publish: (traceparent: string) => T): T {
    const { api } = this;
    const span = this.start('publish', api.SpanKind.PRODUCER, topic, traceparent);
    return this.during(span, () => publish(traceparentOf(span)));
  }

  /** A message is handled, as a part of the trace that its publisher has begun. */
  handling<T>(topic: string, traceparent: string | undefined, handle: () => T): T {
    const { api } = this;
    const span = this.start('process', api.SpanKind.CONSUMER, topic, traceparent);
    return this.during(span, () => api.context.with(api.trace.setSpan(api.context.active(), span), handle));
  }

  /** The broker hands a message on: from taking it to having given it to all who take it at once. */
  routing(topic: string, traceparent: string, bytes: number, route: () => number): void {
    const span = this.start('route', this.api.SpanKind.INTERNAL, topic, traceparent);
    span.setAttribute('messaging.message.body.size', bytes);
    this.during(span, () => {
      span.setAttribute('jsp.deliveries', route());
    });
  }

  private start(
    operation: string,
    kind: number,
    topic: string,
    traceparent: string | undefined,
  ): TelemetrySpan {
    const { api } = this;
    const attributes = {
      'messaging.system': 'jetstream_proto',
      'messaging.operation.name': operation,
      'messaging.destination.name': topic,
    };
    const remote = traceparent === undefined ? null : contextOf(traceparent);
    const context =
      remote === null ? api.context.active() : api.trace.setSpanContext(api.ROOT_CONTEXT, remote);
    return this.tracer.startSpan(operation, { kind, attributes }, context);
  }

  /** The span ends with what is done, or with its promise. */
  private during<T>(span: TelemetrySpan, act: () => T): T {
    let result: T;
    try {
      result = act();
    } catch (error) {
      this.fail(span, error);
      throw error;
    }
    if (result instanceof Promise) {
      result.then(
        () => span.end(),
        (error) => this.fail(span, error),
      );
    } else span.end();
    return result;
  }

  private fail(span: TelemetrySpan, error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    span.recordException(failure);
    span.setStatus({ code: this.api.SpanStatusCode.ERROR, message: failure.message });
    span.end();
  }
}

/** What a span of a PUBLISH has to tell; null: it has no trace context, or is not well-formed. */
export function tracedPublish(
  command: Uint8Array,
): { topic: string; traceparent: string; bytes: number } | null {
  if (command[0] !== Command.PUBLISH || (command[1] & PublishFlag.PROPERTIES) === 0) return null;
  const topicEnd = topicEndOf(command);
  const end = topicEnd > command.length ? -1 : endOfProperties(command, topicEnd);
  const at = end < 0 ? -1 : findProperty(command, topicEnd, PropertyType.TRACEPARENT);
  if (at < 0) return null;
  const traceparent = decodeName(command, at, at + valueLength(command, at)) ?? '';
  const isAlias = (command[1] & PublishFlag.ALIAS) !== 0;
  const topic = isAlias ? '' : (decodeName(command, HEADER_BYTES, topicEnd) ?? '');
  return contextOf(traceparent) === null ? null : { topic, traceparent, bytes: command.length - end };
}

/** An API that an option can take. */
export function telemetryOption(value: unknown): string | null {
  const { trace, context } = (value ?? {}) as Partial<TelemetryApi>;
  return typeof trace?.getTracer === 'function' && typeof context?.with === 'function'
    ? null
    : 'the module @opentelemetry/api';
}

/** W3C Trace Context, version 00; null: it is none. */
export function contextOf(traceparent: string) {
  const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(traceparent);
  if (match === null || /^0+$/.test(match[1]) || /^0+$/.test(match[2])) return null;
  return {
    traceId: match[1],
    spanId: match[2],
    traceFlags: Number.parseInt(match[3], 16) & 1,
    isRemote: true,
  };
}

function traceparentOf(span: TelemetrySpan): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${(traceFlags & 1).toString(16).padStart(2, '0')}`;
}
