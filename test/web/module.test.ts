import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { WebSocketServer } from 'ws';

const MODULE = fileURLToPath(new URL('../../dist/web/jsp.js', import.meta.url));

test('[WEB-9] the module imports nothing, uses nothing of Node, and has less than 30 KB to be sent', async () => {
  const text = readFileSync(MODULE, 'utf8');
  expect(/(^|[;}\n])import[\s{*"'(]|\brequire\(/.test(text)).toBe(false);
  expect(/\b(Buffer|process)\.\w/.test(text)).toBe(false);
  expect(gzipSync(text).length).toBeLessThan(30_000);
});

test('the module of the package runs in Node, with the WebSocket that it is given', async () => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', handleProtocols: () => 'jsp.v1.json' });
  const heard: unknown[] = [];
  server.on('connection', (socket) =>
    socket.on('message', (data) => {
      const said = JSON.parse(String(data)) as { type: string; id?: number };
      heard.push(said.type);
      if (said.type === 'auth') socket.send('{"type":"welcome","pingMs":25000}');
      else if (said.id !== undefined)
        socket.send(`{"type":"result","id":${said.id},"result":"stored","offset":5}`);
    }),
  );
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const program = `
    import WebSocket from 'ws';
    import { connectClient } from 'jetstream-proto/web';
    const client = await connectClient('http://127.0.0.1:${port}', { WebSocket });
    console.log((await client.publish('t', 'x', { qos: 1 })).offset);
    await client.close();`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  });
  let output = '';
  child.stdout.on('data', (data) => (output += data));
  child.stderr.on('data', (data) => (output += data));
  await new Promise((resolve) => child.on('close', resolve));
  server.close();
  expect(output).toBe('5\n');
  expect(heard).toEqual(['auth', 'publish']);
});
