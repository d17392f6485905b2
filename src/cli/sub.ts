import { isUtf8 } from 'node:buffer';
import type { Command } from 'commander';
import { JspError, mayBeUnprintable, printable, printableJson } from '../base/errors.ts';
import { type BrokerClient, connectClient } from '../client/broker-client.ts';
import type { UnopenedMessage } from '../client/compression.ts';
import type { Message } from '../client/message.ts';
import type { ProfileName } from '../transport/profiles.ts';
import {
  assertUtf8,
  collect,
  findServerUrl,
  GOODBYE,
  MESSAGE_BYTES_MAX,
  profileOption,
  profileOrHeartbeats,
  qlogOption,
  URL_OPTION_HELP,
  wholeNumber,
} from './arguments.ts';
import { compressionWith } from './dict.ts';
import { LineWriter } from './lines.ts';
import { CommandError, coloursOf, note, onStopSignal, warn } from './terminal.ts';

interface SubOptions {
  url?: string;
  profile?: ProfileName;
  count?: number;
  topics?: boolean;
  json?: boolean;
  raw?: boolean;
  /** Files. */
  dict: string[];
}

export function addSubCommand(program: Command): void {
  program
    .command('sub')
    .description('print the messages whose topics match a filter, one line each')
    .argument('<filter>', 'a topic, with + for any one level and # at the end for any number of them')
    .option('--url <url>', URL_OPTION_HELP)
    .addOption(profileOption())
    .option('--count <n>', 'end after so many messages', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--topics', 'print the topic and a tab before each message')
    .option('--json', 'print {"topic", "payload"}, or {"topic", "base64"} of what is not UTF-8')
    .option('--raw', 'print the bytes of the messages and nothing else')
    .addOption(qlogOption())
    .option(
      '--dict <file>',
      'a dictionary that messages may be compressed with; may be given several times',
      collect,
      [],
    )
    .addHelpText('after', HELP)
    .action(subscribe);
}

async function subscribe(filter: string, options: SubOptions): Promise<void> {
  if (options.raw && (options.json || options.topics)) {
    throw new CommandError('ERR_JSP_USAGE', '--raw prints nothing but bytes: leave out --json and --topics');
  }
  assertUtf8(filter, 'the filter');
  const client = await connectClient(findServerUrl(options.url), {
    messageBytesMax: MESSAGE_BYTES_MAX,
    compression: compressionWith(options.dict),
    reconnect: false,
    ...profileOrHeartbeats(options.profile),
  });
  const unopened = new UnopenedWarnings();
  client.on('unopened', (_, message) => unopened.add(message));
  try {
    const printer = new Printer(options);
    await client.subscribe(filter, (message) => printer.print(message));
    note(coloursOf(process.stderr).dim('subscribed'));
    const error = await Promise.race([printer.done, closedEarly(client)]);
    if (error !== null) throw error;
    await printer.finish();
    unopened.sumUp();
  } finally {
    await client.close(GOODBYE);
  }
}

async function closedEarly(client: BrokerClient): Promise<Error> {
  return (await client.closed) ?? new JspError('ERR_JSP_CLOSED', 'the broker has closed the connection');
}

/** Tells of messages that could not be opened: once for each reason and dictionary, and how many there were. */
class UnopenedWarnings {
  private count = 0;
  private readonly told = new Set<string>();

  add({ topic, reason, dictionary }: UnopenedMessage): void {
    this.count++;
    const why =
      reason === 'dictionary'
        ? `it was compressed with the dictionary ${dictionary}: pass --dict with its file`
        : reason === 'tooLarge'
          ? 'it would be too large'
          : 'its publisher compressed it wrongly';
    if (this.told.has(why) || this.told.size >= TOLD_MAX) return;
    this.told.add(why);
    warn(`a message to ${printable(topic)} is left out: ${why}`);
  }

  sumUp(): void {
    if (this.count > 1) note(`${this.count} messages were left out`);
  }
}

/** Prints messages until there were enough of them, a signal says so, or nobody reads them any more. */
class Printer {
  /** Null when all is well. */
  readonly done: Promise<Error | null>;
  private readonly writer = new LineWriter(process.stdout);
  private readonly options: SubOptions;
  private left: number;
  private resolveDone: (error: Error | null) => void = () => {};

  constructor(options: SubOptions) {
    this.options = options;
    this.left = options.count ?? Number.POSITIVE_INFINITY;
    this.done = new Promise((resolve) => {
      this.resolveDone = resolve;
    });
    onStopSignal(() => this.end(null));
    process.stdout.on('error', (error: NodeJS.ErrnoException) =>
      this.end(error.code === 'EPIPE' ? null : error),
    );
  }

  print(message: Message): Promise<void> | null {
    if (this.left === 0) return null;
    this.left--;
    const { topic, payload } = message;
    const pause = this.options.raw
      ? this.writer.write(payload)
      : this.writer.writeLine(messageLine(topic, payload, this.options));
    if (this.left === 0) this.resolveDone(null);
    return pause;
  }

  /** Resolves when everything is printed, or cannot be any more. */
  async finish(): Promise<void> {
    if (process.stdout.writable) await this.writer.finish();
  }

  private end(error: Error | null): void {
    this.left = 0;
    this.resolveDone(error);
  }
}

/** How `jsp sub` shows a message. */
export interface MessageFormat {
  topics?: boolean;
  json?: boolean;
}

/** A message as a line, without the newline behind it: one message stays one line, and sends no commands to the terminal. */
export function messageLine(topic: string, payload: Buffer, format: MessageFormat): Uint8Array {
  if (format.json) return Buffer.from(printableJson(JSON.stringify(jsonMessage(topic, payload))));
  // Most payloads have nothing to escape, and stay as they are.
  const text = mayBeUnprintable(payload) ? escapedBytes(payload) : payload;
  return format.topics ? Buffer.concat([Buffer.from(`${printable(topic)}\t`), text]) : text;
}

/** Text as `payload`; bytes that are no UTF-8 as `base64`, so that nothing is lost. */
function jsonMessage(topic: string, payload: Buffer): object {
  if (isUtf8(payload)) return { topic, payload: payload.toString() };
  return { topic, base64: payload.toString('base64') };
}

function escapedBytes(payload: Buffer): Buffer {
  const text = payload.toString();
  const shown = printable(text);
  return shown === text ? payload : Buffer.from(shown);
}

/** Warnings; further ones would hide the messages. */
const TOLD_MAX = 16;

const HELP = `
"subscribed" on stderr says that what is published from then on comes. Control characters in a message are printed
as \\n, \\r or \\x1b, so that it stays on its line; --json and --raw keep every byte. With --count it ends after so many
messages with exit code 0, else at SIGINT, SIGTERM or SIGHUP. What was published compressed is opened; where that takes a
dictionary that is not given, or cannot be done, a warning says so, and the message is left out.

Examples:
  $ jsp sub 'sensors/+/temperature'
  $ jsp sub '#' --topics
  $ jsp sub backup --raw --count 1 > backup.tar
  $ jsp sub 'sensors/#' --dict readings.dict
`;
