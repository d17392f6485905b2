/**
 * What the fuzzer of the native addon does, in a process whose addon is built with sanitizers: calls all that the addon offers with arguments
 * as no program of ours has them. Whatever is asked of it, it may answer, or throw a TypeError or a RangeError; it must not touch memory that was
 * not handed to it (a sanitizer ends the process), nor what lies beside the part that was (which is looked at after each call).
 *
 *     node driver.js ADDON SEED ROUNDS
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import {
  KEY_ROW_BYTES,
  KeyOffset,
  type NativeAddon,
  PACKET_ROW,
  PacketColumn,
} from '../../../src/base/native-addon.ts';
import { Prng } from '../../../src/base/random.ts';

const EDGES = [
  0,
  1,
  -1,
  2 ** 31 - 1,
  -(2 ** 31),
  2 ** 32,
  2 ** 53,
  1e300,
  -0,
  0.5,
  Number.NaN,
  Number.POSITIVE_INFINITY,
];

const [path, seed, rounds] = isMainThread ? process.argv.slice(2) : (workerData as string[]);
const addon = createRequire(import.meta.url)(path) as NativeAddon;
const prng = new Prng(Number(seed));
const calls = new Map<string, number>();

/** The tables of socket.c, in words. */
const BINDING = 18;
const ADDRESS = 7;
const OUTGOING = { ROW: 24, TO: 4, FROM: 11 };
const SOCKETS_MAX = 6;
const sockets: { number: number; port: number }[] = [];
const ports = [0];

process.on('uncaughtException', (error) => {
  if (error !== ON_PURPOSE) throw error;
});
const ON_PURPOSE = new Error('thrown by a callback, on purpose');

for (let round = 0; round < Number(rounds); round++) {
  if (chance(0.5)) packets();
  else if (addon.sockets) socketCall();
  if (chance(0.02)) roundTrip();
  // Sockets are read between.
  if (chance(0.2)) await new Promise((resolve) => setImmediate(resolve));
  if (isMainThread && round % 4_000 === 1_000) await thread();
}
if (isMainThread) {
  const counted = Object.fromEntries([...calls].sort());
  console.log(JSON.stringify({ seed: Number(seed), calls: counted }));
  // With sockets that are open, of which some are lost to us: the end of the process has to cope.
  process.exit();
}

/** A thread that does the same, and ends in the middle of it. */
async function thread(): Promise<void> {
  const worker = new Worker(fileURLToPath(import.meta.url), {
    workerData: [path, String(below(2 ** 31)), '1e9'],
  });
  worker.on('error', (error) => {
    throw error;
  });
  await new Promise((resolve) => setTimeout(resolve, 50 + below(150)));
  await worker.terminate();
  count('thread');
}

// ---- packets ----

function packets(): void {
  const name = pick(['seal', 'open'] as const);
  const arena = memory(below(3) === 0 ? below(80) : below(3_000));
  const rows = below(6);
  const keyRows = below(4);
  const table = new Int32Array(rows * PACKET_ROW + below(PACKET_ROW)).map(() => below(2 ** 32));
  for (let row = 0; row < rows; row++) if (chance(0.9)) fillRow(table, row, arena.bytes, keyRows);
  const keys = new Float64Array((keyRows * KEY_ROW_BYTES) / 8 + below(3));
  const keyBytes = new Uint8Array(keys.buffer);
  prng.fill(keyBytes);
  for (let row = 0; row < keyRows; row++) {
    keyBytes[row * KEY_ROW_BYTES] = pick([1, 1, 2, 2, 0, 3, 255]);
    keyBytes[row * KEY_ROW_BYTES + KeyOffset.PHASE] = pick([0, 1, 0, 1, 2]);
    keyBytes[row * KEY_ROW_BYTES + KeyOffset.IS_LEFT] = pick([0, 0, 0, 1]);
    const largest = pick([
      -1,
      below(1_000),
      2 ** 53 - 1,
      2 ** 53,
      -2,
      Number.NaN,
      1e300,
      Number.NEGATIVE_INFINITY,
    ]);
    keys[(row * KEY_ROW_BYTES + KeyOffset.LARGEST) / 8] = largest;
  }
  call(addon[name] as Call, name, [arena.view, table, chance(0.9) ? rows : hostile(), keys]);
  arena.check(name);
  // Those that stay may be asked for again.
  if (chance(0.5)) call(addon.forget as Call, 'forget', [chance(0.9) ? keys : hostile()]);
}

function fillRow(table: Int32Array, row: number, arenaBytes: number, keyRows: number): void {
  const start = below(arenaBytes + 1);
  const numberStart = start + 1 + below(30);
  const edge = pick([
    arenaBytes,
    arenaBytes - 16,
    arenaBytes - 15,
    numberStart + 4,
    numberStart + 3,
    numberStart + 20,
  ]);
  const end = chance(0.5) ? edge : numberStart + below(200);
  const values = [
    start,
    numberStart,
    end,
    below(keyRows + 1) - (chance(0.1) ? 1 : 0),
    below(2 ** 32),
    below(2 ** 22),
  ];
  table.set(values, row * PACKET_ROW);
  if (chance(0.15)) table[row * PACKET_ROW + below(6)] = pick(EDGES) | 0;
}

/** What was sealed opens again, in whatever company. */
function roundTrip(): void {
  const bytes = 20 + below(1_500);
  const packet = new Uint8Array(bytes + 16);
  prng.fill(packet);
  packet[0] &= 0xfb;
  if (packet[0] & 0x80) packet[0] &= 0xf0 | 0x03;
  const keys = new Float64Array(KEY_ROW_BYTES / 8);
  const keyBytes = new Uint8Array(keys.buffer);
  prng.fill(keyBytes);
  keyBytes.set([pick([1, 2]), 0]);
  keyBytes[KeyOffset.IS_LEFT] = 0;
  keys[KeyOffset.LARGEST / 8] = -1;
  const number = below(200);
  const numberBytes = (packet[0] & 3) + 1;
  for (let i = 0; i < numberBytes; i++) packet[9 + i] = i === numberBytes - 1 ? number : 0;
  const before = packet.slice(9 + numberBytes, bytes);
  const row = Int32Array.of(0, 9, bytes, 0, number, 0, 0, -9);
  addon.seal(packet, row, 1, keys);
  row.set([0, 9, bytes + 16, 0, 0, 0, 0, -9]);
  addon.open(packet, row, 1, keys);
  addon.forget(keys);
  const payload = packet.subarray(row[PacketColumn.PAYLOAD_START], bytes);
  const isWhole = row[PacketColumn.RESULT] >= 0 && row[PacketColumn.NUMBER_LOW] === number;
  if (!isWhole || Buffer.compare(payload, before) !== 0) throw new Error('what was sealed did not open');
  count('round trip');
}

// ---- sockets ----

function socketCall(): void {
  const of = addon.sockets as NonNullable<NativeAddon['sockets']>;
  const number = (): unknown => (chance(0.8) ? (pick(sockets)?.number ?? 0) : hostile());
  const what = pick(['bind', 'send', 'send', 'send', 'awaitRoom', 'reference', 'close'] as const);
  if (what === 'bind') bind(of);
  else if (what === 'send') send(of, number());
  else if (what === 'close' && chance(0.3)) {
    const chosen = number();
    const at = sockets.findIndex((socket) => socket.number === chosen);
    if (at >= 0) sockets.splice(at, 1);
    call(of.close as Call, 'close', [chosen]);
  } else if (what === 'awaitRoom') call(of.awaitRoom as Call, what, [number()]);
  else if (what === 'reference')
    call(of.reference as Call, what, [number(), chance(0.7) ? chance(0.5) : hostile()]);
}

function bind(of: NonNullable<NativeAddon['sockets']>): void {
  if (sockets.length >= SOCKETS_MAX) return;
  const binding = new Int32Array(BINDING + below(2) - (chance(0.05) ? 1 + below(BINDING) : 0));
  fillAddress(binding, 0, 0);
  if (chance(0.3)) fillAddress(binding, ADDRESS, pick(ports));
  binding[2 * ADDRESS] = chance(0.7) ? below(128) : below(2 ** 32);
  binding[2 * ADDRESS + 1] = pick([0, 1, 65_536, 1 << 20, -1]);
  binding[2 * ADDRESS + 2] = pick([0, 1, 65_536, 1 << 20, -1]);
  const arena = memory(pick([0, 1, 100, 65_600, 70_000, 300_000, 5 * 65_600 + below(999)]));
  const table = new Int32Array(pick([0, 1, 3, 4, 10, 24, 44, 300, 2_000]));
  const onPoll = (): void => {
    count('poll');
    arena.check('poll');
    if (chance(0.05)) arena.detach();
    if (chance(0.05)) structuredClone(table.buffer, { transfer: [table.buffer] });
    if (chance(0.1)) of.close(pick(sockets)?.number ?? 0);
    if (chance(0.1)) throw ON_PURPOSE;
  };
  const callback = chance(0.95) ? onPoll : hostile();
  const answer = call(of.bind as Call, 'bind', [binding, arena.view, table, callback]);
  if (typeof answer !== 'number' || answer < 0) return;
  count('bound');
  sockets.push({ number: answer, port: binding[1] });
  ports.push(binding[1]);
  if (ports.length > 50) ports.shift();
}

function send(of: NonNullable<NativeAddon['sockets']>, number: unknown): void {
  const arena = memory(below(3) === 0 ? below(70_000) : below(300));
  const count_ = below(5);
  const rows = new Int32Array(count_ * OUTGOING.ROW + below(4));
  for (let row = 0; row < count_; row++) {
    const at = row * OUTGOING.ROW;
    const start = below(arena.bytes + 1);
    const length = below(arena.bytes - start + 1);
    // A datagram for each byte is tried where that is not tens of thousands.
    const segment = pick([0, 0, length < 300 ? 1 : 1_000, 1_200, 1_472, length, 65_535]);
    rows.set([start, length, segment, below(4)], at);
    fillAddress(rows, at + OUTGOING.TO, pick(ports));
    if (chance(0.3)) fillAddress(rows, at + OUTGOING.FROM, 0);
    else rows.fill(0, at + OUTGOING.FROM, at + OUTGOING.FROM + ADDRESS);
    if (chance(0.1)) rows[at + below(4)] = pick(EDGES) | 0;
    if (chance(0.1)) rows[at + 18 + below(6)] = pick(EDGES) | 0;
  }
  const first = chance(0.8) ? 0 : chance(0.5) ? below(count_ + 1) : hostile();
  call(of.send as Call, 'send', [number, arena.view, rows, first, chance(0.9) ? count_ : hostile()]);
  arena.check('send');
}

/** None that leads out of this machine. */
function fillAddress(words: Int32Array, at: number, port: number): void {
  if (at + ADDRESS > words.length) return;
  const bytes = new Uint8Array(words.buffer, words.byteOffset + 4 * at, 4 * ADDRESS);
  const family = pick([4, 4, 4, 6, 6, 0, 5, -1]);
  words[at] = family;
  words[at + 1] = chance(0.95) ? port : pick([-1, 65_536, 2 ** 31 - 1]);
  bytes.fill(0, 8);
  if (family === 6) bytes[23] = 1;
  else bytes.set([127, 0, 0, pick([1, 1, 1, 2])], 8);
  words[at + 6] = chance(0.95) ? 0 : pick(EDGES) | 0;
}

// ---- arguments ----

type Call = (...values: unknown[]) => unknown;

/** Calls it, with one or more arguments put out of order at times; what it throws must be one of two. */
function call(of: Call, name: string, values: unknown[]): unknown {
  if (chance(0.05)) values[below(values.length)] = hostile();
  if (chance(0.02)) values.length = below(values.length + 1);
  count(name);
  try {
    return of.apply(chance(0.9) ? addon : undefined, values);
  } catch (error) {
    if (!(error instanceof TypeError) && !(error instanceof RangeError)) throw error;
    count(`${name} refused`);
    return undefined;
  }
}

/** Memory of every kind that a Uint8Array may have, and a look at what lies around it. */
function memory(bytes: number): {
  view: Uint8Array;
  bytes: number;
  check(where: string): void;
  detach(): void;
} {
  const kind = pick([
    'whole',
    'whole',
    'part',
    'part',
    'shared',
    'detached',
    'resizable',
    'shrunk',
    'pool',
  ] as const);
  if (kind === 'pool') {
    const view = Buffer.allocUnsafe(bytes);
    return { view, bytes, check: () => {}, detach: () => {} };
  }
  const around = kind === 'part' ? 64 : 0;
  const buffer = bufferOf(kind, bytes + 2 * around);
  const view =
    kind === 'shrunk' || kind === 'resizable'
      ? new Uint8Array(buffer)
      : new Uint8Array(buffer, around, bytes);
  prng.fill(view.subarray(0, 64));
  if (kind === 'shrunk') (buffer as ArrayBuffer & { resize(bytes: number): void }).resize(bytes >> 1);
  const detach = (): void => {
    if (buffer instanceof ArrayBuffer) structuredClone(buffer, { transfer: [buffer] });
  };
  if (kind === 'detached') detach();
  const check = (where: string): void => {
    if (kind !== 'part' || view.length === 0) return;
    const all = new Uint8Array(buffer);
    for (let i = 0; i < around; i++) {
      if (all[i] !== 0 || all[around + bytes + i] !== 0) throw new Error(`${where} wrote beside its arena`);
    }
  };
  return { view, bytes: view.length, check, detach };
}

function bufferOf(kind: string, bytes: number): ArrayBuffer {
  if (kind === 'shared') return new SharedArrayBuffer(bytes) as unknown as ArrayBuffer;
  if (kind !== 'shrunk' && kind !== 'resizable') return new ArrayBuffer(bytes);
  return new (ArrayBuffer as unknown as new (bytes: number, options: object) => ArrayBuffer)(bytes, {
    maxByteLength: bytes + 100,
  });
}

function hostile(): unknown {
  return pick<() => unknown>([
    () => undefined,
    () => null,
    () => pick(EDGES),
    () => '7',
    () => 2n ** 70n,
    () => Symbol('a symbol'),
    () => ({ length: 9, byteLength: 9, buffer: new ArrayBuffer(9) }),
    () => new Proxy(new Uint8Array(8), {}),
    () => new DataView(new ArrayBuffer(64)),
    () => new ArrayBuffer(64),
    () => new Int32Array(below(40)),
    () => new Uint8Array(below(40)),
    () => new Float64Array(below(40)),
    () => new BigInt64Array(below(40)),
    () => new Int32Array(new SharedArrayBuffer(64)),
    () => new Float64Array(new SharedArrayBuffer(192)),
    () => () => {},
  ])();
}

function chance(of: number): boolean {
  return below(1_000_000) < of * 1_000_000;
}

function pick<T>(values: readonly T[]): T {
  return values[below(values.length)];
}

function below(limit: number): number {
  const four = new Uint8Array(4);
  prng.fill(four);
  return new DataView(four.buffer).getUint32(0) % Math.max(1, limit);
}

function count(what: string): void {
  calls.set(what, (calls.get(what) ?? 0) + 1);
}
