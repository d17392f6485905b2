import type { Command } from 'commander';
import { JspError, printable } from '../base/errors.ts';
import {
  type BrokerClient,
  connectClient,
  type Message,
  type StartPosition,
  type SubscribeOptions,
  type UnopenedMessage,
} from '../client/index.ts';
import { assertFilter } from '../pubsub/topic.ts';
import type { ProfileName } from '../transport/profiles.ts';
import {
  assertUtf8,
  collect,
  duration,
  findServerUrls,
  GOODBYE,
  MESSAGE_BYTES_MAX,
  oneOfWords,
  positiveNumber,
  profileOption,
  profileOrHeartbeats,
  qos,
  startPosition,
  wholeNumber,
} from './arguments.ts';
import { tellConnection, tellGaps } from './connection-notes.ts';
import { accessOf, type BrokerAccess, withBrokerAccess } from './credentials.ts';
import { compressionWith } from './dict.ts';
import { LineWriter } from './lines.ts';
import { type MessageFormat, messageLine } from './message-lines.ts';
import { qlogOption } from './qlog-option.ts';
import { Settling, settleFrom } from './settling.ts';
import { CommandError, coloursOf, note, onStopSignal, warn } from './terminal.ts';

interface SubOptions extends MessageFormat, BrokerAccess {
  profile?: ProfileName;
  count?: number;
  raw?: boolean;
  /** Files. */
  dict: string[];
  qos?: 0 | 1;
  durable?: string;
  from?: StartPosition;
  ack?: 'auto' | 'manual';
  maxUnacked?: number;
  /** In ms. */
  ackWait?: number;
  maxDeliveries?: number;
  deadLetter?: string;
  /** In ms. */
  expiry?: number;
  maxRate?: number;
  retained: boolean;
  reconnect: boolean;
}

export function addSubCommand(program: Command): void {
  const command = program
    .command('sub')
    .description('print the messages whose topics match a filter, one line each')
    .argument('<filter>', 'a topic, with + for any one level and # at the end for any number of them');
  withBrokerAccess(command)
    .addOption(profileOption())
    .option('--count <n>', 'end after so many messages', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--topics', 'print the topic and a tab before each message')
    .option(
      '--json',
      'print a JSON object a message: topic, payload (base64 of what is not UTF-8), and what else it has',
    )
    .option('--raw', 'print the bytes of the messages and nothing else')
    .option('--qos <0|1>', '1: from the log, again until acknowledged; implied by what follows', qos)
    .option('--durable <name>', 'the broker keeps under this name where it is, also while nobody subscribes')
    .option(
      '--from <where>',
      'new, earliest, last, last-per-topic, an offset, a time, or how long ago (default new; a durable one goes on where it was)',
      startPosition,
    )
    .option(
      '--ack <how>',
      'auto: when a message is printed; manual: as lines on stdin say',
      oneOfWords(['auto', 'manual'] as const),
    )
    .option(
      '--max-unacked <n>',
      'most messages that are delivered and not acknowledged',
      wholeNumber(1, 65_535),
    )
    .option('--ack-wait <time>', 'after which a message comes again, such as 30s', duration)
    .option('--max-deliveries <n>', 'of a message', wholeNumber(1, 65_535))
    .option('--dead-letter <topic>', 'where messages go that were delivered so often, or terminated')
    .option(
      '--expiry <time>',
      'how long the broker keeps a durable one that nobody subscribes to, such as 7d',
      duration,
    )
    .option(
      '--max-rate <n>',
      'most messages a second of a topic; of those between them only the last',
      positiveNumber,
    )
    .option('--no-retained', 'leave out what topics had as their last value before')
    .option('--no-reconnect', 'end when the connection does')
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
  assertFilter(filter);
  const subscribing = subscribeOptions(options);
  const client = await connectClient(findServerUrls(options.url), {
    ...accessOf(options),
    messageBytesMax: MESSAGE_BYTES_MAX,
    compression: compressionWith(options.dict),
    reconnect: options.reconnect,
    ...profileOrHeartbeats(options.profile),
  });
  const unopened = new UnopenedWarnings();
  client.on('unopened', (_, message) => unopened.add(message));
  tellConnection(client);
  try {
    const printer = new Printer(options, subscribing.qos === 1);
    const subscription = await client.subscribe(filter, (message) => printer.print(message), subscribing);
    tellGaps(subscription);
    note(coloursOf(process.stderr).dim('subscribed'));
    const error = await Promise.race([printer.done, subscription.closed, endOf(client)]);
    if (error !== null) throw error;
    await printer.finish();
    unopened.sumUp();
    subscription.close();
  } finally {
    await client.close(GOODBYE);
  }
}

/** All that goes with QoS 1 alone implies it. */
function subscribeOptions(options: SubOptions): SubscribeOptions {
  const { durable, from, ack, maxUnacked, ackWait, maxDeliveries, deadLetter, expiry, count } = options;
  const ofQos1 = { durable, from, ackWaitMs: ackWait, maxDeliveries, deadLetter, expiryMs: expiry };
  const asked = [ack, maxUnacked, ...Object.values(ofQos1)].some((value) => value !== undefined);
  if (asked && options.qos === 0) {
    throw new CommandError(
      'ERR_JSP_USAGE',
      '--qos 0 has no log, and no acknowledgements: leave it out, or the options of QoS 1',
    );
  }
  const always: SubscribeOptions = {
    maxRate: options.maxRate,
    retained: options.retained ? undefined : 'none',
  };
  if (!asked && options.qos !== 1) return always;
  // Acknowledged is what was printed, not what was about to be. No more is asked for than will be.
  const window = maxUnacked ?? (count === undefined ? undefined : Math.min(count, UNACKED_MAX));
  return { ...always, ...ofQos1, qos: 1, ack: 'manual', maxUnacked: window };
}

async function endOf(client: BrokerClient): Promise<Error> {
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
  private readonly settles: boolean;
  /** Where stdin says what is settled. */
  private readonly settling: Settling | null;
  private left: number;
  private resolveDone: (error: Error | null) => void = () => {};

  /** @param settles - messages are acknowledged */
  constructor(options: SubOptions, settles: boolean) {
    this.options = options;
    this.settles = settles;
    this.settling = options.ack === 'manual' ? new Settling() : null;
    this.left = options.count ?? Number.POSITIVE_INFINITY;
    this.done = new Promise((resolve) => {
      this.resolveDone = resolve;
    });
    onStopSignal(() => this.end(null));
    process.stdout.on('error', (error: NodeJS.ErrnoException) =>
      this.end(error.code === 'EPIPE' ? null : error),
    );
    if (this.settling !== null) this.settleByLines(this.settling);
  }

  print(message: Message): Promise<void> | null {
    if (this.left === 0) return null;
    this.left--;
    const pause = this.options.raw
      ? this.writer.write(message.payload)
      : this.writer.writeLine(messageLine(message, this.options));
    if (this.settling !== null) this.settling.add(message);
    else if (this.settles) this.writer.mark(() => message.ack());
    if (this.left === 0 && this.settling === null) this.resolveDone(null);
    return pause;
  }

  /** Resolves when everything is printed, or nobody reads it any more. Rejects where it cannot be, as on a full disk: also for the last message, with which it was over. */
  async finish(): Promise<void> {
    const { writer } = this;
    if (process.stdout.writable) await writer.finish();
    if (writer.failure !== null && writer.failure.code !== 'EPIPE') throw writer.failure;
  }

  /** Without more messages to come it is over when all are settled. */
  private settleByLines(settling: Settling): void {
    if (process.stdin.isTTY) note('after each message: y or Enter when it is done, n to have it again');
    settling.onSettled = () => {
      if (this.left === 0 && settling.unsettled === 0) this.resolveDone(null);
    };
    settleFrom(process.stdin, settling).then(
      () => this.end(null),
      (error: Error) => this.end(error),
    );
  }

  private end(error: Error | null): void {
    this.left = 0;
    this.resolveDone(error);
  }
}

/** Warnings; further ones would hide the messages. */
const TOLD_MAX = 16;

/** Of a client, by default. */
const UNACKED_MAX = 1_000;

const HELP = `
"subscribed" on stderr says that what is published from then on comes. Control characters in a message are printed
as \\n, \\r or \\x1b, so that it stays on its line; --json and --raw keep every byte. With --count it ends after so many
messages with exit code 0, else at SIGINT, SIGTERM or SIGHUP. What was published compressed is opened; where that takes a
dictionary that is not given, or cannot be done, a warning says so, and the message is left out.

When the connection is lost, or the broker starts anew, it says so on stderr, comes back by itself, and says what it has missed.
With QoS 1 that is nothing the log still has: messages come from the broker's log, and again until they are acknowledged, which they are when they are
printed. A --durable one goes on where it was, whoever subscribed with that name last; of two at the same time the later one has it.
With --ack manual they are acknowledged by lines on stdin, in any order: the offset of one, or nothing for the oldest; "nack OFFSET 10s why" has it come again;
"terminate OFFSET why" has it never come again (it goes to --dead-letter); "progress OFFSET" asks for more time; "all OFFSET" is it and those before
it. When stdin ends so does jsp sub, and what was not acknowledged comes to the next.
Filters $share/GROUP/FILTER share messages among all who subscribe with that group: each message goes to one of them.

Examples:
  $ jsp sub 'sensors/+/temperature'
  $ jsp sub '#' --topics
  $ jsp sub backup --raw --count 1 > backup.tar
  $ jsp sub 'sensors/#' --dict readings.dict
  $ jsp sub 'orders/#' --durable billing --json | ./bill
  $ jsp sub 'orders/#' --from 2h --json
  $ jsp sub '$share/workers/jobs' --ack manual --max-deliveries 5 --dead-letter jobs/dead
`;
