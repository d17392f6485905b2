/**
 * The native twin of `DgramSocket`: whole batches cross into C (`native/socket.c`), and from there into the system, in one call each.
 *
 *   1. out: neighbours of a batch with one destination and one length are a run, which is one row of the table ({@link NativeSocket.send}) and,
 *      where the system has UDP_SEGMENT, one message, which it takes apart as late as it can;
 *   2. what the system has no room for is held, and goes when it is writable ({@link NativeSocket.resume});
 *   3. what it refused is told behind the call that sent it ({@link NativeSocket.look});
 *   4. in: C has read into an arena that all sockets of the thread share, and calls once. Runs (UDP_GRO) are taken apart into datagrams, whose
 *      views are there from the time before ({@link NativeSocket.handOver}). The arena is used again for the next.
 *
 * One socket answers for all addresses of its machine: with a datagram comes the address that it was sent to, and with an answer goes the address
 * that it is to come from, so nothing like `WildcardSocket` is needed. [CON-60]
 */

import { constants } from 'node:os';
import { performance } from 'node:perf_hooks';
import { getSystemErrorName } from 'node:util';
import { JspError } from '../base/errors.ts';
import { isWildcard } from '../base/ip-address.ts';
import type { NativeSockets } from '../base/native-addon.ts';
import type { ReceiveBatch, TransmitBatch } from '../protocol/datagram/index.ts';
import { addressesIfTold, LOOK_GAP_MS } from './addresses.ts';
import {
  BUFFER_BYTES,
  countErrorCode,
  type DatagramSocket,
  grantedBytes,
  isFatal,
  OWN_ADDRESSES_MAX,
  type SocketAddress,
  type SocketCounters,
  type SocketOptions,
  socketCounters,
} from './datagram-socket.ts';
import { ADDRESS_WORDS, AddressWord, addressWords, hostOf } from './native-addresses.ts';
import { ARRIVAL, ARRIVAL_HEADER, Arrival, type Arrivals, arrivalsOfThread } from './native-arrivals.ts';

/** What a native socket can do and is not to do: for tests, and for systems on which it does harm. */
export const NativeLimit = { NO_SEGMENTS: 8, SEGMENTS_REFUSED: 16, ONE_BY_ONE: 32, NO_RUNS_IN: 64 } as const;

/**
 * Binds a native socket, without waiting for anything.
 *
 * @param host - address to bind
 * @param remote - the only peer, or null
 * @param limits - of {@link NativeLimit}, added up
 * @throws JspError `ERR_JSP_SOCKET` when the system refuses, with the system's error as `cause`
 */
export function bindNativeSocket(
  native: NativeSockets,
  host: string,
  options: SocketOptions,
  remote: SocketAddress | null = null,
  limits = 0,
): NativeSocket {
  return new NativeSocket(native, host, options, remote, limits);
}

export class NativeSocket implements DatagramSocket {
  readonly path = 'native';
  readonly localHost: string;
  readonly localPort: number;
  readonly remote: SocketAddress | null;
  readonly receiveBufferBytes: number;
  readonly sendBufferBytes: number;
  readonly setsDontFragment = process.platform === 'linux';
  readonly usesEcn = process.platform === 'linux';
  readonly counters: SocketCounters = socketCounters();
  onBatch: ((batch: ReceiveBatch) => void) | null = null;
  onWritable: (() => void) | null = null;
  onError: ((error: Error, fatal: boolean) => void) | null = null;
  onTooLarge: ((bytes: number, host: string, port: number) => void) | null = null;

  private readonly native: NativeSockets;
  /** Its number in C; -1 when it is closed. */
  private number: number;
  private readonly remoteWords: Int32Array | null;
  private readonly arrivals: Arrivals = arrivalsOfThread();
  /** The addresses of this machine that datagrams came to, by the number that they are handed over with; 0 is none. */
  private readonly locals: Int32Array[] = [NO_ADDRESS];
  private latestLocal = 0;
  /** Those of them, by the same number, that an interface had when they got it. */
  private readonly isListed: boolean[] = [];
  /** The addresses of the interfaces, as of the last look. */
  private listed: ReadonlySet<string> = new Set();
  private lookAgainAtMs = 0;
  /** What the system has no room for, in order. */
  private held: HeldRows[] = [];
  /** What C counts of datagrams for which there was no room, when it was looked at last. */
  private overflows = 0;
  private crowdedTries = 0;
  private isBroken = false;

  constructor(
    native: NativeSockets,
    host: string,
    options: SocketOptions,
    remote: SocketAddress | null,
    limits: number,
  ) {
    const binding = new Int32Array(BINDING_WORDS);
    setAddress(binding, Binding.LOCAL, addressWords(host), options.port ?? 0);
    if (remote !== null) setAddress(binding, Binding.PEER, addressWords(remote.host), remote.port);
    binding[Binding.OPTIONS] =
      limits |
      (options.reuseAddress === true ? ReuseBit.ADDRESS : 0) |
      (options.reusePort === true ? ReuseBit.PORT : 0) |
      (options.ipv6Only === true ? ReuseBit.IPV6_ONLY : 0);
    binding[Binding.RECEIVE_BYTES] = Math.min(options.receiveBufferBytes ?? BUFFER_BYTES, INT32_MAX);
    binding[Binding.SEND_BYTES] = Math.min(options.sendBufferBytes ?? BUFFER_BYTES, INT32_MAX);
    const number = native.bind(binding, this.arrivals.arena, this.arrivals.table, (received, isWritable) =>
      this.onPoll(received, isWritable),
    );
    if (number < 0) {
      const call = CALLS[binding[Binding.FAILED_AT]];
      const at = call === 'connect' && remote !== null ? remote : { host, port: options.port ?? 0 };
      const cause = systemError(-number, call, at.host, at.port);
      throw new JspError('ERR_JSP_SOCKET', `UDP socket for ${at.host}:${at.port}: ${cause.message}`, {
        cause,
      });
    }
    this.native = native;
    this.number = number;
    this.remote = remote;
    this.remoteWords = remote === null ? null : addressWords(remote.host);
    this.localHost = hostOf(binding, Binding.LOCAL);
    this.localPort = binding[Binding.LOCAL + AddressWord.PORT];
    this.receiveBufferBytes = grantedBytes(binding[Binding.RECEIVE_BYTES]);
    this.sendBufferBytes = grantedBytes(binding[Binding.SEND_BYTES]);
  }

  private readonly tryAgain = (): void => {
    if (this.crowdedTries >= CROWDED_TRIES_MAX) this.dropFirst();
    this.resume();
  };

  // ---- out ----

  send(batch: TransmitBatch): boolean {
    if (this.number < 0 || this.isBroken || batch.count === 0) return true;
    const count = this.fillRows(batch);
    const rows = ROWS.words;
    let first = 0;
    if (this.held.length === 0) {
      first = this.native.send(this.number, batch.arena, rows, 0, count);
      this.look(rows, first === count ? count : first + 1);
      if (first === count) return true;
      this.awaitRoom(rows, first);
    }
    this.held.push({ arena: batch.arena, rows: rows.slice(first * ROW, count * ROW), first: 0 });
    this.counters.batchesHeld++;
    return false;
  }

  /** Puts the runs of the batch into rows: how many. */
  private fillRows(batch: TransmitBatch): number {
    const { count, host, length, local, offset, port } = batch;
    const rows = ROWS.roomFor(count);
    const { remoteWords, counters } = this;
    let at = -ROW;
    let end = -1; // where the run ends in the arena; -1 when nothing more goes with it
    let skipped = 0;
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      const size = length[i];
      const ecn = batch.ecnOf(i);
      if (
        offset[i] === end &&
        (remoteWords !== null || (port[i] === port[i - 1] && host[i] === host[i - 1])) &&
        local[i] === local[i - 1] &&
        ecn === rows[at + Row.ECN] &&
        size <= length[i - 1] &&
        size > 0 &&
        length[i - 1] <= RUN_DATAGRAM_MAX
      ) {
        rows[at + Row.SEGMENT] ||= length[i - 1];
        rows[at + Row.LENGTH] += size;
        end = size === length[i - 1] ? end + size : -1;
        bytes += size;
        continue;
      }
      end = -1;
      if (remoteWords === null && port[i] === 0) {
        skipped++;
        continue;
      }
      at += ROW;
      bytes += size;
      rows[at + Row.START] = offset[i];
      rows[at + Row.LENGTH] = size;
      rows[at + Row.SEGMENT] = 0;
      rows[at + Row.ECN] = ecn;
      setAddress(rows, at + Row.TO, remoteWords ?? addressWords(host[i]), port[i]);
      setAddress(rows, at + Row.FROM, this.locals[local[i]] ?? NO_ADDRESS, 0);
      for (let k = at + Row.DONE; k < at + ROW; k++) rows[k] = 0;
      end = offset[i] + size;
    }
    counters.datagramsSent += count - skipped;
    counters.bytesSent += bytes;
    counters.sendErrors += skipped;
    return (at + ROW) / ROW;
  }

  /** Looks at what became of the rows before `end`, and tells of what was refused once the caller is done. */
  private look(rows: Int32Array, end: number): void {
    for (let at = 0; at < end * ROW; at += ROW) {
      if (rows[at + Row.REFUSED] !== 0 || rows[at + Row.NEWS] !== 0) this.onRefused(rows, at);
    }
  }

  private onRefused(rows: Int32Array, at: number): void {
    const { counters } = this;
    const host = this.remote?.host ?? hostOf(rows, at + Row.TO);
    const port = this.remote?.port ?? rows[at + Row.TO + AddressWord.PORT];
    const news = rows[at + Row.NEWS];
    const refused = rows[at + Row.REFUSED];
    if (news !== 0) {
      const error = systemError(news, 'recvmsg', host, port);
      counters.receiveErrors++;
      countErrorCode(counters, error);
      process.nextTick(() => this.report(error));
    }
    if (refused !== 0) {
      const error = systemError(rows[at + Row.REFUSAL], 'send', host, port);
      const bytes = rows[at + Row.SEGMENT] || rows[at + Row.LENGTH];
      counters.datagramsSent -= refused;
      counters.bytesSent -= rows[at + Row.REFUSED_BYTES];
      counters.sendErrors += refused;
      countErrorCode(counters, error, refused);
      process.nextTick(() => {
        if (error.code !== 'EMSGSIZE') this.report(error);
        else if (this.number >= 0) this.onTooLarge?.(bytes, host, port);
      });
    }
    // What is held is looked at again.
    for (const column of [Row.NEWS, Row.REFUSED, Row.REFUSED_BYTES]) rows[at + column] = 0;
  }

  /**
   * The system says when it has room, except where it is others who fill it: then it is tried again and again, and what still finds no room
   * counts as refused.
   */
  private awaitRoom(rows: Int32Array, first: number): void {
    const at = first * ROW;
    if ((rows[at + Row.STATE] & CROWDED_OUT) === 0) {
      this.crowdedTries = 0;
      return this.native.awaitRoom(this.number);
    }
    rows[at + Row.STATE] &= ~CROWDED_OUT;
    this.crowdedTries++;
    setTimeout(this.tryAgain, CROWDED_MS).unref();
  }

  /** For what is first in the queue there was no room for long enough. */
  private dropFirst(): void {
    this.crowdedTries = 0;
    if (this.held.length === 0) return;
    const { rows, first } = this.held[0];
    const at = first * ROW;
    const segment = rows[at + Row.SEGMENT];
    const bytes = rows[at + Row.LENGTH] - rows[at + Row.DONE];
    rows[at + Row.REFUSED] = segment === 0 ? 1 : Math.ceil(bytes / segment);
    rows[at + Row.REFUSED_BYTES] = bytes;
    rows[at + Row.REFUSAL] = constants.errno.ENOBUFS;
    rows[at + Row.DONE] = rows[at + Row.LENGTH];
    rows[at + Row.STATE] |= IS_OVER;
    this.onRefused(rows, at);
  }

  /** Sends what is held as far as there is room. */
  private resume(): void {
    while (this.held.length > 0) {
      if (this.number < 0) return;
      const { arena, rows, first } = this.held[0];
      const count = rows.length / ROW;
      const next = this.native.send(this.number, arena, rows, first, count);
      this.look(rows, next === count ? count : next + 1);
      if (next < count) {
        this.held[0].first = next;
        return this.awaitRoom(rows, next);
      }
      this.held.shift();
      if (this.held.length === 0) this.onWritable?.();
    }
  }

  // ---- in ----

  private onPoll(received: number, isWritable: boolean): void {
    try {
      if (received > 0) this.handOver(received);
      else if (received < 0) this.onReceiveError(-received);
    } finally {
      if (isWritable) this.resume();
    }
  }

  private handOver(received: number): void {
    const { arrivals, counters, remote } = this;
    const { table } = arrivals;
    this.countOverflows(table[0]);
    try {
      for (let k = 0; k < received; k++) {
        const at = ARRIVAL_HEADER + k * ARRIVAL;
        const length = table[at + Arrival.LENGTH];
        const segment = table[at + Arrival.SEGMENT] || length;
        const port = table[at + Arrival.FROM + AddressWord.PORT];
        const count = length === 0 ? 1 : Math.ceil(length / segment);
        counters.datagramsReceived += count;
        counters.bytesReceived += length;
        if (port === 0 || table[at + Arrival.IS_CUT] !== 0) {
          counters.datagramsDropped += count;
          continue;
        }
        const host = remote?.host ?? hostOf(table, at + Arrival.FROM);
        const local = remote === null ? this.numberOf(table, at + Arrival.TO) : 0;
        arrivals.push(k, segment, host, port, local);
      }
      if (arrivals.batch.count > 0) this.onBatch?.(arrivals.batch);
    } finally {
      arrivals.batch.clear();
    }
  }

  /** The number of the address of this machine that a datagram came to: 0, for as the system sees fit, where there are too many. */
  private numberOf(words: Int32Array, at: number): number {
    if (words[at] === 0) return 0;
    const { locals } = this;
    if (isSameAddress(locals[this.latestLocal], words, at)) return this.latestLocal;
    let number = 1;
    while (number < locals.length && !isSameAddress(locals[number], words, at)) number++;
    if (number === locals.length) number = this.freeLocal();
    if (number === 0) return 0;
    if (!isSameAddress(locals[number], words, at)) {
      locals[number] = words.slice(at, at + ADDRESS_WORDS);
      this.lookIfDue();
      this.isListed[number] = this.listed.has(hostOf(words, at));
    }
    this.latestLocal = number;
    return number;
  }

  /**
   * A number that no address has, else one whose address an interface had and has no more, else 0. Of an address that no interface has, as those
   * of a network that is routed here whole (AnyIP), nobody can tell whether it is gone: it keeps its number, else strangers who send to many of
   * those would have others answered from an address that they did not ask.
   */
  private freeLocal(): number {
    const { locals } = this;
    if (locals.length < OWN_ADDRESSES_MAX) return locals.length;
    if (!this.lookIfDue()) return 0;
    const gone = locals.findIndex(
      (words, number) => this.isListed[number] === true && !this.listed.has(hostOf(words, 0)),
    );
    return Math.max(0, gone);
  }

  /** Looks at the addresses of the interfaces, once a second at most. */
  private lookIfDue(): boolean {
    const now = performance.now();
    if (now < this.lookAgainAtMs) return false;
    this.lookAgainAtMs = now + LOOK_GAP_MS;
    const found = addressesIfTold();
    if (found !== null) this.listed = new Set(found);
    return found !== null;
  }

  private countOverflows(overflows: number): void {
    this.counters.receiveBufferOverflows += (overflows - this.overflows) >>> 0;
    this.overflows = overflows;
  }

  private onReceiveError(errno: number): void {
    const error = systemError(errno, 'recvmsg', this.remote?.host, this.remote?.port);
    this.counters.receiveErrors++;
    countErrorCode(this.counters, error);
    this.report(error);
  }

  private report(error: NodeJS.ErrnoException): void {
    if (this.number < 0 || this.isBroken) return;
    this.isBroken = isFatal(error);
    this.onError?.(error, this.isBroken);
    // Whatever its owner does: the system would tell of it again and again.
    if (this.isBroken) void this.close();
  }

  // ---- its life ----

  hostOfLocal(local: number): string {
    const words = this.locals[local];
    return local === 0 || words === undefined ? this.localHost : hostOf(words, 0);
  }

  localOfHost(host: string): number {
    return this.remote !== null || !isWildcard(this.localHost) || isWildcard(host)
      ? 0
      : this.numberOf(addressWords(host), 0);
  }

  close(): Promise<void> {
    if (this.number >= 0) this.native.close(this.number);
    this.number = -1;
    this.held = [];
    return Promise.resolve();
  }

  ref(): void {
    this.native.reference(this.number, true);
  }

  unref(): void {
    this.native.reference(this.number, false);
  }
}

interface HeldRows {
  readonly arena: Uint8Array;
  readonly rows: Int32Array;
  /** The first that has not left. */
  first: number;
}

/** The table of what is sent, one for all sockets of the thread. */
class Rows {
  words = new Int32Array(0);

  roomFor(count: number): Int32Array {
    if (this.words.length < count * ROW) this.words = new Int32Array(count * ROW);
    return this.words;
  }
}

function setAddress(words: Int32Array, at: number, address: Int32Array, port: number): void {
  words[at] = address[0];
  words[at + AddressWord.PORT] = port;
  for (let i = AddressWord.BYTES; i < ADDRESS_WORDS; i++) words[at + i] = address[i];
}

function isSameAddress(address: Int32Array | undefined, words: Int32Array, at: number): boolean {
  if (address === undefined) return false;
  for (let i = 0; i < ADDRESS_WORDS; i++) if (address[i] !== words[at + i]) return false;
  return true;
}

/** An error as those of Node's own sockets are. */
function systemError(
  errno: number,
  syscall: string,
  address: string | undefined,
  port: number | undefined,
): NodeJS.ErrnoException {
  const code = getSystemErrorName(-errno);
  const at = address === undefined ? '' : ` ${address}:${port}`;
  return Object.assign(new Error(`${syscall} ${code}${at}`), { code, errno: -errno, syscall, address, port });
}

// What C has in its structs of the same names.

const Binding = { LOCAL: 0, PEER: 7, OPTIONS: 14, RECEIVE_BYTES: 15, SEND_BYTES: 16, FAILED_AT: 17 } as const;
const BINDING_WORDS = 18;
const ReuseBit = { ADDRESS: 1, PORT: 2, IPV6_ONLY: 4 } as const;
const CALLS = ['socket', 'bind', 'connect', 'poll'];

const Row = {
  START: 0,
  LENGTH: 1,
  SEGMENT: 2,
  ECN: 3,
  TO: 4,
  FROM: 11,
  DONE: 18,
  REFUSED: 19,
  REFUSED_BYTES: 20,
  REFUSAL: 21,
  NEWS: 22,
  STATE: 23,
} as const;
const ROW = 24;
/** In {@link Row.STATE}: it has left, or was refused. */
const IS_OVER = 8;
/** In {@link Row.STATE}: the system has no room, and not because of what this socket sent. */
const CROWDED_OUT = 16;

/** Larger datagrams do not go in runs, for no two fit into a message. */
const RUN_DATAGRAM_MAX = 32_743;

const NO_ADDRESS = new Int32Array(ADDRESS_WORDS);
const INT32_MAX = 2 ** 31 - 1;
const CROWDED_MS = 1;
const CROWDED_TRIES_MAX = 100;
const ROWS = new Rows();
