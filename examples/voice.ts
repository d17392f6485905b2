/**
 * A call over a bad link, heard twice, without protection and with it: `npm run ts examples/voice.ts [seconds] [loss in %] [playout delay in ms]`.
 *
 * A speaker sends a frame of 20 ms every 20 ms. The listener has a playout buffer: a frame that is not there when its turn comes is a gap that
 * one hears. Lost frames are not asked for again, for they would come too late; what helps is a copy that rides in the frames behind them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Connection, connect, generateIdentity, listen, type Protection } from 'jetstream-proto';

const seconds = Number(process.argv[2] ?? 5);
const lossPercent = Number(process.argv[3] ?? 10);
/** Between the moment a frame is spoken and the one in which it is played. */
const playoutMs = Number(process.argv[4] ?? 120);
const FRAME_MS = 20;
/** A frame of Opus at 32 kbit/s. */
const FRAME_BYTES = 80;
const frames = Math.ceil((seconds * 1_000) / FRAME_MS);

async function call(protection: Protection) {
  const server = await listen({ identity: generateIdentity(), port: 0 });
  const playout = new Playout();
  server.on('connection', (connection) =>
    connection.on('stream', (voice) => voice.on('message', playout.onFrame)),
  );

  const connection = await connect(server.url, {
    profile: 'gaming',
    protection,
    impairment: { seed: 7, outgoing: { delayMs: 40, loss: lossPercent / 100 }, incoming: { delayMs: 40 } },
  });
  await speak(connection);
  await sleep(240); // for what is still on its way
  const { bytesSent: bytes } = connection.metrics();
  await connection.close();
  await server.close();
  return { protection, bytes, ...playout.report() };
}

/** Sends a frame every 20 ms on average; a machine that is too busy for that gets behind, and sends no two at once. */
async function speak(connection: Connection): Promise<void> {
  const voice = connection.openStream({
    label: 'voice',
    delivery: 'bestEffort', // a frame that is lost would come too late if it was sent again
    ordered: false, // the playout buffer puts them in order
    lifetimeMs: playoutMs, // one that cannot be played any more is not sent
  });
  let dueMs = performance.now();
  for (let number = 0; number < frames; number++) {
    await sleep(Math.max(0, dueMs - performance.now()));
    dueMs = Math.max(dueMs + FRAME_MS, performance.now());
    const frame = Buffer.alloc(FRAME_BYTES);
    frame.writeUInt32BE(number, 0);
    frame.writeDoubleBE(performance.now(), 4); // one process, one clock: between two machines the jitter buffer estimates it
    voice.send(frame);
  }
}

/** Notes when each frame came, and tells which ones were not there when they were to be played. */
class Playout {
  /** Delay in ms by the number of the frame. */
  private readonly delays = new Map<number, number>();

  readonly onFrame = (frame: Buffer): void => {
    this.delays.set(frame.readUInt32BE(0), performance.now() - frame.readDoubleBE(4));
  };

  report() {
    const late = [...this.delays.values()].filter((delay) => delay > playoutMs).length;
    const missing = frames - this.delays.size;
    return { late, missing, gaps: late + missing };
  }
}

console.log(
  `${frames} frames of ${FRAME_MS} ms, one way 40 ms, ${lossPercent} % of packets lost, played after ${playoutMs} ms`,
);
const calls = await Promise.all((['off', 'auto'] as const).map(call));
for (const { protection, gaps, late, missing, bytes } of calls) {
  const name = protection === 'off' ? 'without protection' : 'with protection';
  const share = ((100 * gaps) / frames).toFixed(1);
  console.log(
    `${name}: ${gaps} gaps (${share} %), of ${missing} frames that never came and ${late} that came late; ${bytes} bytes sent`,
  );
}
