import { hasLarge } from '../base/large-count.ts';
import type { ReceiveBatch, TransmitBatch } from '../protocol/datagram/index.ts';

/** An address as the operating system gives and takes it: a literal IPv4 or IPv6 address and a port. */
export interface SocketAddress {
  readonly host: string;
  readonly port: number;
}

/** What went through a socket since it was bound. */
export interface SocketCounters {
  /** Datagrams that the system took. */
  datagramsSent: number;
  /** Bytes of UDP payload in them. */
  bytesSent: number;
  /** Datagrams that the system gave. */
  datagramsReceived: number;
  /** Bytes of UDP payload in them. */
  bytesReceived: number;
  /** Datagrams the system refused to take and told us about; the peer sees them as lost. */
  sendErrors: number;
  /** Errors the system reported while receiving, such as an ICMP "port unreachable" on a connected socket. */
  receiveErrors: number;
  /** Errors of both kinds by the system's code, such as EMSGSIZE, ENOBUFS or EHOSTUNREACH. */
  readonly errorCodes: Record<string, number>;
  /** Datagrams that could not be answered (source port 0) and were dropped. */
  datagramsDropped: number;
  /** Datagrams that the system dropped because the receive buffer was full, as far as it tells: with `dgram` it does not. */
  receiveBufferOverflows: number;
  /** Batches whose arena had to be held because the system's send buffer was full. */
  batchesHeld: number;
}

/** What a socket is bound with. */
export interface SocketOptions {
  /** Address or name to listen on; default is any address of the family of `connectTo`, else any IPv4 address. */
  readonly host?: string | undefined;
  /** Default 0: the system chooses. */
  readonly port?: number | undefined;
  /** Asked of the system, which may grant less. Default 4 MiB. */
  readonly receiveBufferBytes?: number | undefined;
  /** Asked of the system, which may grant less. Default 4 MiB. */
  readonly sendBufferBytes?: number | undefined;
  /** Lets another socket bind the same address (SO_REUSEADDR). Default false. */
  readonly reuseAddress?: boolean | undefined;
  /**
   * Lets other sockets of this user bind the same address, among which the system spreads what comes (SO_REUSEPORT). Default false. Where
   * `reusePortFault` says that it cannot be done, binding fails.
   */
  readonly reusePort?: boolean | undefined;
  /** An IPv6 socket that does not take IPv4 too. Default false. */
  readonly ipv6Only?: boolean | undefined;
  /** The only peer: the kernel drops datagrams of others, and reports "port unreachable". */
  readonly connectTo?: { readonly host: string; readonly port: number } | undefined;
}

/** By which way datagrams go: the native addon, Node's `dgram`, or a socket of the application's own. */
export type SocketPath = 'native' | 'dgram' | 'custom';

/**
 * A UDP socket that takes and gives whole batches. The driver owns one an endpoint; `dgram`, the impairment wrapper, the lab
 * and a native adaptor all look like this. No method but {@link close} waits, and nothing here throws out of the event loop:
 * what goes wrong is counted and handed to {@link onError}.
 */
export interface DatagramSocket {
  /** Default 'custom'. */
  readonly path?: SocketPath;
  readonly localHost: string;
  readonly localPort: number;
  /** The only peer of a connected socket, else null. */
  readonly remote: SocketAddress | null;
  /**
   * Bytes of datagrams that the receive buffer which the system granted holds, when they are large: each datagram is charged
   * some 600 bytes more, and rounded up to the system's next size of memory block.
   */
  readonly receiveBufferBytes: number;
  /** The same for sending. */
  readonly sendBufferBytes: number;
  /** The network drops datagrams that it does not carry whole, as with IP's don't-fragment bit. Default false: that is not known. */
  readonly setsDontFragment?: boolean;
  /** It sets the ECN bits of what it sends, and reads those of what it receives: the columns `ecn` of the batches. Default false. */
  readonly usesEcn?: boolean;
  readonly counters: Readonly<SocketCounters>;

  /**
   * Called with the datagrams that came since the last call. The batch belongs to the socket and is valid during the call only;
   * so are the bytes of datagrams that it says are shared, while all others' belong to the callee.
   */
  onBatch: ((batch: ReceiveBatch) => void) | null;
  /** Called when every batch for which {@link send} answered false has left: their arenas may be reused. */
  onWritable: (() => void) | null;
  /** `fatal` means that the socket is of no use any more; other errors are news about single datagrams. */
  onError: ((error: Error, fatal: boolean) => void) | null;
  /** Called, and {@link onError} not, when the system refused a datagram for its size: nothing as large can go to that peer. */
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null;

  /**
   * Sends every datagram of the batch, in order. True: the arena may be reused at once. False: the system holds bytes of it, so
   * it must stay as it is until {@link onWritable}; further batches may still be sent, and are held as well.
   */
  send(batch: TransmitBatch): boolean;

  /** The own address that has this number in a batch's column `local`; absent where a socket has but one. */
  hostOfLocal?(local: number): string;
  /** The number of this own address, which {@link hostOfLocal} of another socket at the same port gave. */
  localOfHost?(host: string): number;

  /** Closes the socket and lets go of held batches unsent; none of the callbacks is called afterwards. */
  close(): Promise<void>;
  /** Lets the socket keep the process alive (the default), or not. */
  ref(): void;
  unref(): void;
}

/** What an application is told of a socket: its counters, and the buffers that the system granted. */
export interface SocketMetrics extends Readonly<SocketCounters> {
  /** By which way datagrams go: `native` (the addon), `dgram` (Node's own), or `custom` (a socket of the application's). */
  readonly path: SocketPath;
  /** Receive buffer that the system granted, less its own bookkeeping for large datagrams. */
  readonly receiveBufferBytes: number;
  /** The same for sending. */
  readonly sendBufferBytes: number;
}

export function socketMetrics({
  path = 'custom',
  counters,
  receiveBufferBytes,
  sendBufferBytes,
}: DatagramSocket): SocketMetrics {
  return { ...counters, errorCodes: { ...counters.errorCodes }, path, receiveBufferBytes, sendBufferBytes };
}

/** What the system says that a buffer has, less its overhead: Linux doubles what was asked for, and reports the double. */
export function grantedBytes(bytes: number): number {
  return bytes / (process.platform === 'linux' ? 2 : 1);
}

/** After such an error a socket is of no use any more. */
export function isFatal(error: Error): boolean {
  return FATAL_CODES.has((error as NodeJS.ErrnoException).code ?? '');
}

/** Counts an error under its code; beyond a number of codes all others are one. */
export function countErrorCode(counters: SocketCounters, error: Error, times = 1): void {
  addErrorCode(counters, (error as NodeJS.ErrnoException).code ?? 'UNKNOWN', times);
}

function addErrorCode({ errorCodes }: SocketCounters, name: string, times: number): void {
  const isNew = errorCodes[name] === undefined && Object.keys(errorCodes).length >= ERROR_CODES_MAX;
  const code = isNew ? 'OTHER' : name;
  errorCodes[code] = (errorCodes[code] ?? 0) + times;
}

/** Adds what another socket counted. */
export function addCounters(sum: SocketCounters, { errorCodes, ...numbers }: Readonly<SocketCounters>): void {
  for (const name of Object.keys(numbers) as (keyof typeof numbers)[]) sum[name] += numbers[name];
  for (const [code, times] of Object.entries(errorCodes)) addErrorCode(sum, code, times);
}

/** A fresh set of counters. */
export function socketCounters(): SocketCounters {
  return {
    datagramsSent: 0,
    bytesSent: 0,
    datagramsReceived: 0,
    bytesReceived: 0,
    sendErrors: 0,
    receiveErrors: 0,
    errorCodes: {},
    datagramsDropped: 0,
    receiveBufferOverflows: 0,
    batchesHeld: 0,
  };
}

hasLarge(socketCounters(), 'bytesSent', 'bytesReceived');

/** What a socket asks for where its options do not say. */
export const BUFFER_BYTES = 4 * 1024 * 1024;
/** Own addresses of a socket that have a number, 0 among them; what comes to further ones is answered as the system sees fit. */
export const OWN_ADDRESSES_MAX = 256;
const ERROR_CODES_MAX = 16;
/** EFAULT: the memory that the native socket reads into was taken away. What comes is never read, so that a loop would turn for ever. */
const FATAL_CODES: ReadonlySet<string> = new Set([
  'EBADF',
  'EFAULT',
  'ENOTSOCK',
  'ERR_SOCKET_DGRAM_NOT_RUNNING',
]);
