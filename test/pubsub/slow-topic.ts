/** Topic rules and matching as spec/broker.md words them, for reading and not for speed. Shares nothing with src/. */

export function slowIsTopic(topic: string): boolean {
  const [first, session, ...others] = topic.split('/');
  const isInbox = first === '$inbox' && Boolean(session) && others.length > 0;
  return (!topic.startsWith('$') || isInbox) && levelsAreValid(topic) && !/[+#]/.test(topic);
}

export function slowIsFilter(filter: string): boolean {
  if (!levelsAreValid(filter)) return false;
  const levels = filter.split('/');
  if (levels[0] === '$share' && !/^\$share\/[^+#/]+\/./u.test(filter)) return false;
  return levels.every((level, i) => {
    if (level === '+') return true;
    if (level === '#') return i === levels.length - 1;
    return !/[+#]/.test(level);
  });
}

export function slowMatches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && /^[+#]/.test(filter)) return false;
  const expression = filter
    .split('/')
    .map((level, i) => {
      const slash = i === 0 ? '' : '/';
      if (level === '#') return i === 0 ? '.*' : '(/.*)?';
      if (level === '+') return `${slash}[^/]*`;
      return slash + level.replace(/[\\^$.*?()[\]{}|]/g, '\\$&');
    })
    .join('');
  return new RegExp(`^${expression}$`, 's').test(topic);
}

function levelsAreValid(name: string): boolean {
  const bytes = new TextEncoder().encode(name);
  if (bytes.length < 1 || bytes.length > 1024) return false;
  if (new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) !== name) return false;
  for (const character of name) if (/\p{Cc}/u.test(character)) return false;
  return name.split('/').length <= 32;
}
