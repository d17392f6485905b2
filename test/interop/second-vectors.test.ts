import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { decodeFrames, Malformed } from './second-codec.ts';
import {
  binderOf,
  earlySecret,
  earlyTraffic,
  handshakeSecrets,
  initialSecret,
  Keys,
  label,
  openPacket,
  protect,
  type Suite,
  splitDatagram,
  ticketKey,
} from './second-crypto.ts';

interface FrameVectors {
  readonly frames: readonly { name: string; hex: string; frame: { type: string } }[];
  readonly invalid: readonly { name: string; hex: string; error: string }[];
}

interface Case<Input, Output> {
  readonly name: string;
  readonly input: Input;
  readonly output: Output;
}

type Hex<Names extends string> = Readonly<Record<Names, string>>;

const frames = vectors<FrameVectors>('frames');
const sealed = vectors<{
  cases: Case<
    Hex<'key' | 'iv' | 'headerKey' | 'header' | 'payload'> & { suite?: Suite; packetNumber: number },
    Hex<'packet'>
  >[];
}>('sealed-packets');
const schedule = vectors<{ cases: Case<Record<string, string>, Record<string, Derived>>[] }>('key-schedule');

const tickets = vectors<{
  cases: Case<
    Record<string, string>,
    Hex<'resumptionSecret' | 'ticketKey' | 'ageMask' | 'earlySecret' | 'binder'> & {
      readonly clientEarly: Derived;
    }
  >[];
}>('key-schedule');

interface Derived {
  readonly secret: string;
  readonly keys: Hex<'key' | 'iv' | 'hp'>;
}

describe('The second implementation reads the vectors of spec/vectors/ as they are meant', () => {
  test.each(frames.frames)('frame: $name', ({ hex, frame }) => {
    const decoded = decodeFrames(bytesOf(hex));
    if (frame.type !== 'PADDING') expect(decoded).toHaveLength(1);
    // What the vector says, by the names that both have.
    for (const [name, value] of Object.entries(frame)) {
      const own = decoded[0][name];
      if (typeof value === 'number' && typeof own === 'number') expect(own, name).toBe(value);
      if (name === 'data' && Buffer.isBuffer(own)) expect(own.toString('hex')).toBe(value);
    }
  });

  test.each(frames.invalid.filter(({ hex }) => hex !== ''))('no frame: $name', ({ hex }) => {
    expect(() => decodeFrames(bytesOf(hex))).toThrow(Malformed);
  });

  test.each(sealed.cases)('packet: $name', ({ input, output }) => {
    const keys = new Keys(input.suite ?? 1, bytesOf(input.key), bytesOf(input.iv), bytesOf(input.headerKey));
    const header = bytesOf(input.header);
    const numberBytes = (header[0] & 3) + 1;
    const packet = protect(header, numberBytes, keys, input.packetNumber, bytesOf(input.payload));
    expect(packet.toString('hex')).toBe(output.packet);
    const isShort = (packet[0] & 0x80) === 0;
    const [came] = splitDatagram(packet, isShort ? header.length - numberBytes - 1 : 0);
    const opened = openPacket(came, keys, input.packetNumber - 1);
    expect(opened).toMatchObject({ number: input.packetNumber, payload: bytesOf(input.payload) });
  });

  test.each(schedule.cases.filter(({ name }) => name.startsWith('initial')))(
    'keys: $name',
    ({ input, output }) => {
      const pin = input.fingerprint ? bytesOf(input.fingerprint) : null;
      const initial = initialSecret(bytesOf(input.firstDestinationId), pin);
      expectSecret(label(initial, 'client in', Buffer.alloc(0), 32), output.client);
      expectSecret(label(initial, 'server in', bytesOf(input.serverSourceId), 32), output.server);
    },
  );

  test.each(schedule.cases.filter(({ name }) => name.startsWith('chain')))(
    'keys: $name',
    ({ input, output }) => {
      const secrets = handshakeSecrets(
        earlySecret(null),
        bytesOf(input.kemSecret),
        bytesOf(input.hashToServerHello),
      );
      expectSecret(secrets.clientHandshake, output.clientHandshake);
      expectSecret(secrets.serverHandshake, output.serverHandshake);
      const hash = bytesOf(input.hashToServerFinished);
      expectSecret(label(secrets.master, 'c ap traffic', hash, 32), output.clientApplication);
      expectSecret(label(secrets.master, 's ap traffic', hash, 32), output.serverApplication);
    },
  );

  test.each(tickets.cases.filter(({ name }) => name === 'ticket'))('keys: $name', ({ input, output }) => {
    const nothing = Buffer.alloc(0);
    const resumption = label(
      bytesOf(input.masterSecret),
      'res master',
      bytesOf(input.hashToClientFinished),
      32,
    );
    expect(resumption.toString('hex')).toBe(output.resumptionSecret);
    const key = ticketKey(resumption, bytesOf(input.nonce));
    expect(key.toString('hex')).toBe(output.ticketKey);
    expect(label(key, 'ticket age', nothing, 4).toString('hex')).toBe(output.ageMask);
    const early = earlySecret(key);
    expect(early.toString('hex')).toBe(output.earlySecret);
    expect(binderOf(key, bytesOf(input.hashToBinder)).toString('hex')).toBe(output.binder);
    expectSecret(earlyTraffic(key, bytesOf(input.hashToClientHello)), output.clientEarly);
  });
});

function expectSecret(secret: Buffer, { secret: expected, keys }: Derived): void {
  expect(secret.toString('hex')).toBe(expected);
  const { key, iv, headerKey } = Keys.of(secret);
  expect([key, iv, headerKey].map((bytes) => bytes.toString('hex'))).toEqual([keys.key, keys.iv, keys.hp]);
}

function vectors<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../../spec/vectors/${name}.json`, import.meta.url), 'utf8')) as T;
}

function bytesOf(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}
