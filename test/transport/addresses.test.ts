import { describe, expect, test } from 'vitest';
import { reachableAddress } from '../../src/udp/local-addresses.ts';
import { serve } from './served.ts';

describe('a listener', () => {
  // [URL-8]
  test.each(['0.0.0.0', '::'])('on %s has a URL that names an address others reach', async (host) => {
    const listener = await serve(null, { host });
    const reachable = await reachableAddress(host);
    expect(listener.url).toContain(
      `@${reachable.includes(':') ? `[${reachable}]` : reachable}:${listener.port}`,
    );
  });

  test('has a URL that names what it is to advertise', async () => {
    const named = await serve(null, { advertise: 'Example.org' });
    expect(named.url).toMatch(new RegExp(`@example\\.org:${named.port}$`));
    const mapped = await serve(null, { advertise: '[2001:DB8::1]:443' });
    expect(mapped.url).toMatch(/@\[2001:db8::1\]:443$/);
    await expect(serve(null, { advertise: 'a b' })).rejects.toMatchObject({ code: 'ERR_JSP_OPTION_INVALID' });
  });
});
