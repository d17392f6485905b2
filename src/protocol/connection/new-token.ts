import { copyOf, equalBytes } from '../../base/bytes.ts';
import { TOKEN_BYTES_MAX } from '../handshake/address-token.ts';
import { CloseCode } from '../wire/close-code.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import { newTokenSize, writeNewToken } from '../wire/frames/crypto.ts';
import { GIVEN_MAX } from './new-ticket.ts';

/** At a client: the server gave a token, which shows in another connection that it is where it is now. */
export interface NewTokenNews {
  readonly type: 'token';
  readonly token: Uint8Array;
}

export interface NewTokenHost {
  tell(news: NewTokenNews): void;
}

/** The token that a server gives its client, which shows in another connection that it is where it is now: said until the client has it. [HS-37] */
export class NewToken {
  /** The client does not have it yet. */
  isDue = false;
  /** At a server until its client has it; at a client the newest that came. */
  private token: Uint8Array | null = null;
  /** Those that came to a client. */
  private told = 0;
  private readonly host: NewTokenHost;

  constructor(host: NewTokenHost) {
    this.host = host;
  }

  offer(token: Uint8Array): void {
    this.token = token;
    this.isDue = true;
  }

  /** Writes it, if it fits. */
  write(frames: FrameWriter): void {
    const { token } = this;
    if (token === null || frames.room < newTokenSize(token)) return;
    this.isDue = false;
    writeNewToken(frames, token);
  }

  onFrameLost(): void {
    this.isDue = this.token !== null;
  }

  /** The server said it. Returns 0 or a close code. */
  onFrame({ buffer, dataStart, dataLength }: FrameReader): number {
    if (dataLength === 0) return CloseCode.FRAME_ENCODING_ERROR;
    if (dataLength > TOKEN_BYTES_MAX) return 0; // it would take the room of the hello
    const token = buffer.subarray(dataStart, dataStart + dataLength);
    if (this.token !== null && equalBytes(token, this.token)) return 0; // it was sent again
    if (this.told++ >= GIVEN_MAX) return 0;
    this.token = copyOf(token);
    this.host.tell({ type: 'token', token: this.token });
    return 0;
  }
}
