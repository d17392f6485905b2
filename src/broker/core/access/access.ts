/**
 * What somebody may do: rules that allow and deny actions on topics. A denial wins over whatever allows, and what no rule allows is denied. [BRK-113]
 *
 * A filter is more than one topic. It is allowed when a single rule allows all that it can match; what denials then take out of it is withheld, a message at a time. [BRK-115]
 */

import { covers, levelsOf, matches, meets } from '../../../pubsub/filters.ts';

export const ACCESS_ACTIONS = ['publish', 'subscribe', 'share', 'request', 'admin'] as const;
export type AccessAction = (typeof ACCESS_ACTIONS)[number];

export interface AccessRule {
  readonly effect: 'allow' | 'deny';
  readonly actions: readonly AccessAction[];
  /** In which nothing is left to fill in. */
  readonly filters: readonly string[];
}

/** What becomes of a subscription: it gets nothing, all, or all but what a denial matches. */
export const Allowance = { DENIED: 0, ALLOWED: 1, PARTLY: 2 } as const;
export type Allowance = (typeof Allowance)[keyof typeof Allowance];

/** Filters of one action, in levels. */
interface ActionRules {
  readonly allowed: (readonly string[])[];
  readonly denied: (readonly string[])[];
}

export class Access {
  private readonly byAction: Readonly<Record<AccessAction, ActionRules>>;

  constructor(rules: readonly AccessRule[]) {
    const byAction = {
      publish: noRules(),
      subscribe: noRules(),
      share: noRules(),
      request: noRules(),
      admin: noRules(),
    };
    for (const { effect, actions, filters } of rules) {
      for (const action of actions) {
        const { allowed, denied } = byAction[action];
        const list = effect === 'allow' ? allowed : denied;
        for (const filter of filters) list.push(levelsOf(filter));
      }
    }
    this.byAction = byAction;
  }

  mayPublish(topic: string): boolean {
    return isAllowed(this.byAction.publish, topic);
  }

  /** To publish with a topic for replies. [BRK-116] */
  mayRequest(topic: string): boolean {
    return isAllowed(this.byAction.request, topic);
  }

  /** @param filter - without `$share` and group, if it is `shared` */
  maySubscribe(filter: string, shared: boolean): Allowance {
    const levels = levelsOf(filter);
    const allowance = allowanceOf(this.byAction.subscribe, levels);
    if (!shared || allowance === Allowance.DENIED) return allowance;
    // What is withheld from one member would be lost for its group: that is allowed as a whole, or not.
    const shares = allowanceOf(this.byAction.share, levels);
    return allowance === Allowance.ALLOWED && shares === Allowance.ALLOWED
      ? Allowance.ALLOWED
      : Allowance.DENIED;
  }

  /** A message of a subscription that is allowed only {@link Allowance.PARTLY}. */
  mayReceive(topic: string): boolean {
    return isAllowed(this.byAction.subscribe, topic);
  }

  /** @param filter - what is asked, under `$sys/`; default: everything. A rule for `#` is one for all of that, too. [BRK-117] */
  mayAdminister(filter = '$sys/#'): boolean {
    const levels = levelsOf(filter);
    const { allowed, denied } = this.byAction.admin;
    return (
      allowed.some((rule) => covers(systemOf(rule), levels)) &&
      !denied.some((rule) => meets(systemOf(rule), levels))
    );
  }
}

function noRules(): ActionRules {
  return { allowed: [], denied: [] };
}

function isAllowed({ allowed, denied }: ActionRules, topic: string): boolean {
  const levels = levelsOf(topic);
  return allowed.some((rule) => matches(rule, levels)) && !denied.some((rule) => matches(rule, levels));
}

function allowanceOf({ allowed, denied }: ActionRules, filter: readonly string[]): Allowance {
  if (!allowed.some((rule) => covers(rule, filter))) return Allowance.DENIED;
  if (denied.some((rule) => covers(rule, filter))) return Allowance.DENIED;
  return denied.some((rule) => meets(rule, filter)) ? Allowance.PARTLY : Allowance.ALLOWED;
}

/** `#`, which matches no topic of the broker elsewhere, stands for all of them where administration is meant. */
function systemOf(rule: readonly string[]): readonly string[] {
  return rule.length === 1 && rule[0] === '#' ? SYSTEM : rule;
}

const SYSTEM = ['$sys', '#'];
