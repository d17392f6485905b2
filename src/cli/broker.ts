/** `jsp broker`: what it can be told on the command line, and its configuration printed or checked; `running-broker.ts` is the process itself. */

import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { type Command, Option } from 'commander';
import { Authenticator } from '../broker/auth/authenticator.ts';
import { authFault, brokerOptionsOf, notesOf } from '../broker/config/broker-options.ts';
import { type Config, ConfigError, loadConfig } from '../broker/config/load.ts';
import { printConfig, printedSettings } from '../broker/config/print.ts';
import type { LogOptions } from '../broker/core/store-port.ts';
import { LOG_LEVELS } from '../broker/operations/log.ts';
import { type GatewayTls, readTls } from '../gateway/options.ts';
import { collect, duration, profileOption, wholeNumber } from './arguments.ts';
import { collectSetting, gatewayOptionsOf, type SettingOptions, sourcesOf } from './broker-settings.ts';
import { httpAddress } from './gateway.ts';
import { advertised } from './listening.ts';
import { mqttOptionsOf } from './mqtt.ts';
import { qlogOption } from './qlog-option.ts';
import { runBroker } from './running-broker.ts';
import { CommandError, note, print, printJson } from './terminal.ts';

/** Beside those that are settings. */
interface BrokerCommandOptions extends SettingOptions {
  printConfig?: boolean;
  checkConfig?: boolean;
  json?: boolean;
  /** File with the logs, as JSON. */
  logs?: string;
  firstSteps?: boolean;
}

export function addBrokerCommand(program: Command): void {
  program
    .command('broker')
    .description('run a broker: its URL is the first line on stdout, once it can be connected to')
    .option(
      '--config <file>',
      'TOML; what is said on the command line goes before it (else JSP_BROKER_CONFIG)',
    )
    .option(
      '--print-config',
      'print every setting with its reason, its default and where its value is from, as TOML',
    )
    .option('--check-config', 'say whether a broker could start with it, and start none')
    .option(
      '--set <table.key=value>',
      'any setting, such as queues.max_messages=1000; may be given several times',
      collectSetting,
    )
    .option('--json', 'with --print-config: a JSON object a setting')
    .option('--host <address>', 'address to listen on', broker.host)
    .option('--port <number>', 'UDP port; 0 lets the system choose', wholeNumber(0, 65_535), broker.port)
    .option('--advertise <host[:port]>', 'what the URL names instead: where clients reach it', advertised)
    .option(
      '--authorized-keys <file>',
      'let in only clients with an identity whose fingerprint is on a line of this file, which is watched',
    )
    .addOption(profileOption())
    .option(
      '--workers <number>',
      'threads that clients\' connections are in, or "auto", as many as there are cores; 0: none beside its own',
      (text: string) => (text === 'auto' ? text : wholeNumber(0, 256)(text)),
      broker.workers,
    )
    .addOption(
      new Option(
        '--retry <when>',
        'have clients show first that they are where they say: when many come at once (auto), always or never',
      ).choices(['auto', 'always', 'never']),
    )
    .option('--state <dir>', 'where its identity and its URL are kept', broker.state)
    .option(
      '--store <dir>',
      'keep messages of QoS 1, sessions, cursors and last values there; else in memory',
    )
    .option(
      '--logs <file>',
      'JSON: a list of {"name", "filters", "maxAgeMs", "maxBytes", "maxMessages", "discard", "sync"}',
    )
    .addOption(
      new Option('--sync <when>', 'acknowledge what the disk has, or what the system has').choices([
        'always',
        'interval',
      ]),
    )
    .addOption(
      new Option('--on-corruption <what>', 'what to do when something that was stored is damaged').choices([
        'refuse',
        'quarantine',
      ]),
    )
    .addOption(
      new Option(
        '--on-store-failure <what>',
        'go on without storing when the disk fails, or end with code 1',
      ).choices(['read-only', 'close']),
    )
    .option(
      '--queue-total <MiB>',
      'memory for messages that wait for slow subscribers, of all clients together',
      wholeNumber(1, 1_048_576),
      queues.max_total_bytes / MIB,
    )
    .option(
      '--queue-per-client <MiB>',
      'the same of one client',
      wholeNumber(1, 1_048_576),
      queues.max_client_bytes / MIB,
    )
    .option(
      '--stall <seconds>',
      'give a subscription up that makes publishers wait and is not read for so long; 0: never',
      wholeNumber(0, 86_400),
      queues.stall / 1_000,
    )
    .option(
      '--backplane <url,...>',
      'be one with the other brokers on this NATS, such as nats://127.0.0.1:4222',
      (text: string) => text.split(','),
    )
    .option('--cluster <name>', 'with --backplane, which of them: those of the same name', backplane.cluster)
    .option(
      '--node <name>',
      'what this broker is called there, and no other, of which it takes the place; else the name of the machine, and something random',
    )
    .option(
      '--replicas <number>',
      'how many servers of NATS keep what is stored: 3 (or 5) outlive the loss of one (of two)',
      wholeNumber(1, 5),
      backplane.replicas,
    )
    .option(
      '--front-secret <file>',
      'clients may come through a front that has the same secret ("jsp gateway --udp"); "jsp keygen --front" makes it',
    )
    .option(
      '--front-id <number>',
      'by what fronts know this broker, and no other; else by its machine and port',
      wholeNumber(0, 2 ** 24 - 1),
    )
    .option('--http <host:port>', 'HTTP, WebSocket and SSE as well, and the dashboard', httpAddress)
    .option(
      '--mqtt <host:port>',
      'MQTT as well, by TCP; with --http also on the WebSocket /mqtt',
      httpAddress,
    )
    .option('--mqtt-tls <host:port>', 'MQTT by TLS', httpAddress)
    .option('--tls-cert <file>', 'certificate for --mqtt-tls, and for --http, which is HTTPS then')
    .option('--tls-key <file>', 'its private key')
    .option(
      '--drain <time>',
      'how long a broker that is stopped may deliver what is queued, such as 30s; default 5s',
      duration,
    )
    .option(
      '--hand-over <url>',
      'where clients are told to go when it is stopped; may be given several times',
      collect,
    )
    .addOption(new Option('--log-level <level>', 'the least important lines on stderr').choices(LOG_LEVELS))
    .addOption(
      new Option('--log-format <format>', 'lines for people, or an object a line').choices(['text', 'json']),
    )
    .option('--log-file <file>', 'append those lines there instead')
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .addOption(new Option('--first-steps', 'print what to try next; for npm start').hideHelp())
    .action(brokerCommand);
}

async function brokerCommand(options: BrokerCommandOptions, command: Command): Promise<void> {
  const sources = sourcesOf(options, command);
  const load = () => loadConfig(sources);
  const config = load();
  assertStoreIsMeant(config, command);
  const logs = options.logs === undefined ? undefined : readLogs(options.logs);
  if (options.printConfig) printConfiguration(config, options.json === true);
  else if (options.checkConfig) await checkConfiguration(config, sources.file);
  else await runBroker({ config, load, file: sources.file, logs, firstSteps: options.firstSteps === true });
}

function printConfiguration(config: Config, isJson: boolean): void {
  if (isJson) for (const setting of printedSettings(config)) printJson(setting);
  else process.stdout.write(printConfig(config));
}

/** Looks at everything that a start would look at before it begins, the files that it names included. [CFG-3] */
async function checkConfiguration(config: Config, file: string | undefined): Promise<void> {
  const { auth } = brokerOptionsOf(config);
  if (auth !== undefined) {
    const authenticator = await Authenticator.open(auth).catch((error: unknown) => {
      throw authFault(error, config);
    });
    authenticator.close();
  }
  const tls = gatewayOptionsOf(config)?.tls;
  if (tls !== undefined) assertPair(tls, config);
  for (const [, door] of mqttOptionsOf(config)) if (door.tls !== undefined) assertPair(door.tls, config);
  for (const text of notesOf(config)) note(text);
  print(`${file ?? 'the configuration'} is in order`);
}

/** @throws ConfigError for a certificate that cannot be read, or a key that is not its own */
function assertPair(tls: GatewayTls, { origins }: Config): void {
  try {
    createSecureContext(readTls(tls));
  } catch (error) {
    const { message } = error as Error;
    throw new ConfigError([`${origins.get('http.tls_cert')}: [http] tls_cert: ${message}`], { cause: error });
  }
}

/** @throws CommandError ERR_JSP_USAGE */
function assertStoreIsMeant({ values: { store } }: Config, command: Command): void {
  const isAbout = (name: string) => command.getOptionValueSource(name) === 'cli';
  if (store.directory !== undefined || !['sync', 'onCorruption', 'onStoreFailure'].some(isAbout)) return;
  throw new CommandError(
    'ERR_JSP_USAGE',
    '--sync, --on-corruption and --on-store-failure are about a store on the disk: add --store',
  );
}

function readLogs(path: string): LogOptions[] {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as LogOptions[]; // the broker looks at each member
  } catch (error) {
    throw new CommandError('ERR_JSP_FILE', `--logs ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** What holds where nothing is said, as the command line has it. */
const { broker, backplane, queues } = loadConfig({}).values;
const MIB = 1024 * 1024;

const HELP = `
Clients need nothing but the URL, which names the broker's key. It stays the same as long as the state directory does.
SIGINT, SIGTERM and SIGHUP stop reading from publishers, deliver what is queued, and end with exit code 0. With --config SIGHUP has the file read again
instead: who may connect, limits, the level of the log and certificates change while clients stay connected, all of it or, where anything is wrong, nothing.
A socket that fails for good ends it with exit code 1.

With --store a message of QoS 1 is acknowledged when the disk has it, and everything is there again after a crash, a kill or a power cut.
What a crash has left unfinished is put in order at the start; a store that is damaged is refused ("jsp store check", "jsp store repair").
A full disk makes it refuse what is to be stored until there is room.

With --backplane what is kept is with NATS, in JetStream, and --store is not opened; "jsp cluster status" shows the nodes.

With --host 0.0.0.0 or :: it listens on all addresses, and the URL names one that others are likely to reach; behind a NAT, or
under a name, tell it with --advertise.

Examples:
  $ jsp broker
  $ jsp broker --port 0 --state /var/lib/jsp
  $ jsp broker --store /var/lib/jsp/store
  $ jsp broker --workers auto
  $ jsp broker --http 127.0.0.1:4580
  $ jsp broker --mqtt 127.0.0.1:1883
  $ jsp broker --mqtt-tls 0.0.0.0:8883 --tls-cert fullchain.pem --tls-key privkey.pem
  $ jsp broker --print-config > jsp.toml
  $ jsp broker --config jsp.toml --check-config
  $ JSP_BROKER_PORT=4600 jsp broker --config jsp.toml --set queues.max_messages=1000
  $ jsp broker --host 0.0.0.0 --advertise broker.example.org
  $ jsp broker --backplane nats://10.0.0.5:4222 --node broker-1
  $ jsp broker --host 10.0.0.7 --front-secret front.secret
  $ jsp keygen --client --out robot.key >> authorized_keys && jsp broker --authorized-keys authorized_keys
`;
