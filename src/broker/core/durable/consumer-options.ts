/** What a subscriber asks of a subscription of QoS 1, with the defaults of the broker and within its bounds. [BRK-62] [BRK-67] */

import type { SubscribeOptionValues } from '../../../pubsub/subscribe-options.ts';
import { ACK_WAIT_MS, type RedeliveryOptions } from './redelivery.ts';

export interface ConsumerOptions extends RedeliveryOptions {
  /** Messages that may be unsettled at once; in a shared group those of each member. */
  readonly unackedMax: number;
  /** Topic of what is given up; null: it is dropped. */
  readonly deadLetter: string | null;
  /** How long it is kept while nobody takes its messages; infinite: for ever. */
  readonly expiryMs: number;
  /** In a shared group: messages of one key stay in order. */
  readonly keyOrder: boolean;
}

/**
 * @param unackedMax - of the broker
 * @param isNamed - its subscriber has given it a name
 */
export function consumerOptions(
  values: SubscribeOptionValues,
  unackedMax: number,
  isNamed: boolean,
): ConsumerOptions {
  const expiryMs = values.expiryMs ?? (isNamed ? FOR_EVER : GROUP_EXPIRY_MS);
  return {
    unackedMax: Math.min(values.unackedMax || UNACKED_MAX, unackedMax),
    ackWaitMs: Math.max(values.ackWaitMs || ACK_WAIT_MS, ACK_WAIT_MIN_MS),
    backoffMs: values.backoffMs ?? [],
    deliveriesMax: values.deliveriesMax ?? 0,
    deadLetter: values.deadLetter ?? null,
    expiryMs: expiryMs === FOR_EVER ? Number.POSITIVE_INFINITY : expiryMs,
    keyOrder: values.keyOrder ?? false,
  };
}

/** As an option of SUBSCRIBE carries it. */
const FOR_EVER = 0xffff_ffff;
export const UNACKED_MAX = 1_024;
/** A shorter time would only keep the broker busy. */
const ACK_WAIT_MIN_MS = 10;
/** Of a shared group whose members give it no name. */
const GROUP_EXPIRY_MS = 3_600_000;
