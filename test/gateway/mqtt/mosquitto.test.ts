/** `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr` as Debian has them, both ways with clients of this project. */

import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeApiKey } from '../../../src/broker/index.ts';
import { type BrokerClient, connectClient, type Message } from '../../../src/client/index.ts';
import { startGateway } from '../../../src/gateway/index.ts';
import { emptyFolder } from '../../empty-folder.ts';
import { ONE } from '../certificates.ts';
import { NEVER_LATE } from '../gateway-server.ts';
import { hasMosquitto, MosquittoProgram, mosquittoPub } from './mosquitto-program.ts';
import { mqttInMemory, type TestMqtt, until } from './mqtt-server.ts';

const VERSIONS = ['mqttv31', 'mqttv311', 'mqttv5'] as const;

describe.skipIf(!hasMosquitto())('the programs of Mosquitto', () => {
  let server: TestMqtt;
  let jsp: BrokerClient;

  beforeAll(async () => {
    server = await mqttInMemory();
    jsp = await connectClient(server.broker.url);
  });
  afterAll(async () => {
    await jsp.close();
    expect(server.faults).toEqual([]);
    await server.close();
  });

  test('what mosquitto_pub publishes reaches a jsp client, of each version and QoS', async () => {
    const heard: string[] = [];
    const subscription = await jsp.subscribe(
      'pub/#',
      ({ topic, payload }) => void heard.push(`${topic} ${payload}`),
    );
    const expected: string[] = [];
    const done = VERSIONS.flatMap((version) =>
      (version === 'mqttv5' ? [0, 1] : [0, 1, 2]).map((qos) => {
        expected.push(`pub/${version}/${qos} é ${qos}`);
        return mosquittoPub(server.port, [
          '-V',
          version,
          '-q',
          `${qos}`,
          '-t',
          `pub/${version}/${qos}`,
          '-m',
          `é ${qos}`,
        ]);
      }),
    );
    for (const { code, err } of await Promise.all(done)) expect([code, err]).toEqual([0, '']);
    await until(() => heard.length === expected.length);
    expect(heard.sort()).toEqual(expected.sort());
    await subscription.unsubscribe();
  });

  test('mosquitto_sub hears what a jsp client and an HTTP request publish, of each version and QoS', async () => {
    const gateway = await startGateway({ broker: server.broker, port: 0, limits: NEVER_LATE });
    const subs: MosquittoProgram[] = [];
    for (const version of VERSIONS) {
      for (const qos of ['0', '1', '2']) {
        const args = ['-V', version, '-q', qos, '-t', 'sub/+'];
        subs.push(await MosquittoProgram.subscribed(server, '%t %q %p', ...args));
      }
    }
    jsp.publish('sub/a', 'by QoS 0');
    await jsp.publish('sub/b', 'by QoS 1', { qos: 1 });
    await fetch(`${gateway.url}/v1/topics/sub/c`, { method: 'POST', body: 'by HTTP' });
    for (const [i, sub] of subs.entries()) {
      const stored = i % 3 === 0 ? 0 : 1;
      const expected = ['sub/a 0 by QoS 0', `sub/b ${stored} by QoS 1`, `sub/c ${stored} by HTTP`];
      expect((await sub.messages(3)).sort()).toEqual(expected);
    }
    await gateway.close({ drainMs: 0 });
  });

  test('properties go both ways', async () => {
    const heard: Message[] = [];
    const subscription = await jsp.subscribe('properties/in', (message) => void heard.push(message));
    const properties = [
      ...['-D', 'publish', 'content-type', 'text/x', '-D', 'publish', 'correlation-data', 'c1'],
      ...['-D', 'publish', 'response-topic', 'answers/1', '-D', 'publish', 'user-property', 'a', 'é'],
      ...['-D', 'publish', 'message-expiry-interval', '60'],
    ];
    await mosquittoPub(server.port, ['-V', 'mqttv5', '-t', 'properties/in', '-m', 'x', ...properties]);
    await until(() => heard.length === 1);
    expect(heard[0].contentType).toBe('text/x');
    expect({ ...heard[0].headers }).toEqual({ a: 'é' });
    await subscription.unsubscribe();

    const sub = await MosquittoProgram.subscribed(
      server,
      '%C|%E|%P|%p',
      '-V',
      'mqttv5',
      '-t',
      'properties/out',
    );
    jsp.publish('properties/out', 'y', { contentType: 'text/y', ttlMs: 59_500, headers: { b: 'ü' } });
    // In whole seconds, of which some may have passed.
    expect((await sub.messages(1))[0]).toMatch(/^text\/y\|(60|[1-5]\d)\|b:ü\|y$/);
  });

  test('megabytes go both ways, byte for byte', async () => {
    const bytes = randomBytes(900_000);
    const folder = emptyFolder();
    writeFileSync(join(folder, 'large'), bytes);
    const heard: Buffer[] = [];
    const subscription = await jsp.subscribe('large/in', ({ payload }) => void heard.push(payload));
    await mosquittoPub(server.port, ['-q', '1', '-t', 'large/in', '-f', join(folder, 'large')]);
    await until(() => heard.length === 1);
    expect(heard[0].equals(bytes)).toBe(true);
    await subscription.unsubscribe();
    const sub = await MosquittoProgram.subscribed(server, '%x', '-t', 'large/out', '-C', '1');
    await jsp.publish('large/out', bytes, { qos: 1 });
    expect((await sub.messages(1))[0] === bytes.toString('hex')).toBe(true);
    expect((await sub.ended).code).toBe(0);
  });

  test('last values are kept by either, told to either, and taken away by either', async () => {
    await mosquittoPub(server.port, ['-q', '1', '-r', '-t', 'kept/mqtt', '-m', 'on']);
    await jsp.publish('kept/jsp', 'off', { qos: 1, retain: true });
    const seen = async (): Promise<string[]> => {
      const sub = await MosquittoProgram.subscribed(server, '%r %t %p', '-t', 'kept/#');
      await jsp.publish('kept/end', '', { qos: 1 });
      const messages = await sub.messages(1);
      await sub.until((out) => out.includes('kept/end'));
      sub.process.kill();
      return (await sub.messages(messages.length)).filter((line) => line.startsWith('1')).sort();
    };
    expect(await seen()).toEqual(['1 kept/jsp off', '1 kept/mqtt on']);
    await mosquittoPub(server.port, ['-q', '1', '-r', '-t', 'kept/jsp', '-n']);
    await jsp.publish('kept/mqtt', '', { qos: 1, retain: true });
    expect(await seen()).toEqual([]);
  });

  test('mosquitto_rr is answered by a jsp client', async () => {
    const service = await jsp.reply('service/upper', (request) => request.text().toUpperCase());
    const ask = [
      '-p',
      `${server.port}`,
      '-t',
      'service/upper',
      '-e',
      'answers/to/me',
      '-m',
      'hello',
      '-W',
      '100',
    ];
    const { out, code } = await new MosquittoProgram('mosquitto_rr', ask).ended;
    expect([code, out]).toEqual([0, 'HELLO\n']);
    await service.unsubscribe();
  });

  test('a mosquitto_sub that is killed leaves its will', async () => {
    const heard: string[] = [];
    const subscription = await jsp.subscribe(
      'wills/+',
      ({ topic, payload }) => void heard.push(`${topic} ${payload}`),
    );
    const will = ['--will-topic', 'wills/sub', '--will-payload', 'gone', '--will-qos', '1'];
    const sub = await MosquittoProgram.subscribed(server, '%p', '-t', 'x', ...will);
    sub.process.kill('SIGKILL');
    await until(() => heard.length > 0);
    expect(heard).toEqual(['wills/sub gone']);
    await subscription.unsubscribe();
  });

  test('a persistent session has what was published while it was away, of each version', async () => {
    for (const version of VERSIONS) {
      const session = [
        '-p',
        `${server.port}`,
        '-V',
        version,
        '-c',
        '-i',
        `away-${version}`,
        '-q',
        '1',
        '-t',
        `away/${version}`,
      ];
      expect((await new MosquittoProgram('mosquitto_sub', [...session, '-E']).ended).code).toBe(0);
      await jsp.publish(`away/${version}`, 'one', { qos: 1 });
      await mosquittoPub(server.port, ['-q', '1', '-t', `away/${version}`, '-m', 'two']);
      const back = await new MosquittoProgram('mosquitto_sub', [...session, '-C', '2']).ended;
      expect([back.code, back.out]).toEqual([0, 'one\ntwo\n']);
    }
  });

  test('of MQTT 5 QoS 2 is not supported, which mosquitto_pub is told before it tries', async () => {
    const { err } = await mosquittoPub(server.port, ['-V', 'mqttv5', '-q', '2', '-t', 'a', '-m', 'x']);
    expect(err).toMatch(/QoS/i);
  });

  test('a password is an API key; without a good one there is no way in', async () => {
    const key = makeApiKey('sensor');
    const rules = [{ allow: ['publish'], topics: ['allowed/#'] }] as const;
    const strict = await mqttInMemory({}, { auth: { keys: [{ id: 'sensor', hash: key.hash, rules }] } });
    const pub = (...args: string[]) => mosquittoPub(strict.port, ['-q', '1', '-m', 'x', ...args]);
    expect((await pub('-t', 'allowed/a', '-u', 'anybody', '-P', key.text)).code).toBe(0);
    expect((await pub('-V', 'mqttv5', '-t', 'allowed/a', '-u', 'anybody', '-P', key.text)).code).toBe(0);
    const refused = await pub('-V', 'mqttv5', '-t', 'other/a', '-u', 'anybody', '-P', key.text);
    expect(refused.err).toMatch(/not authori[sz]ed/i);
    for (const wrong of [['-u', 'anybody', '-P', `${key.text}x`], []]) {
      expect((await pub('-t', 'allowed/a', ...wrong)).code).not.toBe(0);
      expect((await pub('-V', 'mqttv5', '-t', 'allowed/a', ...wrong)).code).not.toBe(0);
    }
    await strict.close();
  });

  test('over TLS, with a certificate that the client checks', async () => {
    const folder = emptyFolder();
    for (const [name, pem] of [
      ['cert', ONE.cert],
      ['key', ONE.key],
    ])
      writeFileSync(join(folder, name), pem);
    const tls = await mqttInMemory({ tls: { cert: join(folder, 'cert'), key: join(folder, 'key') } });
    const trusting = ['-h', 'localhost', '--cafile', join(folder, 'cert')];
    const sub = await MosquittoProgram.subscribed(tls, '%p', ...trusting, '-t', 'secret');
    expect(
      (await mosquittoPub(tls.port, [...trusting, '-q', '1', '-t', 'secret', '-m', 'over TLS'])).code,
    ).toBe(0);
    expect(await sub.messages(1)).toEqual(['over TLS']);
    expect((await mosquittoPub(tls.port, ['-t', 'secret', '-m', 'plain'])).code).not.toBe(0);
    sub.process.kill();
    await tls.close();
  });
});
