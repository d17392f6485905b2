import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Violation } from '../sim/invariants.ts';
import { BrokerProcess } from './broker-process.ts';
import {
  beginCrash,
  type CrashReport,
  expectOneEpoch,
  LOAD_TOPIC,
  LoadPublisher,
  type Progress,
  reportOf,
  untilComplete,
} from './load.ts';

/** A line of subscriber-process.js. */
type Line =
  | { kind: 'ready' }
  | { kind: 'got'; topic: string; offset: number; epoch: number; redelivered: boolean; text: string }
  | { kind: 'done'; text: string }
  | { kind: 'gap'; missed: unknown }
  | { kind: 'fault'; error: string };

/**
 * Kills a durable subscriber inside its handler and starts it again, so many times.
 *
 * @throws {Violation} as {@link roundsOf} does
 */
export async function killClient(rounds: number, onRound?: Progress): Promise<CrashReport> {
  const startedAtMs = performance.now();
  const broker = new BrokerProcess();
  const { model, shelf, holder } = beginCrash();
  const failures: unknown[] = [];
  const fail = (error: unknown): void => void failures.push(error);
  let child: ChildProcess | null = null;
  let resumed = 0;
  process.on('unhandledRejection', fail);
  const onLine = (line: Line, inHandler: (is: boolean) => void): void => {
    if (line.kind === 'got') {
      inHandler(true);
      const { text, ...place } = line;
      model.delivered(holder, { ...place, text: () => text });
      expectOneEpoch(model, line.epoch);
    } else if (line.kind === 'done') {
      inHandler(false);
      shelf.handled.add(line.text);
    } else if (line.kind !== 'ready') {
      throw new Violation(`the subscriber says ${JSON.stringify(line)}`);
    }
  };
  try {
    await broker.start();
    let publisher: LoadPublisher | null = null;
    for (let round = 0; round <= rounds; round++) {
      const isLast = round === rounds;
      child = spawn(process.execPath, [SUBSCRIBER, broker.url, 'subscriber', `${LOAD_TOPIC}/#`, 'load'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      const current = child;
      let handling = false;
      let count = 0;
      const killAfter = 1 + Math.floor(Math.random() * 60);
      const ready = new Promise<void>((resolve) => {
        const lines = createInterface({ input: current.stdout as NodeJS.ReadableStream });
        lines.on('line', (text) => {
          try {
            const line = JSON.parse(text) as Line;
            if (line.kind === 'ready') resolve();
            onLine(line, (is) => {
              handling = is;
              if (is && ++count === killAfter && !isLast) current.kill('SIGKILL');
            });
          } catch (error) {
            fail(error);
          }
        });
      });
      const closed = once(current, 'close');
      await Promise.race([ready, closed]);
      if (publisher === null) {
        shelf.sinceMs = performance.now();
        publisher = await LoadPublisher.start(broker.url, 'publisher', model, fail, {
          pauseMs: 10,
          burst: 4,
        });
      }
      if (isLast) break;
      const overdue = sleep(RESUME_MS_MAX, 'overdue' as const, { ref: false });
      if ((await Promise.race([closed, overdue])) === 'overdue')
        throw new Violation(
          `round ${round + 1}: ${count} of ${killAfter} messages came in ${RESUME_MS_MAX} ms`,
        );
      if (handling) resumed++;
      if (failures.length > 0) throw failures[0];
      onRound?.(round + 1, model);
    }
    await publisher?.stop();
    await untilComplete(model);
    if (failures.length > 0) throw failures[0];
  } catch (error) {
    throw new Violation(`${(error as Error).message}; the broker said: ${broker.notes.slice(-2_000)}`, {
      cause: error,
    });
  } finally {
    process.off('unhandledRejection', fail);
    child?.kill('SIGKILL');
    await broker.remove();
  }
  return reportOf(model, rounds, resumed, startedAtMs);
}

const SUBSCRIBER = fileURLToPath(new URL('./subscriber-process.js', import.meta.url));
const RESUME_MS_MAX = 30_000;
