import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { connectClient } from '../../src/client/index.ts';
import { reachableAddress } from '../../src/udp/addresses.ts';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp, jsp, startBroker } from './jsp.ts';

describe('jsp broker', () => {
  test('prints its URL as the first line of stdout, when it can be connected to, and leaves it in the state directory', async () => {
    const { url, state, jsp: broker } = await startBroker();
    expect(url).toMatch(/^jsp:\/\/[\w-]{43}@127\.0\.0\.1:\d+$/);
    expect(readFileSync(join(state, 'url'), 'utf8')).toBe(`${url}\n`);
    const ping = await jsp(['ping', '--count', '1', '--url', url]);
    expect(ping.exitCode).toBe(0);
    expect(broker.out).toBe(`${url}\n`);
    expect(broker.err).toContain('broker listens on 127.0.0.1');
  });

  test('keeps its identity in a file that only its owner can read, and with it its fingerprint', async () => {
    const first = await startBroker();
    const file = join(first.state, 'identity');
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(first.state).mode & 0o777).toBe(0o700);
    first.jsp.process.kill('SIGTERM');
    await first.jsp.ended;
    const second = await startBroker(first.state);
    expect(second.url.split('@')[0]).toBe(first.url.split('@')[0]);
    expect(second.jsp.err).not.toContain('warning');
  });

  test('leaves no draft behind where its URL cannot be written', async () => {
    const state = join(emptyFolder(), 'state');
    mkdirSync(join(state, 'url'), { recursive: true });
    const { exitCode, err } = await jsp(['broker', '--port', '0', '--state', state]);
    expect([exitCode, err]).toEqual([1, expect.stringContaining('ERR_JSP_STATE_DIRECTORY')]);
    expect(readdirSync(state).sort()).toEqual(['identity', 'url']);
  });

  test('makes an identity file private that others could read, and says so', async () => {
    const state = join(emptyFolder(), 'state');
    mkdirSync(state);
    expect((await jsp(['keygen', '--out', join(state, 'identity')])).exitCode).toBe(0);
    chmodSync(join(state, 'identity'), 0o644);
    const { jsp: broker } = await startBroker(state);
    expect(statSync(join(state, 'identity')).mode & 0o777).toBe(0o600);
    expect(broker.err).toContain('could be read by others');
  });

  test('has its state directory for itself: another broker there ends with an error, and the URL stays the first one’s', async () => {
    const { url, state, jsp: first } = await startBroker();
    const second = await jsp(['broker', '--port', '0', '--state', state]);
    expect(second.exitCode).toBe(1);
    expect(second.err).toContain(`in use by another broker, process ${first.process.pid}`);
    expect(second.err).toContain('ERR_JSP_STATE_DIRECTORY');
    expect(readFileSync(join(state, 'url'), 'utf8')).toBe(`${url}\n`);
    first.process.kill('SIGTERM');
    await first.ended;
    expect((await startBroker(state)).url.split('@')[0]).toBe(url.split('@')[0]);
  });

  test('takes over the state directory of one that was killed', async () => {
    const { state, jsp: first } = await startBroker();
    first.process.kill('SIGKILL');
    await first.ended;
    expect((await startBroker(state)).jsp.err).not.toContain('in use');
  });

  test('goes on when nobody reads its output any more, stderr included', async () => {
    const { state, url, jsp: broker } = await startBroker();
    broker.process.stdout?.destroy();
    broker.process.stderr?.destroy();
    broker.process.kill('SIGTERM'); // it has something to say
    expect((await broker.ended).exitCode).toBe(0);
    expect(readFileSync(join(state, 'url'), 'utf8')).toBe(`${url}\n`);
  });

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'delivers what is queued and ends with 0 at %s',
    async (signal) => {
      const { jsp: broker, url } = await startBroker();
      const client = await connectClient(url, { reconnect: false });
      const numbers: string[] = [];
      const lost = once(client, 'close');
      await client.subscribe('numbers', (message) => void numbers.push(message.text()));
      const published = Array.from({ length: 20_000 }, (_, i) => `${i}`);
      for (const number of published) client.publish('numbers', number);
      await client.flush();
      broker.process.kill(signal);
      const ended = await broker.ended;
      expect([ended.exitCode, ended.signal]).toEqual([0, null]);
      expect(ended.err).toContain(`${signal}: delivering`);
      const [error] = (await lost) as [Error];
      expect(error.message).toContain('SHUTTING_DOWN');
      expect(numbers).toEqual(published);
    },
  );

  test('says what happened and ends with 1 when its socket fails for good [BRK-37]', async () => {
    const preload = fileURLToPath(new URL('./breaking-socket.cjs', import.meta.url));
    const env = { NODE_OPTIONS: `--require "${preload}"`, JSP_NATIVE: '0' }; // it is Node's sockets that it breaks
    const broker = await new Jsp(['broker', '--port', '0'], { env }).until(({ out }) => out.includes('\n'));
    broker.process.kill('SIGUSR2');
    const { exitCode, err } = await broker.ended;
    expect(exitCode).toBe(1);
    expect(err).toMatch(/\njsp: the socket failed: recvmsg EBADF \(ERR_JSP_SOCKET\)\n$/);
  });

  test('stops when the shell that npm has started it with is gone', async () => {
    const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
    const command = `"${process.execPath}" "${main}" broker --port 0; true`;
    const shell = spawn('sh', ['-c', command], {
      cwd: emptyFolder(),
      env: { ...process.env, npm_command: 'exec' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let err = '';
    shell.stderr.on('data', (chunk: Buffer) => {
      err += chunk.toString();
    });
    await once(shell.stdout, 'data');
    shell.kill('SIGTERM');
    await once(shell.stderr, 'end'); // the broker has it open as long as it runs
    expect(err).toMatch(/SIGTERM: delivering.*\nclosed; /);
  });

  test('says what to do when its port is taken', async () => {
    const other = createSocket('udp4').bind(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const { exitCode, out, err } = await jsp(['broker', '--port', String(port)]);
    other.close();
    expect(exitCode).toBe(1);
    expect(out).toBe('');
    expect(err).toMatch(/^jsp: .*EADDRINUSE.*choose another with --port\. \(ERR_JSP_SOCKET\)\n$/);
  });

  test('says what to do when its state directory cannot be used', async () => {
    const file = join(emptyFolder(), 'file');
    writeFileSync(file, '');
    const { exitCode, err } = await jsp(['broker', '--port', '0', '--state', file]);
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^jsp: state directory .*with --state \(ERR_JSP_STATE_DIRECTORY\)\n$/);
  });

  test('does not replace an identity that is damaged', async () => {
    const state = emptyFolder();
    writeFileSync(join(state, 'identity'), 'nonsense\n', { mode: 0o600 });
    const { exitCode, err } = await jsp(['broker', '--port', '0', '--state', state]);
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^jsp: state directory .*identity is damaged: .* \(ERR_JSP_STATE_DIRECTORY\)\n$/);
    expect(readFileSync(join(state, 'identity'), 'utf8')).toBe('nonsense\n');
  });

  test('warns that anyone with the URL may publish when it listens beyond loopback', async () => {
    const broker = new Jsp(['broker', '--port', '0', '--host', '0.0.0.0']);
    await broker.until(({ out }) => out.includes('\n'));
    expect(broker.err).toMatch(/warning: listening on 0\.0\.0\.0: anyone who has the URL .*may publish/);
  });

  test('that listens on all addresses prints one that others reach, or what it was told to', async () => {
    const anywhere = new Jsp(['broker', '--port', '0', '--host', '0.0.0.0']);
    await anywhere.until(({ out }) => out.includes('\n'));
    expect(new URL(anywhere.out).hostname).toBe(await reachableAddress('0.0.0.0')); // [URL-8]
    expect((await jsp(['ping', '--count', '1', '--url', anywhere.out.trim()])).exitCode).toBe(0);

    const named = new Jsp(['broker', '--port', '0', '--advertise', 'Broker.example.org:5000']);
    await named.until(({ out }) => out.includes('\n'));
    expect(named.out).toMatch(/@broker\.example\.org:5000\n$/);

    const { exitCode, err } = await jsp(['broker', '--advertise', 'not a host']);
    expect(exitCode).toBe(2);
    expect(err).toMatch(/"not a host" cannot be advertised: .* \(ERR_JSP_USAGE\)\n$/);
  });

  test('refuses a port that is none', async () => {
    const { exitCode, err } = await jsp(['broker', '--port', '70000']);
    expect(exitCode).toBe(2);
    expect(err).toMatch(/whole number from 0 to 65535\. \(ERR_JSP_USAGE\)/);
  });
});
