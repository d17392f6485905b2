import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import { LabPath, PERFECT_PATH } from '../../src/bench/lab-path.ts';
import { type Connection, type NetworkType, profiles, type TransportOptions } from '../../src/index.ts';
import type { LinkOptions } from '../../src/testing/index.ts';
import { labPair } from './lab-pair.ts';
import { oneWayTimes, quantile, Radio } from './profile-effects.ts';

const MINUTE = 60_000;

/** How often the client's radio wakes in ten idle minutes after it was told something. */
async function wakesAfter(
  tell: (client: Connection) => void,
  options: TransportOptions = {},
  server: TransportOptions = {},
): Promise<{ wakes: number; client: Connection; server: Connection }> {
  const ends = await LabPath.open(PERFECT_PATH, options, server);
  await ends.lab.run(MINUTE);
  tell(ends.client);
  await ends.lab.run(MINUTE);
  const radio = new Radio();
  ends.lab.network.tap = (_data, _from, _host, _port, now) => radio.onDatagram(now);
  await ends.lab.run(10 * MINUTE);
  expect([ends.client.isOpen, ends.server.isOpen]).toEqual([true, true]);
  return { wakes: radio.wakes, client: ends.client, server: ends.server };
}

const inBackground = (client: Connection): void => client.setAppState('background');

describe('a connection whose application is in the background', () => {
  test('wakes the radio twice a minute instead of twelve times, although the peer knows nothing of its own [CON-62] [CON-64]', async () => {
    expect((await wakesAfter(() => {})).wakes).toBeGreaterThanOrEqual(118);
    const { wakes, client, server } = await wakesAfter(inBackground);
    expect(wakes).toBeGreaterThanOrEqual(20);
    expect(wakes).toBeLessThanOrEqual(21);
    expect(client.metrics()).toMatchObject({ appState: 'background', heartbeatIntervalMs: 30_000 });
    expect(client.metrics().heartbeatsSent).toBeLessThanOrEqual(12 + 1 + 29);
    expect(server.metrics()).toMatchObject({ appState: 'foreground', heartbeatIntervalMs: 5_000 });
  });

  test('keeps the pace of one whose heartbeats are further apart, and is bounded by the idle timeout [CON-63]', async () => {
    const slow = { heartbeatMs: 60_000, idleTimeoutMs: 120_000 };
    expect((await wakesAfter(inBackground, slow, slow)).client.metrics().heartbeatIntervalMs).toBe(60_000);
    const { client } = await wakesAfter(inBackground, {}, { idleTimeoutMs: 9_000 });
    expect(client.metrics().heartbeatIntervalMs).toBe(3_000);
    const none = await wakesAfter(
      inBackground,
      { heartbeatMs: 0, idleTimeoutMs: 0 },
      { heartbeatMs: 0, idleTimeoutMs: 0 },
    );
    expect(none.client.metrics().heartbeatIntervalMs).toBe(0);
    expect(none.wakes).toBe(0);
  });

  test('tells the peer although packets get lost [CON-62]', async () => {
    for (let seed = 1; seed <= 10; seed++) {
      const ends = await LabPath.open({ ...PERFECT_PATH, seed, loss: 0.5 });
      ends.client.setAppState('background');
      await ends.lab.run(5_000);
      ends.lab.network.connect(ends.clientHost, '10.0.0.1', { delayMs: 25, loss: 0 });
      const before = ends.server.metrics().heartbeatsSent;
      await ends.lab.run(2 * MINUTE);
      expect(ends.server.metrics().heartbeatsSent - before, `seed ${seed}`).toBeLessThanOrEqual(1);
      expect(ends.client.isOpen && ends.server.isOpen).toBe(true);
      ends.client.destroy();
    }
  });

  test('notices a path that is gone 10 s after its first heartbeat there, not after three more intervals [CON-62]', async () => {
    const ends = await LabPath.open(PERFECT_PATH);
    ends.client.setAppState('background');
    await ends.lab.run(MINUTE);
    ends.lab.network.cut(ends.clientHost);
    const from = ends.now;
    const error = await ends.lab.settle(ends.client.closed, 5 * MINUTE);
    expect(error).toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
    expect((ends.now - from) / MILLISECOND).toBeLessThan(41_000);
    await ends.lab.settle(ends.server.closed, 5 * MINUTE);
    expect((ends.now - from) / MILLISECOND).toBeLessThan(55_000);
  });

  test('is the same for an endpoint that accepted the connection', async () => {
    const ends = await LabPath.open(PERFECT_PATH);
    ends.server.setAppState('background');
    await ends.lab.run(MINUTE);
    const before = ends.client.metrics().heartbeatsSent;
    await ends.lab.run(5 * MINUTE);
    expect(ends.client.metrics().heartbeatsSent - before).toBe(0);
    expect(ends.server.metrics().heartbeatsSent).toBeGreaterThan(9);
  });

  test('wakes the radio together with other connections of the machine [CON-65]', async () => {
    const { lab, client, join } = await labPair();
    const clients = [client];
    for (const host of ['client2', 'client3', 'client4']) clients.push((await join(host)).client);
    for (const each of clients) {
      await lab.run(4_300); // out of step: four connections that did not care would wake it 80 times
      each.setAppState('background');
    }
    await lab.run(MINUTE);
    const radio = new Radio();
    lab.network.tap = (_data, _from, _host, _port, now) => radio.onDatagram(now);
    await lab.run(10 * MINUTE);
    expect(radio.wakes).toBeGreaterThanOrEqual(20);
    expect(radio.wakes).toBeLessThanOrEqual(24);
  });

  test('sends no heartbeat where there is other traffic more often', async () => {
    const ends = await LabPath.open(PERFECT_PATH);
    ends.client.setAppState('background');
    await ends.lab.run(1_000);
    const sent = ends.client.metrics().heartbeatsSent;
    const stream = ends.client.openStream({ delivery: 'bestEffort' });
    for (let i = 0; i < 20; i++) {
      stream.send('reading');
      await ends.lab.run(22_000);
    }
    expect(ends.client.metrics().heartbeatsSent).toBe(sent);
    expect(ends.server.metrics().heartbeatsSent).toBe(0);
  });
});

describe('a connection whose application comes to the foreground', () => {
  test('asks at once whether the peer is there, and knows within 3 s that it is not [CON-66]', async () => {
    const ends = await LabPath.open(PERFECT_PATH);
    ends.client.setAppState('background');
    await ends.lab.run(MINUTE);
    const { heartbeatsSent } = ends.client.metrics();
    ends.client.setAppState('foreground');
    await ends.lab.run(100);
    expect(ends.client.metrics().heartbeatsSent).toBe(heartbeatsSent + 1);
    expect(ends.client.metrics()).toMatchObject({ appState: 'foreground', heartbeatIntervalMs: 5_000 });
    expect(ends.client.metrics().silenceMs).toBeLessThan(100);

    ends.client.setAppState('background');
    await ends.lab.run(1_000);
    ends.lab.network.cut(ends.clientHost);
    ends.client.setAppState('foreground');
    const from = ends.now;
    expect(await ends.lab.settle(ends.client.closed)).toMatchObject({ code: 'ERR_JSP_HEARTBEAT_TIMEOUT' });
    expect((ends.now - from) / MILLISECOND).toBeLessThanOrEqual(3_010);
  });

  test('stays where the first second loses packets, as of a radio that wakes', async () => {
    const ends = await LabPath.open(PERFECT_PATH);
    ends.client.setAppState('background');
    await ends.lab.run(MINUTE);
    ends.lab.network.cut(ends.clientHost);
    ends.client.setAppState('foreground');
    await ends.lab.run(1_500);
    ends.lab.network.mend(ends.clientHost);
    await ends.lab.run(MINUTE);
    expect(ends.client.isOpen && ends.server.isOpen).toBe(true);
    expect(ends.server.metrics().heartbeatsReceived).toBeGreaterThan(0);
  });
});

describe('the type of the network', () => {
  test('cellular makes heartbeats three times as far apart, and the background goes before it', async () => {
    const { client, wakes } = await wakesAfter((it) => it.setNetworkType('cellular'));
    expect(client.metrics()).toMatchObject({ networkType: 'cellular', heartbeatIntervalMs: 15_000 });
    expect(wakes).toBeLessThanOrEqual(54);
    const intervals = (tell: (it: Connection) => void, heartbeatMs: number): Promise<number> =>
      wakesAfter(tell, { heartbeatMs }).then((it) => it.client.metrics().heartbeatIntervalMs);
    expect(await intervals((it) => it.setNetworkType('cellular'), 1_000)).toBe(3_000);
    expect(await intervals((it) => it.setNetworkType('cellular'), 25_000)).toBe(30_000);
    expect(await intervals((it) => it.setNetworkType('ethernet'), 1_000)).toBe(1_000);
    const both = (it: Connection): void => {
      it.setAppState('background');
      it.setNetworkType('cellular');
    };
    expect(await intervals(both, 1_000)).toBe(30_000);
  });

  const RHYTHM = { count: 600, everyMs: 10, bytes: 64 };
  const p99 = async (type: NetworkType, options: TransportOptions, when: 'before' | 'after' = 'before') => {
    const path = { rttMs: 50, loss: 0.08 };
    const times = await oneWayTimes(options, path, RHYTHM, (client) => {
      if (when === 'before') client.setNetworkType(type);
      else setImmediate(() => client.setNetworkType(type)); // the stream is open by then
    });
    return quantile(times, 0.99);
  };

  test.each(['wifi', 'cellular'] as const)(
    '%s protects messages that nobody has said anything of, also of streams that are open [CON-67]',
    async (type) => {
      expect(await p99(type, {})).toBeLessThan(70);
      expect(await p99(type, {}, 'after')).toBeLessThan(70);
    },
  );

  test.each(['ethernet', 'unknown'] as const)('%s does not [CON-67]', async (type) => {
    expect(await p99(type, {})).toBeGreaterThan(80);
  });

  test('changes nothing for an application or a profile that says how messages are protected [CON-67]', async () => {
    expect(await p99('wifi', { protection: 'off' })).toBeGreaterThan(80);
    expect(await p99('wifi', { streamDefaults: { protection: 'off' } })).toBeGreaterThan(80);
    expect(await p99('ethernet', profiles.gaming)).toBeLessThan(70);
  });

  test('costs not a byte on a path that loses nothing', async () => {
    const bytes = async (type: NetworkType): Promise<number> => {
      const ends = await LabPath.open(PERFECT_PATH);
      ends.client.setNetworkType(type);
      const stream = ends.client.openStream();
      for (let i = 0; i < 200; i++) {
        stream.send('a reading');
        await ends.lab.run(10);
      }
      return ends.up.bytes;
    };
    expect(await bytes('wifi')).toBe(await bytes('unknown'));
  });
});

describe('both setters', () => {
  test('refuse what they do not know, undefined included', async () => {
    const { client } = await labPair();
    for (const wrong of ['lte', undefined, null, 5, 'toString']) {
      const invalid = expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID' });
      expect(() => client.setNetworkType(wrong as never)).toThrow(invalid);
      expect(() => client.setAppState(wrong as never)).toThrow(invalid);
    }
    expect(() => client.setNetworkType('lte' as never)).toThrow(
      'setNetworkType: type must be one of wifi, cellular, ethernet, unknown, not "lte"',
    );
    expect(client.metrics()).toMatchObject({ networkType: 'unknown', appState: 'foreground' });
  });

  test('do nothing when nothing changes, or the connection is over or about to be', async () => {
    const { lab, client, accepted } = await labPair();
    await lab.run(100);
    const { packetsSent } = client.metrics();
    client.setNetworkType('unknown');
    client.setNetworkType('wifi');
    client.setNetworkType('ethernet');
    client.setAppState('foreground');
    await lab.run(100);
    expect(client.metrics().packetsSent).toBe(packetsSent);
    for (let i = 0; i < 3; i++) client.setAppState('background');
    await lab.run(100);
    expect(client.metrics().packetsSent - packetsSent).toBe(1);
    expect(accepted.metrics().heartbeatsReceived).toBe(1);
    await lab.settle(client.close());
    client.setNetworkType('cellular');
    client.setAppState('foreground');
    expect(client.metrics()).toMatchObject({ networkType: 'ethernet', appState: 'background' });
    accepted.setAppState('background');
  });

  test('may be called as often as one likes: the peer ends with what was said last [CON-62]', async () => {
    const link: LinkOptions = { delayMs: 20, jitterMs: 30, jitterReorders: true, loss: 0.1 };
    const { lab, client, accepted } = await labPair(link);
    for (let i = 0; i < 100; i++) {
      client.setAppState(i % 2 === 0 ? 'background' : 'foreground');
      await lab.run(i % 7);
    }
    client.setAppState('background');
    await lab.run(20_000);
    const before = accepted.metrics().heartbeatsSent;
    await lab.run(5 * MINUTE);
    expect(client.isOpen && accepted.isOpen).toBe(true);
    expect(accepted.metrics().heartbeatsSent - before).toBeLessThanOrEqual(6);
  });
});
