import { describe, expect, test } from 'vitest';
import { ConnectionState } from '../../../src/protocol/connection/lifecycle.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { writePathChallenge } from '../../../src/protocol/wire/frames/path.ts';
import { internalsOf, isConfirmed } from './internals.ts';
import { Pair } from './pair.ts';
import { frame, Rogue } from './rogue.ts';

describe('a PATH_CHALLENGE [FRM-20]', () => {
  test('is answered once, with its bytes', () => {
    const rogue = new Rogue(new Pair().connected());
    rogue.send(challenge(1));
    expect(answers(rogue)).toEqual([bytes(1)]);
    rogue.send(challenge(2));
    expect(answers(rogue)).toEqual([bytes(1), bytes(2)]);
    expect(rogue.victimClosed).toBeNull();
  });

  test('among many in a packet is answered for the newest alone: nobody can make a peer send more than it got', () => {
    const rogue = new Rogue(new Pair().connected());
    rogue.send(...Array.from({ length: 100 }, (_, i) => challenge(i)));
    expect(answers(rogue)).toEqual([bytes(99)]);
  });
});

test('the handshake is complete before it is confirmed at the client, and both at once at the server [CON-36]', () => {
  const pair = new Pair();
  // HANDSHAKE_DONE comes in a 1-RTT packet; while it is lost, the client goes on in the Handshake space.
  pair.server.filter = (data) => ((data[0] & 0x80) === 0 ? [] : [{ data }]);
  pair.connect();
  pair.until(() => pair.client.isConnected, 5_000);
  expect(pair.client.core.lifecycle.state).toBe(ConnectionState.COMPLETE);
  pair.until(() => pair.server.isConnected, 5_000);
  expect(pair.server.core.lifecycle.state).toBe(ConnectionState.CONFIRMED);
  pair.run(3_000);
  expect(isConfirmed(pair.client.core)).toBe(false);
  expect(internalsOf(pair.client.core).spaces[1]).not.toBeNull();
  pair.server.filter = null;
  pair.until(() => isConfirmed(pair.client.core), 20_000);
  expect(internalsOf(pair.client.core).spaces[1]).toBeNull();
  pair.echo();
});

function bytes(i: number): number[] {
  return [i, 1, 2, 3, 4, 5, 6, 7];
}

function challenge(i: number): Uint8Array {
  return frame((w) => writePathChallenge(w, Uint8Array.from(bytes(i))));
}

function answers(rogue: Rogue): number[][] {
  return rogue.frames(FrameType.PATH_RESPONSE).map(({ data }) => [...data]);
}
