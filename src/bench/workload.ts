import type { RecordableHistogram } from 'node:perf_hooks';

/**
 * What a benchmark runs: a sender and a receiver, each in a process of its own. The harness starts both, lets them warm up, and reads
 * their counts; nothing is counted that did not arrive.
 */
export interface Workload {
  readonly name: string;
  /** URL of the module whose export `workloads` holds this workload, for the processes to load: `import.meta.url`. */
  readonly module: string;
  openReceiver(options: WorkloadOptions): Promise<Receiver>;
  openSender(options: WorkloadOptions, target: Target): Promise<Sender>;
}

export interface WorkloadOptions {
  /** Bytes of a message; 0 for as many as fill a datagram. */
  readonly size: number;
  /** Bytes of the largest datagram, as UDP payload. */
  readonly mtu: number;
  /** What only some workloads know. */
  readonly settings: Readonly<Record<string, string | number | boolean>>;
}

/** Where a receiver is. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** What the system granted for receiving. */
  readonly receiveBufferBytes: number;
  /** What to connect to, of a receiver that listens with the transport. */
  readonly url?: string;
}

export interface Receiver {
  readonly target: Target;
  counts(): Counts;
  close(): Promise<void>;
}

export interface Sender {
  start(): void;
  stop(): void;
  counts(): Counts;
  /** Round trips, of a workload that measures them: see {@link recordMicros}. */
  readonly latencies: RecordableHistogram | null;
  close(): Promise<void>;
}

/** What a side has sent or received so far. A receiver counts each message once. */
export interface Counts {
  messages: number;
  /** Bytes of messages. */
  bytes: number;
  /** Datagrams, or reads of a stream. */
  packets: number;
}
