import { describe, expect, test } from 'vitest';
import { Prng } from '../../src/base/random.ts';
import { LastingLab } from './lasting-lab.ts';

/** What befalls a client, or its servers. */
const STORMS = ['goAway', 'cut', 'close', 'destroy', 'kill'] as const;
const SEEDS = Number(process.env.RECONNECT_SEEDS ?? 10);

describe(`in ${SEEDS} worlds of servers that are replaced, closed and killed, and networks that break`, () => {
  test('a connection that comes back loses no message that was acknowledged, and hands back each that was not [CON-101] [CON-104] [CON-105]', async () => {
    for (let seed = 1; seed <= SEEDS; seed++) await storm(seed);
  });
});

async function storm(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const link = { delayMs: 1 + prng.below(40), loss: prng.below(8) / 100 };
  const world = new LastingLab(seed, link);
  const { lab } = world;
  await world.start('a');
  await world.start('b');
  const connection = await world.join(['a', 'b'], { backoffMinMs: 20, backoffMaxMs: 1_000 });
  // In order, what is acknowledged may wait behind a gap, and is lost with a connection that breaks; a server that lets its clients go loses nothing.
  const ordered = seed % 2 === 0;
  const stream = connection.openStream({ label: 'x', reopen: true, ordered });
  const acknowledged = new Set<string>();
  const outstanding = new Set<string>();
  const send = (text: string): void => {
    outstanding.add(text);
    void stream.sendTracked(text).then((outcome) => {
      if (outcome !== 'acknowledged') return;
      acknowledged.add(text);
      outstanding.delete(text);
    });
  };
  const takeBack = (messages: readonly { data: Buffer; mayHaveArrived: boolean }[]): void => {
    for (const { data, mayHaveArrived } of messages) {
      const text = `${data}`;
      expect([seed, text, outstanding.delete(text)]).toEqual([seed, text, true]);
      if (!mayHaveArrived) expect([seed, text, world.texts('x').includes(text)]).toEqual([seed, text, false]);
      send(`${text}'`); // the same once more
    }
  };
  connection.on('reconnected', ({ undelivered }) => takeBack(undelivered));
  connection.on('undelivered', takeBack);

  const going: Promise<unknown>[] = [];
  let sent = 0;
  for (let i = 0; i < 6; i++) {
    for (let k = 0; k < 5; k++) {
      send(`${sent++}`);
      await lab.run(prng.below(60));
    }
    const kind = STORMS[prng.below(ordered ? 1 : STORMS.length)];
    const host = prng.below(2) === 0 ? 'a' : 'b';
    const other = host === 'a' ? 'b' : 'a';
    const listener = world.servers.get(host)?.listener;
    switch (kind) {
      case 'goAway': {
        if (listener === undefined) break;
        const url = prng.below(3) > 0 ? world.url(other) : undefined;
        world.servers.delete(host);
        going.push(
          listener
            .goAway({ url, withinMs: ordered ? 8_000 : 100 + prng.below(3_000) })
            .then(() => world.start(host)),
        );
        break;
      }
      case 'cut':
        lab.network.cut('client');
        await lab.run(prng.below(prng.below(3) === 0 ? 25_000 : 500));
        lab.network.mend('client');
        break;
      case 'close':
        void world.accepted.at(-1)?.close();
        break;
      case 'destroy':
        world.accepted.at(-1)?.destroy(1);
        break;
      case 'kill':
        if (listener === undefined) break;
        world.kill(host);
        await lab.run(prng.below(200));
        await world.start(host);
    }
  }
  await lab.settle(Promise.all(going), 300_000);
  for (let i = 0; i < 600 && (outstanding.size > 0 || connection.state !== 'online'); i++) await lab.run(200);
  const told = [seed, connection.state, [...outstanding]];
  expect(told).toEqual([seed, 'online', []]);
  const got = new Set(world.texts('x'));
  expect([seed, [...acknowledged].filter((text) => !got.has(text))]).toEqual([seed, []]);
  const arrived = new Set([...got].map((text) => text.replaceAll("'", '')));
  expect([seed, arrived.size]).toEqual([seed, sent]);
  await lab.settle(connection.close(), 120_000);
  await lab.run(30_000);
  const open = [...world.servers.values()].map(({ listener }) => listener.metrics().connectionsOpen);
  expect([seed, open]).toEqual([seed, [0, 0]]);
}
