import { expect, test } from 'vitest';
import { ReasonCode } from '../../../../src/pubsub/command.ts';
import { FakeClient } from '../fake-client.ts';
import { RemoteStore } from '../publishing/remote-store.ts';
import { LogWorld, Subscriber } from './log-world.ts';

test('who reads a log that is another one now is closed, and told that it does not go on where it was when it is back [CLU-36] [BRK-71]', () => {
  const store = new RemoteStore();
  const [log] = store.logs;
  const world = new LogWorld({ store });
  const subscribe = (name?: string) => {
    const client = new FakeClient(world.core);
    const subscriber = new Subscriber(client.open()).subscribe('a', name === undefined ? {} : { name });
    log.tellHead();
    world.core.look();
    return { client, subscriber };
  };
  for (const payload of ['1', '2', '3']) log.write('a', payload);
  const readers = [subscribe(), subscribe('d')];
  const bystander = new FakeClient(world.core);
  log.write('a', '4');
  world.core.look();
  expect(readers.map(({ subscriber }) => subscriber.messages())).toEqual([['4 a=4'], ['4 a=4']]);
  log.loseAll(2);
  world.core.look();
  expect(readers.map(({ client }) => client.peer.closedWith)).toEqual([ReasonCode.MOVED, ReasonCode.MOVED]);
  expect(bystander.peer.closedWith).toBe(null);
  for (const { client } of readers) client.disconnect();
  log.write('a', 'new 1');
  const { subscriber } = subscribe('d');
  const [subscribed, ...others] = subscriber.take();
  expect(subscribed).toBe('SUBSCRIBED at 1 missed 18446744073709552000');
  log.write('a', 'new 2');
  world.core.look();
  expect([...others, ...subscriber.take()].filter((line) => /^\d/.test(line))).toEqual([
    '1 a=new 1',
    '2 a=new 2',
  ]);
  expect(world.faults).toEqual([]);
});
