/** Values as qlog writes them, in frames and in events. [TRC-4] */

import { CloseCode } from './close-code.ts';

/** The codes that QUIC has, too, by QUIC's names; null for those of our own. */
export function transportErrorName(code: number): string | null {
  return TRANSPORT_ERRORS.get(code) ?? null;
}

/** An application's code: a number where qlog has room for it, else its digits. */
export function applicationCodeJson(code: number): string {
  return code <= UINT32_MAX ? String(code) : `"0x${code.toString(16)}"`;
}

/** Text that came, whatever its bytes are. */
export function textJson(bytes: Uint8Array): string {
  return JSON.stringify(DECODER.decode(bytes));
}

/** The largest number that qlog has room for in some fields. */
export const UINT32_MAX = 2 ** 32 - 1;
const DECODER = new TextDecoder();
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
