import { copyOf } from '../../base/bytes.ts';
import { CloseCode } from './close-code.ts';
import { CONNECTION_ID_BYTES_MAX, RESET_TOKEN_BYTES } from './packet-header.ts';
import { ByteCursor, varintSize, writeVarint } from './varint.ts';

/** What an endpoint tells its peer in the handshake (spec/frames.md). */
export interface TransportParameters {
  /** Destination id of the client's first packet; from the server only. */
  originalDestinationId: Uint8Array | null;
  /** 0: no idle timeout. */
  idleTimeoutMs: number;
  maxDatagramBytes: number;
  initialMaxData: number;
  initialMaxStreamData: number;
  initialMaxStreams: number;
  maxMessageBytes: number;
  /** Reassembly budget for best-effort messages. */
  bestEffortBytes: number;
  maxAckDelayUs: number;
  /** Source id of the sender's first packet. */
  sourceId: Uint8Array;
  /** Source id of the Retry; from a server that sent one only. */
  retrySourceId: Uint8Array | null;
  activeIdLimit: number;
  /** 0: no heartbeat. */
  heartbeatMs: number;
  /** What the socket's receive buffer was granted; 0: unknown. */
  receiveBufferBytes: number;
  /** Not null: ACK_FREQUENCY is understood. */
  minAckDelayUs: number | null;
  /** What ends the connection when it comes at the end of a packet that does not open, 16 bytes; from the server only. [PKT-22] */
  statelessResetToken: Uint8Array | null;
  /** What is kept to recover lost packets with; 0: symbols and repairs are not taken. [FEC-40] */
  repairBytes: number;
  /** The peer should not move to another address on purpose. [CON-92] */
  noMigration: boolean;
  /** How compressed messages may be that are opened: methods, and the hashes of dictionaries; null: not at all. [CMP-3] */
  inflates: Uint8Array | null;
  /** Key updates are understood. [PKT-18] */
  keyUpdates: boolean;
  /** Most bytes of datagrams with early data that a client may send with a ticket of this connection; from the server only. 0: none. [HS-56] */
  earlyDataBytes: number;
}

/** An id that no version gives a meaning, 0x1f + 0x20 n, with any value. [FRM-14] */
export interface GreasedParameter {
  id: number;
  value: Uint8Array;
}

/** The parameters of an endpoint that sends none but its source id. */
export function defaultParameters(sourceId: Uint8Array): TransportParameters {
  return {
    originalDestinationId: null,
    idleTimeoutMs: 0,
    maxDatagramBytes: DATAGRAM_BYTES_MAX,
    initialMaxData: 0,
    initialMaxStreamData: 0,
    initialMaxStreams: 0,
    maxMessageBytes: 1_048_576,
    bestEffortBytes: 0,
    maxAckDelayUs: 25_000,
    sourceId,
    retrySourceId: null,
    activeIdLimit: 2,
    heartbeatMs: 0,
    receiveBufferBytes: 0,
    minAckDelayUs: null,
    statelessResetToken: null,
    repairBytes: 0,
    noMigration: false,
    inflates: null,
    keyUpdates: false,
    earlyDataBytes: 0,
  };
}

/** Encodes the parameters, without those that have their default. */
export function encodeParameters(
  parameters: TransportParameters,
  grease: GreasedParameter | null,
): Uint8Array {
  const out = new Uint8Array(ENCODED_BYTES_MAX + (grease === null ? 0 : grease.value.length));
  const defaults = defaultParameters(NO_ID);
  let at = 0;
  for (const row of TABLE) {
    const value = parameters[row.name];
    if (value === null || value === false) continue;
    if (value === true) at = writeBytes(out, at, row.id, NO_ID);
    else if (typeof value !== 'number') at = writeBytes(out, at, row.id, value);
    else if (value !== defaults[row.name]) at = writeNumber(out, at, row.id, value);
  }
  if (grease !== null) at = writeBytes(out, at, grease.id, grease.value); // [FRM-14]
  return out.subarray(0, at);
}

/**
 * Decodes a peer's parameters; a close code when they cannot be decoded or make no sense. [FRM-13]
 * @param sender - who sent them: some come from a server only
 */
export function decodeParameters(
  bytes: Uint8Array,
  sender: 'client' | 'server',
): TransportParameters | CloseCode {
  const parameters = defaultParameters(NO_ID);
  const seen = new Set<number>();
  const cursor = new ByteCursor();
  cursor.reset(bytes, 0, bytes.length);
  while (cursor.left > 0) {
    const id = cursor.varint();
    const length = cursor.varint();
    const start = cursor.skip(length);
    if (cursor.failed || seen.has(id)) return CloseCode.TRANSPORT_PARAMETER_ERROR;
    seen.add(id);
    if (!decodeValue(parameters, id, bytes, start, start + length))
      return CloseCode.TRANSPORT_PARAMETER_ERROR;
  }
  const required = seen.has(SOURCE_ID) && (sender !== 'server' || seen.has(ORIGINAL_DESTINATION_ID));
  const forbidden = sender === 'client' && SERVERS_ONLY.some((id) => seen.has(id));
  return required && !forbidden ? parameters : CloseCode.TRANSPORT_PARAMETER_ERROR;
}

/** Takes one value. False when it has the wrong form or range; an unknown id is ignored. */
function decodeValue(
  parameters: TransportParameters,
  id: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): boolean {
  const row = TABLE.find((candidate) => candidate.id === id);
  if (row === undefined) return true;
  if (row.form === 'id') {
    parameters[row.name] = copyOf(bytes.subarray(start, end));
    return end - start <= CONNECTION_ID_BYTES_MAX;
  }
  if (row.form === 'token') {
    parameters[row.name] = copyOf(bytes.subarray(start, end));
    return end - start === RESET_TOKEN_BYTES;
  }
  if (row.form === 'flag') {
    parameters[row.name] = true;
    return start === end;
  }
  const cursor = new ByteCursor();
  cursor.reset(bytes, start, end);
  const value = cursor.varint();
  if (row.form === 'inflates') {
    parameters[row.name] = copyOf(bytes.subarray(start, end));
    return !cursor.failed && cursor.left % HASH_BYTES === 0 && cursor.left <= HASH_BYTES * HASHES_MAX;
  }
  parameters[row.name] = value;
  return !cursor.failed && cursor.left === 0 && value >= row.least && value <= row.most;
}

function writeNumber(out: Uint8Array, at: number, id: number, value: number): number {
  return writeVarint(out, writeVarint(out, writeVarint(out, at, id), varintSize(value)), value);
}

function writeBytes(out: Uint8Array, at: number, id: number, value: Uint8Array): number {
  const start = writeVarint(out, writeVarint(out, at, id), value.length);
  out.set(value, start);
  return start + value.length;
}

/** Bounds of the largest datagram that an endpoint takes: max_datagram_bytes. [PKT-20] The upper one is what UDP carries over IPv4. */
export const DATAGRAM_BYTES_MIN = 512;
export const DATAGRAM_BYTES_MAX = 65_507;

/** Room for every number in its longest form, three connection ids, a token, and the most hashes. */
const ENCODED_BYTES_MAX = 1_024;
const HASH_BYTES = 8;
/** [CMP-3] More in one parameter are an error; of these a sender uses the first 16. */
const HASHES_MAX = 64;
const ORIGINAL_DESTINATION_ID = 0x00;
const SOURCE_ID = 0x09;
const RETRY_SOURCE_ID = 0x0a;
const STATELESS_RESET_TOKEN = 0x0f;
const EARLY_DATA_BYTES = 0x14;
const SERVERS_ONLY = [
  ORIGINAL_DESTINATION_ID,
  RETRY_SOURCE_ID,
  STATELESS_RESET_TOKEN,
  EARLY_DATA_BYTES,
] as const;

const ANY = Number.MAX_SAFE_INTEGER;

const TABLE = [
  { id: ORIGINAL_DESTINATION_ID, form: 'id', name: 'originalDestinationId' },
  { id: 0x01, form: 'number', name: 'idleTimeoutMs', least: 0, most: ANY },
  { id: 0x02, form: 'number', name: 'maxDatagramBytes', least: DATAGRAM_BYTES_MIN, most: DATAGRAM_BYTES_MAX }, // [PKT-20]
  { id: 0x03, form: 'number', name: 'initialMaxData', least: 0, most: ANY },
  { id: 0x04, form: 'number', name: 'initialMaxStreamData', least: 0, most: ANY },
  { id: 0x05, form: 'number', name: 'initialMaxStreams', least: 0, most: ANY },
  { id: 0x06, form: 'number', name: 'maxMessageBytes', least: 0, most: ANY },
  { id: 0x07, form: 'number', name: 'bestEffortBytes', least: 0, most: ANY },
  { id: 0x08, form: 'number', name: 'maxAckDelayUs', least: 0, most: 2 ** 24 - 1 },
  { id: SOURCE_ID, form: 'id', name: 'sourceId' },
  { id: RETRY_SOURCE_ID, form: 'id', name: 'retrySourceId' },
  { id: 0x0b, form: 'number', name: 'activeIdLimit', least: 2, most: ANY },
  { id: 0x0c, form: 'number', name: 'heartbeatMs', least: 0, most: ANY },
  { id: 0x0d, form: 'number', name: 'receiveBufferBytes', least: 0, most: ANY },
  { id: 0x0e, form: 'number', name: 'minAckDelayUs', least: 0, most: ANY },
  { id: STATELESS_RESET_TOKEN, form: 'token', name: 'statelessResetToken' },
  { id: 0x10, form: 'number', name: 'repairBytes', least: 0, most: ANY },
  { id: 0x11, form: 'inflates', name: 'inflates' },
  { id: 0x12, form: 'flag', name: 'keyUpdates' },
  { id: 0x13, form: 'flag', name: 'noMigration' },
  { id: EARLY_DATA_BYTES, form: 'number', name: 'earlyDataBytes', least: 0, most: ANY },
] as const;

const NO_ID = new Uint8Array(0);
