/** A gateway with a log, as a model that is slow and plain: what a client of it publishes is stored, what it reads is delivered, and its connection may break at any time. */

import { PlayedGateway, type PlayedSocket, type Said, settled } from './played-gateway.ts';

/** A reader of the log, on one connection. */
interface Reader {
  readonly socket: PlayedSocket;
  readonly sub: number;
  next: number;
  readonly window: number;
  readonly unsettled: Set<number>;
  /** Nacked: to be delivered again. */
  readonly again: number[];
}

export class PlayedLog {
  readonly gateway = new PlayedGateway();
  readonly stored: { readonly text: string; readonly messageId: string | undefined }[] = [];
  epoch = 1;
  private readonly read = new Map<PlayedSocket, number>();
  private readonly unanswered: (() => void)[] = [];
  private reader: Reader | null = null;

  /** The gateway reads all that was said, and answers some of it now and some of it later. */
  readOn(answers: boolean): void {
    const { socket } = this.gateway;
    const from = this.read.get(socket) ?? 0;
    this.read.set(socket, socket.said.length);
    for (const said of socket.said.slice(from)) this.take(socket, said);
    if (answers) this.answer();
  }

  answer(): void {
    for (const tell of this.unanswered.splice(0)) tell();
  }

  /** Delivers up to so many. */
  deliver(count: number): void {
    const { reader, stored } = this;
    for (let i = 0; reader !== null && i < count; i++) {
      const isAgain = reader.again.length > 0;
      const offset = isAgain ? (reader.again.shift() as number) : reader.next;
      if (offset > stored.length || reader.unsettled.size >= reader.window) return;
      if (!isAgain) reader.next++;
      reader.unsettled.add(offset);
      const { text } = stored[offset - 1];
      reader.socket.tell({
        type: 'message',
        sub: reader.sub,
        topic: 't',
        offset,
        text,
        redelivered: isAgain || undefined,
      });
    }
  }

  /** The connection breaks, with what is on its way; and is there again. */
  async reconnect(): Promise<void> {
    this.reader = null;
    this.unanswered.length = 0;
    this.gateway.socket.break();
    await this.gateway.pass(30_000); // as long as it may wait
    this.gateway.socket.welcome();
    await settled();
  }

  private take(socket: PlayedSocket, said: Said): void {
    const { reader } = this;
    const result = (members: object) =>
      this.unanswered.push(() => socket.tell({ type: 'result', id: said.id, ...members }));
    const offsets = said.offsets as number[];
    switch (said.type) {
      case 'subscribe': {
        const since = said.since as { offset: number } | string;
        const next = typeof since === 'string' ? 1 : since.offset + 1;
        this.reader = {
          socket,
          sub: said.sub as number,
          next,
          window: said.window as number,
          unsettled: new Set(),
          again: [],
        };
        socket.tell({
          type: 'subscribed',
          id: said.id,
          sub: said.sub,
          epoch: this.epoch,
          offset: next - 1,
          recovered: true,
          missed: 0,
        });
        return;
      }
      case 'publish': {
        const { messageId, text } = said as { messageId?: string; text?: string };
        const known = this.stored.findIndex((each) => each.messageId === messageId) + 1;
        if (known === 0) this.stored.push({ text: text as string, messageId });
        result({ offset: known || this.stored.length, result: known === 0 ? 'stored' : 'duplicate' });
        return;
      }
      case 'ack':
        for (const offset of offsets) reader?.unsettled.delete(offset);
        return;
      case 'nack':
        for (const offset of offsets) if (reader?.unsettled.delete(offset)) reader.again.push(offset);
        return;
      case 'ping':
        result({});
    }
  }
}
