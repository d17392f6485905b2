/** Whom a listener lets in: the list of allowed keys first, then what the application says. [HS-44] */

import { JspError } from '../base/errors.ts';
import { type OptionCheck, oneOf, whole } from '../base/options.ts';
import {
  CloseCode,
  type Connection as CoreConnection,
  PAYLOAD_BYTES_MAX,
  type Refusal,
} from '../protocol/endpoint/index.ts';
import { AuthorizedKeys, type AuthorizedKeysOption, authorizedKeysOption } from './authorized-keys.ts';
import type { Driver } from './driver.ts';
import { APPLICATION_CODE } from './options.ts';

/** A client that has proved who and where it is, and is not let in yet. */
export interface ArrivingClient {
  /** Fingerprint of the identity that it proved, 43 characters of base64url; null where it showed none. */
  readonly identity: string | null;
  readonly address: string;
  readonly port: number;
  /** What it said with the option `payload` of `connect`; null: nothing. */
  readonly payload: Buffer | null;
  /** It came with a ticket of an earlier connection, which is what proves its identity. */
  readonly isResumed: boolean;
  /** Fires when the answer is of no use any more: the client has gone, or it took too long. */
  readonly signal: AbortSignal;
}

/** Whether a client is let in. */
export type Admittance =
  /** Yes; `payload`, at most 1,024 bytes, is what the client's connection has as its `peerPayload`. */
  | { readonly accept: true; readonly payload?: Uint8Array | string | undefined }
  /** No: its `connect` fails with ERR_JSP_REFUSED, which has this code of the application's own, and the reason. */
  | { readonly accept: false; readonly code: number; readonly reason?: string | undefined };

/** What a listener asks of clients before it lets them in. */
export interface AccessOptions {
  /**
   * Decides about each client, before anything of it is seen: no `connection` event, no stream, no message. What it throws, and no answer within
   * `authorizeTimeoutMs`, is a no: the client's `connect` fails with ERR_JSP_NOT_AUTHORIZED. It may be called 256 times at once; further clients are
   * told that the server is full. Early data is not taken, but arrives when its client is let in.
   */
  authorize?: ((client: ArrivingClient) => Admittance | Promise<Admittance>) | undefined;
  /** How long `authorize` may take, in ms. Default 5,000. */
  authorizeTimeoutMs?: number | undefined;
  /**
   * Whether clients are asked to prove an identity, their option `identity`: `required` sends those away that have none. Default `required` with
   * `authorizedKeys`, `optional` with `authorize`, else `none`.
   */
  clientIdentity?: 'none' | 'optional' | 'required' | undefined;
  /**
   * The identities that are let in, by their fingerprints; `{ file }` names a file with one on each line, which is read again within a second when
   * it changes. Who is not on the list fails with ERR_JSP_NOT_AUTHORIZED, also who is connected when it goes. Default: any.
   */
  authorizedKeys?: AuthorizedKeysOption | undefined;
}

/** Why a client was not let in: for logs. */
export interface ClientRefusal {
  /** Fingerprint of the identity that it proved; null where it showed none. */
  readonly identity: string | null;
  readonly address: string;
  readonly port: number;
  /** `list`: it is not on the list of keys, or has no identity; `application`: `authorize` said no; `error`: it threw, or answered nonsense; `busy`: too many wait. */
  readonly cause: 'application' | 'busy' | 'error' | 'list';
  /** What `authorize` threw. */
  readonly error?: unknown;
}

/** What the gate tells its listener. */
export interface GateOwner {
  onRefused(refusal: ClientRefusal): void;
  /** The list of keys was read again: who is not on it any more has to go. Or it cannot be read, and stays what it was. */
  onKeysChanged(error: JspError | null): void;
}

/** Stands before a listener's connections. */
export class Gate {
  readonly asksForIdentity: boolean;
  readonly requiresIdentity: boolean;
  /** Somebody decides about each client. */
  readonly isDecided: boolean;
  readonly keys: AuthorizedKeys | null;
  private readonly authorize: AccessOptions['authorize'];
  private readonly owner: GateOwner;
  /** Clients about which nothing is decided yet, with what ends the waiting. */
  private readonly waiting = new Map<CoreConnection, AbortController>();

  /** @throws JspError ERR_JSP_OPTION_INVALID for a list of keys that cannot be read */
  constructor(options: AccessOptions, owner: GateOwner) {
    const { authorize, authorizedKeys } = options;
    this.authorize = authorize;
    this.owner = owner;
    const byDefault =
      authorizedKeys !== undefined ? 'required' : authorize === undefined ? 'none' : 'optional';
    const clientIdentity = options.clientIdentity ?? byDefault;
    this.requiresIdentity = clientIdentity === 'required' || authorizedKeys !== undefined;
    this.asksForIdentity = this.requiresIdentity || clientIdentity === 'optional';
    this.isDecided = this.requiresIdentity || authorize !== undefined;
    this.keys =
      authorizedKeys === undefined
        ? null
        : new AuthorizedKeys(authorizedKeys, (error) => this.owner.onKeysChanged(error));
  }

  /** A client has proved who it is: it is let in, or not, now or later. */
  ask(core: CoreConnection, driver: Driver): void {
    const client = { identity: this.identityOf(core), address: core.path.host, port: core.path.port };
    const refuse = (cause: ClientRefusal['cause'], refusal: Refusal, error?: unknown): void => {
      driver.endpoint.refuse(core, refusal, driver.now());
      this.owner.onRefused({ ...client, cause, ...(error === undefined ? {} : { error }) });
    };
    if (!this.lets(client.identity)) return refuse('list', NOT_AUTHORIZED);
    const { authorize, waiting } = this;
    if (authorize === undefined) return driver.endpoint.admit(core, null, driver.now());
    if (waiting.size >= WAITING_MAX) return refuse('busy', FULL);
    const ender = new AbortController();
    waiting.set(core, ender);
    const { isResumed, peerPayload } = core.handshake;
    const payload = peerPayload === null ? null : Buffer.from(peerPayload);
    const asked = { ...client, payload, isResumed, signal: ender.signal };
    void answerOf(authorize, asked).then((answer) => {
      if (!waiting.delete(core)) return; // it has gone meanwhile, or it took too long
      if (answer instanceof Failed) refuse('error', NOT_AUTHORIZED, answer.error);
      else if (!answer.accept)
        refuse('application', { scope: 'application', code: answer.code, reason: answer.reason ?? '' });
      else if (!this.lets(client.identity))
        refuse('list', NOT_AUTHORIZED); // the list is another one by now
      else driver.endpoint.admit(core, bytesOf(answer.payload), driver.now());
      driver.wake();
    });
  }

  /** A client has gone before anything was decided about it. */
  forget(core: CoreConnection): void {
    const ender = this.waiting.get(core);
    this.waiting.delete(core);
    ender?.abort();
  }

  /** Whether the list has it. */
  lets(identity: string | null): boolean {
    if (identity === null) return !this.requiresIdentity;
    return this.keys === null || this.keys.has(identity);
  }

  close(): void {
    this.keys?.close();
    for (const core of [...this.waiting.keys()]) this.forget(core);
  }

  private identityOf(core: CoreConnection): string | null {
    const { peerFingerprint } = core.handshake;
    return peerFingerprint === null ? null : Buffer.from(peerFingerprint).toString('base64url');
  }
}

/** What the application answers, checked; what it throws. */
async function answerOf(
  authorize: NonNullable<AccessOptions['authorize']>,
  client: ArrivingClient,
): Promise<Admittance | Failed> {
  try {
    const answer = await authorize(client);
    const fault = admittanceFault(answer);
    if (fault !== null)
      throw new JspError('ERR_JSP_OPTION_INVALID', `what authorize answers must be ${fault}`);
    return answer;
  } catch (error) {
    return new Failed(error);
  }
}

class Failed {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

function admittanceFault(answer: unknown): string | null {
  if (typeof answer !== 'object' || answer === null) return '{ accept: true } or { accept: false, code }';
  const { accept, code, payload, reason } = answer as Record<string, unknown>;
  if (accept === true) {
    const fault = payload === undefined ? null : ANSWER(payload);
    return fault === null ? null : `with a payload that is ${fault}`;
  }
  if (accept !== false) return '{ accept: true } or { accept: false, code }';
  if (reason !== undefined && typeof reason !== 'string') return 'with a reason that is a string';
  const fault = APPLICATION_CODE(code);
  return fault === null ? null : `with a code that is ${fault}`;
}

/** Bytes, or a string that is sent as UTF-8, of at most so many bytes. */
export function bytesUpTo(bytesMax: number): OptionCheck {
  return (value) => {
    const isPayload = typeof value === 'string' || value instanceof Uint8Array;
    return isPayload && Buffer.byteLength(value) <= bytesMax
      ? null
      : `bytes or a string, at most ${bytesMax} bytes`;
  };
}

/** A copy, for it may be sent later. */
export function bytesOf(payload: Uint8Array | string | undefined): Uint8Array | null {
  if (payload === undefined) return null;
  return new Uint8Array(typeof payload === 'string' ? Buffer.from(payload) : payload);
}

/** What the option `payload` of `connect` may be. */
export const PAYLOAD: OptionCheck = bytesUpTo(PAYLOAD_BYTES_MAX);
const ANSWER = bytesUpTo(1_024);

/** What the options of {@link AccessOptions} may be. */
export const ACCESS_OPTIONS = {
  authorize: (value: unknown) => (typeof value === 'function' ? null : 'a function'),
  authorizeTimeoutMs: whole(1, 2 ** 31 - 1),
  clientIdentity: oneOf(['none', 'optional', 'required']),
  authorizedKeys: authorizedKeysOption,
};

const NOT_AUTHORIZED: Refusal = { scope: 'transport', code: CloseCode.NOT_AUTHORIZED, reason: '' };
const FULL: Refusal = { scope: 'transport', code: CloseCode.CONNECTION_REFUSED, reason: '' };
/** [HS-45] Clients about which the application thinks at once. */
const WAITING_MAX = 256;
