import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readFrontSecrets } from '../../src/broker/config/front-settings.ts';
import { startBroker as startHere } from '../../src/broker/server.ts';
import { connectClient } from '../../src/client/index.ts';
import { Identity } from '../../src/protocol/crypto/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp, jsp, jspTogether, startBroker } from './jsp.ts';

describe('jsp gateway --udp', () => {
  test('keeps clients served when one of its brokers is killed: they hear at once, and come back to the other [FRT-10, FRT-14]', async () => {
    const folder = emptyFolder();
    const file = join(folder, 'front.secret');
    const made = await jsp(['keygen', '--front', '--out', file]);
    chmodSync(file, 0o644);
    expect(made.err + made.out).toContain(file);
    const killed = await startBroker(join(folder, 'state'), '--front-secret', file);
    const identity = Identity.fromSecret(readFileSync(join(folder, 'state', 'identity'), 'utf8').trim());
    await using other = await startHere({ identity, port: 0, front: readFrontSecrets(file) });
    const front = new Jsp([
      'gateway',
      '--udp',
      '127.0.0.1:0',
      '--to',
      `${killed.url},${other.url}`,
      '--front-secret',
      file,
      '--json',
    ]);
    await front.until(({ out }) => out.split('"accepting"').length === 3);
    const events = () =>
      front.out
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line));
    const { url } = events()[0];
    const clients = [];
    // Until one is at each of them.
    while (clients.length === 0 || [0, clients.length].includes(other.metrics().clients))
      clients.push(await connectClient(url));
    killed.jsp.process.kill('SIGKILL');
    const from = performance.now();
    for (const client of clients) {
      client.publish('t', 'is anybody there?');
      client.flush().catch(() => {}); // its connection is lost
    }
    await expect.poll(() => other.metrics().clients).toBe(clients.length);
    // Below the 15 s after which heartbeats would tell.
    expect(performance.now() - from).toBeLessThan(12_000);
    expect(events().at(-1)).toMatchObject({ event: 'broker', url: killed.url, presence: 'gone' });
    for (const client of clients) await client.close();
    front.process.kill('SIGTERM');
    const { exitCode, err } = await front.ended;
    expect(exitCode).toBe(0);
    // of its secret [CFG-10]
    expect(err).toMatch(
      /^warning: --front-secret: .* everybody on this machine can read it: .*\nclosed; datagrams: \d+ went to brokers/,
    );
  });

  test('says what it lacks, and what does not go together', async () => {
    const folder = emptyFolder();
    const bad = join(folder, 'bad.secret');
    writeFileSync(bad, 'too short\n');
    const url = 'jsp://AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8@127.0.0.1:1';
    const said = await jspTogether([
      ['gateway', '--udp', '0'],
      ['gateway', '--udp', '0', '--to', url],
      ['gateway', '--to', url],
      ['gateway', '--udp', '0', '--to', url, '--http', '0'],
      ['gateway', '--udp', 'nowhere', '--to', url],
      ['gateway', '--udp', '0', '--to', url, '--front-secret', bad],
      ['broker', '--front-secret', bad],
      ['keygen', '--front', '--client'],
      ['gateway', '--help'],
    ]);
    expect(said.map(({ exitCode }) => exitCode)).toEqual([2, 2, 2, 2, 2, 1, 1, 2, 0]);
    const words = [
      '--to',
      '--front-secret',
      '--udp',
      '--http',
      '0.0.0.0:4577',
      bad,
      '[front] secret_file',
      '--front',
    ];
    for (const [i, word] of words.entries()) expect(said[i].err).toContain(word);
    expect(said[5].err).toContain('jsp keygen --front');
    expect(said.at(-1)?.out).toContain('--udp 0.0.0.0:4577 --to');
  });
});

test('a file of secrets has the current one, and perhaps the one before [FRT-1]', () => {
  const file = join(emptyFolder(), 'front.secret');
  const [one, two] = [1, 2].map((byte) => Buffer.alloc(32, byte));
  const write = (text: string) => writeFileSync(file, text);
  write(`${one.toString('base64url')}\n`);
  expect(readFrontSecrets(file)).toEqual({ secret: one, previousSecret: undefined });
  write(`# since May\n${two.toString('base64url')}\n\n${one.toString('base64url')}\n`);
  expect(readFrontSecrets(file)).toEqual({ secret: two, previousSecret: one });
  for (const text of ['', 'x', `${one.toString('hex')}\n`, `${`${one.toString('base64url')}\n`.repeat(3)}`]) {
    write(text);
    expect(() => readFrontSecrets(file)).toThrow('must be a line of 43 characters');
  }
  chmodSync(file, 0);
  expect(() => readFrontSecrets(join(file, 'x'))).toThrow('cannot be read');
});
