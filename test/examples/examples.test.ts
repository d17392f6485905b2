import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { beforeAll, expect, test } from 'vitest';
import { startBroker } from '../../src/broker/index.ts';
import { startGateway } from '../../src/gateway/index.ts';
import { generateIdentity } from '../../src/index.ts';
import { emptyFolder } from '../empty-folder.ts';
import { NEVER_LATE } from '../gateway/gateway-server.ts';
import { programOf } from '../typescript-program.ts';

/** Those that take their time, and little else of the machine: they run beside the others. */
let voice: Promise<string>;
let multiplayer: Promise<string>;

beforeAll(() => {
  // Played so late that the clock of a busy machine makes no gap: what is missing, the link has lost.
  voice = runExample('voice', '3', '10', '60000');
  // Drawn so far behind that a busy machine may be late by most of a second.
  multiplayer = runExample('multiplayer', '2', '3', '1000');
  for (const example of [voice, multiplayer]) example.catch(() => {}); // its test tells
});

test('echo answers what it is sent, also when it is run as npm run ts does', async () => {
  expect(await runExample('echo')).toBe('hello\n');
  const loader = STRIPS_TYPES ? [] : ['--import', './scripts/typescript/register.js'];
  expect(await outputOf(run(process.cwd(), ...loader, sourceOf('echo')))).toBe('hello\n');
});

test.each(['echo', 'durable'])('%s is a program of the README, of at most 15 lines', (name) => {
  const code = textOf(`examples/${name}.ts`).replace(/^\/\*\*.*\*\/\n/, '');
  const program = code.split('\n').filter((line) => line !== '');
  expect(program.length).toBeLessThanOrEqual(15);
  const indented = code.trim().replace(/^(?=.)/gm, '    ');
  expect(textOf('README.md')).toContain(indented);
});

test('the game loop sends states at 60 Hz beside chat that arrives complete', async () => {
  const output = await runExample('game-loop', '2');
  const said = [...output.matchAll(/^(\w+) said (\d+) lines$/gm)].map((match) => Number(match[2]));
  const heard = [
    ...output.matchAll(/^(\w+): (\d+) of 120 states, the last one of tick (\d+); heard (\d+) lines$/gm),
  ];
  expect([said.length, heard.length]).toEqual([2, 2]);
  for (const [, , states, newestTick, lines] of heard) {
    expect(Number(states)).toBeGreaterThan(60);
    expect(Number(states)).toBeLessThanOrEqual(120);
    expect(Number(newestTick)).toBeGreaterThan(110);
    // Who came second has not heard what was said before.
    expect(Number(lines)).toBeGreaterThanOrEqual(said[0] + said[1] - 2);
    expect(Number(lines)).toBeLessThanOrEqual(said[0] + said[1]);
  }
});

test('a server on all cores outlives a worker, whose clients alone notice', async () => {
  const output = await runExample('workers', '8');
  const [, answering, workers] = /^(\d+) of (\d+) workers answer$/m.exec(output) ?? [];
  expect(Number(answering)).toBeLessThanOrEqual(Number(workers));
  expect(output).toMatch(/^worker \d+ ended: nobody caught this\nworker \d+ started$/m);
  expect(output).toMatch(/^\d clients went on, and one came back to worker \d+ says hello\n$/m);
});

test('the file transfer goes on where it was cut off, and everything arrives', async () => {
  const output = await runExample('file-transfer', '8');
  expect(output).toContain('album/film.bin goes on where it broke off\n');
  expect(output).toContain('sent album/film.bin\nsent album/notes.txt\n');
  expect(output).toMatch(
    /^2 connections; [\d.]+ % sent again\nin the inbox: empty, film\.bin, notes\.txt\n$/m,
  );
});

test('the sensor sends all readings in datagrams of 512 bytes, and compressed in less than two thirds of the bytes', async () => {
  const output = await runExample('iot-sensor', '4', '50');
  expect(output.match(/: 40 readings in datagrams of at most 512 bytes$/gm)?.length).toBe(2);
  expect(output).toMatch(
    /^dashboard: 80 readings, the last one \{"device":"greenhouse-7","time":"2026-06-01T00:39/m,
  );
  const [, plain, compressed] = /^on the link: (\d+) bytes as they are, (\d+) compressed/m.exec(output) ?? [];
  expect(Number(compressed)).toBeLessThan(Number(plain) / 1.5);
});

test('a device that wakes shows the ticket of its last wake, and a server that does not take it gets the reading all the same, once', async () => {
  const lines = (await runExample('hourly-device', '3')).trimEnd().split('\n');
  const early = lines.map((line) => /^wake \d: acknowledged, early data (\w+), /.exec(line)?.[1]);
  expect(early).toEqual(['none', 'accepted', 'refused', undefined]);
  expect(lines[3]).toBe('3 readings of 3 arrived, each once');
});

test('a client writes on while its server is started anew and then replaced, and nothing is lost', async () => {
  const lines = (await runExample('restart', '60')).trimEnd().split('\n');
  // What is left of the 5 s when the client hears of it.
  const told = [
    'offline: looks for a server',
    'online again',
    expect.stringMatching(/^the server goes within ([1-4]?\d{1,3}|5000) ms$/),
  ];
  expect(lines.slice(0, -1)).toEqual([...told, 'moving: looks for a server', 'online again']);
  expect(lines.at(-1)).toMatch(/^62 of 62 messages arrived, \d+ of them twice$/);
});

test('the call has fewer gaps with protection than without, on the same link', async () => {
  const output = await voice;
  const calls = [
    ...output.matchAll(/(\d+) gaps .* of (\d+) frames that never came and (\d+) .* (\d+) bytes sent$/gm),
  ];
  const [without, protectedCall] = calls.map(([, ...figures]) => figures.map(Number));
  // A tenth of 150 by chance: the seed decides of datagrams, and what else is sent between the frames varies.
  expect(without[1]).toBeGreaterThanOrEqual(4);
  expect(protectedCall[1]).toBeLessThan(without[1]);
  expect(protectedCall[3]).toBeLessThan(2.2 * without[3]);
  for (const [gaps, missing, late] of [without, protectedCall]) expect(gaps).toBe(missing + late);
});

test('players draw smoothly between snapshots, a twentieth of which is lost, and hear of every goal in order', async () => {
  const output = await multiplayer;
  const lines = output.trimEnd().split('\n');
  expect(lines).toHaveLength(3);
  for (const line of lines) {
    expect(line).toMatch(/; 4 of 4 goals in order$/);
    const [, snapshots, pictures, guessed] =
      /(\d+) snapshots, (\d+) pictures, (\d+) of them/.exec(line) ?? [];
    expect(Number(snapshots)).toBeGreaterThan(25);
    expect(Number(snapshots)).toBeLessThanOrEqual(40);
    expect(Number(pictures)).toBeGreaterThan(5);
    expect(Number(guessed)).toBeLessThan(Number(pictures) / 3);
  }
});

test('a durable subscription goes on where it was, in the next process, too', async () => {
  const folder = emptyFolder();
  expect(await runExampleIn(folder, 'durable')).toBe('1 orders/table-7 coffee\n');
  expect(await runExampleIn(folder, 'durable')).toBe('2 orders/table-7 coffee\n');
});

test('the readings of a fleet all arrive, although the broker goes away in between', async () => {
  const output = await runExample('sensor-fleet', '3', '25');
  expect(output).toContain('the broker is back\n');
  expect(output).toContain('ingest goes on where it was\n');
  expect(output).toMatch(/^75 readings stored, 75 ingested, \d+ of them came again$/m);
});

test('a lobby shows who comes and goes, and the newest positions instead of all', async () => {
  const output = await runExample('lobby', '3', '50');
  for (const player of ['player-1', 'player-2', 'player-3']) expect(output).toContain(`${player} is here`);
  expect(output).toMatch(/^player-1 has left; \d are here$/m);
  expect(output).toMatch(/^player-2 has left; \d are here$/m);
  const [, drawn] = /^the visitor has got (\d+) of 150 positions, and the last ones: 50$/m.exec(output) ?? [];
  expect(Number(drawn)).toBeGreaterThanOrEqual(6);
  expect(Number(drawn)).toBeLessThan(100);
});

test('jobs are done whoever dies, and one that cannot be done is a dead letter', async () => {
  const output = await runExample('work-queue', '30');
  expect(output).toContain('30 jobs are stored\nworker-1 is gone\n29 jobs done by ');
  expect(output).toMatch(
    /^dead: 7 of jobs\/resize, offset 8, after 3 attempts: this picture has no pixels$/m,
  );
});

test('a service answers, and says why it does not', async () => {
  const lines = (await runExample('service', '20')).trimEnd().split('\n');
  expect(lines).toEqual([
    expect.stringMatching(/^without a server: ERR_JSP_NO_RESPONDERS: /),
    'coffee: 5.6',
    '21 requests were answered, by 2 servers',
    expect.stringMatching(/^what there is not: ERR_JSP_REQUEST_FAILED: .*status 404: there is no tea$/),
    expect.stringMatching(/^what takes too long: ERR_JSP_TIMEOUT: /),
  ]);
});

test('curl gets messages in, one by one and many at once, and the last value out; what is sent twice is stored once', async () => {
  const broker = await startBroker({ identity: generateIdentity(), port: 0 });
  const gateway = await startGateway({ broker, port: 0, limits: NEVER_LATE });
  const script = fileURLToPath(new URL('../../examples/http-ingestion.sh', import.meta.url));
  const output = await outputOf(spawn('sh', [script, new URL(gateway.url).origin]));
  await gateway.close();
  await broker.close();
  expect(output).toContain('{"result":"inMemory","duplicate":false,"offset":1}\n');
  expect(output).toContain('2. the last value of a topic\n{"celsius":21.5}\n');
  expect(output).toContain('[{"index":0,"status":200,"result":"inMemory","duplicate":false,"offset":2}');
  const attempts = [...output.matchAll(/^(?:first|second) attempt: (.*)$/gm)].map(([, answer]) => answer);
  expect(attempts).toEqual(Array(2).fill('{"result":"inMemory","duplicate":false,"offset":52}'));
  expect(output).toContain('worth nothing after 5 s\n202\n');
  expect(output).toContain('"code":"TOPIC_INVALID"');
});

/** Runs an example, and answers what it printed. */
function runExample(name: string, ...args: string[]): Promise<string> {
  return runExampleIn(process.cwd(), name, ...args);
}

function runExampleIn(cwd: string, name: string, ...args: string[]): Promise<string> {
  return outputOf(run(cwd, programOf(sourceOf(name)), ...args));
}

function run(cwd: string, ...args: string[]): ChildProcessByStdio<null, Readable, Readable> {
  return spawn(process.execPath, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
}

function sourceOf(name: string): string {
  return fileURLToPath(new URL(`../../examples/${name}.ts`, import.meta.url));
}

async function outputOf(example: ChildProcessByStdio<Writable | null, Readable, Readable>): Promise<string> {
  let output = '';
  let errors = '';
  example.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  example.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const exitCode = await new Promise((resolve) => example.on('close', resolve));
  expect([exitCode, errors]).toEqual([0, '']);
  return output;
}

function textOf(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
}

/** Newer versions of Node run TypeScript themselves; the newest warns of what the loader of older ones calls. */
const STRIPS_TYPES = 'typescript' in process.features && Boolean(process.features.typescript);
