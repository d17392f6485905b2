import { describe, expect, it } from 'vitest';
import { StreamLink } from '../../src/broker/service.ts';
import type { MessageStream } from '../../src/pubsub/message-stream.ts';

/** A transport stream that notes what it is told. */
function recorder() {
  const calls: unknown[][] = [];
  const note =
    (name: string) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
      return true;
    };
  const stream = {
    ...{ id: 8, label: '', ordered: true, delivery: 'reliable', priority: 'media', messageBytesMax: 77 },
    ...{ queuedBytes: 5, highWaterMark: 0, hasReceivedBestEffort: false },
    ...{ send: note('send'), pause: note('pause'), resume: note('resume'), end: note('end') },
    ...{ reset: note('reset'), on: note('on') },
  } as unknown as MessageStream;
  return { stream, calls, link: new StreamLink(stream) };
}

describe('a stream as the core of the broker sees it', () => {
  it('hands on the very bytes, and gives large ones away, so that nothing copies them [BRK-7]', () => {
    const { link, calls } = recorder();
    const [small, large] = [4_095, 4_096].map((length) => new Uint8Array(length));
    for (const bytes of [small, large]) expect(link.send(bytes)).toBe(true);
    expect(calls[0][1]).toBe(small);
    expect(calls[0].length).toBe(2);
    expect(calls[1][1]).toBe(large);
    expect(calls[1][2]).toEqual({ transfer: true });
  });

  it('tells number, class and bounds of the stream', () => {
    const { link, stream } = recorder();
    expect([link.id, link.priority, link.messageBytesMax, link.queuedBytes]).toEqual([8, 1, 77, 5]);
    link.limit(8_192);
    expect(stream.highWaterMark).toBe(8_192);
  });

  it('takes nothing more of a stream that is gone, without a throw', () => {
    const { link, stream } = recorder();
    const gone = () => {
      throw new Error('gone');
    };
    Object.assign(stream, { send: gone, end: gone });
    expect(link.send(new Uint8Array(1))).toBe(false);
    link.end();
  });

  it('resumes after the core has returned, unless it was paused again', async () => {
    const { link, calls } = recorder();
    link.resume();
    link.resume();
    link.pause();
    await Promise.resolve();
    expect(calls).toEqual([['pause']]);
    link.resume();
    expect(calls.length).toBe(1);
    await Promise.resolve();
    expect(calls).toEqual([['pause'], ['resume']]);
  });
});
