/**
 * A connection to NATS, which comes back by itself for as long as it is not closed. [CLU-14] What is sent while it is down is lost, but for what the client library does again
 * on its own: subscriptions. Nobody may send without looking at {@link NatsLine.isUp}, nor more than {@link NatsLine.hasRoom} says, for the library keeps what the server
 * does not take, however much that is.
 *
 * What comes is handed on guarded: the library takes what a callback throws for a fault of the protocol and closes the connection for good, and what a promise's callback throws ends
 * the process. So whoever listens does so by {@link NatsLine.subscribe}, and hands on what else NATS answers within {@link NatsLine.attempt}.
 */

import { readFileSync } from 'node:fs';
import type { Authenticator, Msg, NatsConnection, Subscription } from '@nats-io/transport-node';
import type { BackplaneOptions, BackplaneTls } from '../options.ts';
import { failureOf, type NatsModules } from './modules.ts';

export interface LineOptions {
  /** What it is for, as the list of connections of NATS shows it. */
  readonly purpose: string;
  /** What is published by it does not come back on it. */
  readonly noEcho: boolean;
}

export interface LineListener {
  up(): void;
  down(): void;
  /** NATS refuses something: a sentence of it. */
  refused(error: Error): void;
  /** This broker has failed at something that came, which is left out. Told once for all of a second. */
  fault(error: unknown): void;
}

export interface SubscribeOptions {
  /** Each message comes to one of those that name this queue group. */
  readonly queue?: string;
  /** The subscription is over: NATS does not allow it. */
  readonly ended?: () => void;
}

export class NatsLine {
  readonly nats: NatsConnection;
  /** Told of what happens from now on. */
  listener: LineListener | null = null;
  private state: 'up' | 'down' | 'closed' = 'up';
  /** Bytes that were sent since it is up, those that a PING was sent behind, and those that the server has taken. */
  private sentBytes = 0;
  private askedBytes = 0;
  private takenBytes = 0;
  /** Monotonic, ms: before this one no more faults are told. */
  private nextFaultMs = 0;

  private constructor(nats: NatsConnection) {
    this.nats = nats;
    void this.watch();
  }

  /** @throws {JspError} ERR_JSP_BACKPLANE_FAILED */
  static async open(
    { transport }: NatsModules,
    options: BackplaneOptions,
    line: LineOptions,
  ): Promise<NatsLine> {
    const { urls = [DEFAULT_URL], cluster = 'main', tls } = options;
    const servers = urls.map((url) => new URL(url));
    const isEncrypted = tls !== undefined || servers.some(({ protocol }) => protocol === 'tls:');
    try {
      const nats = await transport.connect({
        servers: servers.map(({ hostname, port }) => `${hostname}:${port === '' ? 4_222 : port}`),
        name: `jsp ${cluster} ${options.node ?? ''} ${line.purpose}`,
        noEcho: line.noEcho,
        ...identityOf(transport, options, servers),
        ...(isEncrypted ? { tls: certificatesOf(tls) } : {}),
        maxReconnectAttempts: -1,
        ignoreAuthErrorAbort: true, // whoever takes away a permission may give it back
        reconnectTimeWait: RECONNECT_MS,
        reconnectJitter: RECONNECT_MS,
        reconnectJitterTLS: RECONNECT_MS,
        timeout: CONNECT_MS,
        pingInterval: PING_MS,
        maxPingOut: 2,
      });
      return new NatsLine(nats);
    } catch (error) {
      throw failureOf(error as Error, urls);
    }
  }

  /** What is sent now goes out. */
  get isUp(): boolean {
    return this.state === 'up';
  }

  /** The server takes what is sent, or has not had the time yet. */
  get hasRoom(): boolean {
    return this.sentBytes - this.takenBytes < UNTAKEN_BYTES_MAX;
  }

  /** So many bytes were sent; now and then the server is asked whether it has taken them. */
  count(bytes: number): void {
    this.sentBytes += bytes;
    if (this.sentBytes - this.askedBytes >= ASKED_EACH_BYTES) this.ask();
  }

  /** From now on `take` is called with each message of a subject; what it throws costs that message only. */
  subscribe(subject: string, take: (message: Msg) => void, options: SubscribeOptions = {}): Subscription {
    const { queue, ended } = options;
    const callback = (error: Error | null, message: Msg) => {
      try {
        if (error === null) take(message);
        else ended?.();
      } catch (fault) {
        this.tellFault(fault);
      }
    };
    return this.nats.subscribe(subject, queue === undefined ? { callback } : { callback, queue });
  }

  /** Does something with what NATS has answered; what that throws is told, and goes no further. */
  attempt(act: () => void): void {
    try {
      act();
    } catch (fault) {
      this.tellFault(fault);
    }
  }

  /** Resolves with true when the server has taken all that was sent, and done what it says; with false when the line goes down before. */
  async settled(): Promise<boolean> {
    const { sentBytes } = this;
    try {
      await this.nats.flush();
    } catch {
      return false;
    }
    this.takenBytes = Math.max(this.takenBytes, Math.min(sentBytes, this.sentBytes));
    return true;
  }

  /** Sends what was handed over, and ends. */
  async close(): Promise<void> {
    if (this.state === 'closed') return;
    const wasUp = this.state === 'up';
    this.state = 'closed';
    if (wasUp)
      await Promise.race([
        this.nats.flush().catch(ignore),
        new Promise((then) => setTimeout(then, CLOSE_MS)),
      ]);
    await this.nats.close().catch(ignore);
  }

  /** Who sends what is at fault may send much of it. */
  private tellFault(fault: unknown): void {
    const now = performance.now();
    if (now < this.nextFaultMs) return;
    this.nextFaultMs = now + FAULT_EACH_MS;
    this.listener?.fault(fault);
  }

  private ask(): void {
    this.askedBytes = this.sentBytes;
    void this.settled();
  }

  private async watch(): Promise<void> {
    for await (const status of this.nats.status()) {
      if (this.state === 'closed') return;
      this.attempt(() => {
        if (status.type === 'disconnect') this.go('down');
        else if (status.type === 'reconnect') this.go('up');
        else if (status.type === 'error') this.listener?.refused(status.error);
      });
    }
    if (this.state !== 'closed') this.attempt(() => this.givenUp());
  }

  /** The library has closed the connection by itself, which it does not do for any reason known here, and never opens it again. */
  private givenUp(): void {
    this.go('down');
    this.listener?.refused(
      new Error('its client has given a connection up for good, start this broker anew'),
    );
  }

  private go(state: 'up' | 'down'): void {
    if (this.state === state) return;
    this.state = state;
    this.sentBytes = 0;
    this.askedBytes = 0;
    this.takenBytes = 0;
    if (state === 'up') this.listener?.up();
    else this.listener?.down();
  }
}

function certificatesOf({ ca, cert, key }: BackplaneTls = {}) {
  return {
    ...(ca === undefined ? {} : { caFile: ca }),
    ...(cert === undefined || key === undefined ? {} : { certFile: cert, keyFile: key }),
  };
}

/** Who this broker is for NATS: as the options say, else as the URL does. */
function identityOf(
  transport: NatsModules['transport'],
  { credentials, user, password, token }: BackplaneOptions,
  servers: readonly URL[],
): { authenticator?: Authenticator; user?: string; pass?: string; token?: string } {
  if (credentials !== undefined) {
    let known = transport.credsAuthenticator(readFileSync(credentials)); // or it is told at once
    // Read again at each attempt, for they are renewed. While they are being written, or cannot be read, those of before count: the library closes the connection for good when this throws.
    const authenticator: Authenticator = (nonce) => {
      try {
        const renewed = transport.credsAuthenticator(readFileSync(credentials));
        const proof = renewed(nonce);
        known = renewed;
        return proof;
      } catch {
        return known(nonce);
      }
    };
    return { authenticator };
  }
  if (token !== undefined) return { token };
  if (user !== undefined && password !== undefined) return { user, pass: password };
  const named = servers.find(({ username }) => username !== '');
  if (named === undefined) return {};
  return { user: decodeURIComponent(named.username), pass: decodeURIComponent(named.password) };
}

function ignore(): void {}

const DEFAULT_URL = 'nats://127.0.0.1:4222';
const CONNECT_MS = 5_000;
/** A server is tried again after so long, and up to as long again. */
const RECONNECT_MS = 200;
/** A silent server is asked so often, and given up when it has left two unanswered. */
const PING_MS = 2_000;
/** So many bytes may be on their way to the server, or in front of it. */
const UNTAKEN_BYTES_MAX = 32 * 1_024 * 1_024;
const ASKED_EACH_BYTES = 256 * 1_024;
const CLOSE_MS = 1_000;
const FAULT_EACH_MS = 1_000;
