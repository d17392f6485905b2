import { PublishFlag, publishPrefix } from '../../../../src/pubsub/command.ts';
import { encodeProperties, type Properties } from '../../../../src/pubsub/properties.ts';
import type { FakeStream } from '../fake-client.ts';

/** Publishes with QoS 1 and, where there are any, properties. */
export function publish1(
  stream: FakeStream,
  id: number,
  topic: string,
  payload: string,
  properties?: Properties,
): void {
  stream.send(publish(topic, payload, id, properties));
}

export function publish(topic: string, payload: string, id: number, properties?: Properties): Buffer {
  const flags = (id === 0 ? 0 : PublishFlag.QOS1) | (properties === undefined ? 0 : PublishFlag.PROPERTIES);
  const block = properties === undefined ? Buffer.alloc(0) : encodeProperties(properties);
  return Buffer.concat([publishPrefix(topic, flags, id), block, Buffer.from(payload)]);
}

/** What a publisher is told: `id result @offset`, with * for all before, or `id refused code`. */
export function receipts(stream: FakeStream): string[] {
  stream.carry();
  return stream.link.commands.map(({ name, flags, id, body }) => {
    if (name === 'REFUSED') return `${id} refused ${body.readUInt16BE(0)}`;
    if (name !== 'PUBLISHED') return name;
    const offset = body.length > 1 ? ` @${body.readBigUInt64BE(1)}` : '';
    return `${id}${flags === 1 ? '*' : ''} ${body[0]}${offset}`;
  });
}
