/** Text as programs send it, made from a seed: logs, tables, metrics, a transcript of a chat. */
import type { Prng } from '../../base/random.ts';
import type { MakeMessage } from './json.ts';
import { hex, ipAddress, isoTime, name, pick, sentence, someTime } from './vocabulary.ts';

/** One message of about 10 KB: lines until it has so many bytes. */
export const TEXT_KINDS: Readonly<Record<string, MakeMessage>> = {
  'access log': accessLog,
  'application log': applicationLog,
  CSV: csv,
  metrics,
  'chat transcript': chatTranscript,
};

/** Of a web server, in the combined format. */
function accessLog(prng: Prng): string {
  const visitors = Array.from({ length: 12 }, () => ({
    address: ipAddress(prng),
    agent: pick(prng, AGENTS),
  }));
  let at = someTime(prng);
  return lines([], () => {
    at += prng.below(4_000);
    const { address, agent } = pick(prng, visitors);
    const method = prng.chance(0.85) ? 'GET' : 'POST';
    const path = pick(prng, PATHS) + (prng.chance(0.4) ? `/${prng.below(100_000)}` : '');
    const referrer = prng.chance(0.5) ? '-' : `https://shop.example.com${pick(prng, PATHS)}`;
    const status = pick(prng, [200, 200, 200, 200, 200, 204, 304, 304, 404, 500]);
    return `${address} - - [${logTime(at)}] "${method} ${path} HTTP/1.1" ${status} ${prng.below(40_000)} "${referrer}" "${agent}"`;
  });
}

/** Of a server program, as the usual loggers write it: time, level, process, thread, class, what happened. */
function applicationLog(prng: Prng): string {
  const process = prng.between(1_000, 30_000);
  let at = someTime(prng);
  return lines([], () => {
    at += prng.below(2_000);
    const [level, part, text] = pick(prng, EVENTS);
    const said = text
      .replace('%id', () => hex(prng, 8))
      .replace('%address', () => `${ipAddress(prng)}:${prng.between(1_024, 65_535)}`)
      .replace('%ms', () => `${prng.below(900)} ms`)
      .replace('%n', () => String(prng.below(500)))
      .replace('%user', () => name(prng));
    const time = isoTime(at).replace('T', ' ').slice(0, -1);
    return `${time} ${level.padStart(5)} ${process} --- [worker-${prng.between(1, 8)}] com.example.shop.${part.padEnd(24)} : ${said}`;
  });
}

/** Readings of some sensors, a minute apart. */
function csv(prng: Prng): string {
  const sensors = Array.from({ length: 6 }, () => ({
    name: `sensor-${hex(prng, 4)}`,
    temperature: 15 + prng.float() * 15,
    humidity: prng.between(30, 70),
    battery: (2.9 + prng.float() * 0.3).toFixed(2),
  }));
  let at = Math.floor(someTime(prng) / 60_000) * 60_000;
  let row = 0;
  return lines(['time,sensor,temperature,humidity,battery,status'], () => {
    const sensor = sensors[row++ % sensors.length];
    if (row % sensors.length === 0) at += 60_000;
    sensor.temperature += prng.float() * 0.4 - 0.2;
    const figures = `${sensor.temperature.toFixed(1)},${sensor.humidity + prng.below(2)},${sensor.battery}`;
    return `${isoTime(at)},${sensor.name},${figures},${prng.chance(0.97) ? 'ok' : 'warning'}`;
  });
}

/** What a service shows of itself, in Prometheus' text format: histograms of how long its answers took. */
function metrics(prng: Prng): string {
  let family = 0;
  return lines([], () => {
    const [metric, help] = METRICS[family++ % METRICS.length];
    const samples = ROUTES.flatMap((route) => {
      const labels = `method="GET",route="${route}"`;
      let count = 0;
      const buckets = BUCKETS.map((bound) => {
        count += prng.below(2_000);
        return `${metric}_bucket{${labels},le="${bound}"} ${count}`;
      });
      return [
        ...buckets,
        `${metric}_sum{${labels}} ${(prng.float() * 900).toFixed(3)}`,
        `${metric}_count{${labels}} ${count}`,
      ];
    });
    return [`# HELP ${metric} ${help}`, `# TYPE ${metric} histogram`, ...samples].join('\n');
  });
}

/** Who said what, with the time. */
function chatTranscript(prng: Prng): string {
  const people = Array.from({ length: 6 }, () => name(prng));
  let at = someTime(prng);
  return lines([], () => {
    at += prng.below(90_000);
    return `[${isoTime(at).slice(0, 19)}] ${pick(prng, people)}: ${sentence(prng, 2, 12)}`;
  });
}

function lines(head: readonly string[], line: () => string): string {
  let text = head.map((each) => `${each}\n`).join('');
  while (text.length < MESSAGE_BYTES) text += `${line()}\n`;
  return text;
}

/** As in 12/Mar/2026:08:15:42 +0000. */
function logTime(ms: number): string {
  const [, day, month, year, time] = new Date(ms).toUTCString().split(' ');
  return `${day}/${month}/${year}:${time} +0000`;
}

const MESSAGE_BYTES = 10_000;
const PATHS = [
  '/',
  '/products',
  '/products/search',
  '/cart',
  '/checkout',
  '/api/v1/orders',
  '/api/v1/users',
  '/static/app.js',
  '/static/style.css',
  '/favicon.ico',
];
const AGENTS = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
  'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15',
  'Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148',
  'curl/8.7.1',
];
/** Level, class, and what it says. */
const EVENTS = [
  ['INFO', 'http.RequestLogger', 'Request %id completed with status 200 in %ms'],
  ['INFO', 'http.RequestLogger', 'Request %id completed with status 404 in %ms'],
  ['INFO', 'session.SessionService', 'User %user signed in from %address'],
  ['INFO', 'orders.OrderController', 'Order %id was created with %n items'],
  ['INFO', 'orders.OrderController', 'Order %id was shipped'],
  ['DEBUG', 'cache.ProductCache', 'Cache miss for product %id, loaded from the database in %ms'],
  ['DEBUG', 'cache.ProductCache', 'Evicted %n entries'],
  ['WARN', 'storage.QueryMonitor', 'Slow query took %ms and returned %n rows'],
  ['WARN', 'network.ConnectionPool', 'Connection to %address timed out, trying again'],
  ['ERROR', 'network.ConnectionPool', 'Connection to %address was lost: heartbeat timeout'],
] as const;
const METRICS = [
  ['http_request_duration_seconds', 'Time from the first byte of a request to the last of its answer.'],
  ['http_queue_duration_seconds', 'Time that requests waited for a worker.'],
] as const;
const ROUTES = [
  '/api/v1/orders',
  '/api/v1/orders/:id',
  '/api/v1/users',
  '/api/v1/users/:id',
  '/api/v1/search',
];
const BUCKETS = ['0.005', '0.01', '0.025', '0.05', '0.1', '0.25', '0.5', '1', '2.5', '5', '10', '+Inf'];
