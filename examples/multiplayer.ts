/**
 * A game of several players over a bad link, in one process to keep it short: `npm run ts examples/multiplayer.ts [seconds] [players] [ms behind]`.
 *
 * The server simulates the world and sends a snapshot 20 times a second; players draw 60 pictures a second. They draw the world as it was 150
 * ms ago, between the two snapshots around that moment: so movement is smooth although snapshots are few, come unevenly, and some never come.
 * What counts, such as a score, is an event beside them: reliable, in order, and it never waits for a snapshot.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, generateIdentity, listen, type Stream } from 'jetstream-proto';

const seconds = Number(process.argv[2] ?? 5);
const playerCount = Number(process.argv[3] ?? 3);
const SNAPSHOT_MS = 50;
const FRAME_MS = 1_000 / 60;
/** How far behind the server players draw: the way, and two intervals, so that one snapshot may be missing. */
const interpolationMs = Number(process.argv[4] ?? 50 + 2 * SNAPSHOT_MS);

interface Vector {
  readonly x: number;
  readonly y: number;
}
interface Snapshot {
  /** By the server's clock. */
  readonly atMs: number;
  readonly positions: readonly Vector[];
}

const server = await listen({ identity: generateIdentity(), port: 0, profile: 'gaming' });
const seats: { snapshots: Stream; events: Stream }[] = [];
server.on('connection', (connection) => {
  const snapshots = connection.openStream({
    label: 'snapshots',
    delivery: 'bestEffort',
    lifetimeMs: interpolationMs, // one that comes later is drawn by nobody
  });
  const events = connection.openStream({ label: 'events' });
  seats.push({ snapshots, events });
});

/** Where everybody is at a moment: on circles, a turn in four seconds. */
function worldAt(atMs: number): Snapshot {
  const positions = Array.from({ length: playerCount }, (_, i) => {
    const angle = (atMs / 4_000) * 2 * Math.PI + i;
    return { x: Math.cos(angle), y: Math.sin(angle) };
  });
  return { atMs, positions };
}

/** @returns how many events there were */
async function simulate(): Promise<number> {
  let dueMs = performance.now();
  let score = 0;
  for (let tick = 0; tick * SNAPSHOT_MS < seconds * 1_000; tick++) {
    await sleep(Math.max(0, dueMs - performance.now()));
    dueMs = Math.max(dueMs + SNAPSHOT_MS, performance.now()); // a busy machine gets behind, and sends no two at once
    const snapshot = encode(worldAt(performance.now()));
    for (const seat of seats) seat.snapshots.send(snapshot);
    if (tick % 10 !== 0) continue;
    score++;
    for (const seat of seats) seat.events.send(`goal ${score}`);
  }
  return score;
}

async function join(number: number) {
  const connection = await connect(server.url, {
    profile: 'gaming',
    // Each has a link of their own: 30 to 50 ms to the player, where one packet in twenty is lost.
    impairment: {
      seed: number,
      incoming: { delayMs: 30, jitterMs: 20, loss: 0.05 },
      outgoing: { delayMs: 30 },
    },
  });
  const buffer = new SnapshotBuffer();
  const goals: string[] = [];
  connection.on('stream', (stream) => {
    if (stream.label === 'snapshots') stream.on('message', (bytes) => buffer.add(decode(bytes)));
    else stream.on('message', (goal) => goals.push(goal.toString()));
  });
  const drawing = setInterval(() => buffer.draw(performance.now() - interpolationMs), FRAME_MS);

  function report(expected: number): string {
    const inOrder = goals.every((goal, i) => goal === `goal ${i + 1}`);
    return `player ${number}: ${buffer.received} snapshots, ${buffer.drawn} pictures, ${buffer.guessed} of them guessed, largest jump ${buffer.largestStep.toFixed(3)}, off by ${buffer.largestError.toFixed(3)} at most; ${goals.length} of ${expected} goals${inOrder ? ' in order' : ''}`;
  }
  return { report, stopDrawing: () => clearInterval(drawing) };
}

/** The snapshots of the last moments, and what is drawn of them. */
class SnapshotBuffer {
  received = 0;
  drawn = 0;
  /** Pictures for which no later snapshot was there. */
  guessed = 0;
  /** How far the first player moved from one picture to the next, and was from where it really was then, at most. */
  largestStep = 0;
  largestError = 0;
  private readonly snapshots: Snapshot[] = [];
  private latest: Vector | null = null;
  private latestMs = 0;

  add(snapshot: Snapshot): void {
    this.received++;
    this.snapshots.push(snapshot); // ordered: one that comes behind a newer one is not delivered
    if (this.snapshots.length > SNAPSHOTS_KEPT) this.snapshots.shift();
  }

  draw(atMs: number): void {
    const after = this.snapshots.find((snapshot) => snapshot.atMs >= atMs);
    const before = this.snapshots.findLast((snapshot) => snapshot.atMs < atMs);
    if (before === undefined) return;
    this.drawn++;
    if (after === undefined) this.guessed++;
    const position = after === undefined ? before.positions[0] : between(before, after, atMs);
    const truth = worldAt(atMs).positions[0];
    // A busy machine may draw late; what is one step here is that of a picture in time.
    const pictures = Math.max(1, (atMs - this.latestMs) / FRAME_MS);
    if (this.latest !== null)
      this.largestStep = Math.max(this.largestStep, distance(position, this.latest) / pictures);
    this.largestError = Math.max(this.largestError, distance(position, truth));
    this.latest = position;
    this.latestMs = atMs;
  }
}

/** Two seconds of them. */
const SNAPSHOTS_KEPT = 40;

function between(a: Snapshot, b: Snapshot, atMs: number): Vector {
  const share = (atMs - a.atMs) / (b.atMs - a.atMs);
  const [from, to] = [a.positions[0], b.positions[0]];
  return { x: from.x + share * (to.x - from.x), y: from.y + share * (to.y - from.y) };
}

function distance(a: Vector, b: Vector): number {
  return Math.hypot(a.x - b.x, a.y - b.y);
}

function encode({ atMs, positions }: Snapshot): Buffer {
  const bytes = Buffer.alloc(8 + 8 * positions.length);
  bytes.writeDoubleBE(atMs, 0); // one process, one clock: between two machines the clocks have to be compared first
  positions.forEach(({ x, y }, i) => {
    bytes.writeFloatBE(x, 8 + 8 * i);
    bytes.writeFloatBE(y, 12 + 8 * i);
  });
  return bytes;
}

function decode(bytes: Buffer): Snapshot {
  const positions = Array.from({ length: (bytes.length - 8) / 8 }, (_, i) => {
    return { x: bytes.readFloatBE(8 + 8 * i), y: bytes.readFloatBE(12 + 8 * i) };
  });
  return { atMs: bytes.readDoubleBE(0), positions };
}

const players = await Promise.all(Array.from({ length: playerCount }, (_, i) => join(i + 1)));
while (seats.length < playerCount) await sleep(1); // the server hears of the last one a moment later
const scored = await simulate();
for (const player of players) player.stopDrawing();
await sleep(300); // the last ones are on their way
await server.close();
for (const player of players) console.log(player.report(scored));
