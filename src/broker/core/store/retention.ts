/** What a log keeps, and what gives way when that is too much: the same for a log in memory and one on disk. */

import type { LogOptions } from '../store-port.ts';

export interface Retention {
  readonly ageMsMax: number;
  readonly bytesMax: number;
  readonly messagesMax: number;
  /** Old records give way to new ones; else new ones are refused. */
  readonly discardsOld: boolean;
}

/** @param bytesMax - where the options do not say */
export function retentionOf(options: LogOptions, bytesMax: number): Retention {
  return {
    ageMsMax: options.maxAgeMs ?? AGE_MS_MAX,
    bytesMax: options.maxBytes ?? bytesMax,
    messagesMax: options.maxMessages ?? Number.POSITIVE_INFINITY,
    discardsOld: options.discard !== 'new',
  };
}

/** A log of this name takes what no other does, and always is. */
export const DEFAULT_LOG = 'default';
const AGE_MS_MAX = 7 * 24 * 60 * 60 * 1_000;

/** All logs that there are to be, the default one first. */
export function withDefaultLog(logs: readonly LogOptions[]): readonly LogOptions[] {
  const own = logs.find(({ name }) => name === DEFAULT_LOG);
  return [own ?? { name: DEFAULT_LOG }, ...logs.filter((each) => each !== own)];
}
