import { describe, expect, test } from 'vitest';
import type { Connection } from '../../src/index.ts';
import type { GoAwayNotice } from '../../src/transport/go-away.ts';
import { labPair } from './lab-pair.ts';
import { timersOf } from './lab-timers.ts';
import { echo, take } from './served.ts';

const OTHER = `jsp://${'A'.repeat(43)}@example.org:4577`;

describe('goAway [CON-100]', () => {
  test('tells clients where to go and when, serves them on, and closes when they have gone', async () => {
    const { lab, listener, client, accepted } = await labPair();
    const timers = timersOf(lab);
    echo(accepted);
    const notices: GoAwayNotice[] = [];
    client.on('goaway', (notice) => notices.push(notice));
    let isOver = false;
    const going = listener.goAway({ url: OTHER, withinMs: 20_000 }).then(() => {
      isOver = true;
    });
    await lab.run(100);
    expect(notices).toEqual([{ url: OTHER, withinMs: 20_000 }]);
    const stream = client.openStream();
    stream.send('still here?');
    expect(`${(await lab.settle(take(stream, 1)))[0]}`).toBe('still here?');
    expect(isOver).toBe(false);
    await lab.settle(client.close());
    await lab.settle(going);
    await lab.run(1_000); // the client has lingered
    expect(lab.now).toBeLessThan(20_000_000);
    expect(timers.size).toBe(0); // nor does one wait for the time to be over
  });

  test('closes what is left when the time is over, gracefully', async () => {
    const { lab, listener, client, accepted } = await labPair({ bitsPerSecond: 1_000_000 });
    accepted.openStream({ label: 'bulk' }).send(Buffer.alloc(1_000_000, 7)); // 8 s on this link
    const got: number[] = [];
    client.on('stream', (stream) => stream.on('message', ({ length }) => got.push(length)));
    const from = lab.now;
    await lab.settle(listener.goAway({ withinMs: 1_000 }));
    expect(got).toEqual([1_000_000]);
    expect(lab.now - from).toBeGreaterThan(5_000_000);
    expect(await client.closed).toBeNull();
  });

  test('refuses those who come meanwhile, also those whose handshake is under way', async () => {
    const { lab, listener, join, client } = await labPair();
    void listener.goAway({ withinMs: 20_000 });
    await expect(join('late')).rejects.toMatchObject({ code: 'ERR_JSP_SERVER_CLOSING' });
    expect(client.isOpen).toBe(true);
    await lab.settle(Promise.all([client.close(), listener.close()]));
  });

  test('ends at once by a close, or by its signal', async () => {
    const by = [
      (listener: { close(options: object): Promise<void> }) => void listener.close({ timeoutMs: 0 }),
      (_: unknown, controller: AbortController) => controller.abort(),
    ];
    for (const end of by) {
      const { lab, listener } = await labPair();
      const controller = new AbortController();
      const going = listener.goAway({ withinMs: 60_000, signal: controller.signal });
      await lab.run(50);
      end(listener, controller);
      const from = lab.now;
      await lab.settle(going);
      expect(lab.now - from).toBeLessThan(10_000_000);
    }
  });

  test('is heard by a client that listens for it later', async () => {
    const { lab, listener, client } = await labPair();
    void listener.goAway({ withinMs: 5_000 });
    await lab.run(100);
    const heard: GoAwayNotice[] = [];
    client.on('goaway', (notice) => heard.push(notice));
    await lab.run(1);
    expect(heard).toEqual([{ url: null, withinMs: 5_000 }]);
    await lab.settle(Promise.all([client.close(), listener.close()]));
  });

  test('takes a URL with a fingerprint that fits a packet, and nothing else', async () => {
    const { lab, listener, client } = await labPair();
    const refused = { code: 'ERR_JSP_OPTION_INVALID' };
    for (const url of ['jsp://example.org', 'https://example.org', '', `${OTHER}/path`])
      await expect(listener.goAway({ url })).rejects.toMatchObject(refused);
    await expect(listener.goAway({ within: 5 } as never)).rejects.toMatchObject(refused);
    expect(client.isOpen).toBe(true);
    await lab.settle(Promise.all([client.close(), listener.close()]));
  });

  test('ends an iteration over the listener, for nobody comes any more', async () => {
    const { lab, listener, client } = await labPair();
    const seen: Connection[] = [];
    const looping = (async () => {
      for await (const connection of listener) seen.push(connection);
    })();
    void listener.goAway({ withinMs: 1_000 });
    await lab.settle(looping);
    await lab.settle(Promise.all([client.close(), listener.close()]));
  });
});
