import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { NatsServer, natsProgram } from '../nats-server.ts';
import { Brokers, until } from './brokers.ts';

const program = natsProgram();
/** On a machine that has much else to do. */
const WAIT_MS = 25_000;

describe.runIf(program !== null)(
  'brokers on one NATS, as clients go from one to another',
  { timeout: 60_000 },
  () => {
    let server: NatsServer;
    let brokers: Brokers;

    beforeAll(async () => {
      server = await NatsServer.start(program as string);
    });

    afterEach(async () => {
      await brokers.close();
    });

    afterAll(async () => {
      await server.remove();
    });

    test('have one session for a name: the newer client takes it over from the node of the older one [CLU-22]', async () => {
      brokers = new Brokers(() => server.url);
      const [a, b] = [await brokers.start('a'), await brokers.start('b')];
      const first = await brokers.client(a, { session: 'x' });
      let end: unknown = null;
      void first.closed.then((error) => {
        end = error;
      });
      await first.publish('log/t', '1', { qos: 1 });
      expect(a.metrics().sessions).toBe(1);
      const second = await brokers.client(b, { session: 'x' });
      await until(() => end !== null, 'the older client is told', WAIT_MS);
      expect(end).toMatchObject({ code: 'ERR_JSP_SESSION_TAKEN' });
      expect([a.metrics().sessions, b.metrics().sessions]).toEqual([0, 1]);
      await second.publish('log/t', '2', { qos: 1 });
    });

    test('continue a durable subscription anywhere, with nothing lost and nothing twice that was acknowledged [CLU-23]', async () => {
      brokers = new Brokers(() => server.url);
      const [a, b] = [await brokers.start('a'), await brokers.start('b')];
      const publisher = await brokers.client(a);
      const got: string[] = [];
      const take = (who: string) => (message: { text(): string }) => void got.push(`${who}${message.text()}`);
      const first = await brokers.client(a);
      await first.subscribe('log/#', take('a'), { qos: 1, durable: 'd' });
      for (let i = 0; i < 5; i++) await publisher.publish('log/t', `${i}`, { qos: 1 });
      await until(() => got.length === 5, 'the first five', WAIT_MS);
      await first.close();
      for (let i = 5; i < 10; i++) await publisher.publish('log/t', `${i}`, { qos: 1 });
      const second = await brokers.client(b);
      await second.subscribe('log/#', take('b'), { qos: 1, durable: 'd' });
      await until(() => got.length === 10, 'the others', WAIT_MS);
      expect(got).toEqual(['a0', 'a1', 'a2', 'a3', 'a4', 'b5', 'b6', 'b7', 'b8', 'b9']);
    });

    test('take at once what a broker that was closed has left: its sessions go on [CLU-26]', async () => {
      brokers = new Brokers(() => server.url);
      const [a, b] = [await brokers.start('a'), await brokers.start('b')];
      await brokers.client(a, { session: 'y', sessionExpiryMs: 60_000, reconnect: false });
      await a.close({ drainMs: 0 });
      await until(() => b.metrics().sessionsAway === 1, 'the session is at the other broker', WAIT_MS);
      const again = await brokers.start('a');
      await brokers.client(again, { session: 'y', sessionExpiryMs: 60_000 });
      await until(() => b.metrics().sessions === 0, 'and goes back', WAIT_MS);
      expect(again.metrics().sessions).toBe(1);
    });

    test('know which messages of a session were taken, wherever its client goes on [CLU-28]', async () => {
      brokers = new Brokers(() => server.url);
      const [a, b] = [await brokers.start('a'), await brokers.start('b')];
      const got: string[] = [];
      const reader = await brokers.client(b);
      await reader.subscribe('log/#', (message) => void got.push(message.text()), {
        qos: 1,
        from: 'earliest',
      });
      for (let i = 0; i < 4; i++) {
        const client = await brokers.client(i % 2 === 0 ? a : b, { session: 'w', sessionExpiryMs: 60_000 });
        await client.publish('log/t', `${i}`, { qos: 1 });
        await client.close({ timeoutMs: 0 }).catch(() => {});
      }
      await until(() => got.length === 4, 'all four', WAIT_MS);
      expect(got).toEqual(['0', '1', '2', '3']);
    });
  },
);
