/**
 * What many commands say that do not get to do anything, such as those with wrong arguments: in one process, for each would take 0.3 s of one of its
 * own. Reads the arguments of each from stdin, as JSON, and writes what each has said.
 */
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';

const [, , main] = process.argv;
const write = process.stdout.write.bind(process.stdout);
const exit = process.exit.bind(process);
const parent = process.ppid;
const results = [];
process.stdout.setMaxListeners(0);
process.stderr.setMaxListeners(0);
for (const [i, args] of JSON.parse(await text(process.stdin)).entries()) results.push(await ran(i, args));
write(JSON.stringify(results), () => exit(0));

/** The command with its modules as they are, but for the first, which is evaluated anew; it is over when it has said with what it ends. */
async function ran(i, args) {
  const said = { out: '', err: '' };
  const hear = (stream) => (chunk, then) => {
    said[stream] += chunk;
    then?.();
    return true;
  };
  process.stdout.write = hear('out');
  process.stderr.write = hear('err');
  process.argv = [process.execPath, main, ...args];
  process.exitCode = undefined;
  process.exit = (code) => {
    process.exitCode = code ?? process.exitCode ?? 0;
  };
  await import(`${pathToFileURL(main)}?${i}`);
  // One that does not end would keep a core busy for good when its test is long gone.
  while (process.exitCode === undefined) {
    if (process.ppid !== parent) exit(1);
    await sleep(1);
  }
  return { exitCode: process.exitCode, ...said };
}
