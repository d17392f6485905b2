import type { Command } from 'commander';
import { isLoopback } from '../base/ip-address.ts';
import { serveBench } from '../bench/link/server.ts';
import { generateIdentity } from '../transport/system-crypto.ts';
import { positiveNumber, wholeNumber } from './arguments.ts';
import { advertised, listeningError } from './listening.ts';
import { qlogOption } from './qlog-option.ts';
import { note, onStopSignal, print, warn } from './terminal.ts';

interface ServeOptions {
  host: string;
  port: number;
  advertise?: string;
  minutes: number;
  gigabytes: number;
}

export function addBenchServe(bench: Command): void {
  bench
    .command('serve')
    .description('serve measurements of the link between two hosts, to "jsp bench link"')
    .option('--host <address>', 'address to listen on; 0.0.0.0 or :: for all', '127.0.0.1')
    .option('--port <n>', 'UDP port; 0: any that is free', wholeNumber(0, 65_535), 4_579)
    .option('--advertise <host[:port]>', 'what the URL names, behind a NAT or under a name', advertised)
    .option('--minutes <n>', 'longest that one client may measure', positiveNumber, 30)
    .option('--gigabytes <n>', 'most that one client may send and receive', positiveNumber, 100)
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(serve);
}

async function serve({ host, port, advertise, minutes, gigabytes }: ServeOptions): Promise<void> {
  const stopped = new Promise<NodeJS.Signals>((resolve) => onStopSignal(resolve));
  const server = await serveBench({
    identity: generateIdentity(),
    host,
    port,
    advertise,
    sessionSeconds: minutes * 60,
    sessionBytes: gigabytes * 1e9,
    onNote: (text) => note(`${new Date().toISOString()} ${text}`),
  }).catch((error: unknown) => {
    throw listeningError(error);
  });
  if (!isLoopback(server.host)) {
    warn(`listening on ${server.host}: anyone who has the URL and can reach it may measure, one at a time`);
  }
  process.stdout.on('error', () => {}); // who started it does not read any more, and clients have the URL
  print(server.url);
  note(
    `serves measurements on ${server.host}, UDP port ${server.port}; on the other host run: jsp bench link URL`,
  );
  const failed = server.closed;
  const signal = await Promise.race([stopped, failed.then(() => null)]);
  if (signal !== null) note(`${signal}: closing`);
  await server.close();
  const failure = await failed;
  if (failure !== null) throw failure;
  note(`closed; ${server.clients} clients measured`);
}

const HELP = `
The first line on stdout is the URL, which has a new key each time. One client measures at a time; others are told that it is busy. It sends only
what congestion control lets out, to the address that the handshake proved, within the bounds above.

Examples:
  $ jsp bench serve --host 0.0.0.0
  $ jsp bench serve --port 0 --minutes 5
`;
