import * as api from '@opentelemetry/api';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, startBroker } from '../../src/broker/index.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { contextOf } from '../../src/pubsub/tracing.ts';

/** A span as an SDK would export it. */
interface Recorded {
  name: string;
  traceId: string;
  spanId: string;
  parent: string | undefined;
  attributes: Record<string, unknown>;
  error: string | undefined;
  isOver: boolean;
}

const spans: Recorded[] = [];
let made = 0;

/** As little of an SDK as shows what was asked of it. */
const provider: api.TracerProvider = {
  getTracer: () => ({
    startSpan(name, options = {}, context = api.context.active()) {
      const parent = api.trace.getSpanContext(context);
      const id = (++made).toString(16).padStart(16, '0');
      const recorded: Recorded = {
        name,
        traceId: parent?.traceId ?? id.padStart(32, 'a'),
        spanId: id,
        parent: parent?.spanId,
        attributes: { ...options.attributes },
        ...{ error: undefined, isOver: false },
      };
      spans.push(recorded);
      const span = {
        spanContext: () => ({ traceId: recorded.traceId, spanId: id, traceFlags: 1 }),
        setAttribute: (key: string, value: unknown) => {
          recorded.attributes[key] = value;
          return span;
        },
        setStatus: ({ message }: api.SpanStatus) => {
          recorded.error = message;
          return span;
        },
        recordException: () => {},
        end: () => {
          recorded.isOver = true;
        },
      };
      return span as unknown as api.Span;
    },
    startActiveSpan: () => {
      throw new Error('not used');
    },
  }),
};

let broker: Broker;
let client: BrokerClient;

beforeAll(async () => {
  api.trace.setGlobalTracerProvider(provider);
  broker = await startBroker({ identity: generateIdentity(), port: 0, telemetry: api });
  client = await connectClient(broker.url, { telemetry: api });
});

afterAll(async () => {
  await client.close();
  await broker.close();
  api.trace.disable();
});

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setImmediate(resolve));
}

describe('a trace [OPS-11]', () => {
  test.each([0, 1] as const)(
    'goes from a publish of QoS %i by way of the broker to the handler',
    async (qos) => {
      spans.length = 0;
      const topic = `traced/${qos}`;
      await client.subscribe(topic, async () => await Promise.resolve(), { qos });
      await client.publish(topic, 'x', { qos });
      await until(() => spans.length === 3 && spans.every(({ isOver }) => isOver));
      const [publish, route, process] = ['publish', 'route', 'process'].map((name) =>
        spans.find((span) => span.name === name),
      );
      expect(publish?.parent).toBe(undefined);
      for (const span of [route, process])
        expect(span).toMatchObject({ traceId: publish?.traceId, parent: publish?.spanId });
      expect(route?.attributes).toMatchObject({
        'messaging.destination.name': topic,
        'messaging.message.body.size': 1,
      });
      if (qos === 0) expect(route?.attributes['jsp.deliveries']).toBe(1);
    },
  );

  test('that was begun elsewhere goes on, and a handler that fails is a span that failed', async () => {
    spans.length = 0;
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    client.on('handlerError', () => {});
    await client.subscribe('failing', async () => Promise.reject(new Error('no paper')), {
      qos: 1,
      ack: 'manual',
    });
    await client.publish('failing', 'x', { qos: 1, traceparent });
    await until(() => spans.some(({ name, isOver }) => name === 'process' && isOver));
    expect(spans.find(({ name }) => name === 'publish')).toMatchObject({ parent: '00f067aa0ba902b7' });
    expect(spans.find(({ name }) => name === 'process')).toMatchObject({
      traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
      error: 'no paper',
    });
  });

  test('is not begun by what is no trace context', () => {
    expect(contextOf('00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03')).toMatchObject({
      traceFlags: 1,
    });
    for (const wrong of [
      '',
      '00-0',
      '01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
      `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`,
      '00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01',
    ]) {
      expect(contextOf(wrong)).toBe(null);
    }
  });
});
