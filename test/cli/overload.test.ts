import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { emptyFolder } from '../empty-folder.ts';
import { Jsp } from './jsp.ts';

interface Answer {
  readonly status: number;
  readonly head: string;
  readonly body: string;
  readonly ms: number;
}

/** Callers who ask again as soon as they are answered, until there are as many answers as that. */
async function flood(
  port: number,
  callers: number,
  isEnough: (answers: readonly Answer[]) => boolean,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  const sockets = Array.from({ length: callers }, () => connect({ port, host: '127.0.0.1', noDelay: true }));
  await Promise.all(sockets.map((socket) => once(socket, 'connect')));
  await new Promise<void>((resolve, reject) => {
    for (const socket of sockets) {
      let text = '';
      let at = performance.now();
      socket.setEncoding('latin1').on('error', reject);
      socket.on('data', (chunk: string) => {
        text += chunk;
        const end = text.indexOf('\r\n\r\n') + 4;
        const length = Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? 0);
        if (end < 4 || text.length < end + length) return;
        const now = performance.now();
        answers.push({
          status: Number(text.slice(9, 12)),
          head: text.slice(0, end),
          body: text.slice(end),
          ms: now - at,
        });
        text = '';
        if (isEnough(answers)) resolve();
        else {
          at = now;
          socket.write(REQUEST);
        }
      });
      socket.write(REQUEST);
    }
  });
  for (const socket of sockets) socket.destroy();
  return answers;
}

async function gatewayWith(maxLoopDelay: string): Promise<{ port: number; broker: Jsp }> {
  const config = join(emptyFolder(), 'jsp.toml');
  writeFileSync(config, `[http]\nlisten = "127.0.0.1:0"\nmax_loop_delay = "${maxLoopDelay}"\n`);
  const broker = new Jsp([
    'broker',
    '--port',
    '0',
    '--state',
    join(emptyFolder(), 'state'),
    '--config',
    config,
  ]);
  await broker.until(({ err }) => ADDRESS.test(err));
  return { broker, port: Number(ADDRESS.exec(broker.err)?.[1]) };
}

const medianOf = (answers: readonly Answer[]): number =>
  answers.map(({ ms }) => ms).sort((a, b) => a - b)[answers.length >> 1];

test('of many who ask for more than a gateway can do some are told when to come back, and the others are answered in half the time that all would wait [GW-7]', async () => {
  const patient = await gatewayWith('0ms');
  const all = await flood(patient.port, CALLERS, ({ length }) => length >= 4 * CALLERS);
  expect(all.every(({ status }) => status === 200)).toBe(true);
  patient.broker.process.kill('SIGKILL');

  const { broker, port } = await gatewayWith('5ms');
  const answers = await flood(port, CALLERS, (soFar) => soFar.length >= 10 * CALLERS);
  const refused = answers.filter(({ status }) => status === 503);
  const served = answers.filter(({ status }) => status === 200);
  expect(served.length + refused.length).toBe(answers.length);
  for (const { head, body } of refused) {
    expect(head).toMatch(/\r\nretry-after: [1-5]\r\n/i);
    expect(JSON.parse(body)).toMatchObject({ status: 503, code: 'OVERLOADED' });
  }
  // Those at the begin came before it was sure that there is too much.
  const later = answers.slice(answers.length / 2).filter(({ status }) => status === 200);
  expect(medianOf(later)).toBeLessThan(medianOf(all) / 2);

  const figures = await fetch(`http://127.0.0.1:${port}/metrics`).then((answer) => answer.text());
  expect(figures).toMatch(/jsp_http_overloaded_total\{excess="delay"\} [1-9]/);
  broker.process.kill('SIGTERM');
  expect((await broker.ended).exitCode).toBe(0);
});

const ADDRESS = /dashboard and HTTP: http:\/\/127\.0\.0\.1:(\d+)/;
const CALLERS = 500;
/** A bulk, which costs much more than to refuse it, and its callers much less. */
const BODY = JSON.stringify(Array.from({ length: 50 }, (_, i) => ({ topic: `a/${i}`, text: 'x' })));
const REQUEST = `POST /v1/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
