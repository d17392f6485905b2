/** What the broker tells whole connections: NOTICE, on the stream of their HELLO, and of each kind at most one a second. [BRK-95] */

import { encodeNotice, type NoticeCode } from '../../pubsub/session-commands.ts';
import type { Channel, Client } from './delivery/client.ts';
import { type Time, Timer } from './timers.ts';

export class Notices {
  private readonly time: Time;
  private readonly kinds = new WeakMap<Client, Map<NoticeCode, Kind>>();

  constructor(time: Time) {
    this.time = time;
  }

  /** Tells a client something, now or when a second has passed since it was told of this kind; then with the sum of the values. */
  tell(client: Client, code: NoticeCode, value: number, text: string): void {
    const { control } = client;
    if (control === null) return; // it has no session, and no stream for it
    let kinds = this.kinds.get(client);
    if (kinds === undefined) {
      kinds = new Map();
      this.kinds.set(client, kinds);
    }
    let kind = kinds.get(code);
    if (kind === undefined) {
      kind = new Kind(control, code, this.time);
      kinds.set(code, kind);
    }
    kind.tell(value, text);
  }
}

/** Notices of one kind to one client. */
class Kind {
  private readonly control: Channel;
  private readonly code: NoticeCode;
  private readonly time: Time;
  private readonly timer = new Timer(() => this.send());
  private toldMs = Number.NEGATIVE_INFINITY;
  private value = 0;
  private text = '';

  constructor(control: Channel, code: NoticeCode, time: Time) {
    this.control = control;
    this.code = code;
    this.time = time;
  }

  tell(value: number, text: string): void {
    this.value += value;
    this.text = text;
    const { nowMs, timers } = this.time;
    const dueMs = this.toldMs + APART_MS;
    if (dueMs <= nowMs) this.send();
    else timers.set(this.timer, dueMs);
  }

  private send(): void {
    const { control, code, value, text } = this;
    this.toldMs = this.time.nowMs;
    this.value = 0;
    if (!control.closed) control.delivery.answer(encodeNotice({ code, value, text }));
  }
}

const APART_MS = 1_000;
