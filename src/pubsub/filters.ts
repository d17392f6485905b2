/** How the sets of topics that filters match lie to each other. [BRK-11] Filters and topics are given as their levels, and are valid. */

export function levelsOf(name: string): string[] {
  return name.split('/');
}

/** True when `filter` matches the topic. */
export function matches(filter: readonly string[], topic: readonly string[]): boolean {
  return covers(filter, topic);
}

/** True when every topic that `inner` matches is matched by `outer`. */
export function covers(outer: readonly string[], inner: readonly string[]): boolean {
  if (isWild(outer[0]) && inner[0].startsWith('$')) return false;
  for (let i = 0; ; i++) {
    if (outer[i] === '#') return true;
    if (i >= inner.length) return i >= outer.length;
    if (i >= outer.length || inner[i] === '#') return false;
    if (outer[i] !== '+' && outer[i] !== inner[i]) return false;
  }
}

/** True when there is a topic that both match. */
export function meets(a: readonly string[], b: readonly string[]): boolean {
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
