/**
 * Requests of callers, and their answers: a session with a name, for an inbox is a session's [BRK-12], and one subscription to that, on topics that are used once. All who prove
 * the same by HTTP share it; of a WebSocket it is its own.
 */

import { randomBytes } from 'node:crypto';
import { MILLISECOND } from '../base/time.ts';
import { PublishResult } from '../pubsub/acknowledgement.ts';
import { type CommandReader, encodeSubscribe, SubscribeFlag, topicOf } from '../pubsub/command.ts';
import { STATUS_NO_RESPONDERS } from '../pubsub/properties.ts';
import { inboxOf } from '../pubsub/topic.ts';
import type { Clock } from '../udp/clock.ts';
import { type Delivered, deliveredOf } from './delivered.ts';
import { type PublishItem, publishCommand, withProperties } from './item.ts';
import { Problem, problemOfError, problemOfReason } from './problem.ts';
import { type PendingPublish, PublishState } from './publishing.ts';
import type { Session } from './session.ts';

/** A name that nobody else has, for a session in which answers are awaited. */
export function askingName(): string {
  return `http-${randomBytes(NAME_BYTES).toString('base64url')}`;
}

interface Waiting {
  resolve(answer: Delivered): void;
  reject(problem: Problem): void;
}

/** Asks in the name of one session. */
export class Asking {
  private readonly session: Session;
  private readonly clock: Clock;
  private readonly inbox: string;
  private readonly waiting = new Map<string, Waiting>();
  /** The subscription to its inbox; null: it is to be made, for the first time or anew. */
  private opened: Promise<void> | null = null;
  private lastNumber = 0;

  constructor(session: Session, clock: Clock) {
    this.session = session;
    this.clock = clock;
    this.inbox = inboxOf(session.name);
  }

  /** Requests that are not answered yet. */
  get pending(): number {
    return this.waiting.size;
  }

  /**
   * Publishes a request, and resolves with the first answer.
   *
   * @param whenGone - has a function called when the answer is of no use to anybody any more
   * @throws {Problem} NO_RESPONDERS, RESPONSE_TIMEOUT, and what the broker refuses it for
   */
  async ask(
    item: PublishItem,
    timeoutMs: number,
    whenGone: (cancel: () => void) => void = STAYS,
  ): Promise<Delivered> {
    this.opened ??= this.open().catch((error: unknown) => {
      this.opened = null;
      throw error;
    });
    await this.opened;
    const number = `${++this.lastNumber}`;
    const properties = Object.assign({}, item.properties, { replyTopic: this.inbox + number });
    const command = publishCommand(withProperties(item, properties));
    const { clock } = this;
    let publish: PendingPublish | null = null;
    const answer = new Promise<Delivered>((resolve, reject) => this.waiting.set(number, { resolve, reject }));
    const timer = clock.setTimer(clock.now() + timeoutMs * MILLISECOND, () => {
      publish?.withdraw();
      this.fail(number, new Problem('RESPONSE_TIMEOUT', `Nobody has answered within ${timeoutMs} ms.`));
    });
    whenGone(() => {
      publish?.withdraw();
      this.fail(number, new Problem('REQUEST_TIMEOUT', 'Who has asked is gone.'));
    });
    try {
      publish = this.session.publish(command, (sent) => this.onPublished(number, sent), item.priority);
      return await answer;
    } finally {
      clock.clearTimer(timer);
      this.waiting.delete(number);
    }
  }

  private async open(): Promise<void> {
    const stream = this.session.openStream('chat', {
      onDelivery: (message, reader) => this.onAnswer(message, reader),
      onClosed: (error) => {
        this.opened = null; // the next request opens another
        const { endedBy } = this.session;
        for (const { reject } of this.waiting.values()) reject(problemOfError(endedBy ?? error ?? GONE));
      },
    });
    try {
      await stream.request((id) => encodeSubscribe(id, `${this.inbox}+`, SubscribeFlag.NO_RETAINED, 0, 0));
    } catch (error) {
      stream.reset();
      throw error;
    }
  }

  private onAnswer(message: Buffer, reader: CommandReader): void {
    const waiting = this.waiting.get(topicOf(message).slice(this.inbox.length));
    if (waiting === undefined) return; // too late, or another was faster
    const answer = deliveredOf(message, reader);
    if (answer === null)
      waiting.reject(new Problem('RESPONDER_FAILED', 'The answer is compressed in an unknown way.'));
    else if (answer.properties.status === STATUS_NO_RESPONDERS) waiting.reject(noResponders());
    else waiting.resolve(answer);
  }

  private onPublished(number: string, publish: PendingPublish): void {
    const { state } = publish;
    if (state === PublishState.REFUSED) this.fail(number, problemOfReason(publish.code, publish.reason));
    else if (state !== PublishState.TAKEN) this.fail(number, problemOfError(this.session.endedBy ?? GONE));
    else if (publish.result === PublishResult.NO_SUBSCRIBER) this.fail(number, noResponders());
  }

  private fail(number: string, problem: Problem): void {
    this.waiting.get(number)?.reject(problem);
  }
}

function noResponders(): Problem {
  return new Problem(
    'NO_RESPONDERS',
    'Nobody is subscribed to this topic: start the service, or look at the topic.',
    {
      retryAfterMs: 1_000,
    },
  );
}

const GONE = new Problem('BROKER_UNREACHABLE', 'The broker has gone before the answer came.', {
  retryAfterMs: 1_000,
});
const STAYS = (): void => {};
const NAME_BYTES = 15;
