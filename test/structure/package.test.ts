import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { emptyFolder } from '../cli/jsp.ts';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** A program of somebody who has installed the package. */
const CONSUMER = `
import { connect, generateIdentity, listen, type ConnectOptions } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { type BrokerClient, connectClient } from 'jetstream-proto/client';
import { Lab } from 'jetstream-proto/testing';

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
  console.log(Lab.name);
}
`;

describe('the package', () => {
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
    const packed = packedFiles();
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

  test('is built before it is packed, or not packed', () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    expect(scripts.prepack).toBe('node scripts/set-up.js');
    expect(packedFiles()).toContain('dist/index.js');
    expect(packedFiles()).toContain('dist/cli/main.js');
  });
});

/** What `npm pack` puts into the package, as paths. */
function packedFiles(): string[] {
  const ran = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  const [{ files }] = JSON.parse(ran.stdout) as { files: { path: string }[] }[];
  return files.map(({ path }) => path);
}
