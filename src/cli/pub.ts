import { fstatSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { JspError } from '../base/errors.ts';
import { type BrokerClient, connectClient } from '../client/broker-client.ts';
import { ProgressWatch } from '../client/publishing.ts';
import { assertTopic } from '../pubsub/topic.ts';
import type { ProfileName } from '../transport/profiles.ts';
import {
  assertUtf8,
  collect,
  findServerUrl,
  PAYLOAD_BYTES_MAX,
  positiveNumber,
  profileOption,
  profileOrHeartbeats,
  qlogOption,
  URL_OPTION_HELP,
} from './arguments.ts';
import { compressionWith } from './dict.ts';
import { LineSplitter } from './lines.ts';
import { CommandError, note, onStopSignal } from './terminal.ts';

interface PubOptions {
  url?: string;
  profile?: ProfileName;
  lines?: boolean;
  compress?: boolean;
  /** Files. */
  dict: string[];
  /** In seconds. */
  timeout: number;
}

export function addPubCommand(program: Command): void {
  program
    .command('pub')
    .description('publish a message, or what comes on stdin')
    .argument('<topic>', 'such as sensors/kitchen/temperature')
    .argument('[message]', 'its text; without it, all of stdin is the message')
    .option('--url <url>', URL_OPTION_HELP)
    .addOption(profileOption())
    .option('--lines', 'publish each line of stdin as a message, as it comes')
    .option('--compress', 'compress what becomes smaller by it, for subscribers that open it')
    .option('--dict <file>', 'compress with this dictionary; may be given several times', collect, [])
    .option(
      '--timeout <seconds>',
      'give up when the broker takes nothing for so long',
      positiveNumber,
      TIMEOUT_SECONDS,
    )
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(publish);
}

async function publish(topic: string, message: string | undefined, options: PubOptions): Promise<void> {
  if (message !== undefined && options.lines) {
    throw new CommandError('ERR_JSP_USAGE', '--lines takes the messages from stdin: leave the message out');
  }
  assertUtf8(topic, 'the topic');
  if (message !== undefined) assertUtf8(message, 'the message');
  assertTopic(topic);
  const client = await connectClient(findServerUrl(options.url), {
    reconnect: false,
    ...profileOrHeartbeats(options.profile),
    compression:
      options.compress === true || options.dict.length > 0 ? compressionWith(options.dict) : undefined,
  });
  const watch = watchForStall(client, options.timeout * 1_000);
  try {
    await Promise.race([publishAll(client, topic, message, options), watch.stuck]);
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    watch.stop();
  }
  await client.close();
}

async function publishAll(
  client: BrokerClient,
  topic: string,
  message: string | undefined,
  options: PubOptions,
): Promise<void> {
  try {
    if (message !== undefined) client.publish(topic, message);
    else await publishInput(client, topic, options.lines === true);
  } finally {
    await client.flush(); // also what came before a fault of the input
  }
}

async function publishInput(client: BrokerClient, topic: string, lines: boolean): Promise<void> {
  const { stdin } = process;
  // Node reads a folder as if it were empty.
  if (isFolder(stdin.fd))
    throw new CommandError('ERR_JSP_FILE', 'stdin is a directory, which cannot be read');
  if (stdin.isTTY) note('reading from the terminal; end with Ctrl-D');
  // A lost connection is not noticed by who waits for input.
  client.once('close', (error) => stdin.destroy(error ?? undefined));
  if (lines) return publishLines(client, topic, stdin);
  const input = await wholeInput(stdin);
  if (input.length > 0) client.publish(topic, input);
  else note(`stdin was empty, so nothing is published; for an empty message: jsp pub ${topic} ''`);
}

/** Until the input ends, or a signal says that it is enough: then what was read is still delivered, but for a line that is not complete. */
async function publishLines(client: BrokerClient, topic: string, input: Readable): Promise<void> {
  const splitter = new LineSplitter(PAYLOAD_BYTES_MAX);
  const send = (line: Uint8Array): void => {
    client.publish(topic, line);
  };
  let stopped = false;
  const forget = onStopSignal(() => {
    stopped = true;
    input.destroy();
  });
  try {
    for await (const chunk of input) {
      splitter.push(chunk, send);
      await client.drained();
    }
    splitter.end(send);
  } catch (error) {
    if (!stopped) throw error;
  } finally {
    forget();
  }
}

async function wholeInput(input: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of input) {
    bytes += chunk.length;
    if (bytes > PAYLOAD_BYTES_MAX) {
      throw new CommandError(
        'ERR_JSP_INPUT_TOO_LARGE',
        `stdin has more than ${PAYLOAD_BYTES_MAX} bytes, too much for one message: use --lines for a message a line, or split it`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}

function isFolder(file: number): boolean {
  try {
    return fstatSync(file).isDirectory();
  } catch {
    return false; // it is closed
  }
}

/**
 * Says what a client waits for when nothing that it publishes has got on for a while. Rejects with `ERR_JSP_CLOSE_INCOMPLETE` when nothing has for
 * `limitMs`; otherwise `stuck` stays as it is, until `stop`.
 */
function watchForStall(client: BrokerClient, limitMs: number): { stuck: Promise<never>; stop: () => void } {
  let told = false;
  let reject: (error: Error) => void = () => {};
  const stuck = new Promise<never>((_, rejects) => {
    reject = rejects;
  });
  stuck.catch(() => {}); // whoever waits hears of it
  const watch = new ProgressWatch(client, Math.min(LOOK_MS, limitMs / 4), (stillMs) => {
    if (stillMs === 0) told = false;
    else if (stillMs >= limitMs) {
      watch.stop();
      const text = `gave up after ${limitMs / 1_000} s without progress: ${waitsFor(client.unconfirmed)}`;
      reject(new JspError('ERR_JSP_CLOSE_INCOMPLETE', text));
    } else if (!told && stillMs >= TELL_MS) {
      told = true;
      note(`waiting: ${waitsFor(client.unconfirmed)}`);
    }
  });
  return { stuck, stop: () => watch.stop() };
}

function waitsFor(messages: number): string {
  const which = messages === 1 ? '1 message' : `${messages} messages`;
  return `the broker has not taken ${which}; a subscriber whose queue is full does not read, or the broker is out of reach`;
}

const LOOK_MS = 250;
const TELL_MS = 2_000;
/** Longer than a broker waits for a subscriber that does not read, by default. */
const TIMEOUT_SECONDS = 60;

const HELP = `
Ends with exit code 0 when the broker has everything. A line is what stands before a newline, which is not part of the message, nor is the
carriage return of a CRLF. An empty stdin publishes nothing.
SIGINT, SIGTERM and SIGHUP end --lines as the end of stdin does, but for a line that is not complete; a second one ends it at once.
With --lines stdin may be endless; it is read as fast as the subscribers take it. A subscriber that does not read at all stops it until the
broker gives that subscription up, after 30 s unless the broker was told otherwise.
What is compressed passes the broker unopened. jsp sub opens it, with --dict where a dictionary was used; a program that subscribes needs the
option compression. Compressing tells by a message's length how much of it repeats itself: not for what mixes secrets with text of others.

Examples:
  $ jsp pub greetings 'Hello, world'
  $ jsp pub temperature -- -12.5
  $ jsp pub backup < backup.tar
  $ tail -f access.log | jsp pub logs/access --lines --compress
  $ tail -f readings.txt | jsp pub sensors/1 --lines --dict readings.dict
`;
