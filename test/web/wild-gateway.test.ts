import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { catchUncaught } from '../transport/uncaught.ts';
import { PlayedGateway, settled } from './played-gateway.ts';

const TYPES = [
  'welcome',
  'subscribed',
  'message',
  'position',
  'gap',
  'ended',
  'result',
  'error',
  'expiring',
  'notice',
  'goodbye',
  'more',
];
const MEMBERS = [
  'id',
  'sub',
  'topic',
  'text',
  'json',
  'base64',
  'offset',
  'epoch',
  'missed',
  'reason',
  'code',
  'message',
  'retryAfterMs',
  'headers',
  'recovered',
  'inMs',
  'pingMs',
  'correlation',
  'publishedAt',
  'status',
];
const value = fc.oneof(
  fc.integer({ min: -1, max: 4 }),
  fc.constantFrom('NOT_AUTHORIZED', 'STALLED', 'reset', 'policy', '/wA=', 't/1', true, null, 1e300, 2 ** 53),
  fc.jsonValue({ maxDepth: 1 }),
);
const frame = fc.record({
  type: fc.constantFrom(...TYPES),
  members: fc.dictionary(fc.constantFrom(...MEMBERS), value, { maxKeys: 6 }),
});
const step = fc.oneof(
  { weight: 12, arbitrary: frame.map(({ type, members }) => JSON.stringify({ ...members, type })) },
  { weight: 1, arbitrary: fc.constantFrom('{', '5', 'null', '[]', '{"type":5}') },
  { weight: 2, arbitrary: fc.constantFrom('break', 'pass', 'wake') },
);

test('[WEB-8] whatever a gateway says, nothing is thrown at the application, and all that it asked is settled when it is closed', async () => {
  const uncaught = catchUncaught();
  const rejected: unknown[] = [];
  const onRejection = (reason: unknown) => rejected.push(reason);
  process.on('unhandledRejection', onRejection);
  onTestFinished(() => void process.off('unhandledRejection', onRejection));
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const gateway = new PlayedGateway();
      const client = await gateway.connected({ credentials: () => ({ apiKey: 'k' }) });
      let open = 0;
      const watch = (promise: Promise<unknown>) => {
        open++;
        const over = () => open--;
        promise.then(over, over);
      };
      const read = ({ payload, headers, correlation, publishedAt, attempt }: Record<string, unknown>) => {
        void [payload, headers, correlation, publishedAt, attempt];
      };
      watch(client.subscribe('t/#', (message) => read(message as never), { qos: 1 }));
      watch(
        client
          .subscribe('t/#', () => {}, { durable: 'd' })
          .then((subscription) => subscription.unsubscribe()),
      );
      watch(client.subscribe('u/#', (message) => message.text()));
      watch(client.request('t', ''));
      watch(client.setWill({ topic: 'w', payload: '' }));
      watch(client.publish('t', '', { qos: 1 }));
      watch(client.flush());
      await settled();
      for (const each of steps) {
        if (each === 'break') gateway.socket.break();
        else if (each === 'wake') gateway.wake();
        else if (each === 'pass') {
          await gateway.pass(300);
          gateway.socket.welcome();
        } else gateway.socket.onmessage?.({ data: each });
        await settled();
      }
      watch(client.close({ timeoutMs: 0 }));
      watch(client.closed);
      await gateway.pass();
      await settled();
      expect(open).toBe(0);
      expect(gateway.listeners).toBe(0);
    }),
    { numRuns: 150 },
  );
  await new Promise((resolve) => setImmediate(resolve));
  expect([uncaught, rejected]).toEqual([[], []]);
});
