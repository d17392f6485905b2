import { describe, expect, test } from 'vitest';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { handshakeOf } from './internals.ts';
import { Pair } from './pair.ts';
import { integers, Rogue } from './rogue.ts';
import { Stranger } from './stranger.ts';

const PING = integers(FrameType.PING);

describe('a probe has room for its PING behind an acknowledgement that could fill the packet', () => {
  test('of a server that may send little yet [CON-4]', () => {
    for (let extra = 0; extra < 24; extra++) {
      const pair = new Pair({ seed: 1 + extra });
      const stranger = new Stranger(pair);
      const hello = handshakeOf(pair.connect().client.halfOpen)?.hello ?? new Uint8Array(0);
      pair.client.node.remove();
      for (let at = 0; at < hello.length; at += 480) {
        const part = hello.subarray(at, at + 480);
        stranger.post(Buffer.concat([integers(FrameType.CRYPTO, at, hello.length, part.length), part]));
      }
      pair.run(20);
      // Gaps make the acknowledgement long; its room is three times the bytes that bring it.
      for (let k = 0; k < 58; k++) {
        stranger.skip();
        stranger.post(PING, 4);
        pair.run(0.1);
      }
      const { validation } = pair.server.halfOpen.path;
      pair.run(900);
      validation.onSent(validation.allowance);
      pair.run(400);
      for (let k = 0; k < 4; k++) {
        stranger.skip();
        stranger.post(PING, 4 + extra);
        pair.run(12);
      }
      expect(pair.server.closed).toBeNull();
    }
  });

  test('of any endpoint whose peer takes small datagrams only and leaves large gaps in its numbers', () => {
    for (let extra = 0; extra < 9; extra++) {
      const pair = new Pair({ seed: 1 + extra, client: { receiveDatagramBytesMax: 512 } }).connected();
      const rogue = new Rogue(pair);
      const stream = pair.server.open();
      pair.server.send(stream, 'nobody acknowledges this');
      pair.run(20);
      // Ranges of 9 bytes each, `extra` of them of 10.
      for (let k = 0; k < 60; k++) {
        rogue.skip(2 ** 30 + 1);
        for (let same = 0; same < (k < 50 || k >= 50 + extra ? 1 : 66); same++) rogue.post(PING);
        pair.run(0.1);
      }
      // What comes in order is acknowledged a little later, so that some probe finds it waiting.
      for (let k = 0; k < 300; k++) {
        rogue.post(PING);
        pair.run(1);
      }
      expect(pair.server.closed).toBeNull();
    }
  });
});
