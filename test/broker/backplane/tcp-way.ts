/** A way between TCP clients and a server that can be cut: then nothing passes, and nobody is told. */

import { connect, createServer, type Server, type Socket } from 'node:net';

export class TcpWay {
  private readonly target: number;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private isCut = false;

  private constructor(target: number) {
    this.target = target;
    this.server = createServer((near) => this.join(near));
  }

  /** @param target - port of the server, on the loopback interface */
  static async to(target: number): Promise<TcpWay> {
    const way = new TcpWay(target);
    await new Promise<void>((resolve) => way.server.listen(0, '127.0.0.1', resolve));
    return way;
  }

  /** What clients connect to. */
  get port(): number {
    const address = this.server.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** What is sent from now on does not arrive; who connects hears nothing. */
  cut(): void {
    this.isCut = true;
    for (const socket of this.sockets) socket.pause();
  }

  /** New connections pass. Those of before are reset, as a host does that has forgotten them; or, with `keep`, go on with what was sent meanwhile. */
  mend({ keep = false } = {}): void {
    this.isCut = false;
    for (const socket of this.sockets) {
      if (keep) socket.resume();
      else socket.resetAndDestroy();
    }
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private join(near: Socket): void {
    const far = connect(this.target, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      this.sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes: Buffer) => {
        if (!to.write(bytes)) from.pause();
      });
      to.on('drain', () => {
        if (!this.isCut) from.resume();
      });
      from.on('error', () => {});
      from.on('close', () => {
        this.sockets.delete(from);
        to.destroy();
      });
      if (this.isCut) from.pause();
    }
  }
}
