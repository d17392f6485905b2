export interface Token {
  kind: 'word' | 'string' | 'template' | 'regex' | 'number' | 'punctuation' | 'comment';
  /** As written; of a string or template, what is between the quotes. */
  text: string;
  line: number;
}

/**
 * Splits TypeScript into tokens, well enough to tell code from comments and strings. It knows nothing of grammar but where a
 * slash begins a regular expression. The parts of a template between its `${}` are templates, the code within is code.
 */
export function tokenize(source: string): Token[] {
  return new Tokenizer(source).all();
}

/** The tokens of code: without comments. */
export function codeTokens(source: string): Token[] {
  return tokenize(source).filter(({ kind }) => kind !== 'comment');
}

class Tokenizer {
  private readonly source: string;
  private readonly tokens: Token[] = [];
  private at = 0;
  private line = 1;
  /** For each open template: how many braces are open within its `${}`. */
  private readonly openBraces: number[] = [];

  constructor(source: string) {
    this.source = source;
  }

  all(): Token[] {
    while (this.at < this.source.length) this.next();
    return this.tokens;
  }

  private next(): void {
    const { source, at } = this;
    const c = source[at];
    if (/\s/.test(c)) this.skip(1);
    else if (source.startsWith('//', at)) this.take('comment', this.endOf('\n', at));
    else if (source.startsWith('/*', at)) this.take('comment', this.endOf('*/', at) + 2);
    else if (c === '"' || c === "'") this.takeQuoted('string', c, at + 1);
    else if (c === '`') this.takeTemplatePart(at + 1);
    else if (c === '}' && this.openBraces.at(-1) === 0) this.resumeTemplate();
    else if (c === '/' && this.regexMayBegin()) this.take('regex', this.endOfRegex());
    else if (/[A-Za-z_$#@]/.test(c)) this.take('word', this.endOfMatch(/[\w$#@]+/y));
    else if (/[0-9]/.test(c)) this.take('number', this.endOfMatch(/[\w.]+/y));
    else this.takePunctuation(c);
  }

  private takePunctuation(c: string): void {
    if (this.openBraces.length > 0) {
      if (c === '{') this.openBraces[this.openBraces.length - 1]++;
      if (c === '}') this.openBraces[this.openBraces.length - 1]--;
    }
    this.take('punctuation', this.at + 1);
  }

  private resumeTemplate(): void {
    this.openBraces.pop();
    this.takeTemplatePart(this.at + 1);
  }

  /** Takes a template from `start` to its end or its next `${`. */
  private takeTemplatePart(start: number): void {
    let end = start;
    while (end < this.source.length && this.source[end] !== '`' && !this.source.startsWith('${', end)) {
      end += this.source[end] === '\\' ? 2 : 1;
    }
    this.tokens.push({ kind: 'template', text: this.source.slice(start, end), line: this.line });
    const opens = this.source[end] === '$';
    this.skip(end + (opens ? 2 : 1) - this.at);
    if (opens) this.openBraces.push(0);
  }

  private takeQuoted(kind: Token['kind'], quote: string, start: number): void {
    let end = start;
    while (end < this.source.length && this.source[end] !== quote) end += this.source[end] === '\\' ? 2 : 1;
    this.tokens.push({ kind, text: this.source.slice(start, end), line: this.line });
    this.skip(end + 1 - this.at);
  }

  private take(kind: Token['kind'], end: number): void {
    this.tokens.push({ kind, text: this.source.slice(this.at, end), line: this.line });
    this.skip(end - this.at);
  }

  private skip(length: number): void {
    for (const end = this.at + length; this.at < end; this.at++)
      if (this.source[this.at] === '\n') this.line++;
  }

  private endOf(mark: string, from: number): number {
    const end = this.source.indexOf(mark, from);
    return end < 0 ? this.source.length : end;
  }

  private endOfMatch(pattern: RegExp): number {
    pattern.lastIndex = this.at;
    pattern.exec(this.source);
    return pattern.lastIndex;
  }

  private endOfRegex(): number {
    let inClass = false;
    for (let end = this.at + 1; end < this.source.length; end++) {
      const c = this.source[end];
      if (c === '\\') end++;
      else if (c === '[') inClass = true;
      else if (c === ']') inClass = false;
      else if (c === '/' && !inClass) return end + 1 + /^\w*/.exec(this.source.slice(end + 1))![0].length;
    }
    return this.source.length;
  }

  /** After a value a slash divides; anywhere else it begins a regular expression. */
  private regexMayBegin(): boolean {
    const before = this.tokens.findLast(({ kind }) => kind !== 'comment');
    if (before === undefined) return true;
    if (before.kind === 'punctuation') return !')]}'.includes(before.text);
    return before.kind === 'word' && WORDS_BEFORE_REGEX.has(before.text);
  }
}

const WORDS_BEFORE_REGEX = new Set([
  'return',
  'typeof',
  'case',
  'in',
  'of',
  'void',
  'delete',
  'throw',
  'else',
  'do',
]);
