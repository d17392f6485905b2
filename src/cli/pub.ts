import { fstatSync } from 'node:fs';
import type { Readable } from 'node:stream';
import type { Command } from 'commander';
import { JspError } from '../base/errors.ts';
import { type BrokerClient, connectClient, type PublishOptions } from '../client/index.ts';
import { ProgressWatch } from '../client/publishing.ts';
import { DELIVERY_CLASS_NAMES } from '../pubsub/properties.ts';
import { assertTopic } from '../pubsub/topic.ts';
import type { ProfileName } from '../transport/profiles.ts';
import {
  assertUtf8,
  collect,
  collectHeader,
  duration,
  findServerUrl,
  findServerUrls,
  oneOfWords,
  PAYLOAD_BYTES_MAX,
  profileOption,
  profileOrHeartbeats,
  qos,
  seconds,
} from './arguments.ts';
import { tellConnection } from './connection-notes.ts';
import { accessOf, type BrokerAccess, credentialsOf, withBrokerAccess } from './credentials.ts';
import { compressionWith } from './dict.ts';
import { connectEarly } from './early-client.ts';
import { LineSplitter, LineWriter } from './lines.ts';
import { messageLine } from './message-lines.ts';
import { qlogOption } from './qlog-option.ts';
import { Receipts } from './receipts.ts';
import { CommandError, note, onStopSignal, outliveReader } from './terminal.ts';

interface PubOptions extends BrokerAccess {
  profile?: ProfileName;
  lines?: boolean;
  qos?: 0 | 1;
  retain?: boolean;
  /** In ms. */
  ttl?: number;
  key?: string;
  header: Record<string, string>;
  contentType?: string;
  class?: PublishOptions['class'];
  id?: string;
  request?: boolean;
  json?: boolean;
  compress?: boolean;
  deflate?: boolean;
  /** Files. */
  dict: string[];
  /** In seconds. */
  timeout?: number;
  reconnect: boolean;
  early?: boolean;
}

export function addPubCommand(program: Command): void {
  const command = program
    .command('pub')
    .description('publish a message, or what comes on stdin')
    .argument('<topic>', 'such as sensors/kitchen/temperature')
    .argument('[message]', 'its text; without it, all of stdin is the message');
  withBrokerAccess(command)
    .addOption(profileOption())
    .option('--lines', 'publish each line of stdin as a message, as it comes')
    .option('--qos <0|1>', '1: the broker stores it, and says so; resent until it does', qos)
    .option(
      '--retain',
      'the last value of its topic: who subscribes later gets it, too; an empty message removes it',
    )
    .option('--ttl <time>', 'after which nobody is to get it any more, such as 500ms or 1h', duration)
    .option('--header <name=value>', 'for whoever gets it; may be given several times', collectHeader, {})
    .option('--key <key>', 'by which shared groups keep messages in order')
    .option('--content-type <type>', 'what the payload is')
    .option(
      '--class <class>',
      `how it is delivered: ${DELIVERY_CLASS_NAMES.join(', ')}`,
      oneOfWords(DELIVERY_CLASS_NAMES),
    )
    .option('--id <id>', 'with QoS 1: the broker stores one message with an id once, within its window')
    .option('--request', 'wait for an answer to each message, and print it')
    .option('--json', 'print what became of each message with QoS 1, or its answer, as a JSON object')
    .option('--compress', 'compress what becomes smaller by it, for subscribers that open it')
    .option('--deflate', 'the same by DEFLATE: smaller than by LZ4, in some five times the time')
    .option('--dict <file>', 'compress with this dictionary; may be given several times', collect, [])
    .option(
      '--timeout <seconds>',
      `give up when the broker takes nothing for so long (default ${TIMEOUT_SECONDS}), or an answer does not come (default ${ANSWER_SECONDS})`,
      seconds,
    )
    .option('--no-reconnect', 'end when the connection does')
    .option('--early', 'with the first datagram, where the last such command was given a ticket')
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(publish);
}

/** One message, in whatever way was asked for. Resolves when the next may follow. */
type Send = (payload: Uint8Array | string) => Promise<void> | null;

async function publish(topic: string, message: string | undefined, options: PubOptions): Promise<void> {
  if (message !== undefined && options.lines) {
    throw new CommandError('ERR_JSP_USAGE', '--lines takes the messages from stdin: leave the message out');
  }
  assertTogether(options);
  if (options.early) assertEarly(message, options);
  assertUtf8(topic, 'the topic');
  if (message !== undefined) assertUtf8(message, 'the message');
  assertTopic(topic);
  const access = accessOf(options);
  const transport = profileOrHeartbeats(options.profile);
  const compression =
    options.compress === true || options.deflate === true || options.dict.length > 0
      ? ({ ...compressionWith(options.dict), method: options.deflate === true ? 'deflate' : 'lz4' } as const)
      : undefined;
  const early = options.early
    ? await connectEarly(findServerUrl(options.url, '--early'), transport, { compression })
    : null;
  const client =
    early?.client ??
    (await connectClient(findServerUrls(options.url), {
      ...access,
      ...transport,
      reconnect: options.reconnect,
      compression,
    }));
  tellConnection(client);
  let denied = 0;
  client.on('notice', ({ about, value }) => {
    if (about === 'notAuthorized') denied += value;
  });
  const watch = watchForStall(client, (options.timeout ?? TIMEOUT_SECONDS) * 1_000);
  try {
    await Promise.race([publishAll(client, topic, message, options), watch.stuck]);
    // What it was not allowed to publish with QoS 0 the broker has told by then.
    if (access.credentials !== undefined) await client.ping();
    await early?.ticketKept();
  } catch (error) {
    client.destroy();
    throw error;
  } finally {
    watch.stop();
  }
  await client.close();
  if (denied > 0 && options.qos !== 1) {
    throw new JspError(
      'ERR_JSP_NOT_AUTHORIZED',
      `not all was published: this client may not publish to ${topic}`,
    );
  }
}

function assertTogether({ qos, id, json, request, retain }: PubOptions): void {
  if (id !== undefined && qos !== 1) throw new CommandError('ERR_JSP_USAGE', '--id goes with --qos 1');
  if (json && qos !== 1 && !request) {
    throw new CommandError(
      'ERR_JSP_USAGE',
      '--json tells what was stored, or answered: it goes with --qos 1 or --request',
    );
  }
  if (request && retain) {
    throw new CommandError(
      'ERR_JSP_USAGE',
      '--retain keeps a value, and --request asks for one: leave one of them out',
    );
  }
}

/** What goes with the first datagram is one message, of which nothing comes back, by nobody in particular. */
function assertEarly(message: string | undefined, options: PubOptions): void {
  const { qos, request } = options;
  if (message !== undefined && qos !== 1 && !request && credentialsOf(options) === undefined) return;
  throw new CommandError(
    'ERR_JSP_USAGE',
    '--early publishes the message that is its argument, with QoS 0 and without credentials: leave --early out, or the others',
  );
}

async function publishAll(
  client: BrokerClient,
  topic: string,
  message: string | undefined,
  options: PubOptions,
): Promise<void> {
  const writer = new LineWriter(process.stdout);
  // Answers are what a request is for; receipts only tell of what is published all the same.
  const assertTold = options.request === true ? null : outliveReader();
  const receipts = new Receipts(topic, options.json === true ? writer : null);
  const send = sender(client, topic, options, receipts, writer);
  try {
    if (message !== undefined) await send(message);
    else await publishInput(client, topic, options.lines === true, send);
  } finally {
    // Also what came before a fault of the input.
    await receipts.settled();
    if (options.qos !== 1) await client.flush();
    await writer.finish();
  }
  receipts.sumUp();
  assertTold?.();
}

function sender(
  client: BrokerClient,
  topic: string,
  options: PubOptions,
  receipts: Receipts,
  writer: LineWriter,
): Send {
  const { header, retain, ttl, key, contentType, id } = options;
  const properties: PublishOptions = {
    retain,
    ttlMs: ttl,
    key,
    contentType,
    headers: Object.keys(header).length === 0 ? undefined : header,
    class: options.class,
    messageId: id,
  };
  if (options.request) {
    const { retain: _, ...asked } = properties;
    const timeoutMs = (options.timeout ?? ANSWER_SECONDS) * 1_000;
    return async (payload) => {
      const answer = await client.request(topic, payload, { ...asked, qos: options.qos, timeoutMs });
      await writer.writeLine(messageLine(answer, options));
    };
  }
  if (options.qos === 1) {
    return (payload) => receipts.add(client.publish(topic, payload, { ...properties, qos: 1 }));
  }
  const isPlain = Object.values(properties).every((value) => value === undefined);
  const given = isPlain ? undefined : properties;
  return (payload) => (client.publish(topic, payload, given) ? null : client.drained());
}

async function publishInput(client: BrokerClient, topic: string, lines: boolean, send: Send): Promise<void> {
  const { stdin } = process;
  // Node reads a folder as if it were empty.
  if (isFolder(stdin.fd))
    throw new CommandError('ERR_JSP_FILE', 'stdin is a directory, which cannot be read');
  if (stdin.isTTY) note('reading from the terminal; end with Ctrl-D');
  // A lost connection is not noticed by who waits for input.
  client.once('close', (error) => stdin.destroy(error ?? undefined));
  if (lines) return publishLines(stdin, send);
  const input = await wholeInput(stdin);
  if (input.length > 0) await send(input);
  else note(`stdin was empty, so nothing is published; for an empty message: jsp pub ${topic} ''`);
}

/** Until the input ends, or a signal says that it is enough: then what was read is still delivered, but for a line that is not complete. */
async function publishLines(input: Readable, send: Send): Promise<void> {
  const splitter = new LineSplitter(PAYLOAD_BYTES_MAX);
  let lines: Uint8Array[] = [];
  const keep = (line: Uint8Array): void => void lines.push(line);
  let stopped = false;
  const forget = onStopSignal(() => {
    stopped = true;
    input.destroy();
  });
  const sendAll = async (): Promise<void> => {
    const due = lines;
    lines = [];
    for (const line of due) {
      const pause = send(line);
      if (pause !== null) await pause;
    }
  };
  try {
    for await (const chunk of input) {
      try {
        splitter.push(chunk, keep);
      } finally {
        await sendAll(); // also what came before a line that is too long
      }
    }
    splitter.end(keep);
    await sendAll();
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
const ANSWER_SECONDS = 5;

const HELP = `
Ends with exit code 0 when the broker has everything. A line is what stands before a newline, which is not part of the message, nor is the
carriage return of a CRLF. An empty stdin publishes nothing.
SIGINT, SIGTERM and SIGHUP end --lines as the end of stdin does, but for a line that is not complete; a second one ends it at once.
With --lines stdin may be endless; it is read as fast as the subscribers take it. A subscriber that does not read at all stops it until the
broker gives that subscription up, after 30 s unless the broker was told otherwise.
With --qos 1 the broker stores each message in the log of its topic and says so; what it has not confirmed is sent again after a lost connection, and stored
once. At the end stderr says how many were stored; it ends with exit code 1 when some were refused. QoS 0 is handed on to whoever is subscribed,
and is lost with a connection or a broker. It comes back by itself when the connection is lost, and says so on stderr.
With --early the broker has the message with the first datagram, from the second time on: the command keeps a ticket of the broker's, good for a day and for
one command, in a cache of its user (JSP_CACHE names another folder). Who holds that datagram back can have it delivered up to 10 s late, never
twice. The broker does not say when it does not allow the message, and the command does not come back when the connection is lost.
With --request a message is a question, to whoever answers on its topic, as jsp reply does; that nobody does is told at once.
What is compressed passes the broker unopened. jsp sub opens it, with --dict where a dictionary was used; a program that subscribes needs the
option compression. Compressing tells by a message's length how much of it repeats itself: not for what mixes secrets with text of others.

Examples:
  $ jsp pub greetings 'Hello, world'
  $ jsp pub temperature -- -12.5
  $ jsp pub backup < backup.tar
  $ jsp pub orders/7 '{"item": "coffee"}' --qos 1 --key table-7 --header shop=north
  $ jsp pub settings/theme dark --retain
  $ jsp pub sensors/7/door open --early
  $ jsp pub price/coffee '' --request --timeout 2
  $ tail -f access.log | jsp pub logs/access --lines --compress
  $ tail -f readings.txt | jsp pub sensors/1 --lines --dict readings.dict
`;
