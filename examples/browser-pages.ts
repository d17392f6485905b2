/**
 * Two pages against a gateway, a chat and a live map: `npm run ts examples/browser-pages.ts [port of the pages] [port of the gateway]`.
 *
 * Starts a broker with its gateway, a fleet of vehicles for the map, and a server for examples/browser-chat.html and examples/live-map.html. The pages come from an origin of their
 * own, as an application's do, which the gateway is told to let in.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { generateIdentity } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { connectClient, jsonCodec } from 'jetstream-proto/client';
import { startGateway } from 'jetstream-proto/gateway';

const PAGES: Readonly<Record<string, string>> = { '/chat': 'browser-chat.html', '/map': 'live-map.html' };
const DIRECTIONS = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
] as const;

const pagesPort = Number(process.argv[2] ?? 4581);
const gatewayPort = Number(process.argv[3] ?? 4580);

const pages = createServer((request, response) => {
  const page = PAGES[request.url ?? ''];
  if (page === undefined) return void response.writeHead(404).end();
  // The one line of each that says where its gateway is.
  const text = readFileSync(new URL(page, import.meta.url), 'utf8');
  response.setHeader('content-type', 'text/html; charset=utf-8');
  response.end(text.replace('http://127.0.0.1:4580/jsp.js', `${gateway.url.replace(/\/$/, '')}/jsp.js`));
});
await once(pages.listen(pagesPort, '127.0.0.1'), 'listening');
const origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`;

const broker = await startBroker({ identity: generateIdentity(), port: 0 });
const gateway = await startGateway({ broker, port: gatewayPort, origins: [origin] });
console.log(`chat: ${origin}/chat\nmap: ${origin}/map\ndashboard: ${gateway.url}`);

// The fleet drives along the streets of the map. A browser gets what these clients publish by another transport, and the other way round.
const fleet = await connectClient(broker.url, { codec: jsonCodec() });
const vehicles = Array.from({ length: 12 }, (_, i) => ({
  name: `van-${i + 1}`,
  x: ((i % 9) + 1) / 10,
  y: (((i * 4) % 9) + 1) / 10,
  heading: 90 * (i % 4),
}));
const driving = setInterval(() => {
  for (const vehicle of vehicles) {
    drive(vehicle);
    const { name, ...position } = vehicle;
    fleet.publish(`fleet/${name}/position`, position, { class: 'latest', retain: true });
  }
}, 100);

process.once('SIGINT', stop);
process.once('SIGTERM', stop);

/** Goes on a little; turns at the edge of the map, and at a crossing perhaps. */
function drive(vehicle: { x: number; y: number; heading: number }): void {
  const [dx, dy] = DIRECTIONS[vehicle.heading / 90];
  const [x, y] = [vehicle.x + dx * 0.005, vehicle.y + dy * 0.005];
  const isAtCrossing = [x, y].every((at) => Math.abs(at * 10 - Math.round(at * 10)) < 0.02);
  const isOnMap = Math.min(x, y) >= 0.0999 && Math.max(x, y) <= 0.9001;
  if (isOnMap) Object.assign(vehicle, { x, y });
  if (!isOnMap) vehicle.heading = (vehicle.heading + 180) % 360;
  else if (isAtCrossing && Math.random() < 0.4) {
    vehicle.heading = (vehicle.heading + (Math.random() < 0.5 ? 90 : 270)) % 360;
  }
}

async function stop(): Promise<void> {
  clearInterval(driving);
  pages.close();
  pages.closeAllConnections();
  await fleet.close();
  await gateway.close();
  await broker.close();
}
