import { expect, test } from 'vitest';
import { openBackplane } from '../../../src/broker/backplane/open-backplane.ts';
import { systemClock } from '../../../src/udp/clock.ts';
import { DrivenCore } from '../core/driven-core.ts';
import { FakeBackplane } from './fake-backplane.ts';

const surroundings = { clock: systemClock, wallMs: () => 0, logs: [], version: '' };

test('a broker is alone unless it is told otherwise [CLU-1]', async () => {
  expect(await openBackplane(undefined, surroundings)).toBeNull();
  expect(await openBackplane({ kind: 'none' }, surroundings)).toBeNull();
});

test.each([
  ['urls', { urls: ['http://127.0.0.1:4222'] }],
  ['urls', { urls: [] }],
  ['cluster', { cluster: 'two words' }],
  ['node', { node: '' }],
  ['replicas', { replicas: 2 }],
  ['advertise', { advertise: ['jsp://host:1'] }],
  ['cert and key', { tls: { cert: 'cert.pem' } }],
  ['user and password', { user: 'jsp' }],
])('options of a backplane are looked at before anything is opened: %s [CLU-1]', async (named, options) => {
  await expect(openBackplane({ kind: 'none', ...options }, surroundings)).rejects.toMatchObject({
    code: 'ERR_JSP_OPTION_INVALID',
    message: expect.stringContaining(named),
  });
});

test('what a backplane tells is taken in the turn in which the core looks', () => {
  const backplane = new FakeBackplane();
  const core = new DrivenCore({}, undefined, undefined, backplane);
  let told = 0;
  backplane.push(() => {
    told++;
    backplane.push(() => told++); // news of news
  });
  core.look();
  expect(told).toBe(2);
  expect(backplane.hasNews).toBe(false);
});
