/**
 * What commands remember of servers from one run to the next: the tokens that they gave, each of which spares one connection a round trip where a
 * server is under attack, and the ticket with which the next one may say something in its first datagram. It is a cache that only its owner can
 * read, and whose loss costs nothing: what cannot be read is not there, what cannot be written is forgotten.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { makeFolderSync } from '../disk/make-folder.ts';
import type { TokenStore } from '../transport/address-tokens.ts';

/** By server; the one that was met last comes last. */
type Known = Record<string, KnownServer>;

/** As base64url. */
interface KnownServer {
  readonly tokens: readonly string[];
  readonly ticket?: string | undefined;
}

/** The tokens and tickets of servers in a file, which all commands of a user share. */
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
    this.write({ ...known, [server]: { ...known[server], tokens } }); // first, for it is good once
    return Buffer.from(token, 'base64url');
  }

  put(server: string, token: Uint8Array): void {
    this.meet(server, (before) => {
      const tokens = [...before.tokens, Buffer.from(token).toString('base64url')].slice(-TOKENS_MAX);
      return { ...before, tokens };
    });
  }

  /** The ticket of this server, which is taken out, for it is good once; null when there is none. */
  takeTicket(server: string): Uint8Array | null {
    const known = this.read();
    const { ticket, tokens } = known[server] ?? { tokens: [] };
    if (ticket === undefined) return null;
    this.write({ ...known, [server]: { tokens } }); // first, as above
    return Buffer.from(ticket, 'base64url');
  }

  putTicket(server: string, ticket: Uint8Array): void {
    this.meet(server, (before) => ({ ...before, ticket: Buffer.from(ticket).toString('base64url') }));
  }

  private meet(server: string, change: (before: KnownServer) => KnownServer): void {
    const { [server]: before = { tokens: [] }, ...others } = this.read();
    const servers = Object.entries({ ...others, [server]: change(before) });
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
export function knownServers(environment: NodeJS.ProcessEnv = process.env): KnownServers | false {
  const { JSP_CACHE: chosen, XDG_CACHE_HOME: caches } = environment;
  if (chosen === '') return false;
  const folder = chosen ?? join(caches || join(homedir(), '.cache'), 'jsp');
  return new KnownServers(join(folder, 'servers.json'));
}

function isKnown(value: unknown): value is Known {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((each: unknown) => {
    const { tokens, ticket = '' } = (each ?? {}) as { tokens?: unknown; ticket?: unknown };
    return (
      Array.isArray(tokens) &&
      tokens.every((token) => typeof token === 'string') &&
      typeof ticket === 'string'
    );
  });
}

const SERVERS_MAX = 64;
const TOKENS_MAX = 2;
