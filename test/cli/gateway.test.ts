import { describe, expect, test } from 'vitest';
import { httpAddress } from '../../src/cli/gateway.ts';
import { Jsp, jsp, startBroker } from './jsp.ts';

const post = (url: string, topic: string, body: string) =>
  fetch(`${url}/v1/topics/${topic}`, { method: 'POST', body }).then((answer) => answer.status);

/** What it says of where its dashboard is. */
async function addressOf(broker: Jsp): Promise<string> {
  await broker.until(({ err }) => ADDRESS.test(err));
  return ADDRESS.exec(broker.err)?.[1] ?? '';
}

const ADDRESS = /dashboard and HTTP: (http:\/\/127\.0\.0\.1:\d+)/;

test('jsp broker --http tells where its dashboard is, and what is published there comes out of jsp sub', async () => {
  const broker = await startBroker(undefined, '--http', '127.0.0.1:0');
  const { url } = broker;
  const http = await addressOf(broker.jsp);
  const sub = await new Jsp(['sub', 'demo/#', '--count', '2', '--url', url]).until(({ err }) =>
    err.includes('subscribed'),
  );
  expect(await post(http, 'demo/a', 'from curl')).toBe(200);
  const gateway = await new Jsp(['gateway', '--broker', url, '--http', '0']).until(({ out }) =>
    out.includes('\n'),
  );
  expect(await post(gateway.out.trim(), 'demo/b', 'over UDP')).toBe(200);
  expect((await sub.ended).out).toMatch(/from curl[\s\S]*over UDP/);
  for (const each of [gateway, broker.jsp]) {
    each.process.kill('SIGTERM');
    const { exitCode, err } = await each.ended;
    expect([exitCode, err]).toEqual([0, expect.stringContaining('closed')]);
  }
});

test('jsp gateway says what to do when it cannot listen', async () => {
  const broker = await startBroker(undefined, '--http', '127.0.0.1:0');
  const { url } = broker;
  const http = await addressOf(broker.jsp);
  const taken = await jsp(['gateway', '--broker', url, '--http', new URL(http).host]);
  expect([taken.exitCode, taken.err]).toEqual([1, expect.stringMatching(/--http.*ERR_JSP_SOCKET/s)]);
  expect((await jsp(['gateway', '--http', 'nonsense'])).exitCode).toBe(2);
});

describe('the argument of --http', () => {
  test('is an address and a port, or a port', () => {
    expect(httpAddress('4580')).toEqual({ host: '127.0.0.1', port: 4580 });
    expect(httpAddress(':4580')).toEqual({ host: '127.0.0.1', port: 4580 });
    expect(httpAddress('0.0.0.0:80')).toEqual({ host: '0.0.0.0', port: 80 });
    expect(httpAddress('[::1]:80')).toEqual({ host: '::1', port: 80 });
    expect(httpAddress('name.example.org:80')).toEqual({ host: 'name.example.org', port: 80 });
    for (const wrong of ['', 'x', '::1:80', '1:99999', '[1.2.3.4]:80', '127.0.0.1', '[::1]']) {
      expect(() => httpAddress(wrong)).toThrow('It must be');
    }
  });
});
