import { PacketHeader, parsePacketHeader, VERSION } from '../../../src/protocol/wire/packet-header.ts';
import { toHex } from './hex.ts';
import type { SlowHeader } from './slow-header.ts';

const TYPES = ['INITIAL', 'ZERO_RTT', 'HANDSHAKE', 'RETRY', 'ONE_RTT'] as const;
/** Used for all packets, as in real life: what one leaves behind must not show in the next. */
const header = new PacketHeader();

/** What the fast parser says of the packet that begins the datagram, as its slow twin would say it; null when malformed. */
export function fastParseHeader(datagram: Uint8Array, shortIdLength: number): SlowHeader | null {
  const before = 3;
  const buffer = new Uint8Array(before + datagram.length + 64).fill(0x01);
  buffer.set(datagram, before);
  if (!parsePacketHeader(header, buffer, before, before + datagram.length, shortIdLength)) return null;
  const hex = (start: number, length: number) => toHex(buffer.subarray(start, start + length));
  const dcid = hex(header.dcidStart, header.dcidLength);
  const scid = hex(header.scidStart, header.scidLength);
  const end = header.end - before;
  const { version, unpinned } = header;
  if (version !== VERSION) return { type: 'UNKNOWN_VERSION', version, dcid, scid, end };
  const type = TYPES[header.type];
  const numberStart = header.numberStart - before;
  if (header.form === 'short') return { type, dcid, numberStart, end };
  return {
    type,
    unpinned,
    version,
    dcid,
    scid,
    token: hex(header.tokenStart, header.tokenLength),
    numberStart,
    end,
  };
}
