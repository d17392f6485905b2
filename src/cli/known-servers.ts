/**
 * What commands remember of servers from one run to the next: the tokens that they gave, each of which spares one connection a round trip where a
 * server is under attack. It is a cache that only its owner can read, and whose loss costs nothing: what cannot be read is not there, what
 * cannot be written is forgotten.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import type { TokenStore } from '../transport/address-tokens.ts';
import { makeFolderSync } from '../transport/make-folder.ts';

/** By server; the one that was met last comes last. */
type Known = Record<string, { readonly tokens: readonly string[] }>;

/** The tokens of servers in a file, which all commands of a user share. */
export class KnownServers implements TokenStore {
  private readonly file: string;

  constructor(file: string) {
    this.file = file;
  }

  take(server: string): Uint8Array | null {
    const known = this.read();
    const tokens = [...(known[server]?.tokens ?? [])];
    const token = tokens.pop();
    if (token === undefined) return null;
    this.write({ ...known, [server]: { tokens } }); // first, for it is good once
    return Buffer.from(token, 'base64url');
  }

  put(server: string, token: Uint8Array): void {
    const { [server]: before, ...others } = this.read();
    const tokens = [...(before?.tokens ?? []), Buffer.from(token).toString('base64url')].slice(-TOKENS_MAX);
    const servers = Object.entries({ ...others, [server]: { tokens } });
    this.write(Object.fromEntries(servers.slice(-SERVERS_MAX)));
  }

  private read(): Known {
    try {
      const known: unknown = JSON.parse(readFileSync(this.file, 'utf8'));
      return isKnown(known) ? known : {};
    } catch {
      return {};
    }
  }

  private write(known: Known): void {
    const draft = `${this.file}.${process.pid}.new`;
    try {
      makeFolderSync(dirname(this.file), 0o700);
      writeFileSync(draft, `${JSON.stringify(known, null, 1)}\n`, { mode: 0o600 });
      renameSync(draft, this.file);
    } catch {
      rmSync(draft, { force: true });
    }
  }
}

/** Where commands keep them: `JSP_CACHE` names the folder, or says with an empty value that nothing is kept; else it is the user's for caches. */
export function knownServers(environment: NodeJS.ProcessEnv = process.env): TokenStore | false {
  const { JSP_CACHE: chosen, XDG_CACHE_HOME: caches } = environment;
  if (chosen === '') return false;
  const folder = chosen ?? join(caches || join(homedir(), '.cache'), 'jsp');
  return new KnownServers(join(folder, 'servers.json'));
}

function isKnown(value: unknown): value is Known {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((each: unknown) => {
    const { tokens } = (each ?? {}) as { tokens?: unknown };
    return Array.isArray(tokens) && tokens.every((token) => typeof token === 'string');
  });
}

const SERVERS_MAX = 64;
const TOKENS_MAX = 2;
