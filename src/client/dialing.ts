/** How a client gets a connection: to one of the addresses of its broker after the other, or the one that it was given. */

import type { JspError } from '../base/errors.ts';
import type { ConnectOptions } from '../transport/connect.ts';
import type { Dialer } from './life.ts';
import { isFinalEnd } from './life.ts';
import { type ClientConnection, Link } from './link.ts';

/** How a connection is made: `connect` of the transport, or what is in its place. */
export type Connect = (url: string, options: ConnectOptions) => Promise<ClientConnection>;

/** Connects to the URLs of a broker, in turn. [CLT-3] */
export class UrlDialer implements Dialer {
  private readonly connect: Connect;
  private readonly urls: readonly string[];
  private readonly options: ConnectOptions;
  private readonly takesLanes: boolean;
  private next = 0;

  get ways(): number {
    return this.urls.length;
  }

  constructor(urls: readonly string[], options: ConnectOptions, takesLanes: boolean, connect: Connect) {
    this.connect = connect;
    this.urls = urls;
    this.options = options;
    this.takesLanes = takesLanes;
  }

  async dial(onEnded: (link: Link, error: Error | null) => void, signal: AbortSignal): Promise<Link> {
    const url = this.urls[this.next];
    this.next = (this.next + 1) % this.urls.length;
    const connection = await this.connect(url, { ...this.options, signal });
    return new Link(connection, this.takesLanes, onEnded);
  }

  isFinal(error: JspError): boolean {
    return isFinalEnd(error);
  }
}

/** The connection that the client was given: there is no other. */
export class GivenConnection implements Dialer {
  readonly ways = 1;
  private readonly connection: ClientConnection;
  private readonly takesLanes: boolean;

  constructor(connection: ClientConnection, takesLanes: boolean) {
    this.connection = connection;
    this.takesLanes = takesLanes;
  }

  async dial(onEnded: (link: Link, error: Error | null) => void): Promise<Link> {
    return new Link(this.connection, this.takesLanes, onEnded);
  }

  isFinal(): boolean {
    return true;
  }
}
