/** `jsp sub --ack manual`: whoever reads the messages says on stdin, a line each, what became of them. */
import type { Readable } from 'node:stream';
import { printable } from '../base/errors.ts';
import { parseDuration } from './arguments.ts';
import { LineSplitter } from './lines.ts';
import { warn } from './terminal.ts';

/** A message that is to be settled. */
export interface UnsettledMessage {
  readonly offset?: number | undefined;
  ack(): boolean;
  nack(options: { delayMs?: number | undefined; reason?: string | undefined }): boolean;
  terminate(reason?: string): boolean;
  progress(): boolean;
}

/**
 * Messages that wait for a line that settles them:
 *
 *     [ack | nack | terminate | progress | all] [OFFSET] [DELAY] [REASON ...]
 *
 * Without an offset the oldest is meant; a number alone, and an empty line, is an ack; y and n are ack and nack; `all` acknowledges the message and those
 * before it, without an offset all that there are. DELAY is of a nack alone, such as 500ms or 10s.
 */
export class Settling {
  /** Called after each line that has settled something. */
  onSettled: () => void = () => {};
  /** By offset, the oldest first. */
  private readonly waiting = new Map<number, UnsettledMessage>();

  add(message: UnsettledMessage): void {
    if (message.offset !== undefined) this.waiting.set(message.offset, message);
  }

  get unsettled(): number {
    return this.waiting.size;
  }

  /** What is wrong with the line, or null when it has done what it says. */
  take(line: string): string | null {
    const [first = '', ...others] = line.trim().split(/\s+/);
    const isNumber = /^\d+$/.test(first);
    const action = isNumber || first === '' ? 'ack' : WORDS[first.toLowerCase()];
    if (action === undefined) return `it is none of ${Object.keys(WORDS).join(', ')}, nor an offset`;
    const words = isNumber ? [first, ...others] : others;
    const named = words.length > 0 && /^\d+$/.test(words[0]) ? Number(words.shift()) : undefined;
    if (action === 'all') return this.ackAll(named);
    const offset = named ?? this.waiting.keys().next().value;
    const message = offset === undefined ? undefined : this.waiting.get(offset);
    if (offset === undefined || message === undefined) {
      return named === undefined ? 'no message waits' : `no message with offset ${named} waits`;
    }
    if (action !== 'progress') this.waiting.delete(offset);
    const isTold = settle(message, action, words);
    this.onSettled();
    return isTold
      ? null
      : `message ${offset} is not known any more, as the connection was lost meanwhile; it comes again`;
  }

  private ackAll(upTo = Number.POSITIVE_INFINITY): string | null {
    for (const [offset, message] of this.waiting) {
      if (offset > upTo) continue;
      this.waiting.delete(offset);
      message.ack();
    }
    this.onSettled();
    return null;
  }
}

/** Reads lines until the input ends: then nothing can be settled any more. */
export async function settleFrom(input: Readable, settling: Settling): Promise<void> {
  const splitter = new LineSplitter(LINE_BYTES_MAX);
  const take = (bytes: Uint8Array): void => {
    const line = Buffer.from(bytes).toString();
    const fault = settling.take(line);
    if (fault !== null) warn(`"${printable(line)}" settles nothing: ${fault}`);
  };
  for await (const chunk of input) splitter.push(chunk as Buffer, take);
  splitter.end(take);
}

function settle(
  message: UnsettledMessage,
  action: Exclude<Action, 'all'>,
  words: readonly string[],
): boolean {
  if (action === 'ack') return message.ack();
  if (action === 'progress') return message.progress();
  const delayMs = action === 'nack' ? parseDuration(words[0] ?? '') : null;
  const reason = words.slice(delayMs === null ? 0 : 1).join(' ') || undefined;
  if (action === 'terminate') return message.terminate(reason);
  return message.nack({ delayMs: delayMs ?? undefined, reason });
}

type Action = 'ack' | 'nack' | 'terminate' | 'progress' | 'all';

const WORDS: Readonly<Record<string, Action>> = {
  ack: 'ack',
  y: 'ack',
  nack: 'nack',
  n: 'nack',
  terminate: 'terminate',
  progress: 'progress',
  all: 'all',
};
const LINE_BYTES_MAX = 4_096;
