/** The slow twin of parsePacketHeader: written from spec/invariants.md and spec/packets.md. Shares no code with src. */

export interface SlowHeader {
  type: 'INITIAL' | 'ZERO_RTT' | 'HANDSHAKE' | 'RETRY' | 'ONE_RTT' | 'UNKNOWN_VERSION';
  unpinned?: boolean;
  version?: number;
  dcid: string;
  scid?: string;
  token?: string;
  numberStart?: number;
  end: number;
}

/** The header of the packet that begins the datagram. Throws when the packet is malformed. */
export function slowParseHeader(datagram: Uint8Array, shortIdLength: number): SlowHeader {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  let at = 1;
  const take = (length: number): string => {
    if (at + length > view.byteLength) throw new Error('over the end');
    at += length;
    return Buffer.from(datagram.subarray(at - length, at)).toString('hex');
  };
  const takeId = (): string => {
    const length = Number.parseInt(take(1), 16);
    if (length > 20) throw new Error('an id above 20 bytes');
    return take(length);
  };

  const first = view.getUint8(0);
  if ((first & 0x40) === 0) throw new Error('no fixed bit');
  if ((first & 0x80) === 0) {
    const dcid = take(shortIdLength);
    if (view.byteLength - at < 20) throw new Error('too short');
    return { type: 'ONE_RTT', dcid, numberStart: at, end: view.byteLength };
  }

  const version = Number.parseInt(take(4), 16);
  const dcid = takeId();
  const scid = takeId();
  if (version !== 0x4a535031) return { type: 'UNKNOWN_VERSION', version, dcid, scid, end: view.byteLength };

  const type = (['INITIAL', 'ZERO_RTT', 'HANDSHAKE', 'RETRY'] as const)[(first & 0x30) >> 4];
  const unpinned = (first & 0x08) !== 0;
  if (unpinned && type !== 'INITIAL') throw new Error('U on another packet than an Initial');
  const known = { type, unpinned, version, dcid, scid };
  if (type === 'RETRY') {
    const room = view.byteLength - at - 16;
    if (room < 1) throw new Error('no room for a token and a tag');
    const token = take(room);
    return { ...known, token, numberStart: at, end: view.byteLength };
  }
  let token = '';
  if (type === 'INITIAL') {
    const head = take(1);
    const rest = take(2 ** (Number.parseInt(head, 16) >> 6) - 1);
    const length = BigInt(`0x${head}${rest}`) & ((1n << BigInt(8 * (1 + rest.length / 2) - 2)) - 1n);
    if (length > BigInt(view.byteLength)) throw new Error('a token over the end');
    token = take(Number(length));
  }
  const length = Number.parseInt(take(2), 16);
  if (length < 0x4000 || length > 0x7fff) throw new Error('a Length that is not in 2 bytes');
  const end = at + length - 0x4000;
  if (end - at < 20 || end > view.byteLength) throw new Error('a Length that is too small or over the end');
  return { ...known, token, numberStart: at, end };
}
