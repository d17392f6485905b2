/** A WebSocket client that says what a test tells it, and keeps what it hears until somebody asks. */

import { once } from 'node:events';
import { WebSocket } from 'ws';
import type { TestGateway } from './gateway-server.ts';

export interface Heard {
  readonly type: string;
  readonly [member: string]: unknown;
}

export class WsClient {
  readonly socket: WebSocket;
  /** Resolves with the close code when it is over. */
  readonly closed: Promise<number>;
  private readonly heard: Heard[] = [];
  private wake: () => void = () => {};

  constructor(url: string, headers: Record<string, string> = {}, protocols: string[] = ['jsp.v1.json']) {
    this.socket = new WebSocket(`${url.replace(/^http/, 'ws')}`, protocols, { headers });
    this.socket.on('error', () => {});
    this.socket.on('message', (data) => {
      this.heard.push(JSON.parse(String(data)));
      this.wake();
    });
    this.closed = once(this.socket, 'close').then(([code]) => {
      this.wake();
      return code as number;
    });
  }

  /** One that is connected and was welcomed. */
  static async welcomed({ gateway }: Pick<TestGateway, 'gateway'>, auth: object = {}): Promise<WsClient> {
    const client = new WsClient(`${gateway.url}/v1/ws`);
    await once(client.socket, 'open');
    client.say({ type: 'auth', ...auth });
    await client.hear('welcome');
    return client;
  }

  say(message: object | string): void {
    this.socket.send(typeof message === 'string' ? message : JSON.stringify(message));
  }

  /** The next that is of this type, or one of these, and of this id where one is given; the others stay. */
  async hear(type: string | readonly string[], id?: unknown): Promise<Heard> {
    for (;;) {
      const i = this.heard.findIndex(
        (each) => [type].flat().includes(each.type) && (id === undefined || each.id === id),
      );
      if (i >= 0) return this.heard.splice(i, 1)[0];
      if (this.socket.readyState === WebSocket.CLOSED) {
        throw new Error(
          `it closed before ${String(type)} ${String(id)} came; there was ${JSON.stringify(this.heard)}`,
        );
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** So many messages of a subscription. */
  async messages(count: number): Promise<Heard[]> {
    const found: Heard[] = [];
    while (found.length < count) found.push(await this.hear('message'));
    return found;
  }

  /** Everything that came and that nobody has asked for, after all that was said is done. */
  async rest(): Promise<Heard[]> {
    this.say({ type: 'ping', id: 'rest' });
    await this.hear('result', 'rest');
    return this.heard.splice(0);
  }

  async ask(message: Record<string, unknown>, answer = 'result'): Promise<Heard> {
    this.say(message);
    return await this.hear(answer, message.id);
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.closed;
  }
}
