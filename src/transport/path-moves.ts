/**
 * How a client's connection comes to another address of its machine: by its application's will (`Connection.rebind`), or because the machine
 * lost the address that it was at. A socket is bound there, the core proves the path and moves, and the old socket is closed when what was
 * under way to it has come. [CON-89] [CON-110]
 */

import { JspError } from '../base/errors.ts';
import { checkOptions, type OptionTable, text, whole } from '../base/options.ts';
import { MILLISECOND, type Micros, SECOND } from '../base/time.ts';
import type { Connection as CoreConnection } from '../protocol/endpoint/index.ts';
import { LocalAddress } from '../protocol/endpoint/index.ts';
import { bindSocket } from '../udp/bind-socket.ts';
import type { DatagramSocket } from '../udp/datagram-socket.ts';
import { type InterfaceWatch, interfaces } from '../udp/interfaces.ts';
import type { PathSockets } from '../udp/path-sockets.ts';
import type { Driver } from './driver.ts';

export interface RebindOptions {
  /** Local address to move to. Default: the one that the system chooses now. */
  localHost?: string | undefined;
  /** Local port. Default 0: the system chooses. */
  localPort?: number | undefined;
  /** A socket to move to instead, for one of a lab or of your own; it is closed with the connection. */
  socket?: DatagramSocket | undefined;
}

/** What sockets are bound with beside their address. */
interface SocketSettings {
  readonly receiveBufferBytes?: number | undefined;
  readonly sendBufferBytes?: number | undefined;
}

interface Move {
  readonly number: number;
  resolve(): void;
  reject(error: JspError): void;
}

export class PathMoves {
  private readonly core: CoreConnection;
  private readonly driver: Driver;
  private readonly sockets: PathSockets;
  private readonly settings: SocketSettings;
  private move: Move | null = null;
  private isOver = false;
  /** The last move from an address that is gone: from which socket, and what becomes of it. */
  private escaping: { readonly from: number; readonly outcome: Promise<void> } | null = null;
  private stopWatching = (): void => {};

  constructor(core: CoreConnection, driver: Driver, sockets: PathSockets, settings: SocketSettings) {
    this.core = core;
    this.driver = driver;
    this.sockets = sockets;
    this.settings = settings;
  }

  /** Moves by itself when the machine loses the address of the path in use. */
  follow(watch: InterfaceWatch = interfaces): void {
    this.stopWatching();
    if (this.isOver) return;
    const address = new LocalAddress(this.sockets.localHost, this.core.path.host);
    this.stopWatching = watch.watch((addresses) => {
      if (address.onAddresses(addresses)) this.escape().catch(() => {}); // the connection ends by its heartbeats, if it does
    });
  }

  /** Moves from an address that is gone. Resolves when the server was heard from where the connection is then; several calls are one, until it is elsewhere. */
  escape(): Promise<void> {
    const from = this.core.path.local;
    if (this.escaping?.from === from) return this.escaping.outcome;
    const outcome = this.moveAndHear();
    this.escaping = { from, outcome };
    outcome.catch(() => {
      if (this.escaping?.outcome === outcome) this.escaping = null;
    });
    return outcome;
  }

  private async moveAndHear(): Promise<void> {
    await this.rebind({}, true);
    const { driver } = this;
    const movedAt = driver.now();
    const { path } = this.core;
    const { local } = path;
    while (!path.isHeard) {
      if (this.isOver) throw connectionOver();
      if (path.local !== local) return; // it moved on, which has an outcome of its own
      if (driver.now() > movedAt + WAIT_MAX) throw pathFailed('nothing came by it');
      await new Promise<void>((resolve) => driver.clock.setTimer(driver.now() + AGAIN, resolve));
    }
  }

  /**
   * Resolves when packets go the new way.
   * @param isOldGone - the old one carries nothing any more
   */
  async rebind(options: RebindOptions, isOldGone = false): Promise<void> {
    checkOptions('rebind', options, REBIND_OPTIONS);
    const socket = options.socket ?? (await this.bind(options));
    if (this.isOver) {
      await socket.close();
      throw connectionOver();
    }
    const number = this.sockets.add(socket);
    this.move?.reject(pathFailed('another address was asked for meanwhile'));
    const proved = new Promise<void>((resolve, reject) => {
      this.move = { number, resolve, reject };
    });
    this.begin(number, socket.localHost === this.sockets.localHost, isOldGone, this.driver.now() + WAIT_MAX);
    try {
      await proved;
    } catch (error) {
      if (this.core.path.local !== number) this.sockets.remove(number);
      throw error;
    }
  }

  /** Packets go another way. */
  onPath(): void {
    const { clock } = this.driver;
    const { move } = this;
    const { local } = this.core.path;
    this.sockets.use(local);
    this.follow();
    if (move !== null && move.number === local) {
      this.move = null;
      move.resolve();
    }
    // What was under way to the old address comes until then.
    const { probeTimeoutMs } = this.core.metrics(this.driver.now());
    clock.setTimer(this.driver.now() + Math.max(3 * probeTimeoutMs * MILLISECOND, SECOND), () => {
      if (!this.isOver && this.move === null) this.sockets.removeOthers();
    });
  }

  onPathFailed(local: number): void {
    if (this.move?.number === local) this.fail(pathFailed('no answer came from there'));
    else this.sockets.remove(local);
  }

  onOver(): void {
    this.isOver = true;
    this.stopWatching();
    if (this.move !== null) this.fail(connectionOver());
  }

  /** There may be no id for the new path yet: then once more after a while. */
  private begin(local: number, isSameHost: boolean, isOldGone: boolean, until: Micros): void {
    if (this.isOver || this.move?.number !== local) return;
    const { clock } = this.driver;
    const now = this.driver.now();
    const outcome = this.core.device.migrate({ local, isOldGone, isSameHost }, now);
    this.driver.wake();
    if (outcome === 'begun') return;
    if (outcome === 'forbidden')
      return this.fail(pathFailed('the server wants its clients to stay at their addresses'));
    if (now >= until) return this.fail(pathFailed('the server gave no connection id to use there'));
    clock.setTimer(now + AGAIN, () => this.begin(local, isSameHost, isOldGone, until));
  }

  private fail(error: JspError): void {
    const { move } = this;
    this.move = null;
    move?.reject(error);
  }

  private bind({ localHost, localPort }: RebindOptions): Promise<DatagramSocket> {
    const { host, port } = this.core.path;
    return bindSocket({
      connectTo: { host, port },
      host: localHost,
      port: localPort,
      receiveBufferBytes: this.settings.receiveBufferBytes,
      sendBufferBytes: this.settings.sendBufferBytes,
    });
  }
}

function pathFailed(why: string): JspError {
  return new JspError(
    'ERR_JSP_PATH_FAILED',
    `the connection does not move to the other address, and stays where it is: ${why}`,
  );
}

function connectionOver(): JspError {
  return new JspError('ERR_JSP_CLOSED', 'the connection is closed');
}

const REBIND_OPTIONS: OptionTable<RebindOptions> = {
  localHost: text,
  localPort: whole(0, 65_535),
  socket: () => null,
};
const AGAIN: Micros = 20 * MILLISECOND;
const WAIT_MAX: Micros = 3 * SECOND;
