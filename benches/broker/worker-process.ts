/** A publisher or a subscriber in a process of its own, which does what it is told. */
import { fork } from 'node:child_process';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { WorkerAnswer, WorkerOrder } from './worker.ts';

export class WorkerProcess {
  private readonly child = fork(WORKER);

  get pid(): number {
    return this.child.pid as number;
  }

  order(order: WorkerOrder): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error('a process of the benchmark ended'));
      this.child.once('exit', onExit);
      this.child.once('message', (answer: WorkerAnswer) => {
        this.child.off('exit', onExit);
        if ('error' in answer) reject(new Error(answer.error));
        else resolve(answer.result);
      });
      this.child.send(order);
    });
  }

  end(): void {
    if (this.child.connected) this.child.disconnect();
  }
}

/** The same extension as this file has. */
const WORKER = fileURLToPath(new URL(`./worker${extname(import.meta.url)}`, import.meta.url));
