import { MILLISECOND, type Micros } from '../../src/base/time.ts';
import type { CloseReason } from '../../src/protocol/connection/lifecycle.ts';
import type { WorldNode } from '../../src/testing/world.ts';
import { DelayLog, Flow, type OutcomeName, Violation } from './invariants.ts';
import type { Peer, PeerApplication, PeerStream } from './peer.ts';
import { otherSide, type Scenario, SIDES, type Side, type StreamPlan } from './scenario.ts';

/** A planned stream with what both applications have done on it. */
export interface SharedStream {
  readonly plan: StreamPlan;
  /** By who sends. */
  readonly flows: Record<Side, Flow>;
}

/** What both applications know: the plan's streams and, once opened, their ids. */
export class SharedStreams {
  readonly all: readonly SharedStream[];
  readonly flows: readonly Flow[];
  readonly byId = new Map<number, SharedStream>();
  /** How long datagrams took, by who received them. */
  readonly delays: Record<Side, DelayLog> = { client: new DelayLog(), server: new DelayLog() };

  constructor(scenario: Scenario) {
    this.all = scenario.streams.map((plan, i) => ({
      plan,
      flows: {
        client: new Flow(2 * i, plan, 'client', this.delays.server),
        server: new Flow(2 * i + 1, plan, 'server', this.delays.client),
      },
    }));
    this.flows = this.all.flatMap(({ flows }) => SIDES.map((side) => flows[side]));
  }

  /** From now on only safety is promised. */
  breakAll(): void {
    for (const flow of this.flows) flow.broken = true;
  }
}

/** The application of one side: does what the scenario says and checks what it gets. */
export class Application implements PeerApplication {
  readonly side: Side;
  closed: CloseReason | null = null;
  connectedAt: Micros = -1;
  node: WorldNode | null = null;
  /** Half of the longest round trip that its connection has measured. */
  oneWayDelayMax: Micros = 0;
  private readonly peer: Peer;
  private readonly shared: SharedStreams;
  private readonly used = new Map<PeerStream, UsedStream>();

  constructor(peer: Peer, shared: SharedStreams) {
    this.side = peer.side;
    this.peer = peer;
    this.shared = shared;
  }

  /** The world's pump. */
  pump(): void {
    const delays = this.shared.delays[this.side];
    delays.add(this.at.arrivals);
    delays.hasRecovered = (this.peer.connection?.counters.packetsRecovered ?? 0) > 0;
    this.oneWayDelayMax = Math.max(this.oneWayDelayMax, (this.peer.connection?.path.rtt.latest ?? 0) / 2);
    this.peer.drain(this);
    this.peer.checkMemory();
    this.peer.checkSending();
  }

  onConnected(): void {
    this.connectedAt = this.now;
    this.shared.delays[this.side].connectedAt = this.now;
    for (const shared of this.shared.all) {
      if (shared.plan.opener === this.side) this.later(shared.plan.openAtMs, () => this.openStream(shared));
    }
  }

  onStream(stream: PeerStream): void {
    const shared = this.shared.byId.get(stream.id);
    if (shared === undefined) throw new Violation(`stream ${stream.id} came but was not opened`);
    for (const [name, value] of Object.entries(stream.settings)) {
      const planned = shared.plan[name as keyof typeof stream.settings];
      if (value !== planned)
        throw new Violation(`stream ${stream.id} came with ${name} ${value}, not ${planned}`);
    }
    this.use(stream, shared);
  }

  onReadable(stream: PeerStream): void {
    this.usedOf(stream).onReadable();
  }

  onWritable(stream: PeerStream): void {
    this.usedOf(stream).onWritable();
  }

  onOutcome(stream: PeerStream, tracking: number, outcome: OutcomeName): void {
    this.usedOf(stream).onOutcome(tracking, outcome);
  }

  onReset(stream: PeerStream): void {
    if (!this.usedOf(stream).shared.flows[this.side].broken) {
      throw new Violation(`stream ${stream.id} was reset by nobody`);
    }
  }

  onClosed(reason: CloseReason): void {
    if (this.closed !== null) throw new Violation('the connection was closed twice');
    this.closed = reason;
  }

  get now(): Micros {
    return this.at.world.now;
  }

  get at(): WorldNode {
    if (this.node === null) throw new Error('not in a world yet');
    return this.node;
  }

  /** Does something this long after the connection was there, unless it is closed by then. */
  later(ms: number, action: () => void): void {
    this.at.at(Math.max(this.now, this.connectedAt + Math.round(ms * MILLISECOND)), () => {
      if (this.closed === null && this.peer.connection?.lifecycle.takesStreams === true) action();
    });
  }

  private openStream(shared: SharedStream): void {
    const stream = this.peer.openStream(shared.plan);
    if (this.shared.byId.has(stream.id)) throw new Violation(`stream id ${stream.id} was given twice`);
    this.shared.byId.set(stream.id, shared);
    this.use(stream, shared);
  }

  private use(stream: PeerStream, shared: SharedStream): void {
    const used = new UsedStream(this, stream, shared);
    this.used.set(stream, used);
    used.begin();
  }

  private usedOf(stream: PeerStream): UsedStream {
    const used = this.used.get(stream);
    if (used === undefined) throw new Violation(`news of stream ${stream.id} before the stream itself`);
    return used;
  }
}

/** A stream in use by the application of one side. */
class UsedStream {
  readonly shared: SharedStream;
  private readonly application: Application;
  private readonly stream: PeerStream;
  private readonly outgoing: Flow;
  private readonly incoming: Flow;
  private readonly indexOfTracking = new Map<number, number>();
  private isFull = false;
  private wakesAt: Micros = -1;
  private readIsDue = false;
  private isReadToEnd = false;

  constructor(application: Application, stream: PeerStream, shared: SharedStream) {
    this.application = application;
    this.stream = stream;
    this.shared = shared;
    this.outgoing = shared.flows[application.side];
    this.incoming = shared.flows[otherSide(application.side)];
  }

  begin(): void {
    const { reset } = this.shared.plan;
    if (reset?.by === this.application.side) this.application.later(reset.atMs, () => this.reset());
    this.sendDue();
  }

  onWritable(): void {
    this.isFull = false;
    this.sendDue();
  }

  onOutcome(tracking: number, outcome: OutcomeName): void {
    const index = this.indexOfTracking.get(tracking);
    if (index === undefined)
      throw new Violation(`an outcome for tracking number ${tracking}, which is nobody's`);
    this.outgoing.settle(index, outcome, this.application.now, this.application.oneWayDelayMax);
  }

  onReadable(): void {
    const { reader } = this.incoming.plan;
    const { application } = this;
    if (reader.kind === 'eager') this.read(Number.POSITIVE_INFINITY);
    else if (reader.kind === 'slow')
      this.readLater(application.now + reader.everyMs * MILLISECOND, reader.count);
    else if (reader.kind === 'late') {
      this.readLater(application.connectedAt + reader.fromMs * MILLISECOND, Number.POSITIVE_INFINITY);
    }
  }

  /** Sends what is due by the plan, as long as the stream takes more. */
  private sendDue(): void {
    const { application, outgoing } = this;
    const { messages, end } = outgoing.plan;
    while (!outgoing.broken && !outgoing.finished && !this.isFull) {
      if (outgoing.sent.length === messages.length) {
        if (end === 'leave open') return;
        outgoing.finished = true;
        this.stream.finish();
        return;
      }
      const dueAt = application.connectedAt + messages[outgoing.sent.length].atMs * MILLISECOND;
      if (dueAt > application.now) {
        this.wakeAt(dueAt);
        return;
      }
      this.sendNext();
    }
  }

  private sendNext(): void {
    const { application, outgoing } = this;
    const { message, data } = outgoing.send(application.now);
    const tracking = message.tracked ? this.stream.track() : 0;
    if (tracking !== 0) this.indexOfTracking.set(tracking, message.index);
    this.isFull = !this.stream.send(
      data,
      message,
      tracking,
      outgoing.plan.messages[message.index].protection,
    );
    // The transport has copied what it keeps: what becomes of our bytes must not matter.
    data.fill(0xee);
  }

  private wakeAt(at: Micros): void {
    if (this.wakesAt === at) return;
    this.wakesAt = at;
    const { application } = this;
    application.later((at - application.connectedAt) / MILLISECOND, () => this.sendDue());
  }

  private readLater(at: Micros, count: number): void {
    if (this.readIsDue) return;
    this.readIsDue = true;
    this.application.at.at(at, () => {
      this.readIsDue = false;
      this.read(count);
    });
  }

  private read(count: number): void {
    const { application, incoming, stream } = this;
    for (let i = 0; i < count; i++) {
      const data = stream.read(application.now);
      if (data === null) break;
      // [STR-6] what comes behind the end, such as late best-effort messages, is lost
      if (this.isReadToEnd) throw new Violation(`${incoming.name}: a message was delivered behind the end`);
      incoming.receive(data, application.now, application.at.arrivals);
    }
    if (this.isReadToEnd) return;
    this.isReadToEnd = stream.ended;
    if (stream.ended && !incoming.broken) incoming.end();
    stream.onRead();
  }

  private reset(): void {
    if (this.stream.isForgotten) return;
    this.outgoing.broken = true;
    this.incoming.broken = true;
    this.stream.reset(7);
  }
}
