/**
 * What becomes of those who are there when it changes who may do what: rules have changed, a key was revoked, a client has shown other credentials. [BRK-119]
 *
 * A principal that is not one any more loses its connections, and what it left behind; one that may do less loses what it may not have: filters, what waits for them, its will.
 */

import { DropReason, ReasonCode } from '../../../pubsub/command.ts';
import { encodeNotice, NoticeCode } from '../../../pubsub/session-commands.ts';
import { asksForInbox, isShared, sharedFilter } from '../../../pubsub/topic.ts';
import type { Client } from '../delivery/client.ts';
import type { Subscription } from '../delivery/subscription.ts';
import { mayStillPublish } from '../handlers/permission.ts';
import { type Session, SessionState } from '../session/session.ts';
import type { BrokerState } from '../state.ts';
import { Allowance } from './access.ts';
import type { Review } from './admission.ts';
import { EVERYONE, type Principal, type PrincipalId } from './principal.ts';

/** Looks at everybody anew. */
export function reauthorize(broker: BrokerState, review: Review): void {
  broker.admission.review = review;
  for (const client of [...broker.clients.keys()]) {
    const { principal } = client;
    if (principal === null || client.closed) continue;
    try {
      const now = review(principal);
      if (now === principal) continue;
      if (now === null) revoke(broker, client);
      else change(broker, client, now);
    } catch (error) {
      broker.failInternally(client, error);
    }
  }
  reviewAbsent(broker, review);
}

/** The connection is that of `principal`, who may do other things than before. */
export function change(broker: BrokerState, client: Client, principal: Principal): void {
  broker.admission.admit(client, principal);
  const session = broker.clients.get(client);
  if (session !== undefined) reviewWill(broker, session, principal);
  for (const channel of [...client.channels]) {
    const subscription = broker.subscriptionOf(channel);
    if (subscription?.main === channel) reviewSubscription(broker, subscription);
  }
}

function revoke(broker: BrokerState, client: Client): void {
  const session = broker.clients.get(client);
  broker.audit.tell('revoked', client, 'the connection');
  if (session !== undefined) broker.wills.takeBack(session); // it may not publish any more
  broker.dismiss(client, ReasonCode.NOT_AUTHORIZED);
}

function reviewSubscription(broker: BrokerState, subscription: Subscription): void {
  const { main, filters } = subscription;
  const { gate } = main.client;
  let isLess = false;
  for (const filter of [...filters]) {
    const shared = isShared(filter);
    const inner = shared ? sharedFilter(filter) : filter;
    const allowance =
      gate === null || asksForInbox(inner) ? Allowance.ALLOWED : gate.maySubscribe(inner, shared);
    if (allowance === Allowance.ALLOWED) subscription.stopWithholding(filter);
    else {
      isLess = true;
      subscription.withhold(filter);
      if (allowance === Allowance.DENIED) endFilter(broker, subscription, filter);
    }
  }
  if (filters.size === 0 || !mayHaveDeadLetters(broker, subscription)) {
    broker.giveUp(subscription, ReasonCode.NOT_AUTHORIZED);
  } else if (isLess) {
    const isUnwanted = (message: Uint8Array) =>
      subscription.withholds(message) || !broker.isFor(message, subscription);
    subscription.discard(isUnwanted, DropReason.NOT_AUTHORIZED);
  }
}

/**
 * What a subscriber gives up is published in its place, so no longer where it may not publish itself. Its stream ends, rather than that its messages are lost: it may come back with another topic
 * for them.
 */
function mayHaveDeadLetters(broker: BrokerState, subscription: Subscription): boolean {
  const { client } = subscription.main;
  const consumer = broker.consumers.memberOf(subscription)?.consumer;
  const topic = consumer?.options.deadLetter ?? null;
  if (consumer === undefined || topic === null || client.gate?.access?.mayPublish(topic) !== false)
    return true;
  // Nor does what it has now go there with its stream; where others hold it, too, it goes there in their place.
  if (consumer.members.size === 1) consumer.options = { ...consumer.options, deadLetter: null };
  broker.audit.tell('revoked', client, `dead letters on ${topic}`);
  return false;
}

/** As if it were unsubscribed; but what is kept under a name of its own goes with its last filter, and a group stays for its other members. */
function endFilter(broker: BrokerState, subscription: Subscription, filter: string): void {
  const { main, filters } = subscription;
  const { client } = main;
  const session = broker.sessionOf(main);
  filters.delete(filter);
  session.filterCount--;
  broker.levels.subscriptions--;
  broker.leave(filter, subscription);
  broker.consumers.revoke(subscription, filter);
  broker.neighbours?.relays.release(subscription);
  broker.replays.stop(subscription, filter);
  broker.sessions.forgetFilter(session, filter);
  broker.audit.tell('revoked', client, `subscribe ${filter}`);
  const { control } = client;
  if (control !== null && !control.closed) {
    control.delivery.answer(encodeNotice({ code: NoticeCode.REVOKED, value: 0, text: filter }));
  }
}

function reviewWill(broker: BrokerState, session: Session, { access }: Principal): void {
  if (access === null) return;
  const message = broker.wills.messageOf(session);
  if (message !== null && !mayStillPublish(access, message, session.name)) broker.wills.takeBack(session);
}

/** Where what somebody was known by is worth nothing any more, what he has left to be published is not, though others may be known by his name and have the rest. */
function hasLeft(owner: PrincipalId, { kind, id }: Principal): boolean {
  return owner.kind === kind && owner.id === id;
}

/** Sessions and durable subscriptions of those who are not connected. */
function reviewAbsent(broker: BrokerState, review: Review): void {
  const known = new Map<string, Principal | null>();
  const principalOf = (owner: PrincipalId): Principal | null => {
    const key = JSON.stringify([owner.kind, owner.id, owner.name]);
    let principal = known.get(key);
    if (principal === undefined) {
      const who: Principal = { ...EVERYONE, ...owner };
      try {
        principal = review(who);
      } catch (error) {
        broker.reportFault(error);
        principal = who; // it is looked at again when it comes
      }
      known.set(key, principal);
    }
    return principal;
  };
  for (const session of [...broker.sessions.all()]) {
    if (session.owner === null || session.state !== SessionState.AWAY) continue;
    const principal = principalOf(session.owner);
    if (principal !== null) {
      if (hasLeft(session.owner, principal)) reviewWill(broker, session, principal);
      else broker.wills.takeBack(session);
      continue;
    }
    broker.audit.tellOf('revoked', session.owner.name, `the session ${session.name}`);
    broker.wills.takeBack(session);
    broker.sessions.end(session);
  }
  for (const will of broker.wills.orphans) {
    if (will.by === null) continue;
    const principal = principalOf(will.by);
    const access = principal?.access ?? null;
    const may = access === null || mayStillPublish(access, will.message, null);
    if (principal !== null && hasLeft(will.by, principal) && may) continue;
    broker.audit.tellOf('revoked', will.by.name, 'a will');
    broker.wills.drop(will);
  }
  for (const [name, owner] of [...broker.consumers.owners()]) {
    const principal = principalOf(owner);
    const mayHave = (filter: string) =>
      principal !== null && principal.access?.maySubscribe(filter, false) !== Allowance.DENIED;
    if (broker.consumers.keepOnly(name, mayHave)) {
      broker.audit.tellOf('revoked', owner.name, `the durable subscription ${name}`);
    }
  }
}
