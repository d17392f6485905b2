import type { Prng } from '../base/random.ts';
import type { Micros } from '../base/time.ts';
import { EcnCodepoint } from '../protocol/datagram/index.ts';
import { Link, type LinkOptions } from '../udp/link.ts';
import type { VirtualClock } from './virtual-clock.ts';

/** A datagram that has arrived, with when and from where it was sent. Its bytes belong to the receiver. */
export interface LabDatagram {
  readonly data: Uint8Array;
  /** The sender's address as the receiver sees it. */
  readonly host: string;
  readonly port: number;
  readonly sentAt: Micros;
  readonly arrivedAt: Micros;
  /** The ECN codepoint that it arrived with. */
  readonly ecn: EcnCodepoint;
}

/** What the network did with datagrams apart from what its links did. */
export interface NetworkCounters {
  sent: number;
  delivered: number;
  /** Nobody had the destination's address when the datagram arrived. */
  droppedUnreachable: number;
  /** Source and destination were on different sides of a cut. */
  droppedCut: number;
}

/**
 * Hosts and the links between them. A port has a home, which decides the links its datagrams take, and an address, which is
 * what others see: {@link LabPort.rebind} changes only the address, as a NAT does.
 */
export class Network {
  readonly counters: NetworkCounters = { sent: 0, delivered: 0, droppedUnreachable: 0, droppedCut: 0 };
  /** Sees every datagram as it is sent, before any link does: a capture. It must not keep `data`, which is reused. */
  tap: ((data: Uint8Array, from: LabPort, host: string, port: number, now: Micros) => void) | null = null;
  private readonly clock: VirtualClock;
  private readonly random: Prng;
  private readonly linkDefaults: LinkOptions;
  /** By the host that they lead from, then by that which they lead to. */
  private readonly links = new Map<string, Map<string, Link>>();
  private readonly cuts = new Set<string>();
  private readonly ports = new Map<string, LabPort>();
  private nextPort = FIRST_PORT;

  /** @param linkDefaults - options of each link that is not described by {@link connect} */
  constructor(clock: VirtualClock, random: Prng, linkDefaults: LinkOptions = {}) {
    this.clock = clock;
    this.random = random;
    this.linkDefaults = linkDefaults;
  }

  /** Gives `host` a port that receives; port 0 takes a free one. */
  open(host: string, port: number, receive: (datagram: LabDatagram) => void): LabPort {
    const number = port === 0 ? this.freePort(host) : port;
    const opened = new LabPort(this, host, number, receive);
    this.register(opened, host, number);
    return opened;
  }

  /** The link from one host to another, made with the default options when it is first asked for. */
  link(from: string, to: string): Link {
    let leading = this.links.get(from);
    if (leading === undefined) {
      leading = new Map();
      this.links.set(from, leading);
    }
    let link = leading.get(to);
    if (link === undefined) {
      link = new Link(this.random.fork(), this.linkDefaults);
      leading.set(to, link);
    }
    return link;
  }

  /** Changes the links between two hosts in both directions, or differently in each. */
  connect(a: string, b: string, options: LinkOptions, back: LinkOptions = options): void {
    this.link(a, b).change(options, this.clock.now());
    this.link(b, a).change(back, this.clock.now());
  }

  /** Lets nothing more pass between these hosts and all others; what is under way arrives. */
  cut(...hosts: readonly string[]): void {
    for (const host of hosts) this.cuts.add(host);
  }

  /** Undoes {@link cut} for these hosts, or for all. */
  mend(...hosts: readonly string[]): void {
    if (hosts.length === 0) this.cuts.clear();
    for (const host of hosts) this.cuts.delete(host);
  }

  /** Sends a copy of `data`. For {@link LabPort}. */
  send(from: LabPort, data: Uint8Array, host: string, port: number, ecn: EcnCodepoint): void {
    this.counters.sent++;
    const sentAt = this.clock.now();
    this.tap?.(data, from, host, port, sentAt);
    const home = this.ports.get(address(host, port))?.home ?? host;
    if (this.cuts.has(from.home) !== this.cuts.has(home)) {
      this.counters.droppedCut++;
      return;
    }
    const source = { host: from.host, port: from.port };
    for (const arrival of this.link(from.home, home).send(data, sentAt, ecn)) {
      const { at: arrivedAt } = arrival;
      this.clock.schedule(arrivedAt, () => {
        this.deliver({ data: arrival.data, ...source, sentAt, arrivedAt, ecn: arrival.ecn }, host, port);
      });
    }
  }

  /** Gives a port another address. For {@link LabPort}. */
  register(owner: LabPort, host: string, port: number): void {
    const key = address(host, port);
    const holder = this.ports.get(key);
    if (holder !== undefined && holder !== owner) throw new RangeError(`the address ${key} is in use`);
    this.unregister(owner);
    this.ports.set(key, owner);
  }

  /** Takes a port's address away. For {@link LabPort}. */
  unregister(owner: LabPort): void {
    const key = address(owner.host, owner.port);
    if (this.ports.get(key) === owner) this.ports.delete(key);
  }

  /** A port number of `host` that is free now. */
  freePort(host: string): number {
    while (this.ports.has(address(host, this.nextPort))) this.nextPort++;
    return this.nextPort++;
  }

  private deliver(datagram: LabDatagram, host: string, port: number): void {
    const receiver = this.ports.get(address(host, port));
    if (receiver === undefined) {
      this.counters.droppedUnreachable++;
      return;
    }
    this.counters.delivered++;
    receiver.receive(datagram);
  }
}

/** One UDP port of one host. */
export class LabPort {
  /** The host it was opened on, whose links it uses. */
  readonly home: string;
  /** Its address as others see it. */
  host: string;
  port: number;
  readonly receive: (datagram: LabDatagram) => void;
  private readonly network: Network;

  constructor(network: Network, host: string, port: number, receive: (datagram: LabDatagram) => void) {
    this.network = network;
    this.home = host;
    this.host = host;
    this.port = port;
    this.receive = receive;
  }

  send(data: Uint8Array, host: string, port: number, ecn: EcnCodepoint = EcnCodepoint.NOT_ECT): void {
    this.network.send(this, data, host, port, ecn);
  }

  /** Changes the address that others see; datagrams to the old one reach nobody. Port 0 takes a free one. */
  rebind(host: string, port: number): void {
    const number = port === 0 ? this.network.freePort(host) : port;
    this.network.register(this, host, number);
    this.host = host;
    this.port = number;
  }

  close(): void {
    this.network.unregister(this);
  }
}

function address(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Where the ports begin that the network chooses (RFC 6335). */
const FIRST_PORT = 49_152;
