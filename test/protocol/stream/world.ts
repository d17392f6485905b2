import { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, type Micros, NEVER } from '../../../src/base/time.ts';
import { FlowCredit, FlowWindow } from '../../../src/protocol/stream/flow-control.ts';
import { KeptMemory } from '../../../src/protocol/stream/receive/kept-memory.ts';
import { BestEffortBudget, ReceiveContext } from '../../../src/protocol/stream/receive/receive-context.ts';
import { ReceiveStream } from '../../../src/protocol/stream/receive/receive-stream.ts';
import { SlabPool } from '../../../src/protocol/stream/send/message-records.ts';
import { Outcome, SendContext } from '../../../src/protocol/stream/send/send-context.ts';
import { SendStream } from '../../../src/protocol/stream/send/send-stream.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { Delivery, FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { writeDataBlocked, writeMaxData } from '../../../src/protocol/wire/frames/flow-control.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { PacketRecord } from '../wire/recorded.ts';
import { writerOn } from './link.ts';

/** Everything that a run may vary. */
export interface Scenario {
  seed: number;
  streams: number;
  ordered: boolean;
  deliveries: Delivery[];
  lossRate: number;
  duplicateRate: number;
  spuriousRate: number;
  delayMax: Micros;
  mtuMin: number;
  mtuMax: number;
  windowBytes: number;
  connectionWindowBytes: number;
  budgetBytes: number;
  messagesPerStream: number;
  lengthMax: number;
  lifetimeMax: Micros;
  /** Chance in each step that the application reads what there is. */
  readRate: number;
  ending: 'close' | 'reset' | 'stop';
}

interface Sent {
  id: number;
  stream: number;
  delivery: Delivery;
  deadline: Micros;
  length: number;
  deliveredAt: number;
  outcome: Outcome | -1;
}

interface Flight {
  number: number;
  record: PacketRecord;
  /** Arrived, once or more. */
  arrived: boolean;
  settledAs: 'none' | 'lost' | 'acked';
  sentAt: Micros;
}

interface Arrival {
  at: Micros;
  bytes: Uint8Array;
  flight: Flight;
}

const STEP = MILLISECOND;
const HEADER_BYTES = 8;

/**
 * Streams between two endpoints over a link that loses, reorders and duplicates packets, with virtual time and everything drawn from one
 * seed. It checks all along that nothing is invented, doubled, out of order or late, and that both sides keep to their limits.
 */
export class World {
  readonly sent: Sent[] = [];
  now: Micros = 0;
  readonly sendContext: SendContext;
  readonly receiveContext: ReceiveContext;
  readonly senders: SendStream[] = [];
  readonly receivers: ReceiveStream[] = [];
  private readonly random: Prng;
  private readonly scenario: Scenario;
  private readonly reader = new FrameReader();
  private readonly scratch = new Uint8Array(70_000);
  private readonly openAt: boolean[] = [];
  private readonly lastRead: number[] = [];
  private mtu: number;
  /** Sender's packets and receiver's packets: under way, and waiting for their fate. */
  private forth: Arrival[] = [];
  private back: Arrival[] = [];
  private forthFlights: Flight[] = [];
  private backFlights: Flight[] = [];
  private numbers = 0;
  /** Packets that the receiver got and whose acknowledgement may not have arrived. */
  private toAck: Flight[] = [];
  private maxDataLost = false;

  constructor(scenario: Scenario) {
    this.scenario = scenario;
    this.random = new Prng(scenario.seed);
    this.mtu = scenario.mtuMax;
    this.sendContext = new SendContext(
      new SlabPool(),
      new FlowCredit(scenario.connectionWindowBytes),
      this.mtu,
    );
    this.receiveContext = new ReceiveContext(
      new FlowWindow(scenario.connectionWindowBytes),
      new BestEffortBudget(scenario.budgetBytes),
      scenario.lengthMax,
      new KeptMemory(8_192),
    );
    for (let i = 0; i < scenario.streams; i++) {
      const id = 4 * i;
      this.senders.push(
        new SendStream(this.sendContext, {
          id,
          opening: { flags: 0, label: new Uint8Array(this.random.below(20)) },
          initialMaxStreamData: scenario.windowBytes,
        }),
      );
      this.receivers.push(
        new ReceiveStream(this.receiveContext, {
          id,
          ordered: scenario.ordered,
          windowBytes: scenario.windowBytes,
        }),
      );
      this.openAt.push(false);
      this.lastRead.push(-1, -1);
    }
  }

  /** Runs to the end and checks what is left. */
  run(): void {
    const { scenario } = this;
    let left = scenario.messagesPerStream * scenario.streams;
    const endsAt = this.random.between(1, Math.max(1, left));
    let ended = false;
    for (let steps = 0; !this.finished; steps++) {
      if (steps > 100_000) this.fail('the streams did not finish');
      this.now += STEP;
      while (left > 0 && this.random.chance(0.5)) {
        if (!ended || scenario.ending === 'close') this.sendOne();
        left--;
      }
      if (!ended && scenario.ending !== 'close' && left <= endsAt) {
        ended = true;
        this.end();
      }
      if (left === 0 && !ended) {
        ended = true;
        for (const sender of this.senders) sender.close();
      }
      if (this.random.chance(0.05)) this.mtu = this.random.between(scenario.mtuMin, scenario.mtuMax);
      this.timers();
      this.transmit();
      this.deliver();
      if (this.random.chance(scenario.readRate) || left === 0) this.readSome();
      this.decideFates();
      this.checkLimits();
    }
    for (const receiver of this.receivers) receiver.forget();
    this.checkEnd();
  }

  private get finished(): boolean {
    return this.senders.every((s) => s.finished) && this.receivers.every((r) => r.finished);
  }

  private fail(what: string): never {
    throw new Error(`${what} (seed ${this.scenario.seed}, ${JSON.stringify(this.scenario)})`);
  }

  private end(): void {
    for (let i = 0; i < this.senders.length; i++) {
      if (this.scenario.ending === 'reset') this.senders[i].reset(7);
      else this.receivers[i].stop(7);
    }
  }

  // ---- the sending application ----

  private sendOne(): void {
    const { random, scenario } = this;
    const stream = random.below(scenario.streams);
    const sender = this.senders[stream];
    if (sender.stopCode >= 0) return;
    const delivery = scenario.deliveries[random.below(scenario.deliveries.length)];
    const longest = random.chance(0.1) ? scenario.lengthMax : Math.min(200, scenario.lengthMax);
    const length = random.between(HEADER_BYTES, longest);
    const withDeadline =
      delivery === Delivery.PARTIAL || (delivery === Delivery.BEST_EFFORT && random.chance(0.3));
    const deadline = withDeadline ? this.now + random.between(1, scenario.lifetimeMax) : NEVER;
    const id = this.sent.length;
    this.sent.push({ id, stream, delivery, deadline, length, deliveredAt: -1, outcome: -1 });
    sender.send(content(id, length), delivery, deadline, random.chance(0.3), id + 1);
  }

  // ---- the receiving application ----

  private readSome(): void {
    for (let i = 0; i < this.receivers.length; i++) {
      let count = this.random.chance(0.5) ? 1000 : this.random.below(4);
      for (; count > 0; count--) {
        const data = this.receivers[i].read(this.now);
        if (data === null) break;
        this.onRead(i, data);
      }
    }
  }

  private onRead(stream: number, data: Uint8Array): void {
    const id = new DataView(data.buffer, data.byteOffset).getUint32(0);
    const message = this.sent[id];
    if (message === undefined) this.fail(`message ${id} was never sent`);
    if (message.stream !== stream || message.length !== data.length) this.fail(`message ${id} is distorted`);
    const expected = content(id, data.length);
    if (Buffer.compare(data, expected) !== 0) this.fail(`message ${id} has other bytes`);
    if (message.deliveredAt >= 0) this.fail(`message ${id} was delivered twice`);
    message.deliveredAt = this.now;
    if (message.deadline + this.scenario.delayMax + STEP < this.now) this.fail(`message ${id} is late`);
    if (!this.scenario.ordered) return;
    const space = 2 * stream + (message.delivery === Delivery.BEST_EFFORT ? 1 : 0);
    if (id < this.lastRead[space]) this.fail(`message ${id} came behind ${this.lastRead[space]}`);
    this.lastRead[space] = id;
  }

  // ---- the connections ----

  private timers(): void {
    for (const sender of this.senders) if (sender.nextTimeout() <= this.now) sender.onTimeout(this.now);
    for (const receiver of this.receivers)
      if (receiver.nextTimeout() <= this.now) receiver.onTimeout(this.now);
    const { outcomes } = this.sendContext;
    while (outcomes.next()) {
      const message = this.sent[outcomes.id - 1];
      if (message.outcome !== -1) this.fail(`message ${message.id} has two outcomes`);
      message.outcome = outcomes.outcome;
    }
  }

  private transmit(): void {
    this.sendContext.packetRoom = this.mtu;
    while (this.forthFlights.length < 40) {
      const record = new PacketRecord();
      // the room that other frames of the packet take
      const limit = this.mtu - this.random.below(60);
      const w = writerOn(this.scratch, limit, this.now, record);
      if (this.sendContext.credit.owesBlocked) writeDataBlocked(w, this.sendContext.credit.sayBlocked());
      const first = this.random.below(this.senders.length);
      for (let k = 0; k < this.senders.length; k++) {
        const sender = this.senders[(first + k) % this.senders.length];
        if (!sender.sendable) continue;
        sender.write(w);
      }
      if (w.at === 0) break;
      if (w.at > limit) this.fail('a packet is too long');
      this.launch(this.forth, this.forthFlights, this.scratch.slice(0, w.at), record);
    }
    const record = new PacketRecord();
    const w = writerOn(this.scratch, 1_200, this.now, record);
    for (const receiver of this.receivers) receiver.writeDropped(w);
    const { window } = this.receiveContext;
    if (window.due || this.maxDataLost) {
      this.maxDataLost = false;
      writeMaxData(w, window.announce());
    }
    for (const receiver of this.receivers) {
      if (receiver.controlDue) receiver.writeControl(w);
    }
    if (w.at === 0 && this.toAck.length === 0) return;
    const flight = this.launch(this.back, this.backFlights, this.scratch.slice(0, w.at), record);
    this.acks.set(flight, [...this.toAck]);
  }

  /** What each packet of the receiver acknowledges. */
  private readonly acks = new Map<Flight, Flight[]>();

  private launch(way: Arrival[], flights: Flight[], bytes: Uint8Array, record: PacketRecord): Flight {
    const { random, scenario } = this;
    const flight: Flight = {
      number: this.numbers++,
      record,
      arrived: false,
      settledAs: 'none',
      sentAt: this.now,
    };
    flights.push(flight);
    if (!random.chance(scenario.lossRate))
      way.push({ at: this.now + random.below(scenario.delayMax), bytes, flight });
    if (random.chance(scenario.duplicateRate))
      way.push({ at: this.now + random.below(scenario.delayMax), bytes, flight });
    return flight;
  }

  private deliver(): void {
    const forth = this.forth.filter((a) => a.at <= this.now).sort((a, b) => a.at - b.at);
    this.forth = this.forth.filter((a) => a.at > this.now);
    for (const { bytes, flight } of forth) {
      this.receive(bytes.slice());
      if (!flight.arrived) this.toAck.push(flight);
      flight.arrived = true;
    }
    const back = this.back.filter((a) => a.at <= this.now).sort((a, b) => a.at - b.at);
    this.back = this.back.filter((a) => a.at > this.now);
    for (const { bytes, flight } of back) {
      if (flight.arrived) continue;
      flight.arrived = true;
      this.receive(bytes);
      for (const acked of this.acks.get(flight) ?? []) this.onAcked(acked);
    }
  }

  private onAcked(flight: Flight): void {
    if (flight.settledAs === 'acked') return;
    flight.settledAs = 'acked';
    for (const frame of flight.record.frames()) {
      if (frame.type !== FrameType.DATA_BLOCKED) this.senders[frame.stream / 4].onFrameAcked(frame);
    }
    this.forthFlights = this.forthFlights.filter((f) => f !== flight);
  }

  private decideFates(): void {
    const { random, scenario } = this;
    const patience = 3 * scenario.delayMax + 5 * STEP;
    for (const flight of [...this.forthFlights]) {
      const spurious = random.chance(scenario.spuriousRate);
      if (!spurious && this.now - flight.sentAt < patience) continue;
      flight.settledAs = 'lost';
      this.forthFlights = this.forthFlights.filter((f) => f !== flight);
      for (const frame of flight.record.frames()) {
        if (frame.type === FrameType.DATA_BLOCKED) this.sendContext.credit.onBlockedLost(frame.limit);
        else this.senders[frame.stream / 4].onFrameLost(frame, this.now);
      }
    }
    for (const flight of [...this.backFlights]) {
      if (!flight.arrived && this.now - flight.sentAt < patience) continue;
      this.backFlights = this.backFlights.filter((f) => f !== flight);
      const acked = this.acks.get(flight) ?? [];
      this.acks.delete(flight);
      if (flight.arrived) this.toAck = this.toAck.filter((f) => !acked.includes(f));
      for (const frame of flight.record.frames()) {
        if (frame.type === FrameType.MAX_DATA) {
          if (!flight.arrived && frame.limit === this.receiveContext.window.announced)
            this.maxDataLost = true;
        } else if (flight.arrived) this.receivers[frame.stream / 4].onFrameAcked(frame);
        else this.receivers[frame.stream / 4].onFrameLost(frame);
      }
    }
  }

  private receive(bytes: Uint8Array): void {
    const frame = this.reader;
    if (bytes.length === 0) return;
    frame.reset(bytes, 0, bytes.length);
    while (nextFrame(frame)) {
      const error = this.dispatch(frame);
      if (error !== 0) this.fail(`close code ${error} on frame ${frame.type}`);
    }
    if (frame.error !== 0) this.fail(`bad frames, ${frame.error}`);
  }

  private dispatch(frame: FrameReader): number {
    const { type } = frame;
    const index = frame.stream / 4;
    if (type === FrameType.MAX_DATA) {
      this.sendContext.credit.raise(frame.limit);
      return 0;
    }
    if (type === FrameType.DATA_BLOCKED) {
      this.receiveContext.window.onBlocked(frame.limit);
      return 0;
    }
    if (type === FrameType.STREAM_OPEN) {
      this.openAt[index] = true;
      return 0;
    }
    const receiver = this.receivers[index];
    const sender = this.senders[index];
    if (type === FrameType.STOP_SENDING || type === FrameType.MAX_STREAM_DATA || type === FrameType.DROPPED) {
      return sender.onFrame(frame, this.now);
    }
    if (!this.openAt[index]) this.fail('a frame came ahead of STREAM_OPEN');
    return receiver.onFrame(frame, this.now);
  }

  // ---- checks ----

  private checkLimits(): void {
    const { credit } = this.sendContext;
    const { window, budget } = this.receiveContext;
    if (credit.used > credit.limit) this.fail('the sender is over the connection limit');
    if (window.freed > window.used) this.fail('more was freed than charged');
    if (budget.used > budget.bytesMax) this.fail('the budget is overdrawn');
    for (const sender of this.senders) {
      if (sender.credit.used > sender.credit.limit) this.fail('a sender is over its stream limit');
      if (sender.queue.bytes < 0) this.fail('queued bytes below zero');
    }
  }

  private checkEnd(): void {
    this.timers();
    const { scenario } = this;
    const { window, budget } = this.receiveContext;
    if (this.sendContext.slabs.inUse !== 0)
      this.fail(`${this.sendContext.slabs.inUse} slabs are still in use`);
    if (window.used !== window.freed) this.fail(`charged ${window.used}, freed ${window.freed}`);
    if (window.used !== this.sendContext.credit.used) {
      this.fail(`sender charged ${this.sendContext.credit.used}, receiver ${window.used}`);
    }
    if (budget.used !== 0) this.fail(`${budget.used} bytes of budget are still used`);
    if (this.receiveContext.kept.wasteBytes !== 0)
      this.fail(`${this.receiveContext.kept.wasteBytes} wasted bytes`);
    for (const sender of this.senders) {
      if (sender.queue.bytes !== 0) this.fail(`${sender.queue.bytes} bytes are still queued`);
    }
    for (const message of this.sent) {
      if (message.outcome === -1) this.fail(`message ${message.id} has no outcome`);
      const delivered = message.deliveredAt >= 0;
      if (message.delivery === Delivery.RELIABLE && scenario.ending === 'close') {
        if (!delivered) this.fail(`reliable message ${message.id} was not delivered`);
        if (message.outcome !== Outcome.ACKNOWLEDGED)
          this.fail(`reliable message ${message.id} has outcome ${message.outcome}`);
      }
      if (message.deadline === NEVER && message.outcome === Outcome.EXPIRED)
        this.fail(`message ${message.id} expired without deadline`);
      if (message.outcome === Outcome.LOST && message.delivery !== Delivery.BEST_EFFORT)
        this.fail(`message ${message.id} lost`);
    }
  }
}

function content(id: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let i = 4; i < length; i++) bytes[i] = id * 31 + i * 7 + (i >> 8);
  new DataView(bytes.buffer).setUint32(0, id);
  return bytes;
}
