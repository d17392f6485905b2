import type { ConnectionConfig } from '../../src/protocol/connection/config.ts';
import type { Connection } from '../../src/protocol/connection/connection.ts';
import type { CloseReason } from '../../src/protocol/connection/lifecycle.ts';
import type { EndpointEvent, ServerConfig } from '../../src/protocol/endpoint/index.ts';
import type { ConnectionStream } from '../../src/protocol/stream/connection-stream.ts';
import type { LabDatagram } from '../../src/testing/network.ts';
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
  private readonly port;
  private timer = false;

  constructor({ seed = 1, link = { delayMs: 10 }, config, accept }: EchoWorldOptions = {}) {
    this.interop = new InteropWorld(seed, { crypto: 'real' });
    this.interop.link('second', 'server', link);
    this.server = this.interop.server({ ...(config && { config }), ...(accept && { accept }) });
    this.server.application = (event, now) => this.echo(event, now);
    this.port = this.interop.stranger('second', 4_577, (datagram) => this.onDatagram(datagram));
  }

  /** Sends what the client has to send now, and keeps its time. */
  pump(): void {
    const { client } = this;
    if (client === null) return;
    const { host, port } = this.server.node.port;
    for (const datagram of client.transmit(this.interop.now)) this.port.send(datagram, host, port);
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

  private onDatagram({ data }: LabDatagram): void {
    this.client?.receive(Buffer.from(data));
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
