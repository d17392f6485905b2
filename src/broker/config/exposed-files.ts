/**
 * Files that a configuration names and that everybody on the machine reaches: a secret that all may read is none, and who may change what says who may come in lets himself in. That is told, and nothing is refused for it,
 * because the folder around such a file may be closed to others. Not on Windows, where modes say nothing. [CFG-10]
 */

import { statSync } from 'node:fs';
import type { Config } from './load.ts';

/** One of them. */
export interface ExposedFile {
  readonly file: string;
  /** The setting that names it, or is the secret in it: `http.tls_key`, `auth.jwt[0].secret_file`. Empty: it is the configuration itself. */
  readonly place: string;
  /** For people: what is wrong with it, and what to do. */
  readonly text: string;
}

/** Those of a configuration, as they are now; each is told once. */
export function exposedFilesOf({ values, origins }: Config): ExposedFile[] {
  const found = new Map<string, ExposedFile>();
  const look = (file: string, fault: string | null, place: string, origin: string): void => {
    if (fault !== null && !found.has(fault)) found.set(fault, { file, place, text: `${origin}: ${fault}` });
  };
  const looked = new Set<string>();
  for (const [place, origin] of origins) {
    const setting = place.replace(/\[\d+\]/g, '[]');
    const named = String(valueIn(values, place));
    if (SECRET_FILES.has(setting)) look(named, faultOfSecret(named), place, origin);
    if (GATE_FILES.has(setting)) look(named, faultOfGate(named), place, origin);
    const written = FILE_OF_ORIGIN.exec(origin)?.[1];
    if (written === undefined) continue; // by the environment, or on the command line
    if (SECRETS.has(setting)) look(written, faultOfSecret(written), place, origin);
    if (!looked.has(written)) look(written, faultOfGate(written), '', written);
    looked.add(written);
  }
  return [...found.values()];
}

/** What is wrong with a file that holds a secret; null: nothing, as far as its mode says. */
export function faultOfSecret(file: string): string | null {
  const mode = modeOf(file) & 0o006;
  if (mode === 0) return null;
  const what = mode === 0o002 ? 'change' : mode === 0o004 ? 'read' : 'read and change';
  return `${file} holds a secret, and everybody on this machine can ${what} it: chmod o= ${file}`;
}

/** The same of one that says who may come in, and what he may do. */
function faultOfGate(file: string): string | null {
  if ((modeOf(file) & 0o002) === 0) return null;
  return `${file} says who may come in, and everybody on this machine can change it: chmod o-w ${file}`;
}

/** 0, where there is no such file, or nobody may know: that is told by who reads it. */
function modeOf(file: string): number {
  if (process.platform === 'win32') return 0;
  try {
    const stats = statSync(file);
    return stats.isFile() ? stats.mode : 0;
  } catch {
    return 0;
  }
}

function valueIn(values: object, place: string): unknown {
  return place
    .split(/[.[\]]+/)
    .reduce((value: unknown, key) => (value as Record<string, unknown> | undefined)?.[key], values);
}

/** Settings that name a file with a secret. */
const SECRET_FILES: ReadonlySet<string> = new Set([
  'http.tls_key',
  'mqtt.tls_key',
  'front.secret_file',
  'backplane.credentials',
  'backplane.tls_key',
  'auth.jwt[].secret_file',
]);
/** Those that are secrets themselves. */
const SECRETS: ReadonlySet<string> = new Set(['backplane.password', 'backplane.token']);
/** Those that name a file by which somebody may come in. Of API keys it has hashes, which all may read. */
const GATE_FILES: ReadonlySet<string> = new Set([
  'broker.authorized_keys',
  'auth.keys_file',
  'auth.identities_file',
  'auth.revoked_file',
  'auth.jwt[].jwks',
]);
/** `jsp.toml:12` */
const FILE_OF_ORIGIN = /^(.+):\d+$/s;
