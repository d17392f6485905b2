import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { CloseReason } from '../../../src/protocol/connection/lifecycle.ts';
import { KeyRing } from '../../../src/protocol/crypto/key-ring.ts';
import type { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { sealPacket } from '../../../src/protocol/crypto/packet-protection.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import {
  longHeaderSize,
  PacketSpace,
  PacketType,
  shortHeaderSize,
  writeLongHeader,
  writePacketLength,
  writeShortHeader,
} from '../../../src/protocol/wire/packet-header.ts';
import { varintSize, writeVarint } from '../../../src/protocol/wire/varint.ts';
import type { LabPort } from '../../../src/testing/network.ts';
import { internalsOf } from './internals.ts';
import { type LoggedPacket, readPackets } from './packet-log.ts';
import { AEAD, IDENTITY, type Pair, PORT, type Side } from './pair.ts';

/**
 * A peer that went through the handshake as it should and now sends what it likes: it takes the place of one side of a pair, with the
 * keys of its connection.
 */
export class Rogue {
  /** The honest side. */
  readonly victim: Side;
  /** What the victim sent since. */
  readonly heard: LoggedPacket[] = [];
  private readonly pair: Pair;
  private readonly core: Connection;
  private readonly port: LabPort;
  private number: number;

  constructor(pair: Pair, name: 'client' | 'server' = 'client') {
    const side = pair[name];
    this.pair = pair;
    this.victim = name === 'client' ? pair.server : pair.client;
    this.core = side.core;
    this.number = this.space.nextNumber;
    side.node.remove();
    this.port = pair.world.network.open(name, PORT, ({ data }) => {
      if ((data[0] & 0x80) === 0)
        this.heard.push(...readPackets(data, () => internalsOf(this.core).keys.toOpen(PacketType.ONE_RTT)));
    });
  }

  /** Sends the frames in one 1-RTT packet and lets the victim take it. */
  send(...frames: readonly Uint8Array[]): this {
    return this.sendRaw(Buffer.concat(frames));
  }

  /** Sends a payload, whatever it is, in a packet with these protected bits set. */
  sendRaw(payload: Uint8Array, bits = 0): this {
    const packet = sealShort(this.keys, this.core.ids.destinationId, this.number++, payload, bits);
    this.port.send(packet, this.victim.name, PORT);
    this.pair.run(20);
    return this;
  }

  /** Sends a payload under a number that was left out, in a packet with these protected bits set. */
  sendLate(number: number, payload: Uint8Array, bits = 0): this {
    this.port.send(
      sealShort(this.keys, this.core.ids.destinationId, number, payload, bits),
      this.victim.name,
      PORT,
    );
    this.pair.run(20);
    return this;
  }

  /** Sends as {@link send} does without waiting. */
  post(...frames: readonly Uint8Array[]): void {
    this.postRaw(Buffer.concat(frames));
  }

  /** Sends as {@link sendRaw} does without waiting. */
  postRaw(payload: Uint8Array, bits = 0): void {
    const packet = sealShort(this.keys, this.core.ids.destinationId, this.number++, payload, bits);
    this.port.send(packet, this.victim.name, PORT);
  }

  /** Leaves packet numbers out. */
  skip(count = 1): void {
    this.number += count;
  }

  /** Number of the next packet. */
  get next(): number {
    return this.number;
  }

  /** Frames of a type that the victim sent since. */
  frames(type: number) {
    return this.heard.flatMap(({ frames }) => frames.filter((frame) => frame.type === type));
  }

  get victimClosed(): CloseReason | null {
    return this.victim.closed;
  }

  private get space() {
    const space = internalsOf(this.core).spaces[PacketSpace.APPLICATION];
    if (space === null) throw new Error('there is no connection');
    return space;
  }

  private get keys(): PacketKeys {
    const keys = internalsOf(this.core).keys.toSeal(PacketSpace.APPLICATION);
    if (keys === null) throw new Error('the handshake is not over');
    return keys;
  }
}

/** A 1-RTT packet. `bits` are set in its first byte before it is protected. */
export function sealShort(
  keys: PacketKeys,
  dcid: Uint8Array,
  number: number,
  payload: Uint8Array,
  bits = 0,
): Uint8Array {
  const out = new Uint8Array(shortHeaderSize(dcid.length, 4) + payload.length + 16);
  const start = writeShortHeader(out, 0, false, 0, dcid, number, 4);
  out[0] |= bits;
  out.set(payload, start);
  sealPacket(keys, out, 0, start - 4, start + payload.length, number);
  return out;
}

/** An Initial or Handshake packet. `bits` are set in its first byte before it is protected. */
export function sealLong(
  keys: PacketKeys,
  type: number,
  ids: { dcid: Uint8Array; scid: Uint8Array; unpinned?: boolean; token?: Uint8Array },
  number: number,
  payload: Uint8Array,
  bits = 0,
): Uint8Array {
  const { dcid, scid, unpinned = false, token = NOTHING } = ids;
  const out = new Uint8Array(
    longHeaderSize(type, dcid.length, scid.length, token.length, 4) + payload.length + 16,
  );
  const start = writeLongHeader(out, 0, type, unpinned, dcid, scid, token, number, 4);
  out[0] |= bits;
  out.set(payload, start);
  writePacketLength(out, start - 4, out.length);
  sealPacket(keys, out, 0, start - 4, start + payload.length, number);
  return out;
}

/** The bytes that writers of src/protocol/wire/frames/ write. */
export function frame(write: (w: FrameWriter) => void): Uint8Array {
  const w = new FrameWriter();
  w.begin(new Uint8Array(2_048), 0, 2_048);
  write(w);
  return w.out.slice(0, w.at);
}

/** A frame of a type and integers, in the least bytes. */
export function integers(type: number, ...values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.reduce((sum, value) => sum + varintSize(value), 1));
  bytes[0] = type;
  let at = 1;
  for (const value of values) at = writeVarint(bytes, at, value);
  return bytes;
}

export function varint(value: number): Uint8Array {
  const out = new Uint8Array(varintSize(value));
  writeVarint(out, 0, value);
  return out;
}

/** STREAM_OPEN of an ordered, reliable chat stream. */
export function opening(stream: number, label = ''): Uint8Array {
  const text = Buffer.from(label);
  return Buffer.concat([integers(FrameType.STREAM_OPEN, stream), Uint8Array.of(0x06, text.length), text]);
}

/** MESSAGES with messages of these lengths. */
export function run(stream: number, first: number, ...lengths: readonly number[]): Uint8Array {
  const head = integers(FrameType.MESSAGES, stream, first, lengths.length);
  const bytes = new Uint8Array(
    lengths.reduce((sum, length) => sum + varintSize(length) + length, head.length),
  );
  bytes.set(head);
  let at = head.length;
  for (const length of lengths) at = writeVarint(bytes, at, length) + length;
  return bytes;
}

/** A fragment of a message of the reliable space. */
export function fragment(
  stream: number,
  sequence: number,
  offset: number,
  total: number,
  length: number,
): Uint8Array {
  return Buffer.concat([
    integers(FrameType.MESSAGE | 0x2, stream, sequence, offset, total, 0, length),
    new Uint8Array(length),
  ]);
}

const NOTHING = new Uint8Array(0);

/** What seals the Initial packets of a client that made up this destination id and knows the server. */
export function initialSealKeys(dcid: Uint8Array): PacketKeys {
  return KeyRing.ofClient(AEAD, dcid, IDENTITY.fingerprint).toSeal(PacketSpace.INITIAL) as PacketKeys;
}
