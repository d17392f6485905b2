/**
 * Payloads in envelopes: a publisher compresses once for all its subscribers, the broker passes the envelope on unopened, and a subscriber opens it
 * when its application takes the message. [BRK-42, BRK-44] The transport below is not asked to compress such messages again.
 */
import {
  type CompressionMode,
  type CompressionOptions,
  ConnectionCompression,
  chooseLz4,
  dictionaryNameOf,
  EnvelopeFault,
  EnvelopeReader,
  StreamCompression,
} from '../protocol/compress/index.ts';
import { compressionOptions } from '../transport/compression.ts';
import type { ConnectOptions } from '../transport/connect.ts';
import { InflatingTurn } from '../transport/inflating.ts';
import { clockOf } from '../transport/options.ts';

/** A message that came and could not be opened. Its payload is not there: what cannot be opened is nobody's message. */
export interface UnopenedMessage {
  readonly topic: string;
  /**
   * `dictionary`: it was compressed with a dictionary that this client does not have; pass it in `compression.dictionaries`. `tooLarge`: it would
   * be above this client's `messageBytesMax`. `broken`: its publisher sent no proper envelope.
   */
  readonly reason: 'dictionary' | 'tooLarge' | 'broken';
  /** Name of the dictionary that it was compressed with, as `jsp dict show` prints it; null for none. */
  readonly dictionary: string | null;
  /** Bytes that came. */
  readonly bytes: number;
}

/** What a client makes of its option `compression`. */
export class ClientCompression {
  /** Whether messages are compressed whose publish does not say. */
  readonly mode: CompressionMode;
  private readonly options: CompressionOptions;
  private readonly bytesMax: number;
  private readonly turn: InflatingTurn;
  private deflater: PayloadDeflater | null = null;
  private inflater: PayloadInflater | null = null;

  /** @param bytesMax - of an opened payload */
  constructor(options: Pick<ConnectOptions, 'compression' | 'lz4' | 'clock'>, bytesMax: number) {
    const clock = clockOf(options);
    this.options = { ...compressionOptions(options, clock), clock: null };
    this.turn = InflatingTurn.of(clock);
    this.mode = this.options.mode;
    this.bytesMax = bytesMax;
  }

  /** The payload in its envelope, good until the next one; null when it is to be published as it is. */
  deflate(topic: string, payload: Uint8Array | string, mode: CompressionMode): Uint8Array | null {
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload;
    if (!(bytes instanceof Uint8Array)) return null; // which publishing refuses
    this.deflater ??= new PayloadDeflater(this.options);
    return this.deflater.deflate(topic, bytes, mode);
  }

  /** For a subscription that takes compressed messages, or does not, or does not say. */
  inflaterFor(takes: boolean | undefined): PayloadInflater | null {
    if (!(takes ?? this.options.inflates)) return null;
    this.inflater ??= new PayloadInflater(this.options, this.bytesMax, this.turn);
    return this.inflater;
  }
}

/** Compresses what a client publishes, with a memory for each topic of how well that works. */
class PayloadDeflater {
  private readonly shared: ConnectionCompression;
  private readonly topics = new Map<string, StreamCompression>();

  constructor(options: CompressionOptions) {
    this.shared = new ConnectionCompression(options, UNKNOWN_PATH);
    // Whoever subscribes opens envelopes, or is not sent any; whether he has a dictionary nobody knows here. [BRK-43]
    this.shared.isAgreed = true;
    if (options.method !== null) this.shared.method = options.method;
    this.shared.agreed = options.dictionaries.all.map((dictionary) => ({ dictionary, number: BY_HASH }));
  }

  deflate(topic: string, payload: Uint8Array, mode: CompressionMode): Uint8Array | null {
    let compression = this.topics.get(topic);
    if (compression === undefined) {
      if (this.topics.size >= TOPICS_MAX) this.topics.clear();
      compression = new StreamCompression(this.shared);
      this.topics.set(topic, compression);
    }
    return compression.deflate(payload, mode);
  }
}

/** Opens what comes compressed. */
export class PayloadInflater {
  private readonly reader: EnvelopeReader;
  /** What is opened before the event loop turns. */
  readonly turn: InflatingTurn;
  private readonly bytesMax: number;

  /** @param bytesMax - of an opened payload */
  constructor(options: CompressionOptions, bytesMax: number, turn: InflatingTurn) {
    this.turn = turn;
    this.reader = new EnvelopeReader(chooseLz4(options.lz4), options.dictionaries, false); // [CMP-40] no numbers
    this.bytesMax = bytesMax;
  }

  /** The payload in the envelope, or why there is none. */
  inflate(topic: string, envelope: Buffer): Buffer | UnopenedMessage {
    const payload = this.reader.inflate(envelope, 0, envelope.length, this.bytesMax);
    if (payload !== null) {
      this.turn.spend(payload.length);
      return payload;
    }
    const dictionary = dictionaryNameOf(envelope);
    return { topic, reason: REASONS[this.reader.fault] ?? 'broken', dictionary, bytes: envelope.length };
  }
}

/** Nothing is known of the way from a publisher to its subscribers. */
const UNKNOWN_PATH = {
  mtu: 1,
  rtt: { hasSample: false, smoothed: 0 },
  congestion: { pacingRate: 0 },
  loss: { rate: 0 },
};
/** What stands for a number where a dictionary is named by its hash. */
const BY_HASH = -1;
/** Topics of which it is remembered how well they compress; past it all are forgotten. */
const TOPICS_MAX = 1_024;
const REASONS: Partial<Record<EnvelopeFault, UnopenedMessage['reason']>> = {
  [EnvelopeFault.BROKEN]: 'broken',
  [EnvelopeFault.TOO_LONG]: 'tooLarge',
  [EnvelopeFault.DICTIONARY_UNKNOWN]: 'dictionary',
};
