import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Message } from '../../src/web/message.ts';
import { settled } from './played-gateway.ts';
import { PlayedLog } from './played-log.ts';

const step = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ what: 'publish' as const, which: 0 }) },
  { weight: 4, arbitrary: fc.record({ what: fc.constantFrom('deliver' as const), which: fc.nat(5) }) },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constantFrom('ack' as const, 'nack' as const), which: fc.nat(20) }),
  },
  { weight: 3, arbitrary: fc.record({ what: fc.constantFrom('read' as const), which: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.constant({ what: 'break' as const, which: 0 }) },
);

test('[WEB-5, WEB-6] whenever the connection breaks, what is published is stored once and in order, and what is read is read, and once where it was acknowledged', async () => {
  let breaks = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 100, size: 'max' }), async (steps) => {
      const log = new PlayedLog();
      const client = await log.gateway.connected();
      const received: Message[] = [];
      const acknowledged = new Set<number>();
      const published: string[] = [];
      const settledTexts: string[] = [];
      const opening = client.subscribe('t', (message) => void received.push(message), {
        qos: 1,
        ack: 'manual',
        from: 'earliest',
        maxUnacked: 8,
      });
      await settled();
      log.readOn(true);
      await opening;
      // Once acknowledged, a message does not come again; one that comes again says so.
      const handed = new Set<number>();
      let seen = 0;
      const look = (): void => {
        for (const { offset = 0, redelivered } of received.slice(seen)) {
          expect(acknowledged.has(offset)).toBe(false);
          if (handed.has(offset)) expect(redelivered).toBe(true);
          handed.add(offset);
        }
        seen = received.length;
      };
      const publish = (): void => {
        const text = `${published.length}`;
        published.push(text);
        void client.publish('t', text, { qos: 1 }).then(() => settledTexts.push(text));
      };
      for (const { what, which } of steps) {
        const message = received.length === 0 ? undefined : received[which % received.length];
        if (what === 'publish') publish();
        else if (what === 'deliver') log.deliver(which);
        else if (what === 'ack' && message?.ack()) acknowledged.add(message.offset as number);
        else if (what === 'nack') message?.nack();
        else if (what === 'read') log.readOn(which === 1);
        else if (what === 'break') {
          breaks++;
          await log.reconnect();
        }
        await log.gateway.pass();
        look();
      }
      // In the end nothing is in the way any more.
      for (let i = 0; i < 60 && (acknowledged.size < published.length || client.unconfirmed > 0); i++) {
        log.readOn(true);
        await log.gateway.pass();
        log.deliver(8);
        await log.gateway.pass();
        look();
        for (const message of received) if (message.ack()) acknowledged.add(message.offset as number);
        await log.gateway.pass();
      }
      expect(log.stored.map(({ text }) => text)).toEqual(published);
      expect(settledTexts).toEqual(published);
      expect([...acknowledged].sort((a, b) => a - b)).toEqual(published.map((_, i) => i + 1));
      client.destroy();
    }),
    { numRuns: 120 },
  );
  expect(breaks).toBeGreaterThan(150);
});
