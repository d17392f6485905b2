/** A server that sends every message back, and a client: `npm run ts examples/echo.ts`. */
import { connect, generateIdentity, listen } from 'jetstream-proto';

const listener = await listen({ identity: generateIdentity(), port: 0 });
listener.on('connection', (connection) => {
  connection.on('stream', (stream) => stream.on('message', (message) => stream.send(message)));
});

const connection = await connect(listener.url);
const stream = connection.openStream({ priority: 'chat', ordered: true });
stream.send('hello');
for await (const message of stream) {
  console.log(message.toString());
  break;
}
await connection.close();
await listener.close();
