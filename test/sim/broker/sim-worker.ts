import type { Prng } from '../../../src/base/random.ts';
import { MILLISECOND } from '../../../src/base/time.ts';
import { UNKNOWN_CONNECTION } from '../../../src/broker/carrying.ts';
import { CoreLine, type TransportFacts } from '../../../src/broker/workers/core-line.ts';
import { type WorkerConnection, WorkerLine } from '../../../src/broker/workers/worker-line.ts';
import type { LabClock } from '../../../src/testing/lab.ts';
import type { SimConnection } from './network.ts';

/** A worker's thread and the core's, in virtual time: batches take a while, in both directions, and never overtake each other. */
export class SimWorker {
  private readonly clients: CoreLine;
  private readonly core: WorkerLine;
  private readonly connections: SimConnection[] = [];
  private isOver = false;

  constructor(
    random: Prng,
    clock: LabClock,
    told: { onConnection: (connection: WorkerConnection) => void; onFault: (error: unknown) => void },
  ) {
    const port = (take: (batch: Uint8Array) => void) => {
      const underWay: Uint8Array[] = [];
      const arrive = () => {
        const batch = underWay.shift();
        if (this.isOver || batch === undefined) return;
        take(batch);
        batch.fill(POISON); // whoever kept some of it has copied it
      };
      return {
        post: (batch: Uint8Array<ArrayBuffer>) => {
          underWay.push(batch.slice());
          batch.fill(POISON); // the memory is given away
          if (random.chance(0.5)) clock.soon(arrive);
          else clock.setTimer(clock.now() + random.below(PORT_MICROS_MAX), arrive);
        },
      };
    };
    const sharedMs = () => clock.now() / MILLISECOND;
    this.clients = new CoreLine({ clock, sharedMs, port: port((batch) => this.core.take(batch)) });
    this.core = new WorkerLine({ ...told, clock, sharedMs, port: port((batch) => this.clients.take(batch)) });
  }

  serve(connection: SimConnection): void {
    this.connections.push(connection);
    this.clients.serve(connection, NOTHING_KNOWN);
  }

  /** The thread is gone; its clients notice some time after, the core at once. */
  crash(noticedMs: number): void {
    this.isOver = true;
    for (const connection of this.connections) if (!connection.isOver) connection.kill(noticedMs);
    this.core.end(new Error('the worker is gone'));
  }
}

const POISON = 0xff;
const PORT_MICROS_MAX = 5 * MILLISECOND;
/** There and back, in the whole milliseconds of timers. */
export const THREADS_MS_MAX = 12;
/** Of a connection in a world. */
const NOTHING_KNOWN: TransportFacts = {
  ...UNKNOWN_CONNECTION,
  isEstablished: true,
  holdStreams: () => {},
  announceEnd: () => {},
};
