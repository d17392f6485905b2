/**
 * A client and a server of the real transport on a network in virtual time: what happens is what the library does, not a model of it, and
 * the same seed gives the same figures, to the byte and the microsecond.
 */
import { Prng } from '../base/random.ts';
import { MILLISECOND, type Micros } from '../base/time.ts';
import { Identity } from '../protocol/crypto/index.ts';
import { Lab, type Link, type LinkOptions } from '../testing/index.ts';
import { connect } from '../transport/connect.ts';
import type { Connection } from '../transport/connection.ts';
import { listen } from '../transport/listen.ts';
import type { TransportOptions } from '../transport/options.ts';

/** What the path does to datagrams, in both directions. */
export interface PathOptions {
  /** Decides everything that happens by chance. */
  readonly seed: number;
  /** Round trip of a path without jitter. */
  readonly rttMs: number;
  /** Share of datagrams that is lost, from 0 to 1. */
  readonly loss: number;
  /** Mean length of a run of lost datagrams; 1 loses each by itself. */
  readonly burst: number;
  /** Most that is added at random to the time one way; datagrams keep their order. */
  readonly jitterMs: number;
  /** Share of datagrams that is held back for 10 ms, from 0 to 1. */
  readonly reorder: number;
  /** 0: as fast as one likes. */
  readonly bitsPerSecond: number;
  /** Bytes that wait before the rate. */
  readonly queueBytes: number;
}

export const PERFECT_PATH: PathOptions = {
  seed: 1,
  rttMs: 50,
  loss: 0,
  burst: 1,
  jitterMs: 0,
  reorder: 0,
  bitsPerSecond: 0,
  queueBytes: 256 * 1024,
};

/** Datagrams and bytes of IP packets that were handed to a path. */
export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}

/** The two ends of a path and the lab that it is in. */
export class LabPath {
  readonly lab: Lab;
  readonly client: Connection;
  readonly server: Connection;
  private readonly options: PathOptions;

  private constructor(lab: Lab, client: Connection, server: Connection, options: PathOptions) {
    this.lab = lab;
    this.client = client;
    this.server = server;
    this.options = options;
  }

  /**
   * Connects over a path that loses nothing, and lets the losses begin when both sides have said what they have to say.
   *
   * @param transport - options of the client, and of the server where that has none of its own
   */
  static async open(
    path: PathOptions,
    transport: TransportOptions = {},
    server: TransportOptions = transport,
  ): Promise<LabPath> {
    const { seed, rttMs } = path;
    const lab = new Lab({ seed, link: { delayMs: rttMs / 2 }, instantsMax: Number.POSITIVE_INFINITY });
    const { clock, random } = lab;
    const listener = await listen({
      ...server,
      identity: Identity.generate(new Prng(seed)),
      socket: lab.socket({ host: SERVER, port: PORT }),
      clock,
      random,
    });
    const accepted = new Promise<Connection>((resolve) => {
      listener.on('connection', resolve);
    });
    const socket = lab.socket({ host: CLIENT, port: PORT, connectTo: { host: SERVER, port: PORT } });
    const url = new URL(listener.url);
    url.hostname = SERVER;
    const connecting = connect(url.href, { ...transport, socket, clock, random });
    const client = await lab.settle(connecting);
    const serving = await lab.settle(accepted);
    await lab.run(rttMs + SETTLE_MS);
    const opened = new LabPath(lab, client, serving, path);
    lab.network.connect(CLIENT, SERVER, linkOptions(path));
    return opened;
  }

  get now(): Micros {
    return this.lab.now;
  }

  /** Time of a datagram from one end to the other, when nothing is in its way. */
  get oneWayMs(): number {
    return this.options.rttMs / 2;
  }

  /** What the client has sent so far. */
  get up(): Traffic {
    return trafficOf(this.link(CLIENT, SERVER));
  }

  /** What the server has sent so far. */
  get down(): Traffic {
    return trafficOf(this.link(SERVER, CLIENT));
  }

  /** Where the client is on the network. */
  get clientHost(): string {
    return CLIENT;
  }

  /** The way to the server, with counters of its own. */
  get uplink(): Link {
    return this.link(CLIENT, SERVER);
  }

  /** Lets virtual time pass until this instant. */
  async runUntil(at: Micros): Promise<void> {
    if (at > this.now) await this.lab.run((at - this.now) / MILLISECOND);
  }

  private link(from: string, to: string): Link {
    return this.lab.network.link(from, to);
  }
}

/** Runs of lost datagrams are those of a link that turns bad and good again by chance (Gilbert). */
function linkOptions(path: PathOptions): LinkOptions {
  const { loss, burst, bitsPerSecond } = path;
  const leave = 1 / burst;
  return {
    delayMs: path.rttMs / 2,
    jitterMs: path.jitterMs,
    reorder: path.reorder,
    reorderHoldMs: REORDER_HOLD_MS,
    loss: burst > 1 ? 0 : loss,
    burstLoss: burst > 1 ? { enter: (leave * loss) / (1 - loss), leave } : undefined,
    bitsPerSecond: bitsPerSecond > 0 ? bitsPerSecond : undefined,
    queueBytesMax: path.queueBytes,
  };
}

function trafficOf({ counters }: Link): Traffic {
  return { packets: counters.sent, bytes: counters.sentBytes + counters.sent * IP_UDP_BYTES };
}

const CLIENT = '10.0.0.2';
const SERVER = '10.0.0.1';
const PORT = 4_577;
/** Until the last of the handshake is acknowledged. */
const SETTLE_MS = 100;
const REORDER_HOLD_MS = 10;
/** Headers of IPv4 and UDP, which a link carries and a socket does not see. */
const IP_UDP_BYTES = 28;
