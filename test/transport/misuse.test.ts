import { describe, expect, test } from 'vitest';
import { connect } from '../../src/index.ts';
import { labPair } from './lab-pair.ts';

const invalid = expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' });

describe('a value that cannot go over the wire is refused where it is given, and nothing else happens', () => {
  test.each([-1, 1.5, Number.NaN, 2 ** 53, null as never, '7' as never])('code %s', async (code) => {
    const { lab, client, accepted } = await labPair();
    const stream = client.openStream();
    expect(() => stream.reset(code)).toThrow(invalid);
    expect(() => client.destroy(code)).toThrow(invalid);
    stream.send('still open');
    await lab.settle(stream.flush());
    expect([client.isOpen, accepted.isOpen]).toEqual([true, true]);
  });

  test('a reason that is no text', async () => {
    const { lab, client, accepted } = await labPair();
    expect(() => client.destroy(1, 123 as never)).toThrow(invalid);
    expect(client.isOpen).toBe(true);
    client.destroy(Number.MAX_SAFE_INTEGER, 'a text');
    expect(await lab.settle(accepted.closed)).toMatchObject({
      applicationCode: Number.MAX_SAFE_INTEGER,
      reason: 'a text',
    });
  });

  test.each([Number.NaN, -1, '5' as never])('high-water mark %s', async (bytes) => {
    const { client } = await labPair();
    const stream = client.openStream({ highWaterMark: 1_000 });
    expect(() => {
      stream.highWaterMark = bytes;
    }).toThrow(invalid);
    expect(stream.highWaterMark).toBe(1_000);
  });

  test('bytes that were transferred away, but not an empty message', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream();
    const gone = new Uint8Array(10);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(() => stream.send(gone)).toThrow(/detached/);
    await expect(stream.sendTracked(gone)).rejects.toThrow(/detached/);
    expect(await lab.settle(stream.sendTracked(new Uint8Array(0)))).toBe('acknowledged');
  });

  test.each([5, null, undefined, new URL('jsp://x@localhost')])('%s for a URL', async (url) => {
    await expect(connect(url as never)).rejects.toMatchObject({
      code: 'ERR_JSP_URL_INVALID',
      message: expect.stringContaining('no string'),
    });
  });

  test('options that were fine once, and were changed since', async () => {
    const { lab, client } = await labPair();
    const stream = client.openStream();
    const options = { lifetimeMs: 1_000 };
    stream.send('a', options);
    for (const lifetimeMs of [Number.NaN, -5, '5' as never]) {
      options.lifetimeMs = lifetimeMs;
      expect(() => stream.send('b', options)).toThrow(invalid);
    }
    options.lifetimeMs = 2_000;
    expect(await lab.settle(stream.sendTracked('c', options))).toBe('acknowledged');
  });
});
