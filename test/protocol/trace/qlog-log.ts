/** Logs of connections, as a reader of qlog takes them: records, and what is wrong with them by the definitions in spec/qlog/. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Tracing } from '../../../src/protocol/trace/trace.ts';
import { mismatches, parseCddl, type Type } from './cddl.ts';

export interface QlogEvent {
  time: number;
  name: string;
  // biome-ignore lint/suspicious/noExplicitAny: what a log says is whatever it says
  data: any;
}

export interface QlogLog {
  // biome-ignore lint/suspicious/noExplicitAny: what a log says is whatever it says
  header: any;
  events: QlogEvent[];
}

export const SCHEMA = parseCddl(
  ['main-schema', 'quic-events', 'jetstream']
    .map((name) =>
      readFileSync(fileURLToPath(new URL(`../../../spec/qlog/${name}.cddl`, import.meta.url)), 'utf8'),
    )
    .join('\n'),
);

/** The records of a log: JSON text sequences (RFC 7464). */
export function readLog(text: string): QlogLog {
  if (!text.startsWith('\x1e')) throw new Error('a record begins with a record separator');
  const [header, ...events] = text
    .slice(1)
    .split('\x1e')
    .map((record) => {
      if (!record.endsWith('\n')) throw new Error(`a record ends with a line feed: ${record.slice(0, 80)}`);
      return JSON.parse(record);
    });
  return { header, events };
}

/** What is wrong with a log; nothing when it is as qlog 0.3 and its events have it. */
export function faultsOf({ header, events }: QlogLog): string[] {
  const faults = mismatches(SCHEMA, { kind: 'name', name: 'QlogFileSeq' }, header, 'header');
  if (header.qlog_version !== '0.3') faults.push(`the version is ${header.qlog_version}`);
  let latest = 0;
  events.forEach((event, i) => {
    const path = `${i} ${event.name}`;
    faults.push(...mismatches(SCHEMA, { kind: 'name', name: 'Event' }, event, path));
    const type = typeOf(event.name);
    if (type === null) faults.push(`${path} is no event that is defined`);
    else faults.push(...mismatches(SCHEMA, type, event.data, `${path}.data`));
    if (event.time < latest) faults.push(`${path} goes back in time`);
    latest = event.time;
  });
  return faults;
}

/** The rule that an event's name stands for: category and type, written as one word. */
function typeOf(name: string): Type | null {
  const word = name.replace(/[:_]/g, '').toLowerCase();
  const rule = [...SCHEMA.keys()].find((key) => key.toLowerCase() === word);
  return rule === undefined ? null : { kind: 'name', name: rule };
}

/** How often each event is in a log. */
export function countsOf({ events }: QlogLog): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { name } of events) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** All frames of packets sent and received, by their types. */
export function frameTypesOf({ events }: QlogLog): Set<string> {
  return new Set(
    events.flatMap(({ data }) =>
      (data.frames ?? []).map((frame: { frame_type: string }) => frame.frame_type),
    ),
  );
}

/** Collects the records of all connections of an endpoint; `takes` says whether there is room for one. */
export function collecting(takes: (record: string) => boolean = () => true): Tracing & { records: string[] } {
  const records: string[] = [];
  return {
    records,
    localHost: '192.0.2.1',
    localPort: 4_577,
    open: () => ({
      write: (record) => {
        const isTaken = takes(record);
        if (isTaken) records.push(record);
        return isTaken;
      },
    }),
  };
}
