import { execFile } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join as joinPath, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Connection } from '../../src/index.ts';
import { flushQlogs, QlogFolder } from '../../src/transport/qlog-files.ts';
import { emptyFolder } from '../empty-folder.ts';
import { faultsOf, frameTypesOf, type QlogLog, readLog } from '../protocol/trace/qlog-log.ts';
import { labPair } from './lab-pair.ts';
import { echo, join, next, serve, take } from './served.ts';

afterEach(() => {
  delete process.env.JSP_QLOGDIR;
});

/** The logs in a folder, by their names. */
async function logsIn(folder: string): Promise<Record<string, QlogLog>> {
  await flushQlogs();
  return Object.fromEntries(
    readdirSync(folder).map((name) => [name, readLog(readFileSync(joinPath(folder, name), 'utf8'))]),
  );
}

describe('with qlogDir', () => {
  test('each side of a connection has a log in the format of qlog [TRC-2] [TRC-3]', async () => {
    const folder = joinPath(emptyFolder(), 'made', 'for it');
    const began = Date.now();
    const listener = await serve(echo, { qlogDir: folder });
    const accepted = next<Connection>(listener, 'connection');
    const way = { delayMs: 3, loss: 0.1, reorder: 0.05 };
    const connection = await join(listener, {
      qlogDir: folder,
      impairment: { seed: 3, outgoing: way, incoming: way },
    });
    const stream = connection.openStream();
    for (let i = 0; i < 100; i++) stream.send('x'.repeat(i * 20));
    await take(stream, 100);
    await connection.close();
    await (await accepted).closed;
    const logs = await logsIn(folder);
    const names = Object.keys(logs);
    expect(names.length).toBe(2);
    for (const [name, log] of Object.entries(logs)) {
      expect(faultsOf(log)).toEqual([]);
      const { trace } = log.header;
      expect(name).toBe(`${trace.common_fields.group_id}_${trace.vantage_point.type}.sqlog`);
      expect(Math.abs(trace.common_fields.reference_time - began)).toBeLessThan(60_000);
      expect(frameTypesOf(log)).toContain('messages');
      expect(log.events.some((event) => event.name === 'connectivity:connection_closed')).toBe(true);
      const { data } = log.events[0];
      expect([data.src_ip, data.dst_ip]).toEqual(['127.0.0.1', '127.0.0.1']);
      const { port } = listener;
      expect(trace.vantage_point.type === 'server' ? data.src_port : data.dst_port).toBe(port);
    }
    const groups = Object.values(logs).map(({ header }) => header.trace.common_fields.group_id);
    expect(groups[0]).toBe(groups[1]);
  });

  test('a log has what the reader of qvis looks for before it takes a file', async () => {
    const folder = emptyFolder();
    const { lab, client } = await labPair({}, { qlogDir: folder });
    client.openStream().send('hello');
    await lab.settle(client.close());
    for (const log of Object.values(await logsIn(folder))) {
      // Its QlogSchema02.ts, textsequencejsontoqlog.ts and the names that its diagrams look up.
      expect(['draft-02', '0.3']).toContain(log.header.qlog_version);
      expect(log.header.qlog_format).toBe('JSON-SEQ');
      expect(log.header.trace).toBeDefined();
      const sent = log.events.find(({ name }) => name === 'transport:packet_sent');
      expect(sent?.data.header).toMatchObject({ packet_type: 'initial', packet_number: 0 });
      expect(sent?.data.raw.length).toBeGreaterThan(0);
      const metrics = log.events.find(({ name }) => name === 'recovery:metrics_updated');
      expect(metrics?.data).toHaveProperty('congestion_window');
    }
  });

  test('the environment names the folder where no option does', async () => {
    const [named, chosen] = [emptyFolder(), emptyFolder()];
    process.env.JSP_QLOGDIR = named;
    const listener = await serve(echo);
    await join(listener, { qlogDir: chosen });
    expect(Object.keys(await logsIn(named))).toEqual([expect.stringContaining('_server.sqlog')]);
    expect(Object.keys(await logsIn(chosen))).toEqual([expect.stringContaining('_client.sqlog')]);
  });

  test('nothing is written without being asked for', async () => {
    process.env.JSP_QLOGDIR = '';
    await join(await serve(echo));
    await flushQlogs();
    expect(existsSync('undefined')).toBe(false);
  });

  test.each([['a file', 'EEXIST'], ...(process.platform === 'linux' ? [['/proc/jsp', 'ENOENT']] : [])])(
    '%s is no folder: that is one warning, and no connection notices',
    async (name, code) => {
      const file = resolve(emptyFolder(), name);
      if (code === 'EEXIST') writeFileSync(file, '');
      const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
      const listener = await serve(echo, { qlogDir: file });
      for (let i = 0; i < 2; i++) {
        const connection = await join(listener, { qlogDir: file });
        const stream = connection.openStream();
        stream.send('hello');
        expect(String((await take(stream, 1))[0])).toBe('hello');
        await flushQlogs();
      }
      // Logs of tests before may notice only now that their folders are gone.
      const messages = warned.mock.calls
        .map(([message]) => String(message))
        .filter((text) => text.includes(file));
      warned.mockRestore();
      expect(messages).toEqual([expect.stringContaining(`connections are not logged any more: ${code}`)]);
    },
  );

  test('what is not written yet is when the process ends', async () => {
    const folder = emptyFolder();
    const source = pathToFileURL(fileURLToPath(new URL('../../dist/index.js', import.meta.url))).href;
    const program = `
      import { connect, generateIdentity, listen } from '${source}';
      const listener = await listen({ identity: generateIdentity(), port: 0 });
      const connection = await connect(listener.url);
      connection.openStream().send('hello');
      process.exit(0);`;
    await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {
      env: { ...process.env, JSP_QLOGDIR: folder },
    });
    const logs = await logsIn(folder);
    expect(Object.keys(logs).length).toBe(2);
    for (const log of Object.values(logs)) expect(faultsOf(log)).toEqual([]);
  });
});

describe('a folder of logs', () => {
  test('takes the next name where one is taken, and leaves that file alone [TRC-5]', async () => {
    const path = emptyFolder();
    writeFileSync(joinPath(path, '0a0b_client.sqlog'), 'of somebody else');
    const folder = new QlogFolder(path);
    for (let i = 0; i < 2; i++) folder.open('client', '0a0b')?.write(`\x1e{"i":${i}}\n`);
    await folder.flush();
    const text = (name: string): string => readFileSync(joinPath(path, name), 'utf8');
    expect(readdirSync(path).sort()).toEqual([
      '0a0b_client-2.sqlog',
      '0a0b_client-3.sqlog',
      '0a0b_client.sqlog',
    ]);
    expect(text('0a0b_client.sqlog')).toBe('of somebody else');
    expect([2, 3].map((n) => text(`0a0b_client-${n}.sqlog`).at(-3)).sort()).toEqual(['0', '1']);
  });

  test.skipIf(process.platform === 'win32')(
    'is for its owner alone, and so are its logs [TRC-5]',
    async () => {
      const [written, ended] = ['written', 'ended'].map((name) => joinPath(emptyFolder(), 'logs', name));
      const modeOf = (path: string): number => statSync(path).mode & 0o777;
      for (const [path, end] of [
        [written, (folder: QlogFolder) => folder.flush()],
        [ended, async (folder: QlogFolder) => folder.flushAtExit()],
      ] as const) {
        const folder = new QlogFolder(path);
        folder.open('client', '0a0b')?.write('\x1e{}\n');
        await end(folder);
        expect([joinPath(path, '..'), path].map(modeOf)).toEqual([0o700, 0o700]);
        expect(modeOf(joinPath(path, '0a0b_client.sqlog'))).toBe(0o600);
      }
    },
  );

  test('keeps the order of each log, and takes no more than it may keep [TRC-6]', async () => {
    const path = emptyFolder();
    const folder = new QlogFolder(path, 10_000);
    const logs = ['aa', 'bb'].map((id) => folder.open('server', id));
    const record = (i: number): string => `\x1e{"i":${i}}\n`;
    let taken = 0;
    while (logs[taken % 2]?.write(record(taken))) taken++;
    expect(taken).toBeGreaterThan(500);
    expect(taken).toBeLessThan(1_100);
    await folder.flush();
    expect(logs[0]?.write(record(taken))).toBe(true);
    await folder.flush();
    const numbers = readLog(readFileSync(joinPath(path, 'aa_server.sqlog'), 'utf8')).events.map(
      (event) => (event as unknown as { i: number }).i,
    );
    expect(numbers).toEqual([...Array.from({ length: Math.ceil(taken / 2) }, (_, k) => 2 * k), taken]);
  });

  test('is waited for by no timer once it is written', async () => {
    // Of others in this process there may be timers, too.
    const [set, clear] = [vi.spyOn(globalThis, 'setTimeout'), vi.spyOn(globalThis, 'clearTimeout')];
    onTestFinished(() => {
      set.mockRestore();
      clear.mockRestore();
    });
    const folder = new QlogFolder(emptyFolder());
    const log = folder.open('client', 'ee');
    for (let i = 0; i < 3; i++) {
      log?.write('\x1e{}\n');
      const [{ value: timer }] = set.mock.results;
      await folder.flush();
      expect(clear.mock.calls.map(([cleared]) => cleared)).toContain(timer);
      set.mockClear();
    }
  });

  test('that becomes read-only later is given up with a warning', async () => {
    const path = emptyFolder();
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const folder = new QlogFolder(path);
    const log = folder.open('client', 'cc');
    await folder.flush();
    // Root may write anywhere, but not to a folder as if it were a file.
    rmSync(joinPath(path, 'cc_client.sqlog'));
    mkdirSync(joinPath(path, 'cc_client.sqlog'));
    chmodSync(path, 0o555);
    log?.write('\x1e{}\n');
    await folder.flush();
    expect(log?.write('\x1e{}\n')).toBe(true);
    expect(folder.open('client', 'dd')).toBe(null);
    expect(warned).toHaveBeenCalledTimes(1);
    warned.mockRestore();
    chmodSync(path, 0o755);
  });
});
