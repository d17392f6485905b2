import type { Machine, Quantiles } from '../../../src/bench/link/control.ts';
import { type Findings, recommend } from '../../../src/bench/link/recommend.ts';
import {
  type DatagramLoss,
  type LinkReport,
  type LinkRow,
  type LoadFigures,
  type RoundTrips,
  shareOf,
} from '../../../src/bench/link/report.ts';

/** Results of measurements that were never made, to see what is made of them. */

export function around(p50: number, spread = 0.02): Quantiles {
  return {
    min: p50 * (1 - spread / 2),
    p50,
    p95: p50 * (1 + spread),
    p99: p50 * (1 + 2 * spread),
    max: p50 * (1 + 3 * spread),
  };
}

export function trips(p50: number, spread = 0.02): RoundTrips {
  return {
    ...around(p50, spread),
    sent: 200,
    returned: 200,
    jitterMs: p50 * spread,
    upMs: around(p50 / 2),
    downMs: around(p50 / 2),
  };
}

export function loss(share: number, more: Partial<DatagramLoss> = {}): DatagramLoss {
  return {
    direction: 'up',
    bitsPerSecond: 1e6,
    datagramBytes: 52,
    datagramsPerSecond: 10_000,
    seconds: 10,
    loss: shareOf(Math.round(share * 100_000), 100_000),
    reordered: shareOf(0, 100_000),
    duplicated: 0,
    lossRunMean: share === 0 ? null : 1.02,
    jitterMs: 0.2,
    oneWayMs: around(25),
    ...more,
  };
}

export function load(megabits: number, more: Partial<LoadFigures> = {}): LoadFigures {
  const wire = megabits / 0.945;
  return {
    seconds: 3,
    goodputBitsPerSecond: megabits * 1e6,
    wireBitsPerSecond: wire * 1e6,
    overhead: 0.055,
    datagramsPerSecond: 2_000,
    messagesPerSecond: 250,
    loss: shareOf(20, 20_000),
    reordered: shareOf(0, 20_000),
    duplicated: 0,
    late: 0,
    retransmittedBytes: 24_000,
    heldBack: 0,
    loaded: trips(52),
    jitterMs: null,
    oneWayMs: null,
    outOfOrder: null,
    cpuSender: 0.2,
    cpuReceiver: 0.3,
    mtuFalls: 0,
    intervals: [-1, 0, 1, 2, 3].map((at) => ({
      at,
      isWarmUp: at <= 0,
      seconds: 1,
      goodputBitsPerSecond: megabits * 1e6,
      rttMs: 52,
      loss: 0.001,
    })),
    ...more,
  };
}

export function row(mtu: number, more: Partial<LinkRow> = {}): LinkRow {
  return {
    asked: mtu,
    mtu,
    direction: 'up',
    congestion: 'cubic',
    carried: 'whole',
    idle: trips(50),
    load: load(19 * (1 - 66 / (mtu + 28))),
    failure: null,
    ...more,
  };
}

export function missing(mtu: number): LinkRow {
  return row(mtu, {
    mtu: 0,
    carried: 'no',
    idle: null,
    load: null,
    failure: 'datagrams of this size do not arrive',
  });
}

export function findings(more: Partial<Findings> = {}): Findings {
  return {
    idle: trips(50),
    datagrams: [loss(0)],
    rows: [row(512), row(1_200), row(1_400)],
    pathMtu: null,
    soundedBitsPerSecond: 20e6,
    settings: {
      direction: 'up',
      mtus: [512, 1_200, 1_400],
      bitsPerSecond: 0,
      streams: 1,
      delivery: 'reliable',
      messageBytes: 0,
      congestion: 'auto',
      protection: 'off',
      seconds: 3,
      omitSeconds: null,
      lossSeconds: 15,
    },
    ipVersion: 4,
    ...more,
  };
}

export function report(more: Partial<Findings> = {}, about: Partial<LinkReport> = {}): LinkReport {
  const machine: Machine = {
    version: '1.0.0',
    node: 'v20.20.2',
    platform: 'linux 6.1 x64',
    cpu: 'A Processor',
    cores: 2,
  };
  const found = findings(more);
  return {
    type: 'report',
    version: 1,
    startedAt: '2026-01-02T03:04:05.678Z',
    target: '192.0.2.1 port 4578',
    client: machine,
    server: machine,
    endedEarly: null,
    clocks: { kind: 'same' },
    ...found,
    recommendation: recommend(found),
    ...about,
  };
}
