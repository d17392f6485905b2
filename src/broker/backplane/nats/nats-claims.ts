/** What a node on NATS has alone, and the state that goes with it: the table of its claims, over a stream that all nodes see, with what nodes say to each other about them. [CLU-25] */

import type { BackplaneEvents, ClaimAsker, ClaimDemand } from '../../core/backplane/backplane-port.ts';
import type { StatePort, StoreEvents } from '../../core/store-port.ts';
import type { NodeRun } from '../claims/claim-record.ts';
import { ClaimTable, type ClaimWord } from '../claims/claim-table.ts';
import { ClaimedState } from '../claims/claimed-state.ts';
import { ClusterNumbers } from '../claims/numbers.ts';
import { Orphans } from '../claims/orphans.ts';
import { isNodeName } from '../node-name.ts';
import { NatsClaimStream } from './claim-stream.ts';
import type { NatsLine } from './line.ts';
import type { NatsModules } from './modules.ts';

export interface NatsClaimsParts {
  readonly modules: NatsModules;
  readonly line: NatsLine;
  readonly cluster: string;
  readonly replicas: number;
  /** `jsp.<cluster>.` */
  readonly prefix: string;
  readonly own: NodeRun;
  /** Whether this run of a node is one of the cluster now. */
  isAlive(run: NodeRun): boolean;
  /** All nodes of the cluster, this one among them. */
  nodes(): readonly string[];
  /** For the core, in order. */
  tell(news: (events: BackplaneEvents) => void): void;
  /** The state has news for the core. */
  onNews(): void;
}

export class NatsClaims {
  readonly state: StatePort;
  hasNews = false;
  private readonly parts: NatsClaimsParts;
  private readonly stream: NatsClaimStream;
  private readonly table: ClaimTable;
  private readonly numbers: ClusterNumbers;
  private readonly orphans: Orphans;

  private constructor(parts: NatsClaimsParts, stream: NatsClaimStream) {
    const { own } = parts;
    this.parts = parts;
    this.stream = stream;
    const isAlive = (run: NodeRun) => parts.isAlive(run);
    this.table = new ClaimTable({
      ...{ bucket: stream, own, after, isAlive },
      say: (...said) => this.say(...said),
      tell: (news) => parts.tell(news),
      onSynced: () => {
        this.hasNews = true;
        parts.onNews();
      },
    });
    this.state = new ClaimedState(this.table);
    this.numbers = new ClusterNumbers(stream, { after });
    this.orphans = new Orphans(
      { ...{ bucket: stream, own, after, isAlive }, nodes: () => parts.nodes() },
      this.table,
    );
    parts.line.subscribe(this.subjectOf(own.node), ({ data }) => this.hear(data));
  }

  /** Resolves when claims can be had, and numbers. @throws {JspError} ERR_JSP_BACKPLANE_FAILED */
  static async open(parts: NatsClaimsParts): Promise<NatsClaims> {
    const stream = await NatsClaimStream.open(parts.modules, parts.line, parts);
    const claims = new NatsClaims(parts, stream);
    await new Promise<void>((resolve) => claims.numbers.start(resolve));
    claims.orphans.start();
    return claims;
  }

  /** How many this node has, or is about to have. */
  get count(): number {
    return this.table.size;
  }

  claim(key: string, demand: ClaimDemand, asker: ClaimAsker): void {
    this.table.claim(key, demand, asker);
  }

  release(key: string): void {
    this.table.release(key);
  }

  keep(key: string): void {
    this.table.keep(key);
  }

  newNumber(): number {
    return this.numbers.newNumber();
  }

  tell(events: Pick<StoreEvents, 'stateStored'>): void {
    this.hasNews = false;
    events.stateStored();
  }

  /** NATS can be reached again. */
  resume(): void {
    this.stream.resume();
    this.orphans.lookAgain(); // what others have said meanwhile has not come
  }

  nodeGone(): void {
    this.table.nodeGone();
    this.orphans.lookAgain();
  }

  /** Others take this node for gone, or do not any more. [CLU-26] */
  lapsed(isLapsed: boolean): void {
    if (isLapsed) this.table.lapse();
    else this.orphans.lookAgain();
  }

  /** Writes what waits, and takes nothing more: what it has is for the others to take when this node is gone. */
  async close(): Promise<void> {
    this.orphans.close();
    for (
      let waits = 0;
      !this.table.isIdle && this.parts.line.isUp && waits < CLOSE_MS;
      waits += CLOSE_STEP_MS
    ) {
      await new Promise((resolve) => setTimeout(resolve, CLOSE_STEP_MS));
    }
  }

  private say(node: string, word: ClaimWord, key: string, ageMs: number): void {
    const { line, own } = this.parts;
    if (!line.isUp || !line.hasRoom) return; // it is said again, or looked at
    const name = Buffer.from(own.node);
    const head = Buffer.alloc(HEAD_BYTES);
    head[0] = VERSION;
    head[1] = word;
    head.writeUInt32BE(Math.min(AGE_MS_MAX, Math.max(0, Math.floor(ageMs))), 2);
    head[6] = name.length;
    const message = Buffer.concat([head, name, Buffer.from(key)]);
    line.nats.publish(this.subjectOf(node), message);
    line.count(message.length);
  }

  private hear(data: Uint8Array): void {
    const message = Buffer.from(data.buffer, data.byteOffset, data.length);
    const keyAt = message.length < HEAD_BYTES ? Number.POSITIVE_INFINITY : HEAD_BYTES + message[6];
    if (message.length <= keyAt || message[0] !== VERSION) return;
    const from = message.toString('utf8', HEAD_BYTES, keyAt);
    const key = message.toString('utf8', keyAt);
    if (isNodeName(from) && from !== this.parts.own.node)
      this.table.hear(from, message[1] as ClaimWord, key, message.readUInt32BE(2));
  }

  private subjectOf(node: string): string {
    return `${this.parts.prefix}n.${node}.c`;
  }
}

function after(ms: number, act: () => void): () => void {
  if (ms === 0) {
    const immediate = setImmediate(act);
    return () => clearImmediate(immediate);
  }
  const timer = setTimeout(act, ms);
  timer.unref();
  return () => clearTimeout(timer);
}

const VERSION = 1;
/** Version, word, age u32, length of the name of who says it. */
const HEAD_BYTES = 7;
const AGE_MS_MAX = 0xffff_ffff;
const CLOSE_MS = 3_000;
const CLOSE_STEP_MS = 5;
