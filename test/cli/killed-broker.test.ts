import { describe, expect, test } from 'vitest';
import { connectClient } from '../../src/client/index.ts';
import { ownPort } from '../own-port.ts';
import { Jsp, startBroker } from './jsp.ts';

describe('a broker that is killed and started again with its identity and port', () => {
  test('tells a publisher within a round trip of its next message that its connection is gone [PKT-22] [PKT-24]', async () => {
    const port = `${await ownPort()}`;
    const first = await startBroker(undefined, '--port', port);
    const publisher = await connectClient(first.url, { reconnect: false });
    publisher.publish('t', 'before');
    await publisher.flush();
    first.jsp.process.kill('SIGKILL');
    await first.jsp.ended;
    const second = new Jsp(['broker', '--port', port, '--state', first.state]);
    await second.until(({ out }) => out.includes('\n'));
    expect(second.out).toBe(`${first.url}\n`);
    const begun = performance.now();
    publisher.publish('t', 'after');
    const error = await publisher.closed;
    expect(error).toMatchObject({ code: 'ERR_JSP_STATELESS_RESET' });
    // Far below every timeout that could end it otherwise: the heartbeats need 15 s.
    expect(performance.now() - begun).toBeLessThan(10_000);
    const next = await connectClient(first.url, { reconnect: false });
    next.publish('t', 'and on');
    await next.flush();
    await next.close();
  });
});
