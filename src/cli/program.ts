/** `jsp` with all its commands. */
import { readFileSync } from 'node:fs';
import { Command, Help } from 'commander';
import { serveMetricsWhenUsed } from '../transport/live.ts';
import { applyQlogOption } from './qlog-option.ts';
import { endWith, endWithoutReader, failureLine, wrapProse, writeWholly } from './terminal.ts';

/** Each command with its file, in the order of the help. What one command needs is loaded for none of the others. */
export const COMMANDS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  broker: async () => (await import('./broker.ts')).addBrokerCommand,
  gateway: async () => (await import('./gateway.ts')).addGatewayCommand,
  sub: async () => (await import('./sub.ts')).addSubCommand,
  pub: async () => (await import('./pub.ts')).addPubCommand,
  reply: async () => (await import('./reply.ts')).addReplyCommand,
  ping: async () => (await import('./ping.ts')).addPingCommand,
  send: async () => (await import('./send.ts')).addSendCommand,
  receive: async () => (await import('./receive.ts')).addReceiveCommand,
  store: async () => (await import('./store.ts')).addStoreCommand,
  auth: async () => (await import('./auth.ts')).addAuthCommand,
  keygen: async () => (await import('./keygen.ts')).addKeygenCommand,
  dict: async () => (await import('./dict.ts')).addDictCommand,
  profiles: async () => (await import('./profiles.ts')).addProfilesCommand,
  top: async () => (await import('./top.ts')).addTopCommand,
  clients: async () => (await import('./lists.ts')).addClientsCommand,
  sessions: async () => (await import('./lists.ts')).addSessionsCommand,
  durable: async () => (await import('./lists.ts')).addDurableCommand,
  topics: async () => (await import('./lists.ts')).addTopicsCommand,
  dlq: async () => (await import('./dlq.ts')).addDlqCommand,
  kick: async () => (await import('./kick.ts')).addKickCommand,
  cluster: async () => (await import('./cluster.ts')).addClusterCommand,
  monitor: async () => (await import('./monitor.ts')).addMonitorCommand,
  bench: async () => (await import('./bench.ts')).addBenchCommand,
};

/** Of what is no terminal; commander takes the same. */
const HELP_COLUMNS = 80;

/** Begins what the arguments of the process say. */
export async function run(): Promise<void> {
  writeWholly(process.stdout);
  process.stdout.on('error', endWithoutReader);
  process.stderr.on('error', () => {}); // nobody is left to be told, and what the command does goes on
  const jsp = new Command('jsp')
    .description('JetStreamProto: a broker and its clients, and files, over encrypted, reliable UDP')
    .version(packageVersion(), '--version')
    .helpCommand(false)
    .exitOverride()
    .configureHelp({
      optionDescription(option) {
        const { defaultValue } = option;
        const isEmpty = typeof defaultValue === 'object' && Object.keys(defaultValue ?? {}).length === 0;
        if (isEmpty) return option.description; // "(default: [])" says nothing
        // A list as one would type it.
        if (Array.isArray(defaultValue)) option.defaultValueDescription ??= defaultValue.join(',');
        return new Help().optionDescription(option);
      },
    })
    .hook('preAction', (_, command) => {
      applyQlogOption(command.opts());
      const parent = command.parent === jsp ? '' : `${command.parent?.name()} `;
      if (command.name() !== 'monitor') serveMetricsWhenUsed(`jsp ${parent}${command.name()}`);
    })
    .configureOutput({
      writeOut: (text) => process.stdout.write(wrapProse(text, process.stdout.columns ?? HELP_COLUMNS)),
      writeErr: (text) => process.stderr.write(wrapProse(text, process.stderr.columns ?? HELP_COLUMNS)),
      outputError: (text) => process.stderr.write(usageLine(text)),
    });
  const asked = process.argv[2] ?? '';
  for (const name of neededFor(asked)) (await COMMANDS[name]())(jsp);
  // Not awaited: a command may be over, and nothing left to wait for, without being settled.
  jsp.parseAsync().catch(endWith);
}

/** The version needs none of them; help, and the suggestion for a word that is none, need all. */
function neededFor(word: string): string[] {
  if (Object.hasOwn(COMMANDS, word)) return [word];
  return word === '--version' ? [] : Object.keys(COMMANDS);
}

/** What commander says of a wrong argument, which has a suggestion on a line of its own, as the one line of an error. */
function usageLine(text: string): string {
  const sentence = text.replace(/^error: /, '').trim();
  return failureLine(sentence.replaceAll('\n', ' '), 'ERR_JSP_USAGE');
}

function packageVersion(): string {
  const file = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(file) as { version: string }).version;
}
