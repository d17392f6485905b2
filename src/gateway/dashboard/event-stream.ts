/**
 * Server-sent events, read from a stream of text as the standard has them (WHATWG HTML 9.2.6). The page reads them with `fetch`, because an
 * `EventSource` cannot send the Authorization header that a broker with accounts asks for.
 */

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  /** The last id that was told, for `Last-Event-ID`; '' when there was none. */
  readonly id: string;
}

/** Takes text as it comes and gives whole events. */
export class EventStreamParser {
  /** How long the server wants us to wait before we come back, in ms; null until it has said. */
  retryMs: number | null = null;
  private line = '';
  private endedInReturn = false;
  private event = '';
  private data: string[] = [];
  private dataLength = 0;
  private id = '';
  private readonly emit: (event: ServerEvent) => void;

  constructor(emit: (event: ServerEvent) => void) {
    this.emit = emit;
  }

  /**
   * @throws RangeError when a line or an event is longer than {@link EVENT_CHARACTERS_MAX}
   */
  push(text: string): void {
    let from = 0;
    if (this.endedInReturn && text.startsWith('\n')) from = 1;
    if (text.length > 0) this.endedInReturn = false;
    for (let i = from; i < text.length; i++) {
      const character = text.charCodeAt(i);
      if (character !== LF && character !== CR) continue;
      this.take(this.line + text.slice(from, i));
      this.line = '';
      if (character === CR) {
        if (i + 1 === text.length) this.endedInReturn = true;
        else if (text.charCodeAt(i + 1) === LF) i++;
      }
      from = i + 1;
    }
    this.line += text.slice(from);
    bounded(this.line.length);
  }

  private take(line: string): void {
    if (line === '') {
      this.finish();
      return;
    }
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? '' : line.slice(colon + 1);
    const value = raw.startsWith(' ') ? raw.slice(1) : raw;
    if (field === 'data') {
      this.dataLength += value.length;
      bounded(this.dataLength);
      this.data.push(value);
    } else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
    else if (field === 'retry' && /^\d{1,9}$/.test(value)) this.retryMs = Number(value);
  }

  private finish(): void {
    const { data, event, id } = this;
    this.event = '';
    this.data = [];
    this.dataLength = 0;
    if (data.length > 0) this.emit({ event: event === '' ? 'message' : event, data: data.join('\n'), id });
  }
}

function bounded(length: number): void {
  if (length > EVENT_CHARACTERS_MAX) throw new RangeError('an event of the server is too long to be one');
}

const LF = 0x0a;
const CR = 0x0d;
/** More than the largest message as base64 within JSON. */
export const EVENT_CHARACTERS_MAX = 24 * 1024 * 1024;
