/** True when buffer[start, end) is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
export function isUtf8(buffer: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const lead = buffer[at++];
    if (lead < 0x80) continue;
    const trailing = lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
    if (trailing < 0 || at + trailing > end) return false;
    // overlong forms, surrogates and what lies above U+10FFFF all show in the second byte
    const second = buffer[at];
    if (lead === 0xe0 && second < 0xa0) return false;
    if (lead === 0xed && second > 0x9f) return false;
    if (lead === 0xf0 && second < 0x90) return false;
    if (lead === 0xf4 && second > 0x8f) return false;
    for (let i = 0; i < trailing; i++) if ((buffer[at++] & 0xc0) !== 0x80) return false;
  }
  return true;
}
