import type { ConnectionConfig } from '../../src/protocol/connection/config.ts';
import type { Connection } from '../../src/protocol/connection/connection.ts';
import type { CloseReason } from '../../src/protocol/connection/lifecycle.ts';
import type { EndpointEvent, ServerConfig } from '../../src/protocol/endpoint/index.ts';
import type { ConnectionStream } from '../../src/protocol/stream/connection-stream.ts';
import type { LabDatagram, LabPort } from '../../src/testing/network.ts';
import type { LinkOptions } from '../../src/udp/link.ts';
import { type InteropHost, InteropWorld } from '../sim/interop/interop-world.ts';
import { RESEND_AFTER, type SecondClient } from './second-client.ts';

export interface EchoWorldOptions {
  readonly seed?: number;
  readonly link?: LinkOptions;
  readonly config?: Partial<ConnectionConfig>;
  readonly accept?: Partial<ServerConfig>;
}

/** A server of ours that sends back what comes on a stream, and a client of the second implementation, on a simulated network. */
export class EchoWorld {
  readonly interop: InteropWorld;
  readonly server: InteropHost;
  client: SecondClient | null = null;
  /** Why the server's connection was over. */
  serverClosed: CloseReason | null = null;
  /** Is asked whether a client is let in. */
  onAdmission: (connection: Connection) => void = () => {};
  /** Ids that short packets were seen with, by the address of the client's that they came from, or went to. */
  readonly idsAt = new Map<string, Set<string>>();
  private readonly port: LabPort;
  private other: LabPort | null = null;
  private timer = false;

  constructor({ seed = 1, link = { delayMs: 10 }, config, accept }: EchoWorldOptions = {}) {
    this.interop = new InteropWorld(seed, { crypto: 'real' });
    this.interop.link('second', 'server', link);
    this.server = this.interop.server({ ...(config && { config }), ...(accept && { accept }) });
    this.server.application = (event, now) => this.echo(event, now);
    this.port = this.interop.stranger('second', 4_577, (datagram) => this.onDatagram(datagram, false));
  }

  /** Sends what the client has to send now, and keeps its time. */
  pump(): void {
    const { client } = this;
    if (client === null) return;
    for (const datagram of client.transmitElsewhere(this.interop.now)) this.send(datagram, this.elsewhere());
    const ours = client.hasMoved ? this.elsewhere() : this.port;
    for (const datagram of client.transmit(this.interop.now)) this.send(datagram, ours);
    if (this.timer || !client.isWaiting) return;
    this.timer = true;
    this.interop.world.clock.schedule(this.interop.now + RESEND_AFTER, () => {
      this.timer = false;
      this.pump();
    });
  }

  until(predicate: () => boolean, what: string, ms = 60_000): void {
    this.pump();
    this.interop.until(predicate, ms, what);
  }

  /** An address that the client may move to. */
  private elsewhere(): LabPort {
    this.other ??= this.interop.stranger('elsewhere', 4_577, (datagram) => this.onDatagram(datagram, true));
    return this.other;
  }

  private send(datagram: Buffer, from: LabPort): void {
    const { host, port } = this.server.node.port;
    this.note(from.host, datagram);
    from.send(datagram, host, port);
  }

  /** Of what is seen at an address: under which ids it goes. */
  private note(host: string, datagram: Uint8Array): void {
    if ((datagram[0] & 0x80) !== 0) return;
    const ids = this.idsAt.get(host) ?? new Set();
    this.idsAt.set(host, ids.add(Buffer.from(datagram.subarray(1, 9)).toString('hex')));
  }

  private onDatagram({ data }: LabDatagram, isElsewhere: boolean): void {
    this.note(isElsewhere ? 'elsewhere' : 'second', data);
    this.client?.receive(Buffer.from(data), isElsewhere);
    this.pump();
  }

  private echo(event: EndpointEvent, now: number): void {
    if (event.type === 'closed') this.serverClosed = event.reason;
    if (event.type === 'admission') this.onAdmission(event.connection);
    if (event.type === 'readable') sendBack(event.stream, now);
  }
}

function sendBack(stream: ConnectionStream, now: number): void {
  for (let message = stream.read(now); message !== null; message = stream.read(now)) {
    stream.send(message.slice(), stream.delivery, Number.POSITIVE_INFINITY, false);
  }
  stream.onRead();
  if (stream.receiver.ended) stream.finish();
}
