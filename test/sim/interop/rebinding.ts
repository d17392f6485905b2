import type { Prng } from '../../../src/base/random.ts';
import { isConfirmed } from '../../protocol/connection/internals.ts';
import { InteropWorld } from './interop-world.ts';
import type { InteropScenario } from './scenario.ts';
import type { TransferPlan } from './transfer.ts';

interface Plan {
  readonly delayMs: number;
  readonly loss: number;
  /** Pauses between one binding and the next, in ms. */
  readonly pausesMs: readonly number[];
  readonly transfer: TransferPlan;
  /** A NAT may move the client before it knows that its handshake has ended. */
  readonly isEarly: boolean;
}

/** A NAT gives the client another port again and again, on the address that it has. */
export const rebindPort = rebinding(
  'rebind-port',
  'a client whose NAT gives it other ports in mid-transfer is followed to each, and loses nothing [CON-84]',
  (host) => host,
);

/** A NAT gives the client another address again and again. */
export const rebindAddress = rebinding(
  'rebind-addr',
  'a client whose NAT gives it other addresses in mid-transfer is followed to each, and loses nothing [CON-84] [CON-88]',
  (_host, time) => `nat-${time}`,
);

/** The client moves on purpose, from one network to the next. */
export const connectionMigration: InteropScenario<Plan> = {
  name: 'connectionmigration',
  shows:
    'a client that moves from one network to another on purpose shows no id of the one there, and loses nothing [CON-83] [CON-89]',
  met: ['moves', 'ids seen'],
  planOf,
  play: ({ delayMs, loss, pausesMs, transfer: plan }, seed) => {
    const world = new InteropWorld(seed);
    const link = { delayMs, loss };
    world.link('client', 'server', link);
    const [server, client] = [world.server(), world.client()];
    const connection = client.connect(server);
    world.until(() => isConfirmed(connection), 60_000, 'the handshake');
    const seen = new Map<string, string>();
    world.world.network.tap = (data, from, to) => {
      if ((data[0] & 0x80) !== 0) return;
      const there = from.host === 'server' ? to : from.host;
      const id = `${from.host === 'server' ? 'to' : 'from'} ${Buffer.from(data.subarray(1, 9)).toString('hex')}`;
      const before = seen.get(id);
      if (before !== undefined && before !== there)
        world.fail(
          `an id was seen at ${before} and at ${there}: who looks on knows that it is the same client`,
        );
      seen.set(id, there);
    };
    const transfer = world.transfer(connection, plan);
    let moves = 0;
    for (const [time, pauseMs] of pausesMs.entries()) {
      world.run(pauseMs);
      world.link(`network-${time}`, 'server', link);
      const local = client.node.addAddress(`network-${time}`, 4577);
      const outcome = connection.device.migrate({ local, isOldGone: false, isSameHost: false }, world.now);
      client.node.wake();
      if (outcome === 'begun') moves++;
    }
    world.until(() => transfer.isDone, 120_000, transfer.missing);
    world.totals.add('moves', connection.counters.pathChanges);
    world.totals.add('ids seen', seen.size);
    if (connection.counters.pathChanges > moves) world.fail('it moved more often than it was told to');
    return world.end();
  },
};

function rebinding(
  name: string,
  shows: string,
  hostOf: (host: string, time: number) => string,
): InteropScenario<Plan> {
  return {
    name,
    shows,
    met: ['times followed', 'pathChallengesSent'],
    planOf,
    play: ({ delayMs, isEarly, loss, pausesMs, transfer: plan }, seed) => {
      const world = new InteropWorld(seed);
      world.link('client', 'server', { delayMs, loss });
      const [server, client] = [world.server(), world.client()];
      const connection = client.connect(server);
      const begins = (): boolean => (isEarly ? connection.lifecycle.isEstablished : isConfirmed(connection));
      world.until(begins, 60_000, 'the handshake');
      const transfer = world.transfer(connection, plan);
      for (const [time, pauseMs] of pausesMs.entries()) {
        if (time > 0 || !isEarly) world.run(pauseMs);
        else world.run(pauseMs % delayMs);
        const { port } = client.node;
        port.rebind(hostOf(port.host, time), port.port + 1);
      }
      world.until(() => transfer.isDone, 120_000, transfer.missing);
      const [{ counters, path }] = server.connections;
      if (counters.pathChanges > 0 && path.port < 4578) world.fail(`it was followed to port ${path.port}`);
      world.totals.add('times followed', counters.pathChanges);
      return world.end();
    },
  };
}

function planOf(random: Prng): Plan {
  return {
    delayMs: random.between(5, 60),
    loss: random.between(0, 3) / 100,
    pausesMs: Array.from({ length: random.between(1, 4) }, () => random.between(50, 600)),
    transfer: { streams: 2, messages: 12, bytes: random.between(2_000, 6_000), way: 'both' },
    isEarly: random.chance(0.4),
  };
}
