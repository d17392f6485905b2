import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
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

/** Callers who ask again as soon as they are served, and where they are refused when they are told to come back. */
class Flood {
  readonly answers: Answer[] = [];
  private readonly sockets: readonly Socket[];

  constructor(port: number) {
    this.sockets = Array.from({ length: CALLERS }, () => connect({ port, host: '127.0.0.1', noDelay: true }));
  }

  /** Resolves when so many were served. */
  async until(served: number): Promise<Answer[]> {
    await Promise.all(this.sockets.map((socket) => once(socket, 'connect')));
    let left = served;
    await new Promise<void>((resolve, reject) => {
      for (const socket of this.sockets) {
        socket.on('error', reject);
        this.ask(socket, ({ status }) => {
          if (status === 200 && --left === 0) resolve();
        });
      }
    });
    for (const socket of this.sockets) socket.destroy();
    return this.answers;
  }

  private ask(socket: Socket, onAnswer: (answer: Answer) => void): void {
    let text = '';
    let at = performance.now();
    const askNow = (): void => {
      at = performance.now();
      socket.write(REQUEST);
    };
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk;
      const end = text.indexOf('\r\n\r\n') + 4;
      const length = Number(/content-length: *(\d+)/i.exec(text)?.[1] ?? 0);
      if (end < 4 || text.length < end + length) return;
      const answer = {
        status: Number(text.slice(9, 12)),
        head: text.slice(0, end),
        body: text.slice(end),
        ms: performance.now() - at,
      };
      text = '';
      this.answers.push(answer);
      onAnswer(answer);
      const after = Number(/\r\nretry-after: *(\d+)/i.exec(answer.head)?.[1] ?? 0);
      if (after === 0) askNow();
      else setTimeout(askNow, after * 1_000);
    });
    askNow();
  }
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

test('of many who ask for more than a gateway can do some are told when to come back, and the others are answered in half the time that all of them wait at one that refuses nobody [GW-7]', async () => {
  const [patient, strict] = await Promise.all([gatewayWith('0ms'), gatewayWith('5ms')]);
  // At the same time, so that how busy the machine is makes no difference.
  const [all, answers] = await Promise.all([
    new Flood(patient.port).until(ROUNDS * CALLERS),
    new Flood(strict.port).until(ROUNDS * CALLERS),
  ]);
  expect(all.every(({ status }) => status === 200)).toBe(true);
  const refused = answers.filter(({ status }) => status === 503);
  const served = answers.filter(({ status }) => status === 200);
  expect(served.length + refused.length).toBe(answers.length);
  for (const { head, body } of refused) {
    expect(head).toMatch(/\r\nretry-after: [1-5]\r\n/i);
    expect(JSON.parse(body)).toMatchObject({ status: 503, code: 'OVERLOADED' });
  }
  // It takes two or three rounds to be sure that there is too much; those behind the half came later.
  expect(medianOf(served.slice(served.length / 2))).toBeLessThan(medianOf(all) / 2);

  const figures = await fetch(`http://127.0.0.1:${strict.port}/metrics`).then((answer) => answer.text());
  expect(figures).toMatch(/jsp_http_overloaded_total\{excess="delay"\} [1-9]/);
  for (const { broker } of [patient, strict]) {
    broker.process.kill('SIGTERM');
    expect((await broker.ended).exitCode).toBe(0);
  }
});

const ADDRESS = /dashboard and HTTP: http:\/\/127\.0\.0\.1:(\d+)/;
const CALLERS = 300;
/** That are served to as many answers as each caller would have so often. */
const ROUNDS = 8;
/** A bulk, which costs much more than to refuse it, and its callers much less. */
const BODY = JSON.stringify(Array.from({ length: 50 }, (_, i) => ({ topic: `a/${i}`, text: 'x' })));
const REQUEST = `POST /v1/bulk HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`;
