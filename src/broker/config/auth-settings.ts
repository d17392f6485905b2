/** The tables of `[auth]`: who may connect, and what they may do. What they mean is told in `src/broker/auth/`; what is in them is made {@link AuthOptions}. */

import { whole } from '../../base/options.ts';
import {
  AUTH_ACTIONS,
  type AuthAction,
  type AuthGrant,
  type AuthOptions,
  type AuthRule,
  checkAuthOptions,
  KEY_ALGORITHMS,
  SECRET_ALGORITHMS,
} from '../auth/options.ts';
import type { ClientLimits } from '../core/access/principal.ts';
import {
  bytesOf,
  durationOf,
  instant,
  type Kind,
  listOf,
  numberOf,
  path,
  Refused,
  textOf,
  wordOf,
} from './kinds.ts';
import {
  namedTables,
  optional,
  optionalTable,
  required,
  setting,
  table,
  tableList,
  type ValuesOf,
} from './setting.ts';
import { tomlKey, tomlString } from './toml.ts';

const reloads = { reloads: true } as const;
const YEAR = 366 * 24 * 60 * 60 * 1_000;
const some = numberOf(whole(0, Number.MAX_SAFE_INTEGER));
const count = numberOf(whole(1, Number.MAX_SAFE_INTEGER));

/** `"*"`, or a list of actions. */
const actions: Kind<'*' | readonly AuthAction[]> = {
  take(written, folder) {
    if (written === '*') return written;
    try {
      return listOf(wordOf(AUTH_ACTIONS)).take(written, folder);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new Refused(`"*", or a list of some of ${AUTH_ACTIONS.map(tomlString).join(', ')}`);
    }
  },
  ofText: (text) => text,
  show: (value) => (value === '*' ? '"*"' : listOf(wordOf(AUTH_ACTIONS)).show(value)),
};

/** A file, or a URL. */
const pathOrUrl: Kind<string> = {
  take: (written, folder) =>
    typeof written === 'string' && /^https?:\/\//.test(written) ? written : path.take(written, folder),
  ofText: (text) => text,
  show: tomlString,
};

/** One text, or several. */
const texts: Kind<readonly string[]> = {
  take: (written, folder) => listOf(textOf()).take(typeof written === 'string' ? [written] : written, folder),
  ofText: listOf(textOf()).ofText,
  show: listOf(textOf()).show,
};

const clientLimits = table(
  'What a client may cost; what is not said has no bound of its own. Where a rate is reached a native client is slowed down, and a request over HTTP is told 429.',
  {
    connections: optional(some, '10', 'Connections at a time, of all that have the same name.', reloads),
    subscriptions: optional(some, '100', 'Subscriptions at a time, of each connection.', reloads),
    publishes_per_second: optional(count, '1000', 'Messages that it may publish a second.', reloads),
    publishes_burst: optional(
      count,
      '2000',
      'How many of them at once; by default those of a second.',
      reloads,
    ),
    bytes_per_second: optional(
      bytesOf(whole(1, Number.MAX_SAFE_INTEGER)),
      '"1MiB"',
      'Bytes of those, topics and payloads.',
      reloads,
    ),
    bytes_burst: optional(
      bytesOf(whole(1, Number.MAX_SAFE_INTEGER)),
      '"4MiB"',
      'How many of them at once; by default those of a second.',
      reloads,
    ),
  },
);

const rules = tableList(
  'What it may do, and what not: a rule that denies wins, and what no rule allows is denied.',
  {
    allow: optional(
      actions,
      '["publish", "subscribe"]',
      'Actions that are allowed: publish, subscribe, share, request, admin; "*" is all but admin.',
      reloads,
    ),
    deny: optional(
      actions,
      '["publish"]',
      'Actions that are denied. A rule has either this or allow.',
      reloads,
    ),
    topics: optional(
      listOf(textOf()),
      '["sensors/${client}/#"]',
      "On topics that one of these filters matches; ${client} is the client's name, ${claim.x} the claim x of its token.",
      reloads,
    ),
  },
  { ...reloads, example: 'rules = [{ allow = ["publish"], topics = ["sensors/#"] }]' },
);

/** What somebody may do, whoever that is. */
const grant = {
  roles: setting(
    listOf(textOf()),
    [],
    'Names of [auth.roles], whose rules and limits it has as well.',
    reloads,
  ),
  rules,
  limits: clientLimits,
} as const;

/** Of keys and identities alike. */
const entry = {
  name: optional(
    textOf(),
    '"sensor-17"',
    "The client's name, which rules, sessions and the audit know it by. By default its id or fingerprint.",
    reloads,
  ),
  expires: optional(
    instant,
    '2027-01-31T00:00:00Z',
    'From then on it is refused, and its connections end. By default never.',
    reloads,
  ),
  session: optional(
    textOf(),
    '"sensor-17"',
    'The only session name that it may take. By default any that no other name has.',
    reloads,
  ),
  ...grant,
} as const;

const jwt = tableList(
  'Tokens (JWT) of an issuer.',
  {
    issuer: required(textOf(), '"https://id.example.org"', 'The claim iss of its tokens.'),
    audience: required(texts, '"broker"', 'What the claim aud has among others: one text or a list.'),
    algorithms: required(
      listOf(wordOf([...KEY_ALGORITHMS, ...SECRET_ALGORITHMS])),
      '["ES256"]',
      'The only algorithms a token may be signed by; what a token says of it counts for nothing else.',
    ),
    jwks: optional(
      pathOrUrl,
      '"https://id.example.org/.well-known/jwks.json"',
      'The public keys: a file, or a URL.',
      reloads,
    ),
    secret_file: optional(
      path,
      '"jwt.secret"',
      'For HS256 and its like, a file with the secret of both sides instead.',
      reloads,
    ),
    name_claim: setting(textOf(), 'sub', 'The claim that names the client.', reloads),
    name_prefix: optional(
      textOf(),
      '"id/"',
      'What stands before that name; with several issuers it has to be said, so that their clients are not taken for each other.',
      reloads,
    ),
    roles_claim: setting(textOf(), 'roles', 'The claim with names of roles.', reloads),
    session_claim: setting(
      textOf(),
      'jsp_session',
      'The claim with the only session name that a token may take.',
      reloads,
    ),
    clock_tolerance: setting(
      durationOf(whole(0, 3_600_000)),
      5_000,
      'Clocks may differ by so much.',
      reloads,
    ),
    max_age: optional(
      durationOf(whole(1, YEAR)),
      '"12h"',
      'A token counts for so long at most from when it was issued. By default until it expires.',
      reloads,
    ),
    cache: setting(
      durationOf(whole(1_000, YEAR)),
      600_000,
      'Keys of a URL are asked for again after so long.',
      reloads,
    ),
    cool_down: setting(
      durationOf(whole(1_000, YEAR)),
      30_000,
      'A token of an unknown key has them asked for no sooner than so long after the last time: forged ones cost the issuer nothing.',
      reloads,
    ),
    ...grant,
  },
  {
    ...reloads,
    example:
      '[[auth.jwt]]\nissuer = "https://id.example.org"\naudience = "broker"\nalgorithms = ["ES256"]\njwks = "https://id.example.org/.well-known/jwks.json"',
  },
);

export const AUTH_SETTINGS = optionalTable(
  'Who may connect, and what they may do. As soon as this table is there, nobody may do anything that no rule allows; without it, whoever knows the URL may do everything. "jsp auth" makes keys, and explains what a rule does.',
  {
    keys_file: optional(
      path,
      '"keys.toml"',
      'File with API keys, which "jsp auth key new" writes, in place of [[auth.key]].',
      reloads,
    ),
    identities_file: optional(
      path,
      '"identities.toml"',
      'File with public keys of clients, in place of [[auth.identity]].',
      reloads,
    ),
    revoked: setting(
      listOf(textOf()),
      [],
      'Refused whatever else is said: ids of keys and tokens, fingerprints, names of clients.',
      reloads,
    ),
    revoked_file: optional(path, '"revoked.toml"', 'File with such a list, in place of it.', reloads),
    limits: clientLimits,
    anonymous: optionalTable(
      'Clients that say nothing of who they are. Without this table they are refused.',
      grant,
      '[[auth.anonymous.rules]]\nallow = ["subscribe"]\ntopics = ["public/#"]',
    ),
    key: tableList(
      'An API key: its text is with its owner alone, and here is what it is known by.',
      {
        id: required(textOf(), '"a1b2c3"', 'Its id, which its text has in it.'),
        hash: required(textOf(), '"sha256:…"', 'What "jsp auth key new" prints for it.'),
        ...entry,
      },
      {
        ...reloads,
        example: '[[auth.key]]\nid = "a1b2c3"\nhash = "sha256:…"\nname = "sensor-17"\nroles = ["sensor"]',
      },
    ),
    identity: tableList(
      'A client that has a key pair ("jsp keygen --client").',
      { fingerprint: required(textOf(), '"…"', 'Of its public key: 43 characters.'), ...entry },
      {
        ...reloads,
        example: '[[auth.identity]]\nfingerprint = "…"\nname = "gateway-1"\nroles = ["service"]',
      },
    ),
    jwt,
    roles: namedTables(
      'A role: rules and limits that keys, identities and tokens share.',
      { rules, limits: clientLimits },
      {
        ...reloads,
        example: '[[auth.roles.sensor.rules]]\nallow = ["publish"]\ntopics = ["sensors/${client}/#"]',
      },
    ),
  },
  '[auth]\nkeys_file = "keys.toml"',
);

type AuthValues = NonNullable<ValuesOf<{ auth: typeof AUTH_SETTINGS }>['auth']>;
type GrantValues = AuthValues['key'][number];
type LimitValues = AuthValues['limits'];
type RuleValues = AuthValues['key'][number]['rules'][number];

/**
 * The option `auth` of a broker.
 *
 * @param originOf - where a table was written, by its place
 * @throws what {@link checkAuthOptions} does, with the place in front
 */
export function authOptionsOf(
  auth: AuthValues,
  originOf: (place: string) => string | undefined,
): AuthOptions {
  const rulesOf = (rules: readonly RuleValues[], place: string): AuthRule[] =>
    rules.map(({ allow, deny, topics }, i) => ({
      allow,
      deny,
      topics,
      at: originOf(`${place}.rules[${i}]`),
    }));
  const grantOf = (
    { roles, rules, limits }: Pick<GrantValues, 'roles' | 'rules' | 'limits'>,
    place: string,
  ): AuthGrant => ({
    roles,
    rules: rulesOf(rules, place),
    limits: limitsOf(limits),
  });
  const entryOf = (values: GrantValues | AuthValues['identity'][number], place: string) => ({
    name: values.name,
    expires: values.expires,
    session: values.session,
    ...grantOf(values, place),
  });
  const keys = auth.key.map((key, i) => ({ id: key.id, hash: key.hash, ...entryOf(key, `auth.key[${i}]`) }));
  const identities = auth.identity.map((each, i) => ({
    fingerprint: each.fingerprint,
    ...entryOf(each, `auth.identity[${i}]`),
  }));
  const options: AuthOptions = {
    anonymous: auth.anonymous === undefined ? undefined : grantOf(auth.anonymous, 'auth.anonymous'),
    keys: auth.keys_file === undefined ? keys : { file: auth.keys_file },
    identities: auth.identities_file === undefined ? identities : { file: auth.identities_file },
    revoked: auth.revoked_file === undefined ? auth.revoked : { file: auth.revoked_file },
    jwt: auth.jwt.map((issuer, i) => ({
      issuer: issuer.issuer,
      audience: issuer.audience,
      algorithms: issuer.algorithms,
      jwks: issuer.jwks,
      secretFile: issuer.secret_file,
      nameClaim: issuer.name_claim,
      namePrefix: issuer.name_prefix,
      rolesClaim: issuer.roles_claim,
      sessionClaim: issuer.session_claim,
      clockToleranceMs: issuer.clock_tolerance,
      maxAgeMs: issuer.max_age,
      cacheMs: issuer.cache,
      coolDownMs: issuer.cool_down,
      ...grantOf(issuer, `auth.jwt[${i}]`),
    })),
    roles: Object.fromEntries(
      Object.entries(auth.roles).map(([name, { rules, limits }]) => [
        name,
        { rules: rulesOf(rules, `auth.roles.${tomlKey(name)}`), limits: limitsOf(limits) },
      ]),
    ),
    limits: limitsOf(auth.limits),
  };
  checkAuthOptions(options);
  return options;
}

function limitsOf(values: LimitValues): ClientLimits | undefined {
  const limits: ClientLimits = {
    connections: values.connections,
    subscriptions: values.subscriptions,
    publishesPerSecond: values.publishes_per_second,
    publishesBurst: values.publishes_burst,
    bytesPerSecond: values.bytes_per_second,
    bytesBurst: values.bytes_burst,
  };
  return Object.values(limits).every((each) => each === undefined) ? undefined : limits;
}
