import { createHash, randomBytes } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { StatsFs } from 'node:fs';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { receiveFiles, sendFiles } from '../../src/files/index.ts';
import {
  abortMessage,
  checkMessage,
  FILES_LABEL,
  goMessage,
  planMessage,
  Refusal,
  readSenderMessage,
} from '../../src/files/messages.ts';
import type { Connection, Stream } from '../../src/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { join as connectTo, serve } from '../transport/served.ts';
import { outbox, RawSender, receiving } from './receiving.ts';

const MIB = 1024 * 1024;

function sha(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

describe('a hostile sender', () => {
  test.each([
    [['..', 'x']],
    [['a', '..', '..', 'x']],
    [['/etc/cron.d/x']],
    [['C:\\x']],
    [['\\\\server\\x']],
    [['CON']],
    [['aux.txt']],
    [['x.']],
    [['x:y']],
    [['\x1b[2J']],
    [['a\u202eb']],
    [['a\nb']],
    [['']],
    [[]],
    [['.jsp', 'identity']],
    [['.jsp-parts', 'x']],
    [[Uint8Array.from([0xff, 0xfe])]],
    [['x'.repeat(255), 'y'.repeat(255), ...Array(60).fill('z'.repeat(255))]],
  ])('writes nothing under the name %j', async (path) => {
    const { inbox, connect, events } = await receiving();
    const sender = new RawSender(await connect());
    sender.offer(0, path, 4);
    sender.offer(1, path, 0, 'folder');
    sender.offer(2, ['harmless'], 0);
    for (const id of [0, 1])
      expect(await sender.answer()).toMatchObject({ type: 'refused', id, code: Refusal.NAME });
    expect(await sender.answer()).toMatchObject({ type: 'go', id: 2 });
    expect(readdirSync(inbox)).toEqual(['.jsp-parts']);
    expect(readdirSync(join(inbox, '..'))).toEqual(['inbox']);
    expect(events.filter(({ type }) => type === 'refused')).toHaveLength(2);
  });

  test.each([
    ['large files that it sends at once', 4 * MIB],
    ['small files', 400 * 1024],
  ])('cannot fill the disk to its end by %s', async (_, size) => {
    const room = 64 * MIB + 2.5 * size;
    const asked = vi.spyOn(fs, 'statfs').mockResolvedValue({ bavail: room / 512, bsize: 512 } as StatsFs);
    syncBuiltinESMExports();
    onTestFinished(() => {
      asked.mockRestore();
      syncBuiltinESMExports();
    });
    const { connect } = await receiving();
    const sender = new RawSender(await connect());
    for (const id of [0, 1]) {
      sender.offer(id, [`${id}`], size);
      expect(await sender.answer()).toMatchObject({ type: 'go', id });
    }
    sender.offer(2, ['2'], size);
    expect(await sender.answer()).toMatchObject({ type: 'refused', id: 2, code: Refusal.NO_SPACE });
    sender.offer(3, ['3'], size / 4);
    expect(await sender.answer()).toMatchObject({ type: 'go', id: 3 });
  });

  test('cannot have two names that some file systems take for one [FIL-6]', async () => {
    const { connect } = await receiving({ onExisting: 'overwrite' });
    const sender = new RawSender(await connect());
    sender.offer(0, ['Straße', 'A'], 1);
    expect(await sender.answer()).toMatchObject({ type: 'go', id: 0 });
    for (const [id, path] of [
      ['STRASSE', 'a'],
      ['strasse', 'A\u200d'],
      ['Straße', 'A'],
    ].entries()) {
      sender.offer(id + 1, path, 1);
      expect((await sender.answer())?.type).toBe('refused');
    }
  });

  test('gets no file of another length or hash than it said into its place', async () => {
    const { inbox, connect } = await receiving();
    const sender = new RawSender(await connect());
    const content = randomBytes(1_000);
    sender.offer(0, ['short'], 2_000);
    sender.offer(1, ['long'], 500);
    sender.offer(2, ['other'], 1_000);
    for (let i = 0; i < 3; i++) expect(await sender.answer()).toMatchObject({ type: 'go' });
    sender.begin(0);
    sender.data(content);
    sender.end(0, sha(content));
    sender.begin(1);
    sender.data(content);
    sender.data(content);
    sender.end(1, sha(content));
    sender.begin(2);
    sender.data(content);
    sender.end(2, sha(Buffer.from('another')));
    const codes = [await sender.answer(), await sender.answer(), await sender.answer()];
    for (const answer of codes) expect(answer).toMatchObject({ type: 'refused', code: Refusal.MISMATCH });
    expect(readdirSync(inbox)).toEqual(['.jsp-parts']);
    expect(readdirSync(join(inbox, '.jsp-parts'))).toEqual([]); // it is worth nothing for another try
  });

  test('gets no more in than the limits say, tries that broke off included, and files that are refused do not count', async () => {
    const { inbox, connect, events } = await receiving({ bytesMax: 10_000, filesMax: 4 });
    const sender = new RawSender(await connect());
    sender.offer(0, ['a'], 10_001);
    expect(await sender.answer()).toMatchObject({ type: 'refused', code: Refusal.LIMIT });
    sender.offer(1, ['b'], 6_000);
    expect(await sender.answer()).toMatchObject({ type: 'go' });
    sender.begin(1);
    sender.data(randomBytes(5_000));
    await until(() => partBytes(inbox) === 5_000);
    sender.stream.reset(0);
    await until(() => events.some(({ type }) => type === 'over'));
    const second = new RawSender(await connect());
    second.offer(0, ['c'], 5_001);
    expect(await second.answer()).toMatchObject({ type: 'refused', code: Refusal.LIMIT });
    second.offer(1, ['c2'], 5_000);
    expect(await second.answer()).toMatchObject({ type: 'go' });
    second.offer(2, ['d'], 0);
    second.offer(3, ['e'], 0, 'folder');
    second.offer(4, ['f'], 0);
    const answers = [await second.answer(), await second.answer(), await second.answer()];
    expect(answers.map((answer) => answer?.type).sort()).toEqual(['done', 'go', 'refused']);
  });

  test('has nothing kept of it that was refused, but may offer it anew', async () => {
    const { connect } = await receiving({ bytesMax: 100 });
    const sender = new RawSender(await connect());
    sender.offer(0, ['a'], 101);
    expect(await sender.answer()).toMatchObject({ type: 'refused', code: Refusal.LIMIT });
    sender.offer(1, ['a'], 4);
    expect(await sender.answer()).toMatchObject({ type: 'go', id: 1 });
    sender.begin(1);
    sender.data(Buffer.from('fals'));
    sender.end(1, sha(Buffer.from('true')));
    expect(await sender.answer()).toMatchObject({ type: 'refused', code: Refusal.MISMATCH });
    sender.begin(1); // of what is over nothing is on its way
    await expect(sender.answer()).rejects.toMatchObject({ code: 'ERR_JSP_STREAM_RESET' });
  });

  test('has only that counted of what it sent in vain which is kept, and all of that', async () => {
    const { inbox, connect, events } = await receiving({ bytesMax: 10_000 });
    const sender = new RawSender(await connect());
    sender.offer(0, ['false'], 6_000);
    expect(await sender.answer()).toMatchObject({ type: 'go' });
    sender.begin(0);
    sender.data(randomBytes(6_000));
    sender.end(0, sha(Buffer.from('true')));
    expect(await sender.answer()).toMatchObject({ type: 'refused', code: Refusal.MISMATCH });
    sender.offer(1, ['part'], 10_000); // nothing is left of the first
    expect(await sender.answer()).toMatchObject({ type: 'go', id: 1 });
    sender.begin(1);
    sender.data(randomBytes(6_000));
    await until(() => partBytes(inbox) === 6_000);
    sender.stream.reset(0);
    await until(() => events.some(({ type }) => type === 'over'));
    const second = new RawSender(await connect());
    second.offer(0, ['part'], 10_000);
    second.say(abortMessage(0)); // before anybody has looked at the part, which stays
    second.offer(1, ['more'], 5_000);
    expect(await second.answer()).toMatchObject({ type: 'refused', id: 1, code: Refusal.LIMIT });
  });

  test('that gives a file up while it waits for its name leaves no bytes counted', async () => {
    const { connect, events } = await receiving({ bytesMax: 10_000 });
    const first = new RawSender(await connect());
    first.offer(0, ['x'], 4);
    expect(await first.answer()).toMatchObject({ type: 'go' });
    first.begin(0);
    const second = new RawSender(await connect());
    second.offer(0, ['x'], 9_000);
    second.say(planMessage(1, 9_000));
    await until(() => events.some(({ type }) => type === 'plan'));
    second.say(abortMessage(0));
    second.stream.end();
    first.data(Buffer.from('true'));
    first.end(0, sha(Buffer.from('true')));
    expect(await first.answer()).toMatchObject({ type: 'done' });
    await until(() => events.some(({ type }) => type === 'over'));
    first.offer(1, ['y'], 5_000);
    expect(await first.answer()).toMatchObject({ type: 'go', id: 1 });
  });

  test.each([
    ['data that is of no file', (s: RawSender) => s.data(Buffer.alloc(1))],
    ['a file that was not offered', (s: RawSender) => s.begin(3)],
    ['two files at once', (s: RawSender) => [s.begin(0), s.begin(0)]],
    ['the end of what has not begun', (s: RawSender) => s.end(0, Buffer.alloc(32))],
    ['a proof that nobody wants', (s: RawSender) => s.proof(0, [])],
    ['an offer of the same number', (s: RawSender) => s.offer(0, ['y'], 1)],
    [
      'more offers than are answered',
      (s: RawSender) => Array.from({ length: 400 }, (_, i) => s.offer(i + 1, [`${i}`], 1)),
    ],
    ['what is no message', (s: RawSender) => s.say(Buffer.from('hello'))],
    ['nothing', (s: RawSender) => s.say(Buffer.alloc(0))],
    [
      'begins again what it has ended',
      (s: RawSender) => [s.begin(0), s.data(Buffer.from('x')), s.end(0, sha(Buffer.from('x'))), s.begin(0)],
    ],
  ])('that says %s is shown out [FIL-3]', async (_, say) => {
    const { inbox, connect } = await receiving();
    const sender = new RawSender(await connect());
    sender.offer(0, ['x'], 1);
    expect(await sender.answer()).toMatchObject({ type: 'go' });
    say(sender);
    for (;;) {
      const answer = await sender.answer().catch((error: unknown) => error);
      if (!(answer instanceof Error)) continue;
      expect(answer).toMatchObject({ code: 'ERR_JSP_STREAM_RESET', applicationCode: 2 });
      break;
    }
    const folder = outbox({ honest: 'y' });
    const { files } = await sendFiles(await connect(), [join(folder, 'honest')]);
    expect(files[0].outcome).toBe('sent');
    expect(existsSync(join(inbox, 'honest'))).toBe(true);
  });

  test('says what it likes in any order, and the receiver lives on', async () => {
    const { inbox, connect } = await receiving();
    const word = fc.oneof(
      fc.tuple(fc.nat(2), fc.constantFrom('a', 'b', '..'), fc.nat(3)).map(
        ([id, name, size]) =>
          (s: RawSender) =>
            s.offer(id, [name], size),
      ),
      fc.nat(2).map((id) => (s: RawSender) => s.begin(id)),
      fc.uint8Array({ minLength: 1, maxLength: 3 }).map((bytes) => (s: RawSender) => s.data(bytes)),
      fc.tuple(fc.nat(2), fc.nat(3)).map(
        ([id, n]) =>
          (s: RawSender) =>
            s.end(id, sha(Buffer.alloc(n))),
      ),
      fc.nat(2).map((id) => (s: RawSender) => s.proof(id, [{ offset: 1, hash: Buffer.alloc(32) }])),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => (s: RawSender) => s.say(bytes)),
    );
    const connection = await connect();
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 12 }), async (words) => {
        const sender = new RawSender(connection);
        const over = new Promise<void>((resolve) => sender.stream.once('close', resolve));
        for (const say of words) {
          try {
            say(sender);
          } catch {
            break; // it was reset
          }
        }
        sender.stream.end();
        sender.stream.on('message', () => {});
        await over;
      }),
      { numRuns: 60 },
    );
    expect(readdirSync(inbox).filter((name) => !['.jsp-parts', 'a', 'b'].includes(name))).toEqual([]);
    const { files } = await sendFiles(connection, [join(outbox({ honest: 'y' }), 'honest')]);
    expect(files[0].outcome).toBe('sent');
  });

  test('that stalls is ended', async () => {
    const { connect } = await receiving({ stallMs: 50 });
    const connection = await connect();
    const silent = new RawSender(connection);
    silent.offer(0, ['x'], 1);
    await silent.answer();
    await expect(silent.answer()).rejects.toMatchObject({ applicationCode: 4 });
  });

  test('that takes all places with silent transfers leaves one to each that comes from elsewhere [FIL-13]', async () => {
    const { connect } = await receiving();
    const [hostile, honest] = [await connect(), await connect()];
    const silent = Array.from({ length: 64 }, () => new RawSender(hostile));
    for (const sender of silent) sender.offer(0, ['..'], 1);
    for (const sender of silent) expect(await sender.answer()).toMatchObject({ type: 'refused' });
    const ends = silent.map((sender) =>
      sender.answer().then(
        () => null,
        (error) => error.applicationCode,
      ),
    );
    const { files } = await sendFiles(honest, [join(outbox({ file: 'y' }), 'file')]);
    expect(files).toMatchObject([{ outcome: 'sent' }]);
    expect(await Promise.race(ends)).toBe(3);
    // Its own transfers make no room for others of its own.
    const more = new RawSender(hostile);
    more.offer(0, ['..'], 1);
    expect(await more.answer()).toMatchObject({ type: 'refused' }); // that of the honest one is over
    const tooMany = new RawSender(hostile);
    tooMany.offer(0, ['..'], 1);
    await expect(tooMany.answer()).rejects.toMatchObject({ applicationCode: 3 });
  });

  test('from many connections keeps their places as long as it sends, and 30 s more [FIL-13]', async () => {
    const now = vi.spyOn(performance, 'now').mockReturnValue(0);
    onTestFinished(() => now.mockRestore());
    const receiver = await receiveFiles(join(emptyFolder(), 'inbox'));
    onTestFinished(() => receiver.close());
    const codes: (number | null)[] = [];
    const come = (at: number) => {
      now.mockReturnValue(at);
      const connection = new EventEmitter();
      const stream = new SilentStream((code) => {
        codes[number] = code;
      });
      const number = codes.push(null) - 1;
      receiver.serve(connection as never);
      connection.emit('stream', stream);
    };
    for (let i = 0; i < 64; i++) come(i);
    come(30_000 - 1);
    expect(codes).toEqual([...Array(64).fill(null), 3]);
    come(30_001);
    expect(codes).toEqual([4, ...Array(63).fill(null), 3, null]);
  });

  test('finds no way out by links that stand in the folder, whether to a file or to a folder', async () => {
    const outside = outbox({ secret: 'secret' });
    const { inbox, connect } = await receiving({ onExisting: 'overwrite' });
    symlinkSync(outside, join(inbox, 'folder'));
    symlinkSync(join(outside, 'new'), join(inbox, 'dangling'));
    mkdirSync(join(inbox, '.jsp-parts'), { recursive: true });
    const part = createHash('sha256').update('x').digest('hex').slice(0, 40);
    symlinkSync(join(outside, 'secret'), join(inbox, '.jsp-parts', `${part}.part`));
    const sender = new RawSender(await connect());
    sender.offer(0, ['folder', 'secret'], 6);
    sender.offer(1, ['dangling'], 1);
    sender.offer(2, ['x'], 6);
    sender.offer(3, ['folder', 'sub'], 0, 'folder');
    const answers = [
      await sender.answer(),
      await sender.answer(),
      await sender.answer(),
      await sender.answer(),
    ];
    expect(answers.map((answer) => answer?.type)).toEqual(Array(4).fill('refused'));
    expect(readFileSync(join(outside, 'secret'), 'utf8')).toBe('secret');
    expect(readdirSync(outside)).toEqual(['secret']);
  });
});

/** The stream of a transfer from which nothing comes. */
class SilentStream extends EventEmitter {
  readonly label = FILES_LABEL;
  readonly delivery = 'reliable';
  readonly ordered = true;
  private readonly onReset: (code: number) => void;
  private end: (result: IteratorResult<Buffer>) => void = () => {};

  constructor(onReset: (code: number) => void) {
    super();
    this.onReset = onReset;
  }

  [Symbol.asyncIterator](): AsyncIterator<Buffer> {
    return {
      next: () =>
        new Promise((resolve) => {
          this.end = resolve;
        }),
    };
  }

  reset(code: number): void {
    this.onReset(code);
    this.end({ done: true, value: undefined });
  }
}

describe('a hostile receiver', () => {
  /** A receiver that answers what it likes. */
  async function answering(answer: (message: ReturnType<typeof readSenderMessage>, stream: Stream) => void) {
    const data: Buffer[] = [];
    const listener = await serve((connection) =>
      connection.on('stream', (stream) => {
        expect(stream.label).toBe(FILES_LABEL);
        stream.on('error', () => {});
        stream.on('message', (bytes) => {
          const message = readSenderMessage(bytes);
          if (message?.type === 'data') data.push(Buffer.from(message.bytes));
          answer(message, stream);
        });
      }),
    );
    return { data, connection: (await connectTo(listener)) as Connection };
  }

  test.each([
    ['an offset behind the end', (stream: Stream) => stream.send(goMessage(0, 1_000_000))],
    ['an offset in the middle that was not agreed on', (stream: Stream) => stream.send(goMessage(0, 5))],
    ['the same file twice', (stream: Stream) => [stream.send(goMessage(0, 0)), stream.send(goMessage(0, 0))]],
    [
      'for ever what its beginning is',
      (stream: Stream) => Array.from({ length: 5 }, () => stream.send(checkMessage(0, 10, 10))),
    ],
    ['in words that are none', (stream: Stream) => stream.send('?')],
  ])('that asks for %s gets an end [FIL-4]', async (_, ask) => {
    const { connection } = await answering((message, stream) => message?.type === 'offer' && ask(stream));
    const folder = outbox({ a: 'a'.repeat(10) });
    await expect(sendFiles(connection, [join(folder, 'a')])).rejects.toMatchObject({ code: 'ERR_JSP_FILES' });
  });

  test('gets the bytes of what was offered, and of nothing else [FIL-11]', async () => {
    const { connection, data } = await answering((message, stream) => {
      if (message?.type !== 'offer') return;
      for (const id of [7, 4_000_000, 0]) stream.send(goMessage(id, 0));
    });
    const folder = outbox({ a: 'public', b: 'private' });
    const sending = sendFiles(connection, [join(folder, 'a')]);
    sending.catch(() => {});
    await until(() => data.length > 0);
    connection.destroy();
    await expect(sending).rejects.toThrow();
    expect(Buffer.concat(data).toString()).toBe('public');
  });

  test('that is none at all is told apart', async () => {
    const listener = await serve((connection) => connection.on('stream', (stream) => stream.reset(99)));
    const folder = outbox({ a: 'x' });
    await expect(sendFiles(await connectTo(listener), [join(folder, 'a')])).rejects.toThrow(/takes no files/);
  });
});

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 5));
}

/** Bytes in the parts of a receiver's folder. */
function partBytes(inbox: string): number {
  const parts = join(inbox, '.jsp-parts');
  return readdirSync(parts).reduce((sum, name) => sum + statSync(join(parts, name)).size, 0);
}
