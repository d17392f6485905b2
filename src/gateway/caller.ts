/** Who makes a request: what he proves it by, and from where he comes. */

import { hash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, type Socket } from 'node:net';
import { JspError } from '../base/errors.ts';
import { addressPrefix, fromSystem, normalAddress } from '../base/ip-address.ts';
import { CREDENTIALS_BYTES_MAX } from '../pubsub/credentials.ts';
import type { ConnectionFacts, Door } from '../pubsub/message-stream.ts';
import { AuthMethod } from '../pubsub/session-commands.ts';
import { Problem } from './problem.ts';
import type { Proof } from './session.ts';

/** The proof of who has none. */
export const ANONYMOUS: Proof = { method: AuthMethod.NONE, credentials: Buffer.alloc(0) };

/**
 * What a request proves its caller by: `Authorization: Bearer …`, with an API key or a token, or `X-API-Key`. Nothing else is looked at: a cookie would be sent by the
 * browser whoever asks it to, and a query stands in logs. [GW-10]
 *
 * @throws {Problem} REQUEST_INVALID
 */
export function proofOf(request: Pick<IncomingMessage, 'headers'>): Proof {
  const { authorization, 'x-api-key': key } = request.headers;
  if (authorization !== undefined) {
    const bearer = BEARER.exec(authorization);
    if (bearer === null) {
      throw new Problem('CREDENTIALS_REFUSED', 'Authorization must be "Bearer" and an API key or a token.');
    }
    return proofFromText(bearer[1]);
  }
  if (typeof key === 'string') return proofFromText(key);
  return ANONYMOUS;
}

/** The same, for one connection after the other: what comes again on one of them is not read again. */
export function proofOnConnection(request: Pick<IncomingMessage, 'headers' | 'socket'>): Proof {
  const { authorization, 'x-api-key': key } = request.headers;
  if (authorization === undefined && key === undefined) return ANONYMOUS;
  const known = LAST_PROOFS.get(request.socket);
  if (known !== undefined && known.authorization === authorization && known.key === key) return known.proof;
  const proof = proofOf(request);
  LAST_PROOFS.set(request.socket, { authorization, key, proof });
  return proof;
}

/** The proof that an API key or a token is. */
export function proofFromText(secret: string): Proof {
  if (Buffer.byteLength(secret) > CREDENTIALS_BYTES_MAX) {
    throw new Problem('CREDENTIALS_REFUSED', `Credentials are at most ${CREDENTIALS_BYTES_MAX} bytes.`);
  }
  const method = secret.startsWith(API_KEY_PREFIX) ? AuthMethod.API_KEY : AuthMethod.JWT;
  return { method, credentials: Buffer.from(secret) };
}

/** What the broker is told of a connection that is one caller's own. */
export function factsOf(door: Door, address: string): ConnectionFacts {
  // What he proves to the gateway cannot be bound to his connection with it. [GW-11]
  return { door, address, overLimit: 'refuse', exporter: () => null, link: () => null };
}

/** What stands for a proof where it is to be looked up; nobody gets it back from that. */
export function keyOf(proof: Proof): string {
  const { method, credentials } = proof;
  if (method === AuthMethod.NONE) return '';
  let key = KEYS.get(proof);
  if (key === undefined) {
    key = `${method}${hash('sha256', credentials, 'base64')}`;
    KEYS.set(proof, key);
  }
  return key;
}

/** What callers who prove nothing are told apart by: their address, of IPv6 their network, which one of them has whole. So does the broker. [BRK-120] */
export function networkOf(address: string): string {
  return addressPrefix(address, 32, 64);
}

/** Finds out where a request comes from, through proxies that are trusted. [GW-12] */
export class Addresses {
  private readonly trusted: BlockList | null;

  /** @throws {JspError} ERR_JSP_OPTION_INVALID */
  constructor(trustedProxies: readonly string[]) {
    this.trusted = trustedProxies.length === 0 ? null : new BlockList();
    for (const network of trustedProxies) addNetwork(this.trusted as BlockList, network);
  }

  /** The address of whoever made the request, as far as it can be believed: the last in the list of hops that is no proxy of ours. */
  of(request: IncomingMessage): string {
    let address = fromSystem(request.socket.remoteAddress ?? '');
    const forwarded = request.headers['x-forwarded-for'];
    if (this.trusted === null || forwarded === undefined) return address;
    const hops = String(forwarded).split(',');
    for (let hop = hops.pop(); hop !== undefined && this.isTrusted(address); hop = hops.pop()) {
      const next = withoutPort(hop.trim());
      if (isIP(next) === 0) break; // what cannot be read was not written by a proxy that is to be believed
      address = normalAddress(next);
    }
    return address;
  }

  private isTrusted(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && (this.trusted?.check(address, family === 6 ? 'ipv6' : 'ipv4') ?? false);
  }
}

/** Some proxies add the port of a hop. */
function withoutPort(hop: string): string {
  return (V4_WITH_PORT.exec(hop) ?? V6_IN_BRACKETS.exec(hop))?.[1] ?? hop;
}

function addNetwork(list: BlockList, network: string): void {
  const [, address, bits] = NETWORK.exec(network) ?? ['', ''];
  const family = isIP(address) === 6 ? 'ipv6' : 'ipv4';
  try {
    if (bits === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(bits), family);
  } catch {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `trustedProxies must be addresses or networks such as 10.0.0.0/8, not ${JSON.stringify(network)}`,
    );
  }
}

interface LastProof {
  readonly authorization: string | undefined;
  readonly key: string | string[] | undefined;
  readonly proof: Proof;
}

/** What was shown last on a connection, as long as that lasts. */
const LAST_PROOFS = new WeakMap<Socket, LastProof>();
const KEYS = new WeakMap<Proof, string>();
const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;
const API_KEY_PREFIX = 'jspk_';
/** An address, and how many of its bits: without any, as in `10.0.0.0/`, it would be every address. */
const NETWORK = /^([^/]+)(?:\/(\d{1,3}))?$/;
const V4_WITH_PORT = /^([0-9.]+):\d+$/;
const V6_IN_BRACKETS = /^\[([0-9a-fA-F:.]+)\](?::\d+)?$/;
