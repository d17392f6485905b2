/** When an unsettled message is delivered again, and how often. [BRK-67] */

export interface RedeliveryOptions {
  /** Ms in which a delivery is to be answered. */
  readonly ackWaitMs: number;
  /** Ms between a delivery that failed and the next one, one for each; the last stands for all further ones. Empty: {@link BACKOFF_MS} after a NACK, at once otherwise. */
  readonly backoffMs: readonly number[];
  /** Deliveries of a message, at most; 0: no bound. */
  readonly deliveriesMax: number;
}

/** Ms from an answer that asks for the usual delay to the next delivery. */
export function backoffAfterNack({ backoffMs }: RedeliveryOptions, attempts: number): number {
  return delayAfter(backoffMs.length > 0 ? backoffMs : BACKOFF_MS, attempts);
}

/** Ms from the end of the time to answer to the next delivery. */
export function backoffAfterSilence({ backoffMs }: RedeliveryOptions, attempts: number): number {
  return backoffMs.length > 0 ? delayAfter(backoffMs, attempts) : 0;
}

/** True when a message that was delivered so often is not delivered again. */
export function isUsedUp({ deliveriesMax }: RedeliveryOptions, attempts: number): boolean {
  return deliveriesMax > 0 && attempts >= deliveriesMax;
}

function delayAfter(delaysMs: readonly number[], attempts: number): number {
  return delaysMs[Math.min(Math.max(attempts, 1), delaysMs.length) - 1];
}

export const ACK_WAIT_MS = 30_000;
const BACKOFF_MS = [1_000, 2_000, 4_000, 8_000, 16_000, 30_000] as const;
