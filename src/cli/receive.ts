import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { type JspError, printable } from '../base/errors.ts';
import { isLoopback } from '../base/ip-address.ts';
import { type FileReceiver, PARTS_FOLDER, type ReceiverEvent, receiveFiles } from '../files/index.ts';
import { FILES_LABEL } from '../files/messages.ts';
import { type Listener, listen } from '../transport/listen.ts';
import type { ProfileName } from '../transport/profiles.ts';
import { DEFAULT_PORT, parseServerUrl } from '../transport/url.ts';
import { byteSize, profileOption, TRANSFER_OPTIONS, wholeNumber } from './arguments.ts';
import { advertised, listeningError } from './listening.ts';
import { qlogOption } from './qlog-option.ts';
import { RefusalAdvice } from './refused-files.ts';
import {
  DEFAULT_STATE_DIRECTORY,
  lockDirectory,
  RECEIVER_STATE,
  StateDirectory,
  URL_FILE,
} from './state-directory.ts';
import { CommandError, note, onStopSignal, print, printJson, warn } from './terminal.ts';
import { bytesText, TransferProgress } from './transfer-progress.ts';

interface ReceiveOptions {
  profile: ProfileName;
  host: string;
  port?: number;
  advertise?: string;
  /** The state directory. */
  state: string;
  once?: boolean;
  overwrite?: boolean;
  rename?: boolean;
  maxBytes?: number;
  maxFiles?: number;
  times?: boolean;
  systemNames?: boolean;
  json?: boolean;
}

export function addReceiveCommand(program: Command): void {
  program
    .command('receive')
    .description('receive files into a folder: its URL, for "jsp send", is the first line on stdout')
    .argument('[dir]', 'the folder, made where there is none', '.')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option(
      '--port <number>',
      `UDP port; default: the one of last time, else ${RECEIVE_PORT}`,
      wholeNumber(0, 65_535),
    )
    .option('--advertise <host[:port]>', 'what the URL names instead: where senders reach it', advertised)
    .option('--state <dir>', 'where its identity and its URL are kept', RECEIVER_STATE)
    .option('--once', 'end after the first transfer that is complete')
    .option('--overwrite', 'replace files that are there with other content')
    .option('--rename', 'keep such files, and store what comes as "name (1).txt"')
    .option('--max-bytes <size>', 'take no more than this in all, such as 500M or 10G', byteSize)
    .option(
      '--max-files <n>',
      'take no more files and folders than this in all',
      wholeNumber(1, 1e9),
      100_000,
    )
    .addOption(profileOption().default(TRANSFER_OPTIONS.profile))
    .option('--times', 'give files the time of last change that they had')
    .option('--system-names', 'also take names that only other systems reserve, such as 12:30.png')
    .option('--json', 'print a line of JSON for each event')
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(receive);
}

async function receive(folder: string, options: ReceiveOptions): Promise<void> {
  if (options.overwrite && options.rename) {
    throw new CommandError('ERR_JSP_USAGE', '--overwrite and --rename exclude each other: choose one');
  }
  const stopped = new Promise<NodeJS.Signals>((resolve) => onStopSignal(resolve));
  const view = options.json ? new JsonView() : new TextView();
  const state = StateDirectory.open(options.state, 'receiver');
  try {
    const { complete, receiver } = await openReceiver(folder, options, state, view);
    const unlock = lockParts(folder);
    const listener = await listening(options, state).catch(async (error: unknown) => {
      await receiver.close();
      throw error;
    });
    listener.on('connection', (connection) => {
      receiver.serve(connection);
      connection.on('stream', ({ label }) => {
        if (label !== FILES_LABEL)
          connection.destroy(NO_FILES, 'this server only receives files: see jsp send');
      });
    });
    state.writeUrl(listener.url);
    if (!isLoopback(listener.host)) {
      warn(`listening on ${listener.host}: anyone who has the URL and can reach it may send files`);
    }
    process.stdout.on('error', () => {}); // who started it does not read any more; the URL is in the state directory
    view.listening(listener.url, folder);
    await Promise.race(options.once ? [stopped, complete] : [stopped]);
    view.clear();
    unlock();
    await receiver.close();
    await listener.close({ timeoutMs: GOODBYE_MS });
  } finally {
    state.close();
  }
}

/** The receiver, and a promise of its first complete transfer. */
async function openReceiver(
  folder: string,
  options: ReceiveOptions,
  state: StateDirectory,
  view: View,
): Promise<{ receiver: FileReceiver; complete: Promise<void> }> {
  let resolveComplete: () => void = () => {};
  const complete = new Promise<void>((resolve) => {
    resolveComplete = resolve;
  });
  const receiver = await receiveFiles(folder, {
    onExisting: options.overwrite ? 'overwrite' : options.rename ? 'rename' : 'refuse',
    bytesMax: options.maxBytes,
    filesMax: options.maxFiles,
    keepTimes: options.times === true,
    names: options.systemNames ? 'system' : 'portable',
    protect: [state.path, DEFAULT_STATE_DIRECTORY],
    onEvent: (event) => {
      view.show(event);
      if (event.type === 'over' && event.complete) resolveComplete();
    },
  });
  return { receiver, complete };
}

/** Two receivers would write into one part. */
function lockParts(folder: string): () => void {
  try {
    return lockDirectory(join(folder, PARTS_FOLDER), 'receiver');
  } catch (error) {
    throw new CommandError(
      'ERR_JSP_STATE_DIRECTORY',
      `another receiver writes into ${folder}: stop that one, or choose another folder`,
      { cause: error },
    );
  }
}

/** Listens where it did the last time, so that its URL stays the same; elsewhere only if nobody has named a port and that one is taken. */
async function listening(options: ReceiveOptions, state: StateDirectory): Promise<Listener> {
  const { host, port, advertise } = options;
  const wanted = port ?? lastPort(state) ?? RECEIVE_PORT;
  const listenOn = (number: number) =>
    listen({
      ...TRANSFER_OPTIONS,
      profile: options.profile,
      connectionsMax: CONNECTIONS_MAX,
      identity: state.identity,
      host,
      port: number,
      advertise,
    });
  try {
    return await listenOn(wanted);
  } catch (error) {
    const cause = (error as JspError).cause as NodeJS.ErrnoException | undefined;
    if (port !== undefined || cause?.code !== 'EADDRINUSE') throw listeningError(error);
    note(`port ${wanted} is taken, so the system chooses another`);
    return listenOn(0);
  }
}

function lastPort(state: StateDirectory): number | null {
  try {
    return parseServerUrl(readFileSync(join(state.path, URL_FILE), 'utf8').trim()).port;
  } catch {
    return null;
  }
}

interface View {
  listening(url: string, folder: string): void;
  show(event: ReceiverEvent): void;
  clear(): void;
}

/** For people: the URL and each file that is there on stdout, all else on stderr. */
class TextView implements View {
  private readonly line = new TransferProgress(process.stderr);
  private readonly advice = new RefusalAdvice('receiver');

  listening(url: string, folder: string): void {
    print(url);
    note(`receiving into ${folder}; to send: jsp send FILE... --to ${url}`);
  }

  show(event: ReceiverEvent): void {
    switch (event.type) {
      case 'begin':
        if (event.resumedAt > 0)
          this.say(`${printable(event.file.path)} goes on at ${bytesText(event.resumedAt)}`);
        return;
      case 'progress':
        return this.line.show({
          what: printable(event.file.path),
          bytes: event.bytes,
          bytesTotal: event.size,
        });
      case 'done':
        if (event.file.kind === 'folder') return;
        this.line.clear();
        print(printable(event.file.path));
        return;
      case 'refused': {
        this.say(`refused ${printable(event.file.path)}: ${printable(event.reason)}`);
        const advice = this.advice.about(event.refusal);
        if (advice !== null) this.say(`  ${advice}`);
        return;
      }
      case 'over':
        if (!event.complete) this.say('a transfer broke off; what has arrived of it is kept');
    }
  }

  clear(): void {
    this.line.clear();
  }

  private say(text: string): void {
    this.line.clear();
    note(text);
  }
}

/** For machines, on stdout. */
class JsonView implements View {
  private shownAt = 0;

  listening(url: string, folder: string): void {
    printJson({ event: 'listening', url, folder });
  }

  show({ type: event, ...rest }: ReceiverEvent): void {
    const now = performance.now();
    if (event === 'progress' && now - this.shownAt < JSON_MS) return;
    if (event === 'progress') this.shownAt = now;
    printJson({ event, ...rest });
  }

  clear(): void {}
}

/** Beside that of a broker. */
const RECEIVE_PORT = DEFAULT_PORT + 1;
const JSON_MS = 100;
const GOODBYE_MS = 1_000;
/** Code with which it closes connections that are for something else. */
const NO_FILES = 1;
const CONNECTIONS_MAX = 256;

const HELP = `
The URL is the same the next time it runs from the same state directory; in the folder where it was started, "jsp send" finds it by itself.
Whoever has the URL may send files, and can do no more than that: nothing is written outside the folder, through links, under names that mean
something to a system, or over files that are there. Each file is verified (SHA-256) and on the disk before its sender hears that it has
arrived. What broke off is kept in .jsp-parts for a week, and goes on where it was.

Examples:
  $ jsp receive
  $ jsp receive inbox --host 0.0.0.0 --max-bytes 20G
  $ jsp receive inbox --once --rename
`;
