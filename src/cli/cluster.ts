/** `jsp cluster status`: the nodes of a cluster, as one of them knows them. */

import type { Command } from 'commander';
import { formatTable, whole } from '../bench/figures.ts';
import type { ClusterReport, NodeReport } from '../broker/operations/snapshot.ts';
import { asOperator, type OperatorOptions, printTable, shown, withOperatorOptions } from './operator.ts';
import { coloursOf, note, print, printJson } from './terminal.ts';

export function addClusterCommand(program: Command): void {
  const cluster = program
    .command('cluster')
    .description('look at brokers that are one by their backplane')
    .addHelpText('after', CLUSTER_HELP);
  const command = cluster
    .command('status')
    .description('list the nodes of the cluster that a broker is one of, and how the engine behind them is');
  withOperatorOptions(command, 'print all of it as JSON').addHelpText('after', HELP).action(status);
}

async function status(options: OperatorOptions): Promise<void> {
  const report = await asOperator(options, (operator) => operator.ask('cluster', {}));
  if (options.json) return printJson(report);
  const { figures } = report;
  if (figures === null) {
    note('This broker is alone. To make it one with others, start it with --backplane nats://HOST:PORT.');
    return;
  }
  const { bold, yellow } = coloursOf(process.stdout);
  const engine = figures.connected
    ? `NATS answers in ${figures.lagMs.toFixed(1)} ms`
    : yellow('NATS cannot be reached');
  print(`${bold(`cluster ${report.cluster}`)}, asked: ${report.node}; ${engine}`);
  printTable(nodeTable(report));
  printTable(claimTable(report));
  printTable(trafficTable(report));
  if (report.logs.length > 0) printTable(logTable(report));
}

/** Nodes, the one that was asked marked with `*`. */
export function nodeTable({ nodes, at }: ClusterReport): string {
  const rows = nodes.map((node) => [
    `${shown(node.node)}${node.isAsked ? ' *' : ''}`,
    node.draining ? 'draining' : 'up',
    since(node, at),
    whole(node.clients),
    whole(node.sessions),
    whole(node.claims),
    whole(node.interest),
    node.lagMs.toFixed(1),
    shown(node.version, 16),
    shown(node.urls[0] ?? '-', 120),
  ]);
  const header = [
    'node',
    'state',
    'since',
    'clients',
    'sessions',
    'claims',
    'filters',
    'lag ms',
    'version',
    'URL',
  ];
  return formatTable(header, rows);
}

function claimTable({ figures }: ClusterReport): string {
  if (figures === null) return '';
  return formatTable(
    ['claims', 'handed over', 'lost'],
    [[figures.claims, figures.handedOver, figures.lost].map(whole)],
  );
}

function trafficTable({ figures }: ClusterReport): string {
  if (figures === null) return '';
  const { unsent, tooLarge, missed, invalid, reconnects } = figures;
  const header = ['live in', 'live out', 'unsent', 'too large', 'missed', 'invalid', 'reconnects'];
  const row = [figures.in.messages, figures.out.messages, unsent, tooLarge, missed, invalid, reconnects];
  return formatTable(header, [row.map(whole)]);
}

function logTable({ logs }: ClusterReport): string {
  const rows = logs.map(({ name, state, earliest, head, bytes, cluster }) => [
    shown(name),
    state,
    whole(earliest),
    whole(head),
    whole(head - earliest),
    (bytes / MIB).toFixed(1),
    whole(cluster?.pending ?? 0),
    whole(cluster?.resent ?? 0),
    whole(cluster?.unreachable ?? 0),
  ]);
  const header = ['log', 'state', 'from', 'to', 'messages', 'MiB', 'pending', 'resent', 'refused'];
  return formatTable(header, rows);
}

function since({ startedAt }: NodeReport, at: number): string {
  const seconds = Math.max(0, Math.round((at - startedAt) / 1_000));
  if (seconds < 120) return `${seconds} s`;
  return seconds < 7_200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3_600)} h`;
}

const CLUSTER_HELP = `
Brokers that are started with the same --backplane and --cluster are one, each under a --node of its own.

Examples:
  $ nats-server -js -sd nats &
  $ jsp broker --backplane nats://127.0.0.1:4222 --node broker-1 --port 4577 --state broker-1 &
  $ jsp broker --backplane nats://127.0.0.1:4222 --node broker-2 --port 4578 --state broker-2 &
  $ jsp cluster status --url "$(cat broker-1/url)"
`;
const MIB = 1_024 * 1_024;
const HELP = `
It asks one broker, of which the other nodes need not be reached: --url, JSP_URL, or the broker whose .jsp/url is in this folder.
The node that was asked is marked with *. "lag" is how long NATS took for the node's last entry, "filters" what it wants of the
others, "claims" the sessions, durable subscriptions and groups that it has and no other node; of the node that was asked are "handed over" (claims that it gave to nodes whose clients asked for them), "lost" (that were
taken from it, or that it gave up because it was cut off from NATS: their clients were closed, and came back elsewhere), traffic and logs.

Examples:
  $ jsp cluster status
  $ jsp cluster status --json | jq '.nodes[] | {node, clients}'
  $ jsp cluster status --url "$(cat /var/lib/jsp/url)" --api-key-file operator.key
`;
