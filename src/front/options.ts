import { anything, type OptionTable, text, whole } from '../base/options.ts';
import type { RandomSource } from '../base/random.ts';
import { abortSignal } from '../transport/abort.ts';
import { frontSecret } from '../transport/behind-front.ts';
import { isPinnedUrl } from '../transport/url.ts';
import type { Clock } from '../udp/clock.ts';
import type { DatagramSocket, SocketAddress } from '../udp/datagram-socket.ts';

export interface FrontOptions {
  /** URLs of the servers, 1 to 256, which all have one identity: clients know the front by it. */
  servers: readonly string[];
  /** 32 bytes that the front shares with the servers: `jsp keygen --front`. */
  secret: Uint8Array;
  /** The secret that came before, which servers may still have. Default none. */
  previousSecret?: Uint8Array | undefined;
  /** Address to bind. Default 127.0.0.1. */
  host?: string | undefined;
  /** UDP port. Default 4577; 0 lets the system choose. */
  port?: number | undefined;
  /** Host, or host:port, that the URL names instead of the socket's own. */
  advertise?: string | undefined;
  /** A client that is silent for so long is forgotten, which costs it nothing. Default 60,000; 1,000 to 86,400,000. */
  idleMs?: number | undefined;
  /** Clients that are kept in mind; at the bound the oldest is forgotten. Default 65,536; 1 to 4,194,304. */
  clientsMax?: number | undefined;
  /** How often each server is asked how it is. Default 500; 10 to 60,000. */
  probeMs?: number | undefined;
  /** A server that leaves so many probes unanswered is gone until it answers again. Default 3; 1 to 100. */
  probeMisses?: number | undefined;
  /** Asked of the system, which may grant less. Default 4 MiB. */
  receiveBufferBytes?: number | undefined;
  /** Asked of the system, which may grant less. Default 4 MiB. */
  sendBufferBytes?: number | undefined;
  /** A socket of one's own for clients, instead of one that is bound. */
  socket?: DatagramSocket | undefined;
  /** Sockets of one's own for servers: one that is connected to this address. */
  connectSocket?: ((server: SocketAddress) => DatagramSocket) | undefined;
  /** Default: the machine's. */
  clock?: Clock | undefined;
  /** Default: the system's. */
  random?: RandomSource | undefined;
  /** Gives up, or closes what listens already, when it fires. */
  signal?: AbortSignal | undefined;
}

export const FRONT_OPTIONS: OptionTable<FrontOptions> = {
  servers: (value) =>
    Array.isArray(value) && value.length > 0 && value.length <= SERVERS_MAX && value.every(isPinnedUrl)
      ? null
      : `a list of 1 to ${SERVERS_MAX} URLs of servers`,
  secret: frontSecret,
  previousSecret: frontSecret,
  host: text,
  port: whole(0, 65_535),
  advertise: text,
  idleMs: whole(1_000, 86_400_000),
  clientsMax: whole(1, 2 ** 22),
  probeMs: whole(10, 60_000),
  probeMisses: whole(1, 100),
  receiveBufferBytes: whole(1, 2 ** 31 - 1),
  sendBufferBytes: whole(1, 2 ** 31 - 1),
  socket: anything,
  connectSocket: anything,
  clock: anything,
  random: anything,
  signal: abortSignal,
};

const SERVERS_MAX = 256;
