import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { isLoopback } from '../base/ip-address.ts';
import type { LogOptions } from '../broker/core/store-port.ts';
import { type Broker, startBroker } from '../broker/server.ts';
import { textOf } from '../broker/store/findings.ts';
import type { StoreOptions } from '../broker/store/options.ts';
import type { Gateway } from '../gateway/index.ts';
import type { ProfileName } from '../transport/profiles.ts';
import { DEFAULT_PORT } from '../transport/url.ts';
import { MESSAGE_BYTES_MAX, profileOption, qlogOption, wholeNumber } from './arguments.ts';
import { type HttpAddress, httpAddress, startedGateway } from './gateway.ts';
import { advertised, listeningError } from './listening.ts';
import { DEFAULT_STATE_DIRECTORY, StateDirectory } from './state-directory.ts';
import { recoveryLine } from './store.ts';
import { CommandError, note, onStopSignal, print, warn } from './terminal.ts';

interface BrokerCommandOptions {
  host: string;
  port: number;
  advertise?: string;
  profile?: ProfileName;
  /** The state directory. */
  state: string;
  /** Directory of the store; without one it is in memory. */
  store?: string;
  /** File with the logs, as JSON. */
  logs?: string;
  sync?: 'always' | 'interval';
  onCorruption?: 'refuse' | 'quarantine';
  onStoreFailure?: 'read-only' | 'close';
  /** In MiB. */
  queueTotal: number;
  queuePerClient: number;
  /** In seconds. */
  stall: number;
  /** Where a gateway listens in this process. */
  http?: HttpAddress;
  firstSteps?: boolean;
}

export function addBrokerCommand(program: Command): void {
  program
    .command('broker')
    .description('run a broker: its URL is the first line on stdout, once it can be connected to')
    .option('--host <address>', 'address to listen on', BROKER_DEFAULTS.host)
    .option(
      '--port <number>',
      'UDP port; 0 lets the system choose',
      wholeNumber(0, 65_535),
      BROKER_DEFAULTS.port,
    )
    .option('--advertise <host[:port]>', 'what the URL names instead: where clients reach it', advertised)
    .addOption(profileOption())
    .option('--state <dir>', 'where its identity and its URL are kept', BROKER_DEFAULTS.state)
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
      BROKER_DEFAULTS.queueTotal,
    )
    .option(
      '--queue-per-client <MiB>',
      'the same of one client',
      wholeNumber(1, 1_048_576),
      BROKER_DEFAULTS.queuePerClient,
    )
    .option(
      '--stall <seconds>',
      'give a subscription up that makes publishers wait and is not read for so long; 0: never',
      wholeNumber(0, 86_400),
      BROKER_DEFAULTS.stall,
    )
    .option('--http <host:port>', 'HTTP, WebSocket and SSE as well, and the dashboard', httpAddress)
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .addOption(new Option('--first-steps', 'print what to try next; for npm start').hideHelp())
    .action(runBroker);
}

/**
 * Runs a broker until SIGINT, SIGTERM or SIGHUP, then drains it.
 *
 * @throws JspError ERR_JSP_SOCKET when its address cannot be bound, and when its socket fails for good [BRK-37]
 */
async function runBroker(options: BrokerCommandOptions): Promise<void> {
  const stopped = new Promise<NodeJS.Signals>((resolve) => onStopSignal(resolve));
  const state = StateDirectory.open(options.state);
  const broker = await listening(options, state).catch((error: unknown) => {
    state.close();
    throw error;
  });
  let gateway: Gateway | null = null;
  try {
    gateway = await gatewayOf(broker, options);
    state.writeUrl(broker.url);
    if (!isLoopback(broker.host)) {
      warn(`listening on ${broker.host}: anyone who has the URL and can reach it may publish and subscribe`);
    }
    if (broker.recovery !== null) {
      note(recoveryLine(broker.recovery));
      for (const finding of broker.recovery.findings) warn(textOf(finding));
    }
    broker.on('storeFailed', (_, failure) => warn(`${failure.message}: nothing more is stored there`));
    broker.on('storeDamaged', (finding) => warn(textOf(finding)));
    broker.on('fault', (error) =>
      warn(`a fault of the broker cost a client its connection: ${faultText(error)}`),
    );
    process.stdout.on('error', () => {}); // who started it does not read any more; the URL is in the state directory
    print(broker.url);
    if (gateway !== null) note(`dashboard and HTTP: ${gateway.url}`);
    if (options.firstSteps) printFirstSteps();
    note(`broker listens on ${broker.host}, UDP port ${broker.port}; its state is in ${state.path}`);
    const signal = await Promise.race([stopped, broker.closed.then(() => null)]);
    if (signal !== null) note(`${signal}: delivering what is queued, then closing`);
  } finally {
    await gateway?.close();
    await broker.close();
    state.close();
  }
  const failure = await broker.closed;
  if (failure !== null) throw failure;
  const { messagesIn, messagesOut } = broker.metrics();
  note(`closed; ${messagesIn} messages came in, ${messagesOut} went out`);
}

async function listening(options: BrokerCommandOptions, state: StateDirectory): Promise<Broker> {
  const { host, port, advertise } = options;
  try {
    return await startBroker({
      identity: state.identity,
      host,
      port,
      profile: options.profile,
      messageBytesMax: MESSAGE_BYTES_MAX,
      queueBytesTotalMax: options.queueTotal * MIB,
      queueBytesPerClientMax: options.queuePerClient * MIB,
      stallMs: options.stall * 1_000,
      store: storeOptions(options),
      logs: options.logs === undefined ? undefined : readLogs(options.logs),
      ...(advertise === undefined ? {} : { advertise }),
    });
  } catch (error) {
    throw listeningError(error);
  }
}

/** The gateway that was asked for. The first steps have one, whatever else listens on its port. */
async function gatewayOf(
  broker: Broker,
  { http, firstSteps }: BrokerCommandOptions,
): Promise<Gateway | null> {
  if (http !== undefined) return await startedGateway({ broker, ...http });
  if (firstSteps !== true) return null;
  return await startedGateway({ broker }).catch(() => startedGateway({ broker, port: 0 }));
}

function storeOptions(options: BrokerCommandOptions): StoreOptions | undefined {
  const { store: directory, sync, onCorruption, onStoreFailure } = options;
  if (directory !== undefined) {
    const onFailure = onStoreFailure === 'close' ? 'close' : 'readOnly';
    return { directory, sync, onCorruption, onFailure };
  }
  if (sync === undefined && onCorruption === undefined && onStoreFailure === undefined) return undefined;
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

/** Below the URL, what to paste in another terminal, in the same folder. */
function printFirstSteps(): void {
  note('\nPaste these two lines in another terminal, in this folder (Ctrl-C here stops the broker):\n');
  process.stdout.write("npx jsp sub 'demo/#' --count 1 &\nsleep 2; npx jsp pub demo/hello 'It works'\n");
  note('');
}

function faultText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

const MIB = 1024 * 1024;
const BROKER_DEFAULTS: BrokerCommandOptions = {
  host: '127.0.0.1',
  port: DEFAULT_PORT,
  state: DEFAULT_STATE_DIRECTORY,
  queueTotal: 256,
  queuePerClient: 16,
  stall: 30,
};

const HELP = `
Clients need nothing but the URL, which names the broker's key. It stays the same as long as the state directory does.
SIGINT, SIGTERM and SIGHUP stop reading from publishers, deliver what is queued, and end with exit code 0.
A socket that fails for good ends it with exit code 1.

With --store a message of QoS 1 is acknowledged when the disk has it, and everything is there again after a crash, a kill or a power cut.
What a crash has left unfinished is put in order at the start; a store that is damaged is refused ("jsp store check", "jsp store repair").
A full disk makes it refuse what is to be stored until there is room.

With --host 0.0.0.0 or :: it listens on all addresses, and the URL names one that others are likely to reach; behind a NAT, or
under a name, tell it with --advertise.

Examples:
  $ jsp broker
  $ jsp broker --port 0 --state /var/lib/jsp
  $ jsp broker --store /var/lib/jsp/store
  $ jsp broker --http 127.0.0.1:4580
  $ jsp broker --host 0.0.0.0 --advertise broker.example.org
`;
