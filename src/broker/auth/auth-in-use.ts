/** What a broker goes by, and how something else takes its place while clients are connected: whole or not at all. [AUT-2, AUT-14] */

import { JspError } from '../../base/errors.ts';
import type { Review } from '../core/access/admission.ts';
import type { AuthDecision, AuthRequest, Principal } from '../core/access/principal.ts';
import { Authenticator, type AuthSurroundings } from './authenticator.ts';
import type { AuthOptions } from './options.ts';

/** A broker, as far as it has to do with this. */
export interface AuthUser {
  setAccess(
    authenticate: ((request: AuthRequest) => Promise<AuthDecision>) | undefined,
    anonymous: Principal | null,
  ): void;
  /** Looks at everybody anew: null is nobody any more. [BRK-119] */
  reauthorize(review: Review): void;
}

/** Sound, and not in use yet. */
export interface PreparedAuth {
  /** From now on the broker goes by it. */
  use(): void;
  /** It is not wanted after all. */
  drop(): void;
}

export class AuthInUse {
  /** Called when the keys of an issuer cannot be had from their URL, and when they can again (null). */
  onTrouble: (url: string, reason: string | null) => void = () => {};
  private readonly user: AuthUser;
  private readonly surroundings: AuthSurroundings;
  private current: Authenticator | null = null;
  /** By which it was opened. */
  private options: AuthOptions | undefined;

  constructor(user: AuthUser, surroundings: AuthSurroundings) {
    this.user = user;
    this.surroundings = surroundings;
  }

  /** Takes one that is opened already. */
  begin(authenticator: Authenticator | null, options: AuthOptions | undefined): void {
    if (authenticator !== null) this.take(authenticator, options);
  }

  /**
   * Reads everything again that it goes by, as it was told.
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID: all is as it was
   */
  async readAnew(): Promise<void> {
    (await this.prepare(this.options)).use();
  }

  /**
   * Reads everything that `options` names, and changes nothing.
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID: all is as it was
   */
  async prepare(options: AuthOptions | undefined): Promise<PreparedAuth> {
    const { current } = this;
    if (options === undefined) {
      if (current === null) return NOTHING;
      // It would be open to everybody, by a line that is missing.
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        'auth cannot be taken away from a broker that runs: start it anew to let everybody in',
      );
    }
    const next = await Authenticator.open(options, this.surroundings, current ?? undefined);
    return { use: () => this.take(next, options), drop: () => next.close() };
  }

  close(): void {
    this.current?.close();
  }

  private take(next: Authenticator, options: AuthOptions | undefined): void {
    this.options = options;
    this.current?.close();
    this.current = next;
    next.onChange = () => this.apply(next);
    next.onTrouble = (url, reason) => this.onTrouble(url, reason);
    this.apply(next);
    // Whoever is to hear of it has not had time to listen yet.
    setImmediate(() => {
      for (const [url, reason] of next.troubles) this.onTrouble(url, reason);
    });
  }

  private apply(authenticator: Authenticator): void {
    this.user.setAccess((request) => authenticator.authenticate(request), authenticator.anonymous);
    this.user.reauthorize((principal) => authenticator.again(principal));
  }
}

const NOTHING: PreparedAuth = { use() {}, drop() {} };
