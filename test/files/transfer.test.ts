import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type SendProgress, sendFiles } from '../../src/files/index.ts';
import { Refusal } from '../../src/files/messages.ts';
import type { Connection } from '../../src/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { catchUncaught } from '../transport/uncaught.ts';
import { outbox, RawSender, receiving, receivingInto } from './receiving.ts';

const MIB = 1024 * 1024;

describe('files', () => {
  test('arrive with their folders, whole, and nothing else is left over [FIL-1]', async () => {
    const content = randomBytes(3 * MIB + 17);
    const folder = outbox({
      'a/large.bin': content,
      'a/b/c/small.txt': 'small',
      'a/none': '',
      'top.txt': 'top',
    });
    mkdirSync(join(folder, 'a/empty'));
    const { inbox, connect, events } = await receiving();
    const report = await sendFiles(await connect(), [join(folder, 'a'), join(folder, 'top.txt')]);
    expect(report.files.map(({ path, outcome }) => `${path} ${outcome}`).sort()).toEqual([
      'a sent',
      'a/b sent',
      'a/b/c sent',
      'a/b/c/small.txt sent',
      'a/empty sent',
      'a/large.bin sent',
      'a/none sent',
      'top.txt sent',
    ]);
    expect(report.sentBytes).toBe(content.length + 8);
    expect(readFileSync(join(inbox, 'a/large.bin')).equals(content)).toBe(true);
    expect(readFileSync(join(inbox, 'a/b/c/small.txt'), 'utf8')).toBe('small');
    expect(readFileSync(join(inbox, 'a/none'), 'utf8')).toBe('');
    expect(readdirSync(join(inbox, 'a/empty'))).toEqual([]);
    expect(readdirSync(join(inbox, '.jsp-parts'))).toEqual([]);
    // How much there is to come is told before anything does.
    expect(events[0]).toEqual({ type: 'plan', files: 8, bytes: content.length + 8 });
    expect(events.at(-1)).toEqual({ type: 'over', complete: true });
  });
});

test('a sender that hears nothing of its receiver adds nothing to what is under way, and goes on when it does', async () => {
  const folder = outbox({ large: randomBytes(8 * MIB) });
  const { connect } = await receiving();
  const connection = await connect();
  const silent = { ...connection.metrics(), silenceMs: 1_000, bytesInFlight: MIB };
  let looks = 0;
  const waited = new Promise<string>((resolve) => {
    vi.spyOn(connection, 'metrics').mockImplementation(() => {
      if (++looks === 5) resolve('waited');
      return looks < 20 ? silent : { ...silent, silenceMs: 0 };
    });
  });
  const sending = sendFiles(connection, [join(folder, 'large')]);
  expect(await Promise.race([waited, sending])).toBe('waited');
  expect((await sending).files[0].outcome).toBe('sent');
});

describe('what is there', () => {
  test('is not sent again when it is the same, and never overwritten when it is not [FIL-9] [FIL-10]', async () => {
    const folder = outbox({ same: 'same', other: 'other', 'longer.txt': 'longer' });
    const { inbox, connect } = await receiving();
    mkdirSync(inbox, { recursive: true });
    writeFileSync(join(inbox, 'same'), 'same');
    writeFileSync(join(inbox, 'other'), 'OTHER');
    writeFileSync(join(inbox, 'longer.txt'), 'no');
    const paths = ['same', 'other', 'longer.txt'].map((name) => join(folder, name));
    const { files, sentBytes } = await sendFiles(await connect(), paths);
    expect(files.map(({ outcome }) => outcome)).toEqual(['identical', 'refused', 'refused']);
    expect(files[1]).toMatchObject({ refusal: 'exists', reason: 'there is such a file, with other content' });
    expect(files[0].refusal).toBeNull();
    expect(sentBytes).toBe(0);
    expect(readFileSync(join(inbox, 'other'), 'utf8')).toBe('OTHER');
    expect(readFileSync(join(inbox, 'longer.txt'), 'utf8')).toBe('no');
  });

  test('gives way with `overwrite`, but for links and folders', async () => {
    const folder = outbox({ file: 'new', link: 'new', 'folder.txt': 'new' });
    const { inbox, connect } = await receiving({ onExisting: 'overwrite' });
    writeFileSync(join(inbox, 'file'), 'old');
    const outside = outbox({ target: 'untouched' });
    symlinkSync(join(outside, 'target'), join(inbox, 'link'));
    mkdirSync(join(inbox, 'folder.txt'));
    const paths = ['file', 'link', 'folder.txt'].map((name) => join(folder, name));
    const { files } = await sendFiles(await connect(), paths);
    expect(files.map(({ outcome }) => outcome)).toEqual(['sent', 'refused', 'refused']);
    expect(readFileSync(join(inbox, 'file'), 'utf8')).toBe('new');
    expect(readFileSync(join(outside, 'target'), 'utf8')).toBe('untouched');
  });

  test('keeps its name with `rename`, and the sender hears the other', async () => {
    const folder = outbox({ 'a.txt': 'new' });
    const { inbox, connect } = await receiving({ onExisting: 'rename' });
    writeFileSync(join(inbox, 'a.txt'), 'old');
    writeFileSync(join(inbox, 'a (1).txt'), 'older');
    const { files } = await sendFiles(await connect(), [join(folder, 'a.txt')]);
    expect(files[0]).toMatchObject({ outcome: 'sent', storedAs: 'a (2).txt' });
    expect(readFileSync(join(inbox, 'a.txt'), 'utf8')).toBe('old');
    expect(readFileSync(join(inbox, 'a (2).txt'), 'utf8')).toBe('new');
  });

  test('is written through no link, wherever on the way it stands [FIL-8]', async () => {
    const outside = emptyFolder();
    const folder = outbox({ 'docs/deep/a.txt': 'a', 'file/b.txt': 'b' });
    const { inbox, connect } = await receiving();
    symlinkSync(outside, join(inbox, 'docs'));
    writeFileSync(join(inbox, 'file'), 'a file, not a folder');
    const { files } = await sendFiles(await connect(), [join(folder, 'docs'), join(folder, 'file')]);
    expect(new Set(files.map(({ outcome }) => outcome))).toEqual(new Set(['refused']));
    expect(readdirSync(outside)).toEqual([]);
  });

  test('of this program is out of reach, by whatever name', async () => {
    const folder = outbox({ 'config/identity': 'mine now' });
    const inbox = emptyFolder();
    const { connect } = await receivingInto(inbox, { protect: [join(inbox, 'config')] });
    mkdirSync(join(inbox, 'config'), { recursive: true });
    const { connect: again } = await receivingInto(inbox, { protect: [join(inbox, 'config')] });
    const { files } = await sendFiles(await again(), [join(folder, 'config')]);
    expect(files.map(({ outcome }) => outcome)).toEqual(['refused', 'refused']);
    expect(readdirSync(join(inbox, 'config'))).toEqual([]);
    void connect;
  });
});

describe('a transfer that broke off', () => {
  /** What an earlier try has left of a file; null: only where that would be. */
  function partOf(inbox: string, name: string, bytes: Buffer | null): string {
    const part = join(
      inbox,
      '.jsp-parts',
      `${createHash('sha256').update(name).digest('hex').slice(0, 40)}.part`,
    );
    if (bytes !== null) writeFileSync(part, bytes);
    return part;
  }

  test('whose file system knows no hard links and fails at the end leaves its name free', async () => {
    const fails = (code: string) => () => Promise.reject(Object.assign(new Error(code), { code }));
    const link = vi.spyOn(fs, 'link').mockImplementation(fails('EPERM'));
    const rename = vi.spyOn(fs, 'rename').mockImplementationOnce(fails('EIO'));
    syncBuiltinESMExports();
    onTestFinished(() => {
      for (const each of [link, rename]) each.mockRestore();
      syncBuiltinESMExports();
    });
    const { inbox, connect } = await receiving();
    const paths = [join(outbox({ a: 'content' }), 'a')];
    const { files } = await sendFiles(await connect(), paths);
    expect(files[0]).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('EIO') });
    expect(readdirSync(inbox)).toEqual(['.jsp-parts']);
    expect((await sendFiles(await connect(), paths)).files[0]).toMatchObject({ outcome: 'sent' });
    expect(readFileSync(join(inbox, 'a'), 'utf8')).toBe('content');
  });

  test('goes on where it was [FIL-7]', async () => {
    const content = randomBytes(3 * MIB);
    const { inbox, connect } = await receiving();
    partOf(inbox, 'a', content.subarray(0, 2_500_000));
    const { files, sentBytes } = await sendFiles(await connect(), [join(outbox({ a: content }), 'a')]);
    expect(files[0]).toMatchObject({ outcome: 'sent', resumedAt: 2_500_000 });
    expect(sentBytes).toBe(content.length - 2_500_000);
    expect(readFileSync(join(inbox, 'a')).equals(content)).toBe(true);
  });

  test('goes on from the last place at which both files are the same, when the file has changed since', async () => {
    const content = randomBytes(4 * MIB);
    const before = Buffer.from(content.subarray(0, 3 * MIB));
    before[1.5 * MIB] ^= 1;
    const { inbox, connect } = await receiving();
    partOf(inbox, 'a', before);
    const { files } = await sendFiles(await connect(), [join(outbox({ a: content }), 'a')]);
    expect(files[0]).toMatchObject({ outcome: 'sent', resumedAt: 1 * MIB });
    expect(readFileSync(join(inbox, 'a')).equals(content)).toBe(true);
  });

  test.each(['rename', 'overwrite'] as const)(
    'after its file was in its place leaves that alone, also when it changes, with `%s`',
    async (onExisting) => {
      const { inbox, connect } = await receiving({ onExisting });
      const before = randomBytes(2 * MIB);
      writeFileSync(join(inbox, 'a'), before);
      linkSync(join(inbox, 'a'), partOf(inbox, 'a', null)); // killed between the two names
      const opened = openSync(join(inbox, 'a'), 'r');
      const after = randomBytes(MIB);
      const { files } = await sendFiles(await connect(), [join(outbox({ a: after }), 'a')]);
      expect(files[0]).toMatchObject({ outcome: 'sent', resumedAt: 0 });
      const stored = join(inbox, onExisting === 'rename' ? 'a (1)' : 'a');
      expect(readFileSync(stored).equals(after)).toBe(true);
      // As a whole, so that whoever reads the one before goes on reading that.
      expect(readFileSync(opened).equals(before)).toBe(true);
      closeSync(opened);
      expect(readdirSync(join(inbox, '.jsp-parts'))).toEqual([]);
    },
  );

  test.runIf(process.platform === 'linux')('is no pipe that stands in its place', async () => {
    const { inbox, connect } = await receiving();
    execFileSync('mkfifo', [partOf(inbox, 'a', null)]);
    const content = randomBytes(MIB);
    const { files } = await sendFiles(await connect(), [join(outbox({ a: content }), 'a')]);
    expect(files[0]).toMatchObject({ outcome: 'sent' });
    expect(readFileSync(join(inbox, 'a')).equals(content)).toBe(true);
  });

  test.each([
    ['all of it is there', 3 * MIB, 3 * MIB],
    ['more is there than the file has now', 4 * MIB, 3 * MIB],
    ['zeros are there, as after a power cut', -1 * MIB, 0],
  ])('where %s', async (_, bytes, resumedAt) => {
    const content = randomBytes(3 * MIB);
    const longer = Buffer.concat([content, randomBytes(MIB)]);
    const { inbox, connect } = await receiving();
    partOf(inbox, 'a', bytes < 0 ? Buffer.alloc(-bytes) : longer.subarray(0, bytes));
    const { files, sentBytes } = await sendFiles(await connect(), [join(outbox({ a: content }), 'a')]);
    expect(files[0]).toMatchObject({ outcome: 'sent', resumedAt });
    expect(sentBytes).toBe(content.length - resumedAt);
    expect(readFileSync(join(inbox, 'a')).equals(content)).toBe(true);
  });

  test('by a lost connection goes on by itself over the next, and sends little again', async () => {
    const content = randomBytes(8 * MIB);
    const folder = outbox({ a: content, b: 'b' });
    const { inbox, connect } = await receiving();
    let breaks = 0;
    let open: Connection | undefined;
    const waits: unknown[] = [];
    const report = await sendFiles(
      async () => {
        open = await connect();
        return open;
      },
      [join(folder, 'a'), join(folder, 'b')],
      {
        onProgress({ bytesSettled, waitsFor }) {
          if (waitsFor !== null) waits.push(waitsFor);
          if (bytesSettled < (breaks + 1) * 2.5 * MIB || breaks === 2) return;
          breaks++;
          open?.destroy(5, 'test');
        },
      },
    );
    expect([breaks, report.connections]).toEqual([2, 3]);
    expect(waits).toHaveLength(2);
    expect(report.files.map(({ outcome }) => outcome)).toEqual(['sent', 'sent']);
    expect(readFileSync(join(inbox, 'a')).equals(content)).toBe(true);
    expect(report.files[0].resumedAt).toBeGreaterThan(0);
    expect(report.sentBytes).toBeLessThan(content.length + 2 * 1.5 * MIB);
  });

  test('is given up after the stated time, with the last error', async () => {
    const folder = outbox({ a: randomBytes(4 * MIB) });
    const { connect } = await receiving();
    let connections = 0;
    let open: Connection | undefined;
    const sending = sendFiles(
      async () => {
        open = await connect();
        if (++connections > 1) open.destroy(9, 'again');
        return open;
      },
      [join(folder, 'a')],
      { retryMs: 1_500, onProgress: () => open?.destroy(9, 'first') },
    );
    await expect(sending).rejects.toMatchObject({ code: 'ERR_JSP_CLOSED' });
    expect(connections).toBeGreaterThan(2);
  });

  test('is broken off by a signal, and what has arrived is kept', async () => {
    const abort = new AbortController();
    const content = randomBytes(8 * MIB);
    const folder = outbox({ a: content });
    const { inbox, connect } = await receiving();
    const sending = sendFiles(connect, [join(folder, 'a')], {
      signal: abort.signal,
      onProgress: ({ bytesSettled }) => {
        if (bytesSettled > 3 * MIB) abort.abort();
      },
    });
    await expect(sending).rejects.toMatchObject({ code: 'ERR_JSP_ABORTED' });
    expect(existsSync(join(inbox, 'a'))).toBe(false);
    const { files } = await sendFiles(connect, [join(folder, 'a')]);
    expect(files[0].resumedAt).toBeGreaterThan(0);
    expect(readFileSync(join(inbox, 'a')).equals(content)).toBe(true);
  });

  test('by a sender that is silent leaves its name to the next [FIL-12]', async () => {
    const folder = outbox({ a: 'from the second' });
    const { inbox, connect } = await receiving();
    const first = new RawSender(await connect());
    first.offer(0, ['a'], 1_000);
    await first.answer();
    first.begin(0);
    first.data(Buffer.alloc(10));
    const { files } = await sendFiles(await connect(), [join(folder, 'a')]);
    expect(files[0].outcome).toBe('sent');
    expect(await first.answer()).toMatchObject({ type: 'refused', code: Refusal.BUSY });
    expect(readFileSync(join(inbox, 'a'), 'utf8')).toBe('from the second');
  });
});

describe('what a sender finds', () => {
  test('are not the folder that the process is in where a path is empty', async () => {
    const { connect, inbox } = await receiving();
    const sent = sendFiles(await connect(), [join(outbox({ a: 'x' }), 'a'), '']);
    await expect(sent).rejects.toMatchObject({
      code: 'ERR_JSP_FILES',
      message: expect.stringContaining('an empty path'),
    });
    expect(readdirSync(inbox)).toEqual(['.jsp-parts']);
  });

  test('are files and folders; links only when they are followed, and not round for ever', async () => {
    const folder = outbox({ 'a/file': 'x' });
    symlinkSync('file', join(folder, 'a/link'));
    symlinkSync('..', join(folder, 'a/up'));
    const { inbox, connect } = await receiving();
    const plain = await sendFiles(await connect(), [join(folder, 'a')]);
    expect(plain.skipped.map(({ isLink }) => isLink)).toEqual([true, true]);
    expect(readdirSync(join(inbox, 'a'))).toEqual(['file']);
    const followed = await sendFiles(await connect(), [join(folder, 'a')], { followLinks: true });
    expect(followed.files.map(({ path }) => path).sort()).toContain('a/link');
    expect(readFileSync(join(inbox, 'a/link'), 'utf8')).toBe('x');
    expect(followed.skipped).toHaveLength(1);
  });

  test('two of the same name are refused before anything is sent, and so is what is not there', async () => {
    const { connect } = await receiving();
    const folder = outbox({ 'a/x': '1', 'b/x': '2' });
    const connection = await connect();
    await expect(sendFiles(connection, [join(folder, 'a/x'), join(folder, 'b/x')])).rejects.toThrow(
      /both be sent as x/,
    );
    await expect(sendFiles(connection, [join(folder, 'none')])).rejects.toMatchObject({
      code: 'ERR_JSP_FILES',
    });
    await expect(sendFiles(connection, ['/'])).rejects.toThrow(/has no name/);
  });

  test('a file that is gone when its turn comes fails alone', async () => {
    const folder = outbox({ 'a/x': randomBytes(2 * MIB), 'a/y': 'y', 'a/z': 'z' });
    const { inbox, connect } = await receiving();
    const goneMeanwhile = async () => {
      rmSync(join(folder, 'a/y'));
      return connect();
    };
    const { files } = await sendFiles(goneMeanwhile, [join(folder, 'a')]);
    const outcomes = Object.fromEntries(files.map(({ path, outcome }) => [path, outcome]));
    expect(outcomes).toEqual({ a: 'sent', 'a/x': 'sent', 'a/y': 'failed', 'a/z': 'sent' });
    expect(readdirSync(join(inbox, 'a')).sort()).toEqual(['x', 'z']);
  });

  test('a file that changes while it is sent is sent anew, as it is then [FIL-11]', async () => {
    const folder = outbox({ a: Buffer.alloc(6 * MIB, 1) });
    const { inbox, connect } = await receiving();
    let hasChanged = false;
    let last: SendProgress | null = null;
    const { files, ...report } = await sendFiles(await connect(), [join(folder, 'a')], {
      onProgress: (progress) => {
        last = progress;
        if (hasChanged || progress.bytesSettled < MIB) return;
        hasChanged = true;
        truncateSync(join(folder, 'a'), 4 * MIB);
        writeFileSync(join(folder, 'a'), Buffer.alloc(2 * MIB, 2), { flag: 'r+' });
      },
    });
    expect(files[0]).toMatchObject({ outcome: 'sent', size: 4 * MIB });
    expect(last).toMatchObject({
      filesSettled: 1,
      bytes: 4 * MIB,
      bytesSettled: 4 * MIB,
      sentBytes: report.sentBytes,
    });
    const expected = Buffer.concat([Buffer.alloc(2 * MIB, 2), Buffer.alloc(2 * MIB, 1)]);
    expect(readFileSync(join(inbox, 'a')).equals(expected)).toBe(true);
  });

  test.runIf(process.platform !== 'win32')(
    'modes arrive without what others could write or run as somebody else',
    async () => {
      const folder = outbox({ run: 'x', open: 'x', secret: 'x' });
      chmodSync(join(folder, 'run'), 0o4777);
      chmodSync(join(folder, 'open'), 0o666);
      chmodSync(join(folder, 'secret'), 0o400);
      const { inbox, connect } = await receiving();
      await sendFiles(
        await connect(),
        ['run', 'open', 'secret'].map((name) => join(folder, name)),
      );
      const mask = process.umask();
      const modeOf = (name: string) => statSync(join(inbox, name)).mode & 0o7777;
      expect(['run', 'open', 'secret'].map(modeOf)).toEqual([0o755 & ~mask, 0o644 & ~mask, 0o600]);
    },
  );

  test('times are kept only by a receiver that is told to', async () => {
    const folder = outbox({ a: 'x' });
    const then = new Date(2001, 1, 3);
    utimesSync(join(folder, 'a'), then, then);
    const plain = await receiving();
    await sendFiles(await plain.connect(), [join(folder, 'a')]);
    expect(Date.now() - statSync(join(plain.inbox, 'a')).mtimeMs).toBeLessThan(600_000);
    const keeping = await receiving({ keepTimes: true });
    await sendFiles(await keeping.connect(), [join(folder, 'a')]);
    expect(statSync(join(keeping.inbox, 'a')).mtimeMs).toBe(then.getTime());
  });

  test('that are there count for nothing, folders as well, however often they come', async () => {
    const folder = outbox({ 'a/b': 'x' });
    const { connect } = await receiving({ filesMax: 2 });
    for (const outcome of ['sent', 'identical', 'identical', 'identical']) {
      const { files } = await sendFiles(await connect(), [join(folder, 'a')]);
      expect(files.map((file) => file.outcome).sort()).toEqual([outcome, outcome]);
    }
  });

  test('arrive whatever those throw who hear of it, which comes out by itself [CON-30]', async () => {
    const uncaught = catchUncaught();
    const thrown = new Error('of the application');
    const fail = () => {
      throw thrown;
    };
    const folder = outbox({ 'a/b': 'x', 'a/c': 'y' });
    const { inbox, connect } = await receiving({ onEvent: fail });
    const { files } = await sendFiles(await connect(), [join(folder, 'a')], { onProgress: fail });
    expect(files.map(({ outcome }) => outcome)).toEqual(['sent', 'sent', 'sent']);
    expect(readFileSync(join(inbox, 'a/c'), 'utf8')).toBe('y');
    expect(new Set(uncaught)).toEqual(new Set([thrown]));
  });

  test('many small files go in one transfer', async () => {
    const names = Array.from({ length: 300 }, (_, i) => `many/${i % 7}/file ${i}`);
    const folder = outbox(Object.fromEntries(names.map((name) => [name, name])));
    const { inbox, connect } = await receiving();
    const { files } = await sendFiles(await connect(), [join(folder, 'many')]);
    expect(files.filter(({ outcome }) => outcome !== 'sent')).toEqual([]);
    expect(readFileSync(join(inbox, names[299]), 'utf8')).toBe(names[299]);
  });
});
