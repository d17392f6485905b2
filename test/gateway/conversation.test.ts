import { expect, test } from 'vitest';
import { Conversation, type Wire } from '../../src/gateway/conversation.ts';
import { DeliveryTexts } from '../../src/gateway/delivery-text.ts';
import { type LocalStream, localPair, Turns } from '../../src/gateway/local-connection.ts';
import { Session } from '../../src/gateway/session.ts';
import { Command, encodePlain, uint32 } from '../../src/pubsub/command.ts';
import { encodeWelcome } from '../../src/pubsub/session-commands.ts';
import { systemClock } from '../../src/udp/clock.ts';

const WELCOME = {
  ...{ version: 1, isPresent: false, epoch: 1, lastIds: [0, 0, 0, 0], expiryMs: 0, aliases: 0 },
  ...{ messageBytesMax: 1_000_000, filtersMax: 16, serverTimeMs: 0, credentialsMs: 0 },
};

/** A conversation with a broker that welcomes its client, and what that has not read of each of its streams. */
async function welcomed() {
  const streams: LocalStream[] = [];
  const said: { type: string }[] = [];
  let isReading = true;
  const wire: Wire = {
    send: (frame) => said.push(JSON.parse(frame.toString().slice(frame.indexOf('{"')))),
    setReading: (value) => {
      isReading = value;
    },
    end: () => {},
  };
  const turns = new Turns();
  const conversation = new Conversation(wire, {
    clock: systemClock,
    texts: new DeliveryTexts(),
    payloadBytesMax: 1_000_000,
    pingMs: 1_000,
    open: async (request, listener) => {
      const facts = {
        door: 'websocket',
        address: '',
        overLimit: 'refuse',
        exporter: () => null,
        link: () => null,
      } as const;
      const [near, far] = localPair({ facts, turns, onFault: (error) => expect.fail(String(error)) });
      far.on('stream', (stream: LocalStream) => {
        streams.push(stream);
        stream.on('message', (command) => {
          const id = uint32(command, 4);
          if (command[0] === Command.HELLO) stream.send(encodeWelcome(id, WELCOME));
          else if (command[0] === Command.WILL) stream.send(encodePlain(Command.WILL_SET, id));
        });
      });
      return await Session.open(near, request, listener);
    },
    onFault: (error) => expect.fail(String(error)),
  });
  const say = (message: object) => conversation.received(JSON.stringify(message));
  say({ type: 'auth' });
  while (said.length === 0) await turn();
  return { streams, said, say, isReading: () => isReading };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

test('who asks for more than the broker reads is not read himself, until it reads on [GW-56]', async () => {
  const { streams, said, say, isReading } = await welcomed();
  const [control] = streams;
  control.pause(); // as a broker does whose store has a will to write
  let wills = 0;
  while (isReading() && wills < 100) say({ type: 'will', id: ++wills, topic: 'w', text: 'x'.repeat(60_000) });
  expect(wills).toBe(5);
  control.resume();
  while (!isReading()) await turn();
  while (said.length <= wills) await turn();
  expect(said.slice(1).every(({ type }) => type === 'result')).toBe(true);
});

test('the same of what is said of a subscription, also where that is closed meanwhile [GW-56]', async () => {
  for (const isClosed of [false, true]) {
    const { streams, say, isReading } = await welcomed();
    say({ type: 'subscribe', id: 0, sub: 's', filters: ['f'] });
    while (streams.length < 2) await turn();
    streams[1].pause();
    let asked = 0;
    while (isReading() && asked < 100_000) say({ type: 'progress', id: ++asked, sub: 's', offsets: [1] });
    expect(asked).toBeLessThan(100_000);
    if (isClosed) say({ type: 'close', id: 0, sub: 's' });
    else streams[1].resume();
    while (!isReading()) await turn();
  }
});

test('a connection has 1,000 subscriptions and 1,024 requests under way at most', async () => {
  const { said, say } = await welcomed();
  const refusals = () => said.filter(({ type }) => type === 'error');
  for (let id = 1; id <= 1_000; id++) say({ type: 'subscribe', id, filters: ['a'], qos: 0 });
  await turn();
  expect(refusals()).toEqual([]);
  say({ type: 'subscribe', id: 1_001, filters: ['a'], qos: 0 });
  expect(refusals()).toMatchObject([{ id: 1_001, code: 'TOO_MANY_SUBSCRIPTIONS' }]);
  for (let id = 1; id <= 1_024; id++) say({ type: 'request', id, topic: 'a', text: '' });
  await turn();
  expect(refusals()).toHaveLength(1);
  say({ type: 'request', id: 1_025, topic: 'a', text: '' });
  expect(refusals()[1]).toMatchObject({ id: 1_025, code: 'LIMITED' });
});
