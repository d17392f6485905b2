/** Which rule it is that decides whether somebody may do something: the same answer as the core's, with its reason. [AUT-15] */

import { covers, levelsOf, meets } from '../../pubsub/filters.ts';
import { isShared, sharedFilter } from '../../pubsub/topic.ts';
import type { FilledRule } from './grants.ts';
import type { AuthAction } from './options.ts';

/** A rule, and which of its filters it was. */
export interface Decider {
  readonly rule: FilledRule;
  readonly filter: string;
}

export interface Explanation {
  readonly action: AuthAction;
  /** The topic or filter in question. */
  readonly name: string;
  /** `partly`: a subscription that does not get what denials match. */
  readonly verdict: 'allowed' | 'partly' | 'denied';
  /** What decides; null: no rule allows it. */
  readonly by: Decider | null;
  /** Of a subscription that is allowed partly. */
  readonly withheld: readonly Decider[];
  /** Rules that allow the action on something else. */
  readonly others: readonly Decider[];
}

/** What is asked, and what a shared subscription needs: to subscribe to the filter in it, and to share it. */
export function explain(rules: readonly FilledRule[], action: AuthAction, name: string): Explanation[] {
  if (action === 'admin') return [ofOne(rules, 'admin', name === '' ? '$sys/#' : name)];
  const isSubscribing = action === 'subscribe' || action === 'share';
  const filter = isSubscribing && isShared(name) ? sharedFilter(name) : name;
  const asked: AuthAction[] =
    isSubscribing && (action === 'share' || isShared(name)) ? ['subscribe', 'share'] : [action];
  return asked.map((each) => ofOne(rules, each, filter, asked.length === 1));
}

function ofOne(rules: readonly FilledRule[], action: AuthAction, name: string, isAlone = true): Explanation {
  const levels = levelsOf(name);
  const deciders = rules
    .filter(({ actions }) => actions.includes(action))
    .flatMap((rule) => rule.filters.map((filter) => ({ rule, filter, levels: ruleLevels(filter, action) })));
  const denials = deciders.filter(({ rule }) => rule.effect === 'deny');
  const allowing = deciders.filter(({ rule }) => rule.effect === 'allow');
  const allowed = allowing.find((each) => covers(each.levels, levels));
  const denied = denials.find((each) => covers(each.levels, levels));
  const partial = denials.filter((each) => meets(each.levels, levels));
  const others = allowing.map(plain);
  const answer = { action, name, withheld: [], others };
  if (denied !== undefined) return { ...answer, verdict: 'denied', by: plain(denied) };
  if (allowed === undefined) return { ...answer, verdict: 'denied', by: null };
  if (partial.length === 0) return { ...answer, verdict: 'allowed', by: plain(allowed) };
  // What is withheld from one member would be lost for its group: it is shared as a whole, as it is administered.
  return action === 'subscribe' && isAlone
    ? { ...answer, verdict: 'partly', by: plain(allowed), withheld: partial.map(plain) }
    : { ...answer, verdict: 'denied', by: plain(partial[0]) };
}

/** All topics stand for those of the broker, too, where administration is meant. */
function ruleLevels(filter: string, action: AuthAction): string[] {
  return levelsOf(action === 'admin' && filter === '#' ? '$sys/#' : filter);
}

function plain({ rule, filter }: Decider): Decider {
  return { rule, filter };
}
