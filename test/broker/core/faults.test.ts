import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import { Channel } from '../../../src/broker/core/delivery/client.ts';
import { Delivery } from '../../../src/broker/core/delivery/delivery.ts';
import { DeliveryQueue } from '../../../src/broker/core/delivery/delivery-queue.ts';
import { BrokerState } from '../../../src/broker/core/state.ts';
import { ReasonCode } from '../../../src/pubsub/command.ts';
import { Router } from '../../../src/pubsub/router.ts';
import { DrivenCore } from './driven-core.ts';
import { FakeClient, type FakeStream } from './fake-client.ts';
import { FakeLink } from './fake-link.ts';
import { walkedLevels } from './levels.ts';

/** Where an exception of the broker's own may come from. */
const PLACES: readonly (readonly [owner: object, method: string])[] = [
  [Router.prototype, 'route'],
  [Router.prototype, 'add'],
  [Router.prototype, 'remove'],
  [BrokerState.prototype, 'subscribe'],
  [DeliveryQueue.prototype, 'push'],
  [DeliveryQueue.prototype, 'shift'],
  [DeliveryQueue.prototype, 'pushAnswer'],
  [DeliveryQueue.prototype, 'clear'],
  [Delivery.prototype, 'offer'],
  [Delivery.prototype, 'answer'],
  [Delivery.prototype, 'drained'],
  [Delivery.prototype, 'stop'],
  [Delivery.prototype, 'goOn'],
  [Delivery.prototype, 'sent'],
  [Channel.prototype, 'hold'],
  [FakeLink.prototype, 'send'],
];

/** Makes the calls for which `fails` says so throw, while `action` runs. */
function breaking(fails: (method: string) => boolean, action: () => void): void {
  const restore = PLACES.map(([owner, method]) => {
    const original = Reflect.get(owner, method) as (...args: unknown[]) => unknown;
    Reflect.set(owner, method, function (this: unknown, ...args: unknown[]) {
      if (fails(method)) throw new Error(`injected into ${method}`);
      return original.apply(this, args);
    });
    return () => Reflect.set(owner, method, original);
  });
  try {
    action();
  } finally {
    for (const each of restore) each();
  }
}

describe('a fault of the broker while it acts for one client', () => {
  test('closes that connection with INTERNAL_ERROR, once, is reported, and nobody else notices [BRK-40]', () => {
    const faults: unknown[] = [];
    const core = new DrivenCore({}, (error) => faults.push(error));
    const [victim, publisher, other] = [new FakeClient(core), new FakeClient(core), new FakeClient(core)];
    const victims = victim.open();
    victims.subscribe(1, 'a');
    const others = other.open();
    others.subscribe(1, 'a');
    const publishing = publisher.open();
    victims.link.send = () => {
      throw new Error('injected');
    };
    for (let i = 0; i < 5; i++) publishing.publish('a', `${i}`);
    others.carry();
    expect(others.link.lines.slice(1)).toEqual(['a=0', 'a=1', 'a=2', 'a=3', 'a=4']);
    expect(victim.peer.closedWith).toBe(ReasonCode.INTERNAL_ERROR);
    expect([publisher.peer.closedWith, other.peer.closedWith]).toEqual([null, null]);
    expect(faults).toEqual([new Error('injected')]);
    expect(core.metrics()).toMatchObject({ internalErrors: 1, clients: 2, subscriptions: 1 });
  });

  test('at random points costs no client anything but those whose commands failed [BRK-40]', () => {
    let failures = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Prng(seed);
      let faults = 0;
      const core = new DrivenCore({ queueMessagesMax: 8 }, () => faults++);
      const honest = new FakeClient(core);
      const reader = honest.open();
      const writer = new FakeClient(core);
      const quiet = writer.open();
      reader.subscribe(1, 'honest/#');
      let clients: { client: FakeClient; streams: FakeStream[] }[] = [];
      let sent = 0;
      for (let step = 0; step < 200; step++) {
        // Somebody in trouble: only what is done for this client may fail.
        const newcomer = new FakeClient(core);
        if (clients.length < 4) {
          const streams = [newcomer.open(2), newcomer.open(2)];
          clients.push({ client: newcomer, streams });
        } else newcomer.disconnect();
        const { client, streams } = clients[random.below(clients.length)];
        if (streams[0].channel.closed) streams[0] = client.open(2);
        let left = random.between(0, 6);
        breaking(
          () => left-- === 0,
          () => {
            const kind = random.below(6);
            if (kind === 0) streams[0].subscribe(1, 'own/+');
            else if (kind === 1) streams[0].unsubscribe(2, 'own/+');
            else if (kind === 2) for (let i = 0; i < 4; i++) streams[1].publish('own/x', 'x');
            else if (kind === 3) streams[0].carry(2);
            else if (kind === 4) streams[1].ping(3);
            else if (!streams[0].channel.closed) streams[0].end();
          },
        );
        for (const each of clients) {
          const { closedWith } = each.client.peer;
          if (closedWith !== null && closedWith !== ReasonCode.INTERNAL_ERROR)
            throw new Error('another code');
        }
        if (client.peer.closedWith !== null) failures++;
        clients = clients.filter((each) => each.client.peer.closedWith === null);
        quiet.publish('honest/x', `${sent++}`);
      }
      reader.carry();
      expect(reader.link.lines.slice(1), `seed ${seed}`).toEqual(
        Array.from({ length: sent }, (_, i) => `honest/x=${i}`),
      );
      expect([honest.peer.closedWith, writer.peer.closedWith], `seed ${seed}`).toEqual([null, null]);
      expect(faults > 0, `seed ${seed}`).toBe(core.metrics().internalErrors > 0);
      for (const { client } of clients) client.disconnect();
      expect(core.metrics(), `seed ${seed}`).toMatchObject(walkedLevels(core));
      expect(core.metrics(), `seed ${seed}`).toMatchObject({ clients: 2, queuedMessages: 0, queuedBytes: 0 });
    }
    expect(failures).toBeGreaterThan(100);
  });
});
