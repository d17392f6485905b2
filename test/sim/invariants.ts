import { type Micros, NEVER, SECOND } from '../../src/base/time.ts';
import type { LabDatagram } from '../../src/testing/network.ts';
import { contentOf, indexIn } from './content.ts';
import type { DeliveryName, FlowPlan, Side, StreamPlan } from './scenario.ts';

/** What its sender is told became of a message. */
export type OutcomeName = 'acknowledged' | 'expired' | 'lost' | 'dropped';

/** A message from its sending on. */
export interface SentMessage {
  readonly index: number;
  readonly size: number;
  readonly delivery: DeliveryName;
  readonly sentAt: Micros;
  readonly deadline: Micros;
  readonly tracked: boolean;
  outcome: OutcomeName | undefined;
  delivered: boolean;
}

/** A promise that was broken. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

/** One direction of one stream: records what went in and came out, and throws as soon as that cannot be. */
export class Flow {
  readonly number: number;
  readonly stream: StreamPlan;
  readonly plan: FlowPlan;
  readonly sender: Side;
  readonly sent: SentMessage[] = [];
  readonly delays: DelayLog;
  delivered = 0;
  /** The sender will send nothing more. */
  finished = false;
  /** The reader was told the end, and has read all before it. */
  endSeen = false;
  /** Either side gave the stream up, or the connection ended abruptly: nothing is promised but safety. */
  broken = false;
  /** Indices of what was delivered last, of the reliable and of the best-effort space. */
  private readonly last = { reliable: -1, bestEffort: -1 };

  constructor(number: number, stream: StreamPlan, sender: Side, delays: DelayLog) {
    this.number = number;
    this.stream = stream;
    this.plan = stream.flows[sender];
    this.sender = sender;
    this.delays = delays;
  }

  /** Name for messages about it. */
  get name(): string {
    const { ordered, delivery, opener } = this.stream;
    return `flow ${this.number} (${ordered ? 'ordered' : 'unordered'} ${delivery}, opened by ${opener}, from ${this.sender})`;
  }

  /** The next planned message is sent: what it is, and its bytes. */
  send(now: Micros): { message: SentMessage; data: Uint8Array } {
    const index = this.sent.length;
    const plan = this.plan.messages[index];
    const message: SentMessage = {
      index,
      size: plan.size,
      delivery: plan.delivery,
      sentAt: now,
      deadline:
        plan.lifetimeMs === Number.POSITIVE_INFINITY ? NEVER : now + Math.round(plan.lifetimeMs * 1_000),
      tracked: plan.tracked,
      outcome: undefined,
      delivered: false,
    };
    this.sent.push(message);
    return { message, data: contentOf(this.number, index, plan.size) };
  }

  /** The reader got these bytes. @param arrivals - the datagrams that came at this instant */
  receive(data: Uint8Array, now: Micros, arrivals: readonly LabDatagram[]): void {
    const message = this.match(data);
    if (message.delivered) this.fail(`message ${message.index} was delivered twice`);
    message.delivered = true;
    this.delivered++;
    this.checkOrder(message);
    this.checkDeadline(message, now, arrivals);
  }

  /** The reader saw the end of the stream. */
  end(): void {
    if (!this.finished) this.fail('the reader saw an end that the sender did not make');
    this.endSeen = true;
  }

  /** @param oneWayDelay - what the sender may have taken for the time under way, at most: a message that needs longer is past its deadline [STR-16] */
  settle(index: number, outcome: OutcomeName, now: Micros, oneWayDelay: Micros): void {
    const message = this.sent[index];
    if (message.outcome !== undefined)
      this.fail(`message ${index} has two outcomes: ${message.outcome}, ${outcome}`);
    message.outcome = outcome;
    // [STR-40] What takes long to send may be given up while there is time, a small message not for all of it: no window is below two packets.
    const isSmall = message.size <= SMALL_BYTES_MAX;
    const sending = (message.size / PACKET_BYTES_MIN) * oneWayDelay;
    if (outcome === 'expired' && isSmall && now < message.deadline - oneWayDelay - sending)
      this.fail(`message ${index} expired ${message.deadline - now} us before its deadline`);
    if (outcome === 'lost' && message.delivery !== 'bestEffort')
      this.fail(`message ${index} is lost but not best effort`);
    const mayDrop = this.broken || message.deadline !== NEVER || message.delivery === 'bestEffort';
    if (outcome === 'dropped' && !mayDrop) this.fail(`reliable message ${index} was dropped`);
  }

  /** Bytes that are at the reader's transport for sure, and that it has not read. */
  get unreadBytes(): number {
    let bytes = 0;
    for (const { outcome, delivered, delivery, size } of this.sent) {
      if (outcome === 'acknowledged' && !delivered && delivery !== 'bestEffort') bytes += size;
    }
    return bytes;
  }

  /** What is still to come in a run that ends well, in words; undefined when nothing is. */
  get missing(): string | undefined {
    if (this.broken || this.plan.reader.kind === 'never') return undefined;
    const unsent = this.plan.messages.length - this.sent.length;
    if (unsent > 0) return `${this.name}: ${unsent} messages were not sent`;
    const lost = this.sent.filter(({ delivered, delivery }) => !delivered && delivery === 'reliable');
    if (lost.length > 0)
      return `${this.name}: ${lost.length} reliable messages missing, first ${lost[0].index}`;
    const open = this.sent.filter(({ tracked, outcome }) => tracked && outcome === undefined);
    if (open.length > 0)
      return `${this.name}: ${open.length} messages without an outcome, first ${open[0].index}`;
    if (this.finished && !this.endSeen) return `${this.name}: the reader did not see the end`;
    return undefined;
  }

  /** Which message these bytes are: the first byte says so. Of empty ones, the next. */
  private match(data: Uint8Array): SentMessage {
    const message = data.length === 0 ? this.nextEmpty() : this.sent[indexIn(data)];
    if (message === undefined || !this.isContent(data, message)) this.failInvented(data);
    return message;
  }

  private nextEmpty(): SentMessage | undefined {
    const empty = this.sent.filter(({ size }) => size === 0);
    return empty.find(({ delivered }) => !delivered) ?? empty[0];
  }

  private isContent(data: Uint8Array, message: SentMessage): boolean {
    if (data.length !== message.size) return false;
    const expected = contentOf(this.number, message.index, message.size);
    return Buffer.compare(data, expected) === 0;
  }

  private checkOrder(message: SentMessage): void {
    if (!this.stream.ordered) return;
    const space = spaceOf(message);
    if (message.index < this.last[space])
      this.fail(`message ${message.index} came behind ${this.last[space]}`);
    this.last[space] = message.index;
  }

  private checkDeadline(message: SentMessage, now: Micros, arrivals: readonly LabDatagram[]): void {
    if (message.deadline === NEVER) return;
    // Read at once and in any order, a message comes with the packet that completed it; else, or when packets waited for their key
    // until the connection was there, that packet came before.
    const isExact =
      !this.stream.ordered &&
      this.plan.reader.kind === 'eager' &&
      now > this.delays.connectedAt &&
      !this.delays.hasRecovered;
    // Of a packet that was recovered the way of one before it counts, which was sent earlier. [FEC-44]
    const from = this.delays.hasRecovered ? message.sentAt - SECOND : message.sentAt;
    const delay = isExact ? longestDelay(arrivals) : this.delays.longest(from, message.deadline);
    if (now > message.deadline + delay) {
      this.fail(
        `message ${message.index} came ${now - message.deadline} us behind its deadline, one way taking ${delay} us`,
      );
    }
  }

  private failInvented(data: Uint8Array): never {
    const start = Buffer.from(data.subarray(0, 16)).toString('hex');
    this.fail(`${data.length} bytes were delivered that were not sent: ${start}`);
  }

  private fail(problem: string): never {
    throw new Violation(`${this.name}: ${problem}`);
  }
}

/** How long the datagrams to one side took. */
export class DelayLog {
  /** When that side was connected. */
  connectedAt: Micros = NEVER;
  /** That side has recovered packets that did not arrive. */
  hasRecovered = false;
  private readonly sentAt: Micros[] = [];
  private readonly arrivedAt: Micros[] = [];

  add(arrivals: readonly LabDatagram[]): void {
    for (const { sentAt, arrivedAt } of arrivals) {
      this.sentAt.push(sentAt);
      this.arrivedAt.push(arrivedAt);
    }
  }

  /** The longest time that a datagram took which was sent in [from, to]. */
  longest(from: Micros, to: Micros): Micros {
    let longest = 0;
    for (let i = this.sentAt.length - 1; i >= 0 && this.arrivedAt[i] >= from; i--) {
      const isWithin = this.sentAt[i] >= from && this.sentAt[i] <= to;
      if (isWithin) longest = Math.max(longest, this.arrivedAt[i] - this.sentAt[i]);
    }
    return longest;
  }
}

function longestDelay(arrivals: readonly LabDatagram[]): Micros {
  return arrivals.reduce((longest, { sentAt, arrivedAt }) => Math.max(longest, arrivedAt - sentAt), 0);
}

function spaceOf({ delivery }: SentMessage): 'reliable' | 'bestEffort' {
  return delivery === 'bestEffort' ? 'bestEffort' : 'reliable';
}

/** No packet size in use is smaller. */
const PACKET_BYTES_MIN = 512;
/** A larger message may be given up long before its deadline, by how slow its path, or what is left of it to such messages, may be. */
const SMALL_BYTES_MAX = 256;
