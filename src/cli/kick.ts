/** `jsp kick`: closes the connection of a client. */

import type { Command } from 'commander';
import { asOperator, type Operator, type OperatorOptions, shown, withOperatorOptions } from './operator.ts';
import { CommandError, note, printJson } from './terminal.ts';

interface KickOptions extends OperatorOptions {
  id?: boolean;
  session?: boolean;
  reason?: string;
}

/** Whom the broker is asked to let go. */
type Kicked = { readonly client: number } | { readonly session: string };

export function addKickCommand(program: Command): void {
  const command = program
    .command('kick')
    .description('close the connection of a client, which may come back')
    .argument('<client>', 'its id as "jsp clients" tells it, or the name of its session')
    .option('--id', 'it is an id, whatever sessions are named')
    .option('--session', 'it is the name of a session, though it looks like an id')
    .option('--reason <text>', 'why, for those who read the events');
  withOperatorOptions(command, 'print what was done as JSON').addHelpText('after', HELP).action(kick);
}

async function kick(
  client: string,
  { id = false, session = false, reason, ...options }: KickOptions,
): Promise<void> {
  const number = ID.test(client) && Number.isSafeInteger(Number(client)) ? Number(client) : null;
  if (id && session) throw new CommandError('ERR_JSP_USAGE', '--id does not go with --session');
  if (id && number === null) {
    throw new CommandError('ERR_JSP_USAGE', `an id is a whole number, not "${shown(client)}"`);
  }
  const who: Kicked = number === null || session ? { session: client } : { client: number };
  const answer = await asOperator(options, async (operator) => {
    if ('client' in who && !id) await assertNoName(operator, client);
    return await operator.ask('kick', { ...who, ...(reason === undefined ? {} : { reason }) });
  });
  if (options.json) printJson(answer);
  else note(`The ${'client' in who ? 'client' : 'session'} ${shown(client)} was closed with KICKED.`);
}

/** A client may be named like the id of another: which one is meant has to be said then. @throws CommandError ERR_JSP_USAGE */
async function assertNoName(operator: Operator, client: string): Promise<void> {
  for (let offset = 0; ; offset += PAGE) {
    const { items } = await operator.ask('sessions', { search: client, offset, limit: PAGE });
    if (items.some(({ name, state }) => name === client && state === 'present')) {
      throw new CommandError(
        'ERR_JSP_USAGE',
        `${client} is also the name of a session: say --session if that is meant, --id for the connection with this id`,
      );
    }
    if (items.length < PAGE) return;
  }
}

/** As the broker writes it: what begins with 0 is a name. */
const ID = /^[1-9]\d*$/;
/** As many as a list gives at once. */
const PAGE = 1_000;
const HELP = `
A client of this package comes back after a while; one that is not to come back has to lose its key or its rights as well ("jsp auth").
A whole number is an id. One that is also the name of a session that is connected is refused until --id or --session says which.

Examples:
  $ jsp kick 4711
  $ jsp kick --session 4711
  $ jsp kick sensor-17 --reason "floods its topic"
`;
