/**
 * What the core of a broker has of the messages that a worker has read: those that it has not taken yet, and those that it has taken and that lie unread there, on streams that it has stopped.
 * From it follows which streams the worker reads.
 *
 * Of messages to take the core has never more than {@link UNTAKEN_BYTES_MAX}, nor of one client more than {@link CLIENT_BYTES_MAX} or of one stream more than {@link STREAM_BYTES_MAX},
 * beside the message with which that is reached: what goes beyond it is not read, and waits in the transport, whose memory has its own bound. [BRK-135] What lies unread stops no stream that the core has not: a subscribing stream
 * goes on whatever the publishing ones of its client wait for [BRK-22], but with one message at a time, so that hardly more comes to lie there. [BRK-138]
 */

/** What is known so of one client. */
export class ClientBacklog {
  readonly streams: Iterable<{ readonly backlog: StreamBacklog }>;
  /** The core has much of it already. */
  isStalled = false;
  /** Bytes that the core has not taken yet, and those that it has taken and that lie unread there. */
  untakenBytes = 0;
  unreadBytes = 0;

  /** @param streams - as they are at any time */
  constructor(streams: ClientBacklog['streams']) {
    this.streams = streams;
  }
}

/** The same of one of its streams. */
export class StreamBacklog {
  readonly client: ClientBacklog;
  readonly stream: Pausable;
  /** The core has stopped it, or the core has much of it already. */
  isPaused = false;
  isStalled = false;
  /** Bytes that the core has not taken yet; those of the batch in the making; those that lie unread in the core. */
  untakenBytes = 0;
  batchBytes = 0;
  unreadBytes = 0;

  constructor(client: ClientBacklog, stream: Pausable) {
    this.client = client;
    this.stream = stream;
  }
}

/** What is not read while it is paused. */
interface Pausable {
  pause(): unknown;
  resume(): unknown;
}

/** A batch that the core has not taken yet. */
interface UntakenBatch {
  readonly bytes: number;
  readonly shares: readonly { readonly stream: StreamBacklog; readonly bytes: number }[];
  readonly acts: readonly (() => void)[];
}

export class Backlog {
  /** In the making. */
  private readonly batch: { readonly length: number };
  /** Streams of which it has something. */
  private shares: StreamBacklog[] = [];
  /** What is done when it was taken. */
  private acts: (() => void)[] = [];
  private readonly untaken: UntakenBatch[] = [];
  private takenCount = 0;
  private untakenBytes = 0;
  /** Bytes that the core has taken and that lie unread there, of all clients. */
  private unreadBytes = 0;
  private readonly stalled = new Set<StreamBacklog>();
  private readonly stalledClients = new Set<ClientBacklog>();

  constructor(batch: { readonly length: number }) {
    this.batch = batch;
  }

  /** There is a stream, of which nothing was read. */
  began({ client, stream }: StreamBacklog): void {
    if (client.isStalled) stream.pause();
  }

  /** A message of a stream is in the batch: so many bytes of it. */
  read(stream: StreamBacklog, bytes: number): void {
    const { client } = stream;
    if (stream.batchBytes === 0) this.shares.push(stream);
    stream.batchBytes += bytes;
    stream.untakenBytes += bytes;
    client.untakenBytes += bytes;
    if (stream.untakenBytes >= this.untakenMax(client)) this.stall(stream);
    if (client.untakenBytes >= CLIENT_BYTES_MAX || this.isFull) this.stallClient(client);
  }

  /** Which batch is in the making, from 1. */
  get number(): number {
    return this.takenCount + this.untaken.length + 1;
  }

  /** The core has taken the batch of this number; 0: there was none. */
  isTaken(number: number): boolean {
    return number <= this.takenCount;
  }

  /** Does so when the core has taken what is in the making. */
  whenTaken(act: () => void): void {
    this.acts.push(act);
  }

  /** The batch has gone to the core, with so many bytes; another one begins. */
  sent(bytes: number): void {
    const { shares, acts } = this;
    this.shares = [];
    this.acts = [];
    this.untaken.push({
      bytes,
      acts,
      shares: shares.map((stream) => {
        const { batchBytes } = stream;
        stream.batchBytes = 0;
        return { stream, bytes: batchBytes };
      }),
    });
    this.untakenBytes += bytes;
  }

  /** The core has taken the oldest batch. */
  taken(): void {
    const batch = this.untaken.shift();
    if (batch === undefined) return;
    this.takenCount++;
    this.untakenBytes -= batch.bytes;
    for (const act of batch.acts) act();
    for (const { stream, bytes } of batch.shares) {
      stream.untakenBytes -= bytes;
      stream.client.untakenBytes -= bytes;
    }
    for (const client of this.stalledClients) {
      if (this.isFull) return;
      if (client.untakenBytes * 2 > CLIENT_BYTES_MAX) continue;
      this.stalledClients.delete(client);
      client.isStalled = false;
      for (const { backlog } of client.streams) this.goOn(backlog);
    }
    for (const stream of this.stalled) {
      if (this.isFull) return;
      if (stream.untakenBytes * 2 > this.untakenMax(stream.client)) continue;
      this.stalled.delete(stream);
      stream.isStalled = false;
      this.goOn(stream);
    }
  }

  /** The core has stopped a stream. */
  pause(stream: StreamBacklog): void {
    stream.isPaused = true;
    stream.stream.pause();
  }

  /** The core reads it again. */
  resume(stream: StreamBacklog): void {
    stream.isPaused = false;
    this.goOn(stream);
  }

  /** The core has so much of a stream that it does not read. */
  unread(stream: StreamBacklog, bytes: number): void {
    const more = bytes - stream.unreadBytes;
    this.unreadBytes += more;
    stream.client.unreadBytes += more;
    stream.unreadBytes = bytes;
  }

  forget(stream: StreamBacklog): void {
    this.stalled.delete(stream);
    this.unread(stream, 0);
  }

  forgetClient(client: ClientBacklog): void {
    this.stalledClients.delete(client);
  }

  /** The core has enough of what this worker has said. */
  private get isFull(): boolean {
    return this.untakenBytes + this.batch.length >= UNTAKEN_BYTES_MAX;
  }

  /** What the core may have to take still of a stream: a message, while enough of its client lies unread there; little while that is much of all of them. [BRK-138] */
  private untakenMax(client: ClientBacklog): number {
    const isCrowded = this.unreadBytes >= UNREAD_BYTES_MAX;
    if (client.unreadBytes >= (isCrowded ? CROWDED_BYTES_MAX : CLIENT_BYTES_MAX)) return 1;
    return isCrowded ? CROWDED_BYTES_MAX : STREAM_BYTES_MAX;
  }

  private stall(stream: StreamBacklog): void {
    if (stream.isStalled) return;
    stream.isStalled = true;
    this.stalled.add(stream);
    stream.stream.pause();
  }

  /** All its streams wait, lest each of them bring one more message. */
  private stallClient(client: ClientBacklog): void {
    if (client.isStalled) return;
    client.isStalled = true;
    this.stalledClients.add(client);
    for (const { backlog } of client.streams) backlog.stream.pause();
  }

  /** Has a stream read again, unless something is left that stops it. */
  private goOn({ stream, client, isPaused, isStalled }: StreamBacklog): void {
    if (!isPaused && !isStalled && !client.isStalled) stream.resume();
  }
}

/** Bytes that the core may have to take still, of all clients of a worker, of one of them, and of one stream. */
const UNTAKEN_BYTES_MAX = 4 * 1_024 * 1_024;
const CLIENT_BYTES_MAX = 1_024 * 1_024;
const STREAM_BYTES_MAX = 256 * 1_024;
/** Bytes of all clients of a worker that lie unread in the core from which on those of each are fewer. */
const UNREAD_BYTES_MAX = 64 * 1_024 * 1_024;
const CROWDED_BYTES_MAX = 16 * 1_024;
