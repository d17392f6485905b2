import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { ProgramFolder } from './program-folder.ts';

test('a program and its folder are gone when the test says so, whether the program still runs or not', async () => {
  for (const signal of [undefined, 'SIGKILL'] as const) {
    const folder = new ProgramFolder('jsp-program-');
    const program = spawn('sleep', ['1000'], { cwd: folder.path });
    const ended = once(program, 'exit');
    folder.runs(program);
    writeFileSync(join(folder.path, 'kept'), 'x');
    if (signal !== undefined) {
      program.kill(signal);
      await ended;
    }
    await folder.remove();
    expect(existsSync(folder.path)).toBe(false);
    await ended;
  }
});

test('they are gone, too, when the process that has started them is killed', async () => {
  const tester = spawn(
    process.execPath,
    ['--import', './scripts/typescript/register.js', '--input-type=module', '--eval', TESTER],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [path] = (await once(tester.stdout.setEncoding('utf8'), 'data')) as string[];
  expect(existsSync(path)).toBe(true);
  tester.kill('SIGKILL');
  // The program has the other end of this pipe, too.
  await once(tester.stdout, 'end');
  while (existsSync(path)) await sleep(5);
});

const TESTER = `
  import { spawn } from 'node:child_process';
  import { ProgramFolder } from ${JSON.stringify(fileURLToPath(new URL('./program-folder.ts', import.meta.url)))};
  const folder = new ProgramFolder('jsp-program-');
  folder.runs(spawn('sleep', ['1000'], { stdio: ['ignore', 'inherit', 'ignore'] }));
  process.stdout.write(folder.path);
`;
