/**
 * Who is of the cluster: each node writes an entry into a bucket of NATS, again and again, and is gone when it has taken the entry back, or has not written it for {@link LEASE_MS}. A node
 * that could not write for as long knows that the others take it for gone. [CLU-11]
 */

import type { KV, KvWatchEntry } from '@nats-io/kv';
import { assert, JspError } from '../../../base/errors.ts';
import type { NodeRecord, OwnRecord } from '../backplane.ts';
import { isNodeName } from '../node-name.ts';
import type { NatsLine } from './line.ts';
import { type NatsModules, patiently } from './modules.ts';
import { reasonOf } from './replicas.ts';

export interface NodesListener {
  came(node: string): void;
  gone(node: string): void;
  /** This node could not write for so long that others take it for gone; or can again. */
  lapsed(isLapsed: boolean): void;
  /** Another process has this node's name, and it is the newer one. */
  replaced(by: NodeRecord): void;
}

type Entries = Awaited<ReturnType<KV['watch']>>;

interface Known {
  record: NodeRecord;
  /** Monotonic, ms: when its last entry came. */
  heardMs: number;
}

/** The bucket of those who are of a cluster. */
export function nodesBucket(cluster: string): string {
  return `jsp_${cluster}_nodes`;
}

export class NatsNodes {
  /** What this node says of itself; asked at each entry. */
  describe: () => OwnRecord = () => ({ urls: [], clients: 0, sessions: 0, claims: 0, draining: false });
  /** Filters that this node wants. */
  interest: () => number = () => 0;
  listener: NodesListener | null = null;
  private readonly bucket: KV;
  private readonly line: NatsLine;
  private readonly own: Pick<NodeRecord, 'node' | 'number' | 'version' | 'startedAt'>;
  private readonly nowMs: () => number;
  private readonly known = new Map<string, Known>();
  private timer: NodeJS.Timeout | null = null;
  private isWriting = false;
  private entries: Entries | null = null;
  private isLapsed = false;
  private isReplaced = false;
  /** Monotonic, ms: when the last entry was begun that NATS has taken. */
  private writtenMs: number;
  /** How long NATS took for it, ms. */
  lagMs = 0;
  /** When one was begun last. */
  private begunMs = 0;

  private constructor(bucket: KV, line: NatsLine, own: NatsNodes['own'], nowMs: () => number) {
    this.bucket = bucket;
    this.line = line;
    this.own = own;
    this.nowMs = nowMs;
    this.writtenMs = nowMs();
  }

  /** Joins the cluster. @throws {JspError} ERR_JSP_BACKPLANE_FAILED */
  static async open(
    { kv }: NatsModules,
    line: NatsLine,
    {
      cluster,
      replicas,
      nowMs,
      ...own
    }: NatsNodes['own'] & {
      cluster: string;
      replicas: number;
      nowMs: () => number;
    },
  ): Promise<NatsNodes> {
    try {
      // What was made just now, by another node perhaps, is there for everybody only after a while.
      const nodes = await patiently(async () => {
        const limits = { ttl: LEASE_MS, history: 1, replicas };
        const bucket = await new kv.Kvm(line.nats).create(nodesBucket(cluster), limits);
        const joined = new NatsNodes(bucket, line, own, nowMs);
        await joined.write();
        return joined;
      });
      await nodes.watch();
      nodes.timer = setInterval(() => nodes.goOn(), LOOK_MS);
      nodes.timer.unref();
      return nodes;
    } catch (error) {
      const { message } = error as Error;
      const because = /jetstream/i.test(message)
        ? `it has no JetStream for this account (${message}): start it with -js`
        : reasonOf(error, replicas);
      throw new JspError(
        'ERR_JSP_BACKPLANE_FAILED',
        `NATS does not let this broker join the cluster: ${because}.`,
        {
          cause: error,
        },
      );
    }
  }

  /** All nodes, this one among them. */
  get list(): readonly NodeRecord[] {
    return [...this.known.values()].map(({ record }) => record);
  }

  has(node: string): boolean {
    return node === this.own.node || this.known.has(node);
  }

  /** Whether this run of a node is of the cluster. */
  hasRun(node: string, number: number): boolean {
    const { own } = this;
    return node === own.node ? number === own.number : this.known.get(node)?.record.number === number;
  }

  /** What it says of itself has changed by much. */
  writeSoon(): void {
    if (this.line.isUp) void this.write().catch(ignore);
  }

  /** Leaves the cluster: the others know at once. */
  async close(): Promise<void> {
    if (this.timer !== null) clearInterval(this.timer);
    this.timer = null;
    if (this.line.isUp && !this.isReplaced) await this.bucket.delete(this.own.node).catch(ignore);
  }

  /** When the last entry was begun that NATS has taken: monotonic, ms. */
  get lastWrittenMs(): number {
    return this.writtenMs;
  }

  /** Whether this node is one still. */
  look(): void {
    const now = this.nowMs();
    const isLapsed = now - this.writtenMs > LEASE_MS - MARGIN_MS;
    if (isLapsed === this.isLapsed) return;
    this.isLapsed = isLapsed;
    // What others have written meanwhile has not come either: they begin anew.
    if (!isLapsed) for (const known of this.known.values()) known.heardMs = now;
    this.listener?.lapsed(isLapsed);
  }

  /** Whether the others are. While this one is cut off, it does not know. */
  judge(): void {
    if (this.isLapsed || this.isDeaf) return;
    const now = this.nowMs();
    for (const [node, { heardMs }] of this.known) {
      if (node !== this.own.node && now - heardMs > LEASE_MS) this.forget(node);
    }
  }

  /** What this node has written has not come back: what others have written may not have come either. */
  private get isDeaf(): boolean {
    const heardMs = this.known.get(this.own.node)?.heardMs ?? 0;
    return this.writtenMs - heardMs > DEAF_MS;
  }

  private goOn(): void {
    const isDue = this.nowMs() - this.begunMs >= BEAT_MS;
    if (this.line.isUp && this.isDeaf) this.listenAnew();
    if (this.line.isUp && isDue) void this.write().catch(ignore); // the next one tries again
    this.look();
    this.judge();
  }

  private async write(): Promise<void> {
    if (this.isWriting || this.isReplaced) return;
    this.isWriting = true;
    const began = this.nowMs();
    this.begunMs = began;
    try {
      const { lagMs } = this;
      const record: NodeRecord = { ...this.own, ...this.describe(), interest: this.interest(), lagMs };
      await this.bucket.put(this.own.node, JSON.stringify(record));
      this.lagMs = Math.round((this.nowMs() - began) * 1_000) / 1_000;
      this.writtenMs = began;
      this.look();
    } finally {
      this.isWriting = false;
    }
  }

  /** The others have as long again as after a beat of theirs, and this one has to come back in time, or it is done once more. */
  private listenAnew(): void {
    const now = this.nowMs();
    for (const known of this.known.values()) known.heardMs = now;
    void this.watch().catch(ignore);
  }

  /** Resolves when all entries that there are have come. */
  private async watch(): Promise<void> {
    this.entries?.stop();
    const entries = await this.bucket.watch();
    this.entries = entries;
    await new Promise<void>((resolve) => {
      void (async () => {
        for await (const entry of entries) {
          this.line.attempt(() => this.hear(entry));
          if (entry.key === this.own.node) resolve(); // which was written before, so it is the last of them
        }
      })();
    });
  }

  private hear(entry: KvWatchEntry): void {
    if (entry.operation !== 'PUT') {
      this.forget(entry.key);
      return;
    }
    const record = recordOf(entry);
    if (record === null) return;
    const { node, number } = record;
    if (node === this.own.node && number !== this.own.number) {
      // Entries of a run before this one are older than the first of this one.
      if (record.startedAt >= this.own.startedAt && !this.isReplaced) {
        this.isReplaced = true;
        this.listener?.replaced(record);
      }
      return;
    }
    const before = this.known.get(node);
    if (before !== undefined && before.record.number !== number) this.forget(node); // another run of it
    const isNew = !this.known.has(node);
    if (isNew && this.known.size >= NODES_MAX && node !== this.own.node) return;
    this.known.set(node, { record, heardMs: this.nowMs() });
    if (isNew && node !== this.own.node) this.listener?.came(node);
  }

  private forget(node: string): void {
    if (!this.known.delete(node) || node === this.own.node) return;
    this.listener?.gone(node);
  }
}

function recordOf(entry: KvWatchEntry): NodeRecord | null {
  try {
    const record = entry.json<Partial<NodeRecord>>();
    const { number, urls = [], version = '', draining = false } = record;
    assert(
      record.node === entry.key && isNodeName(entry.key) && typeof number === 'number',
      'not an entry of a node',
    );
    assert(entry.length <= ENTRY_BYTES_MAX, 'larger than a node writes');
    assert(Array.isArray(urls) && urls.every((url) => typeof url === 'string'), 'not URLs');
    const figures = { startedAt: 0, clients: 0, sessions: 0, claims: 0, interest: 0, lagMs: 0 };
    for (const name of Object.keys(figures) as (keyof typeof figures)[])
      figures[name] = Number(record[name] ?? 0);
    return {
      node: entry.key,
      number,
      urls,
      version: String(version),
      draining: draining === true,
      ...figures,
    };
  } catch {
    return null; // somebody else has written there
  }
}

function ignore(): void {}

/** Nodes that are known; what others write there is not of the cluster. */
export const NODES_MAX = 256;
const ENTRY_BYTES_MAX = 64 * 1_024;
/** A node that has not written for so long is gone. */
export const LEASE_MS = 10_000;
const BEAT_MS = 2_500;
/** A node gives up so much sooner than others give it up. */
const MARGIN_MS = 1_000;
const LOOK_MS = 500;
/** Longer than a beat takes to come back. */
const DEAF_MS = 2 * BEAT_MS;
