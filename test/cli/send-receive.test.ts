import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { outbox } from '../files/receiving.ts';
import { ownPort } from '../own-port.ts';
import { Jsp, type JspOptions, jsp, MAIN } from './jsp.ts';
import { Relay } from './relay.ts';

/** A receiver that can be sent to. */
async function receiver(args: readonly string[] = [], options: JspOptions = {}) {
  const cwd = options.cwd ?? emptyFolder();
  const process = new Jsp(['receive', 'inbox', '--port', '0', ...args], { ...options, cwd });
  await process.until(({ out }) => out.includes('\n'));
  return { process, cwd, inbox: join(cwd, 'inbox'), url: process.out.split('\n')[0] };
}

/** The URL of a receiver behind a relay. */
function via(relay: Relay, url: string): string {
  const there = new URL(url);
  there.port = String(relay.port);
  return there.href.replace(/\/$/, '');
}

/** What `--json` printed, line by line. */
function events(out: string): Record<string, unknown>[] {
  return out
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

const MIB = 1024 * 1024;

describe('jsp send and jsp receive', () => {
  test('move folders and files; the receiver prints its URL, how to send, and what is there', async () => {
    const { process, inbox, url } = await receiver();
    const folder = outbox({ 'photos/a.jpg': randomBytes(100_000), 'photos/none': '', 'notes.txt': 'notes' });
    mkdirSync(join(folder, 'photos/empty'));
    const sent = await jsp(['send', join(folder, 'photos'), join(folder, 'notes.txt'), '--to', url]);
    expect([sent.exitCode, sent.err]).toEqual([0, '']);
    expect(sent.out).toMatch(/^sent 3 files, 100\.0 kB in [\d.]+ s; [\d.]+ [kMG]?B\/s\n$/);
    expect(readFileSync(join(inbox, 'photos/a.jpg')).equals(readFileSync(join(folder, 'photos/a.jpg')))).toBe(
      true,
    );
    expect(readdirSync(join(inbox, 'photos')).sort()).toEqual(['a.jpg', 'empty', 'none']);
    expect(process.err).toContain(`jsp send FILE... --to ${url}`);
    await process.until(({ out }) => out.split('\n').length === 5);
    expect(process.out.split('\n').slice(1, -1).sort()).toEqual(['notes.txt', 'photos/a.jpg', 'photos/none']);
    process.process.kill('SIGTERM');
    expect((await process.ended).exitCode).toBe(0);
    expect(readdirSync(inbox).sort()).toEqual(['notes.txt', 'photos']);
  });

  test('find each other in one folder, and a receiver that is started anew has the same URL', async () => {
    const cwd = emptyFolder();
    writeFileSync(join(cwd, 'a.txt'), 'a');
    const first = await receiver(['--port', `${await ownPort()}`], { cwd });
    expect((await jsp(['send', 'a.txt'], { cwd })).exitCode).toBe(0);
    first.process.process.kill('SIGKILL');
    await first.process.ended;
    const again = new Jsp(['receive', 'inbox', '--once'], { cwd });
    await again.until(({ out }) => out.includes('\n'));
    expect(again.out).toBe(`${first.url}\n`);
    const sent = await jsp(['send', 'a.txt'], { cwd });
    expect(sent.out).toContain('1 file was there already');
    expect((await again.ended).exitCode).toBe(0); // --once
  });

  test('say what was not sent and why, on a line each, once what to do about it, and fail', async () => {
    const { inbox, url, process } = await receiver();
    const folder = outbox({ 'x/same': 'same', 'x/other': 'other', 'x/aux.txt': '1', 'x/clear\x1b[2J': '2' });
    symlinkSync('same', join(folder, 'x/link'));
    mkdirSync(join(inbox, 'x'));
    writeFileSync(join(inbox, 'x/other'), 'OTHER');
    const sent = await jsp(['send', join(folder, 'x'), '--to', url]);
    expect(sent.exitCode).toBe(1);
    expect(sent.err.split('\n').sort()).toEqual([
      '',
      expect.stringMatching(/^ {2}rename it, or have the receiver take it with --system-names/),
      expect.stringMatching(/^ {2}rename it, or start "jsp receive" with --overwrite/),
      expect.stringMatching(/^jsp: 3 of 6 files and folders were not sent; .* \(ERR_JSP_FILES\)$/),
      expect.stringMatching(/^left out .*x\/link: it is a link$/),
      'not sent x/aux.txt: some systems have a device of that name',
      'not sent x/clear\\x1b[2J: it has characters that are not to be seen',
      'not sent x/other: there is such a file, with other content',
    ]);
    expect(readFileSync(join(inbox, 'x/other'), 'utf8')).toBe('OTHER');
    await process.until(({ err }) => err.includes('refused x/clear\\x1b[2J'));
    await process.until(({ err }) =>
      err.includes('  --overwrite replaces what is there, --rename keeps both\n'),
    );
    expect(process.err.match(/--system-names/g)).toHaveLength(1);
    expect(process.err).not.toContain('\x1b');
  });

  test.each([
    ['--overwrite', 'new', ['a.txt']],
    ['--rename', 'old', ['a (1).txt', 'a.txt']],
  ])('with %s at the receiver files that are there are dealt with', async (option, content, names) => {
    const { inbox, url } = await receiver([option]);
    writeFileSync(join(inbox, 'a.txt'), 'old');
    expect((await jsp(['send', join(outbox({ 'a.txt': 'new' }), 'a.txt'), '--to', url])).exitCode).toBe(0);
    expect(readFileSync(join(inbox, 'a.txt'), 'utf8')).toBe(content);
    expect(
      readdirSync(inbox)
        .filter((name) => !name.startsWith('.'))
        .sort(),
    ).toEqual(names);
  });

  test('with --max-bytes no more is taken, and --json says all of it in lines', async () => {
    const { process, url } = await receiver(['--max-bytes', '1k', '--json']);
    expect(JSON.parse(url)).toMatchObject({ event: 'listening', folder: 'inbox' });
    const to = JSON.parse(url).url as string;
    const folder = outbox({ small: 'x'.repeat(600), large: 'y'.repeat(600) });
    const sent = await jsp(['send', join(folder, 'small'), join(folder, 'large'), '--to', to, '--json']);
    expect(sent.exitCode).toBe(1);
    const end = events(sent.out).at(-1) as { files: { outcome: string; reason: string }[] };
    expect(end).toMatchObject({ event: 'end', ok: false, bytes: 1_200, sentBytes: 600, connections: 1 });
    expect(end.files.map(({ outcome }) => outcome).sort()).toEqual(['refused', 'sent']);
    await process.until(({ out }) => out.includes('"over"'));
    expect(events(process.out).map(({ event }) => event)).toEqual(
      expect.arrayContaining(['listening', 'plan', 'begin', 'progress', 'done', 'refused', 'over']),
    );
  });

  test.runIf(process.platform === 'linux')(
    'are not all right, in JSON either, when something was no file',
    async () => {
      const { url } = await receiver([]);
      const folder = outbox({ 'a/small': 'x' });
      execFileSync('mkfifo', [join(folder, 'a/pipe')]);
      const sent = await jsp(['send', join(folder, 'a'), '--to', url, '--json']);
      expect(sent.exitCode).toBe(1);
      expect(events(sent.out).at(-1)).toMatchObject({ event: 'end', ok: false });
    },
  );

  test('tell who comes for something else, who would wait for ever', async () => {
    const { url } = await receiver();
    const { err, exitCode } = await jsp(['pub', 'topic', 'hello', '--url', url]);
    expect(exitCode).toBe(1);
    expect(err).toContain('this server only receives files: see jsp send');
  });

  test('say which folder is in the way', async () => {
    const cwd = emptyFolder();
    mkdirSync(join(cwd, 'inbox'));
    writeFileSync(join(cwd, 'inbox', '.jsp-parts'), '');
    const { err } = await jsp(['receive', 'inbox', '--port', '0'], { cwd });
    expect(err).toMatch(/cannot receive into inbox: \.jsp-parts in it: it is no folder \(ERR_JSP_FILES\)/);
  });

  test('refuse what makes no sense, with a word of what to do', async () => {
    const cwd = emptyFolder();
    expect((await jsp(['send', 'x'], { cwd })).err).toMatch(
      /nowhere to send to: .*--to.*\(ERR_JSP_URL_MISSING\)/,
    );
    expect((await jsp(['send', 'jsp://a@b:1', 'x'], { cwd })).err).toMatch(/jsp:.* is no file: .*--to URL/);
    const nothing = await jsp(['send', 'x', '--to', `jsp://${'A'.repeat(43)}@127.0.0.1:9`], { cwd });
    expect(nothing.err).toMatch(/cannot send x: .*ENOENT.*\(ERR_JSP_FILES\)/);
    expect((await jsp(['receive', '--overwrite', '--rename'], { cwd })).exitCode).toBe(2);
    expect((await jsp(['receive', '--max-bytes', 'much'], { cwd })).err).toContain('500M or 10G');
    const { url } = await receiver([], { cwd });
    expect((await jsp(['receive', 'elsewhere'], { cwd })).err).toMatch(/in use by another receiver/);
    expect(url).toMatch(/^jsp:/);
    const other = await jsp(['receive', 'inbox', '--state', 'other', '--port', '0'], { cwd });
    expect(other.err).toMatch(/another receiver writes into inbox: .* \(ERR_JSP_STATE_DIRECTORY\)/);
  });

  test('a sender cannot write into the state directory, whatever the folder', async () => {
    const cwd = emptyFolder();
    const receiving = new Jsp(['receive', '.', '--port', '0', '--state', 'secrets'], { cwd });
    await receiving.until(({ out }) => out.includes('\n'));
    const folder = outbox({ 'secrets/identity': 'mine', 'secrets/new': 'x' });
    const sent = await jsp(['send', join(folder, 'secrets'), '--to', receiving.out.split('\n')[0]]);
    expect(sent.exitCode).toBe(1);
    expect(readFileSync(join(cwd, 'secrets/identity'), 'utf8')).not.toBe('mine');
    expect(existsSync(join(cwd, 'secrets/new'))).toBe(false);
  });
});

describe('a transfer', () => {
  test('that fills the disk is refused with that word, and the receiver lives on', async () => {
    const cwd = emptyFolder();
    // A limit on the size of files stands for a full disk: the system refuses the write in the same way.
    const shell = `trap '' XFSZ; ulimit -f 2048; exec ${process.execPath} ${MAIN} receive inbox --port 0`;
    const full = spawn('bash', ['-c', shell], { cwd, stdio: ['ignore', 'pipe', 'ignore'] });
    onTestFinished(() => void full.kill('SIGKILL'));
    const [url] = (await once(full.stdout, 'data')).toString().split('\n');
    const folder = outbox({ large: randomBytes(5 * MIB), small: 'small' });
    const sent = await jsp(['send', join(folder, 'large'), join(folder, 'small'), '--to', url]);
    expect(sent.exitCode).toBe(1);
    expect(sent.err).toContain('not sent large: the disk is full\n');
    expect(readFileSync(join(cwd, 'inbox/small'), 'utf8')).toBe('small');
    expect(existsSync(join(cwd, 'inbox/large'))).toBe(false);
  });

  test('comes to its end although nobody reads what is told of it any more', async () => {
    const content = randomBytes(16 * MIB);
    const { inbox, url } = await receiver();
    const relay = await Relay.open(Number(new URL(url).port));
    const file = join(outbox({ 'large.bin': content }), 'large.bin');
    const sender = new Jsp(['send', file, '--to', via(relay, url), '--json']);
    await relay.pass(MIB);
    await sender.until(({ out }) => out.includes('\n'));
    sender.process.stdout?.destroy();
    await Promise.race([sender.ended, relay.pass(12 * MIB)]); // time for it to tell more
    relay.open();
    expect((await sender.ended).exitCode).toBe(0);
    expect(readFileSync(join(inbox, 'large.bin')).equals(content)).toBe(true);
  });

  test('goes on when the receiver is killed twice and the sender once, and little is sent again', async () => {
    const content = randomBytes(16 * MIB);
    const file = join(outbox({ 'large.bin': content }), 'large.bin');
    const first = await receiver(['--port', `${await ownPort()}`]);
    const relay = await Relay.open(Number(new URL(first.url).port));
    const to = via(relay, first.url);
    const restart = async () => {
      const next = new Jsp(['receive', 'inbox'], { cwd: first.cwd });
      await next.until(({ out }) => out.includes('\n'));
      expect(next.out).toBe(`${first.url}\n`);
      return next;
    };
    const kill = async (process: Jsp) => {
      process.process.kill('SIGKILL');
      await process.ended;
    };

    const sender = new Jsp(['send', file, '--to', to, '--json']);
    await relay.pass(4 * MIB);
    await kill(first.process);
    const second = await restart();
    await relay.pass(4 * MIB);
    await kill(second);
    const third = await restart();
    await relay.pass(4 * MIB);
    await kill(sender);
    relay.open();
    const sent = await jsp(['send', file, '--to', to, '--json']);

    expect(sent.exitCode).toBe(0);
    const end = events(sent.out).at(-1) as { sentBytes: number; files: { resumedAt: number }[] };
    expect(end.files[0].resumedAt).toBeGreaterThan(8 * MIB);
    expect(end.sentBytes).toBe(content.length - end.files[0].resumedAt);
    expect(readFileSync(join(first.inbox, 'large.bin')).equals(content)).toBe(true);
    expect(readdirSync(join(first.inbox, '.jsp-parts'))).toEqual(['lock']);
    // All that passed, headers and handshakes included: at most what was under way at each of three breaks went again.
    expect(relay.bytes).toBeLessThan(content.length * 1.05 + 3 * 1.5 * MIB);
    await kill(third);
  });
});
