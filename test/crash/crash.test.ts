import { expect, test } from 'vitest';
import { natsProgram } from '../broker/backplane/nats-server.ts';
import { killBroker } from './kill-broker.ts';
import { killClient } from './kill-client.ts';
import { killCluster } from './kill-cluster.ts';
import { replayEarlyData } from './replay-early-data.ts';

const nats = natsProgram();

// More rounds: npm run crash -- broker --rounds 100, and the like.

test('a durable broker that is killed and told to end under load loses nothing that it acknowledged, and its clients come back by themselves', async () => {
  const { acknowledged, delivered, resumed } = await killBroker({
    rounds: 3,
    signals: ['SIGKILL', 'SIGTERM', 'SIGKILL'],
    pace: { burst: 4, pauseMs: 4 },
  });
  expect(acknowledged).toBeGreaterThan(100);
  expect(delivered).toBeGreaterThanOrEqual(acknowledged);
  expect(resumed).toBeGreaterThanOrEqual(3);
});

test('a durable subscriber that is killed inside its handler gets again what it had not handled, with REDELIVERED', async () => {
  const { acknowledged, redelivered } = await killClient(3);
  expect(acknowledged).toBeGreaterThan(20);
  expect(redelivered).toBeGreaterThan(0);
});

test.runIf(nats !== null)(
  'a cluster of which a broker is killed, and then NATS, under load, loses nothing that it acknowledged [CLU-30] [CLU-34]',
  async () => {
    const { acknowledged, delivered, resumed } = await killCluster({
      program: nats as string,
      rounds: 2,
      misfortunes: ['broker', 'nats'],
      pace: { burst: 4, pauseMs: 8 },
    });
    expect(acknowledged).toBeGreaterThan(100);
    expect(delivered).toBeGreaterThanOrEqual(acknowledged);
    expect(resumed).toBeGreaterThanOrEqual(1);
  },
);

test('early data that was captured is taken once, whoever it is played to: not by a server that was killed and started again, nor by another process with its keys [HS-53]', async () => {
  const { captured, received, taken, takenAgain } = await replayEarlyData(40);
  expect(received).toBeGreaterThanOrEqual(4 * 40);
  expect([captured, taken, takenAgain]).toEqual([3, 2, 0]);
});
