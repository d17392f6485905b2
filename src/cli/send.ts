import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import type { Command } from 'commander';
import { JspError, printable } from '../base/errors.ts';
import { type SendProgress, type SendReport, type SentFile, sendFiles } from '../files/index.ts';
import { connect } from '../transport/connect.ts';
import type { ProfileName } from '../transport/profiles.ts';
import { checkedUrl, profileOption, TRANSFER_OPTIONS, wholeNumber } from './arguments.ts';
import { knownServers } from './known-servers.ts';
import { qlogOption } from './qlog-option.ts';
import { RefusalAdvice } from './refused-files.ts';
import { RECEIVER_STATE, URL_FILE } from './state-directory.ts';
import { CommandError, note, onStopSignal, outliveReader, print, printJson } from './terminal.ts';
import { bytesText, durationText, TransferProgress } from './transfer-progress.ts';

interface SendOptions {
  profile: ProfileName;
  to?: string;
  follow?: boolean;
  /** In seconds. */
  retry: number;
  json?: boolean;
}

export function addSendCommand(program: Command): void {
  program
    .command('send')
    .description('send files and folders to where "jsp receive" runs; what breaks off goes on where it was')
    .argument('<file...>', 'files and folders')
    .option('--to <url>', `the URL that "jsp receive" prints (else that in ${RECEIVER_STATE}/${URL_FILE})`)
    .addOption(profileOption().default(TRANSFER_OPTIONS.profile))
    .option('--follow', 'follow symbolic links, which are left out otherwise')
    .option(
      '--retry <seconds>',
      'how long to try again when the connection breaks and nothing gets on',
      wholeNumber(0, 1_000_000),
      60,
    )
    .option('--json', 'print a line of JSON now and then, and one at the end')
    .addOption(qlogOption())
    .addHelpText('after', HELP)
    .action(send);
}

async function send(paths: string[], options: SendOptions): Promise<void> {
  const misplaced = paths.find((path) => path.startsWith('jsp://'));
  if (misplaced !== undefined) {
    throw new CommandError('ERR_JSP_USAGE', `${misplaced} is no file: say where to send with --to URL`);
  }
  const url = receiverUrl(options.to);
  const stop = new AbortController();
  const forget = onStopSignal(() => stop.abort());
  const view = options.json ? new JsonView() : new TextView();
  const assertTold = outliveReader();
  const begun = performance.now();
  try {
    const report = await sendFiles(
      () =>
        connect(url, {
          ...TRANSFER_OPTIONS,
          profile: options.profile,
          signal: stop.signal,
          tokens: knownServers(),
        }),
      paths,
      {
        followLinks: options.follow === true,
        retryMs: options.retry * 1_000,
        signal: stop.signal,
        onProgress: (progress) => view.progress(progress),
      },
    );
    view.end(report, (performance.now() - begun) / 1_000);
    assertAllSent(report);
    assertTold();
  } catch (error) {
    view.clear();
    if (!stop.signal.aborted) throw error;
    throw new JspError('ERR_JSP_ABORTED', 'stopped; what has arrived is kept: send the same again to go on', {
      cause: error,
    });
  } finally {
    forget();
  }
}

/** Something that somebody asked for has not arrived; links are left out by intent. */
function assertAllSent(report: SendReport): void {
  const { files, skipped } = report;
  const missing = missingOf(report);
  if (missing === 0) return;
  const total = files.length + skipped.length;
  throw new JspError(
    'ERR_JSP_FILES',
    `${missing} of ${total} files and folders were not sent; the lines above say why`,
  );
}

function missingOf({ files, skipped }: SendReport): number {
  return files.filter(isMissing).length + skipped.filter(({ isLink }) => !isLink).length;
}

function isMissing({ outcome }: SentFile): boolean {
  return outcome !== 'sent' && outcome !== 'identical';
}

/** For people: progress on stderr, a line for what is not sent, and a summary. */
class TextView {
  private readonly line = new TransferProgress(process.stderr);
  private saidWaiting: Error | null = null;

  progress(progress: SendProgress): void {
    const { waitsFor } = progress;
    if (waitsFor !== null && this.saidWaiting === null) {
      this.line.clear();
      note(`the connection broke, trying again: ${waitsFor.message}`);
    }
    this.saidWaiting = waitsFor;
    const { entries, bytesSettled, bytes } = progress;
    this.line.show({
      what: printable(entries.at(0)?.path ?? 'sending'),
      bytes: bytesSettled,
      bytesTotal: bytes,
    });
  }

  clear(): void {
    this.line.clear();
  }

  end(report: SendReport, seconds: number): void {
    this.line.clear();
    const { files, skipped, bytes, sentBytes, connections } = report;
    for (const { source, reason } of skipped) note(`left out ${printable(source)}: ${printable(reason)}`);
    const advice = new RefusalAdvice('sender');
    for (const file of files.filter(isMissing)) {
      note(`not sent ${printable(file.path)}: ${printable(file.reason)}`);
      const todo = file.refusal === null ? null : advice.about(file.refusal);
      if (todo !== null) note(`  ${todo}`);
    }
    for (const { path, storedAs } of files) {
      if (storedAs !== '') note(`${printable(path)} is stored as ${printable(storedAs)}`);
    }
    const sent = files.filter(({ outcome }) => outcome === 'sent');
    const same = files.filter(({ outcome, kind }) => outcome === 'identical' && kind === 'file').length;
    const parts = [
      `sent ${filesText(sent.filter(({ kind }) => kind === 'file').length)}, ${bytesText(sentBytes)} in ${secondsText(seconds)}`,
      seconds > 0 && sentBytes > 0 ? `${bytesText(Math.round(sentBytes / seconds))}/s` : '',
      same > 0 ? `${filesText(same)} ${same === 1 ? 'was' : 'were'} there already` : '',
      connections > 1 ? `${connections} connections` : '',
      sentBytes > bytes ? `${(100 * (sentBytes / bytes - 1)).toFixed(2)} % of it again` : '',
    ];
    print(parts.filter((part) => part !== '').join('; '));
  }
}

function filesText(files: number): string {
  return files === 1 ? '1 file' : `${files} files`;
}

function secondsText(seconds: number): string {
  return seconds < 60 ? `${seconds.toFixed(1)} s` : durationText(seconds);
}

/** For machines, on stdout. */
class JsonView {
  private shownAt = 0;

  progress(progress: SendProgress): void {
    const now = performance.now();
    if (now - this.shownAt < JSON_MS) return;
    this.shownAt = now;
    const { files, filesSettled, bytes, bytesSettled, sentBytes, waitsFor } = progress;
    printJson({
      event: 'progress',
      files,
      filesSettled,
      bytes,
      bytesSettled,
      sentBytes,
      waitsFor: waitsFor?.message ?? null,
    });
  }

  clear(): void {}

  end(report: SendReport, seconds: number): void {
    const { files, skipped, bytes, sentBytes, connections } = report;
    const sentShare = bytes === 0 ? 0 : sentBytes / bytes;
    const ok = missingOf(report) === 0;
    printJson({ event: 'end', ok, bytes, sentBytes, sentShare, seconds, connections, files, skipped });
  }
}

/** Where to send to: the option, or the receiver that was started in this folder. */
function receiverUrl(option: string | undefined): string {
  if (option !== undefined) return checkedUrl(option, '--to');
  const path = join(RECEIVER_STATE, URL_FILE);
  let url: string;
  try {
    url = readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new CommandError(
      'ERR_JSP_URL_MISSING',
      `nowhere to send to: pass --to with the URL that "jsp receive" prints, or run this where ${path} is`,
      { cause: error },
    );
  }
  return checkedUrl(url, path);
}

const JSON_MS = 100;

const HELP = `
A folder goes with all that is in it. What the receiver has already is not sent again: neither files that are the same, nor the part of one that
broke off, after this program or that one was killed, too; both sides compare hashes first. Nothing is overwritten unless the receiver was
told to. Ends with exit code 0 when everything is there, on the receiver's disk, with the right SHA-256.

Examples:
  $ jsp send photos notes.txt --to jsp://...@192.0.2.7:4578
  $ jsp send backup.tar --to "$URL" --retry 3600
  $ jsp send data --json | jq 'select(.event == "end").sentShare'
`;
