/**
 * Claims as a stream of JetStream with one message a subject, in the form of a bucket of keys and values, so that its tools can look into it. A change expects the sequence of the one before;
 * what is taken away is deleted by its sequence, so that of names that come and go nothing stays. [CLU-25]
 */

import type { JetStreamClient, JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import { JspError } from '../../../base/errors.ts';
import { type BucketEntry, type ClaimBucket, WriteFault } from '../claims/claim-bucket.ts';
import type { NatsLine } from './line.ts';
import type { NatsModules } from './modules.ts';
import { reasonOf } from './replicas.ts';
import { findOrMake } from './stream-config.ts';

/** The bucket of the claims of a cluster. */
export function claimsBucket(cluster: string): string {
  return `jsp_${cluster}_claims`;
}

export class NatsClaimStream implements ClaimBucket {
  private readonly line: NatsLine;
  private readonly modules: NatsModules;
  private readonly js: JetStreamClient;
  private readonly manager: JetStreamManager;
  private readonly stream: string;
  private readonly prefix: string;
  /** What is to be read when NATS can be reached again. */
  private parked: (() => void)[] = [];

  private constructor(modules: NatsModules, line: NatsLine, manager: JetStreamManager, bucket: string) {
    this.modules = modules;
    this.line = line;
    this.manager = manager;
    this.js = manager.jetstream();
    this.stream = `KV_${bucket}`;
    this.prefix = `$KV.${bucket}.`;
  }

  /** Finds the stream, or makes it. @throws {JspError} ERR_JSP_BACKPLANE_FAILED */
  static async open(
    modules: NatsModules,
    line: NatsLine,
    { cluster, replicas }: { cluster: string; replicas: number },
  ): Promise<NatsClaimStream> {
    const { jetstream } = modules;
    const bucket = claimsBucket(cluster);
    try {
      const manager = await jetstream.jetstreamManager(line.nats, { timeout: OPEN_MS });
      const claims = new NatsClaimStream(modules, line, manager, bucket);
      await claims.make(replicas);
      return claims;
    } catch (error) {
      throw new JspError(
        'ERR_JSP_BACKPLANE_FAILED',
        `NATS does not let this broker keep what belongs to sessions (stream KV_${bucket}): ${reasonOf(error, replicas)}.`,
        { cause: error },
      );
    }
  }

  /** NATS can be reached again. */
  resume(): void {
    const { parked } = this;
    this.parked = [];
    for (const read of parked) read();
  }

  read(key: string, done: (found: BucketEntry | null) => void): void {
    if (!this.line.isUp) {
      this.parked.push(() => this.read(key, done));
      return;
    }
    const tell = (found: BucketEntry | null) => this.line.attempt(() => done(found));
    this.manager.direct.getMessage(this.stream, { last_by_subj: this.subjectOf(key) }).then(
      (message) => tell(message === null ? NOTHING : { revision: message.seq, value: message.data }),
      (error) => tell(this.isNotFound(error) ? NOTHING : null),
    );
  }

  write(key: string, value: Uint8Array | null, revision: number, done: (outcome: number) => void): void {
    if (!this.line.isUp) {
      done(WriteFault.UNKNOWN);
      return;
    }
    const tell = (outcome: number) => this.line.attempt(() => done(outcome));
    const failed = (error: unknown) => tell(this.faultOf(error));
    if (value === null) {
      if (revision === 0)
        tell(1); // it never was there
      else
        this.manager.streams.deleteMessage(this.stream, revision, false).then(() => tell(revision), failed);
      return;
    }
    const expect = { lastSubjectSequence: revision };
    this.js
      .publish(this.subjectOf(key), value, { expect, timeout: WRITE_MS, retries: 0 })
      .then(({ seq }) => tell(seq), failed);
  }

  scan(each: (key: string, entry: BucketEntry) => boolean, done: (isWhole: boolean) => void): void {
    const tell = (isWhole: boolean) => this.line.attempt(() => done(isWhole));
    void this.scanAll(each).then(tell, () => tell(false));
  }

  private async scanAll(each: (key: string, entry: BucketEntry) => boolean): Promise<boolean> {
    const { manager, stream, modules } = this;
    const { DeliverPolicy } = modules.jetstream;
    const { state } = await manager.streams.info(stream);
    if (state.messages === 0) return true;
    const consumer = await this.js.consumers.get(stream, { deliver_policy: DeliverPolicy.LastPerSubject });
    const messages = await consumer.consume({ max_messages: 1_000 });
    try {
      for await (const message of messages) {
        const key = this.keyOf(message.subject);
        // What has no data is nothing, or of a tool that deletes in its own way.
        const value = message.data.length === 0 ? null : message.data;
        let isEnough = false;
        this.line.attempt(() => {
          isEnough = key !== null && !each(key, { revision: message.seq, value });
        });
        if (isEnough) return false;
        if (message.info.pending === 0) return true;
      }
      return false;
    } finally {
      messages.stop();
    }
  }

  private async make(replicas: number): Promise<StreamInfo> {
    const { DiscardPolicy, RetentionPolicy, StorageType } = this.modules.jetstream;
    const config = {
      name: this.stream,
      subjects: [`${this.prefix}>`],
      num_replicas: replicas,
      max_msgs_per_subject: 1,
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.New,
      storage: StorageType.File,
      allow_rollup_hdrs: true,
      allow_direct: true,
    };
    return await findOrMake(this.manager, config);
  }

  private subjectOf(key: string): string {
    return this.prefix + bucketKeyOf(key);
  }

  private keyOf(subject: string): string | null {
    return subject.startsWith(this.prefix) ? claimOfBucketKey(subject.slice(this.prefix.length)) : null;
  }

  private faultOf(error: unknown): number {
    const { JetStreamApiError } = this.modules.jetstream;
    if (error instanceof JetStreamApiError && CONFLICTS.has(error.code)) return WriteFault.CONFLICT;
    return WriteFault.UNKNOWN;
  }

  private isNotFound(error: unknown): boolean {
    const { JetStreamApiError } = this.modules.jetstream;
    return error instanceof JetStreamApiError && (error.code === NO_MESSAGE || error.status === 404);
  }
}

/** A claim as a key of a bucket of NATS: its kind, a dot, and its name, of which all but letters, digits, `-` and `_` is `=` and two digits for each byte. [CLU-21] */
export function bucketKeyOf(claim: string): string {
  if (claim[1] !== '/') return claim;
  let key = `${claim[0]}.`;
  for (const byte of Buffer.from(claim.slice(2))) {
    const isPlain = PLAIN.test(String.fromCharCode(byte));
    key += isPlain ? String.fromCharCode(byte) : `=${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return key;
}

/** The claim of such a key; null: it is none. */
export function claimOfBucketKey(key: string): string | null {
  if (!KEY.test(key)) return null;
  const bytes: number[] = [];
  for (let at = 2; at < key.length; at++) {
    if (key[at] !== '=') bytes.push(key.charCodeAt(at));
    else {
      bytes.push(Number.parseInt(key.slice(at + 1, at + 3), 16));
      at += 2;
    }
  }
  const claim = `${key[0]}/${Buffer.from(bytes).toString()}`;
  return bucketKeyOf(claim) === key ? claim : null;
}

const PLAIN = /[A-Za-z0-9_-]/;
const KEY = /^[sdw]\.(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+$/;
const NOTHING: BucketEntry = { revision: 0, value: null };
const OPEN_MS = 5_000;
const WRITE_MS = 3_000;
/** Codes of JetStream. */
const NO_MESSAGE = 10_037;
/** The last sequence is another one; there is no message of this sequence, or none that can be deleted. */
const CONFLICTS: ReadonlySet<number> = new Set([10_071, NO_MESSAGE, 10_043, 10_057]);
