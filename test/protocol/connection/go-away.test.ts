import { describe, expect, test } from 'vitest';
import { SECOND } from '../../../src/base/time.ts';
import type { EndpointEvent } from '../../../src/protocol/endpoint/index.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { writeGoAway } from '../../../src/protocol/wire/frames/go-away.ts';
import { Pair } from './pair.ts';
import { frame, Rogue } from './rogue.ts';

const URL = `jsp://${'A'.repeat(43)}@example.org:4577`;

describe('GOAWAY [CON-100]', () => {
  test('tells the client when the server closes and where to go, and the connection goes on', () => {
    const pair = new Pair().connected();
    announce(pair, URL, 10_000);
    pair.run(100);
    expect(heard(pair)).toEqual([{ delayMs: 10_000, url: URL }]);
    pair.echo();
  });

  test('is sent again while it is lost, with what is left of the time', () => {
    const pair = new Pair({ link: { delayMs: 5 } }).connected();
    pair.server.filter = () => [];
    announce(pair, '', 10_000);
    pair.run(2_000);
    pair.server.filter = null;
    pair.until(() => heard(pair).length > 0, 5_000);
    const [{ delayMs, url }] = heard(pair);
    expect(url).toBe('');
    expect(delayMs).toBeGreaterThan(4_000);
    expect(delayMs).toBeLessThanOrEqual(8_000);
    pair.run(3_000);
    expect(heard(pair)).toHaveLength(1);
  });

  test('fits the smallest packets with the longest URL that a server may send, beside all else that is due', () => {
    const pair = new Pair({
      client: { mtu: 512, mtuMax: 512 },
      server: { mtu: 512, mtuMax: 512 },
    }).connected();
    const long = `jsp://${'A'.repeat(43)}@${'a'.repeat(400 - 6 - 43 - 1 - 5)}:4577`;
    expect(long).toHaveLength(400);
    const stream = pair.client.open();
    for (let i = 0; i < 20; i++) pair.client.send(stream, 'x'.repeat(400));
    announce(pair, long, 1_000);
    pair.run(200);
    expect(heard(pair).map(({ url }) => url)).toEqual([long]);
  });

  test('is announced once and heard once: what a server says after that is a repetition [FRM-22]', () => {
    const pair = new Pair().connected();
    announce(pair, URL, 10_000);
    announce(pair, '', 1);
    pair.run(100);
    const rogue = new Rogue(pair, 'server');
    rogue.send(goAway(0, 'jsp://elsewhere'), goAway(7, ''));
    expect(heard(pair)).toEqual([{ delayMs: 10_000, url: URL }]);
    expect(rogue.victimClosed).toBeNull();
  });

  test('of a client closes the connection with PROTOCOL_VIOLATION [FRM-4]', () => {
    const rogue = new Rogue(new Pair().connected());
    rogue.send(goAway(0, ''));
    expect(rogue.victimClosed?.code).toBe(0x0a);
    expect(rogue.frames(FrameType.CONNECTION_CLOSE)).not.toEqual([]);
  });
});

function announce(pair: Pair, url: string, withinMs: number): void {
  pair.server.core.control.goAway.announce(Buffer.from(url), pair.now + (withinMs * SECOND) / 1_000);
  pair.server.node.wake();
}

function heard(pair: Pair): { delayMs: number; url: string }[] {
  return pair.client.events
    .filter((event): event is EndpointEvent & { type: 'goAway' } => event.type === 'goAway')
    .map(({ delayMs, url }) => ({ delayMs, url }));
}

function goAway(delayMs: number, url: string): Uint8Array {
  return frame((w) => writeGoAway(w, delayMs, Buffer.from(url)));
}
