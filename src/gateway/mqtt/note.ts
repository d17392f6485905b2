/**
 * What an MQTT session is beyond what the broker knows of it: its subscriptions with their options, and the identifiers of QoS 2 that were taken. It is kept as the note of the
 * session [BRK-130], so that it outlives connections, restarts, and moves between the brokers of a cluster. [MQT-14]
 *
 *     version u8 (1), count u16, of each: flags u8, identifier u32, filter length u16, filter; then packet identifiers u16
 */

import { filterFault } from '../../pubsub/topic.ts';
import type { MqttSubscription } from './subscriptions.ts';

export interface MqttNote {
  readonly subscriptions: readonly MqttSubscription[];
  /** Identifiers of QoS 2 that the client has not released. */
  readonly taken: readonly number[];
}

/** Empty: it says nothing. */
export function encodeNote({ subscriptions, taken }: MqttNote): Buffer {
  if (subscriptions.length + taken.length === 0) return Buffer.alloc(0);
  const head = Buffer.of(VERSION, subscriptions.length >> 8, subscriptions.length);
  const parts: Buffer[] = [head];
  for (const { filter, qos, noLocal, retainAsPublished, id } of subscriptions) {
    const bytes = Buffer.from(filter);
    const part = Buffer.allocUnsafe(ENTRY_BYTES);
    part[0] = qos | (noLocal ? Flag.NO_LOCAL : 0) | (retainAsPublished ? Flag.AS_PUBLISHED : 0);
    part.writeUInt32BE(id, 1);
    part.writeUInt16BE(bytes.length, 5);
    parts.push(part, bytes);
  }
  const ids = Buffer.allocUnsafe(2 * taken.length);
  taken.forEach((id, i) => {
    ids.writeUInt16BE(id, 2 * i);
  });
  parts.push(ids);
  return Buffer.concat(parts);
}

/** What cannot be read says nothing. */
export function decodeNote(note: Uint8Array | null): MqttNote {
  if (note === null || note.length < 3 || note[0] !== VERSION) return NOTHING;
  const bytes = Buffer.from(note.buffer, note.byteOffset, note.length);
  const subscriptions: MqttSubscription[] = [];
  let at = 3;
  for (let left = bytes.readUInt16BE(1); left > 0; left--) {
    if (at + ENTRY_BYTES > bytes.length) return NOTHING;
    const flags = bytes[at];
    const id = bytes.readUInt32BE(at + 1);
    const filterAt = at + ENTRY_BYTES;
    at = filterAt + bytes.readUInt16BE(at + 5);
    if (at > bytes.length) return NOTHING;
    const filter = bytes.toString('utf8', filterAt, at);
    if (filterFault(filter) !== null) return NOTHING;
    subscriptions.push({
      ...{ filter, id },
      qos: (flags & Flag.QOS1) as 0 | 1,
      noLocal: (flags & Flag.NO_LOCAL) !== 0,
      retainAsPublished: (flags & Flag.AS_PUBLISHED) !== 0,
    });
  }
  const taken: number[] = [];
  for (; at + 2 <= bytes.length; at += 2) taken.push(bytes.readUInt16BE(at));
  return { subscriptions, taken };
}

const VERSION = 1;
const ENTRY_BYTES = 7;
const Flag = { QOS1: 0x01, NO_LOCAL: 0x02, AS_PUBLISHED: 0x04 } as const;
const NOTHING: MqttNote = { subscriptions: [], taken: [] };
