/**
 * Jobs that are shared among workers, each done at least once: `npm run ts examples/work-queue.ts [jobs] [workers]`.
 *
 * The workers are a shared group: each job goes to one of them. A worker that dies gives its jobs back; a job that fails is tried again, later each
 * time, and after the third time it is a dead letter, with where it was and why.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { generateIdentity } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { type BrokerClient, connectClient, type Message } from 'jetstream-proto/client';

const jobs = Number(process.argv[2] ?? 60);
const workers = Number(process.argv[3] ?? 3);
/** It cannot be done, whoever tries. */
const POISONED = 7;

const broker = await startBroker({ identity: generateIdentity(), port: 0 });
const done = new Map<number, string>();
const failures: string[] = [];

// Dead letters are messages like others: store them, look at them, publish them again.
const office = await connectClient(broker.url);
const dead: string[] = [];
await office.subscribe('dead/jobs', (message) => {
  const { topic, offset, attempts, reason } = message.properties.origin ?? {};
  dead.push(`${message.text()} of ${topic}, offset ${offset}, after ${attempts} attempts: ${reason}`);
});

const group = await Promise.all(Array.from({ length: workers }, (_, i) => startWorker(`worker-${i + 1}`)));

const producer = await connectClient(broker.url);
const jobNumbers = Array.from({ length: jobs }, (_, i) => i);
await Promise.all(jobNumbers.map((job) => producer.publish('jobs/resize', String(job), { qos: 1 })));
console.log(`${jobs} jobs are stored`);

await sleep(50);
group[0].destroy(); // with jobs in its hands
console.log('worker-1 is gone');

while (done.size < jobs - 1 || dead.length === 0) await sleep(20);
console.log(
  `${done.size} jobs done by ${new Set(done.values()).size} workers, ${failures.length} attempts failed`,
);
console.log(`dead: ${dead.join('; ')}`);

await Promise.all([...group.slice(1), office, producer].map((client) => client.close()));
await broker.close();

async function startWorker(name: string): Promise<BrokerClient> {
  const client = await connectClient(broker.url);
  const subscription = await client.subscribe('$share/resizers/jobs/#', (job) => work(name, job), {
    qos: 1,
    durable: 'resizers',
    maxUnacked: 4, // jobs that a worker has at most, so that the others have some, too
    concurrency: 2,
    ackWaitMs: 1_000, // a worker that says nothing for so long has lost its job; a handler that runs says so by itself
    backoffMs: [20, 50],
    maxDeliveries: 3,
    deadLetter: 'dead/jobs',
  });
  subscription.on('handlerError', (error) => failures.push(String(error)));
  return client;
}

/** Done when it resolves: then the job is acknowledged. What it throws has the job tried again. */
async function work(worker: string, job: Message): Promise<void> {
  const number = Number(job.text());
  await sleep(5);
  if (number === POISONED) throw new Error('this picture has no pixels');
  done.set(number, worker);
}
