/** The client's side of a measurement's control stream: requests, their answers, and the data connections of runs. */
import { randomBytes } from 'node:crypto';
import { JspError } from '../../base/errors.ts';
import { type ConnectOptions, connect } from '../../transport/connect.ts';
import type { Connection } from '../../transport/connection.ts';
import type { Stream } from '../../transport/stream.ts';
import {
  type AnswerBody,
  type Ask,
  ControlError,
  decodeAnswer,
  LABELS,
  type Machine,
  type Plan,
  type Refusal,
  type RequestBody,
  VERSION,
} from './control.ts';
import { BENCH_TRANSPORT, RunEnd } from './run-end.ts';
import { type BenchSystem, hostHash, sleep } from './system.ts';

/** The server does not do what it was asked, and says why. */
export class BenchRefusal extends Error {
  readonly refusal: Refusal;

  constructor(refusal: Refusal) {
    super(refusal.message);
    this.refusal = refusal;
  }
}

/** Whoever is at the URL does not measure links. */
export class NotABenchServer extends Error {}

export interface SessionOptions {
  readonly system: BenchSystem;
  readonly signal?: AbortSignal;
  /** For each connection that is made, such as the sockets of the lab. */
  readonly transport?: () => ConnectOptions;
}

export class BenchSession {
  readonly connection: Connection;
  readonly machine: Machine;
  /** Both ends are processes of one machine and share its monotonic clock. */
  readonly isSameHost: boolean;
  private readonly url: string;
  private readonly options: SessionOptions;
  private readonly requests: Requests;
  private readonly token: string;
  private runs = 0;

  private constructor(
    url: string,
    options: SessionOptions,
    requests: Requests,
    hello: AnswerBody<'hello'>,
    nonce: string,
  ) {
    this.url = url;
    this.options = options;
    this.requests = requests;
    this.connection = requests.connection;
    this.machine = hello.machine;
    this.token = hello.token;
    this.isSameHost = hello.host !== '' && hello.host === hostHash(options.system, nonce);
  }

  /**
   * Connects, and asks to measure.
   *
   * @throws NotABenchServer, BenchRefusal, JspError
   */
  static async open(url: string, options: SessionOptions): Promise<BenchSession> {
    const connection = await connect(url, {
      ...BENCH_TRANSPORT,
      signal: options.signal,
      ...options.transport?.(),
    });
    const requests = new Requests(connection);
    const nonce = randomBytes(12).toString('base64url');
    try {
      const hello = await Promise.race([
        requests.ask('hello', { version: VERSION, nonce }),
        sleep(options.system, HELLO_MS, options.signal).then(() => {
          throw new NotABenchServer('it does not answer as a server of measurements does');
        }),
      ]);
      return new BenchSession(url, options, requests, hello, nonce);
    } catch (error) {
      connection.destroy();
      const isOther =
        error instanceof ControlError ||
        (error instanceof JspError && NOT_A_BENCH_CODES.has(error.code) && !options.signal?.aborted);
      if (!isOther) throw error;
      throw new NotABenchServer('it does not answer as a server of measurements does', { cause: error });
    }
  }

  ask<A extends Ask>(ask: A, body: RequestBody<A>): Promise<AnswerBody<A>> {
    return this.requests.ask(ask, body);
  }

  /**
   * Opens a run with its data connection.
   *
   * @param mtu - to begin with, in both directions; 0 leaves the size to the library
   */
  async openRun(plan: Plan, mtu: number): Promise<ClientRun> {
    const run = ++this.runs;
    await this.ask('open', { run, plan });
    const { system, signal, transport } = this.options;
    const connection = await connect(this.url, {
      ...BENCH_TRANSPORT,
      signal,
      ...(mtu > 0 ? { mtu } : {}),
      ...transport?.(),
    });
    const join = connection.openStream({ label: LABELS.join, priority: 'bulk' });
    join.on('error', () => {});
    const answered = new Promise<void>((resolve) => join.once('message', () => resolve()));
    join.send(JSON.stringify({ token: this.token, run }));
    await Promise.race([answered, ended(connection)]);
    return new ClientRun(this, run, new RunEnd(connection, plan, system));
  }

  async close(): Promise<void> {
    if (this.connection.isOpen) await this.connection.close({ timeoutMs: CLOSE_MS });
  }
}

/** A run as the client sees it: its own end, and what it can ask of the server's. */
export class ClientRun {
  readonly end: RunEnd;
  private readonly session: BenchSession;
  private readonly number: number;

  constructor(session: BenchSession, number: number, end: RunEnd) {
    this.session = session;
    this.number = number;
    this.end = end;
  }

  get connection(): Connection {
    return this.end.connection;
  }

  ask<A extends Exclude<Ask, 'hello' | 'open'>>(
    ask: A,
    body: Omit<RequestBody<A>, 'run'>,
  ): Promise<AnswerBody<A>> {
    return this.session.ask(ask, { run: this.number, ...body } as RequestBody<A>);
  }

  /** Rejects when the data connection ends. */
  get ended(): Promise<never> {
    return ended(this.connection);
  }

  close(): void {
    this.end.stop();
    this.connection.destroy();
  }
}

/** Requests of a control stream that wait for their answers. */
class Requests {
  readonly connection: Connection;
  private readonly stream: Stream;
  private readonly waiting = new Map<number, Waiting>();
  private ids = 0;

  constructor(connection: Connection) {
    this.connection = connection;
    this.stream = connection.openStream({ label: LABELS.control, priority: 'system' });
    this.stream.on('message', (message) => this.onAnswer(message));
    this.stream.on('error', (error) => this.fail(error));
    void connection.closed.then((error) =>
      this.fail(error ?? new JspError('ERR_JSP_CLOSED', 'the server closed the connection')),
    );
  }

  ask<A extends Ask>(ask: A, body: RequestBody<A>): Promise<AnswerBody<A>> {
    const id = ++this.ids;
    return new Promise<AnswerBody<A>>((resolve, reject) => {
      const take = (message: Buffer): boolean => {
        const answer = decodeAnswer(message, ask);
        if (answer.id !== id) return false;
        if ('ok' in answer) resolve(answer.ok);
        else reject(new BenchRefusal(answer.refusal));
        return true;
      };
      this.waiting.set(id, { take, reject });
      try {
        this.stream.send(JSON.stringify({ id, ask, ...body }));
      } catch (error) {
        this.waiting.delete(id);
        reject(error as Error);
      }
    });
  }

  /** Answers come in the order of the requests. */
  private onAnswer(message: Buffer): void {
    const [id, oldest] = this.waiting.entries().next().value ?? [];
    try {
      if (id === undefined || oldest === undefined || !oldest.take(message))
        throw new ControlError('an answer that was not asked for');
      this.waiting.delete(id);
    } catch (error) {
      this.fail(error as Error);
      this.connection.destroy();
    }
  }

  private fail(error: Error): void {
    for (const { reject } of this.waiting.values()) reject(error);
    this.waiting.clear();
  }
}

interface Waiting {
  take(message: Buffer): boolean;
  reject(error: Error): void;
}

async function ended(connection: Connection): Promise<never> {
  throw (await connection.closed) ?? new JspError('ERR_JSP_CLOSED', 'the server closed the connection');
}

const HELLO_MS = 5_000;
const CLOSE_MS = 1_000;
/** How connections end whose server does not know what to make of a measurement. */
const NOT_A_BENCH_CODES = new Set<string>([
  'ERR_JSP_CLOSED',
  'ERR_JSP_CLOSED_BY_PEER',
  'ERR_JSP_STREAM_RESET',
  'ERR_JSP_STREAM_CLOSED',
  'ERR_JSP_PROTOCOL',
]);
