import { NO_BYTES } from '../../base/bytes.ts';
import { MILLISECOND, type Micros } from '../../base/time.ts';
import type { FrameReader } from '../wire/frame-reader.ts';
import type { FrameWriter } from '../wire/frame-writer.ts';
import { goAwaySize, writeGoAway } from '../wire/frames/go-away.ts';

/** The server is to be replaced: it closes within so long, and names who takes its place; empty: the same address. Told once. */
export interface GoAwayNews {
  readonly type: 'goAway';
  readonly delayMs: number;
  readonly url: string;
}

/** What a {@link GoAway} tells its connection. */
export interface GoAwayHost {
  /** There is something to send. */
  touch(): void;
  tell(news: GoAwayNews): void;
}

/**
 * What a server says to a client of its own end to come, and the client hears: GOAWAY, once a connection, sent again while it is lost, with what is left of the
 * time. [CON-100]
 */
export class GoAway {
  /** The peer does not know yet. */
  isDue = false;
  private url: Uint8Array = NO_BYTES;
  private closesAt: Micros | null = null;
  private wasHeard = false;
  private readonly host: GoAwayHost;

  constructor(host: GoAwayHost) {
    this.host = host;
  }

  /** Tells the client; later calls change nothing, for it has begun to go. */
  announce(url: Uint8Array, closesAt: Micros): void {
    if (this.closesAt !== null) return;
    this.url = url;
    this.closesAt = closesAt;
    this.isDue = true;
    this.host.touch();
  }

  /** Writes it, if it fits. An empty packet has room for a URL of {@link ANNOUNCED_URL_BYTES_MAX}. */
  write(frames: FrameWriter): void {
    const delayMs = Math.max(0, Math.ceil(((this.closesAt ?? frames.now) - frames.now) / MILLISECOND));
    if (frames.room < goAwaySize(delayMs, this.url)) return;
    this.isDue = false;
    writeGoAway(frames, delayMs, this.url);
  }

  onFrameLost(): void {
    this.isDue = true;
  }

  /** The server said it. The first counts: another is a repetition. */
  onFrame({ buffer, dataStart, dataLength, delay }: FrameReader): void {
    if (this.wasHeard) return;
    this.wasHeard = true;
    const url = UTF8.decode(buffer.subarray(dataStart, dataStart + dataLength));
    this.host.tell({ type: 'goAway', delayMs: delay, url });
  }
}

const UTF8 = new TextDecoder();
/** Of a URL that goes with GOAWAY into any packet, also the smallest. */
export const ANNOUNCED_URL_BYTES_MAX = 400;
