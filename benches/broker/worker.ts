/** The publisher's or the subscriber's process of `broker-latency.ts`: does what its parent orders, and ends with it. */
import { Arrivals, stamp } from './arrivals.ts';
import { type Pace, pace } from './pace.ts';
import { type BrokerConnection, peerNamed } from './peer.ts';

export type WorkerOrder =
  | { order: 'connect'; peer: string; address: string }
  | { order: 'subscribe'; rate: number; seconds: number; fromSecond: number }
  /** Answered when all was published and the broker has it. */
  | { order: 'publish'; rate: number; seconds: number; size: number; how: Pace }
  /** Answered with an `ArrivalReport`. */
  | { order: 'report' };

export type WorkerAnswer = { result: unknown } | { error: string };

let connection: BrokerConnection;
let arrivals: Arrivals;

process.on('disconnect', () => process.exit());
process.on('message', (order: WorkerOrder) => {
  obey(order).then(
    (result) => answer({ result }),
    (error: Error) => answer({ error: error.message }),
  );
});

async function obey(order: WorkerOrder): Promise<unknown> {
  switch (order.order) {
    case 'connect':
      connection = await peerNamed(order.peer).connect(order.address);
      return null;
    case 'subscribe':
      arrivals = new Arrivals(order.rate, order.seconds, order.fromSecond);
      return connection.subscribe(TOPIC, arrivals.onMessage);
    case 'publish': {
      const payload = new Uint8Array(order.size);
      await pace(order.how, order.rate, order.rate * order.seconds, (dueMicros, i) => {
        stamp(payload, dueMicros, i);
        connection.publish(TOPIC, payload);
      });
      return connection.flush();
    }
    case 'report':
      return arrivals.report();
  }
}

function answer(reply: WorkerAnswer): void {
  process.send?.(reply);
}

const TOPIC = 'bench/latency';
