import { setImmediate as nextLoop } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import type { DatagramSocket } from '../../src/udp/datagram-socket.ts';
import { bindDgramSocket } from '../../src/udp/dgram-socket.ts';
import { join, serve, take } from './served.ts';

describe('when what the application sends leaves', () => {
  test('at the end of the tick, with what the promises of the tick have sent, and before the event loop goes on', async () => {
    const { socket, stream } = await connected();
    const order: string[] = [];
    socket.onSend = () => order.push('sent');
    await new Promise<void>((done) => {
      setTimeout(() => {
        setImmediate(() => {
          order.push('loop');
          done();
        });
        void sendSlowly(3);
      });
    });
    expect(order).toEqual(['0', '1', '2', 'sent', 'loop']);

    async function sendSlowly(count: number): Promise<void> {
      for (let i = 0; i < count; i++) {
        await null;
        order.push(String(i));
        stream.send('x');
      }
    }
  });

  test('what many ticks of a busy event loop send shares packets', async () => {
    const { socket, stream, received } = await connected();
    let batches = 0;
    socket.onSend = () => batches++;
    for (let i = 0; i < TICKS; i++) setImmediate(() => stream.send('x'));
    await nextLoop();
    await received(TICKS);
    expect(batches).toBeLessThan(TICKS / 2);
  });

  test('what is sent in answer to a message in the promise that it settles leaves before the event loop goes on', async () => {
    const order: string[] = [];
    const { socket, stream } = await connected();
    const answered = (async () => {
      await take(stream, 1);
      setImmediate(() => order.push('loop'));
      socket.onSend = () => order.push('sent');
      stream.send('answer');
    })();
    stream.send('echo');
    await answered;
    await nextLoop();
    await nextLoop();
    expect(order.slice(0, 2)).toEqual(['sent', 'loop']);
  });
});

/** A client whose socket tells of what it sends, with a stream that is open and quiet. */
async function connected() {
  let count = 0;
  let wake = () => {};
  const listener = await serve((connection) =>
    connection.on('stream', (stream) =>
      stream.on('message', (message) => {
        count++;
        wake();
        if (message.toString() === 'echo') stream.send(message);
      }),
    ),
  );
  const socket = await tellingSocket(listener.port);
  const connection = await join(listener, { socket });
  const stream = connection.openStream();
  await stream.sendTracked('first');
  const received = async (wanted: number): Promise<void> => {
    while (count < wanted + 1) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { socket, stream, received };
}

type TellingSocket = DatagramSocket & { onSend: () => void };

async function tellingSocket(port: number): Promise<TellingSocket> {
  const socket = await bindDgramSocket({ connectTo: { host: '127.0.0.1', port } });
  const send = socket.send.bind(socket);
  const telling = Object.assign(socket, { onSend: () => {} });
  socket.send = (batch) => {
    if (batch.count > 0) telling.onSend();
    return send(batch);
  };
  return telling;
}

const TICKS = 50;
