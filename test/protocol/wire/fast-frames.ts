/** Brings the fast reader and writers to the plain frames that the vectors and the slow twins speak. */

import { RangeSet } from '../../../src/base/ranges.ts';
import { closeCodeName } from '../../../src/protocol/wire/close-code.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameType, MessageFlag, RunFlag, type Space } from '../../../src/protocol/wire/frame-type.ts';
import {
  CONTROL_FRAME_BYTES_MAX,
  FrameWriter,
  MessageHeader,
} from '../../../src/protocol/wire/frame-writer.ts';
import * as ack from '../../../src/protocol/wire/frames/ack.ts';
import * as admitted from '../../../src/protocol/wire/frames/admitted.ts';
import * as close from '../../../src/protocol/wire/frames/connection-close.ts';
import * as crypto from '../../../src/protocol/wire/frames/crypto.ts';
import * as extension from '../../../src/protocol/wire/frames/extension.ts';
import * as flowControl from '../../../src/protocol/wire/frames/flow-control.ts';
import * as goAway from '../../../src/protocol/wire/frames/go-away.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import * as abandon from '../../../src/protocol/wire/frames/message.ts';
import * as message from '../../../src/protocol/wire/frames/message.ts';
import * as path from '../../../src/protocol/wire/frames/path.ts';
import * as ping from '../../../src/protocol/wire/frames/ping.ts';
import * as repair from '../../../src/protocol/wire/frames/repair.ts';
import * as stream from '../../../src/protocol/wire/frames/stream.ts';
import { readVarint, varintLength, varintSize } from '../../../src/protocol/wire/varint.ts';
import { fromHex, toHex } from './hex.ts';
import type { SlowAck, SlowFrame, SlowMessage } from './slow-frames.ts';

/** What {@link readAll} found: the frames up to the end or the error, and the error's name. */
export interface Reading {
  frames: SlowFrame[];
  error: string | null;
}

/** Reads a payload that lies somewhere in a larger buffer, whose other bytes must not matter. */
export function readAll(payload: Uint8Array, reader: FrameReader = new FrameReader()): Reading {
  const buffer = new Uint8Array(payload.length + 32).fill(0x01);
  buffer.set(payload, 16);
  const frames: SlowFrame[] = [];
  reader.reset(buffer, 16, 16 + payload.length);
  while (nextFrame(reader)) frames.push(describeFrame(reader));
  return { frames, error: reader.error === 0 ? null : closeCodeName(reader.error) };
}

/** The frame that the reader is at. */
export function describeFrame(reader: FrameReader): SlowFrame {
  const { type, stream } = reader;
  const data = bytesAt(reader, reader.dataStart, reader.dataLength);
  if (type >= 0x20 && type <= 0x2f) return describeMessage(reader, data);
  if (type >= 0x38) return { type: 'EXTENSION', id: type, data };
  switch (type) {
    case FrameType.PADDING:
      return { type: 'PADDING', count: reader.count };
    case FrameType.PING:
      return { type: 'PING' };
    case FrameType.ACK:
    case FrameType.ACK_ECN:
    case FrameType.ACK_RECOVERED:
    case FrameType.ACK_ECN_RECOVERED:
      return describeAck(reader);
    case FrameType.CRYPTO:
      return { type: 'CRYPTO', offset: reader.offset, total: reader.total, data };
    case FrameType.ADMITTED:
      return { type: 'ADMITTED', offset: reader.offset, total: reader.total, data };
    case FrameType.HANDSHAKE_DONE:
      return { type: 'HANDSHAKE_DONE' };
    case FrameType.NEW_TOKEN:
      return { type: 'NEW_TOKEN', data };
    case FrameType.TICKET:
      return {
        type: 'TICKET',
        lifetime: reader.lifetime,
        nonce: bytesAt(reader, reader.nonceStart, 16),
        data,
      };
    case FrameType.STREAM_OPEN: {
      const { priority, ordered, delivery } = reader;
      return { type: 'STREAM_OPEN', stream, priority, ordered, delivery, label: data };
    }
    case FrameType.STREAM_FIN:
      return { type: 'STREAM_FIN', stream, end: reader.end };
    case FrameType.RESET_STREAM:
      return { type: 'RESET_STREAM', stream, code: reader.code, end: reader.end };
    case FrameType.STOP_SENDING:
      return { type: 'STOP_SENDING', stream, code: reader.code };
    case FrameType.ABANDON:
      return { type: 'ABANDON', stream, first: reader.sequence, lengths: lengthsOf(reader) };
    case FrameType.DROPPED: {
      const { space, sequence, count } = reader;
      return { type: 'DROPPED', stream, space, first: sequence, count };
    }
    case FrameType.MAX_DATA:
      return { type: 'MAX_DATA', limit: reader.limit };
    case FrameType.MAX_STREAM_DATA:
      return { type: 'MAX_STREAM_DATA', stream, limit: reader.limit };
    case FrameType.MAX_STREAMS:
      return { type: 'MAX_STREAMS', limit: reader.limit };
    case FrameType.DATA_BLOCKED:
      return { type: 'DATA_BLOCKED', limit: reader.limit };
    case FrameType.STREAM_DATA_BLOCKED:
      return { type: 'STREAM_DATA_BLOCKED', stream, limit: reader.limit };
    case FrameType.STREAMS_BLOCKED:
      return { type: 'STREAMS_BLOCKED', limit: reader.limit };
    case FrameType.REPAIR: {
      const { code, group, index, k, r } = reader;
      return { type: 'REPAIR', code, group, index, k, r, data };
    }
    case FrameType.HEARTBEAT:
      return { type: 'HEARTBEAT', number: reader.number, interval: reader.interval };
    case FrameType.PATH_CHALLENGE:
      return { type: 'PATH_CHALLENGE', data };
    case FrameType.PATH_RESPONSE:
      return { type: 'PATH_RESPONSE', data };
    case FrameType.NEW_CONNECTION_ID: {
      const { sequence, retirePriorTo } = reader;
      const resetToken = bytesAt(reader, reader.resetTokenStart, 16);
      return { type: 'NEW_CONNECTION_ID', sequence, retirePriorTo, id: data, resetToken };
    }
    case FrameType.RETIRE_CONNECTION_ID:
      return { type: 'RETIRE_CONNECTION_ID', sequence: reader.sequence };
    case FrameType.CONNECTION_CLOSE: {
      const { scope, code, frameType } = reader;
      return { type: 'CONNECTION_CLOSE', scope, code, frameType, reason: data };
    }
    case FrameType.GOAWAY:
      return { type: 'GOAWAY', delay: reader.delay, url: data };
    case FrameType.ACK_FREQUENCY: {
      const { number, threshold, delay } = reader;
      return { type: 'ACK_FREQUENCY', number, threshold, delay };
    }
    case FrameType.MESSAGES:
    case FrameType.MESSAGES_BEST_EFFORT:
    case FrameType.MESSAGES_ENVELOPED:
    case FrameType.MESSAGES_ENVELOPED_BEST_EFFORT: {
      const bestEffort = (type & RunFlag.BEST_EFFORT) !== 0;
      const enveloped = reader.isEnveloped ? { enveloped: true as const } : {};
      const messages = messagesOf(reader);
      return { type: 'MESSAGES', bestEffort, ...enveloped, stream, first: reader.sequence, messages };
    }
    default:
      throw new Error(`the reader let type ${type} through`);
  }
}

/** Writes the frame into a buffer of exactly the size that the size functions give, and checks that it fills it. */
export function writeFrame(frame: SlowFrame): Uint8Array {
  const size = frameSize(frame);
  const guard = 8;
  const w = new FrameWriter();
  w.begin(new Uint8Array(guard + size + guard).fill(0xa5), guard, guard + size);
  writeTo(w, frame);
  const { out, at: end } = w;
  if (end > guard + size) throw new Error(`${frame.type} is longer than its size, ${size}`);
  if (SIZED.has(frame.type) && end < guard + size) throw new Error(`${frame.type} is shorter than its size`);
  if (out.subarray(end).some((byte) => byte !== 0xa5)) throw new Error(`${frame.type} wrote behind its end`);
  if (out.subarray(0, guard).some((byte) => byte !== 0xa5)) throw new Error(`${frame.type} wrote before it`);
  return out.slice(guard, end);
}

/** Frames whose size functions are exact; for the others there is a bound. */
const SIZED = new Set<SlowFrame['type']>([
  'PADDING',
  'CRYPTO',
  'ADMITTED',
  'NEW_TOKEN',
  'TICKET',
  'STREAM_OPEN',
  'ABANDON',
  'REPAIR',
  'CONNECTION_CLOSE',
  'GOAWAY',
  'MESSAGE',
  'MESSAGES',
  'EXTENSION',
]);

function frameSize(frame: SlowFrame): number {
  switch (frame.type) {
    case 'PADDING':
      return frame.count;
    case 'ACK':
      return 2 + 8 * (7 + 2 * frame.ranges.length + (frame.recovered?.length ?? 0));
    case 'GOAWAY':
      return goAway.goAwaySize(frame.delay, fromHex(frame.url));
    case 'CRYPTO':
    case 'ADMITTED': {
      const length = frame.data.length / 2;
      return crypto.cryptoHeaderSize(frame.offset, frame.total, length) + length;
    }
    case 'NEW_TOKEN':
      return crypto.newTokenSize(fromHex(frame.data));
    case 'TICKET':
      return crypto.ticketSize(frame.lifetime, fromHex(frame.data));
    case 'STREAM_OPEN':
      return stream.streamOpenSize(frame.stream, fromHex(frame.label));
    case 'ABANDON': {
      const lengths = frame.lengths.reduce((sum, length) => sum + varintSize(length), 0);
      return abandon.abandonHeaderSize(frame.stream, frame.first, frame.lengths.length) + lengths;
    }
    case 'REPAIR':
      return repair.repairHeaderSize(frame.group, frame.data.length / 2) + frame.data.length / 2;
    case 'NEW_CONNECTION_ID':
      return path.NEW_CONNECTION_ID_BYTES_MAX;
    case 'CONNECTION_CLOSE':
      return close.connectionCloseSize(frame.code, fromHex(frame.reason));
    case 'MESSAGE':
      return message.messageHeaderSize(headerOf(frame)) + frame.data.length / 2;
    case 'MESSAGES': {
      const pairs = frame.messages.reduce((sum, hex) => sum + varintSize(hex.length / 2) + hex.length / 2, 0);
      return message.messagesHeaderSize(frame.stream, frame.first, frame.messages.length) + pairs;
    }
    case 'EXTENSION':
      return extension.extensionSize(fromHex(frame.data));
    default:
      return CONTROL_FRAME_BYTES_MAX;
  }
}

function writeTo(w: FrameWriter, frame: SlowFrame): void {
  switch (frame.type) {
    case 'PADDING':
      return ping.writePadding(w, frame.count);
    case 'PING':
      return ping.writePing(w);
    case 'ACK':
      ack.writeAck(w, rangeSetOf(frame), frame.delay, 0, frame.ecn ?? null, frame.recovered ?? []);
      return;
    case 'CRYPTO': {
      crypto.writeCryptoHeader(w, frame.offset, frame.total, frame.data.length / 2);
      return w.bytes(fromHex(frame.data));
    }
    case 'ADMITTED': {
      admitted.writeAdmittedHeader(w, frame.offset, frame.total, frame.data.length / 2);
      return w.bytes(fromHex(frame.data));
    }
    case 'HANDSHAKE_DONE':
      return crypto.writeHandshakeDone(w);
    case 'NEW_TOKEN':
      return crypto.writeNewToken(w, fromHex(frame.data));
    case 'TICKET':
      return crypto.writeTicket(w, frame.lifetime, fromHex(frame.nonce), fromHex(frame.data));
    case 'STREAM_OPEN': {
      const flags = stream.streamOpenFlags(frame.priority, frame.ordered, frame.delivery);
      return stream.writeStreamOpen(w, frame.stream, flags, fromHex(frame.label));
    }
    case 'STREAM_FIN':
      return stream.writeStreamFin(w, frame.stream, frame.end);
    case 'RESET_STREAM':
      return stream.writeResetStream(w, frame.stream, frame.code, frame.end);
    case 'STOP_SENDING':
      return stream.writeStopSending(w, frame.stream, frame.code);
    case 'ABANDON': {
      abandon.writeAbandonHeader(w, frame.stream, frame.first, frame.lengths.length);
      for (const length of frame.lengths) w.varint(length);
      return;
    }
    case 'DROPPED':
      return abandon.writeDropped(w, frame.stream, frame.space as Space, frame.first, frame.count);
    case 'MAX_DATA':
      return flowControl.writeMaxData(w, frame.limit);
    case 'MAX_STREAM_DATA':
      return flowControl.writeMaxStreamData(w, frame.stream, frame.limit);
    case 'MAX_STREAMS':
      return flowControl.writeMaxStreams(w, frame.limit);
    case 'DATA_BLOCKED':
      return flowControl.writeDataBlocked(w, frame.limit);
    case 'STREAM_DATA_BLOCKED':
      return flowControl.writeStreamDataBlocked(w, frame.stream, frame.limit);
    case 'STREAMS_BLOCKED':
      return flowControl.writeStreamsBlocked(w, frame.limit);
    case 'REPAIR': {
      const { code, group, index, k, r } = frame;
      repair.writeRepairHeader(w, { code, group, index, k, r, length: frame.data.length / 2 });
      return w.bytes(fromHex(frame.data));
    }
    case 'HEARTBEAT':
      return ping.writeHeartbeat(w, frame.number, frame.interval);
    case 'PATH_CHALLENGE':
      return path.writePathChallenge(w, fromHex(frame.data));
    case 'PATH_RESPONSE':
      return path.writePathResponse(w, fromHex(frame.data));
    case 'NEW_CONNECTION_ID': {
      const { sequence, retirePriorTo } = frame;
      const [id, token] = [fromHex(frame.id), fromHex(frame.resetToken)];
      return path.writeNewConnectionId(w, sequence, retirePriorTo, id, token);
    }
    case 'RETIRE_CONNECTION_ID':
      return path.writeRetireConnectionId(w, frame.sequence);
    case 'CONNECTION_CLOSE':
      return close.writeConnectionClose(w, frame.scope, frame.code, frame.frameType, fromHex(frame.reason));
    case 'GOAWAY':
      return goAway.writeGoAway(w, frame.delay, fromHex(frame.url));
    case 'ACK_FREQUENCY':
      return ack.writeAckFrequency(w, frame.number, frame.threshold, frame.delay);
    case 'MESSAGE':
      Object.assign(w.message, headerOf(frame));
      message.writeMessageHeader(w);
      return w.bytes(fromHex(frame.data));
    case 'MESSAGES': {
      const { bestEffort, enveloped, stream, first, messages } = frame;
      const flags = (bestEffort ? RunFlag.BEST_EFFORT : 0) | (enveloped ? RunFlag.ENVELOPE : 0);
      message.writeMessagesHeader(w, flags, stream, first, messages.length);
      for (const hex of messages) {
        w.varint(hex.length / 2);
        w.bytes(fromHex(hex));
      }
      return;
    }
    case 'EXTENSION':
      return extension.writeExtension(w, frame.id, fromHex(frame.data));
    default:
      frame satisfies never;
  }
}

function headerOf(frame: SlowMessage): MessageHeader {
  const header = new MessageHeader();
  if (frame.bestEffort) header.flags |= MessageFlag.BEST_EFFORT;
  if (frame.fragment !== undefined) header.flags |= MessageFlag.FRAGMENT;
  if (frame.remaining !== undefined) header.flags |= MessageFlag.LIFETIME;
  if (frame.enveloped) header.flags |= MessageFlag.ENVELOPE;
  const { stream, sequence, remaining = -1 } = frame;
  const length = frame.data.length / 2;
  return Object.assign(header, { stream, sequence, remaining, length }, frame.fragment);
}

function rangeSetOf(frame: SlowAck): RangeSet {
  const set = new RangeSet();
  for (const [low, top] of frame.ranges.toReversed()) set.add(low, top + 1);
  return set;
}

function bytesAt(reader: FrameReader, start: number, length: number): string {
  return toHex(reader.buffer.subarray(start, start + length));
}

function describeAck(reader: FrameReader): SlowAck {
  const ranges: [number, number][] = [];
  for (let i = 0; i < reader.rangeCount; i++) {
    ranges.push([reader.ackRanges[2 * i], reader.ackRanges[2 * i + 1] - 1]);
  }
  const frame: SlowAck = { type: 'ACK', delay: reader.delay, ranges };
  if (reader.ect0 >= 0) frame.ecn = { ect0: reader.ect0, ect1: reader.ect1, ce: reader.ce };
  if (reader.type >= FrameType.ACK_RECOVERED) {
    frame.recovered = [...reader.recovered.subarray(0, reader.recoveredCount)];
  }
  return frame;
}

function describeMessage(reader: FrameReader, data: string): SlowMessage {
  const { flags, stream, sequence, offset, total, oldest } = reader;
  const bestEffort = (flags & MessageFlag.BEST_EFFORT) !== 0;
  const frame: SlowMessage = { type: 'MESSAGE', bestEffort, stream, sequence, data };
  if ((flags & MessageFlag.FRAGMENT) !== 0) frame.fragment = { offset, total, oldest };
  else if (offset !== 0 || total !== reader.dataLength || oldest !== -1)
    throw new Error('stale fragment fields');
  if ((flags & MessageFlag.LIFETIME) !== 0) frame.remaining = reader.remaining;
  else if (reader.remaining !== -1) throw new Error('a stale lifetime');
  if (reader.isEnveloped) frame.enveloped = true;
  return frame;
}

/** Walks a run as a receiver does. */
function messagesOf(reader: FrameReader): string[] {
  const { buffer, dataStart } = reader;
  const end = dataStart + reader.dataLength;
  const messages: string[] = [];
  let at = dataStart;
  for (let i = 0; i < reader.count; i++) {
    const length = readVarint(buffer, at, end);
    at += varintLength(buffer[at]);
    messages.push(toHex(buffer.subarray(at, at + length)));
    at += length;
  }
  if (at !== end) throw new Error('the run does not end where its last message does');
  return messages;
}

function lengthsOf(reader: FrameReader): number[] {
  const { buffer, dataStart } = reader;
  const end = dataStart + reader.dataLength;
  const lengths: number[] = [];
  for (let at = dataStart; at < end; at += varintLength(buffer[at]))
    lengths.push(readVarint(buffer, at, end));
  if (lengths.length !== reader.count) throw new Error('not as many lengths as counted');
  return lengths;
}
