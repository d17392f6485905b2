import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/**
 * An HTTP/1.1 client that does no more than the benchmark needs: one request at a time on a connection that is kept. That of Node costs several times what a server does,
 * and would be what is measured.
 */
export class HttpConnection {
  /** Status line and headers of the last answer. */
  head = '';
  private readonly socket: Socket;
  private received = '';
  private onAnswer: ((status: number) => void) | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => this.take(text));
  }

  static async open(host: string, port: number): Promise<HttpConnection> {
    const socket = connect(port, host);
    await once(socket, 'connect');
    return new HttpConnection(socket);
  }

  /** Resolves with the status when the whole answer is there. */
  post(path: string, body: string): Promise<number> {
    const { socket } = this;
    const length = Buffer.byteLength(body);
    socket.write(
      `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n${body}`,
    );
    return new Promise((resolve, reject) => {
      socket.once('error', reject);
      this.onAnswer = (status) => {
        socket.off('error', reject);
        resolve(status);
      };
    });
  }

  close(): void {
    this.socket.destroy();
  }

  private take(text: string): void {
    this.received += text;
    const end = this.received.indexOf('\r\n\r\n');
    if (end === -1) return;
    this.head = this.received.slice(0, end);
    const length = Number(/content-length: *(\d+)/i.exec(this.head)?.[1] ?? 0);
    if (this.received.length < end + 4 + length) return;
    const status = Number(this.received.slice(9, 12));
    this.received = this.received.slice(end + 4 + length);
    this.onAnswer?.(status);
  }
}
