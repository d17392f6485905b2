import {
  type Measured,
  type MeasureOptions,
  measureLink,
  type Progress,
} from '../../../src/bench/link/measure.ts';
import type { LinkSettings } from '../../../src/bench/link/report.ts';
import { type BenchServer, type BenchServerOptions, serveBench } from '../../../src/bench/link/server.ts';
import type { BenchSystem } from '../../../src/bench/link/system.ts';
import { generateIdentity } from '../../../src/index.ts';
import { Lab, type LinkOptions } from '../../../src/testing/index.ts';

export const SERVER = '10.0.0.1';
export const CLIENT = '10.0.0.2';

/** What a test of one size needs, in as little time as it takes. */
export const SETTINGS: LinkSettings = {
  direction: 'up',
  mtus: [1_200],
  bitsPerSecond: 0,
  streams: 1,
  delivery: 'reliable',
  messageBytes: 0,
  congestion: 'auto',
  protection: 'off',
  seconds: 1,
  omitSeconds: null,
  lossSeconds: 0,
};

export interface BenchLab {
  readonly lab: Lab;
  readonly server: BenchServer;
  readonly notes: string[];
  /** What a client of this lab passes on. */
  readonly options: Pick<MeasureOptions, 'url' | 'system' | 'transport'>;
  measure(settings: Partial<LinkSettings>, more?: Partial<MeasureOptions>): Promise<Measured>;
}

/** A server of measurements on a network in virtual time. The server's clock may be ahead, as that of another machine is. */
export async function benchLab(
  link: LinkOptions,
  server: Partial<BenchServerOptions> & { aheadMicros?: number; routeMtu?: BenchSystem['routeMtu'] } = {},
): Promise<BenchLab> {
  const { aheadMicros = 0, routeMtu = () => Promise.resolve(null), ...own } = server;
  const lab = new Lab({ seed: 3, link, instantsMax: Number.POSITIVE_INFINITY });
  const { clock, random } = lab;
  const notes: string[] = [];
  const systemOf = (ahead: number, hostName: string): BenchSystem => ({
    clock,
    stamp: () => lab.now + ahead,
    hostName,
    routeMtu,
  });
  const serving = await serveBench({
    identity: generateIdentity(),
    socket: lab.socket({ host: SERVER, port: 4_578 }),
    clock,
    random,
    system: systemOf(aheadMicros, aheadMicros === 0 ? 'lab' : 'another'),
    onNote: (text) => notes.push(text),
    ...own,
  });
  const url = new URL(serving.url);
  url.hostname = SERVER;
  const options = {
    url: url.href,
    system: systemOf(0, 'lab'),
    transport: () => ({
      socket: lab.socket({ host: CLIENT, connectTo: { host: SERVER, port: 4_578 } }),
      clock,
      random,
    }),
  };
  const measure = (settings: Partial<LinkSettings>, more: Partial<MeasureOptions> = {}): Promise<Measured> =>
    lab.settle(
      measureLink({
        ...options,
        settings: { ...SETTINGS, ...settings },
        intervalSeconds: 0.5,
        onProgress: (_: Progress) => {},
        ...more,
      }),
      600_000,
    );
  return { lab, server: serving, notes, options, measure };
}
