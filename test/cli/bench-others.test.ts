import { spawn } from 'node:child_process';
import { expect, onTestFinished, test } from 'vitest';
import type { PubsubResult } from '../../src/bench/pubsub/run.ts';
import { freePort, NatsServer, natsProgram } from '../broker/backplane/nats-server.ts';
import { systemProgram } from '../system-program.ts';
import { jsp, jspTogether } from './jsp.ts';

const LOAD = [
  '--subs',
  '2',
  '--topics',
  '3',
  '--rate',
  '400',
  '--seconds',
  '0.3',
  '--warm-up',
  '0.1',
  '--json',
];

async function bench(...args: readonly string[]): Promise<PubsubResult> {
  const { out, err, exitCode } = await jsp(['bench', 'pubsub', ...args, ...LOAD]);
  expect([exitCode, err]).toEqual([0, '400/s\n']);
  return JSON.parse(out) as PubsubResult;
}

function expectAll({
  acknowledged,
  delivered,
  expected,
  failures,
  lost,
  published,
  ...others
}: PubsubResult): void {
  expect(published).toBeGreaterThan(20);
  expect({ acknowledged, delivered, lost, failures }).toEqual({
    acknowledged: published,
    delivered: expected,
    lost: 0,
    failures: [],
  });
  expect(others).toMatchObject({ doubled: 0, disordered: 0 });
  expect(others.latencyMicros?.min).toBeGreaterThan(0);
}

test('jsp bench pubsub --broker nats:// measures NATS, and with QoS 1 its JetStream, of which nothing is left', async ({
  skip,
}) => {
  const program = natsProgram();
  if (program === null) return skip();
  const server = await NatsServer.start(program);
  onTestFinished(() => server.remove());
  expectAll(await bench('--broker', server.url));
  expectAll(await bench('--broker', server.url, '--qos', '1', '--share', '--durable'));
  const { connect } = await import('@nats-io/transport-node');
  const { jetstreamManager } = await import('@nats-io/jetstream');
  const connection = await connect({ servers: server.url.replace('nats://', '') });
  const { streams } = await (await jetstreamManager(connection)).getAccountInfo();
  expect(streams).toBe(0);
  await connection.close();
});

test('jsp bench pubsub --broker mqtt:// measures a broker of MQTT', async ({ skip }) => {
  const program = systemProgram(
    ['mosquitto', '/usr/sbin/mosquitto'],
    'mosquitto',
    'jsp bench of MQTT',
    [0, 3],
  );
  if (program === null) return skip();
  const port = await freePort();
  const mosquitto = spawn(program, ['-p', `${port}`], { stdio: ['ignore', 'ignore', 'pipe'] });
  onTestFinished(() => void mosquitto.kill('SIGKILL'));
  await new Promise<void>((resolve) => {
    mosquitto.stderr.on('data', (text: Buffer) => text.includes('running') && resolve());
  });
  expectAll(await bench('--broker', `mqtt://127.0.0.1:${port}`));
  expectAll(await bench('--broker', `mqtt://127.0.0.1:${port}`, '--qos', '1', '--durable'));
});

test('jsp bench pubsub --broker says what cannot be measured, and who does not answer', async () => {
  const said = await jspTogether([
    ['bench', 'pubsub', '--broker', 'http://127.0.0.1'],
    ['bench', 'pubsub', 'jsp://x', '--broker', 'mqtt://127.0.0.1'],
    ['bench', 'pubsub', '--broker', 'nats://127.0.0.1', '--overflow', 'dropOldest'],
  ]);
  expect(said.map(({ exitCode }) => exitCode)).toEqual([2, 2, 2]);
  for (const [i, word] of ['mqtts://', 'one broker', '--overflow'].entries())
    expect(said[i].err).toContain(word);
  const port = await freePort();
  const { err, exitCode } = await jsp(['bench', 'pubsub', '--broker', `nats://me:secret@127.0.0.1:${port}`]);
  expect(exitCode).toBe(1);
  expect(err).toMatch(new RegExp(`127\\.0\\.0\\.1:${port}: .*\\(ERR_JSP_SOCKET\\)`));
  expect(err).not.toContain('secret');
});
