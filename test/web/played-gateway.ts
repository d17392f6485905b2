/** A gateway that the test plays, in time that the test makes pass: what the client says is read, and what it is told is the test's to choose. */

import { onTestFinished } from 'vitest';
import { connectClientIn, type WebClient } from '../../src/web/client.ts';
import type { WebClientOptions } from '../../src/web/client-options.ts';
import type { Socket, Surroundings } from '../../src/web/surroundings.ts';
import { ManualClock } from '../client/manual-clock.ts';

export interface Said {
  readonly type: string;
  readonly id?: number;
  readonly sub?: number;
  readonly [member: string]: unknown;
}

/** One WebSocket, seen from the gateway. */
export class PlayedSocket implements Socket {
  readonly url: string;
  readonly protocols: readonly string[];
  bufferedAmount = 0;
  onopen: ((event: never) => void) | null = null;
  onmessage: ((event: { readonly data: unknown }) => void) | null = null;
  onclose: ((event: { readonly code: number; readonly reason: string }) => void) | null = null;
  onerror: ((event: never) => void) | null = null;
  /** All that the client has said on it. */
  readonly said: Said[] = [];
  closedWith: number | null | undefined;

  constructor(url: string, protocols: readonly string[]) {
    this.url = url;
    this.protocols = protocols;
  }

  send(text: string): void {
    this.said.push(JSON.parse(text) as Said);
  }

  close(code?: number): void {
    this.closedWith ??= code ?? null;
    if (code !== undefined) queueMicrotask(() => this.onclose?.({ code, reason: '' }));
  }

  open(): void {
    this.onopen?.(undefined as never);
  }

  tell(frame: object): void {
    this.onmessage?.({ data: JSON.stringify(frame) });
  }

  /** The connection is over. */
  break(code = 1006): void {
    this.onclose?.({ code, reason: '' });
  }

  /** Accepts the client. */
  welcome(members: object = {}): void {
    this.open();
    this.tell({ type: 'welcome', session: 's', present: false, expiresMs: null, pingMs: 25_000, ...members });
  }

  saidOf(type: string): Said[] {
    return this.said.filter((each) => each.type === type);
  }

  /** Answers the last one of this type. */
  answer(type: string, members: object = {}): void {
    this.tell({ type: 'result', id: this.saidOf(type).at(-1)?.id, ...members });
  }
}

export class PlayedGateway implements Surroundings {
  readonly clock = new ManualClock();
  readonly sockets: PlayedSocket[] = [];
  /** What is drawn. */
  chance = 0.5;
  private names = 0;
  private returns: (() => void)[] = [];

  open(url: string, protocols: string[]): Socket {
    const socket = new PlayedSocket(url, protocols);
    this.sockets.push(socket);
    return socket;
  }

  random(): number {
    return this.chance;
  }

  name(): string {
    return `name-${++this.names}`;
  }

  onReturn(callback: () => void): () => void {
    this.returns.push(callback);
    return () => {
      this.returns = this.returns.filter((each) => each !== callback);
    };
  }

  /** The machine wakes up. */
  wake(): void {
    for (const callback of this.returns) callback();
  }

  get listeners(): number {
    return this.returns.length;
  }

  /** The newest. */
  get socket(): PlayedSocket {
    return this.sockets.at(-1) as PlayedSocket;
  }

  /** Lets time pass, with all that comes of it. */
  async pass(ms = 0): Promise<void> {
    await settled();
    this.clock.advance(ms);
    await settled();
  }

  /** A client that is online, on a socket that has said nothing but who it is. */
  async connected(options: WebClientOptions = {}): Promise<WebClient> {
    const connecting = connectClientIn(this, 'http://gateway.test', options);
    await settled();
    this.socket.welcome();
    const client = await connecting;
    onTestFinished(() => client.destroy());
    await settled();
    this.socket.said.length = 0;
    return client;
  }

  /** The connection breaks, and the next one is welcomed. */
  async reconnected(): Promise<void> {
    this.socket.break();
    await this.pass(300);
    this.socket.welcome();
    await this.pass();
  }
}

/** All promises that can settle have. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
