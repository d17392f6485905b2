/**
 * JSON as programs send it, compact, made from a seed. Values are related as they are in life: of a game's entities most stand still, a sensor's next
 * reading is close to its last, records of one page share their states and links. {@link figures} is what it is not.
 */
import type { Prng } from '../../base/random.ts';
import { hex, isoTime, name, pick, rounded, sentence, someTime } from './vocabulary.ts';

export type MakeMessage = (prng: Prng) => string;

/** One message of about 1 KB: entries until it has so many bytes. */
export const JSON_KINDS: Readonly<Record<string, MakeMessage>> = {
  'game state': gameState,
  telemetry,
  'fleet status': fleetStatus,
  'chat history': chatHistory,
  'API answer': apiAnswer,
};

/** One message of 100 to 200 bytes. */
export const SMALL_JSON_KINDS: Readonly<Record<string, MakeMessage>> = {
  'sensor reading': sensorReading,
  'player input': playerInput,
  'position report': positionReport,
  'presence event': presenceEvent,
};

/** Entities near a player, as a server sends them each tick: players, animals and things, most of which stand where they are. */
function gameState(prng: Prng): string {
  const head = { type: 'state', tick: prng.between(1_000, 900_000), zone: pick(prng, ZONES) };
  let id = prng.between(1, 4_000);
  const x = prng.below(1_800);
  const y = prng.below(1_800);
  return filled(head, 'entities', () => {
    const moves = prng.chance(0.3);
    id += prng.between(1, 9);
    return {
      id,
      kind: pick(prng, ['player', 'npc', 'npc', 'wolf', 'chest', 'tree']),
      x: x + prng.below(200),
      y: y + prng.below(200),
      vx: moves ? prng.between(-8, 8) : 0,
      vy: moves ? prng.between(-8, 8) : 0,
      health: prng.chance(0.75) ? 100 : prng.below(100),
      state: moves ? 'walking' : 'idle',
      team: pick(prng, ['red', 'blue', 'none']),
    };
  });
}

/** A gateway's batch: readings of one device, ten seconds apart. */
function telemetry(prng: Prng): string {
  const head = {
    device: `pump-${hex(prng, 6)}`,
    site: pick(prng, SITES),
    firmware: `2.${prng.below(9)}.${prng.below(20)}`,
  };
  let at = Math.floor(someTime(prng) / 1_000) * 1_000;
  let temperature = 15 + prng.float() * 20;
  let pressure = 980 + prng.float() * 50;
  const humidity = prng.between(30, 70);
  return filled(head, 'readings', () => {
    at += 10_000;
    temperature += prng.float() * 0.2 - 0.1;
    pressure += prng.float() * 0.4 - 0.2;
    return {
      time: isoTime(at),
      temperature: rounded(temperature, 1),
      humidity: humidity + prng.below(2),
      pressure: rounded(pressure, 1),
      status: prng.chance(0.97) ? 'ok' : 'warning',
    };
  });
}

/** What a dashboard asks for: how the devices of a site are. */
function fleetStatus(prng: Prng): string {
  const head = { site: pick(prng, SITES), at: isoTime(someTime(prng)) };
  let number = prng.between(100, 800);
  return filled(head, 'devices', () => ({
    name: `gateway-${number++}`,
    online: prng.chance(0.95),
    firmware: prng.chance(0.9) ? '2.14.1' : '2.13.7',
    network: pick(prng, ['wifi', 'wifi', 'ethernet', 'cellular']),
    batteryLow: prng.chance(0.05),
    alarms: prng.chance(0.9) ? 0 : prng.between(1, 5),
    signal: -prng.between(50, 90),
  }));
}

/** The last messages of a room. */
function chatHistory(prng: Prng): string {
  const head = { room: pick(prng, ZONES) };
  const people = Array.from({ length: 4 }, () => ({ id: prng.between(1_000, 9_999), name: name(prng) }));
  let id = prng.between(10_000, 90_000);
  let at = someTime(prng);
  return filled(head, 'messages', () => {
    at += prng.below(90_000);
    return {
      id: id++,
      from: pick(prng, people),
      sentAt: isoTime(at),
      text: sentence(prng, 2, 12),
      edited: prng.chance(0.05),
      reactions: [],
    };
  });
}

/** A page of a list of orders. */
function apiAnswer(prng: Prng): string {
  const head = { page: prng.between(1, 40), pageSize: 20, total: prng.between(100, 9_000) };
  let id = prng.between(100_000, 900_000);
  let at = someTime(prng);
  return filled(head, 'orders', () => {
    id += prng.between(1, 5);
    at += prng.below(600_000);
    return {
      id,
      href: `https://api.example.com/v1/orders/${id}`,
      status: pick(prng, ORDER_STATES),
      customer: {
        name: name(prng),
        href: `https://api.example.com/v1/customers/${prng.between(1_000, 9_999)}`,
      },
      total: { amount: rounded(prng.float() * 200, 2), currency: 'EUR' },
      createdAt: isoTime(at),
      paid: prng.chance(0.8),
    };
  });
}

/** Nothing but figures that have nothing to do with each other: the hardest that JSON gets. */
export function figures(prng: Prng): string {
  return filled({ frame: prng.below(100_000) }, 'points', () => ({
    x: rounded(prng.float() * 2_000, 2),
    y: rounded(prng.float() * 2_000, 2),
    z: rounded(prng.float() * 2_000, 2),
    heading: rounded(prng.float() * 360, 1),
  }));
}

function sensorReading(prng: Prng): string {
  return JSON.stringify({
    device: `sensor-${hex(prng, 6)}`,
    time: isoTime(someTime(prng)),
    temperature: rounded(10 + prng.float() * 25, 2),
    humidity: rounded(30 + prng.float() * 50, 1),
    battery: rounded(2.4 + prng.float() * 1.2, 2),
    status: prng.chance(0.95) ? 'ok' : 'low battery',
  });
}

function playerInput(prng: Prng): string {
  return JSON.stringify({
    type: 'input',
    player: prng.between(1, 4_000),
    sequence: prng.between(1, 200_000),
    keys: ['w', 'a', 's', 'd', 'jump', 'sprint'].filter(() => prng.chance(0.35)),
    aim: { yaw: rounded(prng.float() * 360, 2), pitch: rounded(prng.float() * 90 - 45, 2) },
    fire: prng.chance(0.2),
    weapon: pick(prng, ['bow', 'sword', 'staff', 'crossbow', 'none']),
  });
}

function positionReport(prng: Prng): string {
  return JSON.stringify({
    vehicle: `truck-${prng.between(100, 999)}`,
    time: isoTime(someTime(prng)),
    position: { latitude: rounded(47 + prng.float() * 6, 5), longitude: rounded(6 + prng.float() * 8, 5) },
    speed: prng.below(90),
    heading: prng.below(360),
    ignition: prng.chance(0.9) ? 'on' : 'off',
  });
}

function presenceEvent(prng: Prng): string {
  return JSON.stringify({
    event: pick(prng, ['joined', 'left', 'typing', 'away']),
    room: pick(prng, ZONES),
    user: { id: prng.between(1_000, 99_999), name: name(prng) },
    client: pick(prng, ['web', 'android', 'ios', 'desktop']),
    time: isoTime(someTime(prng)),
  });
}

/** `head` with a list of as many entries as make about 1 KB. */
function filled(head: object, key: string, entry: () => object): string {
  const entries: object[] = [];
  let text = '';
  do {
    entries.push(entry());
    text = JSON.stringify({ ...head, [key]: entries });
  } while (text.length < MESSAGE_BYTES);
  return text;
}

const MESSAGE_BYTES = 1_000;
const ZONES = ['harbour', 'old-town', 'north-gate', 'market', 'general', 'support', 'dev', 'random'];
const SITES = ['plant-north', 'plant-south', 'depot-3', 'well-17'];
const ORDER_STATES = ['pending', 'paid', 'shipped', 'shipped', 'delivered', 'cancelled'];
