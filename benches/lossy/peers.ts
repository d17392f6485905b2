import type { TransportOptions } from '../../src/index.ts';
import type { EndOrder } from './end.ts';
import { type JspSettings, TUNNEL_END, TUNNELLED_PORT } from './ways.ts';

/** What messages go over. */
export interface Peer {
  readonly name: string;
  /** Of this library; null for TCP. */
  readonly jsp: JspSettings | null;
  /** Of TCP connections. */
  readonly congestion: string;
  /** What carries the TCP connection over the link, if something does. */
  readonly tunnel: Tunnel | null;
  /** In per cent, where it is not what was asked for. */
  readonly loss?: number | undefined;
}

interface Tunnel {
  readonly server: string;
  readonly client: string;
  /** Where the client's end is. */
  readonly entry: string;
}

/** fast3, and blocks of 10 with so many repairs: the liveliest that its pages advise. Its own cipher, and no compression. */
function kcptun(parity: number): Tunnel {
  const settings = `--mode fast3 --datashard 10 --parityshard ${parity} --crypt aes --nocomp --quiet`;
  const far = `--target ${TUNNEL_END}:${TUNNELLED_PORT} --listen $NETLAB_SERVER:${KCP_PORT}`;
  const near = `--remoteaddr $NETLAB_SERVER:${KCP_PORT} --localaddr ${TUNNEL_END}:${ENTRY_PORT}`;
  return {
    server: `kcptun-server ${far} ${settings}`,
    client: `kcptun-client ${near} ${settings} 2> /dev/null`,
    entry: `${TUNNEL_END}:${ENTRY_PORT}`,
  };
}

const KCP_PORT = 29_900;
const ENTRY_PORT = 12_948;
const TCP = { jsp: null, tunnel: null };

function ours(name: string, ordered: boolean, transport: TransportOptions, loss?: number): Peer {
  return { name, jsp: { ordered, transport }, congestion: 'cubic', tunnel: null, loss };
}

export const PEERS: readonly Peer[] = [
  ours('loss-free', true, {}, 0),
  ours('off', true, {}),
  ours('off unordered', false, {}),
  ours('auto', true, { protection: 'auto' }),
  ours('auto unordered', false, { protection: 'auto' }),
  ours('auto cubic', true, { protection: 'auto', congestion: 'cubic' }),
  { ...TCP, name: 'kcptun', congestion: 'cubic', tunnel: kcptun(3) },
  { ...TCP, name: 'tcp cubic', congestion: 'cubic' },
  { ...TCP, name: 'tcp bbr', congestion: 'bbr' },
];

/** The commands of both ends, for a shell. */
export function commandsOf(
  peer: Peer,
  end: string,
  order: Omit<EndOrder, 'host' | 'via'>,
): { server: string; client: string } {
  const { tunnel } = peer;
  const command = (role: string, host: string, via: string | null): string => {
    const text = JSON.stringify({ ...order, host, via } satisfies EndOrder);
    return `${process.execPath} ${end} ${role} '${text}'`;
  };
  const receiving = command('receive', tunnel === null ? SERVER_HOST : TUNNEL_END, null);
  const sending = command('send', SERVER_HOST, tunnel?.entry ?? null);
  if (tunnel === null) return { server: receiving, client: sending };
  return { server: inFront(tunnel.server, receiving), client: inFront(tunnel.client, sending) };
}

/** Runs the tunnel beside the command, and ends it with that. */
function inFront(tunnel: string, command: string): string {
  return `${tunnel} & ${command}; status=$?; kill %1; exit $status`;
}

/** The link's far end; its name there is also in the variable NETLAB_SERVER. */
const SERVER_HOST = '10.99.0.1';
