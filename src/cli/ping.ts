import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { median } from '../bench/figures.ts';
import { type BrokerClient, connectClient } from '../client/broker-client.ts';
import type { ProfileName } from '../transport/profiles.ts';
import { findServerUrl, GOODBYE, profileOption, seconds, wholeNumber } from './arguments.ts';
import { accessOf, type BrokerAccess, withBrokerAccess } from './credentials.ts';
import { knownServers } from './known-servers.ts';
import { qlogOption } from './qlog-option.ts';
import { onStopSignal, print } from './terminal.ts';

interface PingOptions extends BrokerAccess {
  profile?: ProfileName;
  count: number;
  interval: number;
  json?: boolean;
}

/** What `--json` prints; times in ms. */
interface PingResult {
  url: string;
  handshakeMs: number;
  roundTripsMs: number[];
}

export function addPingCommand(program: Command): void {
  const command = program
    .command('ping')
    .description('measure the handshake with the broker, and round trips of a command that it answers');
  withBrokerAccess(command)
    .addOption(profileOption())
    .option('--count <n>', 'round trips to make; 0: until SIGINT', wholeNumber(0, Number.MAX_SAFE_INTEGER), 5)
    .option('--interval <seconds>', 'time from one to the next', seconds, 1)
    .option('--json', 'print {"url", "handshakeMs", "roundTripsMs"} at the end, and nothing else')
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(ping);
}

async function ping(options: PingOptions): Promise<void> {
  const url = findServerUrl(options.url, 'a ping');
  const access = accessOf(options);
  const begun = performance.now();
  const client = await connectClient(url, {
    profile: options.profile,
    reconnect: false,
    ...access,
    tokens: knownServers(),
  });
  const result: PingResult = { url, handshakeMs: performance.now() - begun, roundTripsMs: [] };
  const say = options.json ? (): void => {} : print;
  try {
    say(`handshake ${milliseconds(result.handshakeMs)} with ${url}`);
    await roundTrips(client, options, (roundTripMs) => {
      say(`round trip ${result.roundTripsMs.push(roundTripMs)}: ${milliseconds(roundTripMs)}`);
    });
    if (options.json) print(JSON.stringify(result));
    else if (result.roundTripsMs.length > 0) print(roundTripSummary(result.roundTripsMs));
  } finally {
    await client.close(GOODBYE);
  }
}

/** One after the other, and until a signal says that it is enough. */
async function roundTrips(
  client: BrokerClient,
  { count, interval }: PingOptions,
  onRoundTrip: (ms: number) => void,
): Promise<void> {
  const enough = new AbortController();
  const forget = onStopSignal(() => enough.abort());
  const { signal } = enough;
  try {
    for (let i = 0; count === 0 || i < count; i++) {
      if (i > 0) await sleep(interval * 1_000, undefined, { signal });
      onRoundTrip(await client.ping({ signal }));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    forget();
  }
}

/** For people: so many round trips and their figures, in ms. */
export function roundTripSummary(times: readonly number[]): string {
  const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
  const least = times.reduce((a, b) => Math.min(a, b));
  const most = times.reduce((a, b) => Math.max(a, b));
  const figures = [least, median(times), mean, most].map((time) => time.toFixed(3)).join('/');
  return `${times.length} round trips, min/median/mean/max ${figures} ms`;
}

function milliseconds(ms: number): string {
  return `${ms.toFixed(3)} ms`;
}

const HELP = `
The handshake time is from before the socket is made until the broker has proved its identity. A round trip is from the call until
the broker's answer is there, both programs included, like what an application sees.

Examples:
  $ jsp ping
  $ jsp ping --count 100 --interval 0.01 --json
`;
