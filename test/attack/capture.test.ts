import { deflateRawSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { IDENTITY, Pair } from '../protocol/connection/pair.ts';

describe('a capture of a whole session', () => {
  test("shows nothing of messages, labels, reasons or the server's identity", () => {
    const pair = new Pair({ seed: 3, link: { delayMs: 10, loss: 0.05 } }).connected();
    const secrets: Uint8Array[] = [IDENTITY.publicKey, IDENTITY.fingerprint];
    for (let i = 0; i < 40; i++) {
      const label = `plant/line-${i}/temperature`;
      const text = `PUBLISH sensors/${i}/door-code ${'4711 is the code; '.repeat(1 + (i % 30))}`;
      secrets.push(Buffer.from(label), Buffer.from(text));
      const side = i % 2 === 0 ? pair.client : pair.server;
      const stream = side.open({ label });
      side.send(stream, text);
    }
    pair.until(() => pair.client.messages.size + pair.server.messages.size === 40);
    const reason = 'the operator has gone home';
    secrets.push(Buffer.from(reason));
    pair.client.close('application', 4_711, reason);
    pair.toTheEnd();
    const datagrams = [...pair.client.sent, ...pair.server.sent].map(({ data }) => Buffer.from(data));
    expect(datagrams.length).toBeGreaterThan(20);
    const seen = new Set<string>();
    for (const datagram of datagrams) {
      for (let at = 0; at + WINDOW <= datagram.length; at++)
        seen.add(datagram.toString('latin1', at, at + WINDOW));
    }
    for (const secret of secrets) {
      for (let at = 0; at + WINDOW <= secret.length; at++) {
        const piece = Buffer.from(secret).toString('latin1', at, at + WINDOW);
        expect(seen.has(piece), `"${piece}" is readable`).toBe(false);
      }
    }
  });

  test('looks like noise, even where all that is sent is zeros', () => {
    const pair = new Pair().connected();
    const stream = pair.client.open();
    for (let i = 0; i < 200; i++) pair.client.send(stream, new Uint8Array(1_000));
    pair.until(() => pair.server.messages.get(stream.id)?.length === 200);
    // Without the first byte and the id, which are the same in every packet of a direction.
    const noise = Buffer.concat(pair.client.sent.map(({ data }) => data.subarray(9)));
    expect(noise.length).toBeGreaterThan(200_000);
    expect(deflateRawSync(noise, { level: 9 }).length).toBeGreaterThan(noise.length * 0.99);
  });

  test('never shows the same sealed bytes twice, not even of messages that were sent again [FRM-5]', () => {
    const pair = new Pair({ seed: 9, link: { delayMs: 10, loss: 0.3 } }).connected();
    const stream = pair.client.open();
    for (let i = 0; i < 100; i++) pair.client.send(stream, 'the same words each time');
    pair.until(() => pair.server.messages.get(stream.id)?.length === 100);
    expect(pair.client.core.counters.packetsLost).toBeGreaterThan(0);
    const seen = new Set<string>();
    for (const { data } of [...pair.client.sent, ...pair.server.sent]) {
      for (let at = 12; at + 16 <= data.length; at += 16) {
        const block = Buffer.from(data).toString('latin1', at, at + 16);
        expect(seen.has(block)).toBe(false);
        seen.add(block);
      }
    }
  });

  test('tells two sessions with the same messages apart', () => {
    const run = (seed: number) => {
      const pair = new Pair({ seed }).connected();
      pair.client.send(pair.client.open(), 'attack at dawn');
      pair.run(100);
      return new Set(pair.client.sent.map(({ data }) => Buffer.from(data.subarray(9)).toString('latin1')));
    };
    const [one, other] = [run(1), run(2)];
    for (const datagram of one) expect(other.has(datagram)).toBe(false);
  });
});

/** Shorter pieces may come about by chance. */
const WINDOW = 6;
