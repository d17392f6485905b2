/** One request and its answer, as routes see it. */

import { isUtf8 } from 'node:buffer';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { ANONYMOUS, proofOnConnection } from './caller.ts';
import type { Answer } from './idempotency.ts';
import { Problem } from './problem.ts';
import type { Proof, Session } from './session.ts';
import type { GatewayState } from './state.ts';

export class Exchange {
  readonly state: GatewayState;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly method: string;
  /** Without the query, as it came: percent-encoded. */
  readonly path: string;
  /** What the path has behind the route's own part, decoded; empty where it has nothing. */
  rest = '';
  /** What the answer has to say to the page that has asked. */
  pageHeaders: Readonly<Record<string, string>> | null = null;
  /** Told of the answer as it is made. */
  onAnswer: ((answer: Answer) => void) | null = null;
  /** Bytes of its body that are in memory. */
  private takenBytes = 0;
  /** It counts as one that is under way. */
  private isCounted = false;
  private isServed = false;
  private closed = false;
  private whenClosed: (() => void) | null = null;
  /** Told when it is over before its body was whole. */
  private onCutOff: ((problem: Problem) => void) | null = null;
  private readonly search: string;
  private parameters: URLSearchParams | null = null;

  constructor(state: GatewayState, request: IncomingMessage, response: ServerResponse) {
    this.state = state;
    this.request = request;
    this.response = response;
    this.method = request.method ?? 'GET';
    const url = pathIn(request.url ?? '/');
    const mark = url.indexOf('?');
    this.path = mark < 0 ? url : url.slice(0, mark);
    this.search = mark < 0 ? '' : url.slice(mark + 1);
  }

  /** The parameters of the query; none, for most requests. */
  get query(): URLSearchParams {
    this.parameters ??= this.search === '' ? NO_PARAMETERS : new URLSearchParams(this.search);
    return this.parameters;
  }

  /** All that it asks for, but for its body and who asks: what two of them have in common that ask for the same. */
  get asked(): string {
    const { headers } = this.request;
    const terms = Object.keys(headers).filter((name) => /^(jsp-|ce-|content-type$)/.test(name));
    return JSON.stringify([
      this.method,
      this.path,
      this.search,
      ...terms.sort().map((name) => [name, headers[name]]),
    ]);
  }

  get address(): string {
    return this.state.addresses.of(this.request);
  }

  /** @throws {Problem} CREDENTIALS_REFUSED, where they cannot be read */
  get proof(): Proof {
    return proofOnConnection(this.request);
  }

  /** It says something behind a question mark. */
  get hasQuery(): boolean {
    return this.search !== '';
  }

  /** A header that comes once. */
  header(name: string): string | undefined {
    const value = this.request.headers[name];
    return typeof value === 'string' ? value : value?.[0];
  }

  /** The same of one that may have text beyond ASCII: Node gives its bytes as Latin-1. */
  textHeader(name: string): string | undefined {
    const value = this.header(name);
    if (value === undefined || ASCII.test(value)) return value;
    const bytes = Buffer.from(value, 'latin1');
    return isUtf8(bytes) ? bytes.toString() : value;
  }

  /** What the query, or a header with `JSP-` before the name, says. */
  term(name: string): string | undefined {
    return this.query.get(name) ?? this.textHeader(`jsp-${name}`);
  }

  /** The session that the request's caller shares. */
  session(): Session | Promise<Session> {
    return this.state.sessions.of(this.proof, this.address);
  }

  /** The caller has shown no credentials. */
  get isAnonymous(): boolean {
    return this.proof === ANONYMOUS;
  }

  /** @throws {Problem} MEDIA_TYPE_UNKNOWN, where the body is encoded in some way that nobody here takes back */
  assertPlainBody(): void {
    const encoding = this.request.headers['content-encoding'];
    if (encoding === undefined || encoding === 'identity') return;
    throw new Problem('MEDIA_TYPE_UNKNOWN', 'Bodies are taken as they are, without a Content-Encoding.');
  }

  /**
   * The body, whole.
   *
   * @throws {Problem} BODY_TOO_LARGE
   */
  body(bytesMax: number): Promise<Buffer> {
    const { request } = this;
    const length = Number(request.headers['content-length'] ?? 0);
    return new Promise((resolve, reject) => {
      if (length > bytesMax) {
        reject(tooLarge(bytesMax));
        return;
      }
      let first: Buffer | null = null;
      let more: Buffer[] | null = null;
      let bytes = 0;
      request.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        const fault = bytes > bytesMax ? tooLarge(bytesMax) : this.take(chunk.length);
        if (fault !== null) {
          more = null;
          first = null;
          this.onCutOff = null;
          request.removeAllListeners('data');
          reject(fault);
        } else if (first === null) first = chunk;
        else if (more === null) more = [first, chunk];
        else more.push(chunk);
      });
      this.onCutOff = reject;
      request.on('end', () => {
        this.onCutOff = null;
        resolve(more === null ? (first ?? NO_BODY) : Buffer.concat(more, bytes));
      });
    });
  }

  /** Calls back once, when the caller has his answer, or has gone. */
  onClose(listener: () => void): void {
    if (this.closed) listener();
    else this.whenClosed = listener;
  }

  /** It is under way, until it is served and closed: who goes does not make room for more before what he has asked for is done. @throws {Problem} OVERLOADED */
  begin(): void {
    this.state.load.begin();
    this.isCounted = true;
  }

  /** What it asks for is done. */
  served(): void {
    this.isServed = true;
    if (this.closed) this.release();
  }

  /** Its answer has gone out, or has nobody to go to any more. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onCutOff?.(new Problem('REQUEST_INVALID', 'The request was cut off.'));
    this.onCutOff = null;
    const { whenClosed } = this;
    this.whenClosed = null;
    whenClosed?.();
    if (this.isServed) this.release();
  }

  /** Counts as under way no more. */
  release(): void {
    if (!this.isCounted) return;
    this.isCounted = false;
    this.state.load.end(this.takenBytes);
  }

  /** Answers with JSON, which nobody keeps. [GW-2] */
  json(status: number, value: unknown, headers: Readonly<Record<string, string>> = NO_HEADERS): void {
    this.answer(status, 'application/json', JSON.stringify(value), headers);
  }

  /** Answers without a body. */
  empty(status: number, headers: Readonly<Record<string, string>> = NO_HEADERS): void {
    const { response } = this;
    this.state.counters.answered(status);
    if (response.headersSent || this.closed) return;
    response.writeHead(status, { ...headers, ...this.pageHeaders, ...this.lastHeaders });
    response.end();
  }

  problem(problem: Problem): void {
    this.answer(problem.status, 'application/problem+json', JSON.stringify(problem), problem.headers);
  }

  /** [GW-6] no other request comes on this connection */
  private get lastHeaders(): Readonly<Record<string, string>> | null {
    return this.state.isDraining ? LAST_HEADERS : null;
  }

  private take(bytes: number): Problem | null {
    try {
      this.state.load.take(bytes);
      this.takenBytes += bytes;
      return null;
    } catch (error) {
      return error as Problem;
    }
  }

  answer(
    status: number,
    contentType: string,
    body: string | Uint8Array,
    headers: Readonly<Record<string, string | number>> = NO_HEADERS,
  ): void {
    const { response, onAnswer } = this;
    if (onAnswer !== null) {
      this.onAnswer = null;
      onAnswer({ status, contentType, body, headers: headers as Record<string, string> });
    }
    this.state.counters.answered(status);
    if (response.headersSent || this.closed) return;
    const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length;
    if (headers === NO_HEADERS && this.pageHeaders === null && !this.state.isDraining) {
      response.writeHead(status, [
        'content-type',
        contentType,
        'content-length',
        length,
        'cache-control',
        'no-store',
      ]);
    } else {
      response.writeHead(status, {
        'content-type': contentType,
        'content-length': length,
        'cache-control': 'no-store',
        ...headers,
        ...this.pageHeaders,
        ...this.lastHeaders,
      });
    }
    response.end(this.method === 'HEAD' ? undefined : body);
  }
}

/** A target in absolute form, as some proxies pass it on, is the path in it. [GW-9] */
export function pathIn(target: string): string {
  if (target.startsWith('/')) return target;
  const path = target.replace(ORIGIN, '');
  return path.startsWith('/') ? path : `/${path}`;
}

function tooLarge(bytesMax: number): Problem {
  return new Problem('BODY_TOO_LARGE', `At most ${bytesMax} bytes are taken here.`, {
    headers: { connection: 'close' }, // what else comes of it is not read
  });
}

const ORIGIN = /^https?:\/\/[^/?]*/i;
const ASCII = /^[\x20-\x7e]*$/;
const NO_BODY = Buffer.alloc(0);
const NO_PARAMETERS = new URLSearchParams();
const LAST_HEADERS = { connection: 'close' };
const NO_HEADERS: Readonly<Record<string, string>> = {};
