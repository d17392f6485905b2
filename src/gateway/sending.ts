/** Messages on their way to the broker, for callers who wait for what becomes of them. */

import type { Micros } from '../base/time.ts';
import type { AnswerTimes, Awaiting } from './answer-times.ts';
import type { Exchange } from './exchange.ts';
import { type PublishItem, publishCommand } from './item.ts';
import { orProblem, Problem } from './problem.ts';
import { type Outcome, outcomeOf } from './publish-request.ts';
import type { PendingPublish } from './publishing.ts';
import type { Session } from './session.ts';

/**
 * Publishes what a request has brought, in its caller's name. Resolves with what became of each, when that is known of all, or when the time for it is over. [GW-22]
 *
 * @throws {Problem} what the caller is refused for
 */
export async function published(exchange: Exchange, items: readonly PublishItem[]): Promise<Outcome[]> {
  const commands = items.map((item) => orProblem(() => publishCommand(item)));
  const found = exchange.session();
  const session = found instanceof Promise ? await found : found;
  const { answerTimes, counters } = exchange.state;
  const outcomes = await new Promise<Outcome[]>((resolve) => {
    new Sending(session, items, answerTimes, resolve).send(commands);
  });
  for (const each of outcomes) if (!(each instanceof Problem)) counters.published++;
  return outcomes;
}

/** The messages of one request. */
class Sending implements Awaiting {
  until: Micros = 0;
  private readonly session: Session;
  private readonly items: readonly PublishItem[];
  private readonly times: AnswerTimes;
  private readonly resolve: (outcomes: Outcome[]) => void;
  private readonly outcomes: Outcome[];
  private readonly sent: (PendingPublish | undefined)[];
  private left: number;

  constructor(
    session: Session,
    items: readonly PublishItem[],
    times: AnswerTimes,
    resolve: (outcomes: Outcome[]) => void,
  ) {
    this.times = times;
    this.session = session;
    this.items = items;
    this.resolve = resolve;
    this.outcomes = new Array(items.length);
    this.sent = new Array(items.length);
    this.left = items.length;
  }

  send(commands: readonly (Buffer | Problem)[]): void {
    const { session, items, outcomes, times } = this;
    if (items.length === 0) {
      this.resolve(outcomes);
      return;
    }
    times.begin(this);
    const onSettled = (publish: PendingPublish): void => {
      const { index } = publish;
      this.settle(index, outcomes[index] ?? outcomeOf(publish, items[index].qos, session));
    };
    for (let i = 0; i < items.length; i++) {
      const command = commands[i];
      if (command instanceof Problem) this.settle(i, command);
      else this.sent[i] = session.publish(command, onSettled, items[i].priority, i);
    }
  }

  private settle(index: number, outcome: Outcome): void {
    const { outcomes, times } = this;
    if (outcomes[index] !== undefined) return; // its time was over
    outcomes[index] = outcome;
    if (--this.left > 0) return;
    times.end(this);
    this.resolve(outcomes);
  }

  /** Its time is over. What has not left is taken back, which settles it. */
  expire(): void {
    const { outcomes } = this;
    for (const [i, publish] of this.sent.entries()) {
      if (publish === undefined || publish.withdraw() || outcomes[i] !== undefined) continue;
      const why = 'The broker has not answered: it may have been published.';
      this.settle(i, new Problem('RESPONSE_TIMEOUT', why));
    }
  }
}
