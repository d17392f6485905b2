/**
 * Topics and filters as subjects of NATS, level by level: `a/b` is `a.b`. What parts subjects, or means more in them, is escaped; so each topic has one
 * subject, and each subject that is one comes from one topic. [CLU-2]
 */

/** The subject of a topic. */
export function subjectOf(topic: string): string {
  return topic.split('/').map(tokenOf).join('.');
}

/** The topic of a subject; null of one that no topic has. */
export function topicOf(subject: string): string | null {
  const levels: string[] = [];
  for (const token of subject.split('.')) {
    const level = levelOf(token);
    if (level === null) return null;
    levels.push(level);
  }
  return levels.join('/');
}

/** Subjects that have, together, all topics that a filter matches; with others perhaps that begin with `$`. No subject is of two of them. [CLU-3] */
export function subjectsOf(filter: string): string[] {
  const tokens = filter
    .split('/')
    .map((level) => (level === '+' ? '*' : level === '#' ? '>' : tokenOf(level)));
  const all = tokens.join('.');
  return tokens.length > 1 && tokens[tokens.length - 1] === '>'
    ? [tokens.slice(0, -1).join('.'), all]
    : [all];
}

/** A level, or a name that has no levels, as a token of a subject. */
export function tokenOf(level: string): string {
  return level === '' ? EMPTY : level.replace(RESERVED, escaped);
}

function levelOf(token: string): string | null {
  if (token === EMPTY) return '';
  if (token === '' || !TOKEN.test(token)) return null;
  const level = token.replace(ESCAPE, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return tokenOf(level) === token ? level : null;
}

function escaped(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
}

/** What an empty level is: no escape, for `%` is one. */
const EMPTY = '%-';
// biome-ignore lint/suspicious/noControlCharactersInRegex: they part what NATS reads
const RESERVED = /[\x00-\x20.*>%\x7f]/g;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they part what NATS reads
const TOKEN = /^(?:[^\x00-\x20.*>%\x7f]|%[0-9A-F]{2})+$/;
const ESCAPE = /%([0-9A-F]{2})/g;
