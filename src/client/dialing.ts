/** How a client gets a connection: to one of the addresses of its broker after the other, or the one that it was given. */

import type { JspError } from '../base/errors.ts';
import type { ConnectOptions } from '../transport/connect.ts';
import { isPinnedUrl } from '../transport/url.ts';
import type { Greeter } from './greeting.ts';
import { type Dialer, isDenial, isExpiry, isFinalEnd } from './life.ts';
import { type ClientConnection, Link } from './link.ts';

/** How a connection is made: `connect` of the transport, or what is in its place. */
export type Connect = (url: string, options: ConnectOptions) => Promise<ClientConnection>;

/** Connects to the URLs of a broker, in turn. [CLT-3] */
export class UrlDialer implements Dialer {
  private readonly urls: readonly string[];
  private readonly options: ConnectOptions;
  /** Of an earlier connection: it is good once, so that the first attempt alone shows it. [HS-55] */
  private ticket: Uint8Array | undefined;
  private readonly greeter: Greeter;
  private readonly takesLanes: boolean;
  private readonly connect: Connect;
  private next = 0;
  /** Others that the broker named when it went, which are tried first and once. */
  private suggested: string[] = [];
  /** The broker did not take the credentials of the last attempt. */
  private wasDenied = false;
  private isDeniedForGood = false;

  constructor(
    urls: readonly string[],
    options: ConnectOptions,
    greeter: Greeter,
    takesLanes: boolean,
    connect: Connect,
  ) {
    const { ticket, ...lasting } = options;
    this.urls = urls;
    this.options = lasting;
    this.ticket = ticket;
    this.greeter = greeter;
    this.takesLanes = takesLanes;
    this.connect = connect;
  }

  get ways(): number {
    return this.urls.length;
  }

  async dial(onEnded: (link: Link, error: Error | null) => void, signal: AbortSignal): Promise<Link> {
    const { ticket } = this;
    this.ticket = undefined;
    const connection = await this.connect(this.nextUrl(), { ...this.options, ticket, signal });
    const link = new Link(connection, this.takesLanes, onEnded);
    try {
      link.welcome = await this.greeter.greet(link, signal);
      this.wasDenied = false;
      return link;
    } catch (error) {
      connection.destroy();
      if (isDenial(error as JspError)) this.onDenied();
      throw error;
    }
  }

  /** [CLT-4] credentials that are not taken are asked for once more, then it is over; [CLT-40] those that have expired are not shown again */
  isFinal(error: JspError): boolean {
    if (isExpiry(error) && !this.greeter.canRenew) return true;
    return isFinalEnd(error) || (this.isDeniedForGood && isDenial(error));
  }

  suggest(urls: string): void {
    this.suggested = urls.split('\n').filter(isPinnedUrl).slice(0, SUGGESTIONS_MAX);
  }

  private onDenied(): void {
    this.isDeniedForGood = this.wasDenied || !this.greeter.canRenew;
    this.wasDenied = true;
  }

  private nextUrl(): string {
    const suggested = this.suggested.shift();
    if (suggested !== undefined) return suggested;
    const url = this.urls[this.next];
    this.next = (this.next + 1) % this.urls.length;
    return url;
  }
}

/** The connection that the client was given: there is no other. */
export class GivenConnection implements Dialer {
  readonly ways = 1;
  private readonly connection: ClientConnection;
  private readonly greeter: Greeter;
  private readonly takesLanes: boolean;

  constructor(connection: ClientConnection, greeter: Greeter, takesLanes: boolean) {
    this.connection = connection;
    this.greeter = greeter;
    this.takesLanes = takesLanes;
  }

  async dial(onEnded: (link: Link, error: Error | null) => void, signal: AbortSignal): Promise<Link> {
    const link = new Link(this.connection, this.takesLanes, onEnded);
    try {
      link.welcome = await this.greeter.greet(link, signal);
      return link;
    } catch (error) {
      this.connection.destroy();
      throw link.failure ?? error;
    }
  }

  isFinal(): boolean {
    return true;
  }

  suggest(): void {}
}

/** Of URLs that a broker names. */
const SUGGESTIONS_MAX = 16;
