import { accessSync, constants } from 'node:fs';
import { Option } from 'commander';
import { makeFolderSync } from '../disk/make-folder.ts';
import { CommandError } from './terminal.ts';

/**
 * `--qlog DIR`, of all commands that connect or listen: `.addOption(qlogOption())` is all that a command has to do. What it names holds for
 * all connections of the process, and of those that it starts, by way of the environment: see {@link applyQlogOption}.
 */
export function qlogOption(): Option {
  return new Option(
    '--qlog <dir>',
    'log what each connection does in this folder, for viewers of qlog (else JSP_QLOGDIR)',
  );
}

/**
 * Before a command runs: makes the folder that its `--qlog` names, if it has one.
 *
 * @throws CommandError ERR_JSP_FILE where that cannot be written to
 */
export function applyQlogOption({ qlog }: { qlog?: string }): void {
  if (qlog === undefined) return;
  try {
    makeFolderSync(qlog, 0o700);
    accessSync(qlog, constants.W_OK);
  } catch (error) {
    throw new CommandError(
      'ERR_JSP_FILE',
      `--qlog ${qlog} is no folder to write to: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
  process.env.JSP_QLOGDIR = qlog;
}
