/** What goes through the brokers of a world, as its model hears of it. */

import { Command, HEADER_BYTES, PublishFlag } from '../../../src/pubsub/command.ts';
import { decodeProperties, endOfProperties } from '../../../src/pubsub/properties.ts';
import { decodeWelcome } from '../../../src/pubsub/session-commands.ts';
import type { SimStream } from './network.ts';
import type { BrokerWorld } from './run.ts';

/** Tells the model of `world` what its brokers read and send. What it finds is told, and not thrown: the broker would take it for a fault of the transport. */
export function tap(world: BrokerWorld): void {
  const { network, model } = world;
  network.onRead = ({ connection: { end, path, number }, id }: SimStream, message: Uint8Array) =>
    world.guard(() => {
      if (end === 'client') return;
      world.trace(() => `broker reads from ${path.name} on ${id} ${textOf(message)}`);
      const { text, ttlMs } = publishOf(message);
      if (text !== null) model.arrives(text, ttlMs, number);
    });
  network.onSent = ({ connection: { end, path, number }, id }: SimStream, message: Uint8Array) =>
    world.guard(() => {
      if (end === 'client') return;
      world.trace(() => `broker sends to ${path.name} on ${id} ${textOf(message)}`);
      const { text } = publishOf(message);
      if (text !== null) model.leaves(text, path.name, number, world.isThere(text));
      if (message[0] === Command.WELCOME && decodeWelcome(message)?.epoch === 0)
        world.withoutSession.add(number);
    });
}

/** A command for whoever follows one world. */
function textOf(message: Uint8Array): string {
  const name = Object.entries(Command).find(([, code]) => code === message[0])?.[0];
  const { text } = publishOf(message);
  const id = Buffer.from(message).readUInt32BE(4);
  return `${name} ${id} flags ${message[1]} ${text ?? Buffer.from(message).toString('hex', HEADER_BYTES)}`;
}

/** The text of a PUBLISH, and its time to live; null of another command. */
function publishOf(message: Uint8Array): { text: string | null; ttlMs: number } {
  if (message[0] !== Command.PUBLISH) return { text: null, ttlMs: 0 };
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length);
  const topicEnd = HEADER_BYTES + bytes.readUInt16BE(2);
  const hasProperties = (message[1] & PublishFlag.PROPERTIES) !== 0;
  const { ttlMs = Number.POSITIVE_INFINITY } = hasProperties ? decodeProperties(message, topicEnd) : {};
  if (bytes.toString('latin1', HEADER_BYTES, topicEnd).startsWith('dead/')) return { text: null, ttlMs };
  const start = hasProperties ? endOfProperties(message, topicEnd) : topicEnd;
  return { text: bytes.toString('latin1', start).trimEnd(), ttlMs };
}
