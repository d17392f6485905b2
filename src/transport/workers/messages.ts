/** What the threads of a server say to each other: `WorkerThreads` in the main thread and `Seat` in each of the others. */

import type { MessagePort } from 'node:worker_threads';
import { JspError, type JspErrorCode } from '../../base/errors.ts';
import type { Channel, CommonGround } from './fellows.ts';

/** What a thread is started with, as its `workerData`. */
export interface SeatData {
  /** Which of the workers it is, from 0. */
  readonly number: number;
  /** Which start of a worker this is, of all of them. */
  readonly seat: number;
  readonly count: number;
  readonly common: CommonGround;
  /** A number of 32 bits for each worker, which it changes while its event loop turns. */
  readonly beats: SharedArrayBuffer;
  /** Leads to the main thread. The thread's own `parentPort` is the application's. */
  readonly control: MessagePort;
  readonly channels: readonly Channel[];
  /** What the owner of the threads has for it. */
  readonly data: unknown;
  readonly port: MessagePort | null;
}

/** To a thread. */
export type Order =
  | { readonly kind: 'meet'; readonly channel: Channel }
  /** To be answered. */
  | { readonly kind: 'ask'; readonly id: number; readonly question: unknown }
  | { readonly kind: 'tell'; readonly message: unknown };

/** From a thread. */
export type Report =
  /** It works from now on. */
  | { readonly kind: 'ready'; readonly value: unknown }
  /** It does not begin to, and ends. */
  | { readonly kind: 'failed'; readonly error: SentError }
  | {
      readonly kind: 'answer';
      readonly id: number;
      readonly value?: unknown;
      readonly error?: SentError | undefined;
    }
  | { readonly kind: 'tell'; readonly message: unknown };

/** An error as it crosses from thread to thread, which by itself would lose its code. */
export interface SentError {
  readonly message: string;
  readonly stack: string | undefined;
  readonly code: string | undefined;
  readonly isOurs: boolean;
}

export function sentError(error: unknown): SentError {
  if (!(error instanceof Error))
    return { message: String(error), stack: undefined, code: undefined, isOurs: false };
  const { message, stack } = error;
  return { message, stack, code: (error as NodeJS.ErrnoException).code, isOurs: error instanceof JspError };
}

export function receivedError({ code, isOurs, message, stack }: SentError): Error {
  const error = isOurs ? new JspError(code as JspErrorCode, message) : new Error(message);
  if (stack !== undefined) error.stack = stack;
  if (!isOurs && code !== undefined) Object.assign(error, { code });
  return error;
}
