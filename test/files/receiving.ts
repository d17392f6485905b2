import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ReceiveOptions, type ReceiverEvent, receiveFiles } from '../../src/files/index.ts';
import {
  beginMessage,
  DATA_TYPE,
  endMessage,
  FILES_LABEL,
  type HashPoint,
  offerMessage,
  proofMessage,
  type ReceiverMessage,
  readReceiverMessage,
} from '../../src/files/messages.ts';
import type { Connection, Stream } from '../../src/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { join as connectTo, serve } from '../transport/served.ts';

/** A receiver into a folder of its own, and connections to it. */
export function receiving(options: ReceiveOptions = {}) {
  return receivingInto(join(emptyFolder(), 'inbox'), options);
}

export async function receivingInto(inbox: string, options: ReceiveOptions = {}) {
  const events: ReceiverEvent[] = [];
  const receiver = await receiveFiles(inbox, { onEvent: (event) => events.push(event), ...options });
  const listener = await serve((connection) => receiver.serve(connection));
  return { events, inbox, receiver, connect: (): Promise<Connection> => connectTo(listener) };
}

/** Files by their paths, in a folder of their own. */
export function outbox(files: Record<string, string | Buffer>): string {
  const folder = emptyFolder();
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), content);
  }
  return folder;
}

/** A sender that says what it likes. */
export class RawSender {
  readonly stream: Stream;
  private readonly answers: AsyncIterator<Buffer>;

  constructor(connection: Connection) {
    this.stream = connection.openStream({ label: FILES_LABEL, priority: 'bulk', allowHalfOpen: true });
    this.stream.on('error', () => {});
    this.answers = this.stream[Symbol.asyncIterator]();
  }

  offer(
    id: number,
    path: readonly (string | Uint8Array)[],
    size: number,
    kind: 'file' | 'folder' = 'file',
  ): void {
    const names = path.map((name) => (typeof name === 'string' ? Buffer.from(name) : name));
    this.say(offerMessage(id, { kind, mode: 0o644, mtimeMs: 0, size, path: names }));
  }

  begin(id: number): void {
    this.say(beginMessage(id));
  }

  data(bytes: Uint8Array): void {
    this.say(Buffer.concat([Buffer.from([DATA_TYPE]), bytes]));
  }

  end(id: number, hash: Uint8Array): void {
    this.say(endMessage(id, hash));
  }

  proof(id: number, points: readonly HashPoint[]): void {
    this.say(proofMessage(id, points));
  }

  say(bytes: Uint8Array): void {
    this.stream.send(bytes);
  }

  /** The next answer; rejects when the receiver has reset the transfer. */
  async answer(): Promise<ReceiverMessage | null> {
    const { done, value } = await this.answers.next();
    if (done) throw new Error('the receiver has ended');
    return readReceiverMessage(value);
  }
}
