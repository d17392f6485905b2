/** Who a client is: HELLO, by which its session begins or goes on, RENEW, and LEAVE, by which it ends. */

import { COMMAND_BYTES_MAX, encodeRefused, ReasonCode } from '../../../pubsub/command.ts';
import {
  BROKER_PROTOCOL_VERSION,
  decodeHello,
  decodeLeave,
  decodeRenew,
  encodeRenewed,
  encodeWelcome,
  type Hello,
} from '../../../pubsub/session-commands.ts';
import type { Proof } from '../access/admission.ts';
import {
  type AuthDecision,
  EVERYONE,
  isSame,
  mayTake,
  ownerFor,
  type Principal,
} from '../access/principal.ts';
import { change } from '../access/revision.ts';
import { sessionClaim } from '../backplane/claim-keys.ts';
import { ownerOfSession } from '../backplane/claimed-parts.ts';
import { ClaimAnswer, type Claims, waitForClaim } from '../backplane/claims.ts';
import { type Channel, Role } from '../delivery/client.ts';
import { codeOfFault } from '../publishing/publishers.ts';
import { TOPIC_ALIASES_MAX } from '../publishing/topic-aliases.ts';
import { type Session, SessionState } from '../session/session.ts';
import type { BrokerState } from '../state.ts';

/** Finds out who the client is, and lets it in or turns it away. [BRK-33, BRK-111] */
export function hello(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!broker.takeRole(channel, Role.CONTROL)) return;
  const { id } = broker.reader;
  const asked = decodeHello(message);
  if (asked === null) {
    broker.fail(channel.client, ReasonCode.COMMAND_ENCODING_ERROR);
    return;
  }
  const fault = faultOf(broker, channel, asked);
  if (fault !== ReasonCode.NO_ERROR) {
    refuse(broker, channel, id, fault);
    return;
  }
  channel.client.greeted = true;
  const { method, credentials, session } = asked;
  const sinceMs = broker.nowMs;
  whenDecided(broker, channel, { method, credentials, session, renews: null }, (decision) => {
    if ('principal' in decision) begin(broker, channel, { id, asked, sinceMs }, decision.principal);
    else turnAway(broker, channel, id, decision.code, decision.reason);
  });
}

/** New credentials of the same principal take the place of those that it has. [BRK-36, BRK-112] */
export function renew(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!takeControl(broker, channel)) return;
  const { id } = broker.reader;
  const renewal = decodeRenew(message);
  if (renewal === null) {
    broker.fail(channel.client, ReasonCode.COMMAND_ENCODING_ERROR);
    return;
  }
  const { client } = channel;
  const { admission } = broker;
  const renews = client.principal as Principal;
  const session = broker.sessionOf(channel).name ?? '';
  whenDecided(broker, channel, { ...renewal, session, renews }, (decision) => {
    if (!('principal' in decision)) {
      broker.audit.tell('refused', client, `renewal: ${decision.reason}`);
      refuse(broker, channel, id, decision.code, decision.reason);
    } else if (!isSame(decision.principal, renews)) {
      broker.audit.tell(
        'refused',
        client,
        `renewal: the credentials are those of ${decision.principal.name}`,
      );
      broker.fail(client, ReasonCode.NOT_AUTHORIZED);
    } else if (isForOther(decision.principal, session)) {
      broker.audit.tell('refused', client, `renewal: ${OTHER_SESSION}`);
      refuse(broker, channel, id, ReasonCode.NOT_AUTHORIZED, OTHER_SESSION);
    } else {
      change(broker, client, decision.principal);
      broker.audit.tell('renewed', client, '');
      const msLeft = admission.msLeft(decision.principal);
      if (!channel.closed) channel.delivery.answer(encodeRenewed(id, msLeft));
    }
  });
}

/** The client is not let in: it is told why, and closed. */
function turnAway(broker: BrokerState, channel: Channel, id: number, code: ReasonCode, reason: string): void {
  broker.audit.tell('refused', channel.client, reason);
  refuse(broker, channel, id, code, reason);
  broker.admission.turnAway(channel.client, code);
}

/** Calls `act` with whom the client is, at once where nobody has to be asked. Until then the stream is not read. */
function whenDecided(
  { admission }: BrokerState,
  channel: Channel,
  proof: Proof,
  act: (decision: AuthDecision) => void,
): void {
  const known = admission.decisionOn(channel.client, proof);
  if (known !== null) {
    act(known);
    return;
  }
  if (proof.renews === null) admission.suspend(channel.client);
  channel.hold();
  admission.ask(channel.client, proof, (decision) => {
    channel.release();
    act(decision);
  });
}

/** A HELLO, and when it came. */
interface Greeting {
  readonly id: number;
  readonly asked: Hello;
  readonly sinceMs: number;
}

/** The session goes on, or begins; whoever had it until now is told and closed. [BRK-50, BRK-52] */
function begin(broker: BrokerState, channel: Channel, greeting: Greeting, principal: Principal): void {
  const { id, asked } = greeting;
  const { client } = channel;
  const { claims } = broker;
  const claim = sessionClaim(asked.session);
  if (
    claims !== null &&
    asked.session !== '' &&
    !isForOther(principal, asked.session) &&
    !claims.holds(claim)
  ) {
    if (broker.cutOff?.isNow) {
      broker.cutOff.letIn(client);
      begin(broker, channel, { ...greeting, asked: { ...asked, session: '' } }, principal); // [CLU-29] without it, until the cluster is there again
    } else claimFirst(broker, claims, channel, greeting, principal);
    return;
  }
  const known = asked.session === '' ? undefined : broker.sessions.find(asked.session);
  const isBound = isForOther(principal, asked.session);
  if (isBound || (known !== undefined && !mayTake(known.owner, principal))) {
    turnAway(broker, channel, id, ReasonCode.NOT_AUTHORIZED, isBound ? OTHER_SESSION : OTHERS_SESSION);
    return;
  }
  if (asked.session !== '' && known === undefined && broker.sessions.isFull) {
    client.greeted = false;
    if (client.principal === null) broker.admission.awaitHello(client);
    refuse(broker, channel, id, ReasonCode.LIMITED); // [BRK-56] no more than the broker allows
    return;
  }
  if (!broker.admission.accounts.hasRoomFor(principal, client, known?.client ?? null)) {
    turnAway(broker, channel, id, ReasonCode.LIMITED, CONNECTIONS_MANY); // [BRK-120] no more connections of one principal
    return;
  }
  claims?.use(claim, greeting.sinceMs);
  broker.admission.admit(client, principal);
  if (broker.admission.policy.authenticates) broker.audit.tell('authenticated', client, asked.session);
  const isPresent = asked.session !== '' && enter(broker, channel, asked);
  const session = broker.sessionOf(channel);
  const { claimedIds } = broker;
  if (claimedIds !== null && session.number > 0) {
    channel.hold();
    claimedIds.whenKnown(session, () => {
      channel.release();
      if (client.closed) return;
      claimedIds.begin(session);
      welcomeWhenSafe(broker, channel, id, session, isPresent);
    });
  } else welcomeWhenSafe(broker, channel, id, session, isPresent);
}

/** What it says of ids and of the session has to be true after a crash, too. [BRK-55] */
function welcomeWhenSafe(
  broker: BrokerState,
  channel: Channel,
  id: number,
  session: Session,
  isPresent: boolean,
): void {
  const send = () => {
    if (!channel.closed) welcome(broker, channel, id, session, isPresent);
  };
  if (isPresent || session.number === 0) broker.storedAnswers.whenLogsAreSafe(send);
  else broker.storedAnswers.whenSafe(send, (fault) => refuse(broker, channel, id, codeOfFault(fault)));
}

/** In a cluster the session of a name is one node's, wherever its client was before: it comes here first, and until then the stream is not read. [CLU-22] */
function claimFirst(
  broker: BrokerState,
  claims: Claims,
  channel: Channel,
  greeting: Greeting,
  principal: Principal,
): void {
  const { client } = channel;
  const { id, asked, sinceMs } = greeting;
  const name = asked.session;
  broker.admission.suspend(client);
  channel.hold();
  waitForClaim(claims, channel, sessionClaim(name), {
    sinceMs,
    mayTake: (entries) => mayTake(ownerOfSession(name, entries), principal),
    settled: (answer) => {
      channel.release();
      if (client.closed) return;
      broker.actFor(client, () => {
        if (answer === ClaimAnswer.HELD) begin(broker, channel, greeting, principal);
        else if (answer === ClaimAnswer.DENIED)
          turnAway(broker, channel, id, ReasonCode.NOT_AUTHORIZED, OTHERS_SESSION);
        else turnAway(broker, channel, id, ReasonCode.BUSY, SESSION_UNREACHABLE);
      });
    },
  });
}

/** The client does not come back, or not after so long: its session ends with the connection, or that much later. [BRK-57] */
export function leave(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (takeControl(broker, channel))
    broker.sessions.expireAfter(broker.sessionOf(channel), decodeLeave(message));
}

/** For a command of a control stream other than HELLO: false where nobody knows yet who its client is, which is closed then. [BRK-111] */
export function takeControl(broker: BrokerState, channel: Channel): boolean {
  if (!broker.takeRole(channel, Role.CONTROL)) return false;
  if (channel.client.principal !== null) return true;
  broker.fail(channel.client, ReasonCode.NOT_AUTHORIZED);
  return false;
}

/** Refuses a request of a control stream. */
export function refuse(
  broker: BrokerState,
  channel: Channel,
  id: number,
  code: ReasonCode,
  reason = REASONS[code] ?? '',
): void {
  if (channel.closed) return;
  broker.counters.requestsRefused++;
  channel.delivery.answer(encodeRefused(id, code, reason, channel.link.messageBytesMax));
}

function faultOf(broker: BrokerState, channel: Channel, asked: Hello): ReasonCode {
  const { client } = channel;
  if (asked.version !== BROKER_PROTOCOL_VERSION || asked.capabilities !== 0) return ReasonCode.UNSUPPORTED; // [BRK-8] what it does not do is answered
  // It is the first command: what came before it would belong to another session. [BRK-50]
  if (client.greeted || client.hasActed || broker.wills.has(broker.sessionOf(channel)))
    return ReasonCode.CONTRADICTION;
  for (const other of client.channels) {
    if (other !== channel && other.role !== Role.UNDECIDED) return ReasonCode.CONTRADICTION;
  }
  return ReasonCode.NO_ERROR;
}

/** Whether credentials are for one session only, and not for this. */
function isForOther({ session }: Principal, name: string): boolean {
  return session !== null && name !== '' && name !== session;
}

/** Makes the session of that name the connection's. True: it was there before. */
function enter(broker: BrokerState, channel: Channel, asked: Hello): boolean {
  const { client } = channel;
  const { sessions, counters } = broker;
  const holder = sessions.find(asked.session)?.client ?? null;
  if (holder !== null) {
    counters.sessionsTaken++;
    broker.audit.tell('takeover', holder, asked.session);
    broker.dismiss(holder, ReasonCode.SESSION_TAKEN); // its session may be over with that
  }
  const known = sessions.find(asked.session);
  if (known !== undefined && asked.cleanStart) sessions.end(known);
  const principal = client.principal as Principal;
  const isPresent = known !== undefined && known.state === SessionState.AWAY;
  const owner = ownerFor(principal, isPresent ? known.owner : null);
  const expiryMs = broker.storedAnswers.keepsNothing && !isPresent ? 0 : asked.expiryMs;
  if (isPresent) sessions.comeBack(known, client, expiryMs, owner);
  const session = isPresent ? known : sessions.begin(client, asked.session, expiryMs, owner);
  broker.clients.set(client, session);
  return isPresent;
}

function welcome(
  broker: BrokerState,
  channel: Channel,
  id: number,
  session: Session,
  isPresent: boolean,
): void {
  channel.delivery.answer(
    encodeWelcome(id, {
      version: BROKER_PROTOCOL_VERSION,
      isPresent,
      epoch: session.epoch,
      lastIds: session.sequences.lastIds,
      expiryMs: session.expiryMs,
      aliases: TOPIC_ALIASES_MAX,
      messageBytesMax: COMMAND_BYTES_MAX,
      filtersMax: broker.limits.filtersPerClientMax,
      serverTimeMs: broker.wallMs,
      credentialsMs: broker.admission.msLeft(channel.client.principal ?? EVERYONE),
    }),
  );
}

const OTHER_SESSION = 'These credentials are for another session.';
const CONNECTIONS_MANY = 'This client has as many connections as it may.';
const SESSION_UNREACHABLE = 'The session cannot be had from the other brokers of the cluster now. Try again.';
const OTHERS_SESSION = "The session of this name is another client's.";
const REASONS: Partial<Record<ReasonCode, string>> = {
  [ReasonCode.UNSUPPORTED]: 'This broker speaks version 1.',
  [ReasonCode.CONTRADICTION]: 'HELLO is the first command of a connection, and comes once.',
  [ReasonCode.STORE_FULL]: 'There is no room in the store.',
  [ReasonCode.STORE_FAILED]: 'The store keeps nothing any more.',
  [ReasonCode.LIMITED]: 'The broker has as many sessions as it allows.',
  [ReasonCode.QUOTA]: 'The wills of all clients are as large as the broker allows.',
  [ReasonCode.NOT_AUTHORIZED]: 'The client may not publish this.',
  [ReasonCode.TOO_LARGE]: 'The will is larger than the broker allows.',
};
