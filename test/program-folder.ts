import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The folder of a program that a test starts. The program is killed and the folder removed when the test says so, and also when the process of the test is gone,
 * however it ended: killed because it hangs, too. A shell in a session of its own sees to both when its stdin ends.
 */
export class ProgramFolder {
  readonly path: string;
  private readonly keeper: ChildProcess;
  /** The keeper is told the program that runs, a line each time: its process id, or nothing. */
  private readonly told: Socket;

  constructor(prefix: string) {
    this.path = mkdtempSync(join(tmpdir(), prefix));
    const stdio = ['pipe', 'ignore', 'ignore'] as const;
    this.keeper = spawn('sh', ['-c', KEEPER, this.path], { stdio: [...stdio], detached: true });
    this.told = this.keeper.stdin as Socket;
    this.told.on('error', () => {});
    // Who runs to its end does not wait for it.
    this.told.unref();
    this.keeper.unref();
  }

  /** The program runs now; the one before has ended. */
  runs(program: ChildProcess): void {
    if (program.pid === undefined) return;
    this.told.write(`${program.pid}\n`);
    program.once('exit', () => this.told.writable && this.told.write('\n'));
  }

  /** Resolves when the program and the folder are gone. */
  async remove(): Promise<void> {
    this.keeper.ref();
    this.told.end();
    if (this.keeper.exitCode === null) await once(this.keeper, 'exit');
  }
}

/** What a program that is being killed writes meanwhile makes the first attempt fail. */
const KEEPER = `
while read -r line; do program=$line; done
[ -z "$program" ] || kill -9 "$program"
rm -rf "$0" || { sleep 1; rm -rf "$0"; }
`;
