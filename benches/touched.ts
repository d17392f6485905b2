/**
 * Which files of src/ one `send('x')` touches on a connection that is warm, in the order in which it first does: from the call until the
 * system has the datagram, from there to the peer's `message` event, and then until it is acknowledged.
 *
 *     npm run ts benches/touched.ts -- [--json] [--functions]
 *
 * V8's precise coverage says which functions were called. Then the same is done again with a breakpoint at the beginning of each of them,
 * whose condition notes that it was reached and is false.
 */
import { Socket } from 'node:dgram';
import { Session } from 'node:inspector/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command } from 'commander';
import { nativeAddon } from '../src/base/native-addon.ts';
import { connect, generateIdentity, listen, type Stream } from '../src/index.ts';

interface Called {
  readonly file: string;
  readonly name: string;
}

/** What was called on each part of the way. */
interface Trace {
  readonly out: Called[];
  readonly in: Called[];
  readonly back: Called[];
}

const WARM_UP_MESSAGES = 200;
/** Longer than an acknowledgement waits, and shorter than until the next heartbeat. */
const SETTLE_MS = 300;
const ROOT = new URL('../', import.meta.url).href;
const options = new Command()
  .option('--json', 'one line of JSON: the files of both ways')
  .option('--functions', 'each function, not only each file')
  .parse()
  .opts<{ json?: boolean; functions?: boolean }>();

const trace = await traceOfSend();
if (options.json) {
  console.log(JSON.stringify({ out: filesOf(trace.out), in: filesOf(trace.in), back: filesOf(trace.back) }));
} else {
  print('until the system has the datagram', trace.out, []);
  print('more until the peer has the message', trace.in, trace.out);
  print('more until it is acknowledged', trace.back, [...trace.out, ...trace.in]);
}

function print(title: string, calls: readonly Called[], before: readonly Called[]): void {
  const known = filesOf(before);
  const files = filesOf(calls).filter((file) => !known.includes(file));
  console.log(`${files.length} files ${title}:`);
  for (const file of files) {
    const names = new Set(calls.filter((call) => call.file === file).map(({ name }) => name));
    console.log(`  ${file}${options.functions ? `  ${[...names].join(', ')}` : ''}`);
  }
}

async function traceOfSend(): Promise<Trace> {
  const listener = await listen({ identity: generateIdentity(), port: 0 });
  let arrived = (): void => {};
  listener.on('connection', (connection) => {
    connection.on('stream', (stream) => stream.on('message', () => arrived()));
  });
  const connection = await connect(listener.url);
  const stream = connection.openStream();
  const send = (stream: Stream): Promise<void> =>
    new Promise((resolve) => {
      arrived = resolve;
      stream.send('x');
    });
  for (let i = 0; i < WARM_UP_MESSAGES; i++) {
    await send(stream);
    await sleep(1);
  }
  await sleep(SETTLE_MS);

  const session = new Session();
  session.connect();
  const places = new Map<string, Called>();
  const sources = new Map<string, string>();
  await session.post('Profiler.enable');
  await session.post('Debugger.enable');
  await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false });
  await send(stream);
  await sleep(SETTLE_MS);
  const { result } = await session.post('Profiler.takePreciseCoverage');
  await session.post('Profiler.stopPreciseCoverage');

  const reached: string[] = [];
  Object.assign(globalThis, { reachedPlace: (place: string) => void reached.push(place) });
  for (const { scriptId, url, functions } of result) {
    if (!url.startsWith(`${ROOT}src/`)) continue;
    const source = (await session.post('Debugger.getScriptSource', { scriptId })).scriptSource;
    sources.set(scriptId, source);
    for (const { functionName, ranges } of functions) {
      const [{ startOffset, count }] = ranges;
      if (count === 0 || startOffset === 0) continue;
      const place = `${scriptId}:${startOffset}`;
      places.set(place, { file: url.slice(ROOT.length), name: functionName || '(anonymous)' });
      const before = source.slice(0, startOffset).split('\n');
      const location = { scriptId, lineNumber: before.length - 1, columnNumber: before.at(-1)?.length };
      await session
        .post('Debugger.setBreakpoint', { location, condition: `reachedPlace('${place}')` })
        .catch(() => {}); // two that begin at one place
    }
  }
  let sent = 0;
  const gone = (): void => {
    sent ||= reached.length;
  };
  const sockets = nativeAddon()?.sockets;
  if (sockets === undefined || sockets === null) callBefore(Socket.prototype, 'send', gone);
  else callBefore(sockets, 'send', gone);
  await send(stream);
  const arrivedAt = reached.length;
  await sleep(SETTLE_MS);
  session.disconnect();
  connection.destroy();
  await listener.close({ timeoutMs: 0 });
  const calls = reached.map((place) => places.get(place) as Called);
  return { out: calls.slice(0, sent), in: calls.slice(sent, arrivedAt), back: calls.slice(arrivedAt) };
}

/** Has `first` called before each call of this method. */
function callBefore<K extends string>(
  target: Record<K, (...args: never[]) => unknown>,
  method: K,
  first: () => void,
): void {
  const call = target[method];
  target[method] = function (this: unknown, ...args: never[]) {
    first();
    return call.apply(this, args);
  };
}

function filesOf(calls: readonly Called[]): string[] {
  return [...new Set(calls.map(({ file }) => file))];
}
