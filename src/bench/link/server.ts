/**
 * The server of link measurements. One client measures at a time; others are told that it is busy, and for how long. A stranger who has the
 * URL can have it send only to the address that the handshake proved, what congestion control lets out, for a bounded time and a bounded
 * number of bytes.
 */
import { randomBytes } from 'node:crypto';
import type { JspError } from '../../base/errors.ts';
import { MILLISECOND } from '../../base/time.ts';
import type { Connection } from '../../transport/connection.ts';
import { type Listener, type ListenOptions, listen } from '../../transport/listen.ts';
import type { Stream } from '../../transport/stream.ts';
import type { TimerHandle } from '../../udp/clock.ts';
import {
  type AnswerBody,
  type Ask,
  ControlError,
  decodeJoin,
  decodeRequest,
  LABELS,
  type Plan,
  type Refusal,
  type RefusalCode,
  type Request,
  VERSION,
} from './control.ts';
import { answerProbes } from './probe.ts';
import { BENCH_TRANSPORT, RunEnd } from './run-end.ts';
import { type BenchSystem, benchSystem, hostHash, thisMachine } from './system.ts';

export interface BenchServerOptions extends ListenOptions {
  /** Longest that one client may measure. Default 30 minutes. */
  sessionSeconds?: number;
  /** Most bytes that are sent to and taken from one client. Default 100 GB. */
  sessionBytes?: number;
  system?: BenchSystem;
  /** A measurement began, or is over: a line for people. */
  onNote?: (text: string) => void;
}

/** Serves measurements until it is closed. */
export async function serveBench(options: BenchServerOptions): Promise<BenchServer> {
  const { sessionSeconds = 1_800, sessionBytes = 100e9, system = benchSystem, onNote, ...own } = options;
  const listener = await listen({ ...BENCH_TRANSPORT, connectionsMax: CONNECTIONS_MAX, ...own });
  return new BenchServer(listener, { sessionSeconds, sessionBytes, system, onNote: onNote ?? (() => {}) });
}

type Bounds = Required<Pick<BenchServerOptions, 'sessionSeconds' | 'sessionBytes' | 'system' | 'onNote'>>;

export class BenchServer {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  private readonly listener: Listener;
  private readonly bounds: Bounds;
  private session: Session | null = null;
  private measured = 0;

  constructor(listener: Listener, bounds: Bounds) {
    this.listener = listener;
    this.bounds = bounds;
    this.url = listener.url;
    this.host = listener.host;
    this.port = listener.port;
    listener.on('connection', (connection) => this.onConnection(connection));
  }

  /** Clients that have measured so far. */
  get clients(): number {
    return this.measured;
  }

  close(): Promise<void> {
    this.session?.end('the server is closing');
    return this.listener.close({ timeoutMs: CLOSE_MS });
  }

  /** Resolves when it listens no more, with why if that was not asked for. */
  get closed(): Promise<JspError | null> {
    return new Promise((resolve) => {
      this.listener.on('error', resolve);
      this.listener.on('close', () => resolve(null));
    });
  }

  /** The first message of its first stream says what a connection is for. One that does not say so in time is of no use. */
  private onConnection(connection: Connection): void {
    const { system } = this.bounds;
    const { clock } = system;
    const lateness = clock.setTimer(clock.now() + FIRST_MESSAGE_MS * MILLISECOND, () => {
      connection.destroy(NOT_A_BENCH, 'this server only measures links: see jsp bench link');
    });
    connection.once('stream', (stream) => {
      stream.once('message', () => clock.clearTimer(lateness));
      if (stream.label === LABELS.control) this.onControl(connection, stream);
      else if (stream.label === LABELS.join) this.onJoin(connection, stream);
      else connection.destroy(NOT_A_BENCH, 'this server only measures links: see jsp bench link');
    });
    void connection.closed.then(() => clock.clearTimer(lateness));
  }

  private onControl(connection: Connection, stream: Stream): void {
    if (this.session !== null) return this.session.sayBusy(connection, stream);
    const session = new Session(connection, stream, this.bounds);
    this.session = session;
    void connection.closed.then((error) => {
      session.end();
      if (this.session === session) this.session = null;
      if (session.runs === 0) return;
      this.measured++;
      this.bounds.onNote(session.summary(error));
    });
  }

  private onJoin(connection: Connection, stream: Stream): void {
    stream.on('error', () => {});
    stream.once('message', (message) => {
      try {
        const join = decodeJoin(message);
        if (this.session?.join(join.token, join.run, connection) !== true)
          throw new ControlError('no such run');
        stream.send(message);
      } catch (error) {
        connection.destroy(NOT_A_BENCH, reasonOf(error));
      }
    });
  }
}

/** One client's measurements. */
class Session {
  runs = 0;
  private readonly connection: Connection;
  private readonly stream: Stream;
  private readonly bounds: Bounds;
  private readonly token = randomBytes(18).toString('base64url');
  private readonly startedAt: number;
  private readonly endTimer: TimerHandle;
  private lookTimer: TimerHandle;
  private run: ServedRun | null = null;
  private bytes = 0;
  private isGreeted = false;
  /** Requests are answered in the order in which they came. */
  private answering: Promise<void> = Promise.resolve();
  private waiting = 0;
  /** When it last asked for something, probes included. */
  private heardAt: number;

  constructor(connection: Connection, stream: Stream, bounds: Bounds) {
    this.connection = connection;
    this.stream = stream;
    this.bounds = bounds;
    const { clock } = bounds.system;
    this.startedAt = clock.now();
    this.heardAt = this.startedAt;
    this.endTimer = clock.setTimer(this.startedAt + bounds.sessionSeconds * 1e6, () =>
      this.end(`a client may measure for ${bounds.sessionSeconds} s`),
    );
    this.lookTimer = clock.setTimer(clock.now() + LOOK_MICROS, () => this.look());
    connection.on('stream', (other) => {
      if (other.label !== LABELS.probe) return other.reset();
      other.on('message', () => this.hear());
      answerProbes(other, bounds.system);
    });
    stream.on('error', () => this.end()); // no answer reaches it any more
    stream.on('message', (message) => this.onRequest(message));
  }

  /** The client, or a bound, ends it. */
  end(reason = ''): void {
    const { clock } = this.bounds.system;
    clock.clearTimer(this.endTimer);
    clock.clearTimer(this.lookTimer);
    this.closeRun();
    if (this.connection.isOpen) this.connection.destroy(SESSION_OVER, reason);
  }

  join(token: string, run: number, connection: Connection): boolean {
    if (token !== this.token || this.run?.number !== run) return false;
    return this.run.join(connection);
  }

  /** Another client asks while this one measures. */
  sayBusy(connection: Connection, stream: Stream): void {
    const { clock } = this.bounds.system;
    const leftMicros = this.startedAt + this.bounds.sessionSeconds * 1e6 - clock.now();
    const refusal: Refusal = {
      code: 'busy',
      message: 'the server measures another client; it takes one at a time',
      retrySeconds: Math.max(1, Math.ceil(leftMicros / 1e6)),
    };
    stream.on('error', () => {});
    stream.once('message', (message) => {
      const id = idOf(message);
      stream.send(JSON.stringify({ id, refusal }));
      void connection.close({ timeoutMs: CLOSE_MS }).catch(() => {});
    });
  }

  summary(error: JspError | null): string {
    const seconds = (this.bounds.system.clock.now() - this.startedAt) / 1e6;
    const how = error === null ? '' : `; it ended with ${error.message}`;
    const { remoteHost, remotePort } = this.connection;
    return `measured ${remoteHost} port ${remotePort}: ${this.runs} runs in ${seconds.toFixed(1)} s, ${(this.bytes / 1e6).toFixed(1)} MB${how}`;
  }

  private hear(): void {
    this.heardAt = this.bounds.system.clock.now();
  }

  private onRequest(message: Buffer): void {
    this.hear();
    if (++this.waiting > REQUESTS_WAITING_MAX) return this.end('too many requests at once');
    this.answering = this.answering.then(() => this.answer(message)).finally(() => this.waiting--);
  }

  private async answer(message: Buffer): Promise<void> {
    let request: Request;
    try {
      request = decodeRequest(message);
    } catch (error) {
      return this.end(reasonOf(error));
    }
    let answer: object;
    try {
      answer = { ok: await this.carryOut(request) };
    } catch (error) {
      const code = error instanceof Refused ? error.code : 'invalid';
      answer = { refusal: { code, message: reasonOf(error), retrySeconds: null } satisfies Refusal };
    }
    this.say({ id: request.id, ...answer });
  }

  /** The stream may have ended while the answer was being found. */
  private say(answer: object): void {
    if (!this.connection.isOpen) return;
    try {
      this.stream.send(JSON.stringify(answer));
    } catch (error) {
      this.end(reasonOf(error));
    }
  }

  private async carryOut(request: Request): Promise<AnswerBody<Ask>> {
    if (request.ask === 'hello') return this.greet(request.version, request.nonce);
    if (!this.isGreeted) throw new Refused('invalid', 'say hello first');
    if (request.ask === 'open') return this.open(request.run, request.plan);
    if (this.run === null || this.run.number !== request.run)
      throw new Refused('unknown-run', 'there is no such run');
    const { run } = this;
    const end = run.joined();
    switch (request.ask) {
      case 'mtu':
        return run.useMtu(request.bytes);
      case 'start':
        run.start(Math.min(request.secondsMax, this.bounds.sessionSeconds));
        return {};
      case 'sample':
        return end.sample();
      case 'stop':
        end.stop();
        return {};
      case 'finish': {
        const last = { sample: end.sample(), arrivals: end.arrivals() };
        end.stop();
        return { ...last, routeMtu: await this.bounds.system.routeMtu(end.connection.remoteHost) };
      }
    }
  }

  private greet(version: number, nonce: string): AnswerBody<'hello'> {
    if (version !== VERSION) {
      throw new Refused(
        'version',
        `the server measures by version ${VERSION}, not ${version}: use the same package`,
      );
    }
    this.isGreeted = true;
    const { system, sessionSeconds } = this.bounds;
    return {
      token: this.token,
      host: hostHash(system, nonce),
      machine: thisMachine(),
      secondsMax: sessionSeconds,
    };
  }

  private open(number: number, plan: Plan): AnswerBody<'open'> {
    this.closeRun();
    this.runs++;
    this.run = new ServedRun(number, plan, this.bounds.system);
    return {};
  }

  private closeRun(): void {
    if (this.run === null) return;
    this.bytes += this.run.traffic;
    this.run.close();
    this.run = null;
  }

  /** Now and then: the bytes of a run count while it goes on. */
  private look(): void {
    const { clock } = this.bounds.system;
    const { sessionBytes } = this.bounds;
    const quietSince = Math.max(this.heardAt, this.run?.goesOnUntil ?? 0);
    if (clock.now() - quietSince > QUIET_MICROS)
      return this.end('others wait: a client asks for something now and then');
    if (this.bytes + (this.run?.traffic ?? 0) > sessionBytes) {
      return this.end(`a client may send and receive ${(sessionBytes / 1e9).toFixed(1)} GB`);
    }
    this.lookTimer = clock.setTimer(clock.now() + LOOK_MICROS, () => this.look());
  }
}

/** A run as the server sees it. */
class ServedRun {
  readonly number: number;
  private readonly plan: Plan;
  private readonly system: BenchSystem;
  private end: RunEnd | null = null;
  private stopTimer: TimerHandle | null = null;
  /** When it stops by itself; 0 before it has begun. */
  goesOnUntil = 0;

  constructor(number: number, plan: Plan, system: BenchSystem) {
    this.number = number;
    this.plan = plan;
    this.system = system;
  }

  /** Bytes of datagrams in both directions. */
  get traffic(): number {
    if (this.end === null) return 0;
    const { bytesSent, bytesReceived } = this.end.connection.metrics();
    return bytesSent + bytesReceived;
  }

  /** Only one data connection joins a run. */
  join(connection: Connection): boolean {
    if (this.end !== null) return false;
    this.end = new RunEnd(connection, this.plan, this.system);
    return true;
  }

  joined(): RunEnd {
    if (this.end === null) throw new Refused('not-joined', 'no data connection has joined the run');
    return this.end;
  }

  async useMtu(bytes: number): Promise<AnswerBody<'mtu'>> {
    const end = this.joined();
    const carried = await end.tryMtu(bytes);
    return { carried, routeMtu: await this.system.routeMtu(end.connection.remoteHost) };
  }

  /** The server stops by itself when the client does not say so. */
  start(seconds: number): void {
    const end = this.joined();
    const { clock } = this.system;
    if (this.stopTimer !== null) throw new Refused('invalid', 'the run has begun');
    this.goesOnUntil = clock.now() + Math.round(seconds * 1e6);
    this.stopTimer = clock.setTimer(this.goesOnUntil, () => end.stop());
    end.start();
  }

  close(): void {
    if (this.stopTimer !== null) this.system.clock.clearTimer(this.stopTimer);
    this.end?.stop();
    this.end?.connection.destroy(0, '');
    this.end = null;
  }
}

class Refused extends Error {
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.code = code;
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.slice(0, 400) : String(error);
}

/** Of a request that is not looked at further. */
function idOf(message: Buffer): number {
  try {
    return decodeRequest(message).id;
  } catch {
    return 0;
  }
}

/** Codes with which it closes connections, for those who look. */
const NOT_A_BENCH = 1;
const SESSION_OVER = 2;
const CONNECTIONS_MAX = 32;
const FIRST_MESSAGE_MS = 5_000;
const REQUESTS_WAITING_MAX = 16;
const LOOK_MICROS = 250_000;
/** A client that neither measures nor asks for anything for so long keeps its place from others. */
const QUIET_MICROS = 60e6;
const CLOSE_MS = 1_000;
