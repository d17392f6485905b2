/** `jsp kick`: closes the connection of a client. */

import type { Command } from 'commander';
import { asOperator, type OperatorOptions, shown, withOperatorOptions } from './operator.ts';
import { note, printJson } from './terminal.ts';

interface KickOptions extends OperatorOptions {
  reason?: string;
}

export function addKickCommand(program: Command): void {
  const command = program
    .command('kick')
    .description('close the connection of a client, which may come back')
    .argument('<client>', 'its id as "jsp clients" tells it, or the name of its session')
    .option('--reason <text>', 'why, for those who read the events');
  withOperatorOptions(command, 'print what was done as JSON').addHelpText('after', HELP).action(kick);
}

async function kick(client: string, { reason, ...options }: KickOptions): Promise<void> {
  const who = /^\d+$/.test(client) ? { client: Number(client) } : { session: client };
  const answer = await asOperator(options, (operator) =>
    operator.ask('kick', { ...who, ...(reason === undefined ? {} : { reason }) }),
  );
  if (options.json) printJson(answer);
  else note(`${shown(client)} was closed with KICKED.`);
}

const HELP = `
A client of this package comes back after a while; one that is not to come back has to lose its key or its rights as well ("jsp auth").

Examples:
  $ jsp kick 4711
  $ jsp kick sensor-17 --reason "floods its topic"
`;
