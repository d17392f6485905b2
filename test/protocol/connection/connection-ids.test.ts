import { describe, expect, test } from 'vitest';
import { resetKeyOf, resetToken } from '../../../src/protocol/crypto/identity.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import {
  writeNewConnectionId,
  writePathChallenge,
  writeRetireConnectionId,
} from '../../../src/protocol/wire/frames/path.ts';
import { internalsOf } from './internals.ts';
import { IDENTITY, Pair, PORT, type Side } from './pair.ts';
import { frame, Rogue } from './rogue.ts';

describe('connection ids that are issued [CON-80]', () => {
  test('are one more than is in use, with the token of the reset that ends them, and lead to the connection', () => {
    const pair = new Pair().connected().run(100);
    for (const side of [pair.client, pair.server]) {
      const issued = side.frames(FrameType.NEW_CONNECTION_ID);
      expect(issued.map(({ sequence, data }) => [sequence, data.length])).toEqual([[1, 8]]);
      expect(side.core.ids.local.sequenceOf(issued[0].data)).toBe(1);
    }
    const [{ data }] = pair.server.frames(FrameType.NEW_CONNECTION_ID);
    expect([...spareOf(pair.client)[0].bytes]).toEqual([
      ...data,
      ...resetToken(resetKeyOf(IDENTITY) as Uint8Array, data),
    ]);
  });

  test('are kept without their token once the peer has them, and not told again by a copy that is lost', () => {
    const pair = new Pair().connected().run(100);
    const { local } = pair.server.core.ids;
    const { issued } = local as unknown as { issued: { sequence: number; resetToken: Uint8Array }[] };
    expect(issued.map(({ sequence, resetToken }) => [sequence, resetToken.length])).toEqual([
      [0, 0],
      [1, 0],
    ]);
    local.onLost(1);
    expect(local.isDue).toBe(false);
  });

  test('are told again when they are lost', () => {
    const pair = new Pair();
    pair.server.filter = (data) =>
      pair.server.sent
        .at(-1)
        ?.packets.some(({ frames }) => frames.some(({ type }) => type === FrameType.NEW_CONNECTION_ID)) &&
      pair.server.frames(FrameType.NEW_CONNECTION_ID).length < 3
        ? []
        : [{ data }];
    pair.connected().run(5_000);
    expect(spareOf(pair.client).length).toBe(1);
  });

  test('lead nowhere when the connection is forgotten', () => {
    const pair = new Pair().connected().run(100);
    const { byId } = pair.server.endpoint as unknown as { byId: { issued: Map<number, unknown> } };
    expect(byId.issued.size).toBe(2);
    pair.client.close();
    pair.toTheEnd();
    expect(byId.issued.size).toBe(0);
  });
});

describe('NEW_CONNECTION_ID of a peer that breaks the rules [CON-81]', () => {
  const cases: [string, Uint8Array[], number | null][] = [
    ['one that came before', [id(1), id(1)], null],
    ['one more than is allowed', [id(1), id(2)], CloseCode.CONNECTION_ID_LIMIT_ERROR],
    ['a sequence number with another id', [id(1), id(1, 0, 7)], CloseCode.PROTOCOL_VIOLATION],
    ['an id with another sequence number', [id(1), id(2, 0, 1)], CloseCode.PROTOCOL_VIOLATION],
    ['the id of the handshake, and it takes its place', [id(1, 1)], null],
    ['all ids, this one too, that came before', [id(1), id(2, 2), id(1), id(3, 3)], null],
    [
      'the one in use, with none to replace it',
      [id(1), id(2, 2), id(1, 1), id(2, 2), id(3, 3), id(3, 3)],
      null,
    ],
  ];
  test.each(cases)('%s', (_name, frames, code) => {
    // The server issued an id of its own already: here it is somebody who had none yet.
    const rogue = new Rogue(withoutIssued());
    for (const bytes of frames) rogue.send(bytes);
    expect(rogue.victimClosed?.code ?? null).toBe(code);
  });

  test('that retires ids for ever, and acknowledges nothing, is closed', () => {
    const rogue = new Rogue(withoutIssued());
    for (let i = 1; i < 40 && rogue.victimClosed === null; i++) rogue.send(id(i, i));
    expect(rogue.victimClosed?.code).toBe(CloseCode.CONNECTION_ID_LIMIT_ERROR);
  });

  test('that leaves sequence numbers out, again and again, is closed', () => {
    const rogue = new Rogue(withoutIssued());
    for (let i = 2; i < 80 && rogue.victimClosed === null; i += 2) rogue.send(id(i, i));
    expect(rogue.victimClosed?.code).toBe(CloseCode.CONNECTION_ID_LIMIT_ERROR);
  });

  test('has its id retired, and the next packets go to the new one', () => {
    const rogue = new Rogue(withoutIssued());
    rogue.send(id(1, 1));
    expect(rogue.frames(FrameType.RETIRE_CONNECTION_ID).map(({ sequence }) => sequence)).toEqual([0]);
    expect([...rogue.victim.core.ids.destinationId]).toEqual(Array(8).fill(1));
  });
});

describe('RETIRE_CONNECTION_ID [CON-82]', () => {
  test('of an id that is not in use brings another one in its place', () => {
    const rogue = new Rogue(new Pair().connected().run(100));
    rogue.send(retire(1));
    expect(rogue.frames(FrameType.NEW_CONNECTION_ID).map(({ sequence }) => sequence)).toEqual([2]);
    rogue.send(retire(1));
    expect(rogue.victimClosed).toBeNull();
    expect(rogue.frames(FrameType.NEW_CONNECTION_ID).length).toBe(1);
  });

  test('of an id that was never issued, or that its own packet went to, closes the connection', () => {
    for (const sequence of [2, 1_000, 0]) {
      const rogue = new Rogue(new Pair().connected().run(100));
      rogue.send(retire(sequence));
      expect(rogue.victimClosed?.code).toBe(CloseCode.PROTOCOL_VIOLATION);
    }
  });

  test('of ids that the peer was not told of yet, one after the other, closes the connection: none is made for each', () => {
    const rogue = new Rogue(new Pair().connected().run(100));
    rogue.send(retire(1), retire(2), retire(3));
    expect(rogue.victimClosed?.code).toBe(CloseCode.PROTOCOL_VIOLATION);
  });

  test('leaves packets to that id, which are late, their way', () => {
    const rogue = new Rogue(new Pair().connected().run(100));
    const { local } = rogue.victim.core.ids;
    const [{ data: second }] = rogue.victim.frames(FrameType.NEW_CONNECTION_ID);
    rogue.send(retire(1));
    expect(local.has(second)).toBe(true);
    rogue.send(retire(2)).send(retire(3));
    expect(local.has(second)).toBe(false);
  });
});

test('a client sends to the address of its server alone, wherever its packets come from [CON-87]', () => {
  const rogue = new Rogue(new Pair().connected().run(100), 'server');
  const { port } = rogue as unknown as { port: { rebind(host: string, port: number): void } };
  port.rebind('elsewhere', PORT);
  rogue.send(challenge());
  expect(rogue.victim.core.path.host).toBe('server');
  expect(internalsOf(rogue.victim.core).paths.size).toBe(0);
  expect(rogue.frames(FrameType.PATH_RESPONSE)).toEqual([]);
});

test('an address that is not proved gets challenges in few and small datagrams, if little came from there [CON-91]', () => {
  const rogue = new Rogue(new Pair().connected().run(100));
  const { port } = rogue as unknown as { port: { rebind(host: string, port: number): void } };
  port.rebind('elsewhere', PORT);
  rogue.send(frame((w) => w.u8(FrameType.PING)));
  rogue.victim.node.world.run({ forMs: 5_000 });
  const { sent } = rogue.victim;
  const there = sent.filter(({ packets }) =>
    packets.some(({ frames }) => frames.some(({ type }) => type === FrameType.PATH_CHALLENGE)),
  );
  expect(there.length).toBeGreaterThan(0);
  for (const { data } of there) expect(data.length).toBeLessThanOrEqual(64);
  expect(there.reduce((sum, { data }) => sum + data.length, 0)).toBeLessThanOrEqual(3 * 40);
});

test('the probe timeout that closing counts by is that of the path in use, without back-off [CON-93]', () => {
  const pair = new Pair({ link: { delayMs: 40 } }).connected().run(200);
  pair.server.filter = () => [];
  pair.client.send(pair.client.open(), 'nobody answers');
  pair.run(2_000);
  const { recovery } = internalsOf(pair.client.core);
  expect(recovery.ptoCount).toBeGreaterThan(1);
  const at = pair.now;
  pair.client.close();
  pair.until(() => pair.client.endpoint.counters.connectionsOpen === 0);
  expect(pair.now - at).toBeLessThan(3 * recovery.probeTimeout(2) + 2_000);
});

// ---- inside ----

/** Ids of the peer that wait to be used on another path. */
function spareOf({ core }: Side): readonly { readonly bytes: Uint8Array }[] {
  return (core.ids.peer as unknown as { spare: { bytes: Uint8Array }[] }).spare;
}

/** A connection whose sides issued each other no ids. */
function withoutIssued(): Pair {
  const pair = new Pair().connected();
  const { peer } = pair.server.core.ids;
  const inside = peer as unknown as { spare: unknown[]; seen: { remove(start: number, end: number): void } };
  pair.run(100);
  inside.spare = [];
  inside.seen.remove(1, 2);
  return pair;
}

function id(sequence: number, retirePriorTo = 0, byte = sequence): Uint8Array {
  return frame((w) =>
    writeNewConnectionId(
      w,
      sequence,
      retirePriorTo,
      new Uint8Array(8).fill(byte),
      new Uint8Array(16).fill(byte),
    ),
  );
}

function retire(sequence: number): Uint8Array {
  return frame((w) => writeRetireConnectionId(w, sequence));
}

function challenge(): Uint8Array {
  return frame((w) => writePathChallenge(w, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)));
}
