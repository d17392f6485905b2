/** The socket that a door listens on, plain or with TLS: it is bound once, is over where it fails, but not where one caller cannot be accepted, and takes renewed certificates. */

import type { AddressInfo, Server } from 'node:net';
import { createSecureContext, type Server as TlsServer } from 'node:tls';
import { JspError } from '../base/errors.ts';
import { type GatewayTls, readTls } from './options.ts';

/** A certificate that was read and can be used, for who renews several, or something else with it, so that all of it happens or nothing. */
export interface PreparedCertificate {
  /** New connections see it from now on. */
  use(): void;
}

export class Listener {
  private readonly server: Server;
  private readonly tls: GatewayTls | undefined;
  private readonly what: string;
  private address: AddressInfo | null = null;

  /** @param what - listens, for people: such as `the gateway` */
  constructor(server: Server, tls: GatewayTls | undefined, what: string) {
    this.server = server;
    this.tls = tls;
    this.what = what;
  }

  get host(): string {
    return this.address?.address ?? '';
  }

  get port(): number {
    return this.address?.port ?? 0;
  }

  /** @param scheme - without TLS; with it there is an `s` behind */
  url(scheme: string): string {
    const { host, port } = this;
    const shown = host.includes(':') ? `[${host}]` : host;
    return `${scheme}${this.tls === undefined ? '' : 's'}://${shown}:${port}`;
  }

  /**
   * Resolves when others can connect.
   *
   * @param onFailed - called where it fails for good after that
   * @param onTrouble - called when somebody could not be accepted, for want of memory, say, and others can; at most once in 10 s
   * @throws {JspError} ERR_JSP_SOCKET when its address cannot be bound
   */
  listen(
    host: string,
    port: number,
    onFailed: (error: JspError) => void,
    onTrouble: (error: JspError) => void,
  ): Promise<void> {
    const { server } = this;
    let toldAt = Number.NEGATIVE_INFINITY;
    return new Promise((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => {
        const why = `${this.what} cannot listen on ${host}, port ${port}: ${error.message}`;
        reject(new JspError('ERR_JSP_SOCKET', why, { cause: error }));
      };
      server.once('error', failed);
      server.listen({ port, host, backlog: BACKLOG }, () => {
        server.off('error', failed);
        server.on('error', (cause: NodeJS.ErrnoException) => {
          const error = new JspError('ERR_JSP_SOCKET', cause.message, { cause });
          if (cause.syscall !== 'accept' || !server.listening) return onFailed(error);
          const now = performance.now();
          if (now - toldAt < APART_MS) return;
          toldAt = now;
          onTrouble(error);
        });
        this.address = server.address() as AddressInfo;
        resolve();
      });
    });
  }

  /**
   * Reads a renewed certificate from its files, and changes nothing before it is used: then new connections see it, those that are open stay as they are. [GW-15]
   *
   * @throws {JspError} ERR_JSP_OPTION_INVALID where they cannot be read, or do not go together
   */
  prepareReload(): PreparedCertificate {
    const { server, tls } = this;
    if (tls === undefined) return { use() {} };
    const pair = readTls(tls);
    try {
      createSecureContext(pair); // all that can be wrong with it is wrong now
    } catch (error) {
      throw new JspError(
        'ERR_JSP_OPTION_INVALID',
        `the certificate ${tls.cert} and its key were not taken: ${(error as Error).message}`,
        { cause: error },
      );
    }
    return { use: () => (server as TlsServer).setSecureContext(pair) };
  }

  /** Takes nobody any more. Resolves when those who are connected are gone. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.server.close(() => resolve());
    });
  }
}

/** So many connections may wait to be accepted, where the system allows it. The loop accepts one a round, so that Node's 511 are soon there, and whoever comes then tries again after a second. */
const BACKLOG = 4_096;
const APART_MS = 10_000;
