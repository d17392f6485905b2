import { describe, expect, test } from 'vitest';
import { Action, Output } from '../../../src/broker/core/output.ts';

/** Everything that is to be done, in words. */
function drained(output: Output<string, string>): string[] {
  const words: string[] = [];
  for (let effect = output.poll(); effect !== null; effect = output.poll()) {
    const { action, channel, client, bytes, value } = effect;
    words.push(`${NAMES[action]} ${channel ?? client} ${action === Action.SEND ? bytes : value}`);
  }
  return words;
}

const NAMES = Object.keys(Action);

describe('what the core of the broker says', () => {
  test('comes out in its order, and once', () => {
    const output = new Output<string, string>();
    output.send('a', Uint8Array.of(1, 2));
    output.act(Action.PAUSE, 'b');
    output.act(Action.RESET, 'a', 14);
    output.close('client', 3);
    output.send('b', Uint8Array.of());
    expect(drained(output)).toEqual(['SEND a 1,2', 'PAUSE b 0', 'RESET a 14', 'CLOSE client 3', 'SEND b ']);
    expect(drained(output)).toEqual([]);
  });

  test('may grow while it is carried out', () => {
    const output = new Output<string, string>();
    output.act(Action.OPEN, 'a');
    expect(output.poll()).toMatchObject({ action: Action.OPEN, channel: 'a' });
    output.act(Action.END, 'a');
    expect(drained(output)).toEqual(['END a 0']);
  });

  test('keeps nothing alive when it was taken, and makes no new effects for the next turn', () => {
    const output = new Output<object, object>();
    const seen = new Set<unknown>();
    for (let turn = 0; turn < 3; turn++) {
      for (let i = 0; i < 10; i++) output.send({}, new Uint8Array(9));
      output.close({}, 1);
      for (let effect = output.poll(); effect !== null; effect = output.poll()) seen.add(effect);
    }
    expect(seen.size).toBe(11);
    for (const effect of seen) {
      expect(effect).toMatchObject({ channel: null, client: null, bytes: new Uint8Array(0) });
    }
  });

  test('wakes streams in the order in which they asked', () => {
    const output = new Output<string, string>();
    for (const channel of ['a', 'b']) output.wake(channel);
    expect(output.firstWoken).toBe('a');
    output.dropFirstWoken();
    expect(output.firstWoken).toBe('b');
    output.dropFirstWoken();
    expect(output.firstWoken).toBeUndefined();
  });
});
