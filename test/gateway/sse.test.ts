import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { gatewayInMemory, type TestGateway } from './gateway-server.ts';

let server: TestGateway;
beforeAll(async () => {
  server = await gatewayInMemory({}, { logs: [{ name: 'default', maxMessages: 20 }] });
});
afterAll(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

interface Event {
  readonly event: string;
  readonly id: string;
  readonly data: Record<string, unknown>;
}

/** What reads events as the WHATWG has it. */
class Events {
  readonly response: Response;
  retryMs = 0;
  lastId = '';
  comments = 0;
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly decoder = new TextDecoder();
  private text = '';
  private readonly aborter: AbortController;

  constructor(response: Response, aborter: AbortController) {
    this.response = response;
    this.aborter = aborter;
    this.reader = (response.body as ReadableStream<Uint8Array>).getReader();
  }

  static async open(path: string, headers: Record<string, string> = {}): Promise<Events> {
    const aborter = new AbortController();
    const response = await server.fetch(path, { headers, signal: aborter.signal });
    expect(response.status, await (response.ok ? '' : response.text())).toBe(200);
    return new Events(response, aborter);
  }

  /** The next event; null: the stream has ended. */
  async next(): Promise<Event | null> {
    let [event, data] = ['', ''];
    for (;;) {
      const line = await this.line();
      if (line === null) return null;
      if (line === '') {
        if (data !== '') return { event, id: this.lastId, data: JSON.parse(data) };
        [event, data] = ['', ''];
        continue;
      }
      const colon = line.indexOf(':');
      const [field, value] = [line.slice(0, colon), line.slice(colon + 1).replace(/^ /, '')];
      if (field === '') this.comments++;
      else if (field === 'event') event = value;
      else if (field === 'data') data += value;
      else if (field === 'id') this.lastId = value;
      else if (field === 'retry') this.retryMs = Number(value);
    }
  }

  async texts(count: number): Promise<unknown[]> {
    const found: unknown[] = [];
    while (found.length < count) {
      const next = await this.next();
      expect(next?.event).toBe('message');
      found.push(next?.data.text);
    }
    return found;
  }

  close(): void {
    this.aborter.abort();
  }

  private async line(): Promise<string | null> {
    for (;;) {
      const end = this.text.indexOf('\n');
      if (end >= 0) {
        const line = this.text.slice(0, end);
        this.text = this.text.slice(end + 1);
        return line;
      }
      const { value, done } = await this.reader.read();
      if (done) return null;
      this.text += this.decoder.decode(value, { stream: true });
    }
  }
}

async function publish(topic: string, ...texts: string[]): Promise<void> {
  for (const body of texts) {
    const response = await server.fetch(`/v1/topics/${topic}`, { method: 'POST', body });
    expect(response.status).toBe(200);
  }
}

describe('GET /v1/events', () => {
  test('has what is published, each with its position as the id [GW-60] [GW-61]', async () => {
    const events = await Events.open('/v1/events?filter=a/%23');
    const { headers } = events.response;
    expect(headers.get('content-type')).toBe('text/event-stream; charset=utf-8');
    expect(headers.get('cache-control')).toBe('no-store, no-transform');
    expect(headers.get('x-accel-buffering')).toBe('no');
    const open = await events.next();
    expect(open).toMatchObject({ event: 'open', data: { recovered: false, missed: 0 } });
    expect(open?.id).toBe(`${open?.data.epoch}:${open?.data.offset}`);
    expect(events.retryMs).toBeGreaterThanOrEqual(1_000); // [GW-63]
    expect(events.retryMs).toBeLessThan(5_000);
    await publish('a/b', 'one', 'two\nlines');
    const first = await events.next();
    expect(first).toMatchObject({ event: 'message', data: { topic: 'a/b', text: 'one' } });
    expect(first?.id).toBe(`${open?.data.epoch}:${first?.data.offset}`);
    expect(first?.data).not.toHaveProperty('type');
    expect((await events.next())?.data.text).toBe('two\nlines');
    events.close();
  });

  test('goes on behind Last-Event-ID, which goes before since [GW-62]', async () => {
    const events = await Events.open('/v1/events?filter=b');
    await events.next();
    await publish('b', '1', '2', '3');
    await events.next();
    const id = events.lastId;
    events.close();
    const back = await Events.open('/v1/events?filter=b&since=new', { 'last-event-id': id });
    expect(await back.next()).toMatchObject({ event: 'open', data: { recovered: true, missed: 0 } });
    expect(await back.texts(2)).toEqual(['2', '3']);
    back.close();
    const byQuery = await Events.open(`/v1/events?filter=b&last_event_id=${id}`);
    await byQuery.next();
    expect(await byQuery.texts(2)).toEqual(['2', '3']);
    byQuery.close();
  });

  test('says once that it does not know where to go on, and is live then [GW-62]', async () => {
    await publish('c', 'old');
    const live = await Events.open('/v1/events?filter=c');
    const epoch = Number((await live.next())?.data.epoch);
    live.close();
    for (const id of ['nonsense', '7:1', `${epoch}:99999`]) {
      const events = await Events.open('/v1/events?filter=c', { 'last-event-id': id });
      expect(await events.next()).toMatchObject({ event: 'open', data: { recovered: false, missed: null } });
      expect(await events.next()).toMatchObject({ event: 'reset', data: { epoch, missed: null } });
      await publish('c', `behind ${id}`);
      expect(await events.texts(1)).toEqual([`behind ${id}`]);
      events.close();
    }
  });

  test('tells how many the log has dropped meanwhile [GW-44]', async () => {
    const events = await Events.open('/v1/events?filter=d');
    await events.next();
    await publish('d', 'first');
    await events.next();
    events.close();
    await publish('d', ...Array.from({ length: 25 }, (_, i) => `${i}`));
    const back = await Events.open('/v1/events?filter=d', { 'last-event-id': events.lastId });
    expect(await back.next()).toMatchObject({ event: 'open', data: { recovered: false, missed: 5 } });
    expect(await back.next()).toMatchObject({ event: 'gap', data: { missed: 5, reason: 'retention' } });
    expect(await back.texts(20)).toEqual(Array.from({ length: 20 }, (_, i) => `${i + 5}`));
    back.close();
  });

  test('is a problem where it cannot be: what is asked for, and why not', async () => {
    const problem = async (path: string) => {
      const response = await server.fetch(path);
      expect(response.headers.get('content-type')).toBe('application/problem+json');
      const { code, detail } = (await response.json()) as { code: string; detail: string };
      return `${response.status} ${code} ${detail}`;
    };
    expect(await problem('/v1/events')).toMatch(/^400 REQUEST_INVALID .*filter=/);
    expect(await problem('/v1/events?filter=a/%23/b')).toMatch(/^400 FILTER_INVALID /);
    expect(await problem('/v1/events?filter=a&since=yesterday')).toMatch(/^400 REQUEST_INVALID since/);
    expect(await problem('/v1/events?filter=a&qos=2')).toMatch(/^400 REQUEST_INVALID qos/);
    expect(await problem('/v1/events?filter=a&filer=b')).toMatch(/^400 REQUEST_INVALID .* filer: /);
    expect(
      (await server.fetch('/v1/events?filter=a', { method: 'HEAD' })).headers.get('content-type'),
    ).toContain('event-stream');
  });

  test('of QoS 0 has what is published from now on, and no ids', async () => {
    const events = await Events.open('/v1/events?filter=e&qos=0');
    expect(await events.next()).toEqual({ event: 'open', id: '', data: {} });
    await publish('e', 'x');
    expect(await events.next()).toMatchObject({ event: 'message', id: '', data: { topic: 'e', text: 'x' } });
    events.close();
  });

  test('leaves nothing behind when its reader goes', async () => {
    while (server.gateway.metrics().guests > 0 || server.broker.metrics().filters > 0) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(server.broker.metrics().clients).toBeLessThanOrEqual(1); // that of those who publish
  });
});

test('streams end with a goodbye when the gateway goes, or the broker [GW-64]', async () => {
  const before = server;
  for (const first of ['gateway', 'broker'] as const) {
    server = await gatewayInMemory();
    const events = await Events.open('/v1/events?filter=a');
    expect((await events.next())?.event).toBe('open');
    const closing = server[first].close({ drainMs: 1_000 });
    expect(await events.next()).toMatchObject({
      event: 'goodbye',
      data: { code: 'SHUTTING_DOWN', retryAfterMs: expect.any(Number) },
    });
    expect(await events.next()).toBeNull();
    await closing;
    await server.close();
  }
  server = before;
});
