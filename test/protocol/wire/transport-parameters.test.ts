import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import {
  decodeParameters,
  defaultParameters,
  encodeParameters,
  type TransportParameters,
} from '../../../src/protocol/wire/transport-parameters.ts';
import { fromHex, toHex } from './hex.ts';

type Sender = 'client' | 'server';
/** Parameters as the vectors write them: connection ids in hex, defaults left out. */
type Plain = { [Name in keyof TransportParameters]?: number | string | boolean };

interface ParameterVectors {
  parameters: {
    name: string;
    sender: Sender;
    hex: string;
    encoded?: string;
    grease?: { id: number; value: string };
    parameters: Plain;
  }[];
  invalid: { name: string; sender: Sender; hex: string }[];
}

const vectors: ParameterVectors = JSON.parse(
  readFileSync(new URL('../../../spec/vectors/parameters.json', import.meta.url), 'utf8'),
);

function fromPlain(plain: Plain): TransportParameters {
  const values = Object.entries(plain).map(([name, value]) => [
    name,
    typeof value === 'string' ? fromHex(value) : value,
  ]);
  return { ...defaultParameters(new Uint8Array(0)), ...Object.fromEntries(values) };
}

describe('parameter vectors', () => {
  for (const { name, sender, hex, encoded, grease, parameters } of vectors.parameters) {
    test(`${name}: decoded and encoded as the spec says`, () => {
      expect(decodeParameters(fromHex(hex), sender)).toEqual(fromPlain(parameters));
      const greased = grease === undefined ? null : { id: grease.id, value: fromHex(grease.value) };
      expect(toHex(encodeParameters(fromPlain(parameters), greased))).toBe(toHex(fromHex(encoded ?? hex)));
    });
  }

  for (const { name, sender, hex } of vectors.invalid) {
    test(`${name}: refused [FRM-13]`, () => {
      expect(decodeParameters(fromHex(hex), sender)).toBe(CloseCode.TRANSPORT_PARAMETER_ERROR);
    });
  }
});

describe('transport parameters', () => {
  const id = fc.uint8Array({ maxLength: 20 });
  const any = fc.maxSafeNat();
  const parameters: fc.Arbitrary<TransportParameters> = fc.record({
    originalDestinationId: id,
    idleTimeoutMs: any,
    maxDatagramBytes: fc.integer({ min: 512, max: 65_507 }),
    initialMaxData: any,
    initialMaxStreamData: any,
    initialMaxStreams: any,
    maxMessageBytes: any,
    bestEffortBytes: any,
    maxAckDelayUs: fc.nat(2 ** 24 - 1),
    sourceId: id,
    retrySourceId: fc.option(id),
    activeIdLimit: any.map((limit) => Math.max(2, limit)),
    heartbeatMs: any,
    receiveBufferBytes: any,
    minAckDelayUs: fc.option(any),
    statelessResetToken: fc.option(fc.uint8Array({ minLength: 16, maxLength: 16 })),
    repairBytes: any,
    noMigration: fc.boolean(),
    inflates: fc.option(
      fc.nat(16).map((hashes) => Uint8Array.from({ length: 1 + 8 * hashes }, (_, i) => (i === 0 ? 1 : i))),
    ),
    earlyDataBytes: any,
    keyUpdates: fc.boolean(),
  });
  const grease = fc.record({
    id: fc.nat(2 ** 40).map((n) => 0x1f + 0x20 * n),
    value: fc.uint8Array({ maxLength: 40 }),
  });

  test('are decoded as they were encoded, whatever is greased [FRM-14]', () => {
    fc.assert(
      fc.property(parameters, fc.option(grease), (parameters, grease) => {
        expect(decodeParameters(encodeParameters(parameters, grease), 'server')).toEqual(parameters);
      }),
    );
  });

  test('are refused when cut short, unless a shorter list makes sense [FRM-13]', () => {
    fc.assert(
      fc.property(parameters, fc.nat(200), (parameters, cut) => {
        const bytes = encodeParameters(parameters, null);
        const decoded = decodeParameters(
          bytes.subarray(0, bytes.length - 1 - (cut % bytes.length)),
          'server',
        );
        if (typeof decoded === 'number') expect(decoded).toBe(CloseCode.TRANSPORT_PARAMETER_ERROR);
        else expect(decoded.sourceId).toEqual(parameters.sourceId);
      }),
    );
  });

  test('allow datagrams of 512 to 65,507 bytes [PKT-20]', () => {
    for (const [maxDatagramBytes, allowed] of [
      [511, false],
      [512, true],
      [65_507, true],
      [65_508, false],
    ] as const) {
      const bytes = encodeParameters({ ...defaultParameters(fromHex('01')), maxDatagramBytes }, null);
      expect(typeof decodeParameters(bytes, 'client')).toBe(allowed ? 'object' : 'number');
    }
  });

  test('never share memory with the bytes they came from', () => {
    const bytes = fromHex('09 02 c1c2');
    const decoded = decodeParameters(bytes, 'client') as TransportParameters;
    bytes.fill(0);
    expect(toHex(decoded.sourceId)).toBe('c1c2');
  });
});
