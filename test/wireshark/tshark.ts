/** tshark with the dissector of spec/wireshark/: where it comes from, and what it says of a capture. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemProgram } from '../system-program.ts';

/** Whether there is a tshark, which is installed where that can be done. */
export function hasTshark(): boolean {
  return systemProgram(['tshark'], 'tshark', 'the dissector in spec/wireshark/') !== null;
}

export interface TsharkOptions {
  /** Lines. */
  keyLog?: readonly string[];
  /** Preferences of the dissector. */
  preferences?: Record<string, string>;
  /** A display filter. */
  filter?: string;
}

/** What tshark says of each packet: the values of these fields, by their names. */
export function tshark(
  capture: Uint8Array,
  fields: readonly string[],
  options: TsharkOptions = {},
): Record<string, string[]>[] {
  const args = ['-T', 'json', ...fields.flatMap((name) => ['-e', name])];
  const layers = JSON.parse(runTshark(capture, args, options)) as {
    _source: { layers: Record<string, string[]> };
  }[];
  return layers.map(({ _source }) => _source.layers);
}

/** The tree of each packet, as people read it. */
export function tsharkText(capture: Uint8Array, options: TsharkOptions = {}): string {
  return runTshark(capture, ['-V'], options);
}

function runTshark(capture: Uint8Array, args: readonly string[], options: TsharkOptions): string {
  const folder = mkdtempSync(join(tmpdir(), 'jsp-'));
  try {
    return runIn(folder, capture, args, options);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function runIn(folder: string, capture: Uint8Array, args: readonly string[], options: TsharkOptions): string {
  const file = join(folder, 'capture.pcapng');
  const keys = join(folder, 'keys');
  writeFileSync(file, capture);
  writeFileSync(keys, (options.keyLog ?? []).map((line) => `${line}\n`).join(''));
  const preferences = { keylog: keys, ...options.preferences };
  const result = spawnSync(
    'tshark',
    [
      ...['-r', file, '-X', `lua_script:${DISSECTOR}`],
      ...Object.entries(preferences).flatMap(([name, value]) => ['-o', `jsp.${name}:${value}`]),
      ...['-o', 'uat:user_dlts:"User 15 (DLT=162)","jsp_payload","0","","0",""'],
      ...(options.filter === undefined ? [] : ['-Y', options.filter]),
      ...args,
    ],
    { encoding: 'utf8', maxBuffer: 2 ** 28, env: { ...process.env, HOME: folder, JSPKEYLOGFILE: '' } },
  );
  const said = (result.stderr ?? '').replace(/^Running as user "root".*\n/, '');
  if (result.status !== 0 || /lua|error/i.test(said))
    throw new Error(`tshark failed: ${said}${result.error ?? ''}`);
  return result.stdout;
}

const DISSECTOR = fileURLToPath(new URL('../../spec/wireshark/jsp.lua', import.meta.url));
