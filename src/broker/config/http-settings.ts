/** The table `[http]`: a gateway in the process of the broker. What it means is the gateway's, which is told it by whoever starts both. */

import { addressFamily } from '../../base/ip-address.ts';
import { whole } from '../../base/options.ts';
import { bytesOf, durationOf, type Kind, listOf, numberOf, path, Refused, textOf, yesOrNo } from './kinds.ts';
import { optional, setting, table } from './setting.ts';
import { tomlString } from './toml.ts';

/** Where something listens. */
export interface ListenAddress {
  readonly host: string;
  readonly port: number;
}

/** Of `host:port`; of `:port` or a port alone for this machine only; of `[::1]:port`. Null of anything else. */
export function parseListenAddress(text: string): ListenAddress | null {
  const [, host, digits] = /^(?:(.*):)?(\d{1,5})$/.exec(text) ?? [];
  if (digits === undefined || Number(digits) > 65_535) return null;
  const bare = (host ?? '').replace(/^\[(.*)\]$/, '$1');
  const isBracketed = bare !== (host ?? '');
  if (isBracketed ? addressFamily(bare) !== 6 : bare.includes(':')) return null;
  return { host: bare === '' ? '127.0.0.1' : bare, port: Number(digits) };
}

/** As {@link parseListenAddress} reads it. */
export function listenAddressText({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** @param port - the usual one, for what is to be written */
export function listenAddress(port: number): Kind<ListenAddress> {
  return {
    take(written) {
      const parsed = parseListenAddress(String(written));
      if (parsed === null)
        throw new Refused(`an address and a port, such as "127.0.0.1:${port}", "[::1]:${port}" or ${port}`);
      return parsed;
    },
    ofText: (text) => text,
    show: (listen) => tomlString(listenAddressText(listen)),
  };
}

const MIB = 1_024 * 1_024;
const SECOND = 1_000;

export const HTTP_SETTINGS = table('HTTP, WebSocket and SSE in this process, and the dashboard.', {
  listen: optional(listenAddress(4_580), '"127.0.0.1:4580"', 'Where it listens. By default it does not.'),
  tls_cert: optional(
    path,
    '"/etc/jsp/tls/fullchain.pem"',
    'File with a certificate and those above it, for HTTPS; it is read again when the broker reloads. By default plain HTTP, as behind a proxy.',
  ),
  tls_key: optional(path, '"/etc/jsp/tls/privkey.pem"', 'File with its private key; read again with it.'),
  hosts: setting(
    listOf(textOf()),
    [],
    'Names by which callers reach it, beside those of this machine and addresses: requests to others are refused, for a page can lead them here by tricks with DNS.',
    { example: '["broker.example.org"]' },
  ),
  origins: setting(listOf(textOf()), [], 'Origins whose pages may use it, beside its own; "*": all.', {
    example: '["https://app.example.org"]',
  }),
  trusted_proxies: setting(
    listOf(textOf()),
    [],
    'Addresses or networks of proxies whose X-Forwarded-For is believed. None: else anybody could say where he comes from.',
    { example: '["10.0.0.0/8"]' },
  ),
  dashboard: setting(yesOrNo, true, 'Whether the dashboard is served at "/".'),
  max_payload_bytes: setting(bytesOf(whole(1, 16 * MIB)), MIB, 'Most bytes of one payload.'),
  max_bulk_bytes: setting(bytesOf(whole(1, 256 * MIB)), 4 * MIB, 'Most bytes of the body of a bulk.'),
  max_bulk_items: setting(numberOf(whole(1, 100_000)), 1_000, 'Most messages of one bulk.'),
  max_connections: setting(numberOf(whole(1, 1_000_000)), 20_000, 'Most connections at once.'),
  max_in_flight: setting(
    numberOf(whole(1, 1_000_000)),
    4_096,
    'Most requests that are under way at once; the next is answered 503.',
  ),
  max_in_flight_bytes: setting(bytesOf(whole(1, 2 ** 40)), 64 * MIB, 'Most bytes of their bodies together.'),
  max_loop_delay: setting(
    durationOf(whole(0, 60 * SECOND)),
    100,
    'How long requests may wait for the event loop. Where they wait longer for a while, each turn serves as many as so long allows, and the others are answered 503. Less leaves little of a turn beside all else that is done in it; much more, and so many sockets are ready that the loop goes on from one to the next without looking at anything else. 0: however long.',
  ),
  max_sessions: setting(
    numberOf(whole(1, 1_000_000)),
    1_024,
    'Most sessions that HTTP requests share, one for each distinct set of credentials.',
  ),
  request_timeout: setting(
    durationOf(whole(1, 2 ** 31 - 1)),
    30 * SECOND,
    'How long a request may take to come.',
  ),
  answer_timeout: setting(
    durationOf(whole(1, 2 ** 31 - 1)),
    10 * SECOND,
    'How long the broker may take to answer a publish; then 503 or 504.',
  ),
  keep_alive: setting(
    durationOf(whole(1, 2 ** 31 - 1)),
    65 * SECOND,
    'How long a connection is kept that nobody uses: longer than proxies in front of it keep theirs.',
  ),
});
