/** How a broker is made a node of a cluster. */

import { JspError } from '../../base/errors.ts';
import { anObject, checkOptions, type OptionTable, oneOf, text, whole } from '../../base/options.ts';
import { NODE_NAME_LENGTH_MAX } from './node-name.ts';

/** The engine behind a broker, by which several are one. */
export interface BackplaneOptions {
  /** `none`: this broker is alone (the default of a broker). `nats`: a NATS server, or several, with JetStream; needs the packages `@nats-io/transport-node`, `@nats-io/jetstream` and `@nats-io/kv`. */
  kind: 'none' | 'nats';
  /** Where the engine is: `nats://host:port`, `tls://host:port`. It is reached when one of them is. Default `nats://127.0.0.1:4222`. */
  urls?: readonly string[] | undefined;
  /** Brokers of this name are one, whatever else uses the engine: 1 to 32 letters, digits, dashes and underscores. Default `main`. */
  cluster?: string | undefined;
  /** What this broker is called in it, and no other: 1 to 64 of the same. Default: the name of the machine, with something random. */
  node?: string | undefined;
  /** File with the credentials of a user of NATS (`.creds`). */
  credentials?: string | undefined;
  /** Name of a user of NATS, with its password. */
  user?: string | undefined;
  /** Of that user. */
  password?: string | undefined;
  /** Token of NATS, in the place of a user. */
  token?: string | undefined;
  /** The connection is encrypted, as it is with `tls://` too. */
  tls?: BackplaneTls | undefined;
  /** How many servers of NATS keep what is stored: 1, 3 or 5. Default 1. */
  replicas?: number | undefined;
  /** For so long a message that was stored and is published once more is known, in ms. Default 120,000; 100 to 86,400,000. */
  duplicateWindowMs?: number | undefined;
  /** URLs under which clients reach this broker, the best first, which other brokers tell theirs. Default: its own URL. */
  advertise?: readonly string[] | undefined;
}

/** Files of certificates. */
export interface BackplaneTls {
  /** Of the authority that vouches for the servers. Default: those that the system knows. */
  ca?: string | undefined;
  /** Of this broker, where the servers ask for one; with its key. */
  cert?: string | undefined;
  key?: string | undefined;
}

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
export function checkBackplane(options: BackplaneOptions): void {
  checkOptions('backplane', options, BACKPLANE_OPTIONS);
  if (options.tls !== undefined) checkOptions('backplane.tls', options.tls, TLS_OPTIONS);
  const { tls, user, password } = options;
  if ((tls?.cert === undefined) !== (tls?.key === undefined))
    throw invalid('backplane.tls: cert and key go together');
  if ((user === undefined) !== (password === undefined))
    throw invalid('backplane: user and password go together');
}

function nameOf(lengthMax: number) {
  const must = `a name of 1 to ${lengthMax} letters, digits, dashes and underscores`;
  return (value: unknown) =>
    typeof value === 'string' && value.length <= lengthMax && /^[A-Za-z0-9_-]+$/.test(value) ? null : must;
}

function engineUrls(value: unknown): string | null {
  const isUrl = (each: unknown) => typeof each === 'string' && /^(nats|tls):\/\/[^\s/]+\/?$/.test(each);
  const isRight = Array.isArray(value) && value.length > 0 && value.length <= URLS_MAX && value.every(isUrl);
  return isRight ? null : `a list of 1 to ${URLS_MAX} URLs such as nats://127.0.0.1:4222`;
}

function clientUrls(value: unknown): string | null {
  const isUrl = (each: unknown) => typeof each === 'string' && /^jsp:\/\/[^\s@]+@\S+$/.test(each);
  const isRight = Array.isArray(value) && value.length <= URLS_MAX && value.every(isUrl);
  return isRight ? null : `a list of at most ${URLS_MAX} URLs with the fingerprints of their brokers`;
}

function invalid(message: string): JspError {
  return new JspError('ERR_JSP_OPTION_INVALID', message);
}

const URLS_MAX = 16;

export const BACKPLANE_OPTIONS: OptionTable<BackplaneOptions> = {
  kind: oneOf(['none', 'nats']),
  urls: engineUrls,
  cluster: nameOf(32),
  node: nameOf(NODE_NAME_LENGTH_MAX),
  credentials: text,
  user: text,
  password: text,
  token: text,
  tls: anObject,
  replicas: (value) => ([1, 3, 5].includes(value as number) ? null : '1, 3 or 5'),
  duplicateWindowMs: whole(100, 24 * 3_600_000),
  advertise: clientUrls,
};

const TLS_OPTIONS: OptionTable<BackplaneTls> = { ca: text, cert: text, key: text };
