/**
 * `text` with everything that would do something on a terminal, or hide, written as an escape: control characters (`\n`, `\x1b`), marks that
 * turn the direction of writing (`\u202e`, "Trojan source"), line and paragraph separators, characters of no width, halves of surrogate pairs.
 *
 * All text of a peer passes through here before it becomes part of an error's message or of a line for people: a CLOSE reason of the
 * peer must not be able to clear the screen, or forge a second line of a log. Backslashes stay, so it cannot be turned back.
 */
export function printable(text: string): string {
  return UNPRINTABLE.test(text) ? text.replace(UNPRINTABLE_ALL, escaped) : text;
}

/** The same in JSON text, where the escapes are JSON's own, so that nothing is lost. */
export function printableJson(json: string): string {
  return UNPRINTABLE.test(json) ? json.replace(UNPRINTABLE_ALL, jsonEscaped) : json;
}

/** False when {@link printable} would leave UTF-8 text with these bytes as it is: a quick look, which may say true for nothing. */
export function mayBeUnprintable(utf8: Uint8Array): boolean {
  for (let i = 0; i < utf8.length; i++) {
    const byte = utf8[i];
    if (byte < 0x20 ? byte !== TAB : byte === DELETE) return true;
    if (byte < FIRST_LEAD) continue;
    const next = utf8[i + 1];
    if (byte === 0xc2 && (next < 0xa0 || next === 0xad)) return true; // C1, soft hyphen
    if (byte === 0xd8 && next === 0x9c) return true; // Arabic letter mark
    if (byte === 0xe1 && next === 0xa0) return true; // Mongolian vowel separator, and its neighbours
    if (byte === 0xe2 && (next === 0x80 || next === 0x81)) return true; // general punctuation
    if (byte === 0xed || byte === 0xef || byte === 0xf3) return true; // surrogates, specials, tags
  }
  return false;
}

function escaped(character: string): string {
  const short = NAMED[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0) as number;
  if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
  return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\u{${code.toString(16)}}`;
}

function jsonEscaped(character: string): string {
  let escapes = '';
  for (let i = 0; i < character.length; i++) {
    escapes += `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`;
  }
  return escapes;
}

/** All but the tab of `Cc`; format characters `Cf` but those that join letters of some scripts; separators; lone surrogates. */
const CLASS =
  '[\\u0000-\\u0008\\u000a-\\u001f\\u007f-\\u009f\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e007f}]';
const UNPRINTABLE = new RegExp(CLASS, 'u');
const UNPRINTABLE_ALL = new RegExp(CLASS, 'gu');
const NAMED: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r' };
const TAB = 0x09;
const DELETE = 0x7f;
/** Least first byte of a character outside ASCII. */
const FIRST_LEAD = 0xc2;
