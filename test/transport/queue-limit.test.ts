import { expect, test } from 'vitest';
import { connect, generateIdentity, listen } from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';

test('a message beyond the bound of a queue is refused with an error, never dropped in silence', async () => {
  const lab = new Lab({ seed: 1, link: { delayMs: 5 } });
  const common = { clock: lab.clock, random: lab.random };
  const listener = await listen({
    ...common,
    identity: generateIdentity(),
    socket: lab.socket({ host: 's', port: 1 }),
  });
  const url = listener.url.replace(/@.*$/, '@127.0.0.1:1');
  const socket = lab.socket({ host: 'c', port: 2, connectTo: { host: 's', port: 1 } });
  let received = 0;
  listener.on('connection', (served) =>
    served.on('stream', (stream) => stream.on('message', () => received++)),
  );
  const connection = await lab.settle(connect(url, { ...common, socket }));
  const stream = connection.openStream();
  const { core } = stream as unknown as { core: { sender: { queue: { bytesMax: number } } } };
  const { events } = (
    connection as unknown as { core: { streams: { events: { tracked: Map<number, unknown> } } } }
  ).core.streams;
  core.sender.queue.bytesMax = 100_000;
  let sent = 0;
  const full = (): void => {
    for (; sent < 1_000; sent++) stream.send(new Uint8Array(1_000));
  };
  expect(full).toThrow(expect.objectContaining({ code: 'ERR_JSP_QUEUE_FULL' }));
  expect(sent).toBeGreaterThan(50);
  await expect(stream.sendTracked(new Uint8Array(1_000))).rejects.toMatchObject({
    code: 'ERR_JSP_QUEUE_FULL',
  });
  expect(events.tracked.size).toBe(0);
  await lab.settle(stream.flush());
  expect(received).toBe(sent);
  // There is room again, and it was told so.
  expect(stream.send('more')).toBe(true);
  await lab.settle(connection.close());
  await lab.settle(listener.close());
});
