/** Why a token is refused; its message is told to whoever showed it. */
export class TokenRefused extends Error {
  readonly hasExpired: boolean;

  constructor(reason: string, hasExpired = false) {
    super(reason);
    this.hasExpired = hasExpired;
  }
}

/** Nobody can say now: keys of its issuer could not be had yet. */
export class TokenUndecided extends Error {}
