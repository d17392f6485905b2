import { expect, test } from 'vitest';
import { JspError } from '../../src/base/errors.ts';
import type { CommandListener } from '../../src/client/command-stream.ts';
import { Asking } from '../../src/gateway/asking.ts';
import { LocalBackend } from '../../src/gateway/backend.ts';
import { factsOf } from '../../src/gateway/caller.ts';
import { Conversation } from '../../src/gateway/conversation.ts';
import { DeliveryTexts } from '../../src/gateway/delivery-text.ts';
import { type PublishItem, publishCommand } from '../../src/gateway/item.ts';
import { PublishState } from '../../src/gateway/publishing.ts';
import { Session } from '../../src/gateway/session.ts';
import { CommandReader, PublishFlag, ReasonCode, Side } from '../../src/pubsub/command.ts';
import { decodeProperties } from '../../src/pubsub/properties.ts';
import { systemClock } from '../../src/udp/clock.ts';
import { ManualClock } from '../client/manual-clock.ts';
import { gatewayInMemory } from './gateway-server.ts';

const QUESTION: PublishItem = {
  topic: 'q',
  payload: 'x',
  qos: 1,
  retain: false,
  priority: 'chat',
  properties: null,
};

test('a caller hears at once of an answer that cannot be opened', async () => {
  let hear: CommandListener | null = null;
  const session = {
    name: 'n',
    openStream: (_: string, listener: CommandListener) => {
      hear = listener;
      return { request: async () => {}, reset: () => {} };
    },
    publish: (question: Buffer) => {
      const reader = new CommandReader(Side.CLIENT);
      reader.read(question);
      const { replyTopic = '' } = decodeProperties(question, reader.topicEnd);
      const answer = publishCommand({ ...QUESTION, qos: 0, topic: replyTopic, payload: 'no envelope' });
      answer[1] |= PublishFlag.COMPRESSED;
      reader.read(answer);
      hear?.onDelivery?.(answer, reader);
      return { state: PublishState.TAKEN };
    },
  };
  const clock = new ManualClock();
  const asking = new Asking(session as unknown as Session, clock);
  await expect(asking.ask(QUESTION, 1_000)).rejects.toMatchObject({ code: 'RESPONDER_FAILED' });
  expect([asking.pending, clock.pending]).toEqual([0, 0]);
});

test('a caller asks again after his inbox was refused, and after it was taken from him [GW-29]', async () => {
  const streams: CommandListener[] = [];
  let refusal: JspError | null = new JspError('ERR_JSP_BROKER', 'not now', {
    applicationCode: ReasonCode.QUOTA,
  });
  const session = {
    name: 'n',
    endedBy: null,
    openStream: (_: string, listener: CommandListener) => {
      streams.push(listener);
      return {
        request: async () => {
          if (refusal !== null) throw refusal;
        },
        reset: () => listener.onClosed(null),
      };
    },
    /** Whoever is subscribed answers at once. */
    publish: (question: Buffer) => {
      const reader = new CommandReader(Side.CLIENT);
      reader.read(question);
      const { replyTopic = '' } = decodeProperties(question, reader.topicEnd);
      const answer = publishCommand({ ...QUESTION, qos: 0, topic: replyTopic, payload: 'yes' });
      reader.read(answer);
      streams.at(-1)?.onDelivery?.(answer, reader);
      return { state: PublishState.TAKEN };
    },
  };
  const asking = new Asking(session as unknown as Session, new ManualClock());
  await expect(asking.ask(QUESTION, 1_000)).rejects.toBe(refusal);
  refusal = null;
  for (const opened of [2, 2, 3]) {
    if (opened === 3) streams[1].onClosed(new JspError('ERR_JSP_STREAM_RESET', 'taken'));
    expect((await asking.ask(QUESTION, 1_000)).payload.toString()).toBe('yes');
    expect([streams.length, asking.pending]).toEqual([opened, 0]);
  }
});

test('a WebSocket client asks again after there was no connection for his inbox to be had [GW-55]', async () => {
  const server = await gatewayInMemory();
  const backend = new LocalBackend(server.broker, (fault) => server.faults.push(fault));
  let isRefused = false;
  let hear: (message: { type: string; code: string }) => void = () => {};
  const conversation = new Conversation(
    {
      send: (frame) => hear(JSON.parse(frame.subarray(frame[1] === 126 ? 4 : 2).toString())),
      setReading: () => {},
      end: () => {},
    },
    {
      ...{ clock: systemClock, texts: new DeliveryTexts(), payloadBytesMax: 1_024, pingMs: 1_000 },
      open: async (request, listener) => {
        if (isRefused) throw new JspError('ERR_JSP_TIMEOUT', 'later');
        return Session.open(await backend.connect(factsOf('websocket', '')), request, listener);
      },
      onFault: (fault) => server.faults.push(fault),
    },
  );
  const heard = (act: () => void) =>
    new Promise<string>((resolve) => {
      hear = ({ type, code }) => resolve(code ?? type);
      act();
    });
  const ask = () => conversation.received('{"type":"request","id":1,"topic":"nobody"}');
  expect(await heard(() => conversation.greetAnonymously())).toBe('welcome');
  isRefused = true;
  expect(await heard(ask)).toBe('ERR_JSP_TIMEOUT');
  isRefused = false;
  expect(await heard(ask)).toBe('NO_RESPONDERS');
  conversation.end();
  await server.close();
  expect(server.faults).toEqual([]);
});
