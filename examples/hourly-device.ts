/**
 * A device that wakes every hour, says one thing and sleeps: `npm run ts examples/hourly-device.ts [wakes]`.
 *
 * It keeps the ticket of its last connection in a file, as it would in its flash. With it the reading goes out with the first datagram: the server has
 * it after half a round trip, instead of one and a half. Before the last wake the server is started anew, and does not take the tickets of before.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, generateIdentity, type Listener, listen } from 'jetstream-proto';

const wakes = Number(process.argv[2] ?? 4);
const ONE_WAY_MS = 50;
const identity = generateIdentity();
const flash = mkdtempSync(join(tmpdir(), 'device-'));
const ticketFile = join(flash, 'ticket');

/** When each reading arrived. */
const heard = new Map<string, number>();
let server = await serve(0);
for (let wake = 1; wake <= wakes; wake++) {
  if (wake === wakes) server = await restarted(server);
  console.log(`wake ${wake}: ${await report(wake)}`);
}
await server.close();
console.log(`${heard.size} readings of ${wakes} arrived, each once`);
rmSync(flash, { recursive: true });

/** All that the device does in an hour. */
async function report(wake: number): Promise<string> {
  const reading = `reading ${wake}`;
  const wokeUp = performance.now();
  const ticket = existsSync(ticketFile) ? readFileSync(ticketFile) : undefined;
  rmSync(ticketFile, { force: true }); // a ticket is good for one connection
  const connection = await connect(server.url, {
    ticket,
    earlyData: true,
    impairment: { seed: wake, outgoing: { delayMs: ONE_WAY_MS }, incoming: { delayMs: ONE_WAY_MS } },
  });
  connection.on('ticket', (next) => writeFileSync(ticketFile, next, { mode: 0o600 }));
  const stream = connection.openStream({ earlyData: true });
  const outcome = await stream.sendTracked(reading); // the server has it
  await connection.close();
  const afterMs = Math.round((heard.get(reading) ?? Number.NaN) - wokeUp);
  return `${outcome}, early data ${connection.earlyData}, heard after ${afterMs} ms`;
}

async function serve(port: number): Promise<Listener> {
  const listener = await listen({ identity, port });
  listener.on('connection', (connection) =>
    connection.on('stream', (stream) =>
      stream.on('message', (message) => {
        if (heard.has(message.toString())) throw new Error(`${message} came twice`);
        heard.set(message.toString(), performance.now());
      }),
    ),
  );
  return listener;
}

/** The same server, in the eyes of its clients: but it has forgotten the keys of its tickets. */
async function restarted(before: Listener): Promise<Listener> {
  await before.close();
  return serve(before.port);
}
