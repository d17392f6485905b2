/** What the benchmarks use of autocannon, which has no types of its own. */
declare module 'autocannon' {
  import type { EventEmitter } from 'node:events';

  interface Options {
    url: string;
    connections: number;
    /** Seconds. */
    duration: number;
    method: 'POST';
    headers: Record<string, string>;
    body: string;
    /** Seconds. */
    timeout: number;
    setupClient?: (client: EventEmitter) => void;
  }

  interface Result {
    errors: number;
    timeouts: number;
    duration: number;
  }

  /** Emits `response` with client, status, bytes and time in ms. */
  interface Instance extends EventEmitter, PromiseLike<Result> {}

  export default function autocannon(options: Options): Instance;
}
