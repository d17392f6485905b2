/**
 * What an operator orders on one node and is done on all: the connection of a session is closed wherever it is, and rules that were read anew here are read anew there.
 * [CLU-53]
 *
 *     kind u8 (NodeMessage.ORDER), type u8, number u32 (0: nobody waits for the answer), body
 */

import { ReasonCode } from '../../../pubsub/command.ts';
import type { Audit } from '../access/audit.ts';
import type { Client } from '../delivery/client.ts';
import type { SessionTable } from '../session/session-table.ts';
import { type Time, Timer } from '../timers.ts';
import type { BackplanePort } from './backplane-port.ts';
import { NodeMessage } from './node-message.ts';

export interface OrderSurroundings extends Time {
  readonly sessions: Pick<SessionTable, 'find'>;
  readonly audit: Audit;
  readonly output: { readAccessAnew(): void };
  dismiss(client: Client, code: ReasonCode): void;
}

const OrderType = {
  /** by: length u16 and text, session: the same, reason */
  KICK: 1,
  KICKED: 2,
  READ_ACCESS: 3,
} as const;

/** A kick that others are asked for. */
interface Asked {
  readonly done: (kicked: boolean) => void;
  readonly timer: Timer;
}

export class ClusterOrders {
  /** Messages of other nodes that were none. */
  invalid = 0;
  private readonly broker: OrderSurroundings;
  private readonly port: Pick<BackplanePort, 'send' | 'broadcast' | 'isConnected'>;
  private readonly asked = new Map<number, Asked>();
  private lastNumber = 0;

  constructor(broker: OrderSurroundings, port: Pick<BackplanePort, 'send' | 'broadcast' | 'isConnected'>) {
    this.broker = broker;
    this.port = port;
  }

  /** Closes the connection of a session on another node. `done` is told whether there was one, within a second. */
  kick(session: string, by: string, reason: string, done: (kicked: boolean) => void): void {
    const { timers, nowMs } = this.broker;
    if (!this.port.isConnected || this.asked.size >= ASKED_MAX) {
      done(false);
      return;
    }
    const number = ++this.lastNumber;
    const timer = new Timer(() => this.answer(number, false));
    this.asked.set(number, { done, timer });
    timers.set(timer, nowMs + ASKED_MS_MAX);
    this.port.broadcast(
      Buffer.concat([headOf(OrderType.KICK, number), sized(by), sized(session), Buffer.from(reason)]),
    );
  }

  /** Rules were read anew here: others read theirs. */
  readAccess(): void {
    this.port.broadcast(headOf(OrderType.READ_ACCESS, 0));
  }

  /** A message of another node. */
  hear(node: string, message: Uint8Array): void {
    const view = Buffer.from(message.buffer, message.byteOffset, message.length);
    const number = view.length < HEAD_BYTES ? 0 : view.readUInt32BE(2);
    const type = view.length < HEAD_BYTES ? 0 : view[1];
    if (type === OrderType.KICK) this.obey(node, number, view);
    else if (type === OrderType.KICKED) this.answer(number, true);
    else if (type === OrderType.READ_ACCESS) this.broker.output.readAccessAnew();
    else this.invalid++;
  }

  private obey(node: string, number: number, message: Buffer): void {
    const by = textAt(message, HEAD_BYTES);
    const session = by === null ? null : textAt(message, by.end);
    if (by === null || session === null) {
      this.invalid++;
      return;
    }
    const client = this.broker.sessions.find(session.text)?.client ?? null;
    if (client === null || client.closed) return;
    const reason = message.toString('utf8', session.end).slice(0, REASON_LENGTH_MAX);
    const who = `${by.text || 'nobody in particular'} on the node ${node}`;
    this.broker.audit.tell('kicked', client, `by ${who}${reason && `: ${reason}`}`);
    this.broker.dismiss(client, ReasonCode.KICKED);
    this.port.send(node, headOf(OrderType.KICKED, number));
  }

  private answer(number: number, kicked: boolean): void {
    const asked = this.asked.get(number);
    if (asked === undefined) return;
    this.asked.delete(number);
    this.broker.timers.clear(asked.timer);
    asked.done(kicked);
  }
}

function headOf(type: number, number: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = NodeMessage.ORDER;
  head[1] = type;
  head.writeUInt32BE(number, 2);
  return head;
}

function sized(text: string): Buffer {
  const bytes = Buffer.from(text).subarray(0, 0xffff);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length), bytes]);
}

function textAt(message: Buffer, at: number): { readonly text: string; readonly end: number } | null {
  if (message.length < at + 2) return null;
  const end = at + 2 + message.readUInt16BE(at);
  return message.length < end ? null : { text: message.toString('utf8', at + 2, end), end };
}

const HEAD_BYTES = 6;
const ASKED_MAX = 256;
const ASKED_MS_MAX = 1_000;
const REASON_LENGTH_MAX = 1_024;
