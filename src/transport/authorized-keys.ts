/** The identities that a listener lets in, in a file that is read again when it changes. [HS-46] */

import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { resolve } from 'node:path';
import { JspError } from '../base/errors.ts';
import { isFingerprint } from './url.ts';

/** Fingerprints, or the file that has them. */
export type AuthorizedKeysOption = readonly string[] | { readonly file: string };

export class AuthorizedKeys {
  private fingerprints: ReadonlySet<string>;
  private readonly file: string | null;
  private readonly changed: () => void;

  /**
   * @param onChanged - the list is another one (null), or the file cannot be read or has a fault (the error), and all is as it was
   * @throws JspError ERR_JSP_OPTION_INVALID
   */
  constructor(given: AuthorizedKeysOption, onChanged: (error: JspError | null) => void) {
    this.file = 'file' in given ? resolve(given.file) : null;
    this.fingerprints =
      'file' in given ? this.read() : parsed(given.map((text, i) => [`number ${i + 1}`, text]));
    this.changed = () => {
      try {
        this.fingerprints = this.read();
        onChanged(null);
      } catch (error) {
        onChanged(error as JspError);
      }
    };
    // By looking at it, not by events of the system: those are lost on network drives, and with a file that takes another's place.
    if (this.file !== null) watchFile(this.file, { persistent: false, interval: LOOK_MS }, this.changed);
  }

  get size(): number {
    return this.fingerprints.size;
  }

  has(fingerprint: string): boolean {
    return this.fingerprints.has(fingerprint);
  }

  close(): void {
    if (this.file !== null) unwatchFile(this.file, this.changed);
  }

  private read(): ReadonlySet<string> {
    const file = this.file as string;
    let text: string;
    try {
      text = readFileSync(file, 'utf8');
    } catch (error) {
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        `authorizedKeys cannot be read: ${(error as Error).message}`,
        { cause: error },
      );
    }
    const lines = text.split(/\r?\n/).map((line, i) => [`${file}:${i + 1}`, line] as const);
    return parsed(lines.filter(([, line]) => !/^\s*(#|$)/.test(line)));
  }
}

/** What the option `authorizedKeys` may be. */
export function authorizedKeysOption(value: unknown): string | null {
  const isList = Array.isArray(value) && value.every((text) => typeof text === 'string');
  const { file } = (typeof value === 'object' && value !== null ? value : {}) as { file?: unknown };
  return isList || typeof file === 'string' ? null : 'an array of fingerprints, or { file }';
}

/** A fingerprint each; behind a blank anything may follow, such as a name. */
function parsed(entries: readonly (readonly [where: string, line: string])[]): ReadonlySet<string> {
  const fingerprints = new Set<string>();
  for (const [where, line] of entries) {
    const [fingerprint] = line.trim().split(/\s/, 1);
    if (!isFingerprint(fingerprint)) {
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        `authorizedKeys: ${where}: "${fingerprint.slice(0, 60)}" is no fingerprint, which has 43 characters, as jsp keygen --client prints it`,
      );
    }
    fingerprints.add(fingerprint);
  }
  return fingerprints;
}

/** How often the file is looked at. */
const LOOK_MS = 1_000;
