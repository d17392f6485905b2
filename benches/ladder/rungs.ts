import type { Receiver, Sender, Target, Workload, WorkloadOptions } from '../../src/bench/workload.ts';
import { STREAMING } from '../../src/bench/workloads.ts';
import {
  type AeadPreference,
  chooseAead,
  type PacketKeys,
  packetKeys,
} from '../../src/protocol/crypto/index.ts';
import { bindSocket } from '../../src/udp/bind-socket.ts';
import { CountingReceiver, PacedSender } from './paced.ts';
import {
  AckReader,
  AckWriter,
  type FeedbackReader,
  type FeedbackWriter,
  FramedReader,
  FramedWriter,
  LightFeedbackReader,
  LightFeedbackWriter,
  type PacketReader,
  type PacketWriter,
  RawReader,
  RawWriter,
} from './packets.ts';

/**
 * The lower rungs of the ladder: what the stack is made of, each with the same sockets, arenas and ciphers as the stack and with
 * one thing more than the rung below. None of them sends a lost message again.
 *
 *   raw       bare datagrams, one message each
 *   framing   + short header and MESSAGE frames, written and read through `wire/`
 *   aead      + packets sealed and opened, headers protected
 *   acks      + a sealed ACK for every few packets, in place of the bare feedback of the rungs below
 *
 * All keep a window of datagrams in flight, so that the receive buffer does not overflow; below `acks` the feedback is one
 * bare datagram for an eighth of the window.
 *
 * Each is there twice: by the native addon where that serves (whole batches cross into C, to be sealed and sent, or read and opened), and `pure`.
 */
const RUNGS: readonly Workload[] = [
  rung('raw', {
    writer: ({ mtu, size }) => new RawWriter(size === 0 ? mtu : size),
    reader: () => new RawReader(),
    feedbackWriter: () => new LightFeedbackWriter(),
    feedbackReader: () => new LightFeedbackReader(),
  }),
  rung('framing', {
    writer: ({ mtu, size }) => new FramedWriter(mtu, size, null),
    reader: () => new FramedReader(null),
    feedbackWriter: () => new LightFeedbackWriter(),
    feedbackReader: () => new LightFeedbackReader(),
  }),
  rung('aead', {
    writer: (options) => new FramedWriter(options.mtu, options.size, benchKeys(options, TO_RECEIVER)),
    reader: (options) => new FramedReader(benchKeys(options, TO_RECEIVER)),
    feedbackWriter: () => new LightFeedbackWriter(),
    feedbackReader: () => new LightFeedbackReader(),
  }),
  rung('acks', {
    writer: (options) => new FramedWriter(options.mtu, options.size, benchKeys(options, TO_RECEIVER)),
    reader: (options) => new FramedReader(benchKeys(options, TO_RECEIVER)),
    feedbackWriter: (options) => new AckWriter(benchKeys(options, TO_SENDER)),
    feedbackReader: (options) => new AckReader(benchKeys(options, TO_SENDER)),
    feedbackEveryMax: (options) => numberSetting(options, 'ackEvery', ACK_EVERY),
  }),
];

export const workloads: readonly Workload[] = [...RUNGS, ...RUNGS.map(pure), pure(STREAMING)];

/** The same where the native addon is not used: what every machine has. */
function pure(workload: Workload): Workload {
  return {
    ...workload,
    name: `pure ${workload.name}`,
    module: import.meta.url,
    environment: { JSP_NATIVE: '0' },
  };
}

interface Rung {
  writer(options: WorkloadOptions): PacketWriter;
  reader(options: WorkloadOptions): PacketReader;
  feedbackWriter(options: WorkloadOptions): FeedbackWriter;
  feedbackReader(options: WorkloadOptions): FeedbackReader;
  /** Default: an eighth of the window. */
  feedbackEveryMax?(options: WorkloadOptions): number;
}

function rung(name: string, parts: Rung): Workload {
  return {
    name,
    module: import.meta.url,
    async openReceiver(options: WorkloadOptions): Promise<Receiver> {
      const socket = await bindSocket({ host: '127.0.0.1' });
      const eighth = Math.ceil(windowOf(options, socket.receiveBufferBytes) / 8);
      const every = Math.min(eighth, parts.feedbackEveryMax?.(options) ?? eighth);
      return new CountingReceiver(socket, parts.reader(options), parts.feedbackWriter(options), every);
    },
    async openSender(options: WorkloadOptions, target: Target): Promise<Sender> {
      const socket = await bindSocket({ connectTo: target });
      const window = windowOf(options, target.receiveBufferBytes);
      return new PacedSender(socket, target, parts.writer(options), parts.feedbackReader(options), window);
    },
  };
}

/** Half of what fills the receiver's buffer, as Linux charges for datagrams: a power of two of bytes, and some more. */
function windowOf(options: WorkloadOptions, receiveBufferBytes: number): number {
  const datagramBytes = options.mtu + SKB_OVERHEAD_BYTES;
  const charge = 2 ** Math.ceil(Math.log2(datagramBytes)) + SKB_BYTES;
  const fits = Math.floor(receiveBufferBytes / charge);
  return Math.max(2, Math.min(fits, numberSetting(options, 'window', WINDOW_MAX)));
}

/** Keys that both processes know: a benchmark has no handshake. ChaCha20-Poly1305, as the peers have it. */
function benchKeys(options: WorkloadOptions, direction: number): PacketKeys {
  const provider = chooseAead((options.settings.aead as AeadPreference | undefined) ?? 'auto');
  return packetKeys(provider, new Uint8Array(32).fill(direction));
}

function numberSetting(options: WorkloadOptions, name: string, fallback: number): number {
  const value = options.settings[name];
  return typeof value === 'number' ? value : fallback;
}

const TO_RECEIVER = 0x10;
const TO_SENDER = 0x20;
const ACK_EVERY = 16;
const WINDOW_MAX = 1_024;
const SKB_OVERHEAD_BYTES = 384;
const SKB_BYTES = 256;
