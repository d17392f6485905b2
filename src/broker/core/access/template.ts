/** Filters of rules in which something is left to fill in: `${client}`, `${claim.team}`. [BRK-113] */

/**
 * The filter for one principal. Null: a value is not there, or has something in it that means more in a filter, so that the filter is nobody's.
 *
 * @param valueFor - what stands for a name; anything but a plain text counts as not there
 */
export function filledFilter(filter: string, valueFor: (name: string) => unknown): string | null {
  let isWhole = true;
  const filled = filter.replace(VARIABLE, (_variable, name: string) => {
    const value = valueFor(name);
    if (typeof value === 'string' && PLAIN.test(value)) return value;
    isWhole = false;
    return '';
  });
  return isWhole ? filled : null;
}

/** The same for a rule that denies: where a value cannot be filled in, it denies everything from its level on. */
export function filledDenial(filter: string, valueFor: (name: string) => unknown): string {
  const levels: string[] = [];
  for (const level of filter.split('/')) {
    const filled = filledFilter(level, valueFor);
    if (filled === null) return [...levels, '#'].join('/');
    levels.push(filled);
  }
  return levels.join('/');
}

/** Names that stand in a filter. */
export function variablesOf(filter: string): string[] {
  return [...filter.matchAll(VARIABLE)].map(([, name]) => name);
}

const VARIABLE = /\$\{([^}/]*)\}/g;
/** No level more, no wildcard, and nothing of the broker's own. */
const PLAIN = /^[^/+#$\p{Cc}]+$/u;
