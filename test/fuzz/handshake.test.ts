import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { HandshakeState } from '../../src/protocol/handshake/handshake.ts';
import {
  decodeClientHello,
  decodeParametersMessage,
  decodeServerHello,
  MessageType,
  splitMessages,
} from '../../src/protocol/handshake/messages.ts';
import { closeCodeName } from '../../src/protocol/wire/close-code.ts';
import { application, newClient, newServer, present, run } from '../protocol/handshake/exchange.ts';

const CLIENT = newClient();
const SERVER = newServer();
run(CLIENT, SERVER);

describe('the handshake, given any bytes', () => {
  test('decodes or refuses, and never throws [HS-2]', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
        decodeClientHello(bytes);
        decodeServerHello(bytes);
        decodeParametersMessage(bytes);
        splitMessages(bytes, [MessageType.PARAMETERS, MessageType.IDENTITY]);
      }),
      { numRuns: 1000 },
    );
  });

  test('ends a client with a close code for a mutated hello or flight [HS-2]', () => {
    const hello = present(SERVER.hello);
    const flight = present(SERVER.flight);
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new Prng(seed);
        const client = newClient();
        const helloCode = client.receive(0, random.chance(0.3) ? mutated(hello, random) : hello);
        const code = client.receive(1, mutated(flight, random));
        expect(closeCodeName(code)).toMatch(/^[A-Z_]+$/);
        expect(code).not.toBe(0);
        if (helloCode !== 0) expect(code).toBe(helloCode);
        expect(client.state).not.toBe(HandshakeState.COMPLETE);
        expect(application(client)).toEqual({ seal: null, open: null });
      }),
      { numRuns: 150 },
    );
  });

  test('ends a server with a close code, or leaves it without a client, for a mutated hello or flight [HS-2]', () => {
    const flight = present(CLIENT.flight);
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = new Prng(seed);
        const server = newServer();
        const helloCode = server.receive(0, mutated(CLIENT.hello, random));
        const code = server.receive(1, random.chance(0.5) ? mutated(flight, random) : flight);
        expect(closeCodeName(code)).toMatch(/^[A-Z_]+$/);
        expect(code).not.toBe(0);
        if (helloCode !== 0) expect(code).toBe(helloCode);
        expect(server.state).not.toBe(HandshakeState.COMPLETE);
      }),
      { numRuns: 150 },
    );
  });
});

/** The bytes with a few changed, cut, put in or said twice; never the same bytes. */
function mutated(bytes: Uint8Array, random: Prng): Uint8Array {
  let result: Uint8Array = bytes.slice();
  do {
    const at = random.below(result.length + 1);
    const length = random.chance(0.7) ? random.below(4) : random.below(200);
    const noise = new Uint8Array(length);
    random.fill(noise);
    const choice = random.below(5);
    if (choice === 0) result = result.slice(0, at);
    else if (choice === 1) result = spliced(result, at, 0, noise);
    else if (choice === 2) result = spliced(result, at, length, noise);
    else if (choice === 3) result = spliced(result, at, length, new Uint8Array(0));
    else if (at < result.length) result[at] ^= 1 << random.below(8);
  } while (random.chance(0.4) || Buffer.compare(result, bytes) === 0);
  return result;
}

function spliced(bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([bytes.subarray(0, at), added, bytes.subarray(at + removed)]));
}
