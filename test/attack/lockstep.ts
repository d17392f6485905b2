import { Prng } from '../../src/base/random.ts';
import type { Connection } from '../../src/protocol/connection/connection.ts';
import { Endpoint } from '../../src/protocol/endpoint/endpoint.ts';
import { LOCAL_ID_BYTES } from '../../src/protocol/endpoint/routing.ts';
import { PacketHeader, parsePacketHeader } from '../../src/protocol/wire/packet-header.ts';
import { internalsOf } from '../protocol/connection/internals.ts';
import { connectionsOf } from '../protocol/connection/packet-log.ts';
import { config, IDENTITY, PORT } from '../protocol/connection/pair.ts';
import { drain, hand, serverEndpoint } from '../protocol/endpoint/first-flights.ts';

/** A client and a server whose packets pass by hand, one by one, at one point in time. */
export class Lockstep {
  readonly server: Endpoint;
  readonly client: Endpoint;
  readonly clientCore: Connection;
  /** Packets on their way, each a datagram of its own. */
  readonly toServer: Uint8Array[] = [];
  readonly toClient: Uint8Array[] = [];
  /** All that was sent, with who sent it. */
  readonly record: { from: 'client' | 'server'; data: Uint8Array }[] = [];
  now = 1_000_000;

  constructor(seed = 1) {
    this.server = serverEndpoint({}, seed);
    this.client = new Endpoint({ connection: config(), random: new Prng(seed + 1), server: null });
    this.clientCore = this.client.connect(
      { host: 'server', port: PORT, pin: IDENTITY.fingerprint, isLoopback: false },
      this.now,
    );
  }

  get serverCore(): Connection {
    const [connection] = connectionsOf(this.server);
    if (connection === undefined) throw new Error('the server has no connection');
    return connection;
  }

  /** Takes what both want to send. */
  collect(): void {
    for (const [endpoint, queue, from] of [
      [this.client, this.toServer, 'client'],
      [this.server, this.toClient, 'server'],
    ] as const) {
      for (const data of drain(endpoint, this.now)) {
        this.record.push({ from, data });
        queue.push(...packetsOf(data));
      }
    }
  }

  /** Lets all pass, with `before` called for each packet before it is delivered. */
  run(before: (packet: Uint8Array, to: Endpoint, side: 'client' | 'server') => void = () => {}): void {
    this.collect();
    while (this.toServer.length + this.toClient.length > 0) {
      const isToServer = this.toServer.length > 0;
      const packet = (isToServer ? this.toServer : this.toClient).shift() as Uint8Array;
      const to = isToServer ? this.server : this.client;
      before(packet, to, isToServer ? 'server' : 'client');
      this.deliver(packet, to);
      this.collect();
    }
  }

  /** Lets time pass, with what is due because of it. */
  pass(micros: number): void {
    this.now += micros;
    for (const endpoint of [this.client, this.server]) {
      if (endpoint.nextTimeout() <= this.now) endpoint.timeout(this.now);
    }
    this.collect();
  }

  /** Hands a copy of a datagram to an endpoint. */
  deliver(data: Uint8Array, to: Endpoint): void {
    hand(to, [data], this.now, to === this.server ? 'client' : 'server', PORT);
  }
}

/** All datagrams and packets that an endpoint and its connections dropped so far. */
export function dropsOf(endpoint: Endpoint): number {
  const { counters } = endpoint;
  let drops =
    counters.droppedMalformed +
    counters.droppedVersion +
    counters.droppedUnknownId +
    counters.droppedUnopened +
    counters.droppedUnpinned +
    counters.droppedShortInitial +
    counters.droppedRepeatedInitial +
    counters.droppedInitialPace +
    counters.droppedHalfOpenLimit +
    counters.droppedConnectionLimit +
    counters.droppedUnsupported;
  for (const { counters: counted } of connectionsOf(endpoint)) {
    drops += counted.packetsUnopened + counted.packetsReplayed + counted.packetsUnbuffered;
  }
  return drops;
}

/** What of an endpoint must not change because of packets that are dropped. */
export function stateOf(endpoint: Endpoint): unknown[] {
  return connectionsOf(endpoint).map((connection) => {
    const { counters, ids, lifecycle, path, streams } = connection;
    const { spaces } = internalsOf(connection);
    return {
      spaces: spaces.map((space) =>
        space === null
          ? null
          : [
              space.nextNumber,
              space.replay.largest,
              space.acks.largest,
              space.acks.ranges.total,
              internalsOf(connection).keys.toSeal(space.space) !== null,
            ],
      ),
      received: counters.packetsReceived,
      streams: [...streams.values()].map(({ id, receiver, sender }) => [
        id,
        receiver.readable,
        sender.queue.bytes,
      ]),
      messages: streams.receiveCounts.messages,
      state: lifecycle.state,
      inFlight: path.bytesInFlight,
      window: path.congestion.window,
      remoteId: Buffer.from(ids.destinationId).toString('hex'),
      isValidated: path.validation.isValidated,
    };
  });
}

/** The packets of a datagram, each as a datagram of its own, which is as good. */
function packetsOf(data: Uint8Array): Uint8Array[] {
  const header = new PacketHeader();
  const packets: Uint8Array[] = [];
  for (let at = 0; at < data.length; at = header.end) {
    if (!parsePacketHeader(header, data, at, data.length, LOCAL_ID_BYTES)) throw new Error('malformed');
    packets.push(data.slice(at, header.end));
  }
  return packets;
}
