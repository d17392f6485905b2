import { expect, test } from 'vitest';
import { connect, generateIdentity, listen, type Stream } from '../../src/index.ts';
import { Lab } from '../../src/testing/index.ts';

test('a peer that sends and resets in one breath does not make an echo throw', async () => {
  const lab = new Lab({ seed: 1, link: { delayMs: 5 } });
  const common = { clock: lab.clock, random: lab.random };
  const listener = await listen({
    ...common,
    identity: generateIdentity(),
    socket: lab.socket({ host: 's', port: 1 }),
  });
  const socket = lab.socket({ host: 'c', port: 2, connectTo: { host: 's', port: 1 } });
  const echoes: Stream[] = [];
  const errors: unknown[] = [];
  listener.on('connection', (served) =>
    served.on('stream', (stream) => {
      echoes.push(stream);
      stream.on('message', (message) => {
        try {
          stream.send(message);
        } catch (error) {
          errors.push(error);
        }
      });
    }),
  );
  const url = listener.url.replace(/@.*$/, '@127.0.0.1:1');
  const connection = await lab.settle(connect(url, { ...common, socket }));
  const stream = connection.openStream();
  stream.send('first');
  await lab.run(50);
  for (let k = 0; k < 20; k++) {
    // What is sent is on its way when the stream is reset, and both arrive together.
    const next = connection.openStream();
    next.send('open');
    await lab.run(20);
    next.send('last');
    (connection as unknown as { driver: { flush(): void } }).driver.flush();
    next.reset(7);
    (connection as unknown as { driver: { flush(): void } }).driver.flush();
    await lab.run(20);
  }
  expect(errors).toEqual([]);
  expect(echoes.length).toBe(21);
  // Between the arrival of STOP_SENDING and the event that tells of it, nothing throws.
  const own = connection.openStream();
  await lab.run(20);
  const { core } = own as unknown as { core: { sender: { onStopSending(code: number): void } } };
  core.sender.onStopSending(5);
  expect(own.send('in between')).toBe(false);
  const outcome = own.sendTracked('in between');
  (own as unknown as { onReset(code: number): void }).onReset(5);
  expect(await outcome).toBe('dropped');
  expect(() => own.send('later')).toThrow(expect.objectContaining({ code: 'ERR_JSP_STREAM_RESET' }));
  await lab.settle(connection.close());
  await lab.settle(listener.close());
});
