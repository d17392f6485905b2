/** `jsp gateway`, and what `jsp broker --http` has in common with it. */

import { type Command, InvalidArgumentError } from 'commander';
import { exposedFilesOf } from '../broker/config/exposed-files.ts';
import { type ListenAddress, parseListenAddress } from '../broker/config/http-settings.ts';
import { type Config, loadConfig } from '../broker/config/load.ts';
import type { Gateway } from '../gateway/index.ts';
import { DEFAULT_HTTP_HOST, DEFAULT_HTTP_PORT, type GatewayOptions } from '../gateway/options.ts';
import { findServerUrls, splitUrls, timeLimit, URL_OPTION_HELP, wholeNumber } from './arguments.ts';
import { collectSetting, gatewayOptionsOf, type SettingOptions, sourcesOf } from './broker-settings.ts';
import { type FrontCommandOptions, runFront } from './front.ts';
import { addressAdvice, advertised, listeningError } from './listening.ts';
import { qlogOption } from './qlog-option.ts';
import { ServiceSignals } from './supervisor.ts';
import { CommandError, note, print, warn } from './terminal.ts';

interface GatewayCommandOptions extends SettingOptions, FrontCommandOptions {
  broker?: string;
  http?: ListenAddress;
}

export function addGatewayCommand(program: Command): void {
  program
    .command('gateway')
    .description(
      'run a gateway: HTTP, WebSocket and SSE for a broker elsewhere, or with --udp a front before several brokers; its URL is the first line on stdout',
    )
    .option('--broker <url,...>', URL_OPTION_HELP)
    .option(
      '--http <host:port>',
      `where to listen; default ${DEFAULT_HTTP_HOST}:${DEFAULT_HTTP_PORT}`,
      httpAddress,
    )
    .option('--config <file>', 'TOML, of which the table [http] counts here (else JSP_BROKER_CONFIG)')
    .option(
      '--set <table.key=value>',
      'any setting of it, such as http.max_payload_bytes=4MiB; may be given several times',
      collectSetting,
    )
    .addOption(qlogOption())
    .optionsGroup('A front before several brokers:')
    .option('--udp <host:port>', 'where clients come, in place of HTTP', udpAddress)
    .option('--to <url,...>', 'the brokers, which have one identity; may be given several times', collectUrls)
    .option('--front-secret <file>', 'what "jsp keygen --front" has made, as the brokers have it')
    .option(
      '--advertise <host[:port]>',
      'what the URL names instead: where clients reach the front',
      advertised,
    )
    .option('--idle <time>', 'forget clients that are silent for so long; default 60s', timeLimit)
    .option('--clients <number>', 'remember so many at most; default 65536', wholeNumber(1, 2 ** 22))
    .option('--probe <time>', 'ask each broker so often how it is; default 500ms', timeLimit)
    .option('--status <time>', 'print how things are so often', timeLimit)
    .option('--json', 'print an object for each event and status')
    .addHelpText('after', HELP)
    .action(gatewayCommand);
}

/** An argument such as that of `--http`: `host:port`, `:port` or a port alone for this machine only, `[::1]:port`. */
function listenAddress(examples: string): (text: string) => ListenAddress {
  return (text) => {
    const address = parseListenAddress(text);
    if (address !== null) return address;
    throw new InvalidArgumentError(`It must be an address and a port, such as ${examples}.`);
  };
}

export const httpAddress = listenAddress('127.0.0.1:4580, [::1]:4580 or 4580');
const udpAddress = listenAddress('0.0.0.0:4577, [::1]:4577 or 4577');

function collectUrls(text: string, before: readonly string[] = []): string[] {
  return [...before, ...splitUrls(text)];
}

/** Starts a gateway, and tells of it what is worth telling. */
export async function startedGateway(options: GatewayOptions): Promise<Gateway> {
  const { startGateway } = await import('../gateway/index.ts'); // what a broker alone does not need
  const gateway = await startGateway(options).catch((error: unknown) => {
    throw listeningError(error, addressAdvice('--http'));
  });
  gateway.on('fault', (error) => {
    warn(
      `a fault of the gateway cost a caller his answer: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
  });
  gateway.on('error', (error) => warn(`the gateway is over: ${error.message}`));
  return gateway;
}

async function gatewayCommand(options: GatewayCommandOptions, command: Command): Promise<void> {
  const { udp } = options;
  const odd = (udp === undefined ? OF_FRONTS : OF_HTTP).find((name) => options[name] !== undefined);
  if (odd !== undefined) {
    const option = `--${odd.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    const why = udp === undefined ? 'is for a front, and needs --udp' : 'does not go with --udp';
    throw new CommandError('ERR_JSP_USAGE', `${option} ${why}`);
  }
  if (udp === undefined) await runGateway(options, command);
  else await runFront(udp, options);
}

async function runGateway(options: GatewayCommandOptions, command: Command): Promise<void> {
  const sources = sourcesOf(options, command);
  const config = loadConfig(sources);
  const chosen = gatewayOptionsOf(config, { host: DEFAULT_HTTP_HOST, port: DEFAULT_HTTP_PORT });
  const reloads = sources.file !== undefined || chosen?.tls !== undefined;
  const signals = new ServiceSignals(reloads);
  const gateway = await startedGateway({ broker: findServerUrls(options.broker, '--broker'), ...chosen });
  warnOfExposed(config);
  signals.begin(() => renewCertificate(gateway, config));
  try {
    process.stdout.on('error', () => {});
    print(gateway.url);
    const signal = await Promise.race([
      signals.stopped,
      new Promise<null>((resolve) => gateway.on('close', () => resolve(null))),
    ]);
    if (signal !== null) note(`${signal}: answering what is under way, then closing`);
  } finally {
    signals.end();
    await gateway.close();
  }
  const { requests } = gateway.metrics();
  note(`closed; ${requests} requests came`);
}

/** SIGHUP: the files of the certificate are read again. Everything else of a gateway takes effect when it starts. [CFG-5] */
function renewCertificate(gateway: Gateway, config: Config): void {
  try {
    gateway.reload();
    warnOfExposed(config);
    note('reloaded: the certificate');
  } catch (error) {
    warn(`not reloaded, and all is as it was: ${(error as Error).message}`);
  }
}

/** Of the files that are read here, those that others on the machine reach. [CFG-10] */
function warnOfExposed(config: Config): void {
  for (const { place, text } of exposedFilesOf(config)) {
    if (place === '' || place.startsWith('http.')) warn(text);
  }
}

/** Options that mean something with --udp alone, and those that mean nothing with it. */
const OF_FRONTS = ['to', 'frontSecret', 'advertise', 'idle', 'clients', 'probe', 'status', 'json'] as const;
const OF_HTTP = ['broker', 'http', 'config', 'set'] as const;

const HELP = `
It holds no permissions of its own: what a caller may do is what the broker allows the API key or token that he shows.
With --config or a certificate SIGHUP has the files of the certificate read again; connections that are open stay as they are.

With --udp it passes on the packets of native clients instead: each connection to the broker that has it, new ones to those that are there. It holds no key of any
connection, and can be started anew at any time without a client noticing. The brokers have the same identity, and --front-secret.

Examples:
  $ jsp gateway
  $ jsp gateway --broker jsp://...@broker.example.org:4577 --http 0.0.0.0:8080
  $ jsp gateway --http 0.0.0.0:443 --set http.tls_cert=fullchain.pem --set http.tls_key=privkey.pem
  $ jsp gateway --udp 0.0.0.0:4577 --to jsp://...@10.0.0.7:4577,jsp://...@10.0.0.8:4577 --front-secret front.secret
  $ curl -d 'It works' http://127.0.0.1:4580/v1/topics/demo/hello
`;
