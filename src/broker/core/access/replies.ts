/**
 * Who may publish to an inbox: whoever may read the request that the inbox awaits an answer to. So a service needs no rule for answers, and nobody else can put something
 * into an inbox, whose name may be known. [BRK-116]
 */

import type { Time } from '../timers.ts';
import type { Access } from './access.ts';

/** A request that waits for answers. */
interface Awaited {
  /** Where the request was published. */
  readonly topic: string;
  readonly untilMs: number;
}

export class Replies {
  private readonly time: Pick<Time, 'nowMs'>;
  /** By the topic for answers; the oldest first. */
  private readonly awaited = new Map<string, Awaited>();
  private bytes = 0;

  constructor(time: Pick<Time, 'nowMs'>) {
    this.time = time;
  }

  /** A request to `topic` goes to whoever reads that. */
  await(replyTopic: string, topic: string): void {
    this.forget(replyTopic);
    const { nowMs } = this.time;
    this.awaited.set(replyTopic, { topic, untilMs: nowMs + REPLY_MS_MAX });
    this.bytes += chargeOf(replyTopic, topic);
    for (const [first, { untilMs }] of this.awaited) {
      if (untilMs > nowMs && this.bytes <= BYTES_MAX) return;
      this.forget(first);
    }
  }

  /** An answer may come from somebody with this access. */
  mayCome(replyTopic: string, access: Access): boolean {
    const awaited = this.awaited.get(replyTopic);
    return awaited !== undefined && awaited.untilMs > this.time.nowMs && access.mayReceive(awaited.topic);
  }

  private forget(replyTopic: string): void {
    const awaited = this.awaited.get(replyTopic);
    if (awaited === undefined) return;
    this.awaited.delete(replyTopic);
    this.bytes -= chargeOf(replyTopic, awaited.topic);
  }
}

function chargeOf(replyTopic: string, topic: string): number {
  return 2 * (replyTopic.length + topic.length) + AWAITED_BYTES;
}

/** Answers may come for so long. */
const REPLY_MS_MAX = 5 * 60_000;
/** Of all requests that are remembered, and of one beside its topics. */
const BYTES_MAX = 32 * 1024 * 1024;
const AWAITED_BYTES = 128;
