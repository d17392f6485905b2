/** `jsp clients`, `jsp sessions`, `jsp durable` and `jsp topics`: what a broker has, as tables. */

import type { Command } from 'commander';
import { formatTable, whole } from '../bench/figures.ts';
import type {
  AdminVerbs,
  ClientFigures,
  DurableFigures,
  Page,
  SessionFigures,
  TopicFigures,
} from '../broker/operations/snapshot.ts';
import { wholeNumber } from './arguments.ts';
import {
  asOperator,
  type ListOptions,
  listQuery,
  type OperatorOptions,
  pageNote,
  printTable,
  shown,
  withListOptions,
  withOperatorOptions,
} from './operator.ts';
import { note, printJson } from './terminal.ts';

export function addClientsCommand(program: Command): void {
  const command = program
    .command('clients')
    .description(
      'list who is connected to a broker: who it is, by which door, how much, and how good its link is',
    );
  withListOptions(command, '-rateOut').addHelpText('after', CLIENTS_HELP).action(clients);
}

export function addSessionsCommand(program: Command): void {
  const command = program
    .command('sessions')
    .description('list the sessions that a broker keeps, those of clients that are away among them');
  withListOptions(command, 'name').addHelpText('after', SESSIONS_HELP).action(sessions);
}

export function addDurableCommand(program: Command): void {
  const command = program
    .command('durable')
    .description(
      'list durable subscriptions and shared groups: how far behind each is, and what it has not settled',
    );
  withListOptions(command, '-lag').addHelpText('after', DURABLE_HELP).action(durable);
}

export function addTopicsCommand(program: Command): void {
  const command = program
    .command('topics')
    .description('list the topics that the most messages go to now')
    .option('--limit <n>', 'how many', wholeNumber(1, 512), 20)
    .option('--seconds <n>', 'how long to count first', wholeNumber(1, 600), 3);
  withOperatorOptions(command, 'print the topics as JSON').addHelpText('after', TOPICS_HELP).action(topics);
}

async function clients(options: ListOptions): Promise<void> {
  await printPage('clients', options, ({ items }) => clientTable(items));
}

async function sessions(options: ListOptions): Promise<void> {
  await printPage('sessions', options, sessionTable, 'The broker keeps no session.');
}

async function durable(options: ListOptions): Promise<void> {
  const nothing = 'There are no durable subscriptions and no shared groups.';
  await printPage('durables', options, ({ at, items }) => durableTable(items, at), nothing);
}

/** Asks for a page of a list, and prints it as a table. @param nothing - said where the whole list is empty */
async function printPage<V extends 'clients' | 'sessions' | 'durables'>(
  verb: V,
  options: ListOptions,
  tableOf: (page: AdminVerbs[V]['answer']) => string,
  nothing = '',
): Promise<void> {
  const page = await asOperator(options, (operator) => operator.ask(verb, listQuery(options)));
  if (options.json) return printJson(page);
  printTable(tableOf(page));
  for (const text of [page.total === 0 ? nothing : '', pageNote(page.items.length, page)]) {
    if (text !== '') note(text);
  }
}

async function topics({
  limit,
  seconds,
  ...options
}: OperatorOptions & { limit: number; seconds: number }): Promise<void> {
  const answer = await asOperator(options, async (operator) => {
    await operator.ask('topics', { limit }); // they are counted from now on
    await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
    return await operator.ask('topics', { limit });
  });
  if (options.json) return printJson(answer);
  printTable(topicTable(answer.topics));
  if (answer.topics.length === 0) note('Nothing was published meanwhile.');
}

export function clientTable(items: readonly ClientFigures[]): string {
  const rows = items.map((client) => [
    shown(client.session ?? client.principal ?? '') || '-',
    String(client.id),
    shown(client.principal, 24) || '-',
    client.door,
    shown(client.address, 40) || '-',
    whole(client.rateIn),
    whole(client.rateOut),
    whole(client.queuedMessages),
    whole(client.unacked),
    client.link === null ? '-' : client.link.rttMs.toFixed(1),
    client.link === null ? '-' : (client.link.loss * 100).toFixed(2),
  ]);
  return formatTable(
    [
      'session',
      'id',
      'principal',
      'door',
      'address',
      'in/s',
      'out/s',
      'queued',
      'unacked',
      'rtt ms',
      'loss %',
    ],
    rows,
  );
}

function sessionTable({ at, items }: Page<SessionFigures>): string {
  const rows = items.map((session) => [
    shown(session.name),
    session.state,
    shown(session.principal) || '-',
    session.client === null ? '-' : String(session.client),
    whole(session.subscriptions),
    session.expiryMs === null ? 'never' : age(session.expiryMs),
    session.expiresAt === null ? '-' : `in ${age(session.expiresAt - at)}`,
  ]);
  return formatTable(['session', 'state', 'principal', 'client', 'filters', 'outlives', 'over'], rows);
}

export function durableTable(items: readonly DurableFigures[], at: number): string {
  const rows = items.map((each) => [
    shown(each.name),
    shown(each.log, 24),
    whole(each.subscribers),
    whole(each.lag),
    each.lagMs === null ? '?' : age(each.lagMs),
    `${each.lagChange > 0 ? '+' : ''}${whole(each.lagChange)}`,
    whole(each.unacked),
    whole(each.redelivered),
    each.nextRetryAt === null ? '-' : `in ${age(Math.max(0, each.nextRetryAt - at))}`,
  ]);
  return formatTable(
    ['subscription', 'log', 'held by', 'lag', 'behind', 'lag/s', 'unacked', 'again', 'next retry'],
    rows,
  );
}

export function topicTable(items: readonly TopicFigures[]): string {
  const rows = items.map(({ topic, rate, bytesRate, subscribers }) => [
    shown(topic, 60),
    whole(rate),
    whole(bytesRate),
    whole(subscribers),
  ]);
  return formatTable(['topic', 'messages/s', 'bytes/s', 'subscribers'], rows);
}

/** How long something is, in its largest unit: 250 ms, 4 s, 3 m, 2 h, 5 d. */
export function age(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`;
  const [unit, length] = UNITS.find(([, least]) => ms >= least) ?? UNITS[UNITS.length - 1];
  const value = ms / length;
  return `${value < 10 && unit !== 's' ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
] as const;

const CLIENTS_HELP = `
What is told of a client are commands a second since somebody looked last, or since it has connected; what waits for it; deliveries that it has not settled; and
of one that has come over the transport itself, how long a round trip takes and which share of its packets is lost. "jsp kick" takes the id.

Examples:
  $ jsp clients
  $ jsp clients --sort -queuedBytes --limit 5
  $ jsp clients --search sensor- --json | jq '.items[].address'
`;

const SESSIONS_HELP = `
A session outlives its connections for as long as its client has asked. One whose client is away says when it is over.

Examples:
  $ jsp sessions
  $ jsp sessions --search mobile/ --json | jq .matched
`;

const DURABLE_HELP = `
Lag is messages of the log that a subscription has not settled, whether they are for it or not; "behind" is how old the oldest one is that it has not read. "lag/s" above 0
means that it falls behind.

Examples:
  $ jsp durable
  $ jsp durable --sort -unacked --json | jq '.items[0]'
`;

const TOPICS_HELP = `
The broker counts as long as somebody asks, over some of the messages, in a fixed amount of memory: the order is right, the rates are within a few per cent.

Examples:
  $ jsp topics
  $ jsp topics --seconds 30 --limit 5 --json
`;
