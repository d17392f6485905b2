/**
 * Which names of a peer may become names of files here. Pure, and the same on every system by default: a name that means something else to the
 * next system that sees the folder (a device, a stream of a file, the name of a neighbour) does harm there, if not here. [FIL-5]
 */

import { printable } from '../base/errors.ts';

/** Who the names are for: any system, or this one. */
export type NameRule = 'portable' | 'system';

/** A path from the folder down, or what is wrong with it. */
export type CheckedPath =
  | { readonly names: readonly string[]; readonly fault?: undefined }
  | { readonly names?: undefined; readonly fault: string };

/**
 * Reads the path of an offer.
 *
 * @param path - the names from the folder down, as they came
 * @param rule - `system` leaves out what other systems reserve; on Windows there is no difference
 */
export function checkPath(path: readonly Uint8Array[], rule: NameRule = 'portable'): CheckedPath {
  if (path.length === 0) return { fault: 'it has no name' };
  if (path.length > DEPTH_MAX) return { fault: `it is more than ${DEPTH_MAX} folders deep` };
  const names: string[] = [];
  let bytes = 0;
  for (const component of path) {
    bytes += component.length + 1;
    const name = textOf(component);
    const fault = name === null ? 'it is not UTF-8' : faultOf(name, component.length, rule);
    if (fault !== null) return { fault };
    names.push(name as string);
  }
  return bytes > PATH_BYTES_MAX ? { fault: `its path is longer than ${PATH_BYTES_MAX} bytes` } : { names };
}

/** What two names have in common that some file systems take for one: case, the way accents are written, and joiners do not count. [FIL-6] */
export function foldedPath(names: readonly string[]): string {
  return names.map(folded).join('/');
}

function folded(name: string): string {
  return name
    .normalize('NFKC')
    .toUpperCase()
    .toLowerCase()
    .normalize('NFKC')
    .replace(/[\u200c\u200d]/g, '');
}

/** Why nobody should make a file of this name; null when there is nothing against it. */
function faultOf(name: string, bytes: number, rule: NameRule): string | null {
  if (name === '') return 'a part of its path is empty';
  if (bytes > NAME_BYTES_MAX) return `a name is longer than ${NAME_BYTES_MAX} bytes`;
  if (name === '.' || name === '..') return 'it points out of the folder';
  if (/[/\\]/.test(name)) return 'a name has a slash or a backslash in it';
  if (name.includes('\t') || printable(name) !== name) return 'it has characters that are not to be seen';
  if (OURS.has(foldedPath([name]))) return `${name} is a folder of this program`;
  if (rule === 'system' && process.platform !== 'win32') return null;
  if (/[<>:"|?*]/.test(name)) return 'it has a character that not every system takes (< > : " | ? *)';
  if (/[. ]$/.test(name)) return 'it ends in a dot or a blank, which not every system keeps';
  if (DEVICE.test(name.normalize('NFKC'))) return 'some systems have a device of that name';
  return null;
}

function textOf(bytes: Uint8Array): string | null {
  try {
    return UTF8.decode(bytes);
  } catch {
    return null;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** Where a receiver keeps what is not complete, in the folder that it fills. */
export const PARTS_FOLDER = '.jsp-parts';
/** Names that no peer writes to, however they are spelt: the state directory of `jsp`, and the parts. */
const OURS: ReadonlySet<string> = new Set(['.jsp', PARTS_FOLDER]);
/** Of Windows, with any extension. Superscript digits count there, too; NFKC has made plain ones of them. */
const DEVICE = /^(con|prn|aux|nul|conin\$|conout\$|clock\$|com\d|lpt\d) *(\.|$)/i;
export const DEPTH_MAX = 64;
export const NAME_BYTES_MAX = 255;
const PATH_BYTES_MAX = 2_048;
