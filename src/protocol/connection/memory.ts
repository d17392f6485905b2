import { STREAM_BYTES } from '../stream/streams.ts';
import type { Connection } from './connection.ts';

/** What a connection costs with nothing in it: its own state, keys, sent packets, tables. */
export const CONNECTION_BYTES = 49_152;

/**
 * What a connection's peer makes this process keep at this moment, in bytes: true within a factor of two, as a test that adds up what the
 * process holds shows. What the application has queued to send is its own. [CON-50]
 */
export function memoryOf(connection: Connection): number {
  const { streams } = connection;
  let bytes = CONNECTION_BYTES + connection.waiting.bytes + streams.size * STREAM_BYTES;
  for (const { receiver } of streams.values()) bytes += receiver.memoryBytes;
  return bytes + streams.receiveCounts.keptBytes;
}
