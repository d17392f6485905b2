import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { normalAddress } from '../../src/base/ip-address.ts';
import { connect, formatServerUrl, generateIdentity, listen, parseServerUrl } from '../../src/index.ts';
import { parseAdvertised } from '../../src/transport/url.ts';

interface Vectors {
  valid: {
    text: string;
    host: string;
    port: number;
    fingerprint: string | null;
    other?: string;
    hybrid?: boolean;
    printed: string | null;
  }[];
  invalid: { text: string; reason: string }[];
}

const vectors = JSON.parse(readFileSync('spec/vectors/urls.json', 'utf8')) as Vectors;
const { fingerprint } = generateIdentity();

describe('a server URL', () => {
  // [URL-1, URL-2, URL-3, URL-4, URL-5, URL-6] [URL-9] [URL-10]
  test.each(vectors.valid)('says where a server is: $text', ({ text, host, port, ...rest }) => {
    const parsed = parseServerUrl(text);
    expect(parsed).toMatchObject({ host, port });
    const hex = parsed.fingerprint === null ? null : Buffer.from(parsed.fingerprint).toString('hex');
    expect(hex).toBe(rest.fingerprint);
    const other = parsed.otherFingerprint;
    expect(other === null ? undefined : Buffer.from(other).toString('hex')).toBe(rest.other);
    expect(parsed.isHybrid).toBe(rest.hybrid ?? false);
    if (rest.printed === null || parsed.fingerprint === null) return;
    expect(formatServerUrl(parsed.fingerprint, host, port, parsed.isHybrid)).toBe(rest.printed); // [URL-7]
    expect(parseServerUrl(rest.printed)).toEqual(parsed);
  });

  test.each(vectors.invalid)('that is none says why: $text', ({ text, reason }) => {
    expect(() => parseServerUrl(text)).toThrow(
      expect.objectContaining({
        code: 'ERR_JSP_URL_INVALID',
        message: expect.stringContaining(reason) as string,
      }),
    );
  });

  test('is read as it is written, whatever host and port', () => {
    const label = fc.stringMatching(/^[a-z][a-z0-9]{0,10}$/);
    const host = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.domain(),
      label,
      fc.constantFrom('bücher.example', 'ЯНДЕКС.рф', '例え.テスト', 'Faß.de'),
      fc
        .tuple(fc.ipV6(), fc.stringMatching(/^[\w.~:!-]{1,15}$/))
        .map(([ip, zone]) => `fe80::${ip.slice(-1).replace(':', '1')}%${zone}`),
    );
    fc.assert(
      fc.property(
        host,
        fc.integer({ min: 1, max: 65_535 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (text, port, print) => {
          const url = formatServerUrl(print, text, port);
          const parsed = parseServerUrl(url);
          expect(Buffer.from(parsed.fingerprint ?? []).equals(print)).toBe(true);
          expect(parsed.port).toBe(port);
          if (/^[\x21-\x7e]*$/.test(text))
            expect(parsed.host).toBe(
              normalAddress(text).toLowerCase().startsWith('fe80')
                ? normalAddress(text)
                : normalAddress(text.toLowerCase()),
            );
          expect(formatServerUrl(print, parsed.host, parsed.port)).toBe(url);
        },
      ),
    );
  });

  test('of what cannot be connected to is not written', () => {
    for (const [host, port] of [
      ['', 1],
      ['a b', 1],
      ['1.2.3', 1],
      ['fe80::1%', 1],
      ['example.org', 0],
      ['example.org', 65_536],
      ['example.org', 1.5],
    ] as const) {
      expect(() => formatServerUrl(fingerprint, host, port)).toThrow(
        expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
      );
    }
  });

  test('advertises a host, with a port or without', () => {
    expect(parseAdvertised('Example.org')).toEqual({ host: 'example.org', port: null });
    expect(parseAdvertised('example.org:80')).toEqual({ host: 'example.org', port: 80 });
    expect(parseAdvertised('[2001:db8::1]:80')).toEqual({ host: '2001:db8::1', port: 80 });
    expect(parseAdvertised('2001:DB8::1')).toEqual({ host: '2001:db8::1', port: null });
    expect(parseAdvertised('fe80::1%eth0')).toEqual({ host: 'fe80::1%eth0', port: null });
    for (const text of ['', ':80', 'a b', 'example.org:0', 'jsp://example.org', '1.2.3', '::1:x'])
      expect(() => parseAdvertised(text)).toThrow(
        expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' }),
      );
  });
});

describe('a URL with two fingerprints', () => {
  test.each([0, 1])('reaches a server that has the one or the other, number %i [URL-9]', async (mine) => {
    const identities = [generateIdentity(), generateIdentity({ hybrid: true })];
    await using listener = await listen({ identity: identities[mine], port: 0 });
    const [first, second] = identities.map(
      ({ fingerprintText, isHybrid }) => `${isHybrid ? 'pq.' : ''}${fingerprintText}`,
    );
    await using connection = await connect(`jsp://${first},${second}@127.0.0.1:${listener.port}`);
    expect(connection.peerIdentity).toBe(identities[mine].fingerprintText);
    expect(listener.url).toContain(`jsp://${[first, second][mine]}@`); // [URL-10] as it is printed
  });

  test('shows a ticket to the server that gave it, whichever of the two that is, and to no other [URL-9]', async () => {
    const identities = [generateIdentity(), generateIdentity()];
    const pins = identities.map(({ fingerprintText }) => fingerprintText);
    for (const mine of [0, 1]) {
      await using listener = await listen({ identity: identities[mine], port: 0 });
      const url = `jsp://${pins}@127.0.0.1:${listener.port}`;
      const connection = await connect(url);
      const [ticket] = (await once(connection, 'ticket')) as [Uint8Array];
      await connection.close();
      await using back = await connect(url, { ticket });
      expect([back.isResumed, back.peerIdentity]).toEqual([true, pins[mine]]);
      await using other = await listen({ identity: identities[1 - mine], port: 0 });
      const there = `jsp://${pins}@127.0.0.1:${other.port}`;
      await using fresh = await connect(there, { ticket });
      expect([fresh.isResumed, fresh.peerIdentity]).toEqual([false, pins[1 - mine]]);
    }
  });

  test('reaches no other [URL-9]', async () => {
    await using listener = await listen({ identity: generateIdentity(), port: 0 });
    const others = [generateIdentity(), generateIdentity()].map(({ fingerprintText }) => fingerprintText);
    const url = `jsp://${others}@127.0.0.1:${listener.port}`;
    await expect(connect(url, { handshakeTimeoutMs: 300 })).rejects.toMatchObject({
      code: 'ERR_JSP_HANDSHAKE_TIMEOUT',
    });
  });
});
