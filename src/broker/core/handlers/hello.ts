/** Who a client is: HELLO, by which its session begins or goes on, RENEW, and LEAVE, by which it ends. */

import { COMMAND_BYTES_MAX, encodeRefused, ReasonCode } from '../../../pubsub/command.ts';
import {
  BROKER_PROTOCOL_VERSION,
  decodeHello,
  decodeRenew,
  encodeRenewed,
  encodeWelcome,
  type Hello,
} from '../../../pubsub/session-commands.ts';
import { type Channel, Role } from '../delivery/client.ts';
import { codeOfFault } from '../publishing/publishers.ts';
import { TOPIC_ALIASES_MAX } from '../publishing/topic-aliases.ts';
import { type Session, SessionState } from '../session/session.ts';
import type { BrokerState } from '../state.ts';

/** The session goes on, or begins; whoever had it until now is told and closed. [BRK-33, BRK-50, BRK-52] */
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
  const isPresent = asked.session !== '' && enter(broker, channel, asked);
  const session = broker.sessionOf(channel);
  // What it says of ids and of the session has to be true after a crash, too. [BRK-55]
  const send = () => {
    if (!channel.closed) welcome(broker, channel, id, session, isPresent);
  };
  if (isPresent || session.number === 0) broker.storedAnswers.whenLogsAreSafe(send);
  else broker.storedAnswers.whenSafe(send, (fault) => refuse(broker, channel, id, codeOfFault(fault)));
}

/** This broker asks for no credentials, so those that it is given are good without end. [BRK-36] */
export function renew(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!broker.takeRole(channel, Role.CONTROL)) return;
  if (decodeRenew(message) === null) broker.fail(channel.client, ReasonCode.COMMAND_ENCODING_ERROR);
  else channel.delivery.answer(encodeRenewed(broker.reader.id, 0));
}

/** The client does not come back: its session ends with the connection. [BRK-57] */
export function leave(broker: BrokerState, channel: Channel): void {
  if (broker.takeRole(channel, Role.CONTROL)) broker.sessionOf(channel).expiryMs = 0;
}

/** Refuses a request of a control stream. */
export function refuse(broker: BrokerState, channel: Channel, id: number, code: ReasonCode): void {
  if (channel.closed) return;
  broker.counters.requestsRefused++;
  channel.delivery.answer(encodeRefused(id, code, REASONS[code] ?? '', channel.link.messageBytesMax));
}

function faultOf(broker: BrokerState, channel: Channel, asked: Hello): ReasonCode {
  const { client } = channel;
  if (asked.version !== BROKER_PROTOCOL_VERSION || asked.capabilities !== 0) return ReasonCode.UNSUPPORTED; // [BRK-8]
  // It is the first command: what came before it would belong to another session. [BRK-50]
  if (client.greeted || client.hasActed || broker.wills.has(broker.sessionOf(channel)))
    return ReasonCode.CONTRADICTION;
  for (const other of client.channels) {
    if (other !== channel && other.role !== Role.UNDECIDED) return ReasonCode.CONTRADICTION;
  }
  const isNew = asked.session !== '' && broker.sessions.find(asked.session) === undefined;
  return isNew && broker.sessions.isFull
    ? // [BRK-56] no more than the broker allows
      ReasonCode.LIMITED
    : ReasonCode.NO_ERROR;
}

/** Makes the session of that name the connection's. True: it was there before. */
function enter(broker: BrokerState, channel: Channel, asked: Hello): boolean {
  const { client } = channel;
  const { sessions, counters } = broker;
  const holder = sessions.find(asked.session)?.client ?? null;
  if (holder !== null) {
    counters.sessionsTaken++;
    broker.output.close(holder, ReasonCode.SESSION_TAKEN);
    broker.disconnect(holder); // its session may be over with that
  }
  const known = sessions.find(asked.session);
  if (known !== undefined && asked.cleanStart) sessions.end(known);
  const isPresent = known !== undefined && known.state === SessionState.AWAY;
  const expiryMs = broker.storedAnswers.keepsNothing && !isPresent ? 0 : asked.expiryMs;
  if (isPresent) sessions.comeBack(known, client, expiryMs);
  const session = isPresent ? known : sessions.begin(client, asked.session, expiryMs);
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
      lastIds: broker.publishers.coveredIds(session.sequences),
      expiryMs: session.expiryMs,
      aliases: TOPIC_ALIASES_MAX,
      messageBytesMax: COMMAND_BYTES_MAX,
      filtersMax: broker.limits.filtersPerClientMax,
      serverTimeMs: broker.wallMs,
      credentialsMs: 0,
    }),
  );
}

const REASONS: Partial<Record<ReasonCode, string>> = {
  [ReasonCode.UNSUPPORTED]: 'This broker speaks version 1.',
  [ReasonCode.CONTRADICTION]: 'HELLO is the first command of a connection, and comes once.',
  [ReasonCode.STORE_FULL]: 'There is no room in the store.',
  [ReasonCode.STORE_FAILED]: 'The store keeps nothing any more.',
  [ReasonCode.LIMITED]: 'The broker has as many sessions as it allows.',
  [ReasonCode.QUOTA]: 'The wills of all clients are as large as the broker allows.',
  [ReasonCode.NOT_AUTHORIZED]: 'A message id that begins with $ is for the broker.',
  [ReasonCode.TOO_LARGE]: 'The will is larger than the broker allows.',
};
