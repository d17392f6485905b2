import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { LogStreamListener } from '../../../../src/broker/backplane/log/log-stream.ts';
import { encodeRecord } from '../../../../src/broker/backplane/log/record-form.ts';
import { JetStreamLog } from '../../../../src/broker/backplane/nats/jetstream-log.ts';
import { NatsLine } from '../../../../src/broker/backplane/nats/line.ts';
import { loadNats } from '../../../../src/broker/backplane/nats/modules.ts';
import { HEADER_BYTES, PublishFlag, publishPrefix } from '../../../../src/pubsub/command.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';

const program = natsProgram();

describe.skipIf(program === null)('a log in JetStream', () => {
  let server: NatsServer;
  let line: NatsLine;

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
    const options = { kind: 'nats', urls: [server.url] } as const;
    line = await NatsLine.open(await loadNats(), options, { purpose: 'test', noEcho: true });
  });
  afterAll(async () => {
    await line.close();
    await server.remove();
  });

  test('keeps a record by the subject of its topic, whatever stands behind that [CLU-35]', async () => {
    const modules = await loadNats();
    const manager = await modules.jetstream.jetstreamManager(line.nats);
    const { stream } = await JetStreamLog.open(
      { name: 'kept', filters: ['#'] },
      {
        ...{ modules, line, manager, node: 'a', cluster: 'c' },
        ...{ replicas: 1, duplicateWindowMs: 60_000, onTrouble: () => {} },
      },
    );
    const topics = ['a/b', `long/${'x'.repeat(300)}`];
    let missing = topics.length;
    const placed = new Promise<void>((resolve) => {
      stream.listener = { placed: () => --missing === 0 && resolve() } as unknown as LogStreamListener;
    });
    for (const [i, topic] of topics.entries())
      stream.append(i + 1, encodeRecord({ ...RECORD, ...commandOf(topic) }), `${i}`);
    await placed;
    const subjects = await Promise.all(
      topics.map(async (_, i) => (await manager.streams.getMessage('JSP_c_kept', { seq: i + 1 }))?.subject),
    );
    expect(subjects).toEqual(topics.map((topic) => `jsp.c.q.kept.${topic.replace('/', '.')}`));
    stream.close();
  });

  test('that is asked for a time takes the answer of a JetStream that is slow to begin, and leaves no reader behind', async () => {
    const modules = await loadNats();
    const manager = await modules.jetstream.jetstreamManager(line.nats);
    let answer: () => void = () => {};
    const late = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const { consumers } = manager;
    const slowly = vi.spyOn(consumers, 'add').mockImplementation(async (...asked) => {
      slowly.mockRestore();
      const added = consumers.add(...asked);
      await late;
      return await added;
    });
    const { stream } = await JetStreamLog.open(
      { name: 'late', filters: ['t/#'] },
      {
        ...{ modules, line, manager, node: 'a', cluster: 'late' },
        ...{ replicas: 1, duplicateWindowMs: 60_000, onTrouble: () => {} },
      },
    );
    const subscribed = vi.spyOn(line, 'subscribe');
    const removed = vi.spyOn(consumers, 'delete');
    const found = new Promise((resolve) => {
      stream.listener = { found: (_, offset) => resolve(offset) } as LogStreamListener;
    });
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      stream.find(0);
      vi.advanceTimersByTime(4_000);
      answer();
      await expect.poll(() => subscribed.mock.results.length).toBe(1);
    } finally {
      vi.useRealTimers();
    }
    expect(await found).toBe(Number.POSITIVE_INFINITY);
    expect(subscribed.mock.results.map(({ value }) => value.isClosed())).toEqual([true]);
    expect(removed).toHaveBeenCalledTimes(1);
    stream.close();
  });
});

const RECORD = { session: 0, sequence: 0, id: 0, expiresAt: 0, publishedAt: 1 };

/** A message of a topic. */
function commandOf(topic: string) {
  const prefix = publishPrefix(topic, PublishFlag.QOS1, 1);
  return { command: Buffer.concat([prefix, Buffer.from('text')]), topicEnd: HEADER_BYTES + topic.length };
}
