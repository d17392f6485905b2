import { expect, test } from 'vitest';
import { encodeAlias, PublishFlag } from '../../../src/pubsub/command.ts';
import { AuthMethod, decodeNotice, encodeHello, NoticeCode } from '../../../src/pubsub/session-commands.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient, type FakeStream } from './fake-client.ts';
import { SlowStore } from './publishing/slow-store.ts';

function greeted(core: DrivenCore): { client: FakeClient; control: FakeStream } {
  const client = new FakeClient(core);
  const control = client.open();
  control.send(
    encodeHello(1, {
      version: 1,
      cleanStart: false,
      aliases: 0,
      capabilities: 0,
      expiryMs: 0,
      method: AuthMethod.NONE,
      session: '',
      credentials: Buffer.alloc(0),
    }),
  );
  return { client, control };
}

function notices(control: FakeStream): unknown[] {
  control.carry();
  return control.link.delivered
    .filter((command) => command[0] === 0x8d)
    .map((command) => {
      const { code, value, text } = decodeNotice(command);
      return [code, value, text];
    });
}

test('who has said HELLO is told that the broker shuts down, and when it closes at the latest [BRK-95] [BRK-35]', () => {
  const core = new DrivenCore();
  const { control } = greeted(core);
  const other = new FakeClient(core).open();
  core.shutDown(5_000);
  expect(notices(control)).toEqual([[NoticeCode.SHUTTING_DOWN, 5_000, '']]);
  other.carry();
  expect(other.link.lines).toEqual([]);
});

test('who has said HELLO is told when a log takes nothing more [BRK-95]', () => {
  const store = new SlowStore();
  const core = new DrivenCore({}, undefined, store);
  const { control } = greeted(core);
  store.fail('default');
  core.look();
  expect(notices(control)).toEqual([[NoticeCode.STORE_READ_ONLY, 0, 'default']]);
});

test('of one kind a client is told once a second, with the sum [BRK-95]', () => {
  const core = new DrivenCore();
  const { client, control } = greeted(core);
  const publisher = client.open();
  publisher.send(encodeAlias(1, 'a'.repeat(1_000)));
  const large = Buffer.alloc(16 * 1024 * 1024 + 1_000);
  large.set([1, PublishFlag.ALIAS, 0, 1]);
  for (let i = 0; i < 3; i++) publisher.send(large);
  expect(notices(control)).toEqual([[NoticeCode.LIMITED, 1, 'message bytes']]);
  core.goOn(999);
  expect(notices(control).length).toBe(1);
  core.goOn(1);
  expect(notices(control).slice(1)).toEqual([[NoticeCode.LIMITED, 2, 'message bytes']]);
  core.goOn(10_000);
  publisher.send(large);
  expect(notices(control).slice(2)).toEqual([[NoticeCode.LIMITED, 1, 'message bytes']]);
  expect(core.metrics().droppedTooLarge).toBe(4);
});
