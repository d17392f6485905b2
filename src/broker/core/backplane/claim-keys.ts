/** What claims of a cluster are called, and to which of them a value of the state belongs. [CLU-21] */

/** The claim of a session. */
export function sessionClaim(name: string): string {
  return `s/${name}`;
}

/** The claim of a durable subscription, or of a shared group: its filter is its name. */
export function durableClaim(name: string): string {
  return `d/${name}`;
}

/** The claim of a will whose session has no name. */
export function willClaim(number: string): string {
  return `w/${number}`;
}

/** A shared group, which goes to another node only where nobody of this one is in it. */
export function isGroupClaim(claim: string): boolean {
  return claim.startsWith('d/$share/');
}

/** What a claim is of: the name of the session or durable subscription, the number of the will. */
export function nameOfClaim(claim: string): string {
  return claim.slice(2);
}

/** The claim to which the value of the state with this key belongs; null: it is this node's own affair. */
export function claimOfState(key: string): string | null {
  const at = key.indexOf('/');
  const rest = key.slice(at + 1);
  switch (key.slice(0, at)) {
    case 'session':
    case 'note':
    case 'ids':
      return sessionClaim(rest);
    case 'durable':
      return durableClaim(rest);
    case 'will': {
      const nameAt = rest.indexOf('/');
      return nameAt < 0 ? willClaim(rest) : sessionClaim(rest.slice(nameAt + 1));
    }
    default:
      return null;
  }
}
