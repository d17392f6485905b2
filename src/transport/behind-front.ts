import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { checkOptions, type OptionCheck, type OptionTable, whole } from '../base/options.ts';
import type { RandomSource } from '../base/random.ts';
import {
  type ConnectionIdSource,
  FRONT_SECRET_BYTES,
  SERVER_IDS,
  ServerIdSource,
} from '../protocol/crypto/index.ts';
import { ENVELOPE_BYTES, type FrontSecrets, ServerState } from '../protocol/datagram/index.ts';
import { type ConnectionConfig, DATAGRAM_BYTES_MAX, INTERNET_MTU_MAX } from '../protocol/endpoint/index.ts';
import type { Clock } from '../udp/clock.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';
import { FrontedSocket } from '../udp/fronted-socket.ts';
import type { TransportOptions } from './options.ts';

/** How a server stands behind a front. */
export interface BehindFrontOptions {
  /** 32 bytes that the server shares with the fronts and the other servers behind them: `jsp keygen --front`. */
  secret: Uint8Array;
  /** The secret that came before: what fronts that do not have the new one yet bring is taken as well. Default none. */
  previousSecret?: Uint8Array | undefined;
  /** By what fronts know this server: 0 to 16,777,215, which no other server behind them has. Default: one that follows from the name of the machine and the port. [FRT-4] */
  serverId?: number | undefined;
}

/** What a server knows of itself when a front asks. */
export interface Standing {
  readonly isAccepting: boolean;
  readonly isFull: boolean;
  readonly connections: number;
}

export const frontSecret: OptionCheck = (value) =>
  value instanceof Uint8Array && value.length === FRONT_SECRET_BYTES
    ? null
    : `a Uint8Array of ${FRONT_SECRET_BYTES} bytes`;

export const BEHIND_FRONT_OPTIONS: OptionTable<BehindFrontOptions> = {
  secret: frontSecret,
  previousSecret: frontSecret,
  serverId: whole(0, SERVER_IDS - 1),
};

export const behindFront: OptionCheck = (value) => {
  checkOptions('listen.front', value as BehindFrontOptions, BEHIND_FRONT_OPTIONS);
  return (value as BehindFrontOptions).secret === undefined ? 'an object with a secret' : null;
};

/** The socket of a server behind a front. */
export function frontedSocket(
  socket: DatagramSocket,
  options: BehindFrontOptions,
  clock: Clock,
  standing: () => Standing,
): DatagramSocket {
  const serverId = serverIdOf(options, socket);
  const report = () => {
    const { connections, isAccepting, isFull } = standing();
    const state = isFull ? ServerState.FULL : ServerState.ACCEPTING;
    return { state: isAccepting ? state : ServerState.LEAVING, serverId, connections };
  };
  return new FrontedSocket(socket, { secrets: secretsOf(options), clock, report });
}

/** The ids of its connections. */
export function serverIds(
  options: BehindFrontOptions,
  socket: DatagramSocket,
  random: RandomSource,
): ConnectionIdSource {
  return new ServerIdSource(options.secret, serverIdOf(options, socket), random);
}

/** Datagrams are so small that they fit into packets of an Ethernet in their envelopes, where the options do not say how large they may be. [FRT-8] */
export function leaveRoomForEnvelopes(
  config: ConnectionConfig,
  { datagramBytesMax, mtu }: Pick<TransportOptions, 'datagramBytesMax' | 'mtu'>,
): void {
  const room = INTERNET_MTU_MAX - ENVELOPE_BYTES;
  const mostBytes = DATAGRAM_BYTES_MAX - ENVELOPE_BYTES;
  config.mtuMax = mtu === undefined ? room : Math.min(config.mtuMax, mostBytes);
  config.mtu = Math.min(config.mtu, config.mtuMax);
  config.receiveDatagramBytesMax =
    datagramBytesMax === undefined ? room : Math.min(datagramBytesMax, mostBytes);
}

/** The secrets as the layers below have them. */
export function secretsOf({ secret, previousSecret }: BehindFrontOptions): FrontSecrets {
  return { current: secret, previous: previousSecret };
}

function serverIdOf({ serverId }: BehindFrontOptions, { localPort }: DatagramSocket): number {
  if (serverId !== undefined) return serverId;
  return createHash('sha256').update(`${hostname()}:${localPort}`).digest().readUIntBE(0, 3);
}
