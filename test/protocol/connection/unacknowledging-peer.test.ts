import { describe, expect, test } from 'vitest';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { handshakeOf, recordUnacknowledged } from './internals.ts';
import { Pair } from './pair.ts';
import { integers, Rogue } from './rogue.ts';
import { Stranger } from './stranger.ts';

const PING = integers(FrameType.PING);

describe('a peer that makes us acknowledge and never acknowledges itself is closed at the bound of what is recorded of sent packets [REC-12]', () => {
  test('before the handshake, where anybody can be it', () => {
    const pair = new Pair();
    const stranger = new Stranger(pair);
    const hello = handshakeOf(pair.connect().client.halfOpen)?.hello ?? new Uint8Array(0);
    pair.client.node.remove();
    // A whole hello, so that the server has an answer in flight that is never acknowledged.
    for (let at = 0; at < hello.length; at += 700) {
      const part = hello.subarray(at, at + 700);
      stranger.post(Buffer.concat([integers(FrameType.CRYPTO, at, hello.length, part.length), part]), 1_150);
    }
    pair.run(20);
    for (let k = 0; k < 1_200; k++) {
      stranger.post(PING, 4);
      pair.run(1.1); // [REC-35] an acknowledgement of its own for each
    }
    pair.run(50);
    expect(pair.server.frames(FrameType.CONNECTION_CLOSE)[0]).toMatchObject({
      code: CloseCode.PROTOCOL_VIOLATION,
    });
    expect(pair.server.endpoint.counters.handshakesFailed).toBe(1);
  });

  test('after it', () => {
    const pair = new Pair().connected();
    const rogue = new Rogue(pair);
    recordUnacknowledged(pair.server.core, 131_060, pair.now); // as many as can be recorded but a few
    for (let k = 0; k < 20; k++) {
      rogue.skip();
      rogue.send(PING);
    }
    expect(rogue.victimClosed).toMatchObject({ by: 'local', code: CloseCode.PROTOCOL_VIOLATION });
  });
});
