import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, type Micros, SECOND } from '../../../src/base/time.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { EndpointEvent } from '../../../src/protocol/endpoint/index.ts';
import type { ConnectionStream } from '../../../src/protocol/stream/connection-stream.ts';
import { Delivery } from '../../../src/protocol/wire/frame-type.ts';
import { isConfirmed } from '../../protocol/connection/internals.ts';
import { contentOf } from '../content.ts';
import { Violation } from '../invariants.ts';
import { type InteropHost, InteropWorld } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';
import { TRANSFER_SETTINGS } from './transfer.ts';

/** How messages are sent. */
const SHAPES = {
  'bulk up': { up: { pause: [0.05, 0.05], bytes: 1_000 } },
  'bulk down': { down: { pause: [0.05, 0.05], bytes: 1_000 } },
  'bulk both ways': {
    up: { pause: [0.05, 0.05], bytes: 1_000 },
    down: { pause: [0.05, 0.05], bytes: 1_000 },
  },
  'messages up': { up: { pause: [0.5, 5], bytes: 200 } },
  'messages both ways': { up: { pause: [0.5, 5], bytes: 200 }, down: { pause: [0.5, 5], bytes: 200 } },
  'request and response': { up: { pause: [0.5, 5], bytes: 100 }, isAnswered: true },
  'pushed in a rhythm': { down: { pause: [2, 2], bytes: 200 } },
  'pushed in bursts': { down: { pause: [0.5, 5], bytes: 1_000, burst: 4 } },
  'pushed irregularly': { down: { pause: [0.5, 5], bytes: 200 } },
  'pushed rarely': { down: { pause: [5, 50], bytes: 200 } },
} as const satisfies Readonly<Record<string, Shape>>;
type ShapeName = keyof typeof SHAPES;

interface Shape {
  readonly up?: Sending;
  readonly down?: Sending;
  /** The server sends back what comes. */
  readonly isAnswered?: boolean;
}

interface Sending {
  /** Shortest and longest, in round trips. */
  readonly pause: readonly [number, number];
  readonly bytes: number;
  readonly burst?: number;
}

const SHAPE_NAMES = Object.keys(SHAPES) as ShapeName[];
/** `port` and `address`: a NAT gives the client others, which it does not know. Of the others it does, and of `network gone` at once. */
const MOVES = ['port', 'address', 'on purpose', 'network gone'] as const;

interface Plan {
  readonly shape: ShapeName;
  readonly move: (typeof MOVES)[number];
  readonly delayMs: number;
  /** Share of the delay that a datagram may come later. */
  readonly jitter: number;
}

/**
 * How long a client that moves stands still, by what is sent and how it moves. Nothing is lost here but by the move, and no queue builds up:
 * what is measured is the time until each side knows, and what was under way is there.
 */
export const moving: InteropScenario<Plan> = {
  name: 'moving',
  shows:
    'a client that moves, or is moved by a NAT, waits less than 3 round trips for what is due, or as long as docs/connections.md says of a server that alone speaks [CON-84] [CON-89] [CON-90]',
  met: [...MOVES.map((move) => `moves, ${move}`), 'less than 3 round trips'],
  planOf: (random: Prng) => ({
    shape: SHAPE_NAMES[random.below(SHAPE_NAMES.length)],
    move: MOVES[random.below(MOVES.length)],
    delayMs: random.between(5, 60),
    jitter: random.between(0, 10) / 100,
  }),
  play: ({ shape: name, move, delayMs, jitter }, seed) => {
    const shape: Shape = SHAPES[name];
    const world = new InteropWorld(seed, { crypto: 'cheap' });
    const link = { delayMs, jitterMs: delayMs * jitter };
    const rtt = 2 * delayMs * MILLISECOND;
    world.link('client', 'server', link);
    const [server, client] = [world.server(), world.client()];
    const connection = client.connect(server);
    world.until(() => isConfirmed(connection), 60_000, 'the handshake');
    const flows = begin(world, connection, client, server, shape, rtt);
    world.run(1_500 + (25 * rtt * longest(shape)) / MILLISECOND + world.random.between(0, 500));
    const at = world.now;
    const { node } = client;
    if (move === 'port') node.port.rebind('client', node.port.port + 1);
    else if (move === 'address') {
      world.link('elsewhere', 'server', link);
      node.port.rebind('elsewhere', node.port.port);
    } else {
      world.link('elsewhere', 'server', link);
      const local = node.addAddress('elsewhere', 4_577);
      const isOldGone = move === 'network gone';
      if (isOldGone) world.link('client', 'server', { ...link, blackHole: true });
      connection.device.migrate({ local, isOldGone, isSameHost: false }, world.now);
      node.wake();
    }
    world.run(1_500 + (25 * rtt * longest(shape)) / MILLISECOND);
    for (const flow of flows) flow.isOver = true;
    world.run(30_000);
    const stall = Math.max(...flows.map((flow) => flow.stallAfter(at, rtt / 2)));
    if (stall >= boundOf(name, rtt))
      world.fail(`${name}, ${move}: nothing came for ${stall / 1_000} ms, of ${rtt / 1_000} ms a round trip`);
    world.totals.add(`moves, ${move}`, 1);
    world.totals.add(stall < 3 * rtt ? 'less than 3 round trips' : `3 round trips or more, ${name}`, 1);
    return world.end();
  },
};

function boundOf(shape: ShapeName, rtt: Micros): Micros {
  if (shape === 'pushed rarely') return 3 * rtt + HEARTBEAT;
  // Which pause comes next nobody knows: what comes sooner than all of the latest ones waits a little longer.
  const isGuessed = shape === 'pushed in bursts' || shape === 'pushed irregularly';
  return (isGuessed ? 5 : 3) * rtt + MAX_ACK_DELAY;
}

function longest({ up, down }: Shape): number {
  return Math.max(up?.pause[1] ?? 0, down?.pause[1] ?? 0);
}

/** Messages of one side on a stream, when they were sent and when they came. */
class PacedFlow {
  isOver = false;
  readonly sent: Micros[] = [];
  readonly came: Micros[] = [];

  /** The longest time after `at` in which nothing came though something was due. */
  stallAfter(at: Micros, oneWay: Micros): Micros {
    const { came, sent } = this;
    if (came.length < sent.length) throw new Violation(`${sent.length - came.length} messages did not come`);
    let longest = 0;
    for (let i = 1; i < came.length; i++)
      if (came[i] > at) longest = Math.max(longest, came[i] - Math.max(came[i - 1], sent[i] + oneWay));
    return longest;
  }
}

function begin(
  world: InteropWorld,
  connection: Connection,
  client: InteropHost,
  server: InteropHost,
  { up, down, isAnswered }: Shape,
  rtt: Micros,
): PacedFlow[] {
  const stream = connection.streams.open({ ...TRANSFER_SETTINGS, label: 'flow' });
  const [there, back] = [new PacedFlow(), new PacedFlow()];
  let other: ConnectionStream | null = null;
  const send = (host: InteropHost, of: ConnectionStream, flow: PacedFlow, bytes: number): void => {
    of.send(contentOf(1, flow.sent.length, bytes), Delivery.RELIABLE, Number.POSITIVE_INFINITY, true);
    flow.sent.push(world.now);
    host.node.wake();
  };
  server.application = (event: EndpointEvent, now) => {
    if (event.type !== 'readable') return;
    other = event.stream;
    for (let data = other.read(now); data !== null; data = other.read(now)) {
      if (data.length === OPENING_BYTES) continue;
      there.came.push(now);
      if (isAnswered) send(server, other, back, 200);
    }
    other.onRead();
  };
  client.application = (event: EndpointEvent, now) => {
    if (event.type !== 'readable') return;
    for (let data = event.stream.read(now); data !== null; data = event.stream.read(now)) back.came.push(now);
    event.stream.onRead();
  };
  stream.send(new Uint8Array(OPENING_BYTES), Delivery.RELIABLE, Number.POSITIVE_INFINITY, true);
  client.node.wake();
  world.until(() => other !== null, 1_000, 'the stream');
  const pace = (
    host: InteropHost,
    of: ConnectionStream,
    flow: PacedFlow,
    { pause, bytes, burst = 1 }: Sending,
  ): void => {
    const next = (): void => {
      if (flow.isOver) return;
      for (let i = 0; i < burst; i++) send(host, of, flow, bytes);
      const [min, max] = pause;
      const share = min + (max - min) * (world.random.below(1_000) / 1_000);
      world.world.clock.schedule(world.now + Math.round(share * rtt), next);
    };
    next();
  };
  if (up) pace(client, stream, there, up);
  if (down) pace(server, other as unknown as ConnectionStream, back, down);
  return [there, back];
}

/** Of the message with which a stream comes. */
const OPENING_BYTES = 5;
/** What the peer may take to acknowledge: a side that asked once, and was not answered, asks again after so much more than its round trips. */
const MAX_ACK_DELAY: Micros = 25 * MILLISECOND;
/** Between what comes so rarely nobody asks more often. */
const HEARTBEAT: Micros = 5 * SECOND;
