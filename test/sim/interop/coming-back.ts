/** What the scenarios of tickets have in common: a client that has been there once, and whom it finds when it is back. */
import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND, type Micros } from '../../../src/base/time.ts';
import type { ConnectionConfig } from '../../../src/protocol/connection/config.ts';
import type { Connection } from '../../../src/protocol/connection/connection.ts';
import type { ClientTicket, TicketConfig } from '../../../src/protocol/endpoint/index.ts';
import { type InteropHost, InteropWorld, isComplete } from './interop-world.ts';

export interface ComingBackPlan {
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly loss: number;
  /** The server asks for a token, though the client has none. */
  readonly asksToken: boolean;
  readonly finds: (typeof FINDS)[number];
}

/** Whom a client finds: the server that gave its ticket; another process that shares its keys; one that knows nothing of it, as after a start. */
export const FINDS = ['the same', 'one with its keys', 'another'] as const;

interface KeptTicket {
  readonly ticket: ClientTicket;
  /** When it came, and of which connection. */
  readonly at: Micros;
  readonly from: Connection;
}

export function comingBackPlan(random: Prng): ComingBackPlan {
  return {
    delayMs: random.between(2, 100),
    jitterMs: random.between(0, 20),
    loss: random.below(3) === 0 ? 0 : random.between(5, 30) / 100,
    asksToken: random.below(3) === 0,
    finds: FINDS[random.below(FINDS.length)],
  };
}

export class ComingBack {
  readonly world: InteropWorld;
  readonly plan: ComingBackPlan;
  readonly client: InteropHost;
  /** The server that the client finds. */
  readonly found: InteropHost;
  private readonly tickets: KeptTicket[] = [];

  /** Lets the client get a ticket. */
  constructor(plan: ComingBackPlan, seed: number) {
    const world = new InteropWorld(seed);
    this.world = world;
    this.plan = plan;
    const { delayMs, jitterMs, loss, finds } = plan;
    const link = { delayMs, jitterMs, jitterReorders: true, loss, duplicate: 0.1 };
    for (const host of ['server', 'elsewhere']) world.link('client', host, link);
    const server = this.server('server');
    this.client = world.client({ config: PATIENCE });
    this.client.onEvent = (event) => {
      if (event.type === 'ticket')
        this.tickets.push({ ticket: event.ticket, at: world.now, from: event.connection });
    };
    const first = this.client.connect(server);
    this.leave(first);
    this.found = finds === 'the same' ? server : this.server('elsewhere');
  }

  /** Comes back with the newest ticket. */
  connect(hasEarlyData: boolean): Connection {
    const { world, client, tickets, found } = this;
    const { ticket, at } = tickets[tickets.length - 1];
    const ageMs = (world.now - at) / MILLISECOND;
    return client.connect(found, { resumption: { ticket, ageMs, hasEarlyData } });
  }

  /** Waits until the handshake is complete, and checks whether it was that of the ticket. */
  settle(connection: Connection, isResumed: boolean): void {
    const { world, plan, found } = this;
    world.until(() => isComplete(connection), 60_000, 'the handshake');
    if (connection.handshake.isResumed !== isResumed)
      world.fail(`it is ${isResumed ? 'not ' : ''}resumed by ${plan.finds}`);
    if (plan.asksToken !== found.endpoint.counters.retriesSent > 0) world.fail('a Retry was due, or was not');
    world.totals.add('lost', world.world.network.link('client', found.node.host).counters.dropped);
  }

  /** Ends a connection, when the ticket of the next one is there. */
  leave(connection: Connection): void {
    const { world, client, tickets } = this;
    const isNew = () => tickets.at(-1)?.from === connection;
    world.until(isNew, 60_000, 'the ticket');
    connection.lifecycle.finish(DONE, 'done', world.now + 60_000_000, 60_000_000, world.now);
    client.node.wake();
    world.until(() => !connection.lifecycle.isOpen, 60_000, 'the end');
  }

  private server(host: string): InteropHost {
    const { finds, asksToken } = this.plan;
    const tickets = { ...TICKETS, keys: finds === 'one with its keys' ? SHARED : null };
    const retry = { mode: asksToken ? 'always' : 'never', epochMs: 0 } as const;
    return this.world.server({ host, config: PATIENCE, accept: { tickets, retry } });
  }
}

const PATIENCE: Partial<ConnectionConfig> = { handshakeTimeoutMs: 60_000, idleTimeoutMs: 60_000 };
const TICKETS: TicketConfig = {
  keys: null,
  lifetimeMs: 3_600_000,
  earlyDataBytesMax: 16_384,
  usedMax: 100,
  epochMs: 0,
};
const SHARED = { current: new Uint8Array(32).fill(3), previous: [] };
const DONE = 12;
