import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { PROTECTION_AUTO, ProtectionMode } from '../../../src/protocol/fec/protection.ts';
import { framesJson, qlogHeader } from '../../../src/protocol/trace/qlog-trace.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { Delivery } from '../../../src/protocol/wire/frame-type.ts';
import { versionPacket } from '../../../src/protocol/wire/version-packet.ts';
import { bytesOf, eachSeed, Pair, type PairOptions } from '../connection/pair.ts';
import { frame } from '../wire/arbitrary-frames.ts';
import { writeFrame } from '../wire/fast-frames.ts';
import { toHex } from '../wire/hex.ts';
import { mismatches } from './cddl.ts';
import { collecting, countsOf, faultsOf, frameTypesOf, type QlogLog, readLog, SCHEMA } from './qlog-log.ts';

const HEADER = qlogHeader({ role: 'client', groupId: '0123', referenceTimeMs: 1_000.5, title: 'a test' });

/** A pair both of whose sides are traced, and what their logs say. */
function traced(options: PairOptions = {}) {
  const client = collecting();
  const server = collecting();
  const pair = new Pair({
    ...options,
    client: { tracing: client, ...options.client },
    server: { tracing: server, ...options.server },
  });
  const logs = (): QlogLog[] => [client, server].map(({ records }) => readLog(HEADER + records.join('')));
  return { pair, logs };
}

/** Traffic of all kinds on a bad link, to the end. */
function busy(seed: number) {
  const link = {
    delayMs: 20,
    loss: 0.12,
    duplicate: 0.05,
    corrupt: 0.03,
    reorder: 0.05,
    bitsPerSecond: 2_000_000,
  };
  const run = traced({ seed, link, client: { usesEcn: true }, server: { usesEcn: true, mtuMax: 1_400 } });
  const { pair } = run;
  // Its Handshake packets come before the hello that opens them.
  pair.server.filter = (data, index) => [{ data, afterMs: index < 2 ? 60 : 0 }];
  pair.connected();
  const reliable = pair.client.open({ label: 'bulk "1"' });
  const block = { ...PROTECTION_AUTO, mode: ProtectionMode.BLOCK, data: 4, parity: 2 };
  const guarded = pair.client.open({ delivery: Delivery.BEST_EFFORT, ordered: false, protection: block });
  const back = pair.server.open({ delivery: Delivery.PARTIAL });
  for (let i = 0; i < 40; i++) {
    pair.client.send(reliable, bytesOf((i * 523) % 6_000, i));
    for (let k = 0; k < 5; k++) pair.client.send(guarded, bytesOf(900, 100 * i + k));
    const deadline = pair.now + 60_000;
    back.send(bytesOf((i * 71) % 3_000, i), Delivery.PARTIAL, deadline, false);
    pair.server.node.wake();
    pair.run(15);
  }
  pair.run(3_000);
  pair.client.end(reliable);
  pair.client.reset(guarded, 7);
  pair.run(8_000);
  pair.client.close('application', 3, 'done "so"');
  pair.toTheEnd();
  return run;
}

describe('the log of a connection', () => {
  const runs = [1, 2].map(busy);
  const logs = runs.flatMap((run) => run.logs());

  test('is what the definitions of qlog have, at both ends, on a bad link [TRC-2]', () => {
    for (const log of logs) expect(faultsOf(log)).toEqual([]);
  });

  test('has all kinds of events', () => {
    const names = new Set(logs.flatMap((log) => Object.keys(countsOf(log))));
    expect([...names].sort()).toEqual([
      'connectivity:connection_closed',
      'connectivity:connection_started',
      'connectivity:connection_state_updated',
      'connectivity:mtu_updated',
      'jetstream:ecn_state_updated',
      'jetstream:packets_recovered',
      'jetstream:packets_recovered_by_peer',
      'jetstream:packets_spuriously_lost',
      'jetstream:parameters_set',
      'recovery:congestion_state_updated',
      'recovery:loss_timer_updated',
      'recovery:metrics_updated',
      'recovery:packet_lost',
      'recovery:parameters_set',
      'security:key_discarded',
      'security:key_updated',
      'transport:packet_buffered',
      'transport:packet_dropped',
      'transport:packet_received',
      'transport:packet_sent',
      'transport:parameters_set',
      'transport:version_information',
    ]);
  });

  test('has frames of ours, and those of QUIC by their names [TRC-4]', () => {
    const types = new Set(logs.flatMap((log) => [...frameTypesOf(log)]));
    for (const type of [
      ...['padding', 'ping', 'ack', 'crypto', 'handshake_done', 'connection_close', 'reset_stream'],
      ...['message', 'messages', 'stream_open', 'stream_fin', 'repair', 'heartbeat', 'abandon'],
    ])
      expect(types).toContain(type);
    expect(types).not.toContain('unknown');
  });

  test('agrees with what was sent, received and lost', () => {
    for (const { pair, logs: read } of runs) {
      [pair.client, pair.server].forEach((side, i) => {
        const log = read()[i];
        const counts = countsOf(log);
        const { counters } = side.core;
        expect(counts['transport:packet_sent']).toBe(counters.packetsSent);
        expect(counts['transport:packet_received']).toBe(counters.packetsReceived);
        expect(counts['recovery:packet_lost'] ?? 0).toBe(counters.packetsLost);
        const sent = log.events.filter(({ name }) => name === 'transport:packet_sent');
        expect(sent.reduce((sum, { data }) => sum + data.raw.length, 0)).toBe(counters.bytesSent);
        // What the log says of the frames is what went over the network.
        const wire = side.packets.map(({ frames }) => frames.length);
        const told = sent.map(({ data }) => data.frames.length);
        expect(told.reduce((a, b) => a + b, 0)).toBe(wire.reduce((a, b) => a + b, 0));
      });
    }
  });

  test('says who closed, and why', () => {
    const [client, server] = runs[0].logs();
    const closed = (log: QlogLog) =>
      log.events.find(({ name }) => name === 'connectivity:connection_closed')?.data;
    const what = { application_code: 3, reason: 'done "so"', trigger: 'application' };
    expect(closed(client)).toEqual({ owner: 'local', ...what });
    expect(closed(server)).toEqual({ owner: 'remote', ...what });
    expect(client.events.at(-1)).toMatchObject({
      name: 'connectivity:connection_state_updated',
      data: { new: 'closed' },
    });
  });

  test('has neither what messages say, nor a key [TRC-4]', () => {
    const { pair, logs: read } = traced();
    pair.connected();
    const stream = pair.client.open();
    for (let i = 0; i < 20; i++) pair.client.send(stream, `attack at dawn ${i}`);
    pair.run(200);
    const text = JSON.stringify(read());
    expect(text).toContain('"messages"');
    for (const encoding of ['utf8', 'hex', 'base64'] as const)
      expect(text).not.toContain(
        Buffer.from('attack at dawn').toString(encoding).replace(/=+$/, '').slice(0, -1),
      );
    const keys = read().flatMap(({ events }) => events.filter(({ name }) => name === 'security:key_updated'));
    expect(keys.length).toBe(12);
    expect(new Set(keys.map(({ data }) => data.new))).toEqual(new Set(['']));
  });

  test('tells of a Retry that was followed, and of a version packet [HS-30] [INV-7]', () => {
    const { pair, logs: read } = traced({ accept: { retry: { mode: 'always', epochMs: 0 } } });
    pair.connect().until(() => pair.client.core.ids.retrySourceId !== null);
    const other = traced();
    other.pair.client.filter = () => [];
    other.pair.connect().run(1);
    const { firstDestinationId, sourceId } = other.pair.client.core.ids;
    const packet = versionPacket(firstDestinationId, sourceId, new Uint8Array(5));
    packet.fill(0x1a, packet.length - 8);
    other.pair.server.inject(packet);
    other.pair.run(2_000);
    const types = [read()[0], other.logs()[0]].map((log) => {
      expect(faultsOf(log)).toEqual([]);
      const received = log.events.filter(({ name }) => name === 'transport:packet_received');
      return received.map(({ data }) => (data.header as { packet_type: string }).packet_type)[0];
    });
    expect(types).toEqual(['retry', 'version_negotiation']);
  });

  test('is refused when it is broken', () => {
    // One event of each kind.
    const names = new Set<string>();
    const few = logs[0].events.filter(({ name }) => !names.has(name) && names.add(name));
    const good = { ...logs[0], events: few };
    expect(faultsOf(good)).toEqual([]);
    const at = (name: string) => good.events.findIndex((event) => event.name === name);
    const broken = (name: string, change: (data: QlogLog['events'][0]) => void): string[] => {
      const log = structuredClone(good);
      change(log.events[at(name)]);
      return faultsOf(log);
    };
    const wrongs = [
      broken('transport:packet_sent', ({ data }) => delete data.header.packet_type),
      broken('transport:packet_sent', ({ data }) => (data.header.packet_number = -1)),
      broken('transport:packet_sent', ({ data }) => (data.header.number = 1)),
      broken('transport:packet_sent', ({ data }) => (data.frames[0].frame_type = 'nonsense')),
      broken('transport:packet_sent', ({ data }) => (data.raw.length = '1200')),
      broken('transport:packet_received', ({ data }) =>
        data.frames.push({ frame_type: 'ack', acked_ranges: [[]] }),
      ),
      broken('transport:packet_received', (event) => (event.name = 'transport:packet_got')),
      broken('recovery:metrics_updated', (event) => (event.time = -5)),
      broken('recovery:packet_lost', ({ data }) => (data.trigger = 'bad luck')),
      broken('connectivity:connection_started', ({ data }) => (data.src_cid = 'XY')),
      faultsOf({ ...good, header: { ...good.header, qlog_version: '0.9' } }),
      faultsOf({ ...good, header: { ...good.header, qlog_format: 'JSON' } }),
    ];
    expect(wrongs.map((found) => found.length > 0)).toEqual(wrongs.map(() => true));
    const text = HEADER + good.events.map((event) => `\x1e${JSON.stringify(event)}\n`).join('');
    expect(() => readLog(text.slice(1))).toThrow('separator');
    expect(() => readLog(text.slice(0, -3))).toThrow();
  });

  test('says how much is missing where it was not taken [TRC-6]', () => {
    let room = 30;
    const tracing = collecting(() => room-- > 0);
    const pair = new Pair({ client: { tracing } }).connected();
    expect(tracing.records.length).toBe(30);
    pair.echo();
    room = Number.POSITIVE_INFINITY;
    pair.echo('again');
    const log = readLog(HEADER + tracing.records.join(''));
    expect(faultsOf(log)).toEqual([]);
    const told = log.events[30];
    expect(told.name).toBe('generic:warning');
    const missing = Number(/^(\d+) events are missing here/.exec(told.data.message)?.[1]);
    expect(missing).toBeGreaterThan(3);
    expect(countsOf(log)['generic:warning']).toBe(1);
  });
});

describe('tracing', () => {
  test('changes nothing of what is sent [TRC-1]', () => {
    eachSeed(1, 3, (seed) => {
      const options = { seed, link: { delayMs: 20, loss: 0.05 } };
      const sent = [new Pair(options), traced(options).pair].map((pair) => {
        pair.connected();
        const stream = pair.client.open();
        for (let i = 0; i < 50; i++) pair.client.send(stream, bytesOf(i * 100, i));
        pair.run(2_000);
        return [pair.client, pair.server].map((side) => side.sent.map(({ data }) => toHex(data)));
      });
      expect(sent[1]).toEqual(sent[0]);
    });
  });

  test('of a handshake that fails ends with the reason', () => {
    const { pair, logs } = traced({ pin: new Uint8Array(32) });
    pair.connect().until(() => pair.client.closed !== null);
    pair.toTheEnd();
    const [log] = logs();
    expect(faultsOf(log)).toEqual([]);
    expect(log.events.find(({ name }) => name === 'connectivity:connection_closed')?.data).toMatchObject({
      owner: 'local',
      trigger: 'handshake_timeout',
    });
  });
});

describe('frames of a payload', () => {
  const reader = new FrameReader();
  const read = (payload: Uint8Array): unknown[] => JSON.parse(framesJson(reader, payload, 0, payload.length));
  const faults = (frames: unknown[]): string[] =>
    frames.flatMap((each) => mismatches(SCHEMA, { kind: 'name', name: '$QuicFrame' }, each));

  test('are as they are defined, whatever they say', () => {
    fc.assert(
      fc.property(fc.array(frame, { minLength: 1, maxLength: 4 }), (frames) => {
        const told = read(Buffer.concat(frames.map(writeFrame)));
        expect(faults(told)).toEqual([]);
        // PADDING frames in a row are one.
        if (!frames.some(({ type }) => type === 'PADDING')) expect(told.length).toBe(frames.length);
      }),
    );
  });

  test('of any bytes are told as far as they can be read', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), (payload) => {
        expect(faults(read(payload))).toEqual([]);
      }),
    );
  });
});
