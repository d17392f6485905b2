/** `jsp auth audit`: who came in, who was refused, and what was done to whom, from the events that a broker keeps. */

import type { Command } from 'commander';
import type { EventRecord } from '../broker/operations/snapshot.ts';
import { wholeNumber } from './arguments.ts';
import { asOperator, type Operator, type OperatorOptions, shown, withOperatorOptions } from './operator.ts';
import { Waiter } from './screen.ts';
import { coloursOf, onStopSignal, print, printJson } from './terminal.ts';

interface AuditOptions extends OperatorOptions {
  limit: number;
  follow?: boolean;
  what?: string;
}

export function addAuditCommand(auth: Command): void {
  const command = auth
    .command('audit')
    .description(
      'who came in, who was refused what, and what was done to whom; the broker keeps the last 1,000',
    )
    .option('--limit <n>', 'how many of the latest', wholeNumber(1, 1_000), 50)
    .option('--follow', 'go on with those to come, until SIGINT')
    .option('--what <name>', 'only these, such as refused or denied; several with commas between');
  withOperatorOptions(command, 'print each as a JSON object').addHelpText('after', HELP).action(audit);
}

async function audit(options: AuditOptions): Promise<void> {
  await asOperator(options, async (operator) => {
    let last = await tell(operator, options, 0);
    if (!options.follow) return;
    const waiter = new Waiter();
    const forget = onStopSignal(() => waiter.quit());
    try {
      for (;;) {
        await waiter.wait(FOLLOW_MS);
        if (waiter.isOver) return;
        last = await tell(operator, options, last);
      }
    } finally {
      forget();
    }
  });
}

/** Prints what came after the event of that number, and says which was the last one. */
async function tell(operator: Operator, { limit, what, json }: AuditOptions, after: number): Promise<number> {
  const { items } = await operator.ask('events', { after, limit: after === 0 ? limit : EVENTS_MAX });
  const wanted = what?.split(',');
  for (const event of items) {
    if (wanted !== undefined && !wanted.includes(event.what)) continue;
    if (json) printJson(event);
    else print(lineOf(event));
  }
  return items.at(-1)?.number ?? after;
}

/** `2026-11-26T12:00:00.000Z  refused  shop  192.0.2.1 http  The API key is not valid here.` */
function lineOf({ at, what, principal, address, door, detail }: EventRecord): string {
  const { bold, red } = coloursOf(process.stdout);
  const colour = BAD.has(what) ? red : bold;
  const who = principal === '' ? '-' : shown(principal);
  const from =
    [address, door]
      .filter((each) => each !== '')
      .map((each) => shown(each))
      .join(' ') || '-';
  return `${new Date(at).toISOString()}  ${colour(shown(what).padEnd(WHAT_COLUMNS))}  ${who}  ${from}  ${shown(detail, DETAIL_CHARS)}`.trimEnd();
}

const BAD: ReadonlySet<string> = new Set(['refused', 'denied', 'revoked', 'kicked', 'expired']);
const FOLLOW_MS = 1_000;
const EVENTS_MAX = 1_000;
const WHAT_COLUMNS = 13;
const DETAIL_CHARS = 200;

const HELP = `
It needs the action admin where the broker asks who clients are. What one client does again and again is told once a second, with how often.

Examples:
  $ jsp auth audit --api-key-file ops.key
  $ jsp auth audit --follow --what refused,denied,revoked
  $ jsp auth audit --limit 1000 --json | jq -r 'select(.what == "refused") | .address' | sort | uniq -c
`;
