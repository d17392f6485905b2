/**
 * A game server and two players, in one process to keep it short: `npm run ts examples/game-loop.ts [seconds]`.
 *
 * The world goes to the players 60 times a second, best effort: a state that is lost or late is not worth waiting for, as the next one
 * is on its way. Chat goes over the same connections and arrives complete and in order, and neither ever waits for the other.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { connect, generateIdentity, listen, type Stream } from 'jetstream-proto';

const seconds = Number(process.argv[2] ?? 5);
const TICK_MS = 1_000 / 60;
const NAMES = ['Ada', 'Grace'];

const server = await listen({ identity: generateIdentity(), port: 0 });
const seats = new Set<{ state: Stream; chat: Stream }>();

server.on('connection', (connection) => {
  const state = connection.openStream({
    label: 'state',
    priority: 'media',
    delivery: 'bestEffort',
    ordered: false,
    lifetimeMs: 3 * TICK_MS,
  });
  connection.on('stream', (chat) => {
    const seat = { state, chat };
    seats.add(seat);
    connection.on('close', () => seats.delete(seat));
    chat.on('message', (line) => {
      for (const other of seats) other.chat.send(line);
    });
  });
});

const players = await Promise.all(NAMES.map(join));
const ticks = await runWorld();
await Promise.all(players.map((player) => player.stopTalking()));
await server.close(); // delivers what was sent before it closes

for (const { name, states, newestTick, heard } of players) {
  console.log(
    `${name}: ${states} of ${ticks} states, the last one of tick ${newestTick}; heard ${heard.length} lines`,
  );
}

/** Runs at 60 Hz on average, whatever a single timer does. @returns the number of ticks */
async function runWorld(): Promise<number> {
  const startMs = performance.now();
  for (let tick = 0; tick < seconds * 60; tick++) {
    await sleep(Math.max(0, startMs + tick * TICK_MS - performance.now()));
    const world = worldAt(tick);
    for (const { state } of seats) state.send(world);
  }
  return Math.ceil(seconds * 60);
}

/** Where everyone is at a tick: its number, then x and y of each player. */
function worldAt(tick: number): Buffer {
  const world = Buffer.alloc(4 + 8 * NAMES.length);
  world.writeUInt32BE(tick, 0);
  for (let player = 0; player < NAMES.length; player++) {
    const angle = tick / 60 + player * Math.PI;
    world.writeFloatBE(Math.cos(angle), 4 + 8 * player);
    world.writeFloatBE(Math.sin(angle), 8 + 8 * player);
  }
  return world;
}

async function join(name: string) {
  const connection = await connect(server.url);
  const player = { name, states: 0, newestTick: -1, heard: [] as string[], stopTalking };

  connection.on('stream', (state) => {
    state.on('message', (world) => {
      player.states++;
      // Not ordered: a state may come behind a newer one, and is no news then.
      player.newestTick = Math.max(player.newestTick, world.readUInt32BE(0));
    });
  });

  const chat = connection.openStream({ label: 'chat', priority: 'chat' });
  chat.on('message', (line) => player.heard.push(line.toString()));
  let said = 0;
  const talk = setInterval(() => chat.send(`${name} says ${++said}`), 100);
  chat.send(`${name} is here`);

  async function stopTalking(): Promise<void> {
    clearInterval(talk);
    await chat.flush(); // the server has it all
    console.log(`${name} said ${said + 1} lines`);
  }
  return player;
}
