/** Who a command is to its broker: by its options, else by the environment. A secret is never an argument, which all who see the list of processes could read. */

import { readFileSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { JspError } from '../base/errors.ts';
import type { BrokerClientOptions, Credentials, CredentialsSource } from '../client/index.ts';
import { Identity } from '../protocol/crypto/index.ts';
import { URL_OPTION_HELP } from './arguments.ts';
import { CommandError, warn } from './terminal.ts';

/** Who a command is, of its options. */
export interface CredentialOptions {
  identity?: string | undefined;
  apiKeyFile?: string | undefined;
  tokenFile?: string | undefined;
}

/** What {@link withBrokerAccess} leaves in the options of a command. */
export interface BrokerAccess extends CredentialOptions {
  url?: string;
}

/** A command that connects to a broker, with the options that say to which one, and as whom. */
export function withBrokerAccess(command: Command): Command {
  return command
    .option('--url <url,...>', URL_OPTION_HELP)
    .option(
      '--identity <file>',
      'who this is: the secret that "jsp keygen --client" has written (else JSP_IDENTITY, a file)',
    )
    .option('--api-key-file <file>', 'who this is: a file with an API key (else JSP_API_KEY, the key)')
    .option(
      '--token-file <file>',
      'who this is: a file with a token (JWT), read again when it expires (else JSP_TOKEN, the token)',
    );
}

/**
 * Who a command is, as `connectClient` takes it: to the broker, and to a transport that asks before. That is asked once, so who replaces the file of
 * an identity starts the command anew.
 *
 * @throws CommandError as {@link credentialsOf}
 */
export function accessOf(options: CredentialOptions): Pick<BrokerClientOptions, 'credentials' | 'identity'> {
  const credentials = credentialsOf(options);
  const first = credentials === undefined ? null : (credentials as Reading)();
  return { credentials, identity: first !== null && 'identity' in first ? first.identity : undefined };
}

/**
 * The credentials to connect with; undefined: none. Files are read now, and again for each attempt: who replaces them in time is not cut off.
 *
 * @throws CommandError ERR_JSP_USAGE for several at once; ERR_JSP_FILE for a file that cannot be read
 */
export function credentialsOf(
  options: CredentialOptions,
  environment = process.env,
): CredentialsSource | undefined {
  const isGiven = Object.values([options.identity, options.apiKeyFile, options.tokenFile]).some(
    (each) => each !== undefined,
  );
  const read = isGiven ? reading(options) : readingEnvironment(environment);
  const first = read();
  return first === null ? undefined : read;
}

type Reading = () => Credentials | null;

function reading({ identity, apiKeyFile, tokenFile }: CredentialOptions): Reading {
  if (apiKeyFile !== undefined && (identity !== undefined || tokenFile !== undefined))
    throw new CommandError(
      'ERR_JSP_USAGE',
      '--api-key-file says who this is by itself: leave --identity and --token-file out',
    );
  return () => {
    if (apiKeyFile !== undefined) return { apiKey: secretIn(apiKeyFile, '--api-key-file') };
    const who = identity === undefined ? undefined : identityIn(identity, '--identity');
    if (tokenFile !== undefined) return { jwt: secretIn(tokenFile, '--token-file'), identity: who };
    return who === undefined ? null : { identity: who };
  };
}

function readingEnvironment({ JSP_IDENTITY, JSP_API_KEY, JSP_TOKEN }: NodeJS.ProcessEnv): Reading {
  if (JSP_API_KEY && (JSP_IDENTITY || JSP_TOKEN))
    throw new CommandError(
      'ERR_JSP_USAGE',
      'JSP_API_KEY says who this is by itself: leave JSP_IDENTITY and JSP_TOKEN out',
    );
  return () => {
    if (JSP_API_KEY) return { apiKey: JSP_API_KEY };
    const identity = JSP_IDENTITY ? identityIn(JSP_IDENTITY, 'JSP_IDENTITY') : undefined;
    if (JSP_TOKEN) return { jwt: JSP_TOKEN, identity };
    return identity === undefined ? null : { identity };
  };
}

function identityIn(path: string, source: string): Identity {
  try {
    return Identity.fromSecret(secretIn(path, source));
  } catch (error) {
    if (!(error instanceof JspError)) throw error;
    throw new CommandError('ERR_JSP_FILE', `${source} ${path}: ${error.message}`, { cause: error });
  }
}

function secretIn(path: string, source: string): string {
  try {
    const text = readFileSync(path, 'utf8').trim();
    warnOfReaders(path);
    return text;
  } catch (error) {
    throw new CommandError('ERR_JSP_FILE', `${source} ${path} cannot be read: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function warnOfReaders(path: string): void {
  if (process.platform === 'win32' || WARNED.has(path)) return;
  WARNED.add(path);
  const stats = statSync(path);
  if (stats.isFile() && (stats.mode & 0o077) !== 0)
    warn(`${path} can be read by others, who can be this client by it: chmod 600 ${path}`);
}

/** Once for each file. */
const WARNED = new Set<string>();
