/** `jsp dlq`: dead letters, which were given up: what they are, and back to where they were published. */

import type { Command } from 'commander';
import { formatTable, whole } from '../bench/figures.ts';
import type { AdminVerbs, DeadLetterFigures, DeadLetterRequest } from '../broker/operations/snapshot.ts';
import { wholeNumber, wholeNumbers } from './arguments.ts';
import { age } from './lists.ts';
import { asOperator, type OperatorOptions, printTable, shown, withOperatorOptions } from './operator.ts';
import { ProgressLine } from './progress-line.ts';
import { coloursOf, note, printJson, warn } from './terminal.ts';

interface LetterOptions extends OperatorOptions {
  log?: string;
  topic?: string;
  origin?: string;
  limit: number;
}

interface DlqListOptions extends LetterOptions {
  all?: boolean;
}

interface RedriveOptions extends LetterOptions {
  offsets?: number[];
  force?: boolean;
}

export function addDlqCommand(program: Command): void {
  const dlq = program
    .command('dlq')
    .description('list dead letters, messages that were given up, and send them back')
    .helpCommand(false);
  const list = withLetterOptions(
    dlq.command('list').description('list them, the newest first'),
    'how many to find at most',
  ).option('--all', 'those that were sent back, too');
  withOperatorOptions(list, 'print each as a line of JSON')
    .addHelpText('after', LIST_HELP)
    .action(listLetters);
  const redrive = withLetterOptions(
    dlq.command('redrive').description('publish them again where they were published at first, each once'),
    'how many at most',
  )
    .option(
      '--offsets <n,n>',
      'these alone, as "jsp dlq list" tells them',
      wholeNumbers(0, Number.MAX_SAFE_INTEGER),
    )
    .option(
      '--force',
      'with --offsets: also what only says that it is a dead letter, and what was sent back before',
    );
  withOperatorOptions(redrive, 'print what was done as JSON')
    .addHelpText('after', REDRIVE_HELP)
    .action(redriveLetters);
}

function withLetterOptions(command: Command, limit: string): Command {
  return command
    .option('--log <name>', 'the log that they are in', 'default')
    .option('--topic <filter>', 'only those on a topic, or on topics that a filter matches')
    .option('--origin <filter>', 'only those that were published there')
    .option('--limit <n>', limit, wholeNumber(1, 1_000_000), 100);
}

async function listLetters(options: DlqListOptions): Promise<void> {
  const { json, limit, all } = options;
  const line = new ProgressLine(process.stderr);
  const shows = !json && process.stderr.isTTY === true;
  const found: DeadLetterFigures[] = [];
  let at = Date.now();
  if (shows) line.begin('looking through the log', LOOKING_SECONDS);
  try {
    await asOperator(options, async (operator) => {
      for (let before: number | null = Number.MAX_SAFE_INTEGER; before !== null && found.length < limit; ) {
        const request: AdminVerbs['dead-letters']['request'] = {
          ...requestOf(options),
          before,
          limit: Math.min(PAGE, limit - found.length),
          all: all === true,
        };
        const page: AdminVerbs['dead-letters']['answer'] = await operator.ask('dead-letters', request);
        at = page.at;
        before = page.next;
        for (const letter of page.items) {
          found.push(letter);
          if (json) printJson(letter);
        }
        if (shows && before !== null) line.note(`${whole(found.length)} found, offset ${whole(before)}`);
      }
    });
  } finally {
    if (shows) line.end();
  }
  if (json) return;
  if (found.length === 0) return note('There are no dead letters.');
  const { dim } = coloursOf(process.stdout);
  const rows = found.map((letter) => [
    `${letter.offset}${letter.certain ? '' : '?'}`,
    shown(letter.topic),
    shown(letter.originTopic),
    String(letter.attempts),
    age(Math.max(0, at - letter.at)),
    whole(letter.bytes),
    shown(letter.reason, REASON_CHARS_MAX),
  ]);
  printTable(formatTable(['offset', 'topic', 'from', 'attempts', 'age', 'bytes', 'reason'], rows));
  if (found.some(({ certain }) => !certain))
    note(dim('? the broker has not made it: anybody could have published that'));
}

async function redriveLetters(options: RedriveOptions): Promise<void> {
  const { json, limit, offsets, force } = options;
  let redriven = 0;
  const failed: { offset: number; reason: string }[] = [];
  await asOperator(options, async (operator) => {
    if (offsets !== undefined) {
      const answer = await operator.ask('redrive', { ...requestOf(options), offsets, force: force === true });
      redriven = answer.redriven;
      failed.push(...answer.failed);
      return;
    }
    for (
      let before: number | null = Number.MAX_SAFE_INTEGER;
      before !== null && redriven + failed.length < limit;
    ) {
      const left = limit - redriven - failed.length;
      const answer: AdminVerbs['redrive']['answer'] = await operator.ask('redrive', {
        ...requestOf(options),
        before,
        limit: Math.min(PAGE, left),
      });
      redriven += answer.redriven;
      failed.push(...answer.failed);
      before = answer.next;
    }
  });
  if (json) printJson({ redriven, failed });
  else {
    note(`${whole(redriven)} ${redriven === 1 ? 'message was' : 'messages were'} published again.`);
    for (const { offset, reason } of failed) warn(`offset ${offset}: ${shown(reason, REASON_CHARS_MAX)}`);
  }
  if (failed.length > 0) process.exitCode = 1;
}

function requestOf({ log, topic, origin }: LetterOptions): DeadLetterRequest {
  return {
    ...(log === undefined ? {} : { log }),
    ...(topic === undefined ? {} : { topic }),
    ...(origin === undefined ? {} : { origin }),
  };
}

/** Asked for at once. */
const PAGE = 500;
const REASON_CHARS_MAX = 60;
const LOOKING_SECONDS = 5;

const LIST_HELP = `
A message is given up after the most deliveries that its subscription allows, or because its subscriber has said so. It is stored under the dead-letter topic of
the subscription, and says where it was and why it is there. With --json each has the first 256 bytes of the payload, in base64, as "preview".

Examples:
  $ jsp dlq list
  $ jsp dlq list --origin "orders/#" --limit 20
  $ jsp dlq list --json | jq -r '.preview | @base64d'
`;

const REDRIVE_HELP = `
All who are subscribed to the topic where it was published get a message that is sent back, not only the subscription that has given it up. What was sent back is not listed any more,
and not sent back again by who asks for all. Exit code 1: some could not be sent back.

Examples:
  $ jsp dlq redrive --origin "orders/#"
  $ jsp dlq redrive --offsets 1017,1023
`;
