/**
 * The house as a picture of text, made from the folders of src/ and their imports: the floors with the highest on top, and under each folder
 * what it stands on.
 *
 *     npm run ts test/structure/house.ts     draws it into ARCHITECTURE.md
 */
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import config, { FLOORS } from '../../.dependency-cruiser.mjs';
import { ROOT } from './project.ts';

/** What each folder is, in a few words. */
const IDEAS: Readonly<Record<string, string>> = {
  cli: 'the jsp command: one file a command',
  bench: 'what jsp bench runs',
  gateway: 'HTTP, WebSocket, SSE and MQTT for a broker',
  web: 'the client in a browser: one ES module',
  broker: 'core/ without I/O, and the server around it',
  client: 'publish, subscribe, request',
  files: 'files and folders, sent and received',
  front: 'stands before brokers, routes by connection id',
  pubsub: 'topics, filters, commands: shared by both',
  transport: 'listen, connect, Connection, Stream; the driver',
  testing: 'the deterministic network lab',
  monitor: 'a process looked into, on a terminal',
  disk: 'folders made and locked, names taken',
  udp: 'sockets, clocks, names, a bad network to try',
  'protocol/endpoint': 'all connections of one socket',
  'protocol/connection': 'one connection: wires its parts together',
  'protocol/recovery': 'sent packets, ACKs, loss, probe timeout',
  'protocol/path': 'two addresses: RTT, controller, packet size',
  'protocol/handshake': 'messages in, messages and keys out',
  'protocol/stream': 'send/ and receive/, flow control, scheduler',
  'protocol/congestion': 'controllers and the pacer',
  'protocol/crypto': 'ciphers, key schedule, identity',
  'protocol/datagram': 'batches of datagrams out and in',
  'protocol/fec': 'what protects against loss: planner, codes',
  'protocol/compress': 'LZ4, DEFLATE, dictionaries, envelopes',
  'protocol/wire': 'varints, headers, parameters, frames/',
  'protocol/trace': 'counters, time in states, qlog',
  base: 'bytes, ranges, heap, time, errors',
};

/** What the files of a project's src/ import, and which of that its rules forbid. It takes long: once for all that is asked of it. */
export async function importsIn(baseDir: string): Promise<ICruiseResult> {
  const { forbidden, options } = config;
  const { output } = await cruise(['src'], { ...options, baseDir, validate: true, ruleSet: { forbidden } });
  return output as ICruiseResult;
}

/** The picture: a row a folder, a box a floor. */
export function house({ modules }: ICruiseResult): string {
  const imports = importsByFolder(modules);
  const rows = new Map(
    [...imports].map(([folder, below]) => {
      const stands = [...below].map((name) => name.replace('protocol/', '')).join(' ');
      return [folder, `${folder.padEnd(19)} | ${(IDEAS[folder] ?? '').padEnd(47)} | ${stands}`];
    }),
  );
  const width = Math.max(...[...rows.values()].map((row) => row.length));
  const lines = ['', `${'folder'.padEnd(19)} | ${'what it is'.padEnd(47)} | stands on`];
  for (const floor of [...FLOORS].reverse()) {
    lines.push(floor.includes('protocol/endpoint') ? SANS_IO_LINE : '');
    for (const folder of floor) {
      const row = rows.get(folder);
      if (row !== undefined) lines.push(row);
    }
  }
  lines.push('');
  return lines.map((line) => boxed(line, width)).join('\n');
}

/** A row in its box; the line between two floors for none. */
function boxed(line: string, width: number): string {
  if (line === '') return `+${'-'.repeat(width + 2)}+`;
  if (line === SANS_IO_LINE) return `+${line.padEnd(width + 2, '=')}+`;
  return `| ${line.padEnd(width)} |`;
}

/** For each folder those that it imports, nearest first. */
function importsByFolder(modules: ICruiseResult['modules']): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const { source, dependencies } of modules) {
    const from = folderOf(source);
    if (from === undefined) continue;
    const below = found.get(from) ?? new Set();
    found.set(from, below);
    for (const { resolved } of dependencies) {
      const to = folderOf(resolved);
      if (to !== undefined && to !== from) below.add(to);
    }
  }
  const order = FLOORS.flat().reverse();
  for (const [from, below] of found) {
    found.set(from, new Set(order.filter((folder) => below.has(folder))));
  }
  return found;
}

function folderOf(path: string): string | undefined {
  return FLOORS.flat().find((folder) => path.startsWith(`src/${folder}/`));
}

/** A page with the picture in it that is between its marks now. */
export function withHouse(page: string, picture: string): string {
  return page.replace(MARKED, (_, begin: string, end: string) => `${begin}\n${picture}\n${end}`);
}

const SANS_IO_LINE =
  '== the sans-IO line: below it no socket, clock, timer, promise or random number of its own ';
const MARKED = /(<!-- house -->\n```text)\n[\s\S]*?\n(```)/;

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const page = join(ROOT, 'ARCHITECTURE.md');
  writeFileSync(page, withHouse(readFileSync(page, 'utf8'), house(await importsIn(ROOT))));
}
