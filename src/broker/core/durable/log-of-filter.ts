/** Which log a filter reads. [BRK-60] */

import type { LogPort } from '../store-port.ts';

/**
 * The log that has all messages that `filter` matches: the first with a filter that covers it, else the default one. Null where some of them are in one log and some in another.
 *
 * @param logs - the default log first
 */
export function logOfFilter(logs: readonly LogPort[], filter: string): LogPort | null {
  const levels = filter.split('/');
  for (let i = 1; i < logs.length; i++) {
    const theirs = logs[i].filters.map((theirFilter) => theirFilter.split('/'));
    if (theirs.some((theirLevels) => covers(theirLevels, levels))) return logs[i];
    if (theirs.some((theirLevels) => meets(theirLevels, levels))) return null;
  }
  return logs[0];
}

/** True when every topic that `inner` matches is matched by `outer`. */
function covers(outer: readonly string[], inner: readonly string[]): boolean {
  if (isWild(outer[0]) && inner[0].startsWith('$')) return false;
  for (let i = 0; ; i++) {
    if (outer[i] === '#') return true;
    if (i >= inner.length) return i >= outer.length;
    if (i >= outer.length || inner[i] === '#') return false;
    if (outer[i] !== '+' && outer[i] !== inner[i]) return false;
  }
}

/** True when there is a topic that both match. */
function meets(a: readonly string[], b: readonly string[]): boolean {
  if ((isWild(a[0]) && b[0].startsWith('$')) || (isWild(b[0]) && a[0].startsWith('$'))) return false;
  for (let i = 0; ; i++) {
    if (a[i] === '#' || b[i] === '#') return true;
    if (i >= a.length || i >= b.length) return i >= a.length && i >= b.length;
    if (a[i] !== '+' && b[i] !== '+' && a[i] !== b[i]) return false;
  }
}

function isWild(level: string): boolean {
  return level === '+' || level === '#';
}
