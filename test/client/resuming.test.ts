import { describe, expect, test } from 'vitest';
import type { Message } from '../../src/client/message.ts';
import { DropReason, ReasonCode, SubscribeFlag } from '../../src/pubsub/command.ts';
import { StartKind } from '../../src/pubsub/subscribe-options.ts';
import { held, subscribed } from './scripted-log.ts';

describe('a subscription whose connection ends', () => {
  test('goes on where it was on the next one, and its loop with it [CLT-28]', async () => {
    const { log, told, goOnline, breakOff, settle, subscription } = subscribed({ durable: 'd' });
    const own: unknown[] = [];
    subscription.on('resumed', (resumed) => own.push(resumed));
    subscription.on('gap', (gap) => own.push(gap));
    await goOnline();
    const seen: unknown[] = [];
    const iterating = (async () => {
      for await (const { offset, redelivered } of subscription) seen.push([offset, redelivered]);
    })();
    for (const offset of [1, 2]) log.deliver(offset);
    await settle();
    breakOff();
    log.start = { next: 3, isRecovered: true };
    await goOnline();
    for (const offset of [3, 4]) log.deliver(offset);
    await settle();
    expect(seen).toEqual([1, 2, 3, 4].map((offset) => [offset, false]));
    expect(log.asked[1].options).toMatchObject({
      start: StartKind.OFFSET,
      startValue: 3,
      epoch: 7,
      name: 'd',
    });
    expect([told, own]).toEqual([[['resumed', true]], [{ recovered: true }]]);
    subscription.close();
    await iterating;
  });

  test('is asked for as it was, though its caller has changed the object of his options for another', async () => {
    const options = { durable: 'first', from: { time: new Date(5_000) }, backoffMs: [1, 2] };
    const { log, goOnline, breakOff } = subscribed(options);
    options.from.time.setTime(9_000);
    await goOnline();
    Object.assign(options, { durable: 'second', maxDeliveries: 1 });
    options.backoffMs.push(3);
    breakOff();
    await goOnline();
    const asked = log.asked.map(({ options: said }) => said);
    expect(asked[0]).toMatchObject({ name: 'first', start: StartKind.TIME, startValue: 5_000 });
    expect(asked[1]).toMatchObject({ name: 'first', backoffMs: [1, 2] });
    expect(asked[1].deliveriesMax).toBeUndefined();
  });

  test('is delivered again what it had not settled, and says so of what its application had [CLT-27]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, breakOff, settle } = subscribed({}, handler);
    await goOnline();
    for (const offset of [1, 2, 3, 4]) log.deliver(offset);
    await settle();
    done[0]();
    await settle();
    expect(got.map(({ offset }) => offset)).toEqual([1, 2]);
    breakOff();
    log.start = { isRecovered: true };
    await goOnline();
    // 2 is with its handler; 3 and 4 waited here, and nobody has had them.
    expect(log.asked[1].options).toMatchObject({ start: StartKind.OFFSET, startValue: 2 });
    for (const offset of [2, 3, 4]) log.deliver(offset);
    await settle();
    expect(got.length).toBe(2);
    done[1](new Error('no'));
    await settle();
    done[2]();
    await settle();
    done[3]();
    await settle();
    expect(got.map(({ offset, redelivered }) => [offset, redelivered])).toEqual([
      [1, false],
      [2, false],
      [2, true],
      [3, false],
      [4, false],
    ]);
    expect([log.nacks, log.acks.flat()]).toEqual([[], [1, 2, 3]]);
  });

  test('asks again for what it had refused and was not delivered again: a broker that was started anew knows nothing of it [CLT-27]', async () => {
    const refusing = new Set([2]);
    const got: unknown[] = [];
    const { log, goOnline, breakOff, settle, subscription } = subscribed({}, ({ offset, redelivered }) => {
      got.push([offset, redelivered]);
      if (refusing.delete(offset as number)) throw new Error('no');
    });
    subscription.on('handlerError', () => {});
    await goOnline();
    for (const offset of [1, 2, 3]) log.deliver(offset);
    await settle();
    breakOff();
    log.start = { isRecovered: true };
    await goOnline();
    expect(log.asked[1].options).toMatchObject({ start: StartKind.OFFSET, startValue: 2 });
    for (const offset of [2, 3, 4]) log.deliver(offset);
    await settle();
    breakOff();
    log.start = { isRecovered: true };
    await goOnline();
    expect(log.asked[2].options).toMatchObject({ startValue: 5 });
    expect(got).toEqual([
      [1, false],
      [2, false],
      [3, false],
      [2, true],
      [4, false],
    ]);
    expect(log.nacks.map(({ id }) => id)).toEqual([2]);
  });

  test('keeps REDELIVERED for what came again and was not looked at when the connection ended [CLT-27]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, breakOff, settle } = subscribed({}, handler);
    await goOnline();
    log.deliver(1);
    log.deliver(2, { redelivered: true });
    await settle();
    breakOff();
    log.start = { isRecovered: true };
    await goOnline();
    for (const offset of [1, 2]) log.deliver(offset);
    await settle();
    done[0]();
    await settle();
    expect(got.at(-1)).toMatchObject({ offset: 2, redelivered: true });
  });

  test.each(['before', 'while', 'after'] as const)(
    'acknowledges what was done %s it came back, and does not do it again [CLT-27]',
    async (when) => {
      const { handler, got, done } = held();
      const { log, goOnline, breakOff, settle } = subscribed({ durable: 'd' }, handler);
      await goOnline();
      log.deliver(1);
      await settle();
      breakOff();
      if (when === 'before') done[0]();
      log.start = { isRecovered: true };
      await goOnline();
      if (when === 'while') done[0]();
      await settle();
      log.deliver(1, { redelivered: true });
      await settle();
      if (when === 'after') done[0]();
      await settle();
      expect(got.length).toBe(1);
      expect(new Set(log.acks.flat())).toEqual(new Set([1]));
    },
  );

  test('is delivered again what was nacked or given up while it was away [CLT-27]', async () => {
    const got: Message[] = [];
    const { log, goOnline, breakOff, settle } = subscribed({ ack: 'manual', durable: 'd' }, (message) =>
      got.push(message),
    );
    await goOnline();
    for (const offset of [1, 2, 3]) log.deliver(offset, { topic: `${offset}` });
    await settle();
    breakOff();
    expect([got[0].nack(), got[1].terminate('no'), got[2].ack(), got[2].ack()]).toEqual([
      false,
      false,
      true,
      false,
    ]);
    log.start = { isRecovered: true };
    await goOnline();
    for (const offset of [1, 2, 3]) log.deliver(offset, { topic: `${offset}`, redelivered: true });
    await settle();
    expect(got.slice(3).map(({ offset }) => offset)).toEqual([1, 2]);
    expect([got[4].terminate('no'), got[3].ack()]).toEqual([true, true]);
    await settle();
    expect([log.terminated, log.nacks]).toEqual([[[2]], []]);
  });

  test('acknowledges nothing of a log that is another one now, and starts at its beginning [CLT-27, CLT-28, CLT-29]', async () => {
    const { handler, got, done } = held();
    const { log, told, goOnline, breakOff, settle, subscription } = subscribed({}, handler);
    await goOnline();
    log.deliver(5);
    await settle();
    breakOff();
    log.start = ReasonCode.EPOCH_MISMATCH;
    void subscription.linkUser.online(log.connect());
    log.network.schedule();
    await new Promise((resolve) => setImmediate(resolve));
    log.start = { epoch: 8, next: 1 };
    await settle();
    expect(log.asked.map(({ options }) => options.start)).toEqual([
      StartKind.NEW,
      StartKind.OFFSET,
      StartKind.EARLIEST,
    ]);
    expect(told).toEqual([
      ['gap', 'unknown'],
      ['resumed', false],
    ]);
    done[0]();
    log.deliver(5);
    await settle();
    expect(log.acks).toEqual([]);
    expect(got.map(({ epoch, redelivered }) => [epoch, redelivered])).toEqual([
      [7, false],
      [8, false],
    ]);
    done[1]();
    await settle();
    expect(log.acks).toEqual([[5]]);
  });

  test('does not settle what another member of its group had, though it was sent before [CLT-27]', async () => {
    const got: Message[] = [];
    const { log, goOnline, breakOff, settle, subscription } = subscribed({}, (message) => got.push(message));
    (subscription.filters as string[])[0] = '$share/g/#';
    await goOnline();
    log.deliver(9);
    await settle();
    breakOff();
    log.start = { isRecovered: true };
    await goOnline();
    log.deliver(4, { redelivered: true });
    await settle();
    expect(got.map(({ offset }) => offset)).toEqual([9, 4]);
  });

  test('is told what the log did not keep, with a number where there is one [CLT-29]', async () => {
    const { log, told, clock, goOnline, settle, subscription } = subscribed({ durable: 'd' }, () => {});
    const own: unknown[] = [];
    subscription.on('gap', ({ missed }) => own.push(missed));
    log.start = { missed: 12, next: 40, isRecovered: true };
    await goOnline();
    clock.advance(0);
    log.position(7, 50);
    log.dropped(3, DropReason.RETENTION);
    log.position(9, 1);
    await settle();
    expect([told, own, subscription.missed]).toEqual([
      [
        ['gap', 12],
        ['gap', 3],
        ['gap', 'unknown'],
      ],
      [12, 3, 'unknown'],
      15,
    ]);
  });

  test('of QoS 0 keeps what has come, asks again, and tells that it does not know what it missed [CLT-28, CLT-29]', async () => {
    const { log, told, goOnline, breakOff, settle, subscription } = subscribed({ qos: 0, retained: 'ifNew' });
    await goOnline();
    log.stream?.send(Buffer.from('\x01\0\0\x01\0\0\0\0ta'));
    await settle();
    breakOff();
    await goOnline();
    expect(told).toEqual([
      ['gap', 'unknown'],
      ['resumed', false],
    ]);
    expect(log.asked.map(({ flags }) => flags & SubscribeFlag.NO_RETAINED)).toEqual([
      0,
      SubscribeFlag.NO_RETAINED,
    ]);
    for await (const message of subscription) {
      expect(message.text()).toBe('a');
      break;
    }
  });

  test('reads on with fresh credit, though it was full before [CLT-28]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, breakOff, settle } = subscribed({}, handler);
    await goOnline();
    for (let i = 1; i <= 400; i++) log.deliver(i);
    await settle();
    breakOff();
    log.start = { isRecovered: true };
    await goOnline();
    for (let i = 1; i <= 3; i++) log.deliver(i);
    await settle();
    for (let i = 0; i < 4; i++) {
      done.shift()?.();
      await settle();
    }
    expect(got.map(({ offset }) => offset)).toEqual([1, 2, 3]);
  });
});

describe('a subscription that the broker refuses or gives up', () => {
  test('is asked for again, ever more rarely, where it only cannot be had now, and not on a connection that is gone [CLT-41]', async () => {
    const { log, clock, told, goOnline, breakOff, settle, subscription } = subscribed({ durable: 'd' });
    log.start = ReasonCode.BUSY;
    const opened = subscription.opened(undefined);
    await goOnline();
    for (const [ms, times] of [
      [199, 1],
      [1, 2],
      [399, 2],
      [1, 3],
      [60_000, 4],
    ]) {
      clock.advance(ms);
      await settle();
      expect(log.asked.length).toBe(times);
    }
    breakOff();
    clock.advance(60_000);
    await settle();
    expect(log.asked.length).toBe(4);
    await goOnline();
    log.start = {};
    clock.advance(5_000);
    await opened;
    expect(log.asked.length).toBe(6);
    expect(told).toEqual([]);
    subscription.close();
  });

  test('because another took its durable name is over for good [CLT-30]', async () => {
    const { log, told, goOnline, settle, subscription } = subscribed({ durable: 'd' });
    await goOnline();
    log.stream?.reset(ReasonCode.TAKEN);
    await settle();
    expect(await subscription.closed).toMatchObject({
      code: 'ERR_JSP_BROKER',
      applicationCode: ReasonCode.TAKEN,
    });
    await goOnline();
    expect([told, log.asked.length]).toEqual([[['closed', 'ERR_JSP_BROKER']], 1]);
  });

  test('hands over nothing more that waits here when its durable name was taken over: whoever has it gets that [CLT-27]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, settle, subscription } = subscribed({ durable: 'd' }, handler);
    await goOnline();
    for (const offset of [1, 2]) log.deliver(offset);
    await settle();
    log.stream?.reset(ReasonCode.TAKEN);
    await settle();
    done[0]();
    await settle();
    expect(got.map(({ offset }) => offset)).toEqual([1]);
    expect(await subscription.closed).toMatchObject({ applicationCode: ReasonCode.TAKEN });
  });

  test.each([true, false])(
    'is over; whoever waits for it hears why (the first time: %s) [CLT-30]',
    async (isFirst) => {
      const { log, goOnline, breakOff, subscription } = subscribed();
      const opened = subscription.opened(undefined).then(
        () => 'opened',
        (error) => error.applicationCode,
      );
      if (!isFirst) {
        await goOnline();
        breakOff();
      }
      log.start = ReasonCode.TOO_MANY_SUBSCRIPTIONS;
      await goOnline();
      expect(await opened).toBe(isFirst ? ReasonCode.TOO_MANY_SUBSCRIPTIONS : 'opened');
      expect(await subscription.closed).toMatchObject({ applicationCode: ReasonCode.TOO_MANY_SUBSCRIPTIONS });
    },
  );

  test('waits for the next connection where the first one breaks before the answer [CLT-28]', async () => {
    const { log, told, goOnline, breakOff, subscription } = subscribed({ from: 'earliest' });
    const opened = subscription.opened(undefined);
    log.start = null;
    await goOnline();
    breakOff();
    log.start = {};
    await goOnline();
    await opened;
    expect(log.asked.map(({ options }) => options.start)).toEqual([StartKind.EARLIEST, StartKind.EARLIEST]);
    expect(told).toEqual([]);
  });

  test('is given up by the one who waits for it [CLT-30]', async () => {
    const { log, goOnline, subscription } = subscribed();
    log.start = null;
    const abort = new AbortController();
    const opened = subscription.opened(abort.signal);
    await goOnline();
    abort.abort();
    await expect(opened).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
    expect(await subscription.closed).toBeNull();
  });
});

describe('a durable subscription that is taken back', () => {
  test('while the client is away is taken back when it returns [CLT-28]', async () => {
    const { log, goOnline, breakOff, settle, subscription } = subscribed({ durable: 'd' });
    await goOnline();
    breakOff();
    const leaving = subscription.unsubscribe();
    await settle();
    expect(log.unsubscribed).toBe(0);
    await goOnline();
    await leaving;
    expect([log.unsubscribed, await subscription.closed]).toEqual([1, null]);
  });

  test('is taken back once more where its connection broke before the answer [CLT-28]', async () => {
    const { log, goOnline, breakOff, settle, subscription } = subscribed({ durable: 'd' });
    await goOnline();
    let isOver = false;
    const leaving = subscription.unsubscribe().then(() => {
      isOver = true;
    });
    breakOff();
    await settle();
    expect([log.unsubscribed, isOver]).toEqual([0, false]);
    await goOnline();
    await leaving;
    expect([log.unsubscribed, await subscription.closed]).toEqual([1, null]);
  });

  test('is left where it is by close, with what was acknowledged [CLT-31]', async () => {
    const { log, goOnline, settle, subscription } = subscribed({ durable: 'd' }, () => {});
    await goOnline();
    log.deliver(1);
    await new Promise((resolve) => setImmediate(resolve));
    subscription.close();
    await settle();
    expect([log.acks, log.unsubscribed, log.stream?.resetWith]).toEqual([[[1]], 0, null]);
  });

  test('has nothing settled any more that was not before it was closed [CLT-31]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, settle, subscription } = subscribed({ durable: 'd' }, handler);
    await goOnline();
    log.deliver(1);
    await settle();
    subscription.close();
    expect([got[0].ack(), subscription.unsettled]).toEqual([false, 0]);
    done[0]();
    await settle();
    expect(log.acks).toEqual([]);
  });
});

describe('a subscription that is drained', () => {
  test('waits for its handlers and for the broker to have their acknowledgements, and hands no more over [CLT-31]', async () => {
    const { handler, got, done } = held();
    const { log, goOnline, settle, subscription } = subscribed({}, handler);
    await goOnline();
    for (const offset of [1, 2, 3]) log.deliver(offset);
    await settle();
    let left: number | null = null;
    void subscription.drain().then(({ length }) => {
      left = length;
    });
    log.deliver(4);
    await settle();
    expect(left).toBeNull();
    done[0]();
    await settle();
    expect([left, got.length, log.acks]).toEqual([0, 1, [[1]]]);
    expect(await subscription.closed).toBeNull();
  });

  test('lets its loop end behind the message that it has, and counts what was not settled [CLT-31]', async () => {
    const { log, goOnline, settle, subscription } = subscribed({ ack: 'manual' });
    await goOnline();
    for (const offset of [1, 2]) log.deliver(offset);
    const seen: unknown[] = [];
    let release: () => void = () => {};
    const iterating = (async () => {
      for await (const { offset } of subscription) {
        seen.push(offset);
        await new Promise<void>((resolve) => {
          release = resolve;
        });
      }
    })();
    await settle();
    const drained = subscription.drain();
    await settle();
    release();
    expect((await drained).length).toBe(1);
    await iterating;
    expect(seen).toEqual([1]);
  });
});
