/** How commands show messages: a line each, for people or as JSON. */
import { isUtf8 } from 'node:buffer';
import { mayBeUnprintable, printable, printableJson } from '../base/errors.ts';
import type { Origin } from '../pubsub/properties.ts';

export interface MessageFormat {
  topics?: boolean;
  json?: boolean;
}

/** What is shown of a message: all that its publisher and the broker have said. */
export interface ShownMessage {
  readonly topic: string;
  readonly payload: Buffer;
  readonly offset?: number | undefined;
  readonly epoch?: number | undefined;
  readonly redelivered?: boolean;
  readonly attempt?: number;
  readonly retained?: boolean;
  readonly key?: string | undefined;
  readonly contentType?: string | undefined;
  readonly replyTo?: string | undefined;
  readonly correlation?: Uint8Array | undefined;
  readonly publishedAt?: Date | undefined;
  readonly headers?: Readonly<Record<string, string>>;
  readonly properties?: MessageOrigin;
}

/** Of a dead letter: where it was, and why it is there. */
interface MessageOrigin {
  readonly origin?: Origin | undefined;
}

/** A message as a line, without the newline behind it: one message stays one line, and sends no commands to the terminal. */
export function messageLine(message: ShownMessage, format: MessageFormat): Uint8Array {
  if (format.json) return Buffer.from(printableLine(jsonMessage(message)));
  const { topic, payload } = message;
  // Most payloads have nothing to escape, and stay as they are.
  const text = mayBeUnprintable(payload) ? escapedBytes(payload) : payload;
  return format.topics ? Buffer.concat([Buffer.from(`${printable(topic)}\t`), text]) : text;
}

/** JSON that is one line, and sends no commands to the terminal. */
export function printableLine(value: object): string {
  return printableJson(JSON.stringify(value));
}

/** Only what there is: a message of QoS 0 without properties is its topic and its payload. */
function jsonMessage(message: ShownMessage): object {
  const { topic, payload, offset, epoch, correlation, publishedAt, headers = {}, properties } = message;
  const { key, contentType, replyTo } = message;
  return {
    topic,
    // Text as `payload`; bytes that are no UTF-8 as `base64`, so that nothing is lost.
    ...(isUtf8(payload) ? { payload: payload.toString() } : { base64: payload.toString('base64') }),
    ...(offset === undefined ? {} : { offset, epoch }),
    ...(message.redelivered ? { redelivered: true, attempt: message.attempt } : {}),
    ...(message.retained ? { retained: true } : {}),
    key,
    contentType,
    replyTo,
    correlation: correlation === undefined ? undefined : Buffer.from(correlation).toString('base64'),
    publishedAt: publishedAt?.toISOString(),
    ...(Object.keys(headers).length === 0 ? {} : { headers }),
    origin: properties?.origin,
  };
}

function escapedBytes(payload: Buffer): Buffer {
  const text = payload.toString();
  const shown = printable(text);
  return shown === text ? payload : Buffer.from(shown);
}
