/**
 * The tables of docs/metrics.md, from the comments beside the fields. `npm run ts test/structure/metrics-page.ts` writes them anew.
 */

import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ROOT, textOf } from './project.ts';

export interface MetricField {
  readonly name: string;
  /** The heading in the source that it stands under. */
  readonly section: string;
  /** The comment of its own; empty without one. */
  readonly text: string;
}

const COUNTERS = 'src/protocol/trace/counters.ts';
const METRICS = 'src/protocol/connection/metrics.ts';
const SOCKET = 'src/udp/datagram-socket.ts';

/** What each table of the page holds: types, by the files that declare them. */
export const TABLES: Readonly<Record<string, readonly (readonly [file: string, type: string])[]>> = {
  connection: [
    [METRICS, 'ConnectionMetrics'],
    [COUNTERS, 'ConnectionCounters'],
  ],
  queue: [[METRICS, 'QueueMetrics']],
  listener: [
    [COUNTERS, 'EndpointCounters'],
    ['src/base/memory-budget.ts', 'MemoryMetrics'],
  ],
  socket: [
    [SOCKET, 'SocketCounters'],
    [SOCKET, 'SocketMetrics'],
  ],
};

/** The fields of a table, in the order of its headings. */
export function fieldsOf(table: string): MetricField[] {
  const all = TABLES[table].flatMap(([file, type]) => fieldsOfType(textOf(file) ?? '', type));
  const sections = [...new Set(all.map(({ section }) => section))];
  return sections.flatMap((section) => all.filter((field) => field.section === section));
}

/** The page with the tables in it that are between their marks now. */
export function withTables(page: string): string {
  return page.replace(
    MARKED,
    (_, begin: string, table: string, end: string) => `${begin}\n${tableOf(table)}\n${end}`,
  );
}

function tableOf(name: string): string {
  const lines: string[] = [];
  let section = '';
  for (const field of fieldsOf(name)) {
    if (field.section !== section || lines.length === 0) {
      section = field.section;
      if (section !== '') lines.push('', `### ${section}`, '');
      lines.push('| field | unit | what it says |', '|---|---|---|');
    }
    lines.push(`| \`${field.name}\` | ${unitOf(field.name)} | ${field.text.replaceAll('|', '\\|')} |`);
  }
  return lines.join('\n').trim();
}

/** By the name, as the page says. */
function unitOf(name: string): string {
  if (name === 'pacingRate') return 'bytes/s';
  if (name.endsWith('Ms')) return 'ms';
  if (/bytes|Bytes|^mtu$/.test(name)) return 'bytes';
  if (/Rate$|^lossFloor$/.test(name)) return 'share';
  return /State$|^limitedBy$|^mtuMayFragment$|^ecnCapable$|^queue$|^errorCodes$/.test(name) ? '' : 'count';
}

function fieldsOfType(source: string, type: string): MetricField[] {
  const body = new RegExp(`^export (?:interface|class) ${type}\\b[^{]*\\{\\n([\\s\\S]*?)\\n\\}`, 'm').exec(
    source,
  );
  if (body === null) throw new Error(`there is no ${type}`);
  const fields: MetricField[] = [];
  let section = '';
  let text = '';
  for (const [, heading, comment, name] of body[1].matchAll(PARTS)) {
    if (heading !== undefined) section = heading;
    else if (comment !== undefined) text = plain(comment);
    else {
      fields.push({ name, section, text });
      text = '';
    }
  }
  return fields;
}

function plain(comment: string): string {
  return comment
    .replace(/^\s*\* ?/gm, '')
    .replace(/\s+/g, ' ')
    .replace(/ ?\[[A-Z]+-\d+\]/g, '')
    .trim();
}

/** Headings, comments and fields. */
const PARTS = /^ {2}\/\/ ---- (.*) ----$|^ {2}\/\*\*([\s\S]*?)\*\/$|^ {2}(?:readonly )?(\w+)(?::| =)/gm;
const MARKED = /(<!-- (connection|queue|listener|socket) -->)\n[\s\S]*?\n?(<!-- end -->)/g;
export const PAGE = join(ROOT, 'docs/metrics.md');

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  writeFileSync(PAGE, withTables(readFileSync(PAGE, 'utf8')));
}
