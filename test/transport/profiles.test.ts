import { Socket } from 'node:dgram';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { LabPath, PERFECT_PATH } from '../../src/bench/lab-path.ts';
import {
  type ConnectOptions,
  connect,
  generateIdentity,
  listen,
  type ProfileName,
  profiles,
  type StreamOptions,
  type TransportOptions,
} from '../../src/index.ts';
import { PRESETS, PROFILE_NAMES } from '../../src/transport/profiles.ts';
import { bindOnlyByDgram } from '../udp/twin-sockets.ts';
import { labPair } from './lab-pair.ts';
import {
  goodput,
  idleTraffic,
  largestDatagrams,
  noticesAfter,
  oneWayTimes,
  quantile,
  saturate,
  shareBeside,
  survives,
  unreadBytes,
} from './profile-effects.ts';

const KIB = 1_024;
const MIB = 1_024 * KIB;

/** What a value of a profile does: seen when the profile with it is compared with the profile without it. */
type Effect = (preset: TransportOptions, without: TransportOptions) => Promise<void>;

/** Small messages at 100 a second over a path that loses some. */
const STATES = { count: 1_000, everyMs: 10, bytes: 64 };
const LOSSY = { rttMs: 50, loss: 0.08 };
const lossyP99 = async (options: TransportOptions): Promise<number> =>
  quantile(await oneWayTimes(options, LOSSY, STATES), 0.99);

/** Of small messages behind a transfer of the same connection, once the path is known. */
async function p95BehindTransfer(options: TransportOptions, bitsPerSecond: number): Promise<number> {
  const path = { rttMs: 40, bitsPerSecond, queueBytes: bitsPerSecond / 50 };
  const rhythm = { count: 300, warmUp: 60, everyMs: 19, bytes: 64, stream: { priority: 'chat' as const } };
  return quantile(await oneWayTimes(options, path, rhythm, (it) => saturate(it, { priority: 'bulk' })), 0.95);
}

const EFFECTS: Readonly<Record<string, Effect>> = {
  'gaming.protection': async (preset, without) => {
    expect(await lossyP99(preset)).toBeLessThan(70);
    expect(await lossyP99(without)).toBeGreaterThan(80);
  },
  'gaming.heartbeatMs': async (preset, without) => {
    expect(await noticesAfter(preset)).toBeLessThan(4_000);
    expect(await noticesAfter(without)).toBeGreaterThan(14_000);
  },
  'gaming.queueDelayMaxMs': async (preset, without) => {
    const p95 = await p95BehindTransfer(preset, 10e6);
    expect(p95).toBeLessThan(52);
    expect(await p95BehindTransfer(without, 10e6)).toBeGreaterThan(1.4 * p95);
  },
  'gaming.streamDefaults': async (preset, without) => {
    expect(await shareBeside(preset, { priority: 'bulk' })).toBeGreaterThan(3.6);
    expect(await shareBeside(without, { priority: 'bulk' })).toBeLessThan(2.4);
  },

  'fileTransfer.congestion': async (preset, without) => {
    const path = { rttMs: 100, loss: 0.01, bitsPerSecond: 20e6, queueBytes: 240_000 };
    expect(await goodput(preset, path)).toBeGreaterThan(16);
    expect(await goodput(without, path)).toBeLessThan(8);
  },
  'fileTransfer.heartbeatMisses': survivesOutageOf(70_000),
  'fileTransfer.idleTimeoutMs': survivesOutageOf(70_000),
  'fileTransfer.receiveBufferBytes': asksTheSystemFor('receiveBufferBytes', 8 * MIB),
  'fileTransfer.sendBufferBytes': asksTheSystemFor('sendBufferBytes', 8 * MIB),
  'fileTransfer.streamDefaults': async (preset, without) => {
    expect(await shareBeside(preset, { priority: 'chat' })).toBeLessThan(0.6);
    expect(await shareBeside(without, { priority: 'chat' })).toBeGreaterThan(0.9);
  },

  'mobileChat.congestion': async (preset, without) => {
    const radio = { rttMs: 80, loss: 0.01, bitsPerSecond: 10e6, queueBytes: 200_000 };
    expect(await goodput(preset, radio)).toBeGreaterThan(8);
    expect(await goodput(without, radio)).toBeLessThan(4);
    expect(await p95BehindTransfer(preset, 2e6)).toBeLessThan((await p95BehindTransfer(without, 2e6)) / 1.5);
  },
  'mobileChat.compression': async (preset, without) => {
    expect(await bytesOf(preset, TEXT)).toBeLessThan(0.7 * (await bytesOf(without, TEXT)));
  },
  'mobileChat.heartbeatMs': async (preset, without) => {
    expect((await idleTraffic(preset, 10)).wakes).toBeLessThanOrEqual(25);
    expect((await idleTraffic(without, 10)).wakes).toBeGreaterThanOrEqual(110);
  },

  'mobileChat.heartbeatMisses': survivesOutageOf(74_500),
  'mobileChat.idleTimeoutMs': survivesOutageOf(74_500),

  'iot.mtu': async (preset, without) => {
    expect((await largestDatagrams(preset, {})).fromClient).toBe(512);
    expect((await largestDatagrams(without, {})).fromClient).toBeGreaterThan(1_000);
  },
  'iot.datagramBytesMax': async (preset, without) => {
    expect((await largestDatagrams(preset, {})).fromServer).toBe(512);
    expect((await largestDatagrams(without, {})).fromServer).toBeGreaterThan(512);
  },
  'iot.receiveBufferBytes': asksTheSystemFor('receiveBufferBytes', 512 * KIB),
  'iot.sendBufferBytes': asksTheSystemFor('sendBufferBytes', 512 * KIB),
  'iot.messageBytesMax': async (preset, without) => {
    expect(await largestMessage(preset)).toBe(64 * KIB);
    expect(await largestMessage(without)).toBe(16 * MIB);
  },
  'iot.streamWindowBytes': async (preset, without) => {
    expect(await unreadBytes(preset, { streams: 1 })).toBeLessThan(160 * KIB);
    expect(await unreadBytes(without, { streams: 1 })).toBeGreaterThan(200 * KIB);
  },
  'iot.connectionWindowBytes': async (preset, without) => {
    expect(await unreadBytes(preset, { streams: 8 })).toBeLessThan(400 * KIB);
    expect(await unreadBytes(without, { streams: 8 })).toBeGreaterThan(500 * KIB);
  },
  'iot.compression': async (preset, without) => {
    expect(await bytesOf(preset, READINGS)).toBeLessThan(0.7 * (await bytesOf(without, READINGS)));
  },
  'iot.bestEffortBytes': async (preset, without) => {
    const bestEffort = { streams: 1, delivery: 'bestEffort' } as const;
    expect(await unreadBytes(preset, bestEffort)).toBeLessThan(80 * KIB);
    expect(await unreadBytes(without, bestEffort)).toBeGreaterThan(600 * KIB);
  },
  'iot.heartbeatMs': async (preset, without) => {
    expect((await idleTraffic(preset, 10)).wakes).toBeLessThanOrEqual(21);
    expect((await idleTraffic(without, 10)).wakes).toBeGreaterThanOrEqual(110);
  },
  'iot.heartbeatMisses': survivesOutageOf(260_000),
  'iot.idleTimeoutMs': survivesOutageOf(260_000),

  'broker.protection': async (preset, without) => {
    expect(await lossyP99(preset)).toBeLessThan(70);
    expect(await lossyP99(without)).toBeGreaterThan(80);
  },
  'broker.heartbeatMs': async (preset, without) => {
    const { datagrams } = await idleTraffic(preset, 10);
    expect(datagrams).toBeLessThan(0.6 * (await idleTraffic(without, 10)).datagrams);
  },
};

describe('each value of a profile has an effect:', () => {
  const values = PROFILE_NAMES.flatMap((name) =>
    Object.keys(PRESETS[name]).map((option) => [`${name}.${option}`, name, option] as const),
  );

  test('no value is without a test, and no test without a value', () => {
    expect(values.map(([value]) => value).sort()).toEqual(Object.keys(EFFECTS).sort());
  });

  test.each(values)('%s', async (value, name, option) => {
    const preset: TransportOptions = { ...profiles[name] };
    await EFFECTS[value](preset, { ...preset, [option]: undefined });
  });
});

describe('a profile', () => {
  test('is frozen, and spread gives what the option gives', async () => {
    expect(Object.isFrozen(profiles) && Object.isFrozen(profiles.gaming)).toBe(true);
    expect(Object.isFrozen(profiles.gaming.streamDefaults)).toBe(true);
    const spread: ConnectOptions = { ...profiles.gaming, heartbeatMs: 500 };
    const named: ConnectOptions = { profile: 'gaming', heartbeatMs: 500 };
    expect(await noticesAfter(spread)).toBe(await noticesAfter(named));
    expect(await lossyP99(spread)).toBe(await lossyP99(named));
  });

  test('has for each value a reason that is a clause of some words', () => {
    for (const name of PROFILE_NAMES) {
      for (const { reason } of Object.values(PRESETS[name]))
        expect(reason.split(' ').length).toBeGreaterThan(5);
    }
  });

  test('gives way to what the application says, under either name of an option, and to nothing that is undefined', async () => {
    const own = { profile: 'gaming', fec: 'off', heartbeatMs: undefined } as const;
    expect(await lossyP99(own)).toBeGreaterThan(80);
    expect(await noticesAfter(own)).toBeLessThan(4_000);
    expect(await noticesAfter({ profile: 'gaming', heartbeatMs: 2_000 })).toBeGreaterThan(5_800);
  });

  test('gives way member by member where it says something of streams', async () => {
    const streams = async (options: TransportOptions, given?: StreamOptions) => {
      const { client } = await labPair({}, options);
      const { priority, ordered } = client.openStream(given);
      return { priority, ordered };
    };
    const profile: ProfileName = 'gaming';
    expect(await streams({ profile })).toEqual({ priority: 'media', ordered: true });
    expect(await streams({ profile }, { priority: 'bulk' })).toEqual({ priority: 'bulk', ordered: true });
    expect(await streams({ profile, streamDefaults: { ordered: false } })).toEqual({
      priority: 'media',
      ordered: false,
    });
    expect(await streams({ streamDefaults: { priority: 'system' } }, { priority: undefined })).toEqual({
      priority: 'system',
      ordered: true,
    });
  });

  test('that does not exist is refused, and so are defaults of streams that cannot be', async () => {
    const wrong = async (options: object) => listen({ identity: generateIdentity(), port: 0, ...options });
    const invalid = (message: RegExp) =>
      expect.objectContaining({ code: 'ERR_JSP_OPTION_INVALID', message: expect.stringMatching(message) });
    await expect(wrong({ profile: 'games' })).rejects.toEqual(invalid(/one of gaming, fileTransfer/));
    await expect(wrong({ profile: 'toString' })).rejects.toEqual(invalid(/one of gaming/));
    await expect(wrong({ streamDefaults: { prio: 1 } })).rejects.toEqual(invalid(/"priority"/));
    await expect(wrong({ streamDefaults: { fec: 'off', protection: 'auto' } })).rejects.toEqual(
      invalid(/two names/),
    );
  });
});

/** Both values that it takes to last for so long are needed. */
function survivesOutageOf(ms: number): Effect {
  return async (preset, without) => {
    expect(await survives(preset, ms)).toBe(true);
    expect(await survives(without, ms)).toBe(false);
  };
}

const READINGS = JSON.stringify(
  Array.from({ length: 12 }, (_, i) => ({
    sensor: `kitchen-${i}`,
    temperature: 20 + i / 7,
    humidity: 50 - i,
  })),
);
const TEXT = `${'Shall we meet at the station at six, or at seven, when the others are at the station, too? '.repeat(2)}
I would rather meet at seven, for at six the others are not there, and the station is cold.`;

/** What a client sends for 50 messages, one after the other. */
async function bytesOf(options: TransportOptions, message: string): Promise<number> {
  const ends = await LabPath.open(PERFECT_PATH, options);
  ends.server.on('stream', (stream) => stream.on('message', () => {}));
  const before = ends.up.bytes;
  const stream = ends.client.openStream();
  for (let i = 0; i < 50; i++) {
    stream.send(message);
    await ends.lab.run(100);
  }
  return ends.up.bytes - before;
}

/** The largest message that the peer of a side with these options can send it. */
async function largestMessage(options: TransportOptions): Promise<number> {
  const { client } = await labPair({}, options);
  return client.openStream().messageBytesMax;
}

afterEach(() => vi.restoreAllMocks());

/** A system that grants what it is asked for, which the one that runs the test may not. It is asked for no more than is needed. */
function asksTheSystemFor(option: 'receiveBufferBytes' | 'sendBufferBytes', bytes: number): Effect {
  const [getSize, setSize] =
    option === 'receiveBufferBytes'
      ? (['getRecvBufferSize', 'setRecvBufferSize'] as const)
      : (['getSendBufferSize', 'setSendBufferSize'] as const);
  return async (preset, without) => {
    bindOnlyByDgram();
    const sizes = new WeakMap<Socket, number>();
    const doubled = process.platform === 'linux' ? 2 : 1;
    vi.spyOn(Socket.prototype, setSize).mockImplementation(function (this: Socket, size: number) {
      sizes.set(this, size * doubled);
    });
    vi.spyOn(Socket.prototype, getSize).mockImplementation(function (this: Socket) {
      return sizes.get(this) ?? 200 * KIB;
    });
    const granted = async (options: TransportOptions): Promise<number> => {
      const listener = await listen({ identity: generateIdentity(), port: 0, ...options });
      const connection = await connect(listener.url, options);
      const { socket } = connection.metrics();
      connection.destroy();
      await listener.close();
      return socket[option];
    };
    expect(await granted(preset)).toBe(bytes);
    expect(await granted(without)).toBe(4 * MIB);
  };
}
