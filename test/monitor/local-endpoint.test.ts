import { chmodSync, existsSync, lstatSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer, Server } from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { LiveConnections, LocalEndpoint, ProcessReader, tellingProcesses } from '../../src/monitor/index.ts';
import { parseReport } from '../../src/monitor/report.ts';
import { emptyFolder } from '../empty-folder.ts';
import { connectionWith, metricsWith, reportWith } from './fake-process.ts';

/** So many connections, each of which has sent as many bytes as its number. */
function live(count: number): LiveConnections {
  const connections = new LiveConnections();
  for (let i = 1; i <= count; i++) {
    const metrics = metricsWith({ bytesSent: i });
    const connection = {
      role: 'server',
      remoteHost: '192.0.2.1',
      remotePort: i,
      metrics: () => metrics,
    } as const;
    connections.add(connection, metrics);
  }
  return connections;
}

async function open(connections: LiveConnections, directory = join(emptyFolder(), 'own')): Promise<string> {
  const endpoint = await LocalEndpoint.open(
    (top, before) => connections.report(top, before, PROCESS),
    directory,
  );
  onTestFinished(() => endpoint.close());
  return directory;
}

const PROCESS = { pid: process.pid, name: 'vitest', atMs: 1 };
const refused = { code: 'ERR_JSP_MONITOR' };

describe.skipIf(process.platform === 'win32')(
  'the place where a process tells its connections [CON-73]',
  () => {
    afterEach(() => {
      vi.restoreAllMocks();
    });

    test('is a socket in a directory of the user alone, and gone when it is closed', async () => {
      const directory = join(emptyFolder(), 'own');
      const endpoint = await LocalEndpoint.open(
        (top, before) => live(2).report(top, before, PROCESS),
        directory,
      );
      expect(endpoint.path).toBe(join(directory, `${process.pid}.sock`));
      expect(lstatSync(directory).mode & 0o777).toBe(0o700);
      expect(lstatSync(endpoint.path).mode & 0o777).toBe(0o600);
      expect(tellingProcesses(directory)).toEqual([process.pid]);
      await endpoint.close();
      expect(existsSync(endpoint.path)).toBe(false);
      expect(tellingProcesses(directory)).toEqual([]);
      await expect(ProcessReader.open(process.pid, directory)).rejects.toMatchObject(refused);
    });

    test('outlives errors of those who cannot be accepted', async () => {
      const listen = vi.spyOn(Server.prototype, 'listen');
      const directory = await open(live(1));
      const server = listen.mock.contexts[0] as Server;
      for (let i = 0; i < 2; i++)
        expect(() => server.emit('error', new Error('accept ENOMEM'))).not.toThrow();
      const reader = await ProcessReader.open(process.pid, directory);
      expect(await reader.ask(1)).toMatchObject({ connectionsOpen: 1 });
      reader.close();
    });

    test('tells what metrics() tell, as often as it is asked', async () => {
      const directory = await open(live(2));
      const reader = await ProcessReader.open(process.pid, directory);
      for (let i = 0; i < 3; i++) {
        const report = await reader.ask(10);
        expect(report).toMatchObject({ ...PROCESS, connectionsOpen: 2, bytesSent: 3, bytesReceived: 0 });
        expect(report.connections.map(({ id, metrics }) => [id, metrics.bytesSent])).toEqual([
          [1, 1],
          [2, 2],
        ]);
      }
      reader.close();
    });

    test('tells the busiest of ten thousand connections, and counts the others', async () => {
      const connections = live(10_000);
      const directory = await open(connections);
      const reader = await ProcessReader.open(process.pid, directory);
      const report = await reader.ask(5);
      expect(report.connections.map(({ id }) => id)).toEqual([9_996, 9_997, 9_998, 9_999, 10_000]);
      expect(report).toMatchObject({ connectionsOpen: 10_000, bytesSent: (10_000 * 10_001) / 2 });
      expect((await reader.ask(5)).connections.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5]); // nothing happened since
      expect((await reader.ask(1e9)).connections).toHaveLength(1_000);
      reader.close();
    });

    test('counts what connections sent that are over', () => {
      const connections = new LiveConnections();
      const one = { role: 'client', remoteHost: 'x', remotePort: 1, metrics: () => metricsWith() } as const;
      connections.add(one, { bytesSent: 10, bytesReceived: 4 });
      connections.remove(one);
      connections.remove(one);
      expect(connections.size).toBe(0);
      expect(connections.report(5, new Map(), PROCESS)).toMatchObject({
        bytesSent: 10,
        bytesReceived: 4,
        connections: [],
      });
    });

    test('is not opened, nor asked, in a directory that others could have to do with', async () => {
      const folder = emptyFolder();
      const wide = join(folder, 'wide');
      mkdirSync(wide);
      chmodSync(wide, 0o755);
      const link = join(folder, 'link');
      mkdirSync(join(folder, 'target'), { mode: 0o700 });
      symlinkSync(join(folder, 'target'), link);
      const file = join(folder, 'file');
      writeFileSync(file, '');
      for (const directory of [wide, link, file]) {
        await expect(open(live(0), directory)).rejects.toMatchObject(refused);
        await expect(ProcessReader.open(process.pid, directory)).rejects.toMatchObject(refused);
        expect(() => tellingProcesses(directory)).toThrow(/yours alone/);
      }
      const own = join(folder, 'own');
      mkdirSync(own, { mode: 0o700 });
      vi.spyOn(process, 'getuid').mockReturnValue(4_242);
      await expect(open(live(0), own)).rejects.toThrow(/yours alone/);
    });

    test('makes away with what a process has left that is gone, and with nothing else', async () => {
      const directory = join(emptyFolder(), 'own');
      mkdirSync(directory, { mode: 0o700 });
      const stale = join(directory, `${GONE}.sock`);
      writeFileSync(stale, '');
      writeFileSync(join(directory, 'notes'), '');
      expect(tellingProcesses(directory)).toEqual([]);
      expect(existsSync(stale)).toBe(false);
      expect(existsSync(join(directory, 'notes'))).toBe(true);
      writeFileSync(stale, '');
      const endpoint = await LocalEndpoint.open(
        (top, before) => live(1).report(top, before, PROCESS),
        directory,
      );
      expect(existsSync(stale)).toBe(false);
      await endpoint.close();
      const inTheWay = join(directory, `${process.pid}.sock`);
      writeFileSync(inTheWay, '');
      await expect(open(live(0), directory)).rejects.toThrow(/no socket/);
      expect(existsSync(inTheWay)).toBe(true);
    });

    test('takes the place of a socket that an earlier process with its id has left', async () => {
      const directory = join(emptyFolder(), 'own');
      mkdirSync(directory, { mode: 0o700 });
      const path = join(directory, `${process.pid}.sock`);
      const earlier = createServer();
      await new Promise<void>((resolve) => earlier.listen(path, resolve));
      await open(live(1), directory);
      const reader = await ProcessReader.open(process.pid, directory);
      expect(await reader.ask(1)).toMatchObject({ connectionsOpen: 1 });
      reader.close();
      earlier.close();
    });

    test('says why a process cannot be asked', async () => {
      const directory = await open(live(0));
      await expect(ProcessReader.open(GONE, directory)).rejects.toThrow(`there is no process ${GONE}`);
      await expect(ProcessReader.open(process.ppid, directory)).rejects.toThrow(
        /tells a monitor nothing: start it with JSP_MONITOR=1/,
      );
      await expect(ProcessReader.open(process.pid, join(emptyFolder(), 'none'))).rejects.toThrow(
        /no process of yours/,
      );
      vi.spyOn(process, 'kill').mockImplementation(() => {
        throw Object.assign(new Error('not permitted'), { code: 'EPERM' });
      });
      await expect(ProcessReader.open(process.ppid, directory)).rejects.toThrow(/another user/);
    });

    test('that does not answer, ends or answers something else is told from one that does', async () => {
      const directory = join(emptyFolder(), 'own');
      mkdirSync(directory, { mode: 0o700 });
      const answers: ((write: (text: string) => void, end: () => void) => void)[] = [
        () => {},
        (_, end) => end(),
        (write) => write('{"pid":1}\n'),
        (write) => write('no json\n'),
        (write) => write('x'.repeat(17_000_000)),
      ];
      let current = answers[0];
      const server = createServer((socket) => {
        socket.on('error', () => {});
        socket.on('data', () =>
          current(
            (text) => socket.write(text),
            () => socket.destroy(),
          ),
        );
      });
      await new Promise<void>((resolve) => server.listen(join(directory, `${process.pid}.sock`), resolve));
      onTestFinished(() => void server.close());
      const told: string[] = [];
      for (const answer of answers) {
        current = answer;
        const reader = await ProcessReader.open(process.pid, directory);
        told.push(
          await reader.ask(1, answer === answers[0] ? 20 : 60_000).then(
            () => 'answered',
            ({ code, message }) => `${code} ${message}`,
          ),
        );
        await expect(
          answer === answers[2] || answer === answers[3] ? Promise.reject(refused) : reader.ask(1),
        ).rejects.toMatchObject(refused);
        reader.close();
      }
      expect(told.map((text) => text.replace(/process \d+/, 'process'))).toEqual([
        'ERR_JSP_MONITOR the process does not answer within 0.02 s: it is busy, or stopped',
        'ERR_JSP_MONITOR process has ended, or tells no more',
        'ERR_JSP_MONITOR what answers there is no process of this version of jetstream-proto',
        'ERR_JSP_MONITOR what answers there is no process of this version of jetstream-proto',
        'ERR_JSP_MONITOR the process tells more than a report can hold',
      ]);
    });

    test('is not to be filled, or confused, by who asks something else', async () => {
      const directory = await open(live(3));
      const ask = (text: string): Promise<string> =>
        new Promise((resolve) => {
          const socket = connect(join(directory, `${process.pid}.sock`));
          let answer = '';
          socket.setEncoding('utf8');
          socket.on('error', () => {});
          socket.on('data', (chunk) => {
            answer += chunk;
            socket.destroy();
          });
          socket.on('close', () => resolve(answer));
          socket.write(text);
        });
      for (const text of [
        'x'.repeat(2_000),
        '{}\n',
        '{"top":-1}\n',
        '{"top":"5"}\n',
        'null\n',
        '[1]\n',
        '\n',
      ])
        expect(await ask(text)).toBe('');
      expect(JSON.parse(await ask('{"top":1.9}\n')).connections).toHaveLength(1);
    });
  },
);

describe('a report that was told', () => {
  const whole = reportWith(1_000, [connectionWith(1), connectionWith(2)]);

  test('is taken as it is', () => {
    expect(parseReport(JSON.stringify(whole))).toEqual(whole);
  });

  test('is refused where a part of it is missing, or of another kind', () => {
    const paths = [
      ...Object.keys(whole),
      ...['id', 'role', 'remoteHost', 'remotePort', 'metrics'].map((name) => `connections.1.${name}`),
      ...['rttMs', 'bytesSent', 'queue', 'limitedByMs', 'congestionState', 'packetsLost'].map(
        (name) => `connections.0.metrics.${name}`,
      ),
      'connections.0.metrics.queue.bulk',
      'connections.0.metrics.queue.chat.bytes',
      'connections.0.metrics.queue.media.oldestMs',
    ];
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.constantFrom(undefined, null, true, [[]], 'x'.repeat(3), { a: 1 }),
        (path, value) => {
          const report = structuredClone(whole) as unknown as Record<string, unknown>;
          const names = path.split('.');
          const last = names.pop() as string;
          const owner = names.reduce((part, name) => part[name] as Record<string, unknown>, report);
          const isText = typeof owner[last] === 'string' && last !== 'role';
          const isRecord =
            last === 'limitedByMs' && !Array.isArray(value) && typeof value === 'object' && value !== null;
          fc.pre(!(isText && typeof value === 'string') && !isRecord);
          owner[last] = value;
          expect(() => parseReport(JSON.stringify(report))).toThrow(/no process of this version/);
        },
      ),
    );
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(() => parseReport(text)).toThrow(/no process of this version/);
      }),
    );
    const many = { ...whole, connections: Array(1_001).fill(connectionWith(1)) };
    expect(() => parseReport(JSON.stringify(many))).toThrow(/no process/);
  });
});

/** No process has such an id on systems whose ids end at 2^22. */
const GONE = 4_194_303;
