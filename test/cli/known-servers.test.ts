import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { KnownServers, knownServers } from '../../src/cli/known-servers.ts';
import { emptyFolder } from '../empty-folder.ts';

const SERVER = 'fingerprint@broker.example.org:4577';

describe('what commands remember of servers', () => {
  const fresh = () => join(emptyFolder(), 'cache', 'servers.json');

  test('is given back in another run, the newest first, and each once', () => {
    const file = fresh();
    for (const byte of [1, 2, 3]) new KnownServers(file).put(SERVER, Uint8Array.of(byte));
    const taken = Array.from({ length: 3 }, () => new KnownServers(file).take(SERVER));
    expect(taken.map((token) => token?.[0] ?? null)).toEqual([3, 2, null]);
    expect(new KnownServers(file).take('another')).toBeNull();
  });

  test('a ticket is given back once, beside the tokens', () => {
    const known = new KnownServers(fresh());
    known.put(SERVER, Uint8Array.of(1));
    known.putTicket(SERVER, Uint8Array.of(2));
    known.putTicket(SERVER, Uint8Array.of(3));
    expect(known.takeTicket(SERVER)).toEqual(Buffer.of(3));
    expect(known.takeTicket(SERVER)).toBeNull();
    expect(known.takeTicket('another')).toBeNull();
    expect(known.take(SERVER)).toEqual(Buffer.of(1));
  });

  test('is for its owner alone to read, and of no more than 64 servers', () => {
    const file = fresh();
    const known = new KnownServers(file);
    for (let i = 0; i < 70; i++) known.put(`server ${i}`, Uint8Array.of(i));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(Object.keys(JSON.parse(readFileSync(file, 'utf8')))).toHaveLength(64);
    expect(known.take('server 5')).toBeNull();
    expect(known.take('server 69')).toEqual(Buffer.of(69));
  });

  test.each(['', '{', '[]', '7', '{"a":null}', '{"a":{"tokens":[1]}}', '{"a":{"tokens":[],"ticket":1}}'])(
    'that is damaged (%s) is nothing, and is written anew',
    (text) => {
      const file = join(emptyFolder(), 'servers.json');
      writeFileSync(file, text);
      const known = new KnownServers(file);
      expect(known.take('a')).toBeNull();
      known.put('a', Uint8Array.of(1));
      expect(known.take('a')).toEqual(Buffer.of(1));
    },
  );

  test('is forgotten where nothing can be written, and kept nowhere for who wants that', () => {
    const known = new KnownServers('/proc/nowhere/servers.json');
    known.put(SERVER, Uint8Array.of(1));
    expect(known.take(SERVER)).toBeNull();
    expect(knownServers({ JSP_CACHE: '' })).toBe(false);
    const folder = emptyFolder();
    const chosen = knownServers({ JSP_CACHE: folder });
    if (chosen !== false) chosen.put(SERVER, Uint8Array.of(1));
    expect(readFileSync(join(folder, 'servers.json'), 'utf8')).toContain(SERVER);
  });
});
