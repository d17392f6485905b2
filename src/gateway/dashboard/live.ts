/**
 * A stream of events that stays: when it breaks it comes back, later each time, with jitter, and says so. It is over when it is closed or refused for good.
 */
import { EventStreamParser, type ServerEvent } from './event-stream.ts';
import { type Gateway, Problem } from './gateway.ts';

export type LiveState =
  | { readonly name: 'connecting' }
  | { readonly name: 'open' }
  | { readonly name: 'waiting'; readonly until: number; readonly why: string }
  | { readonly name: 'refused'; readonly problem: Problem }
  | { readonly name: 'closed' };

export interface LiveUser {
  onEvent(event: ServerEvent): void;
  onState(state: LiveState): void;
}

export class LiveStream {
  private readonly gateway: Gateway;
  private readonly filters: readonly string[];
  private readonly user: LiveUser;
  private readonly end = new AbortController();
  private state: LiveState = { name: 'connecting' };
  private attempts = 0;
  /** What the gateway said before it ended the stream. */
  private farewell: string | null = null;
  private retry = 0;
  private watchdog = 0;

  constructor(gateway: Gateway, filters: readonly string[], user: LiveUser) {
    this.gateway = gateway;
    this.filters = filters;
    this.user = user;
    void this.run();
  }

  close(): void {
    if (this.end.signal.aborted) return;
    this.end.abort();
    clearTimeout(this.retry);
    clearTimeout(this.watchdog);
    this.enter({ name: 'closed' });
  }

  /** Tries again now, where it waits. */
  hurry(): void {
    if (this.state.name !== 'waiting') return;
    clearTimeout(this.retry);
    void this.run();
  }

  private enter(state: LiveState): void {
    this.state = state;
    this.user.onState(state);
  }

  private async run(): Promise<void> {
    this.enter({ name: 'connecting' });
    this.farewell = null;
    const attempt = new AbortController();
    const stop = (): void => attempt.abort();
    this.end.signal.addEventListener('abort', stop);
    try {
      this.watch(attempt);
      const body = await this.gateway.events(this.filters, attempt.signal);
      this.enter({ name: 'open' });
      const retryMs = await this.read(body, attempt);
      this.comeBack(this.farewell ?? 'The gateway has ended the connection.', retryMs);
    } catch (error) {
      if (this.end.signal.aborted) return;
      const problem = error instanceof Problem ? error : null;
      if (problem !== null && problem.status >= 400 && problem.status < 500 && problem.status !== 429) {
        this.enter({ name: 'refused', problem });
      } else this.comeBack(problem?.message ?? 'The connection broke.', 0);
    } finally {
      clearTimeout(this.watchdog);
      this.end.signal.removeEventListener('abort', stop);
      attempt.abort(); // whatever has ended it: what is not read any more keeps no connection
    }
  }

  /** Hands events on until the stream ends, and gives how long the gateway wants us to stay away, ms. */
  private async read(body: ReadableStream<Uint8Array>, attempt: AbortController): Promise<number> {
    const decoder = new TextDecoder();
    const parser = new EventStreamParser((event) => {
      if (this.end.signal.aborted) return;
      if (event.event === 'goodbye') {
        this.farewell = farewellOf(event);
        return;
      }
      this.attempts = 0;
      this.user.onEvent(event);
    });
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done || this.end.signal.aborted) return parser.retryMs ?? 0;
      this.watch(attempt);
      parser.push(decoder.decode(value, { stream: true }));
    }
  }

  /** Gives an attempt up that brings nothing: the gateway says something every 15 s. */
  private watch(attempt: AbortController): void {
    clearTimeout(this.watchdog);
    this.watchdog = window.setTimeout(() => attempt.abort(), SILENCE_MS_MAX);
  }

  private comeBack(why: string, atLeastMs: number): void {
    if (this.end.signal.aborted) return;
    const most = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS * 2 ** this.attempts++);
    const delay = Math.max(atLeastMs, most / 2 + (Math.random() * most) / 2);
    this.enter({ name: 'waiting', until: Date.now() + delay, why });
    this.retry = window.setTimeout(() => void this.run(), delay);
  }
}

function farewellOf({ data }: ServerEvent): string | null {
  try {
    const { message } = JSON.parse(data) as { message?: unknown };
    return typeof message === 'string' && message !== '' ? `${message.replace(/\.$/, '')}.` : null;
  } catch {
    return null;
  }
}

const BACK_OFF_MS = 500;
const BACK_OFF_MS_MAX = 10_000;
const SILENCE_MS_MAX = 40_000;
