/** The MQTT door of a broker: a listener of TCP or TLS, and those who come by it. [MQT-1] */

import { createServer, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import type { JspError } from '../../base/errors.ts';
import { fromSystem } from '../../base/ip-address.ts';
import { checkOptions, number, type OptionTable } from '../../base/options.ts';
import { abortSignal } from '../../transport/abort.ts';
import { IsolatedEmitter } from '../../transport/listeners.ts';
import { systemClock } from '../../udp/clock.ts';
import { CutOff } from '../cut-off.ts';
import { Listener, type PreparedCertificate } from '../listener.ts';
import { readTls } from '../options.ts';
import { MqttClients } from './clients.ts';
import { limitsOf, type MqttCounters } from './limits.ts';
import {
  checkMqttOptions,
  DEFAULT_MQTT_HOST,
  DEFAULT_MQTT_PORT,
  DEFAULT_MQTT_TLS_PORT,
  type MqttOptions,
} from './options.ts';
import { TcpClient } from './wire.ts';

export interface MqttCloseOptions {
  /** Cuts off who is still there after so long, in ms; default 5,000. Of several calls the one counts that is the first to be over. */
  drainMs?: number | undefined;
  /** Closes at once when it fires, or has fired. */
  signal?: AbortSignal | undefined;
}

/** Figures of an MQTT door. */
export type MqttMetrics = Readonly<MqttCounters> & {
  /** Sockets that are open. */
  readonly connections: number;
};

interface MqttEvents {
  /** The socket failed for good: the door is over. Not thrown when nobody listens for it. */
  error: [error: JspError];
  close: [];
  /** A fault of the door itself, or of its machine, which has cost one client its connection. */
  fault: [error: unknown];
}

/**
 * Lets clients of MQTT 5, 3.1.1 and 3.1 in to a broker of this process. Resolves when they can connect.
 *
 * @throws {JspError} ERR_JSP_OPTION_INVALID; ERR_JSP_SOCKET when its address cannot be bound
 * @example
 * const mqtt = await startMqtt({ broker });
 * console.log(mqtt.url);
 */
export async function startMqtt(options: MqttOptions): Promise<MqttDoor> {
  checkMqttOptions(options);
  const door = doorOf(options);
  const { host = DEFAULT_MQTT_HOST, tls } = options;
  const { port = tls === undefined ? DEFAULT_MQTT_PORT : DEFAULT_MQTT_TLS_PORT } = options;
  await door.listen(host, port);
  return door.face;
}

/** The constructor of {@link MqttDoor}, and its way to the socket, which are nobody else's. */
let doorOf: (options: MqttOptions) => {
  readonly face: MqttDoor;
  listen(host: string, port: number): Promise<void>;
};

/** A door that listens. */
export class MqttDoor extends IsolatedEmitter<MqttEvents> {
  private readonly clients: MqttClients;
  private readonly listener: Listener;
  private readonly cutOff: CutOff;
  /** All that were accepted: of one that speaks TLS what is below that. */
  private readonly accepted = new Set<Socket>();
  private closing: Promise<void> | null = null;
  private stopShowing: (() => void) | null = null;

  static {
    doorOf = (options) => {
      const face = new MqttDoor(options);
      return { face, listen: (host, port) => face.listen(host, port) };
    };
  }

  private constructor({ broker, tls, limits: given, clock = systemClock }: MqttOptions) {
    super();
    const limits = limitsOf(given);
    const onFault = (error: unknown): void => void this.tell('fault', error);
    this.clients = new MqttClients(broker, limits, clock, onFault);
    this.cutOff = new CutOff(clock, () => {
      for (const socket of this.accepted) socket.destroy();
    });
    const accept = (socket: Socket): void => this.accept(socket);
    const server =
      tls === undefined
        ? createServer({ noDelay: true }, accept)
        : createTlsServer({ ...readTls(tls), handshakeTimeout: limits.connectMs }, accept);
    // A stranger's. Node closes his socket where the handshake fails, and not where it takes too long. [MQT-5]
    server.on('tlsClientError', (_, socket: Socket) => socket.destroy());
    server.on('connection', (socket: Socket) => {
      this.accepted.add(socket);
      socket.on('close', () => this.accepted.delete(socket));
    });
    server.maxConnections = limits.connectionsMax;
    this.listener = new Listener(server, tls, 'the MQTT door');
  }

  /** What clients are pointed at, such as `mqtt://127.0.0.1:1883`. */
  get url(): string {
    return this.listener.url('mqtt');
  }

  get host(): string {
    return this.listener.host;
  }

  get port(): number {
    return this.listener.port;
  }

  metrics(): MqttMetrics {
    return { ...this.clients.counters, connections: this.clients.size };
  }

  /**
   * Takes a renewed certificate from its files: new connections see it, those that are open stay as they are.
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID where they cannot be read, or do not go together; then nothing changes
   */
  reload(): void {
    this.prepareReload().use();
  }

  /**
   * Reads the renewed certificate and looks at it, and changes nothing: for who renews several, so that all are taken, or none.
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID where it cannot be read, or does not go with its key
   */
  prepareReload(): PreparedCertificate {
    return this.listener.prepareReload();
  }

  /** Takes nobody any more, tells those who are connected, and closes. Resolves when it is closed; the broker goes on. */
  close(options: MqttCloseOptions = {}): Promise<void> {
    checkOptions('MqttDoor.close', options, CLOSE_OPTIONS);
    this.closing ??= this.drainAndClose();
    return this.cutOff.during(this.closing, options.drainMs ?? DRAIN_MS, options.signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  private accept(socket: Socket): void {
    if (this.closing !== null) socket.destroy();
    else this.clients.add(new TcpClient(this.clients, socket, fromSystem(socket.remoteAddress ?? '')));
  }

  private async listen(host: string, port: number): Promise<void> {
    const failed = (error: JspError): void => {
      this.tell('error', error);
      void this.close({ drainMs: 0 });
    };
    await this.listener.listen(host, port, failed, (error) => this.tell('fault', error));
    this.stopShowing = this.clients.show();
  }

  private async drainAndClose(): Promise<void> {
    const closed = this.listener.close();
    await this.clients.leave();
    await closed;
    this.cutOff.end();
    this.clients.close();
    this.stopShowing?.();
    this.tell('close');
  }
}

const DRAIN_MS = 5_000;
const CLOSE_OPTIONS: OptionTable<MqttCloseOptions> = {
  drainMs: number(0, Number.POSITIVE_INFINITY),
  signal: abortSignal,
};
