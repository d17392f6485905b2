/** What the broker is to publish in the client's place, should it not come back: told on each connection anew. */

import type { LinkUser } from '../client/link.ts';
import { assertTopic } from '../pubsub/topic.ts';
import { closedError } from './closing.ts';
import type { Saying } from './frames.ts';
import type { WebLink } from './link.ts';
import { type Codec, payloadOf } from './payload.ts';
import { checkWill, messageMembers, type Will } from './publish-options.ts';

export class WillKeeper implements LinkUser<WebLink> {
  /** Told when a broker does not take on a later connection what it was told before. */
  private readonly onRefused: (error: Error) => void;
  private link: WebLink | null = null;
  private saying: Saying | null = null;
  private waiting: { resolve(): void; reject(error: Error): void }[] = [];

  constructor(onRefused: (error: Error) => void) {
    this.onRefused = onRefused;
  }

  /** Resolves when the broker has it; a client without a connection tells it when it is back. */
  async set(will: Will | null, usual: Codec<unknown> | null): Promise<void> {
    this.saying = will === null ? NO_WILL : sayingOf(will, usual);
    const answered = new Promise<void>((resolve, reject) => this.waiting.push({ resolve, reject }));
    if (this.link !== null) this.tell(this.link);
    await answered;
  }

  /** A client that goes of its own accord needs none. */
  takeBack(): void {
    if (this.saying !== null && this.saying !== NO_WILL) this.link?.send(NO_WILL);
    this.saying = null;
  }

  online(link: WebLink): void {
    this.link = link;
    if (this.saying !== null && this.saying !== NO_WILL) this.tell(link);
  }

  offline(): void {
    this.link = null;
  }

  closed(reason: Error | null): void {
    this.link = null;
    for (const { reject } of this.waiting.splice(0)) reject(reason ?? closedError());
  }

  private tell(link: WebLink): void {
    const { saying } = this;
    if (saying === null) return;
    link.ask(saying, (answer, error) => {
      if (this.link !== link || this.saying !== saying || (answer === null && link.failure !== null)) return;
      const waiting = this.waiting.splice(0);
      if (error !== null && waiting.length === 0) this.onRefused(error);
      for (const { resolve, reject } of waiting) {
        if (error === null) resolve();
        else reject(error);
      }
    });
  }
}

/** @throws as a publish of it */
function sayingOf(will: Will, usual: Codec<unknown> | null): Saying {
  checkWill(will);
  const { topic, payload, delayMs, ...options } = will;
  assertTopic(topic);
  const codec = (options.codec ?? usual) as Codec<unknown> | null;
  const contentType = options.contentType ?? codec?.contentType;
  const members = messageMembers(topic, payloadOf(payload, codec), { ...options, contentType });
  return { type: 'will', ...members, ttlMs: options.ttlMs, delayMs };
}

const NO_WILL: Saying = { type: 'will' };
