/** `jsp gateway --udp`: a front before several brokers. */

import { faultOfSecret } from '../broker/config/exposed-files.ts';
import { readFrontSecrets } from '../broker/config/front-settings.ts';
import type { ListenAddress } from '../broker/config/http-settings.ts';
import type { Front, FrontMetrics, FrontServer } from '../front/index.ts';
import { addressAdvice, listeningError } from './listening.ts';
import { ServiceSignals, tellSupervisor } from './supervisor.ts';
import { CommandError, coloursOf, note, print, printJson, warn } from './terminal.ts';

/** Those of `jsp gateway` that are a front's. */
export interface FrontCommandOptions {
  udp?: ListenAddress;
  to?: readonly string[];
  frontSecret?: string;
  advertise?: string;
  idle?: number;
  clients?: number;
  probe?: number;
  status?: number;
  json?: boolean;
}

/** Runs until it is told to stop, and tells how the brokers are when that changes. */
export async function runFront(udp: ListenAddress, options: FrontCommandOptions): Promise<void> {
  const { advertise, clients, frontSecret, idle, json = false, probe, status, to = [] } = options;
  if (to.length === 0) throw missing('--to', 'the URLs of the brokers');
  if (frontSecret === undefined)
    throw missing(
      '--front-secret',
      'a file with the secret that the brokers have, too: "jsp keygen --front --out FILE"',
    );
  const secrets = readFrontSecrets(frontSecret);
  const fault = faultOfSecret(frontSecret);
  if (fault !== null) warn(`--front-secret: ${fault}`);
  const { startFront } = await import('../front/index.ts'); // what a gateway for HTTP does not need
  const signals = new ServiceSignals(false);
  const front = await startFront({
    ...udp,
    ...secrets,
    servers: to,
    advertise,
    idleMs: idle,
    clientsMax: clients,
    probeMs: probe,
  }).catch((error: unknown) => {
    throw listeningError(error, addressAdvice('--udp'));
  });
  const tell = (server: FrontServer) => (json ? printJson({ event: 'broker', ...server }) : tellOf(server));
  const timer =
    status === undefined ? undefined : setInterval(() => printStatus(front.metrics(), json), status);
  let failure: Error | null = null;
  try {
    process.stdout.on('error', () => {});
    front.on('server', tell);
    front.on('error', (error) => {
      failure = error;
    });
    if (json) printJson({ event: 'listening', url: front.url, host: front.host, port: front.port });
    else print(front.url);
    for (const server of front.metrics().servers) tell(server);
    tellSupervisor('READY=1', `passes on what comes to ${front.host}, UDP port ${front.port}`);
    await stopped(front, signals);
    tellSupervisor('STOPPING=1', 'passes nothing on any more');
  } finally {
    clearInterval(timer);
    signals.end();
    await front.close();
  }
  if (failure !== null) throw failure;
  const { datagramsToClients, datagramsToServers } = front.metrics();
  note(`closed; datagrams: ${datagramsToServers} went to brokers, ${datagramsToClients} to clients`);
}

async function stopped(front: Front, signals: ServiceSignals): Promise<void> {
  const closed = new Promise<void>((resolve) => front.once('close', () => resolve()));
  await Promise.race([signals.stopped, closed]);
}

/** A broker stands otherwise than before. */
function tellOf({ fault, presence, rttMs, serverId, url }: FrontServer): void {
  const where = hostOf(url);
  if (fault !== null) return warn(`${where} cannot be reached: ${fault}`);
  switch (presence) {
    case 'accepting':
      return note(`${where} (broker ${serverId}) is there, ${rttMs?.toFixed(1)} ms away`);
    case 'full':
      return warn(`${where} has as many connections as it may have; new ones go to others`);
    case 'leaving':
      return note(`${where} is leaving: it keeps its connections, and new ones go to others`);
    case 'double':
      return warn(
        `${where} has the id ${serverId} of another broker, and gets nothing: start one of them with another --front-id`,
      );
    case 'gone':
      return warn(`${where} does not answer; its clients are told, and come back to others`);
    case 'unknown':
      return warn(
        `${where} has not answered yet: is it there, and has it been started with the same --front-secret?`,
      );
  }
}

/** A line, with what of the brokers is out of order in colour on a terminal. */
function printStatus(metrics: FrontMetrics, json: boolean): void {
  if (json) return printJson({ event: 'status', ...metrics });
  const { yellow } = coloursOf(process.stdout);
  const { clients, datagramsToClients, datagramsToServers, dropped, servers } = metrics;
  const lost = dropped.malformed + dropped.noServer + dropped.unauthentic + dropped.congested;
  const brokers = servers.map(({ connections, presence, url }) => {
    const text = `${hostOf(url)} ${presence} ${connections}`;
    return presence === 'accepting' ? text : yellow(text);
  });
  print(
    `clients ${clients}  to brokers ${datagramsToServers}  to clients ${datagramsToClients}  dropped ${lost}  ${brokers.join('  ')}`,
  );
}

function hostOf(url: string): string {
  return url.slice(url.indexOf('@') + 1);
}

function missing(option: string, what: string): CommandError {
  return new CommandError('ERR_JSP_USAGE', `--udp needs ${option}: ${what}`);
}
