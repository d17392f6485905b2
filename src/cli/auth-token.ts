/** `jsp auth issuer` and `jsp auth token`: tokens without an identity provider, for tests, for development, and for programs that have no other issuer. */

import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { calculateJwkThumbprint, exportJWK, importJWK, importPKCS8, type JWK, SignJWT } from 'jose';
import { KEY_ALGORITHMS, SECRET_ALGORITHMS } from '../broker/auth/options.ts';
import { readSecret } from '../broker/auth/tokens.ts';
import { faultOfSecret } from '../broker/config/exposed-files.ts';
import { makeFolderSync } from '../disk/make-folder.ts';
import { Identity, thumbprintOf } from '../protocol/crypto/index.ts';
import { collect, collectHeader, duration } from './arguments.ts';
import { writeSecretFile } from './state-directory.ts';
import { CommandError, cannotWrite, note, print, printJson, warn } from './terminal.ts';

interface IssuerOptions {
  alg: string;
}

interface TokenOptions {
  issuer: string;
  audience: string;
  sub: string;
  role: string[];
  claim: Record<string, string>;
  /** In ms. */
  expires: number;
  id?: string;
  session?: string;
  privateKey?: string;
  secretFile?: string;
  alg?: string;
  identity?: string;
  json?: boolean;
}

export function addTokenCommands(auth: Command): void {
  auth
    .command('issuer')
    .description('make the keys of an issuer of tokens: private.jwk to sign with, jwks.json for the broker')
    .argument('<dir>', 'a folder, in which neither is yet')
    .addOption(
      new Option('--alg <name>', 'how tokens are signed')
        .choices(['ES256', 'ES384', 'EdDSA', 'RS256'])
        .default('ES256'),
    )
    .addHelpText('after', ISSUER_HELP)
    .action(makeIssuer);
  auth
    .command('token')
    .description('make a token (JWT) and print it')
    .requiredOption('--sub <name>', 'whose it is: the name of the client')
    .requiredOption('--issuer <text>', 'the claim iss, as the broker has it')
    .requiredOption('--audience <text>', 'the claim aud')
    .option('--private-key <file>', 'to sign with: a JWK, as "jsp auth issuer" makes it, or PEM')
    .option('--secret-file <file>', 'or the secret that the broker has, too')
    .addOption(
      new Option('--alg <name>', 'how it is signed (default: as the key says)').choices([
        ...KEY_ALGORITHMS,
        ...SECRET_ALGORITHMS,
      ]),
    )
    .option('--role <role>', 'in the claim roles; may be given several times', collect, [])
    .option(
      '--claim <name=value>',
      'another claim: text, or JSON; may be given several times',
      collectHeader,
      {},
    )
    .addOption(
      new Option('--expires <time>', 'in how long, such as 15m or 12h')
        .argParser(duration)
        .default(3_600_000, '1h'),
    )
    .option('--id <text>', 'the claim jti, by which it can be revoked (default: a random one)')
    .option('--session <name>', 'the only session name that it may take')
    .option('--identity <file>', 'bind it to this key pair of a client, which has to prove it, too')
    .option('--json', 'print {"token", "claims"}')
    .addHelpText('after', TOKEN_HELP)
    .action(makeToken);
}

async function makeIssuer(folder: string, { alg }: IssuerOptions): Promise<void> {
  const { privateKey, publicKey } = keyPair(alg);
  const jwk = (await exportJWK(publicKey)) as JWK;
  const kid = await calculateJwkThumbprint(jwk);
  const named = { kid, alg, use: 'sig' };
  const [secretFile, publicFile] = [join(folder, 'private.jwk'), join(folder, 'jwks.json')];
  try {
    makeFolderSync(folder, 0o700);
    if (existsSync(publicFile)) throw new Error('it exists, and tokens count by it');
    writeSecretFile(secretFile, JSON.stringify({ ...(await exportJWK(privateKey)), ...named }));
    writeFileSync(publicFile, `${JSON.stringify({ keys: [{ ...jwk, ...named }] }, null, 2)}\n`, {
      flag: 'wx',
    });
  } catch (error) {
    throw cannotWrite(folder, error);
  }
  note(`${secretFile} signs tokens: whoever has it is everybody. ${publicFile} is for the broker:`);
  print(
    `[[auth.jwt]]\nissuer = "https://issuer.example"\naudience = "broker"\nalgorithms = ["${alg}"]\njwks = ${JSON.stringify(publicFile)}`,
  );
}

function keyPair(alg: string): { privateKey: KeyObject; publicKey: KeyObject } {
  switch (alg) {
    case 'RS256':
      return generateKeyPairSync('rsa', { modulusLength: 3_072 });
    case 'EdDSA':
      return generateKeyPairSync('ed25519');
    default:
      return generateKeyPairSync('ec', { namedCurve: alg === 'ES384' ? 'P-384' : 'P-256' });
  }
}

async function makeToken(options: TokenOptions): Promise<void> {
  const { privateKey, secretFile } = options;
  if ((privateKey === undefined) === (secretFile === undefined))
    throw new CommandError(
      'ERR_JSP_USAGE',
      'a token is signed by either --private-key or --secret-file; "jsp auth issuer" makes a key',
    );
  const fault = faultOfSecret((privateKey ?? secretFile) as string);
  if (fault !== null) warn(`${privateKey === undefined ? '--secret-file' : '--private-key'}: ${fault}`);
  const { key, alg, kid } =
    privateKey === undefined
      ? secretOf(secretFile as string, options.alg)
      : await privateKeyOf(privateKey, options.alg);
  const claims = claimsOf(options);
  const token = await new SignJWT(claims)
    .setProtectedHeader({ alg, typ: 'JWT', ...(kid === undefined ? {} : { kid }) })
    .sign(key)
    .catch((error: Error) => {
      throw new CommandError('ERR_JSP_USAGE', `this key does not sign by ${alg}: ${error.message}`, {
        cause: error,
      });
    });
  if (options.json) return printJson({ token, claims });
  print(token);
}

function claimsOf(options: TokenOptions): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1_000);
  const { role, session, identity } = options;
  return {
    ...Object.fromEntries(Object.entries(options.claim).map(([name, text]) => [name, jsonOrText(text)])),
    iss: options.issuer,
    aud: options.audience,
    sub: options.sub,
    jti: options.id ?? crypto.randomUUID(),
    iat: now,
    exp: now + Math.ceil(options.expires / 1_000),
    ...(role.length > 0 ? { roles: role } : {}),
    ...(session === undefined ? {} : { jsp_session: session }),
    ...(identity === undefined
      ? {}
      : { cnf: { jkt: thumbprintOf(Identity.fromSecret(read(identity).trim()).publicKey) } }),
  };
}

interface SigningKey {
  readonly key: Parameters<SignJWT['sign']>[0];
  readonly alg: string;
  readonly kid?: string | undefined;
}

function secretOf(path: string, alg = 'HS256'): SigningKey {
  return { key: readSecret('--secret-file', path), alg };
}

async function privateKeyOf(path: string, asked: string | undefined): Promise<SigningKey> {
  const text = read(path);
  try {
    if (text.trimStart().startsWith('{')) {
      const jwk = JSON.parse(text) as JWK;
      const alg = asked ?? jwk.alg ?? 'ES256';
      return { key: await importJWK(jwk, alg), alg, kid: jwk.kid };
    }
    const alg = asked ?? ALGORITHM_OF[createPrivateKey(text).asymmetricKeyType ?? ''] ?? 'ES256';
    return {
      key: await importPKCS8(createPrivateKey(text).export({ type: 'pkcs8', format: 'pem' }) as string, alg),
      alg,
    };
  } catch (error) {
    throw new CommandError(
      'ERR_JSP_FILE',
      `--private-key ${path} is no private key: ${(error as Error).message}`,
      { cause: error },
    );
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new CommandError('ERR_JSP_FILE', `${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

export function jsonOrText(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const ALGORITHM_OF: Readonly<Record<string, string>> = { rsa: 'RS256', ed25519: 'EdDSA', ec: 'ES256' };

const ISSUER_HELP = `
For tests and for those who have no identity provider. To rotate keys, make another pair elsewhere, put both public keys into jwks.json, sign with
the new one, and take the old one out when its last token has expired; the broker reads the file at SIGHUP.

Examples:
  $ jsp auth issuer issuer
  $ jsp auth token --private-key issuer/private.jwk --issuer https://issuer.example --audience broker --sub bob --role user
`;

const TOKEN_HELP = `
Examples:
  $ jsp auth token --private-key issuer/private.jwk --issuer https://issuer.example --audience broker --sub bob --expires 15m > bob.jwt && chmod 600 bob.jwt
  $ jsp auth token --secret-file shared --issuer shop --audience broker --sub till-3 --role till --claim 'rooms=["1","2"]'
  $ jsp sub 'rooms/#' --token-file bob.jwt
`;
