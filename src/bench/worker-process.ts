import { type ChildProcess, fork } from 'node:child_process';

/** What an answer has instead of a result: why the request failed, with the code that the error had. */
export interface WorkerFailure {
  readonly error?: string | undefined;
  readonly code?: string | undefined;
}

/** For a process to answer with. */
export function failureOf(error: unknown): WorkerFailure {
  if (!(error instanceof Error)) return { error: String(error) };
  const { code, message, stack = message } = error as NodeJS.ErrnoException;
  return code === undefined ? { error: stack } : { error: message, code };
}

/** A process of a benchmark that does what it is asked over the channel to its parent, one thing at a time, and answers each. */
export class WorkerProcess<Request extends object, Answer extends WorkerFailure> {
  private readonly child: ChildProcess;

  /**
   * @param script - of the process
   * @param cpu - the core to stay on; needs `taskset`
   * @param environment - beside that of this process
   */
  constructor(script: string, cpu?: number, environment: Readonly<Record<string, string>> = {}) {
    const pinned =
      cpu === undefined
        ? {}
        : { execPath: 'taskset', execArgv: ['-c', String(cpu), process.execPath, ...process.execArgv] };
    this.child = fork(script, {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      serialization: 'advanced',
      env: { ...process.env, ...environment },
      ...pinned,
    });
  }

  /** Rejects with the `error` of the answer, or when the process ends without one. */
  ask(request: Request): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const gone = (code: number | null) => reject(new Error(`benchmark process ended with code ${code}`));
      this.child.once('exit', gone);
      this.child.once('error', reject);
      this.child.once('message', (message) => {
        this.child.off('exit', gone);
        this.child.off('error', reject);
        const answer = message as Answer;
        if (answer.error === undefined) resolve(answer);
        else reject(Object.assign(new Error(answer.error), { code: answer.code }));
      });
      this.child.send(request);
    });
  }

  /** Ends the process: it leaves by itself when the channel closes, or is made to. */
  end(): void {
    const { child } = this;
    child.removeAllListeners();
    child.on('error', () => {});
    if (child.connected) child.disconnect();
    const impatience = setTimeout(() => child.kill('SIGKILL'), LEAVE_MS);
    child.once('exit', () => clearTimeout(impatience));
  }
}

const LEAVE_MS = 2_000;
