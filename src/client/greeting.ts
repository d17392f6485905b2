/** HELLO and WELCOME: whose session a connection belongs to, and what the broker still has of it. [CLT-7] */

import { equalBytes } from '../base/bytes.ts';
import { JspError } from '../base/errors.ts';
import { MILLISECOND } from '../base/time.ts';
import {
  BROKER_PROTOCOL_VERSION,
  decodeWelcome,
  EXPIRY_NEVER,
  encodeHello,
  encodeRenew,
  type Welcome,
} from '../pubsub/session-commands.ts';
import { onAbort, unlessAborted } from '../transport/abort.ts';
import type { Clock } from '../udp/clock.ts';
import { type CredentialsSource, currentCredentials, type EncodedCredentials } from './credentials.ts';
import { isExpiry } from './life.ts';
import type { Link } from './link.ts';

/** The session that a client asks for. */
export interface SessionRequest {
  readonly name: string;
  readonly expiryMs: number;
  /** Its name is known to this client alone, so that nobody comes back to it when that has closed. */
  readonly isPassing: boolean;
}

export class Greeter {
  /** Null: a session that ends with its connection. */
  private readonly session: SessionRequest | null;
  private readonly source: CredentialsSource | undefined;
  private readonly clock: Clock;
  /** What a broker has said of some credentials that have expired: they are not shown again. [CLT-40] */
  private expired: { readonly credentials: Uint8Array; readonly error: unknown } | null = null;

  constructor(session: SessionRequest | null, source: CredentialsSource | undefined, clock: Clock) {
    this.session = session;
    this.source = source;
    this.clock = clock;
  }

  /** Name of the session; null for one that ends with its connection. */
  get sessionName(): string | null {
    return this.session?.name ?? null;
  }

  /** Others can be asked for when the broker does not take those that it was given. */
  get canRenew(): boolean {
    return typeof this.source === 'function';
  }

  /**
   * Says HELLO on a connection, and waits for WELCOME. Null where there is nothing to say.
   *
   * @throws {JspError} what the credentials function throws; what the broker refuses; ERR_JSP_TIMEOUT, when it does not answer
   */
  async greet(link: Link, signal: AbortSignal): Promise<Welcome | null> {
    if (this.session === null && this.source === undefined) return null;
    link.endsSession = this.session?.isPassing ?? false;
    return this.inTime(signal, async (ended) => {
      const proof = await this.proof(link, ended);
      const hello = {
        version: BROKER_PROTOCOL_VERSION,
        cleanStart: false,
        aliases: 0,
        capabilities: 0,
        expiryMs: Math.min(this.session?.expiryMs ?? 0, EXPIRY_NEVER),
        session: this.session?.name ?? '',
        ...proof,
      };
      const answer = await link.control
        .ask((id) => encodeHello(id, hello), ended)
        .catch((error: unknown) => {
          if (isExpiry(error as JspError)) this.expired = { credentials: proof.credentials, error };
          throw error;
        });
      const welcome = decodeWelcome(answer);
      if (welcome === null)
        throw new JspError('ERR_JSP_PROTOCOL', 'the broker sent a WELCOME that cannot be read');
      return welcome;
    });
  }

  /** Gives the broker new credentials on a connection, before those that it has expire. */
  async renew(link: Link): Promise<void> {
    if (!this.canRenew) return; // the same would be worth the same
    await this.inTime(undefined, async (ended) => {
      const { method, credentials } = await this.proof(link, ended);
      await link.control.ask((id) => encodeRenew(id, method, credentials), ended);
    });
  }

  private async proof({ connection }: Link, ended: AbortSignal): Promise<EncodedCredentials> {
    const exporter = (length: number, name: string, context: Uint8Array) =>
      connection.exportKeyingMaterial?.(length, name, context) ?? null;
    const proof = await unlessAborted(currentCredentials(this.source, exporter, ended), ended);
    const { expired } = this;
    if (expired !== null && equalBytes(expired.credentials, proof.credentials)) throw expired.error;
    return proof;
  }

  private async inTime<T>(
    signal: AbortSignal | undefined,
    action: (ended: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const ender = new AbortController();
    const end = (): void => ender.abort(signal?.reason);
    const forget = onAbort(signal, end);
    const { clock } = this;
    let isLate = false;
    const timer = clock.setTimer(clock.now() + GREETING_MS_MAX * MILLISECOND, () => {
      isLate = true;
      end();
    });
    try {
      if (signal?.aborted) end();
      return await action(ender.signal);
    } catch (error) {
      throw isLate ? tooLate(error) : error;
    } finally {
      clock.clearTimer(timer);
      forget();
    }
  }
}

function tooLate(cause: unknown): JspError {
  return new JspError(
    'ERR_JSP_TIMEOUT',
    `neither the credentials function nor the broker's WELCOME took less than ${GREETING_MS_MAX / 1_000} s`,
    { cause },
  );
}

/** From the connection to the WELCOME, the credentials function included. */
const GREETING_MS_MAX = 10_000;

/** How long a broker keeps a session whose name was made up, and one that the application has named, where nothing else is said. */
export const PASSING_EXPIRY_MS = 2 * 60_000;
export const NAMED_EXPIRY_MS = 24 * 3_600_000;
