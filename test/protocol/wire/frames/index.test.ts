import { describe, expect, test } from 'vitest';
import { FrameType } from '../../../../src/protocol/wire/frame-type.ts';
import { isAckEliciting, isAllowedIn } from '../../../../src/protocol/wire/frames/index.ts';
import { PacketType } from '../../../../src/protocol/wire/packet-header.ts';
import { typesOfSpec } from '../spec-frames.ts';

/** Every type that a reader lets through. */
const TYPES = typesOfSpec().map(([type]) => type);

const ACKS = [FrameType.ACK, FrameType.ACK_ECN, FrameType.ACK_RECOVERED, FrameType.ACK_ECN_RECOVERED];

describe('frames', () => {
  test('have the numbers that the specification gives them, and no other may stand in a packet [FRM-1]', () => {
    const spec = new Map(typesOfSpec().map(([type, name]) => [type, name]));
    const read = Array.from({ length: 256 }, (_, type) => type).filter((type) =>
      isAllowedIn(type, PacketType.ONE_RTT),
    );
    expect(read).toEqual([...spec.keys()]);
    for (const [name, type] of Object.entries(FrameType)) {
      if (!/^(ACK_(ECN|RECOVERED)|MESSAGES_|EXTENSION)/.test(name)) expect(spec.get(type)).toBe(name);
    }
  });

  test('are all ack-eliciting but ACK, PADDING and CONNECTION_CLOSE [FRM-3] [FRM-2]', () => {
    const silent = TYPES.filter((type) => !isAckEliciting(type));
    expect(silent).toEqual([FrameType.PADDING, ...ACKS, FrameType.CONNECTION_CLOSE]);
  });

  test('of Initial and Handshake packets are only PADDING, PING, ACK, CRYPTO and CONNECTION_CLOSE [FRM-4]', () => {
    const expected = [
      FrameType.PADDING,
      FrameType.PING,
      ...ACKS,
      FrameType.CRYPTO,
      FrameType.CONNECTION_CLOSE,
    ];
    expect(TYPES.filter((type) => isAllowedIn(type, PacketType.INITIAL))).toEqual(expected);
    expect(TYPES.filter((type) => isAllowedIn(type, PacketType.HANDSHAKE))).toEqual(expected);
  });

  test('of 0-RTT packets are all but those that answer or belong to the handshake [FRM-4]', () => {
    expect(TYPES.filter((type) => !isAllowedIn(type, PacketType.ZERO_RTT))).toEqual([
      ...ACKS,
      FrameType.CRYPTO,
      FrameType.HANDSHAKE_DONE,
      FrameType.NEW_TOKEN,
      FrameType.REPAIR,
      FrameType.PATH_RESPONSE,
      FrameType.RETIRE_CONNECTION_ID,
      FrameType.ADMITTED,
      FrameType.GOAWAY,
    ]);
  });

  test('of 1-RTT packets are all [FRM-4]', () => {
    expect(TYPES.filter((type) => !isAllowedIn(type, PacketType.ONE_RTT))).toEqual([]);
  });
});
