/**
 * What the page asks of the gateway it came from: the verbs of operators, messages, and streams of events. It keeps the credential, and nothing of it
 * ever stands in a URL.
 */
import type { AdminVerb, AdminVerbs } from '../../broker/operations/snapshot.ts';
import { topicPath } from './message.ts';

/** Why a request was not answered with what it asked for (RFC 9457). */
export class Problem extends Error {
  /** HTTP status; 0: nobody answered. */
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

interface PublishRequest {
  readonly topic: string;
  readonly payload: string;
  readonly contentType: string;
  readonly qos: 0 | 1;
  readonly retain: boolean;
  readonly ttl: string;
}

/** What became of a published message. */
export interface Receipt {
  readonly offset?: number;
  readonly subscribers?: number;
  readonly duplicate?: boolean;
  readonly result?: string;
}

export class Gateway {
  private credential: string | null = sessionStorage.getItem(CREDENTIAL_KEY);

  get hasCredential(): boolean {
    return this.credential !== null;
  }

  /** Takes an API key or a token for all that follows; null forgets it. It lives as long as this tab. */
  authorize(credential: string | null): void {
    this.credential = credential;
    if (credential === null) sessionStorage.removeItem(CREDENTIAL_KEY);
    else sessionStorage.setItem(CREDENTIAL_KEY, credential);
  }

  /** Asks what changes nothing. */
  async ask<V extends AdminVerb>(
    verb: V,
    request: AdminVerbs[V]['request'],
  ): Promise<AdminVerbs[V]['answer']> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request)) {
      if (value !== undefined && value !== '') query.set(name, String(value));
    }
    const text = query.toString();
    return this.answer(`/v1/admin/${verb}${text === '' ? '' : `?${text}`}`, {});
  }

  /** Asks for something to be done. */
  async order<V extends AdminVerb>(
    verb: V,
    request: AdminVerbs[V]['request'],
  ): Promise<AdminVerbs[V]['answer']> {
    return this.answer(`/v1/admin/${verb}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(request),
    });
  }

  async publish(request: PublishRequest): Promise<Receipt> {
    const path = topicPath(request.topic);
    if (path === null) {
      const detail =
        'A browser cannot name a topic with a level of dots, "." or ".."; publish it by "jsp pub".';
      throw new Problem(0, 'TOPIC_INVALID', detail);
    }
    const query = new URLSearchParams({ qos: String(request.qos) });
    if (request.retain) query.set('retain', 'true');
    if (request.ttl !== '') query.set('ttl', request.ttl);
    return this.answer(`/v1/topics/${path}?${query}`, {
      method: 'POST',
      headers: { 'Content-Type': request.contentType },
      body: request.payload,
    });
  }

  /** Opens a stream of messages as they come, which `signal` ends. */
  async events(filters: readonly string[], signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const query = new URLSearchParams(filters.map((filter) => ['filter', filter]));
    query.set('qos', '0');
    const headers = { Accept: 'text/event-stream' };
    const response = await this.fetch(`/v1/events?${query}`, { headers, signal });
    if (!response.ok) throw await problemOf(response);
    if (response.body === null) throw new Problem(0, 'EMPTY', 'the answer has no body');
    return response.body;
  }

  /** The JSON that a request is answered with. */
  private async answer<T>(path: string, init: RequestInit): Promise<T> {
    const response = await this.fetch(path, init);
    if (!response.ok) throw await problemOf(response);
    try {
      return (await response.json()) as T;
    } catch (error) {
      throw unreachable(error);
    }
  }

  private async fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    if (this.credential !== null) headers.set('Authorization', `Bearer ${this.credential}`);
    try {
      return await fetch(path, {
        cache: 'no-store',
        signal: AbortSignal.timeout(ANSWER_MS_MAX),
        ...init,
        headers,
      });
    } catch (error) {
      throw unreachable(error, init.signal);
    }
  }
}

/** What a request that broke off fails with: as itself where it was we who ended it. */
function unreachable(error: unknown, signal?: AbortSignal | null): unknown {
  return signal?.aborted ? error : new Problem(0, 'UNREACHABLE', 'The broker does not answer.');
}

async function problemOf(response: Response): Promise<Problem> {
  const body = (await response.json().catch(() => null)) as {
    code?: unknown;
    detail?: unknown;
    title?: unknown;
  } | null;
  const { code, detail, title } = body ?? {};
  const said = [detail, title].find((text) => typeof text === 'string' && text !== '');
  return new Problem(
    response.status,
    typeof code === 'string' ? code : `HTTP_${response.status}`,
    typeof said === 'string' ? said : `The answer was ${response.status} ${response.statusText}.`,
  );
}

const CREDENTIAL_KEY = 'jsp-credential';
const ANSWER_MS_MAX = 10_000;
