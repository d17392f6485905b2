/** The clients of Mosquitto as they come: `mosquitto_pub`, `mosquitto_sub` and `mosquitto_rr`, as processes that end with the test. */

import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { systemProgram } from '../../system-program.ts';
import type { TestMqtt } from './mqtt-server.ts';

/** Whether they are there; where not, that is told. */
export function hasMosquitto(): boolean {
  // They answer nothing with 0 but what they are for.
  found ??=
    systemProgram(['mosquitto_sub'], 'mosquitto-clients', 'the MQTT door with Mosquitto', [0, 1]) !== null;
  return found;
}

export interface ProgramResult {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

/** One of them, running. */
export class MosquittoProgram {
  readonly process: ChildProcess;
  readonly ended: Promise<ProgramResult>;
  private out = '';
  private err = '';
  private wake: () => void = () => {};

  constructor(
    name: 'mosquitto_pub' | 'mosquitto_sub' | 'mosquitto_rr',
    args: readonly string[],
    input?: Buffer,
  ) {
    this.process = spawn(name, args, { stdio: 'pipe' });
    this.process.stdin?.on('error', () => {});
    this.process.stdin?.end(input);
    this.process.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.out += chunk;
      this.wake();
    });
    this.process.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.err += chunk;
    });
    this.ended = new Promise((resolve) => {
      this.process.on('close', (code) => {
        resolve({ code, out: this.out, err: this.err });
        this.wake();
      });
    });
    onTestFinished(() => void this.process.kill('SIGKILL'));
  }

  /** Subscribes; resolves when the broker has that. What comes is a line of `m` and the `format` each. */
  static async subscribed(
    { broker, port }: Pick<TestMqtt, 'broker' | 'port'>,
    format: string,
    ...args: readonly string[]
  ): Promise<MosquittoProgram> {
    const before = broker.metrics().subscriptions;
    const sub = new MosquittoProgram('mosquitto_sub', ['-p', `${port}`, '-F', `m ${format}`, ...args]);
    // It says so itself, but into a pipe only with the first message.
    while (broker.metrics().subscriptions === before) {
      if (sub.process.exitCode !== null) throw new Error(`it has ended: ${sub.err}`);
      await sleep(2);
    }
    return sub;
  }

  /** Resolves when `isSo` is true of what it has printed. */
  async until(isSo: (out: string) => boolean): Promise<void> {
    while (!isSo(this.out)) {
      if (this.process.exitCode !== null) throw new Error(`it has ended: ${this.out}${this.err}`);
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** The first so many messages, as the format has them. */
  async messages(count: number): Promise<string[]> {
    const all = (): string[] =>
      this.out
        .split('\n')
        .slice(0, -1)
        .filter((line) => line.startsWith('m '));
    await this.until(() => all().length >= count);
    return all().map((line) => line.slice(2));
  }
}

/** Publishes, and resolves when the program has ended. */
export function mosquittoPub(port: number, args: readonly string[], input?: Buffer): Promise<ProgramResult> {
  return new MosquittoProgram('mosquitto_pub', ['-p', `${port}`, ...args], input).ended;
}

let found: boolean | null = null;
