import { describe, expect, test } from 'vitest';
import type { ConnectionConfig } from '../../src/protocol/connection/config.ts';
import { CloseCode, closeCodeName } from '../../src/protocol/wire/close-code.ts';
import { FrameType, MessageFlag } from '../../src/protocol/wire/frame-type.ts';
import { writeAckFrequency } from '../../src/protocol/wire/frames/ack.ts';
import { writeConnectionClose } from '../../src/protocol/wire/frames/connection-close.ts';
import { writePathChallenge } from '../../src/protocol/wire/frames/path.ts';
import { Pair } from '../protocol/connection/pair.ts';
import { fragment, frame, integers, opening, Rogue, run, varint } from '../protocol/connection/rogue.ts';

const {
  FLOW_CONTROL_ERROR,
  STREAM_LIMIT_ERROR,
  STREAM_STATE_ERROR,
  FINAL_SIZE_ERROR,
  FRAME_ENCODING_ERROR,
  PROTOCOL_VIOLATION,
  MESSAGE_TOO_LARGE,
} = CloseCode;
const F = FrameType;
const LARGEST = 2 ** 53 - 1;
const LIMITS = {
  messageBytesMax: 100_000,
  streamWindowBytes: 200_000,
  connectionWindowBytes: 400_000,
  streamsMax: 10,
};
/** What the configuration makes of them. */
const STREAM_WINDOW = 200_000;
const SEQUENCES_MAX = 65_536;

describe('a peer that has the keys and breaks the rules is told which [ERR-1]', () => {
  test.each([
    ['a frame type that nobody knows [FRM-1]', [Uint8Array.of(0x1e)], FRAME_ENCODING_ERROR],
    ['a frame that is cut short [FRM-1]', [Uint8Array.of(F.MAX_DATA)], FRAME_ENCODING_ERROR],
    [
      'a varint above 2^53 - 1 [FRM-1]',
      [Buffer.from([F.MAX_DATA, 0xe0, 0, 0, 0, 0, 0, 0, 0])],
      FRAME_ENCODING_ERROR,
    ],
    [
      'a label that is no UTF-8 [FRM-10]',
      [Buffer.from([F.STREAM_OPEN, 0, 6, 1, 0xff])],
      FRAME_ENCODING_ERROR,
    ],
    ['a run of no messages [FRM-8]', [opening(0), integers(F.MESSAGES, 0, 0, 0)], FRAME_ENCODING_ERROR],
    ['a fragment of nothing [FRM-6]', [opening(0), fragment(0, 0, 0, 10, 0)], FRAME_ENCODING_ERROR],
    [
      'fragments of different totals [FRM-6]',
      [opening(0), fragment(0, 0, 0, 10, 1), fragment(0, 0, 2, 11, 1)],
      FRAME_ENCODING_ERROR,
    ],
    ['CRYPTO with application keys', [integers(F.CRYPTO, 0, 1, 1, 1)], PROTOCOL_VIOLATION],
    ['HANDSHAKE_DONE from a client', [integers(F.HANDSHAKE_DONE)], PROTOCOL_VIOLATION],
    ['NEW_TOKEN from a client', [integers(F.NEW_TOKEN, 1, 1)], PROTOCOL_VIOLATION],
    [
      'TICKET from a client',
      [Buffer.concat([integers(F.TICKET, 1), new Uint8Array(16), varint(1), Uint8Array.of(1)])],
      PROTOCOL_VIOLATION,
    ],
    [
      'ACK with a recovered packet that was never sent [FEC-46]',
      [integers(4, 0, 0, 0, 0, 1, 0), integers(4, 5_000, 0, 0, 0, 1, 0)],
      PROTOCOL_VIOLATION,
    ],
    [
      'RETIRE_CONNECTION_ID of an id that was not given',
      [integers(F.RETIRE_CONNECTION_ID, 7)],
      PROTOCOL_VIOLATION,
    ],
    [
      'PATH_RESPONSE to no challenge',
      [Buffer.concat([integers(F.PATH_RESPONSE), new Uint8Array(8)])],
      PROTOCOL_VIOLATION,
    ],
    ['ACK of a packet that was never sent [FRM-9]', [integers(F.ACK, 5_000, 0, 0, 0)], PROTOCOL_VIOLATION],
    ['ACK that reaches below 0 [FRM-9]', [integers(F.ACK, 0, 0, 0, 1)], FRAME_ENCODING_ERROR],
    [
      'ACK_FREQUENCY with a delay that is too short [REC-40]',
      [frame((w) => writeAckFrequency(w, 0, 2, 10))],
      PROTOCOL_VIOLATION,
    ],
    ['a message on a stream that was never opened [STR-5]', [run(0, 0, 5)], STREAM_STATE_ERROR],
    ['a fragment on a stream that was never opened [STR-5]', [fragment(0, 0, 0, 5, 1)], STREAM_STATE_ERROR],
    [
      'MAX_STREAM_DATA of a stream that was never opened [STR-5]',
      [integers(F.MAX_STREAM_DATA, 0, 5)],
      STREAM_STATE_ERROR,
    ],
    [
      'STOP_SENDING of a stream of ours that we did not open [STR-5]',
      [integers(F.STOP_SENDING, 1, 0)],
      STREAM_STATE_ERROR,
    ],
    [
      'STREAM_FIN of a stream that was never opened [STR-5]',
      [integers(F.STREAM_FIN, 4, 0)],
      STREAM_STATE_ERROR,
    ],
    ['STREAM_OPEN of a stream that only we can open [STR-4]', [opening(1)], STREAM_STATE_ERROR],
    ['STREAM_OPEN beyond the limit [STR-4]', [opening(20)], STREAM_LIMIT_ERROR],
    ['STREAM_OPEN with the largest id [STR-4]', [opening(LARGEST - 1)], STREAM_LIMIT_ERROR],
    [
      'a message above the largest allowed [FRM-7]',
      [opening(0), fragment(0, 0, 0, LIMITS.messageBytesMax + 1, 1)],
      MESSAGE_TOO_LARGE,
    ],
    ['a message of 2^53 - 1 bytes [FRM-7]', [opening(0), fragment(0, 0, 0, LARGEST, 1)], MESSAGE_TOO_LARGE],
    [
      'a best-effort message above the largest allowed [FRM-7]',
      [
        opening(0),
        integers(F.MESSAGE | MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT, 0, 0, 0, LARGEST, 0, 1, 1),
      ],
      MESSAGE_TOO_LARGE,
    ],
    [
      "more than the stream's window [STR-13]",
      [opening(0), fragment(0, 0, 0, 100_000, 1), fragment(0, 1, 0, 99_800, 1)],
      FLOW_CONTROL_ERROR,
    ],
    ['a sequence too far ahead [STR-12]', [opening(0), run(0, SEQUENCES_MAX, 1)], FLOW_CONTROL_ERROR],
    ['the largest sequence [STR-12]', [opening(0), run(0, LARGEST - 1, 1)], FLOW_CONTROL_ERROR],
    [
      'ABANDON of more than the window [STR-13]',
      [opening(0), integers(F.ABANDON, 0, 0, 1, STREAM_WINDOW)],
      FLOW_CONTROL_ERROR,
    ],
    [
      'ABANDON too far ahead [STR-12]',
      [opening(0), integers(F.ABANDON, 0, SEQUENCES_MAX + 5, 1, 1)],
      FLOW_CONTROL_ERROR,
    ],
    [
      'ABANDON that disagrees with a fragment [STR-15]',
      [opening(0), fragment(0, 0, 0, 10, 1), integers(F.ABANDON, 0, 0, 1, 11)],
      FRAME_ENCODING_ERROR,
    ],
    [
      'an end that moves [STR-6]',
      [opening(0), integers(F.STREAM_FIN, 0, 5), integers(F.STREAM_FIN, 0, 6)],
      FINAL_SIZE_ERROR,
    ],
    [
      'an end below what came [STR-6]',
      [opening(0), run(0, 0, 1, 1, 1), integers(F.STREAM_FIN, 0, 2)],
      FINAL_SIZE_ERROR,
    ],
    [
      'messages beyond the end [STR-6]',
      [opening(0), integers(F.STREAM_FIN, 0, 2), run(0, 2, 1)],
      FINAL_SIZE_ERROR,
    ],
    [
      'a reset with another end [STR-6]',
      [opening(0), integers(F.STREAM_FIN, 0, 2), integers(F.RESET_STREAM, 0, 9, 3)],
      FINAL_SIZE_ERROR,
    ],
    [
      'a message in an envelope that was not agreed to [CMP-6]',
      [opening(0), integers(F.MESSAGE | MessageFlag.ENVELOPE, 0, 0, 1, 1, 1)],
      PROTOCOL_VIOLATION,
    ],
    [
      'DROPPED of a message that was not sent [STR-18]',
      [opening(0), Buffer.concat([integers(F.DROPPED, 0), Uint8Array.of(0), varint(0), varint(1)])],
      PROTOCOL_VIOLATION,
    ],
    [
      'DROPPED of a best-effort message that was not sent [STR-18]',
      [opening(0), Buffer.concat([integers(F.DROPPED, 0), Uint8Array.of(1), varint(0), varint(1)])],
      PROTOCOL_VIOLATION,
    ],
  ])('%s', (_, frames, code) => {
    const { rogue, victim } = attacked();
    rogue.send(...frames);
    expect(closeCodeName(victim.closed?.code ?? -1)).toBe(closeCodeName(code));
    expect(victim.closed).toMatchObject({ by: 'local', scope: 'transport' });
    const [close] = rogue.frames(F.CONNECTION_CLOSE);
    expect(close).toMatchObject({ scope: 0, code, frameType: frames.at(-1)?.[0] });
  });

  test('a payload without frames [FRM-1]', () => {
    const { rogue, victim } = attacked();
    rogue.sendRaw(new Uint8Array(0));
    expect(victim.closed?.code).toBe(PROTOCOL_VIOLATION);
  });

  test.each([0x08, 0x18])('reserved bits %i in a packet that opens [PKT-16]', (bits) => {
    const { rogue, victim } = attacked();
    rogue.sendRaw(Uint8Array.of(F.PING), bits);
    expect(victim.closed?.code).toBe(PROTOCOL_VIOLATION);
  });

  test.each([0x04, 0x0c])(
    'a key phase, bits %i, that keys are not updated in: reserved bits, too [PKT-16]',
    (bits) => {
      const { rogue, victim } = attacked({ keyUpdate: null });
      rogue.sendRaw(Uint8Array.of(F.PING), bits);
      expect(victim.closed?.code).toBe(PROTOCOL_VIOLATION);
    },
  );

  test.each([0x04, 0x0c])(
    'the next key phase, bits %i, sealed with the keys of this one [PKT-18]',
    (bits) => {
      const { rogue, victim } = attacked();
      const { packetsUnopened } = victim.core.counters;
      rogue.sendRaw(Uint8Array.of(F.PING), bits);
      expect(victim.closed).toBeNull();
      expect(victim.core.counters.packetsUnopened).toBe(packetsUnopened + 1);
    },
  );

  test.each([
    ['a symbol', Uint8Array.of(F.PING), 0x10],
    ['REPAIR', Uint8Array.of(F.REPAIR, 0, 0, 0, 1, 1, 1, 0), 0],
  ])('%s where none is taken [FEC-40]', (_, payload, bits) => {
    const { rogue, victim } = attacked({ repairBytes: 0 });
    rogue.sendRaw(payload, bits);
    expect(victim.closed?.code).toBe(PROTOCOL_VIOLATION);
  });

  test("more than the connection's window, on streams that each stay within theirs [STR-13]", () => {
    const { rogue, victim } = attacked();
    for (let stream = 0; stream < 10; stream += 2) {
      rogue.send(opening(stream), fragment(stream, 0, 0, 99_000, 1));
    }
    expect(victim.closed?.code).toBe(FLOW_CONTROL_ERROR);
    expect(victim.core.counters.packetsUnopened).toBe(0);
  });

  test('a server that does what only clients may not is no better', () => {
    const rogue = new Rogue(new Pair({ client: LIMITS }).connected(), 'server');
    rogue.send(opening(0));
    expect(rogue.victimClosed?.code).toBe(STREAM_STATE_ERROR);
  });
});

describe('a peer that is merely odd is tolerated', () => {
  test.each([
    ['extension frames that nobody knows [FRM-2]', [integers(0x38, 3, 1, 2, 3), integers(0x3f, 0)]],
    ['limits as large as they can be', [integers(F.MAX_DATA, LARGEST), integers(F.MAX_STREAMS, LARGEST)]],
    ['limits that shrink [STR-9]', [integers(F.MAX_DATA, 0), integers(F.MAX_STREAMS, 0)]],
    ['BLOCKED at limits that never were', [integers(F.DATA_BLOCKED, 7), integers(F.STREAMS_BLOCKED, 9)]],
    ['a stream opened twice [STR-3]', [opening(2, 'a'), opening(2, 'b')]],
    [
      'the same message three times [STR-7]',
      [opening(2), run(2, 0, 5), run(2, 0, 5), fragment(2, 0, 1, 5, 1)],
    ],
    [
      'an ACK of what was acknowledged before [REC-11]',
      [integers(F.ACK, 0, 0, 0, 0), integers(F.ACK, 0, 0, 0, 0)],
    ],
    ['a heartbeat of 2^53 - 1 ms', [integers(F.HEARTBEAT, 0, LARGEST)]],
    ['nothing but padding', [new Uint8Array(1_000)]],
  ])('%s', (_, frames) => {
    const { pair, rogue, victim } = attacked();
    rogue.send(...frames);
    pair.run(200);
    expect(victim.closed).toBeNull();
    rogue.send(opening(0), run(0, 0, 5));
    expect(victim.messages.get(0)).toHaveLength(1);
  });

  test('PATH_CHALLENGE is answered, however often it comes', () => {
    const { rogue, victim } = attacked();
    for (let i = 0; i < 100; i++) {
      rogue.post(frame((w) => writePathChallenge(w, Buffer.alloc(8, i))));
    }
    rogue.send(frame((w) => writePathChallenge(w, Buffer.alloc(8, 0xaa))));
    expect(victim.closed).toBeNull();
    expect(Buffer.from(rogue.frames(F.PATH_RESPONSE).at(-1)?.data ?? [])).toEqual(Buffer.alloc(8, 0xaa));
  });

  test('a CONNECTION_CLOSE with a code that nobody knows is shown as what it is [ERR-1]', () => {
    const { rogue, victim } = attacked();
    rogue.send(frame((w) => writeConnectionClose(w, 0, 0x77, 0, Buffer.from([0xff, 0x41]))));
    expect(victim.closed).toMatchObject({ by: 'peer', scope: 'transport', code: 0x77, reason: '\ufffdA' });
  });
});

describe('a peer that wants memory', () => {
  test('gets no more than the windows for messages that it never completes', () => {
    const { pair, rogue, victim } = attacked();
    const charge = 99_000 + 128;
    for (let k = 0; k < 3; k++) {
      rogue.send(
        opening(2 * k),
        integers(F.STREAM_DATA_BLOCKED, 2 * k, charge),
        integers(F.DATA_BLOCKED, (k + 1) * charge),
      );
      pair.run(100);
      rogue.send(fragment(2 * k, 0, 0, 99_000, 1));
    }
    pair.run(1_000);
    expect(victim.closed).toBeNull();
    const { window } = victim.core.streams.receiveCounts;
    expect(window.used - window.freed).toBe(3 * charge);
    // Three such windows are what streams may grow by, all together: there is none for a fourth. [STR-34]
    rogue.send(opening(6), integers(F.STREAM_DATA_BLOCKED, 6, charge), integers(F.DATA_BLOCKED, 4 * charge));
    pair.run(100);
    rogue.send(fragment(6, 0, 0, 99_000, 1));
    expect(victim.closed?.code).toBe(FLOW_CONTROL_ERROR);
  });

  test('gets no more than the windows behind gaps that it leaves on purpose, for every byte that it sends [STR-34] [STR-47]', () => {
    const { pair, rogue, victim } = attacked();
    const charged = fillBehindGaps(pair, rogue, 8);
    expect(victim.closed).toBeNull();
    const { window } = victim.core.streams.receiveCounts;
    expect(window.used - window.freed).toBe(charged);
    expect(charged).toBeGreaterThan(250_000); // it did what it could
    expect(charged).toBeLessThanOrEqual(LIMITS.connectionWindowBytes);
    for (const { receiver } of victim.core.streams.values())
      expect(receiver.window.used - receiver.window.freed).toBeLessThanOrEqual(STREAM_WINDOW);
  });

  test('gets no more than its part of the memory of the endpoint behind such gaps, and leaves others theirs [CON-50] [STR-47]', () => {
    const MIB = 1024 * 1024;
    const pair = new Pair({ server: { memoryBytesMax: 4 * MIB } }).connected();
    const rogue = new Rogue(pair);
    const charged = fillBehindGaps(pair, rogue, 3);
    expect(rogue.victimClosed).toBeNull();
    expect(charged).toBeGreaterThan(MIB);
    const { memory } = pair.server.endpoint;
    expect(charged).toBeLessThan(memory.reserved);
    expect(memory.available).toBeGreaterThan(memory.bytesMax / 8);
  });

  test('gets no window for messages behind a gap that it does not send: what is missing of them counts as unread [STR-47]', () => {
    const { pair, rogue, victim } = attacked();
    const windowOf = () => [...victim.core.streams.values()][0].receiver.window.windowBytes;
    rogue.send(opening(0), fragment(0, 0, 0, 9_000, 1));
    const before = windowOf();
    for (let i = 1; i < 50; i++) rogue.post(fragment(0, 1, i - 1, 4_000, 1));
    pair.run(100);
    rogue.send(integers(F.STREAM_DATA_BLOCKED, 0, 150_000));
    pair.run(100);
    expect(victim.closed).toBeNull();
    expect(windowOf()).toBe(before);
  });

  test('gets no more than the budget for best-effort messages [STR-21]', () => {
    const pair = new Pair({ server: { ...LIMITS, bestEffortBytes: 50_000 } }).connected();
    const rogue = new Rogue(pair);
    pair.server.readsAll = false;
    const flags = F.MESSAGE | MessageFlag.BEST_EFFORT | MessageFlag.FRAGMENT;
    rogue.send(opening(0));
    for (let i = 0; i < 500; i++) {
      rogue.post(Buffer.concat([integers(flags, 0, i, 0, 9_000, 0, 1), Uint8Array.of(1)]));
      rogue.post(
        Buffer.concat([integers(F.MESSAGES_BEST_EFFORT, 0, 10_000 + i, 1, 900), new Uint8Array(900)]),
      );
    }
    pair.run(100);
    expect(pair.server.closed).toBeNull();
    expect(pair.server.core.streams.receiveCounts.budget.used).toBeLessThanOrEqual(50_000);
    expect(pair.server.core.metrics().messagesEvicted).toBeGreaterThan(400);
  });

  test('cannot make the acknowledgements grow by leaving gaps everywhere [REC-39]', () => {
    const { pair, rogue, victim } = attacked();
    for (let i = 0; i < 2_000; i++) {
      rogue.skip();
      rogue.post(Uint8Array.of(F.PING));
    }
    pair.run(100);
    expect(victim.closed).toBeNull();
    const acks = rogue.frames(F.ACK);
    expect(acks.length).toBeGreaterThan(0);
    for (const { ranges } of acks) expect(ranges.length / 2).toBeLessThanOrEqual(64);
  });

  test('cannot make a stream that we read from send for ever by asking for its end again and again', () => {
    const { pair, rogue, victim } = attacked();
    rogue.send(opening(0));
    for (let i = 0; i < 1_000; i++) rogue.post(integers(F.STOP_SENDING, 0, i));
    pair.run(100);
    expect(victim.closed).toBeNull();
    expect(victim.events.filter(({ type }) => type === 'reset')).toHaveLength(1);
    expect(rogue.frames(F.RESET_STREAM).length).toBeLessThan(10);
  });
});

/**
 * Sends messages on so many streams, the first of each left out, as fast as the victim gives credit, and asks for more all the time.
 * Returns what it was charged.
 */
function fillBehindGaps(pair: Pair, rogue: Rogue, streams: number): number {
  const charge = 1_000 + 128;
  const { window } = rogue.victim.core.streams.receiveCounts;
  const sent = new Array<number>(streams).fill(0);
  for (let k = 0; k < streams; k++) rogue.send(opening(2 * k));
  let charged = 0;
  for (let round = 0; round < 60; round++) {
    for (let k = 0; k < streams; k++) {
      const { announced } = rogue.victim.core.streams.find(2 * k)!.receiver.window;
      while ((sent[k] + 1) * charge <= announced && charged + charge <= window.announced) {
        rogue.post(run(2 * k, ++sent[k], 1_000));
        charged += charge;
      }
      rogue.post(integers(F.STREAM_DATA_BLOCKED, 2 * k, announced + 90_000));
    }
    rogue.post(integers(F.DATA_BLOCKED, window.announced + 90_000));
    pair.run(50);
  }
  return charged;
}

function attacked(limits: Partial<ConnectionConfig> = {}) {
  const pair = new Pair({ server: { ...LIMITS, ...limits } }).connected();
  const rogue = new Rogue(pair);
  return { pair, rogue, victim: rogue.victim };
}
