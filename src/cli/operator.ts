/** What the commands of operators have in common: they ask the broker, which answers on `$sys/admin/<verb>` to who may do that. */

import type { Command } from 'commander';
import { JspError, printable } from '../base/errors.ts';
import type { AdminFault, AdminVerb, AdminVerbs } from '../broker/operations/snapshot.ts';
import { type BrokerClient, connectClient } from '../client/broker-client.ts';
import { findServerUrls, GOODBYE, wholeNumber } from './arguments.ts';
import { accessOf, type BrokerAccess, withBrokerAccess } from './credentials.ts';
import { qlogOption } from './qlog-option.ts';
import { CommandError, coloursOf, print } from './terminal.ts';

/** Options of all of them. */
export interface OperatorOptions extends BrokerAccess {
  json?: boolean;
}

/** Options of those that list. */
export interface ListOptions extends OperatorOptions {
  search?: string;
  sort?: string;
  limit: number;
  offset: number;
}

/** A command of operators, with the options that say whom it asks and who does. */
export function withOperatorOptions(command: Command, json: string): Command {
  return withBrokerAccess(command).option('--json', json).addOption(qlogOption());
}

/** The options of one that lists. @param sort - what it is sorted by if nothing else is said */
export function withListOptions(command: Command, sort: string): Command {
  command
    .option('--search <text>', 'only those that have this text in a name or an address')
    .option('--sort <figure>', 'by which figure of --json; with - before it the largest first', sort)
    .option('--limit <n>', 'how many', wholeNumber(1, 1_000), 50)
    .option('--offset <n>', 'how many to leave out first', wholeNumber(0, Number.MAX_SAFE_INTEGER), 0);
  return withOperatorOptions(command, 'print the page of the list as JSON');
}

/** The broker, as an operator asks it. */
export class Operator {
  private readonly client: BrokerClient;

  private constructor(client: BrokerClient) {
    this.client = client;
  }

  /** @throws CommandError ERR_JSP_URL_MISSING; JspError as `connectClient` */
  static async connect(options: OperatorOptions): Promise<Operator> {
    const urls = findServerUrls(options.url);
    return new Operator(await connectClient(urls, { reconnect: false, ...accessOf(options) }));
  }

  /** @throws CommandError ERR_JSP_NOT_ALLOWED, ERR_JSP_NOT_FOUND or ERR_JSP_USAGE, as the broker has refused it */
  async ask<V extends AdminVerb>(
    verb: V,
    request: AdminVerbs[V]['request'],
  ): Promise<AdminVerbs[V]['answer']> {
    try {
      const reply = await this.client.request(`$sys/admin/${verb}`, JSON.stringify(request), {
        timeoutMs: ANSWER_MS,
      });
      return reply.json<AdminVerbs[V]['answer']>();
    } catch (error) {
      throw refusalOf(error) ?? error;
    }
  }

  async close(): Promise<void> {
    await this.client.close(GOODBYE);
  }
}

/** Connects, lets `work` ask, and takes its leave. */
export async function asOperator<T>(
  options: OperatorOptions,
  work: (operator: Operator) => Promise<T>,
): Promise<T> {
  const operator = await Operator.connect(options);
  try {
    return await work(operator);
  } finally {
    await operator.close();
  }
}

/** A request to list, without what was not said. */
export function listQuery({ search, sort, limit, offset }: ListOptions) {
  return {
    limit,
    offset,
    ...(search === undefined ? {} : { search }),
    ...(sort === undefined ? {} : { sort }),
  };
}

/** The header of a table, which stands out on a terminal, and its rows; what came from elsewhere cannot act on it. */
export function printTable(table: string): void {
  const [header, ...rows] = table.split('\n');
  print([coloursOf(process.stdout).bold(header), ...rows].join('\n'));
}

/** "50 of 1,203 (812 match)", where not all are there. */
export function pageNote(shown: number, { total, matched }: { total: number; matched: number }): string {
  const of = matched === total ? `${total}` : `${matched} that match, of ${total}`;
  return shown === matched ? '' : `${shown} of ${of}; --limit and --offset show the others`;
}

/** A name that somebody has chosen: without what acts on a terminal, and no longer than a column. */
export function shown(name: string, most = NAME_CHARS_MAX): string {
  const safe = printable(name);
  return safe.length <= most ? safe : `${safe.slice(0, most - 1)}…`;
}

function refusalOf(error: unknown): CommandError | null {
  if (!(error instanceof JspError) || error.code !== 'ERR_JSP_REQUEST_FAILED') return null;
  const { code, detail } = faultIn(error.reason ?? '');
  if (code === 'NOT_AUTHORIZED') {
    return new CommandError(
      'ERR_JSP_NOT_ALLOWED',
      `${detail} That needs the action admin: say who you are with --identity, --api-key-file or --token-file`,
      { cause: error },
    );
  }
  if (code === 'NOT_FOUND') return new CommandError('ERR_JSP_NOT_FOUND', detail, { cause: error });
  if (code === 'BAD_REQUEST') return new CommandError('ERR_JSP_USAGE', detail, { cause: error });
  return null;
}

function faultIn(reason: string): AdminFault {
  try {
    return JSON.parse(reason) as AdminFault;
  } catch {
    return { code: '', detail: '' };
  }
}

const ANSWER_MS = 10_000;
const NAME_CHARS_MAX = 40;
