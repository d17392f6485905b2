import { expect, test } from 'vitest';
import { MqttPeer } from '../gateway/mqtt/mqtt-peer.ts';
import { Jsp, jsp, startBroker } from './jsp.ts';

const ADDRESS = /MQTT: mqtt:\/\/127\.0\.0\.1:(\d+)/;

test('jsp broker --mqtt tells where its door is; what is published there comes out of jsp sub, and the clients hear that it goes [MQT-1] [BRK-102]', async () => {
  const broker = await startBroker(undefined, '--mqtt', '127.0.0.1:0');
  await broker.jsp.until(({ err }) => ADDRESS.test(err));
  const port = Number(ADDRESS.exec(broker.jsp.err)?.[1]);
  const sub = await new Jsp(['sub', '#', '--count', '1', '--url', broker.url]).until(({ err }) =>
    err.includes('subscribed'),
  );
  const will = { topic: 'wills/1', payload: Buffer.from('gone'), qos: 1 as const };
  const client = await MqttPeer.welcomed(port, { clientId: 'device', will });
  await client.publish('demo/a', 'from MQTT', { qos: 1 });
  expect((await sub.ended).out).toContain('from MQTT');
  const taken = await jsp(['broker', '--port', '0', '--mqtt', `127.0.0.1:${port}`]);
  expect([taken.exitCode, taken.err]).toEqual([1, expect.stringMatching(/--mqtt.*ERR_JSP_SOCKET/s)]);
  const noTls = await jsp(['broker', '--port', '0', '--mqtt-tls', '0']);
  expect([noTls.exitCode !== 0, noTls.err]).toEqual([true, expect.stringContaining('--tls-cert')]);
  broker.jsp.process.kill('SIGTERM');
  expect((await client.hear('disconnect')).reasonCode).toBe(0x8b);
  const { exitCode } = await broker.jsp.ended;
  expect(exitCode).toBe(0);
});
