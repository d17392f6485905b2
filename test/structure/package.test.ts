import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Analysis, checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import { publint } from 'publint';
import { describe, expect, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A program of somebody who has installed the package. */
const CONSUMER = `
import { connect, generateIdentity, listen, type ConnectOptions } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { type BrokerClient, connectClient } from 'jetstream-proto/client';
import { receiveFiles, type SendReport, sendFiles } from 'jetstream-proto/files';
import { Lab } from 'jetstream-proto/testing';
import { connectClient as connectPage, type WebClient } from 'jetstream-proto/web';

export async function main(mtu?: number): Promise<void> {
  const listener = await listen({ identity: generateIdentity(), port: 0, mtu });
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => stream.on('message', (message: Buffer) => stream.send(message)));
  });
  const options: ConnectOptions = { heartbeatMs: undefined, signal: undefined };
  const connection = await connect(listener.url, options);
  const stream = connection.openStream({ priority: 'chat', lifetimeMs: undefined });
  for await (const message of stream) console.log(message.toString());
  await using broker = await startBroker({ identity: generateIdentity(), port: 0 });
  const client: BrokerClient = await connectClient(broker.url);
  await client.subscribe('a/#', ({ topic, payload }) => console.log(topic, payload.length));
  const receiver = await receiveFiles('inbox', { onExisting: 'rename', bytesMax: undefined });
  listener.on('connection', (connection) => receiver.serve(connection));
  const report: SendReport = await sendFiles(() => connect(listener.url), ['a'], { signal: undefined });
  const page: WebClient = await connectPage('http://127.0.0.1', { session: undefined });
  await page.subscribe('a/#', ({ topic, payload }) => console.log(topic, payload.length), { qos: 1 });
  console.log(Lab.name, report.sentBytes);
}
`;

describe('the package', () => {
  const { tarball, files: packed } = pack();

  test('has types that TypeScript 5.4, the oldest supported, takes with all libraries checked and optional members exact', () => {
    const folder = emptyFolder();
    mkdirSync(join(folder, 'node_modules/@types'), { recursive: true });
    symlinkSync(ROOT, join(folder, 'node_modules/jetstream-proto'));
    for (const name of ['@types/node', 'undici-types']) {
      symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name));
    }
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(folder, 'consumer.ts'), CONSUMER);
    const tsc = join(ROOT, 'node_modules/typescript-5.4/bin/tsc');
    const options = '--noEmit --strict --exactOptionalPropertyTypes --skipLibCheck false --preserveSymlinks';
    const platform = '--module nodenext --target es2022 --lib es2022,esnext.disposable --types node';
    const ran = spawnSync(process.execPath, [tsc, ...`${options} ${platform}`.split(' '), 'consumer.ts'], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(ran.stdout + ran.stderr).toBe('');
    expect(ran.status).toBe(0);
  });

  test('has everything that its README links to, and the sources that its source maps name', () => {
    const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
    const links = [...readme.matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map(([, path]) => path);
    expect(links.length).toBeGreaterThan(10);
    const broken = links.filter(
      (path) => !packed.some((file) => file === path || file.startsWith(`${path}/`)),
    );
    expect(broken).toEqual([]);
    const maps = packed.filter((file) => file.endsWith('.js.map'));
    expect(maps.length).toBeGreaterThan(100);
    const missing = maps.flatMap((file) => {
      const { sources } = JSON.parse(readFileSync(join(ROOT, file), 'utf8')) as { sources: string[] };
      return sources
        .map((source) => relative(ROOT, resolve(ROOT, file, '..', source)))
        .filter((source) => !packed.includes(source));
    });
    expect(missing).toEqual([]);
  });

  test('is compiled anew and documented before it is packed, or not packed', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    expect(scripts.prepack).toBe('node scripts/set-up.js --anew && node scripts/docs.js');
    expect(packed).toContain('dist/index.js');
    expect(packed).toContain('dist/cli/main.js');
    expect(packed).not.toContain('dist/.tsbuildinfo');
  });

  test('has an API page for each of its entries', () => {
    const [{ exports }, { entryPoints }] = ['package.json', 'docs/typedoc.json'].map((path) =>
      JSON.parse(readFileSync(join(ROOT, path), 'utf8')),
    ) as [{ exports: Record<string, string | { types: string }> }, { entryPoints: string[] }];
    const entries = Object.values(exports).flatMap((entry) =>
      typeof entry === 'string' ? [] : [entry.types],
    );
    expect(entryPoints.map((path) => path.replace(/^\.\.\//, './')).sort()).toEqual(entries.sort());
  });

  test('is one that publint and arethetypeswrong find nothing wrong with', async () => {
    const { messages } = await publint({ pack: { tarball: tarball.buffer }, strict: true });
    expect(messages).toEqual([]);
    const { problems } = (await checkPackage(createPackageFromTarballData(tarball))) as Analysis;
    // It is for ES modules only, which those who require() it hear of.
    expect(problems.filter(({ kind }) => kind !== 'CJSResolvesToESM' && kind !== 'NoResolution')).toEqual([]);
  });
});

interface Packed {
  readonly tarball: Uint8Array<ArrayBuffer>;
  /** Paths of its files. */
  readonly files: readonly string[];
}

/** What `npm pack` makes of what is there now, without building first. */
function pack(): Packed {
  const folder = mkdtempSync(join(tmpdir(), 'jsp-pack-'));
  try {
    const ran = spawnSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      cwd: ROOT,
      encoding: 'utf8',
    });
    const [{ filename, files }] = JSON.parse(ran.stdout) as { filename: string; files: { path: string }[] }[];
    const tarball = new Uint8Array(readFileSync(join(folder, filename)));
    return { tarball, files: files.map(({ path }) => path) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
