import { spawn } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { jsp, MAIN } from './jsp.ts';

test('npm start runs a broker and prints two lines to paste below its URL', async () => {
  const folder = emptyFolder();
  const start = spawn(process.execPath, [MAIN, ...ofNpmStart(), '--port', '0'], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  onTestFinished(() => {
    start.kill('SIGKILL');
  });
  let out = '';
  await new Promise<void>((resolve) => {
    start.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
      if (out.split('\n').length > 3) resolve();
    });
  });
  const [url, sub, pub] = out.trimEnd().split('\n');
  expect(url).toMatch(/^jsp:\/\/[\w-]{43}@127\.0\.0\.1:\d+$/);
  expect(sub).toMatch(/^npx jsp sub /);
  expect(pub).toMatch(/npx jsp pub /);
  expect(existsSync(join(folder, '.jsp', 'url'))).toBe(true);
  expect(statSync(join(folder, '.jsp', 'identity')).mode & 0o777).toBe(0o600);
  expect((await jsp(['pub', 'a', 'b'], { cwd: folder })).exitCode).toBe(0);
  start.kill('SIGTERM');
  expect(await new Promise((resolve) => start.on('close', resolve))).toBe(0);
});

/** The arguments that the script in package.json gives the command. */
function ofNpmStart(): string[] {
  const file = readFileSync(fileURLToPath(new URL('../../package.json', import.meta.url)), 'utf8');
  const { scripts } = JSON.parse(file) as { scripts: { start: string } };
  return scripts.start.split('dist/cli/main.js ')[1].split(' ');
}
