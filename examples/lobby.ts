/**
 * The lobby of a game: who is there, and where they stand: `npm run ts examples/lobby.ts [players] [moves]`.
 *
 * Presence is a retained value that its player owns: it goes when the player's session does. Where somebody stands is of class `latest`: a slow
 * connection gets the newest position of each player instead of all of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { generateIdentity } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { type BrokerClient, connectClient } from 'jetstream-proto/client';

const players = Number(process.argv[2] ?? 4);
const moves = Number(process.argv[3] ?? 100);
const MEMBERS = 'lobby/members/';
const POSITIONS = 'lobby/positions/';

const broker = await startBroker({ identity: generateIdentity(), port: 0 });

// A screen that shows who is in the lobby: one subscription gets those who are there, and then who comes and goes.
const screen = await connectClient(broker.url);
const members = new Map<string, string>();
await screen.subscribe(`${MEMBERS}+`, (message) => {
  const player = message.topic.slice(MEMBERS.length);
  if (message.payload.length === 0) {
    members.delete(player);
    console.log(`${player} has left; ${members.size} are here`);
  } else if (!members.has(player)) {
    members.set(player, message.text());
    console.log(`${player} is here: ${message.text()}`);
  }
});

const clients = new Map<string, BrokerClient>();
for (let i = 1; i <= players; i++) clients.set(`player-${i}`, await join(`player-${i}`));

// Who looks in later sees all that are there at once, and draws ten pictures a second.
const visitor = await connectClient(broker.url);
const positions = new Map<string, string>();
let drawn = 0;
await visitor.subscribe(
  `${POSITIONS}+`,
  (message) => {
    positions.set(message.topic.slice(POSITIONS.length), message.text());
    drawn++;
  },
  { class: 'latest', maxRate: 10 },
);

for (let move = 1; move <= moves; move++) {
  for (const [player, client] of clients) client.publish(POSITIONS + player, `${move}`, { class: 'latest' });
  await sleep(10);
}
await sleep(200);
console.log(
  `the visitor has got ${drawn} of ${players * moves} positions, and the last ones: ${[...new Set(positions.values())]}`,
);

// One says goodbye; the connection of another just ends.
const [polite, gone] = clients.values();
await polite.close();
gone.destroy();
while (members.size > players - 2) await sleep(20);

const open = [...clients.values()].filter((client) => client.state === 'online');
await Promise.all([...open, screen, visitor].map((client) => client.close()));
await broker.close();

/** Is here as long as its session is, and a moment longer, so that a short tunnel is no leaving. */
async function join(player: string): Promise<BrokerClient> {
  const client = await connectClient(broker.url, { profile: 'gaming', sessionExpiryMs: 100 });
  const name = JSON.stringify({ name: player, level: player.length });
  client.publish(MEMBERS + player, name, { retain: true, owned: { graceMs: 100 } });
  await client.flush();
  return client;
}
