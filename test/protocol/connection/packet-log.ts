import type { Micros } from '../../../src/base/time.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { HeaderKey, PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { openPacket, UnprotectedHeader } from '../../../src/protocol/crypto/packet-protection.ts';
import type { Endpoint } from '../../../src/protocol/endpoint/endpoint.ts';
import { LOCAL_ID_BYTES } from '../../../src/protocol/endpoint/routing.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import {
  PacketHeader,
  type PacketSpace,
  PacketType,
  packetSpaceOf,
  parsePacketHeader,
} from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';

/** A frame that was sent, with the fields that tests look at; those that its type does not have are whatever came before. */
export interface LoggedFrame {
  readonly type: number;
  readonly stream: number;
  readonly sequence: number;
  readonly count: number;
  readonly offset: number;
  readonly total: number;
  readonly limit: number;
  readonly code: number;
  readonly scope: number;
  readonly frameType: number;
  readonly number: number;
  readonly interval: number;
  readonly end: number;
  /** Message data, label, reason, CRYPTO bytes. */
  readonly data: Uint8Array;
  /** ACK: [start, end) pairs, newest first. */
  readonly ranges: readonly number[];
  /** ACK: packets that it tells as recovered. */
  readonly recovered: readonly number[];
}

/** A packet in the clear. */
export interface LoggedPacket {
  readonly type: number;
  readonly space: number;
  readonly number: number;
  readonly unpinned: boolean;
  /** Header, payload and tag. */
  readonly bytes: number;
  readonly frames: readonly LoggedFrame[];
}

export interface LoggedDatagram {
  readonly at: Micros;
  /** As it was sent. */
  readonly data: Uint8Array;
  readonly packets: readonly LoggedPacket[];
}

/** Opens what `endpoint` is about to send: its own sealing keys open as well. */
export function readDatagram(endpoint: Endpoint, data: Uint8Array, at: Micros): LoggedDatagram {
  if (isStateless(endpoint, data)) return { at, data: data.slice(), packets: [] };
  return {
    at,
    data: data.slice(),
    packets: readPackets(data, (space, dcid) => sealKeys(endpoint, space, dcid)),
  };
}

/** Takes a datagram apart, with `keysOf` to find what opens the packets of a space. */
export function readPackets(
  data: Uint8Array,
  keysOf: (space: PacketSpace, dcid: Uint8Array) => PacketKeys | null,
): LoggedPacket[] {
  const copy = data.slice();
  const packets: LoggedPacket[] = [];
  const header = new PacketHeader();
  for (let at = 0; at < copy.length; at = header.end) {
    if (!parsePacketHeader(header, copy, at, copy.length, LOCAL_ID_BYTES))
      throw new Error('a malformed packet was sent');
    const space = packetSpaceOf(header.type);
    const keys = keysOf(space, copy.slice(header.dcidStart, header.dcidStart + header.dcidLength));
    if (keys === null) throw new Error(`no keys for a packet of space ${space}`);
    const found = new UnprotectedHeader();
    // The log sees every packet, so the largest number so far is what the next one is decoded against.
    found.unprotect(keys, copy, at, header.numberStart, header.end, largestOf(keys));
    const end = openPacket(ofPhase(keys, found.phase), copy, at, header.end, found);
    if (end < 0) throw new Error(`a packet of space ${space} was sent that does not open`);
    LARGEST.set(keys.header, Math.max(largestOf(keys), found.number));
    packets.push({
      type: header.type,
      space,
      number: found.number,
      unpinned: header.unpinned,
      bytes: header.end - at,
      frames: readFrames(copy, found.payloadStart, end),
    });
  }
  return packets;
}

/** A stateless reset or refusal: what no connection of the endpoint sent. */
function isStateless(endpoint: Endpoint, data: Uint8Array): boolean {
  const header = new PacketHeader();
  if (!parsePacketHeader(header, data, 0, data.length, LOCAL_ID_BYTES)) return true;
  const sender = connectionsOf(endpoint).find((connection) =>
    header.scidLength === 0 || header.type === PacketType.ONE_RTT
      ? sendsTo(connection, data.subarray(header.dcidStart, header.dcidStart + header.dcidLength))
      : Buffer.compare(
          connection.ids.sourceId,
          data.subarray(header.scidStart, header.scidStart + header.scidLength),
        ) === 0,
  );
  return sender === undefined;
}

/** The connections of an endpoint, half-open ones included. */
export function connectionsOf(endpoint: Endpoint): Connection[] {
  const table = (endpoint as unknown as { byId: { values(): IterableIterator<Connection> } }).byId;
  return [...table.values()];
}

/** Whether the connection's packets carry this id, on the path in use or on one that it tries. */
function sendsTo(connection: Connection, dcid: Uint8Array): boolean {
  const { candidates } = internalsOf(connection).paths as unknown as {
    candidates: readonly { ownId: Uint8Array | null }[];
  };
  const tried = candidates.flatMap(({ ownId }) => ownId ?? []);
  return [connection.ids.destinationId, ...tried].some((id) => Buffer.compare(id, dcid) === 0);
}

function sealKeys(endpoint: Endpoint, space: PacketSpace, dcid: Uint8Array): PacketKeys | null {
  const owner = connectionsOf(endpoint).find((connection) => sendsTo(connection, dcid));
  return owner === undefined ? null : internalsOf(owner).keys.toSeal(space);
}

function readFrames(buffer: Uint8Array, start: number, end: number): LoggedFrame[] {
  const reader = new FrameReader();
  const frames: LoggedFrame[] = [];
  reader.reset(buffer, start, end);
  while (nextFrame(reader)) {
    const { type, stream, sequence, count, offset, total, limit, code, scope, frameType, number } = reader;
    const { interval } = reader;
    const isAck = type >= FrameType.ACK && type <= FrameType.ACK_ECN_RECOVERED;
    frames.push({
      type,
      stream,
      sequence,
      count,
      offset,
      total,
      limit,
      code,
      scope,
      frameType,
      number,
      interval,
      end: reader.end,
      data: buffer.slice(reader.dataStart, reader.dataStart + reader.dataLength),
      ranges: isAck ? [...reader.ackRanges.subarray(0, 2 * reader.rangeCount)] : [],
      recovered: isAck ? [...reader.recovered.subarray(0, reader.recoveredCount)] : [],
    });
  }
  if (reader.error !== 0) throw new Error(`a malformed frame of type ${reader.type} was sent`);
  return frames;
}

function largestOf({ header }: PacketKeys): number {
  return LARGEST.get(header) ?? -1;
}

/** Within a batch the keys may have been updated: its first packets are sealed with those before. */
function ofPhase(keys: PacketKeys, phase: number): PacketKeys {
  const both = PHASES.get(keys.header) ?? [null, null];
  PHASES.set(keys.header, both);
  both[keys.phase] = keys;
  const found = both[phase];
  if (found === null) throw new Error('a packet of a phase that never was');
  return found;
}

/** By header key, which outlives key updates. */
const LARGEST = new WeakMap<HeaderKey, number>();
const PHASES = new WeakMap<HeaderKey, [PacketKeys | null, PacketKeys | null]>();
