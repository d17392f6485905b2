import { JspError } from '../../base/errors.ts';
import type { Micros } from '../../base/time.ts';
import type { Path } from '../path/path.ts';
import type { QlogTrace } from '../trace/qlog-trace.ts';
import type { Lifecycle } from './lifecycle.ts';

/** What the application is told of the size of packets. */
export type PacketSizeNews =
  /** The handshake is complete: the peer is who it should be. */
  | { readonly type: 'connected' }
  /** The size of datagrams changed. */
  | { readonly type: 'mtu'; readonly mtu: number; readonly previous: number }
  /** A size of datagrams that the application asked for is in use, or is not carried. */
  | { readonly type: 'mtuSettled'; readonly bytes: number; readonly isCarried: boolean };

interface PacketSizeParts {
  readonly isClient: boolean;
  /** The size to begin with, which the application knows of. */
  readonly mtu: number;
  readonly lifecycle: Lifecycle;
  /** Cuts messages to it. */
  readonly packer: { onPacketSize(bytes: number): void };
  readonly path: Path;
  /** Null when nobody looks on. */
  readonly trace: QlogTrace | null;
}

interface PacketSizeHost {
  tell(news: PacketSizeNews): void;
  touch(): void;
}

/**
 * The size of the packets of a connection: which one the application asked for, what becomes of that, and what follows for all when the one in use changes. What the
 * path carries is found by its `mtuDiscovery`.
 */
export class PacketSize {
  /** The handshake is complete, and the application is told when the size is as it has to be. */
  private isConnectedDue = false;
  /** The size that the application asked for last and was not answered for yet, or 0. */
  private asked = 0;
  /** The size that the application knows of. */
  private told: number;
  private readonly parts: PacketSizeParts;
  private readonly host: PacketSizeHost;

  constructor(parts: PacketSizeParts, host: PacketSizeHost) {
    this.parts = parts;
    this.host = host;
    this.told = parts.mtu;
  }

  /** Packets of this size from now on; the event `mtuSettled` tells when, and whether the path carries them. [REC-95] */
  use(bytes: number, now: Micros): void {
    this.asked = bytes;
    const isChanged = this.parts.path.mtuDiscovery.ask(bytes);
    if (isChanged) this.onChanged(now);
    else this.settle();
    this.host.touch();
  }

  /** The system did not take a datagram of this size; 0: it heard that one of any size was larger than the path carries in one piece. [REC-53] */
  onRefused(bytes: number, now: Micros): void {
    const { mtuDiscovery } = this.parts.path;
    const isChanged = bytes === 0 ? mtuDiscovery.onTooLarge() : mtuDiscovery.onRefused(bytes, now);
    if (isChanged) this.onChanged(now);
    this.onGivenUp(now);
  }

  /** The size in use changed: packets are cut to it from now on. [REC-43] */
  onChanged(now: Micros): void {
    const { lifecycle, packer, path, trace } = this.parts;
    path.onMtu(now);
    trace?.mtu(path.mtu, now);
    packer.onPacketSize(path.mtu);
    if (this.isConnectedDue) this.onConnected();
    else if (lifecycle.isEstablished) this.tell();
    this.settle();
  }

  /** A size was given up, perhaps that which is to be used. */
  onGivenUp(now: Micros): void {
    if (this.parts.path.mtuDiscovery.isBelowExact) this.failExact(now);
    this.settle();
  }

  /** Tells that the handshake is complete; a client that is to use exactly its size does once the path has carried it. [REC-52] */
  onConnected(): void {
    const { isClient, path } = this.parts;
    this.isConnectedDue = isClient && path.mtuDiscovery.isBelowExact;
    if (this.isConnectedDue) return;
    this.host.tell({ type: 'connected' });
    this.tell();
  }

  /** The path does not carry, or the peer does not take, packets of the size that is to be used. [REC-52] */
  failExact(now: Micros): void {
    const reason = `the path does not carry datagrams of ${this.parts.mtu} bytes, or the peer does not take them`;
    const cause = new JspError(
      'ERR_JSP_MTU_NOT_CARRIED',
      `${reason}: ask for exactly a smaller size, or pass the size alone to let it shrink where it must`,
    );
    this.parts.lifecycle.giveUp(cause, reason, now);
  }

  private tell(): void {
    const { mtu } = this.parts.path;
    const previous = this.told;
    if (mtu === previous) return;
    this.told = mtu;
    this.host.tell({ type: 'mtu', mtu, previous });
  }

  /** Tells what became of the size that was asked for, once that is known. */
  private settle(): void {
    const { mtu, mtuDiscovery } = this.parts.path;
    if (this.asked === 0 || mtuDiscovery.isSought) return;
    const bytes = this.asked;
    this.asked = 0;
    this.host.tell({ type: 'mtuSettled', bytes, isCarried: mtu === bytes });
  }
}
