/**
 * `npm run bench NAME -- [options]`: runs a benchmark, compiled. What strips types when a file is loaded costs each of its processes a
 * second or two of CPU time and a heap full of syntax trees, and that would be measured.
 */
import { existsSync, symlinkSync } from 'node:fs';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

const BENCHMARKS: Readonly<Record<string, string>> = {
  ladder: 'what each layer costs, from bare datagrams up',
  'in-process':
    'what our own code costs a message and a packet, with a socket that only hands over and a cipher that does nothing',
  peers: 'the whole stack, also with internet-sized packets, beside TLS 1.3 over TCP, corked and not',
  latency: 'round trips of one message at a time, pinned to one core where `taskset` is there',
  resumption:
    'handshakes a second and the time to the first answer with a ticket and early data, beside TLS 1.3',
  connections: 'handshakes a second and the memory of an idle connection, beside TLS 1.3',
  tick: "a game server's tick: 100 B to 1,000 connections 60 times a second, and as fast as it goes",
  crowd: '10,000 connections that all move data, on one socket: memory of each, throughput, p99',
  lossy:
    'small messages over an emulated bad link, beside kcptun and TCP; needs root, and a program that makes the link',
  congestion: 'what congestion controllers make of losses, queues, policers and each other, in virtual time',
  compression: 'what compression costs where it brings nothing: random bytes with it and without',
  protection:
    'CPU time of a message without protection, with repeats, with codes, with blocks of 10 + 2, in virtual time',
  'lossy-plot': 'the picture of what that recorded, as SVG',
  'fan-out': 'deliveries a second of one publisher to 1, 8 and 100 subscribers, beside NATS over TLS',
  'broker-latency': 'publisher to subscriber through a broker under light load, beside NATS over TLS',
  cluster:
    'one, two and three brokers on one NATS: CPU a delivery, what a hop adds, memory; beside plain NATS',
  'request-reply': 'a request through a broker until it is answered, beside NATS over TLS',
  gateway: 'the six workloads of the Pulsar Proxy report by HTTP and WebSocket, beside Fastify with Redis',
  held: '10,000 WebSocket clients of the gateway, held for 5 minutes: memory, and a message to all of them',
  mqtt: 'MQTT clients: memory of 10,000 idle ones, and deliveries a second, beside Mosquitto',
  overload: 'a gateway that is asked for twice what it can do, and by 6,000 callers who ask again at once',
  'failed-dials': 'the heap of a client after 5,000 dials in vain: it fails above 2 MB',
  durable: 'messages stored on the disk and acknowledged, one by one and many at once, beside JetStream',
  replay:
    'a durable subscription that reads a log from its beginning: messages a second, and CPU at both ends',
  store: "the broker's store on a disk: records stored one by one and in groups, a start, and all read back",
  stalled: 'what one subscriber that reads nothing costs 49 others',
  workers: 'messages and handshakes that a server with one worker takes a CPU second, and with two',
  soak: 'half an hour of mixed load on a durable broker: whether memory stays flat',
  flood: '10,000 hellos a second from addresses that never answer: memory, CPU, and how honest clients fare',
  attacks: 'what 20 Mbit/s of the worst datagrams cost an honest client and the server',
};

/** The native addon is looked for beside what is compiled, but is built where it comes from, if it is: a link to nothing would not be found again. */
const link = new URL('../build', import.meta.url);
const built = new URL('../../build', link);
const isCompiled = import.meta.url.includes('/.cache/benches/');
if (isCompiled && existsSync(built) && !existsSync(link)) symlinkSync('../../build', link);

const [, script, name = ''] = process.argv;
if (name in BENCHMARKS) {
  const benchmark = new URL(`./${name}${extname(script)}`, import.meta.url);
  process.argv.splice(1, 2, fileURLToPath(benchmark)); // it reads its own options, and its help has its name
  await import(benchmark.href);
} else {
  const lines = Object.entries(BENCHMARKS).map(([each, what]) => `  ${each.padEnd(16)}${what}`);
  console.error(
    `npm run bench NAME -- [options]; \`-- --help\` tells the options of one\n\n${lines.join('\n')}`,
  );
  process.exitCode = name === '' || name === '--help' ? 0 : 2;
}
