import assert from 'node:assert/strict';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Broker, HISTORY_FIGURES, type Snapshot, startBroker } from '../../src/broker/index.ts';
import { age } from '../../src/cli/lists.ts';
import { lineOf, sparkline, TopView } from '../../src/cli/top.ts';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { jsp } from './jsp.ts';

const PLAIN = { bold: same, dim: same, red: same, yellow: same };
let broker: Broker;
let client: BrokerClient;

function same(text: string): string {
  return text;
}

beforeAll(async () => {
  broker = await startBroker({ identity: generateIdentity(), port: 0 });
  client = await connectClient(broker.url, { session: 'evil\u202e' });
});

afterAll(async () => {
  await client.close();
  await broker.close();
});

describe('the commands of operators', () => {
  test('list clients as a table, in which names stay text, and as JSON', async () => {
    const [table, json] = await Promise.all([
      jsp(['clients', '--url', broker.url, '--sort', 'id']),
      jsp(['clients', '--url', broker.url, '--search', 'evil', '--json']),
    ]);
    expect([table.exitCode, json.exitCode]).toEqual([0, 0]);
    const [header, first] = table.out.split('\n');
    expect(header).toMatch(/^session +id +principal +door +address +in\/s +out\/s/);
    expect(first).toContain('evil\\u202e');
    expect(table.out.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Bidi_Control}]/u);
    expect(JSON.parse(json.out)).toMatchObject({
      matched: 1,
      items: [{ door: 'native', address: '127.0.0.1' }],
    });
  });

  test('find dead letters, send them back, and say when somebody is not there to be kicked', async () => {
    const options = {
      qos: 1,
      durable: 'd',
      ack: 'manual',
      maxDeliveries: 1,
      deadLetter: 'dead/orders',
    } as const;
    let seen = 0;
    await client.subscribe(
      'orders/#',
      (message) => {
        if (seen++ === 0) message.nack({ reason: 'no paper' });
        else message.ack();
      },
      options,
    );
    await client.publish('orders/7', 'coffee', { qos: 1 });
    const listed = await jsp(['dlq', 'list', '--url', broker.url]);
    expect(listed.out).toMatch(
      /^offset +topic +from +attempts +age +bytes +reason\n2 +dead\/orders +orders\/7 +1 .* 6 +no paper\n$/,
    );
    const [sent, kicked] = await Promise.all([
      jsp(['dlq', 'redrive', '--url', broker.url, '--json']),
      jsp(['kick', 'nobody', '--url', broker.url]),
    ]);
    expect(JSON.parse(sent.out)).toEqual({ redriven: 1, failed: [] });
    expect([kicked.exitCode, kicked.err]).toEqual([
      1,
      'jsp: The session "nobody" is not connected. (ERR_JSP_NOT_FOUND)\n',
    ]);
    while (seen < 2) await new Promise((resolve) => setImmediate(resolve));
  });
});

describe('jsp kick', () => {
  test('reaches a client that is named like an id, and does not take one for the other', async () => {
    const named = await connectClient(broker.url, { session: 'a' });
    const ids = async (session: string): Promise<number[]> => {
      const reply = await client.request('$sys/admin/clients', JSON.stringify({ limit: 1_000 }));
      const { items } = reply.json<{ items: { id: number; session: string | null }[] }>();
      return items.filter((each) => each.session === session).map(({ id }) => id);
    };
    const [id] = await ids('a');
    const namesake = await connectClient(broker.url, { session: String(id) });
    const asked = await jsp(['kick', String(id), '--url', broker.url]);
    expect([asked.exitCode, asked.err]).toEqual([
      2,
      `jsp: ${id} is also the name of a session: say --session if that is meant, --id for the connection with this id (ERR_JSP_USAGE)\n`,
    ]);
    const [first] = await ids(String(id));
    const byName = await jsp(['kick', '--session', String(id), '--url', broker.url]);
    expect([byName.exitCode, byName.err]).toEqual([0, `The session ${id} was closed with KICKED.\n`]);
    expect(await ids('a')).toEqual([id]);
    expect(await ids(String(id))).not.toContain(first);
    const byId = await jsp(['kick', '--id', String(id), '--url', broker.url]);
    expect([byId.exitCode, byId.err]).toEqual([0, `The client ${id} was closed with KICKED.\n`]);
    expect(await ids('a')).not.toContain(id);
    await Promise.all([named.close(), namesake.close()]);
  });

  test('takes a number that no id looks like for a name, and refuses what cannot be meant', async () => {
    const zero = await connectClient(broker.url, { session: '007' });
    const [byName, no, both] = await Promise.all([
      jsp(['kick', '007', '--url', broker.url]),
      jsp(['kick', '--id', 'sensor', '--url', broker.url]),
      jsp(['kick', '--id', '--session', '7', '--url', broker.url]),
    ]);
    expect([byName.exitCode, byName.err]).toEqual([0, 'The session 007 was closed with KICKED.\n']);
    expect([no.exitCode, no.err]).toEqual([
      2,
      'jsp: an id is a whole number, not "sensor" (ERR_JSP_USAGE)\n',
    ]);
    expect([both.exitCode, both.err]).toEqual([2, 'jsp: --id does not go with --session (ERR_JSP_USAGE)\n']);
    await zero.close();
  });
});

describe('jsp top', () => {
  test('fits into its terminal, whatever that is, with bars of the last minute', () => {
    const view = topView();
    for (const [columns, rows] of [
      [80, 24],
      [200, 60],
      [20, 3],
    ]) {
      const lines = view.linesOf({ columns, rows }, PLAIN);
      expect(lines).toHaveLength(rows);
      for (const line of lines) expect(line.length).toBeLessThanOrEqual(columns + 24);
    }
    const lines = view.linesOf({ columns: 120, rows: 24 }, PLAIN);
    expect(lines[0]).toMatch(/^ready {2}up 2.0 h {2}clients 3/);
    expect(lines[1]).toMatch(/^in +60\/s +6.0 kB\/s +▁.*█$/);
    expect(lines[3]).toMatch(/p50 0.25 ms +p99 1,250 ms/);
    expect(view.press('x')).toBe(false);
    expect([view.press('s'), view.clientSort]).toEqual([true, '-rateIn']);
  });

  test('has a table of what there is, and none of what there is none of', () => {
    const view = topView();
    const titles = (): string[] =>
      view
        .linesOf({ columns: 120, rows: 24 }, PLAIN)
        .filter((line) => /^(clients by|durable subscriptions|topics$)/.test(line));
    expect(titles()).toEqual([]);
    const { look } = view;
    assert(look !== null);
    const topics = [{ topic: 'plant/7', rate: 12, bytesRate: 3_400, subscribers: 2 }];
    view.look = { ...look, topics: { at: look.now.at, topics } };
    expect(titles()).toEqual(['topics']);
    expect(view.linesOf({ columns: 120, rows: 24 }, PLAIN).join('\n')).toMatch(/plant\/7 +12 +3,400 +2\n/);
  });

  test('is a line a look where nobody looks at a terminal', () => {
    const { look } = topView();
    expect(look === null ? '' : lineOf(look)).toBe(
      '08:00:00  ready  in 60/s  out 0/s  deliver p99 1,250 ms  commit p99 -  queued 4  drops 0/s  clients 3',
    );
  });

  test('draws what is not known as nothing, and times in their largest unit', () => {
    expect(sparkline([0, 1, 2, null, 4])).toBe('▁▃▅ █');
    expect(sparkline([0, 0])).toBe('▁▁');
    expect([250, 4_000, 90_000, 7_200_000, 500_000_000].map(age)).toEqual([
      '250 ms',
      '4 s',
      '1.5 m',
      '2.0 h',
      '5.8 d',
    ]);
  });
});

/** What a broker could look like. */
function topView(): TopView {
  const at = Date.parse('2026-11-26T08:00:00Z');
  const view = new TopView();
  const nothing = { count: 0, p50: null, p99: null, max: null };
  const columns = Object.fromEntries(HISTORY_FIGURES.map((figure) => [figure, Array(60).fill(0)]));
  columns.in = Array.from({ length: 60 }, (_, i) => i + 1);
  columns.bytesIn = columns.in.map((rate: number) => rate * 100);
  const now = {
    ...broker.operations.snapshot(),
    ...{
      at,
      startedAt: at - 7_200_000,
      clients: 3,
      latency: { deliver: { count: 9, p50: 0.25, p99: 1_250, max: 2_000 }, commit: nothing, group: nothing },
    },
  } as Snapshot;
  now.queues = { ...now.queues, messages: 4 };
  const empty = { at, total: 0, matched: 0, items: [] };
  view.look = {
    now,
    history: { periodMs: 1_000, at: Array(60).fill(at), columns: columns as never },
    ...{ clients: empty, durables: empty, topics: { at, topics: [] } },
  };
  return view;
}
