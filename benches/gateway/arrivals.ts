/**
 * Callers who do not know of each other: requests come at random times, as many a second as are asked for, however long the answers take. What is measured begins when a request
 * was to come. One that finds all connections under way is not sent, and counted.
 */
import { performance } from 'node:perf_hooks';
import { HttpConnection } from './http-connection.ts';

export interface Answers {
  /** Ms of those that were answered with 200, in the order of length. */
  readonly taken: readonly number[];
  /** Those of them that were answered when the gateway could know for {@link ONSET_MS} how much there is to do. */
  readonly settled: readonly number[];
  /** The same of those with 429 or 503. */
  readonly refused: readonly number[];
  /** Of these, those that say when to come back. */
  readonly refusedWithTime: number;
  readonly others: Readonly<Record<string, number>>;
  readonly errors: number;
  /** That were to come when no connection was free. */
  readonly unsent: number;
  readonly seconds: number;
}

export interface ArrivalOptions {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly body: string;
  /** That are kept: so many requests can be under way. */
  readonly connections: number;
  readonly seconds: number;
  /** Requests a second; infinite: each connection asks again when it is answered. */
  readonly rate: number;
}

export async function arrivals(options: ArrivalOptions): Promise<Answers> {
  const { host, port, path, body, connections, seconds, rate } = options;
  const idle = await opened(host, port, connections);
  const all = [...idle];
  const taken: number[] = [];
  const settled: number[] = [];
  const refused: number[] = [];
  const others: Record<string, number> = {};
  let unsent = 0;
  let refusedWithTime = 0;
  let errors = 0;
  let isOver = false;
  const from = performance.now();
  const until = from + seconds * 1_000;

  const answered = (status: number, ms: number, head: string): void => {
    if (status === 200) {
      taken.push(ms);
      if (performance.now() >= from + ONSET_MS) settled.push(ms);
    } else if (status === 429 || status === 503) {
      refused.push(ms);
      if (/\r\nretry-after: *\d/i.test(head)) refusedWithTime++;
    } else others[status] = (others[status] ?? 0) + 1;
  };
  const ask = (connection: HttpConnection, at: number): void => {
    connection.post(path, body).then(
      (status) => {
        if (isOver) return;
        const now = performance.now();
        answered(status, now - at, connection.head);
        if (rate === Number.POSITIVE_INFINITY) ask(connection, now);
        else idle.push(connection);
      },
      () => {
        if (!isOver) errors++;
      },
    );
  };

  if (rate === Number.POSITIVE_INFINITY) {
    for (const connection of idle.splice(0)) ask(connection, from);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  } else {
    for (let next = from; next < until; ) {
      const now = performance.now();
      for (; next <= now && next < until; next += (-Math.log(1 - Math.random()) * 1_000) / rate) {
        const connection = idle.pop();
        if (connection === undefined) unsent++;
        else ask(connection, next);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  isOver = true;
  for (const connection of all) connection.close();
  for (const times of [taken, settled, refused]) times.sort((a, b) => a - b);
  return { taken, settled, refused, refusedWithTime, others, errors, unsent, seconds };
}

/** A few at a time, so that none is lost before the other side accepts it. */
async function opened(host: string, port: number, count: number): Promise<HttpConnection[]> {
  const open: HttpConnection[] = [];
  while (open.length < count) {
    const some = Math.min(DIALS, count - open.length);
    open.push(...(await Promise.all(Array.from({ length: some }, () => HttpConnection.open(host, port)))));
  }
  return open;
}

const DIALS = 100;
/** A queue that is long once is no overload, so that a while goes by until those are refused who are too many. */
export const ONSET_MS = 3_000;
