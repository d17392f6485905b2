import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Ask,
  CONTROL_BYTES_MAX,
  ControlError,
  decodeAnswer,
  decodeJoin,
  decodeRequest,
} from '../../../src/bench/link/control.ts';

const PLAN = {
  direction: 'up',
  delivery: 'bestEffort',
  bitsPerSecond: 5e6,
  streams: 2,
  messageBytes: 1_160,
  congestion: 'bbr',
  protection: { data: 10, parity: 2 },
  clockAheadMicros: null,
};
const ASKS: readonly Ask[] = ['hello', 'open', 'mtu', 'start', 'sample', 'stop', 'finish'];

function bytes(value: unknown): Uint8Array {
  return Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
}

describe('a request', () => {
  test('is taken with what it says, and nothing more', () => {
    const open = { id: 1, ask: 'open', run: 3, plan: { ...PLAN, more: 'than that' }, also: 1 };
    expect(decodeRequest(bytes(open))).toEqual({ id: 1, ask: 'open', run: 3, plan: PLAN });
    for (const protection of ['off', 'auto', { latencyMs: 20 }]) {
      const { plan } = decodeRequest(bytes({ ...open, plan: { ...PLAN, protection } })) as unknown as {
        plan: typeof PLAN;
      };
      expect(plan.protection).toEqual(protection);
    }
  });

  test.each([
    ['a rate without an end', { bitsPerSecond: 1e300 }],
    ['a negative rate', { bitsPerSecond: -1 }],
    ['streams without a bound', { streams: 65 }],
    ['messages without a bound', { messageBytes: 2 ** 30 }],
    ['messages too short for what is in them', { messageBytes: 4 }],
    ['a controller that is none', { congestion: 'vegas' }],
    ['protection that is none', { protection: 'often' }],
    ['a clock that is none', { clockAheadMicros: 'now' }],
  ])('is refused with %s', (_, wrong) => {
    const request = { id: 1, ask: 'open', run: 1, plan: { ...PLAN, ...wrong } };
    expect(() => decodeRequest(bytes(request))).toThrow(ControlError);
  });

  test.each([
    ['what is no JSON', '{"id":1,'],
    ['what is no object', '[]'],
    ['another question', { id: 1, ask: 'format' }],
    ['a name of Object', { id: 1, ask: 'constructor' }],
    ['a size above UDP', { id: 1, ask: 'mtu', run: 1, bytes: 65_508 }],
    ['a time without an end', { id: 1, ask: 'start', run: 1, secondsMax: 601 }],
    ['more than a control message holds', ' '.repeat(CONTROL_BYTES_MAX + 1)],
  ])('is not %s', (_, message) => {
    expect(() => decodeRequest(bytes(message))).toThrow(ControlError);
  });
});

describe('an answer', () => {
  test('is that of its question, or a refusal', () => {
    const ok = { carried: true, routeMtu: null };
    expect(decodeAnswer(bytes({ id: 7, ok }), 'mtu')).toEqual({ id: 7, ok });
    const refusal = { code: 'busy', message: 'later', retrySeconds: 3 };
    expect(decodeAnswer(bytes({ id: 7, refusal }), 'hello')).toEqual({ id: 7, refusal });
    expect(() => decodeAnswer(bytes({ id: 7, ok }), 'sample')).toThrow(ControlError);
    expect(() => decodeAnswer(bytes({ id: 7 }), 'mtu')).toThrow(ControlError);
  });
});

test('whatever comes is decoded or refused, and nothing else happens', () => {
  const anything = fc.oneof(
    fc.json().map(bytes),
    fc.uint8Array({ maxLength: 200 }),
    fc
      .record(
        {
          id: fc.anything(),
          ask: fc.constantFrom(...ASKS),
          run: fc.anything(),
          plan: fc.anything(),
          ok: fc.object(),
        },
        { requiredKeys: [] },
      )
      .map((value) => bytes(JSON.stringify(value) ?? '')),
  );
  fc.assert(
    fc.property(anything, fc.constantFrom(...ASKS), (message, ask) => {
      for (const decode of [decodeRequest, decodeJoin, (each: Uint8Array) => decodeAnswer(each, ask)]) {
        try {
          decode(message);
        } catch (error) {
          expect(error).toBeInstanceOf(ControlError);
        }
      }
    }),
  );
});
