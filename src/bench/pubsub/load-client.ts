/** A client of whatever broker is measured: the bench publishes and subscribes by it, and knows no more of the broker. */

import { JspError } from '../../base/errors.ts';
import type { PubsubLoad } from './load.ts';

export interface LoadClient {
  /** With QoS 0: false when it has enough for now, until `onDrain` is called. */
  publish(topic: string, message: Buffer): boolean;
  /** With QoS 1: resolves when the broker has it. */
  publishAcknowledged(topic: string, message: Buffer): Promise<unknown>;
  /** Called when {@link publish} may go on. */
  onDrain: (() => void) | null;
  /** Called when the connection ends, and was not to. */
  onEnd: ((reason: string) => void) | null;
  /**
   * Takes all messages of the load, or its share of them.
   *
   * @param number - of the subscriber, over all processes
   * @param onMessage - the bytes are good until it returns
   */
  subscribe(load: PubsubLoad, number: number, onMessage: OnMessage): Promise<void>;
  /** With QoS 0: resolves when the broker has what was published, with how many messages may not have come to it. */
  flush(signal: AbortSignal): Promise<number>;
  /** Takes back what would outlive the run, and leaves. */
  close(): Promise<void>;
}

export type OnMessage = (payload: Buffer, redelivered: boolean) => void;

/** A package that is no dependency of this one, for only who measures another broker needs it. */
export async function foreignClient<T>(name: string): Promise<T> {
  try {
    return (await import(name)) as T;
  } catch (error) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `the client for this broker is not installed: npm install ${name}`,
      { cause: error },
    );
  }
}
