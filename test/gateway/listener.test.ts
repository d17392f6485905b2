import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { Listener } from '../../src/gateway/listener.ts';

function systemError(syscall: string): Error {
  return Object.assign(new Error(`${syscall} ENOMEM`), { code: 'ENOMEM', syscall });
}

test('a door goes on where somebody could not be accepted, and tells that now and then; other errors end it', async () => {
  const server = createServer((socket) => socket.end('in'));
  const listener = new Listener(server, undefined, 'the door');
  const [failed, troubled]: [string[], string[]] = [[], []];
  await listener.listen(
    '127.0.0.1',
    0,
    ({ message }) => failed.push(message),
    ({ message }) => troubled.push(message),
  );
  onTestFinished(() => listener.close());
  for (let i = 0; i < 3; i++) server.emit('error', systemError('accept'));
  expect([failed, troubled]).toEqual([[], ['accept ENOMEM']]);
  const caller = createConnection(listener.port, listener.host);
  const [said] = await once(caller, 'data');
  expect(String(said)).toBe('in');
  server.emit('error', systemError('listen'));
  expect(failed).toEqual(['listen ENOMEM']);
});
