import { UNKNOWN_CONNECTION } from '../../../src/broker/carrying.ts';
import { CoreLine, type TransportFacts } from '../../../src/broker/workers/core-line.ts';
import { type WorkerConnection, WorkerLine } from '../../../src/broker/workers/worker-line.ts';
import { type LocalConnection, localPair, Turns } from '../../../src/gateway/local-connection.ts';
import { systemClock } from '../../../src/udp/clock.ts';

/** A worker and the core in one thread: batches wait until they are handed over. */
export class LinePair {
  readonly core: WorkerLine;
  readonly worker: CoreLine;
  readonly connections: WorkerConnection[] = [];
  readonly faults: unknown[] = [];
  /** By which both go for what is not to come late. */
  sharedMs = 1_000;
  /** On their way. */
  toCore: Uint8Array[] = [];
  toWorker: Uint8Array[] = [];
  private readonly turns = new Turns();

  constructor() {
    const around = { clock: systemClock, sharedMs: () => this.sharedMs };
    this.core = new WorkerLine({
      ...around,
      port: { post: (batch) => this.toWorker.push(batch) },
      onConnection: (connection) => this.connections.push(connection),
      onFault: (error) => this.faults.push(error),
    });
    this.worker = new CoreLine({ ...around, port: { post: (batch) => this.toCore.push(batch) } });
  }

  /** A client of the worker, and its connection as the core has it. Of it the worker knows what `facts` says when it looks. */
  async join(
    facts: Partial<TransportFacts> = {},
  ): Promise<[client: LocalConnection, served: WorkerConnection]> {
    const known = Object.assign(facts, { ...NOTHING_KNOWN, ...facts });
    const [near, far] = localPair({
      facts: known,
      turns: this.turns,
      onFault: (error) => this.faults.push(error),
    });
    this.worker.serve(far, known);
    await this.pass();
    return [near, this.connections[this.connections.length - 1]];
  }

  /** Hands over what is on its way, and what follows from it, until nothing is. */
  async pass(): Promise<void> {
    do {
      await this.passToCore();
      await this.passToWorker();
    } while (this.toCore.length + this.toWorker.length > 0);
  }

  async passToCore(): Promise<void> {
    await idle();
    for (const batch of this.toCore.splice(0)) this.core.take(batch);
    await idle();
  }

  async passToWorker(): Promise<void> {
    await idle();
    for (const batch of this.toWorker.splice(0)) this.worker.take(batch);
    await idle();
  }

  bytesToCore(): number {
    return this.toCore.reduce((sum, { length }) => sum + length, 0);
  }
}

export const NOTHING_KNOWN: TransportFacts = {
  ...UNKNOWN_CONNECTION,
  isEstablished: true,
  holdStreams: () => {},
  announceEnd: () => {},
};

/** Everything that is to happen in this turn of the event loop, and soon after, has. */
async function idle(): Promise<void> {
  for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
}
