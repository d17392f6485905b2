import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { NatsServer, natsProgram } from './nats-server.ts';
import { TcpWay } from './tcp-way.ts';

const program = natsProgram();

test.skipIf(program === null)('a server of NATS comes back on its port after it was killed', async () => {
  const server = await NatsServer.start(program as string);
  try {
    expect(await greetingOf(server.port)).toContain('"jetstream":true');
    await server.stop();
    await expect(greetingOf(server.port)).rejects.toThrow('ECONNREFUSED');
    await server.start();
    expect(await greetingOf(server.port)).toContain('INFO ');
  } finally {
    await server.remove();
  }
});

test.skipIf(program === null)(
  'nothing passes a way that is cut, and everything one that is mended',
  async () => {
    const server = await NatsServer.start(program as string);
    const way = await TcpWay.to(server.port);
    try {
      expect(await greetingOf(way.port)).toContain('INFO ');
      way.cut();
      let came = false;
      const greeting = greetingOf(way.port).then(() => {
        came = true;
      });
      expect(await greetingOf(server.port)).toContain('INFO ');
      expect(came).toBe(false);
      way.mend({ keep: true });
      await greeting;
    } finally {
      await way.close();
      await server.remove();
    }
  },
);

function greetingOf(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', reject);
    socket.once('data', (bytes) => {
      socket.destroy();
      resolve(bytes.toString());
    });
  });
}
