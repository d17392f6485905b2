import { type ChildProcess, spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { type Command, Option } from 'commander';
import { printable } from '../base/errors.ts';
import { connectClient, type Message, type RespondOptions } from '../client/index.ts';
import { assertFilter } from '../pubsub/topic.ts';
import type { ProfileName } from '../transport/profiles.ts';
import {
  assertUtf8,
  findServerUrls,
  GOODBYE,
  MESSAGE_BYTES_MAX,
  PAYLOAD_BYTES_MAX,
  profileOption,
  profileOrHeartbeats,
  timeLimit,
  wholeNumber,
} from './arguments.ts';
import { tellConnection } from './connection-notes.ts';
import { accessOf, type BrokerAccess, withBrokerAccess } from './credentials.ts';
import { qlogOption } from './qlog-option.ts';
import { CommandError, coloursOf, note, onStopSignal, warn } from './terminal.ts';

interface ReplyOptions extends BrokerAccess {
  profile?: ProfileName;
  echo?: boolean;
  text?: string;
  contentType?: string;
  group?: string;
  count?: number;
  jobs: number;
  /** In ms. */
  timeout: number;
}

export function addReplyCommand(program: Command): void {
  const command = program
    .command('reply')
    .description('answer requests: with what a command prints, with a text, or with what they say')
    .argument('<filter>', 'of the topics that requests come to')
    .argument(
      '[command...]',
      'behind --: run for each request, which is its stdin; what it prints is the answer',
    );
  withBrokerAccess(command)
    .addOption(profileOption())
    .option('--echo', 'answer with the request')
    .option('--text <text>', 'answer with this text')
    .option('--content-type <type>', 'what the answers are')
    .option('--group <name>', 'share the requests with all who answer in this group')
    .option('--count <n>', 'end after so many requests', wholeNumber(1, Number.MAX_SAFE_INTEGER))
    .option('--jobs <n>', 'commands that run at the same time', wholeNumber(1, 1_024), availableParallelism())
    .addOption(
      new Option('--timeout <time>', 'end a command that runs longer, and answer with an error')
        .argParser(timeLimit)
        .default(30_000, '30s'),
    )
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(reply);
}

/** What a request is answered with. */
interface Answer extends RespondOptions {
  readonly payload: Buffer | string;
}

async function reply(filter: string, command: readonly string[], options: ReplyOptions): Promise<void> {
  const ways = [options.echo, options.text !== undefined, command.length > 0].filter(Boolean);
  if (ways.length !== 1) {
    throw new CommandError('ERR_JSP_USAGE', 'an answer is one of these: a command, --echo, or --text');
  }
  assertUtf8(filter, 'the filter');
  assertFilter(filter);
  const client = await connectClient(findServerUrls(options.url), {
    ...accessOf(options),
    messageBytesMax: MESSAGE_BYTES_MAX,
    ...profileOrHeartbeats(options.profile),
  });
  tellConnection(client);
  const service = new Service(command, options);
  const forget = onStopSignal(() => service.stop());
  try {
    const shared = options.group === undefined ? filter : `$share/${options.group}/${filter}`;
    const subscription = await client.subscribe(shared, (message) => service.take(message));
    note(coloursOf(process.stderr).dim('answering'));
    const error = await Promise.race([service.done, subscription.closed, client.closed]);
    if (error !== null) throw error;
    await client.flush();
  } finally {
    forget();
    await client.close(GOODBYE);
  }
}

/** Answers requests, some at the same time. */
class Service {
  /** Resolves when there were enough, and all are answered. */
  readonly done: Promise<null>;
  private readonly command: readonly string[];
  private readonly options: ReplyOptions;
  private left: number;
  private running = 0;
  private onSlot: () => void = () => {};
  private resolveDone: (value: null) => void = () => {};

  constructor(command: readonly string[], options: ReplyOptions) {
    this.command = command;
    this.options = options;
    this.left = options.count ?? Number.POSITIVE_INFINITY;
    this.done = new Promise((resolve) => {
      this.resolveDone = resolve;
    });
  }

  /** @returns what resolves when there is room for another */
  take(message: Message): Promise<void> | null {
    if (this.left === 0) return null;
    if (message.replyTo === undefined) {
      warn(`a message to ${printable(message.topic)} asks for no answer`);
      return null;
    }
    this.left--;
    this.running++;
    void this.answer(message).then(() => {
      this.running--;
      this.onSlot();
      if (this.left === 0 && this.running === 0) this.resolveDone(null);
    });
    if (this.running < this.options.jobs) return null;
    return new Promise((resolve) => {
      this.onSlot = resolve;
    });
  }

  /** What has begun is still answered. */
  stop(): void {
    this.left = 0;
    if (this.running === 0) this.resolveDone(null);
  }

  private async answer(message: Message): Promise<void> {
    const { echo, text, contentType } = this.options;
    const { payload, ...more }: Answer = echo
      ? { payload: message.payload, contentType: contentType ?? message.contentType }
      : text !== undefined
        ? { payload: text }
        : await outputOf(this.command, message, this.options.timeout);
    try {
      message.respond(payload, { contentType, ...more });
    } catch (error) {
      warn(
        `a request to ${printable(message.topic)} is not answered: ${printable((error as Error).message)}`,
      );
    }
  }
}

/**
 * Runs the command, with the request on its stdin and what is known of it in its environment. When its time is over, or its output too large, all that it has
 * started ends with it: a shell's commands would go on, and keep its output open.
 */
function outputOf(command: readonly string[], message: Message, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    let child: ChildProcess;
    try {
      child = started(command, message);
    } catch (error) {
      resolve(failure(message, (error as Error).message)); // what the request says goes into no environment
      return;
    }
    child.once('error', (error) => resolve(failure(message, error.message)));
    const { stdin, stdout, stderr } = child;
    if (!stdin || !stdout || !stderr) return; // the system has no descriptors left, which follows
    const output: Buffer[] = [];
    let bytes = 0;
    let errors = '';
    const end = (): void => {
      killAll(child);
      stdout.destroy();
      stderr.destroy();
    };
    const timer = setTimeout(end, timeoutMs);
    stdin.on('error', () => {}); // it may end before it has read everything
    stdin.end(message.payload);
    stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes > PAYLOAD_BYTES_MAX) end();
      else output.push(chunk);
    });
    stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString()).slice(-ERRORS_MAX);
    });
    child.once('close', (exitCode, signal) => {
      clearTimeout(timer);
      if (exitCode === 0) {
        if (errors.trim() !== '')
          warn(`the command for a request to ${printable(message.topic)} says: ${printable(errors.trim())}`);
        return resolve({ payload: Buffer.concat(output, bytes) });
      }
      const why =
        bytes > PAYLOAD_BYTES_MAX ? 'its answer is too large' : `it ended with ${exitCode ?? signal}`;
      resolve(failure(message, errors.trim() === '' ? why : `${why}: ${errors.trim()}`));
    });
  });
}

/** @throws what of the request no process can be given, such as a header with a NUL */
function started([program, ...args]: readonly string[], message: Message): ChildProcess {
  const env = { ...process.env, ...environmentOf(message) };
  return spawn(program, args, { env, stdio: ['pipe', 'pipe', 'pipe'], detached: HAS_GROUPS });
}

/** The process and those that it has started. */
function killAll(child: ChildProcess): void {
  try {
    if (HAS_GROUPS && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    else child.kill('SIGKILL');
  } catch {
    // they have ended
  }
}

/** Who asked learns that it failed, with what the command said on stderr; so does whoever looks at this one's. */
function failure({ topic }: Message, why: string): Answer {
  warn(`the command for a request to ${printable(topic)} failed: ${printable(why)}`);
  return { payload: why, status: STATUS_FAILED, contentType: 'text/plain; charset=utf-8' };
}

function environmentOf({ topic, key, contentType, headers }: Message): NodeJS.ProcessEnv {
  const named = Object.entries(headers).map(([name, value]) => [
    `JSP_HEADER_${name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`,
    value,
  ]);
  return { JSP_TOPIC: topic, JSP_KEY: key, JSP_CONTENT_TYPE: contentType, ...Object.fromEntries(named) };
}

/** Of processes, which a signal goes to as one. */
const HAS_GROUPS = process.platform !== 'win32';
/** Of an answer to a request whose command has failed, after HTTP. */
const STATUS_FAILED = 500;
const ERRORS_MAX = 2_048;

const HELP = `
"answering" on stderr says that requests come from then on. A command is run once for each request, without a shell: for one, write sh -c '...'. It has the
request as its stdin, and JSP_TOPIC, JSP_KEY, JSP_CONTENT_TYPE and JSP_HEADER_NAME of each header in its environment. When it fails, the request
fails, with status 500 and what the command said on stderr, which is shown here in any case. Several that answer to the same --group share the requests.
SIGINT, SIGTERM and SIGHUP end it when what has begun is answered.

Examples:
  $ jsp reply time --group clocks -- date
  $ jsp reply 'sum/#' -- sh -c 'sha256sum | cut -c 1-64'
  $ jsp reply echo --echo
  $ jsp pub --request time ''
`;
