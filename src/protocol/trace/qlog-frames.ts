/**
 * Frames as qlog says them: those that mean the same as one of QUIC under its name and with its fields, the others as
 * spec/qlog/jetstream.cddl defines them. What messages say is left out; their streams, sequences and lengths are there. [TRC-4]
 */

import { hexOf } from '../../base/bytes.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import { FrameType, MessageFlag, PRIORITY_NAMES, Space } from '../wire/frame-type.ts';
import { nextFrame } from '../wire/frames/index.ts';
import { readVarint, varintLength } from '../wire/varint.ts';

/** The frames of a payload in the clear, as a JSON array. What cannot be decoded ends it, as an unknown frame. */
export function framesJson(reader: FrameReader, buffer: Uint8Array, start: number, end: number): string {
  reader.reset(buffer, start, end);
  let list = '';
  let at = start;
  while (nextFrame(reader)) {
    list += `${list === '' ? '' : ','}${frameJson(reader, reader.at - at)}`;
    at = reader.at;
  }
  if (reader.error !== 0 && at < end) list += `${list === '' ? '' : ','}${unknown(buffer[at], end - at)}`;
  return `[${list}]`;
}

/** The codes that QUIC has, too, by QUIC's names; null for those of our own. */
export function transportErrorName(code: number): string | null {
  return TRANSPORT_ERRORS.get(code) ?? null;
}

/** An application's code: a number where qlog has room for it, else its digits. */
export function applicationCodeJson(code: number): string {
  return code <= UINT32_MAX ? String(code) : `"0x${code.toString(16)}"`;
}

/** @param bytes - length of the frame */
function frameJson(r: FrameReader, bytes: number): string {
  const { type } = r;
  if (type >= FrameType.MESSAGE && type < FrameType.MESSAGES) return messageJson(r);
  switch (type) {
    case FrameType.PADDING:
      return `{"frame_type":"padding","payload_length":${bytes}}`;
    case FrameType.PING:
      return '{"frame_type":"ping"}';
    case FrameType.ACK:
    case FrameType.ACK_ECN:
    case FrameType.ACK_RECOVERED:
    case FrameType.ACK_ECN_RECOVERED:
      return ackJson(r);
    case FrameType.CRYPTO:
      return `{"frame_type":"crypto","offset":${r.offset},"length":${r.dataLength}}`;
    case FrameType.ADMITTED:
      return `{"frame_type":"admitted","offset":${r.offset},"length":${r.dataLength}}`;
    case FrameType.HANDSHAKE_DONE:
      return '{"frame_type":"handshake_done"}';
    case FrameType.NEW_TOKEN:
      return `{"frame_type":"new_token","token":{"length":${r.dataLength}}}`;
    case FrameType.TICKET:
      return `{"frame_type":"ticket","lifetime":${r.lifetime},"length":${r.dataLength}}`;
    case FrameType.STREAM_OPEN:
      return streamOpenJson(r);
    case FrameType.STREAM_FIN:
      return `{"frame_type":"stream_fin","stream_id":${r.stream},"end":${r.end}}`;
    case FrameType.RESET_STREAM:
      return `{"frame_type":"reset_stream","stream_id":${r.stream},"error_code":${applicationCodeJson(r.code)},"final_size":${r.end}}`;
    case FrameType.STOP_SENDING:
      return `{"frame_type":"stop_sending","stream_id":${r.stream},"error_code":${applicationCodeJson(r.code)}}`;
    case FrameType.ABANDON:
      return `{"frame_type":"abandon","stream_id":${r.stream},"first":${r.sequence},"count":${r.count}}`;
    case FrameType.DROPPED:
      return `{"frame_type":"dropped","stream_id":${r.stream},"space":"${spaceName(r.space)}","first":${r.sequence},"count":${r.count}}`;
    case FrameType.MAX_DATA:
      return `{"frame_type":"max_data","maximum":${r.limit}}`;
    case FrameType.MAX_STREAM_DATA:
      return `{"frame_type":"max_stream_data","stream_id":${r.stream},"maximum":${r.limit}}`;
    case FrameType.MAX_STREAMS:
      return `{"frame_type":"max_streams","stream_type":"bidirectional","maximum":${r.limit}}`;
    case FrameType.DATA_BLOCKED:
      return `{"frame_type":"data_blocked","limit":${r.limit}}`;
    case FrameType.STREAM_DATA_BLOCKED:
      return `{"frame_type":"stream_data_blocked","stream_id":${r.stream},"limit":${r.limit}}`;
    case FrameType.STREAMS_BLOCKED:
      return `{"frame_type":"streams_blocked","stream_type":"bidirectional","limit":${r.limit}}`;
    case FrameType.REPAIR:
      return `{"frame_type":"repair","code":${r.code},"group":${r.group},"index":${r.index},"k":${r.k},"r":${r.r},"length":${r.dataLength}}`;
    case FrameType.HEARTBEAT:
      return `{"frame_type":"heartbeat","number":${r.number},"interval":${r.interval}}`;
    case FrameType.PATH_CHALLENGE:
      return `{"frame_type":"path_challenge","data":"${hexOf(dataOf(r))}"}`;
    case FrameType.PATH_RESPONSE:
      return `{"frame_type":"path_response","data":"${hexOf(dataOf(r))}"}`;
    case FrameType.NEW_CONNECTION_ID:
      if (r.sequence > UINT32_MAX) return unknown(type, bytes);
      return `{"frame_type":"new_connection_id","sequence_number":${r.sequence},"retire_prior_to":${r.retirePriorTo},"connection_id_length":${r.dataLength},"connection_id":"${hexOf(dataOf(r))}"}`;
    case FrameType.RETIRE_CONNECTION_ID:
      if (r.sequence > UINT32_MAX) return unknown(type, bytes);
      return `{"frame_type":"retire_connection_id","sequence_number":${r.sequence}}`;
    case FrameType.CONNECTION_CLOSE:
      return closeJson(r);
    case FrameType.ACK_FREQUENCY:
      return `{"frame_type":"ack_frequency","sequence_number":${r.number},"ack_eliciting_threshold":${r.threshold},"requested_max_ack_delay":${r.delay / 1_000}}`;
    case FrameType.GOAWAY:
      return `{"frame_type":"goaway","delay":${r.delay},"length":${r.dataLength}}`;
    case FrameType.MESSAGES:
    case FrameType.MESSAGES_BEST_EFFORT:
    case FrameType.MESSAGES_ENVELOPED:
    case FrameType.MESSAGES_ENVELOPED_BEST_EFFORT:
      return `{"frame_type":"messages","stream_id":${r.stream},"space":"${spaceName(type & 1)}","first":${r.sequence},"count":${r.count},"length":${runBytes(r)}${envelopedJson(r)}}`;
    default:
      return unknown(type, bytes);
  }
}

function messageJson(r: FrameReader): string {
  const { flags } = r;
  const space = spaceName((flags & MessageFlag.BEST_EFFORT) === 0 ? Space.RELIABLE : Space.BEST_EFFORT);
  let json = `{"frame_type":"message","stream_id":${r.stream},"space":"${space}","sequence":${r.sequence},"length":${r.dataLength}`;
  if ((flags & MessageFlag.FRAGMENT) !== 0)
    json += `,"offset":${r.offset},"total":${r.total},"oldest":${r.oldest}`;
  if ((flags & MessageFlag.LIFETIME) !== 0) json += `,"remaining":${r.remaining / 1_000}`;
  return `${json}${envelopedJson(r)}}`;
}

/** Of messages that begin with an envelope. */
function envelopedJson(r: FrameReader): string {
  return r.isEnveloped ? ',"enveloped":true' : '';
}

function ackJson(r: FrameReader): string {
  let ranges = '';
  for (let i = 0; i < r.rangeCount; i++) {
    const low = r.ackRanges[2 * i];
    const high = r.ackRanges[2 * i + 1] - 1;
    ranges += `${i === 0 ? '' : ','}[${low === high ? low : `${low},${high}`}]`;
  }
  let json = `{"frame_type":"ack","ack_delay":${r.delay / 1_000},"acked_ranges":[${ranges}]`;
  if (r.ect0 >= 0) json += `,"ect1":${r.ect1},"ect0":${r.ect0},"ce":${r.ce}`;
  if (r.recoveredCount > 0) json += `,"recovered":[${[...r.recovered.subarray(0, r.recoveredCount)]}]`;
  return `${json}}`;
}

function streamOpenJson(r: FrameReader): string {
  const label = JSON.stringify(DECODER.decode(dataOf(r)));
  return `{"frame_type":"stream_open","stream_id":${r.stream},"priority":"${PRIORITY_NAMES[r.priority]}","ordered":${r.ordered},"delivery":"${DELIVERIES[r.delivery]}","label":${label}}`;
}

function closeJson(r: FrameReader): string {
  const isTransport = r.scope === 0;
  const name = isTransport ? transportErrorName(r.code) : null;
  const code = name === null ? applicationCodeJson(r.code) : `"${name}"`;
  let json = `{"frame_type":"connection_close","error_space":"${isTransport ? 'transport' : 'application'}","error_code":${code}`;
  if (r.code <= UINT32_MAX) json += `,"raw_error_code":${r.code}`;
  json += `,"reason":${JSON.stringify(DECODER.decode(dataOf(r)))}`;
  return r.frameType === 0 ? `${json}}` : `${json},"trigger_frame_type":${r.frameType}}`;
}

function unknown(type: number, bytes: number): string {
  return `{"frame_type":"unknown","raw_frame_type":${type},"raw_length":${bytes}}`;
}

/** Bytes of the messages of a run, without their lengths in front. */
function runBytes({ buffer, dataStart, dataLength, count }: FrameReader): number {
  let bytes = 0;
  let at = dataStart;
  for (let i = 0; i < count; i++) {
    const length = readVarint(buffer, at, dataStart + dataLength);
    bytes += length;
    at += varintLength(buffer[at]) + length;
  }
  return bytes;
}

function dataOf({ buffer, dataStart, dataLength }: FrameReader): Uint8Array {
  return buffer.subarray(dataStart, dataStart + dataLength);
}

function spaceName(space: number): string {
  return space === Space.RELIABLE ? 'reliable' : 'best_effort';
}

/** The largest number that qlog has room for in some fields. */
export const UINT32_MAX = 2 ** 32 - 1;
const DECODER = new TextDecoder();
const DELIVERIES = ['reliable', 'partial', 'best_effort'];
const TRANSPORT_ERRORS: ReadonlyMap<number, string> = new Map([
  [CloseCode.NO_ERROR, 'no_error'],
  [CloseCode.INTERNAL_ERROR, 'internal_error'],
  [CloseCode.CONNECTION_REFUSED, 'connection_refused'],
  [CloseCode.FLOW_CONTROL_ERROR, 'flow_control_error'],
  [CloseCode.STREAM_LIMIT_ERROR, 'stream_limit_error'],
  [CloseCode.STREAM_STATE_ERROR, 'stream_state_error'],
  [CloseCode.FINAL_SIZE_ERROR, 'final_size_error'],
  [CloseCode.FRAME_ENCODING_ERROR, 'frame_encoding_error'],
  [CloseCode.TRANSPORT_PARAMETER_ERROR, 'transport_parameter_error'],
  [CloseCode.PROTOCOL_VIOLATION, 'protocol_violation'],
] as [number, string][]);
