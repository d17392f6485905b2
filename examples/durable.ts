/** A subscription that goes on where it was, in the next process, too: `npm run ts examples/durable.ts`, twice. */
import { generateIdentity } from 'jetstream-proto';
import { startBroker } from 'jetstream-proto/broker';
import { connectClient } from 'jetstream-proto/client';

const broker = await startBroker({ identity: generateIdentity(), port: 0, store: { directory: 'orders' } });
const client = await connectClient(broker.url);
const order = await client.publish('orders/table-7', 'coffee', { qos: 1 }); // it is on the disk now
const subscription = await client.subscribe('orders/#', { durable: 'kitchen', qos: 1, from: 'earliest' });
for await (const message of subscription) {
  console.log(message.offset, message.topic, message.text());
  message.ack(); // never again
  if (message.offset === order.offset) break;
}
await client.close();
await broker.close();
