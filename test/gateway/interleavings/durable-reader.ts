/** One whose durable subscription settles message by message: each comes to a good end, and what comes again says so. */

import type { Conversation } from '../../../src/gateway/conversation.ts';
import { Violation } from '../../sim/invariants.ts';
import {
  conversationOn,
  type FakeSocket,
  firstFrame,
  type Reader,
  FakeSocket as Socket,
  type TheMessage,
} from './readers.ts';
import type { World } from './world.ts';

export class DurableReader implements Reader {
  private readonly world: World;
  private socket: FakeSocket | null = null;
  private conversation: Conversation | null = null;
  private epoch = 0;
  private beganAt = -1;
  private unsettled: number[] = [];
  private isSlow = false;
  /** It has refused a message on this connection: one that comes again may be on its way, and would be settled with those before it. */
  private hasRefused = false;
  /** By epoch and offset. */
  private readonly seen = new Set<string>();
  private readonly done = new Set<string>();
  private readonly window: number;

  constructor(world: World) {
    this.world = world;
    this.window = world.random.between(1, 20);
    world.after(5, () => this.comeBack());
  }

  comeBack(): void {
    if (this.conversation !== null) return;
    const socket = new Socket(this.world);
    socket.setTaking(!this.isSlow);
    this.socket = socket;
    let buffered: Buffer = Buffer.alloc(0);
    socket.onBytes = (bytes) => {
      buffered = buffered.length === 0 ? bytes : Buffer.concat([buffered, bytes]);
      for (let frame = firstFrame(buffered); frame !== null; frame = firstFrame(buffered)) {
        buffered = buffered.subarray(frame.end);
        if (socket === this.socket) this.onFrame(JSON.parse(frame.text));
      }
    };
    const conversation = conversationOn(this.world, socket, () => this.onLeft());
    this.conversation = conversation;
    const options = {
      durable: 'd',
      window: this.window,
      since: 'earliest',
      backoffMs: [20],
      retained: 'none',
    };
    conversation.received(JSON.stringify({ type: 'subscribe', sub: 's', filters: ['t/#'], ...options }));
  }

  breakOff(): void {
    if (this.socket === null) return;
    this.socket.cut();
    this.socket = null;
    this.conversation?.end();
    this.conversation = null;
    this.unsettled = [];
    this.hasRefused = false;
  }

  setSlow(isSlow: boolean): void {
    this.isSlow = isSlow;
    this.socket?.setTaking(!isSlow);
  }

  /** Settles what it has, or some of it, or refuses it. */
  poke(): void {
    const { random, totals } = this.world;
    const last = this.unsettled.at(-1);
    if (last === undefined) return;
    if (random.chance(0.2)) {
      totals.add('refused by their reader', 1);
      this.hasRefused = true;
      const offset = this.unsettled.splice(random.below(this.unsettled.length), 1)[0];
      this.say({ type: 'nack', sub: 's', offsets: [offset], delayMs: random.chance(0.5) ? 5 : undefined });
      return;
    }
    const settled = random.chance(0.5)
      ? this.unsettled.splice(0)
      : this.unsettled.splice(0, random.between(1, 4));
    for (const offset of settled) this.done.add(`${this.epoch}:${offset}`);
    totals.add('settled', settled.length);
    const isAll =
      !this.hasRefused &&
      this.unsettled.length === 0 &&
      settled.every((offset, i) => i === 0 || offset > settled[i - 1]);
    if (isAll && random.chance(0.5)) this.say({ type: 'ack', sub: 's', upTo: last });
    else this.say({ type: 'ack', sub: 's', offsets: settled });
  }

  clearUp(): void {
    this.setSlow(false);
    const settle = () => {
      if (this.conversation === null) this.comeBack();
      this.poke();
      this.world.after(50, settle);
    };
    settle();
  }

  expectAll(): void {
    const { stored, log } = this.world;
    if (log?.epoch !== this.epoch) throw new Violation(`the durable reader is still in epoch ${this.epoch}`);
    // What the log has dropped while nobody had settled it is settled by that. [BRK-71]
    for (const offset of stored.get(this.epoch)?.keys() ?? []) {
      if (offset <= this.beganAt || offset < log.earliest || this.done.has(`${this.epoch}:${offset}`))
        continue;
      throw new Violation(`the durable reader has never settled ${offset}`);
    }
  }

  private onLeft(): void {
    this.breakOff();
    this.world.after(this.world.random.between(1, 40), () => this.comeBack());
  }

  private say(message: object): void {
    this.conversation?.received(JSON.stringify(message));
  }

  private onFrame(frame: Record<string, unknown>): void {
    if (frame.type === 'subscribed') {
      const { epoch, offset } = frame as { epoch: number; offset: number };
      if (epoch !== this.epoch) {
        this.epoch = epoch;
        this.beganAt = offset;
      }
    } else if (frame.type === 'message') this.onMessage(frame as unknown as TheMessage);
    else if (frame.type === 'goodbye') this.onLeft();
    else if (frame.type === 'error')
      throw new Violation(`the durable reader was told ${JSON.stringify(frame)}`);
  }

  private onMessage({ offset, redelivered = false }: TheMessage): void {
    const place = `${this.epoch}:${offset}`;
    this.world.totals.add(redelivered ? 'redelivered' : 'delivered to be settled', 1);
    if (this.seen.has(place) && !redelivered)
      throw new Violation(`the durable reader got ${place} again, and is not told so`);
    this.seen.add(place);
    // What the log has dropped is settled by that.
    const open = this.unsettled.filter((each) => each >= (this.world.log?.earliest ?? 0)).length;
    if (open >= this.window && !this.unsettled.includes(offset)) {
      throw new Violation(`the durable reader has ${open} and gets another, of ${this.window}`);
    }
    if (!this.unsettled.includes(offset)) this.unsettled.push(offset);
  }
}
