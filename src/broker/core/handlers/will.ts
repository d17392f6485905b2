/** WILL: what is to be published when the client is gone. */

import {
  Command,
  encodePlain,
  HEADER_BYTES,
  PublishFlag,
  ReasonCode,
  WILL_DELAY_BYTES,
} from '../../../pubsub/command.ts';
import {
  encodeProperties,
  findProperty,
  joinProperties,
  PropertyType,
  payloadStartOf,
  propertiesBut,
} from '../../../pubsub/properties.ts';
import { decodeName, isSystem, topicFault } from '../../../pubsub/topic.ts';
import { ownerFor, type Principal } from '../access/principal.ts';
import type { Channel } from '../delivery/client.ts';
import { isReservedName, keyOfMessage } from '../publishing/message-ids.ts';
import { codeOfFault } from '../publishing/publishers.ts';
import type { BrokerState } from '../state.ts';
import { refuse, takeControl } from './hello.ts';
import { mayPublish } from './permission.ts';

/** Keeps the will of the session, in the place of an earlier one, or takes it back. [BRK-100] */
export function will(broker: BrokerState, channel: Channel, message: Uint8Array): void {
  if (!takeControl(broker, channel)) return;
  const { id } = broker.reader;
  if (broker.cutOff?.isNow) {
    refuse(broker, channel, id, ReasonCode.STORE_FAILED, CUT_OFF); // [CLU-29] nobody knows when it would be kept
    return;
  }
  const code = keep(broker, channel, message);
  if (code === ReasonCode.TOPIC_INVALID) {
    broker.fail(channel.client, code); // [BRK-12] an invalid topic closes the connection
  } else if (code !== ReasonCode.NO_ERROR) {
    refuse(broker, channel, id, code);
  } else {
    // A will that is promised is published after a crash, too. [BRK-55] Until then the next one is not read: what waits for the store has a bound.
    channel.hold();
    const settle = (answer: () => void) => {
      channel.release();
      if (!channel.closed) answer();
    };
    const send = () => settle(() => channel.delivery.answer(encodePlain(Command.WILL_SET, id)));
    if (broker.storedAnswers.keepsNothing) send();
    else {
      broker.storedAnswers.whenSafe(send, (fault) =>
        settle(() => refuse(broker, channel, id, codeOfFault(fault))),
      );
    }
  }
}

function keep(broker: BrokerState, channel: Channel, message: Uint8Array): ReasonCode {
  const { topicEnd } = broker.reader;
  const session = broker.sessionOf(channel);
  if (topicEnd === HEADER_BYTES) {
    broker.wills.takeBack(session);
    return ReasonCode.NO_ERROR;
  }
  const topic = decodeName(message, HEADER_BYTES, topicEnd);
  if (topic === null || topicFault(topic) !== null || isSystem(topic)) return ReasonCode.TOPIC_INVALID;
  if (message.length > WILL_BYTES_MAX) return ReasonCode.TOO_LARGE; // [BRK-103] and all wills together have a bound
  const delayMs = new DataView(message.buffer, message.byteOffset).getUint32(topicEnd);
  const publish = publishOf(message, topicEnd);
  const name = keyOfMessage(publish, topicEnd);
  if (name !== null && isReservedName(name)) return ReasonCode.NOT_AUTHORIZED;
  if (!mayPublish(broker, channel, publish)) return ReasonCode.NOT_AUTHORIZED; // [BRK-114] a will needs `publish` as well
  const isStored = (publish[1] & PublishFlag.QOS1) !== 0;
  const kept = isStored ? named(broker, publish, topicEnd) : publish;
  return broker.wills.set(session, kept, delayMs, ownerFor(channel.client.principal as Principal))
    ? ReasonCode.NO_ERROR
    : ReasonCode.QUOTA;
}

/** The PUBLISH that the will is: without its delay, in memory of its own. */
function publishOf(message: Uint8Array, topicEnd: number): Uint8Array {
  const publish = new Uint8Array(message.length - WILL_DELAY_BYTES);
  publish.set(message.subarray(0, topicEnd));
  publish.set(message.subarray(topicEnd + WILL_DELAY_BYTES), topicEnd);
  publish[0] = Command.PUBLISH;
  publish.fill(0, 4, HEADER_BYTES); // the id of the request
  return publish;
}

/**
 * A will that is to be stored gets a message id, if it has none: where the broker dies as it publishes it, and publishes it again after its start, it is still there once. [BRK-102]
 */
function named(broker: BrokerState, publish: Uint8Array, topicEnd: number): Uint8Array {
  const hasProperties = (publish[1] & PublishFlag.PROPERTIES) !== 0;
  if (hasProperties && findProperty(publish, topicEnd, PropertyType.MESSAGE_ID) >= 0) return publish;
  const id = encodeProperties({ messageId: `$will/${broker.sessions.newNumber()}` }).subarray(2);
  const properties = joinProperties([id, ...propertiesBut(publish, topicEnd, [])]);
  if (properties === null) return publish;
  const payload = publish.subarray(payloadStartOf(publish, topicEnd));
  const out = Uint8Array.from(Buffer.concat([publish.subarray(0, topicEnd), properties, payload]));
  out[1] |= PublishFlag.PROPERTIES;
  return out;
}

/** The largest will. */
const WILL_BYTES_MAX = 64 * 1024;

const CUT_OFF = 'The other brokers of the cluster cannot be reached. Try again.';
