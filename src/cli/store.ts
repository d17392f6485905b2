/** `jsp store`: looks at the store of a broker, and repairs one that is damaged. */

import type { Command } from 'commander';
import { formatTable, whole } from '../bench/figures.ts';
import { systemFiles } from '../broker/store/file-system.ts';
import { FindingKind, type StoreFinding, storeError } from '../broker/store/findings.ts';
import { type Inspection, inspectStore } from '../broker/store/inspect.ts';
import { assertUnused, lockStore } from '../broker/store/lock.ts';
import type { RecoveryReport } from '../broker/store/open-store.ts';
import { type RepairReport, repairStore } from '../broker/store/repair.ts';
import { systemSurroundings } from '../broker/store/surroundings.ts';
import { ProgressLine } from './progress-line.ts';
import { CommandError, coloursOf, print, printJson } from './terminal.ts';

interface StoreCommandOptions {
  json?: boolean;
}

export function addStoreCommand(program: Command): void {
  const store = program
    .command('store')
    .description('check the store of a broker, and repair one that is damaged')
    .helpCommand(false);
  store
    .command('check')
    .description('read all of a store and tell what is wrong with it; changes nothing')
    .argument('<dir>', 'what was given to jsp broker --store')
    .option('--json', 'print what was found as JSON')
    .addHelpText('after', CHECK_HELP)
    .action(withStoreErrors(check));
  store
    .command('repair')
    .description('set aside what is damaged, keep what is sound, and tell exactly what is lost')
    .argument('<dir>', 'what was given to jsp broker --store')
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', REPAIR_HELP)
    .action(withStoreErrors(repair));
}

/** One line about what a start has found, for the notes of `jsp broker`. */
export function recoveryLine(report: RecoveryReport): string {
  const { directory, durationMs, logs, stateEntries, recordsDropped, findings, unused } = report;
  const took = `${durationMs.toFixed(0)} ms`;
  if (report.isNew) return `store ${directory}: new, made in ${took}`;
  const records = logs.map(({ name, earliest, head }) => `${name} ${recordsOf(earliest, head)}`);
  const parts = [
    `store ${directory}: recovered in ${took}`,
    records.join('; '),
    `${whole(stateEntries)} values of state`,
  ];
  if (recordsDropped > 0) parts.push(`${whole(recordsDropped)} records of an unfinished write dropped`);
  const renewed = logs.filter(({ epochIsNew }) => epochIsNew).map(({ name }) => name);
  if (renewed.length > 0) parts.push(`readers of ${renewed.join(', ')} begin anew`);
  if (unused.length > 0) parts.push(`kept and not in use: ${unused.join(', ')}`);
  const other = findings.filter(({ kind }) => kind !== FindingKind.TORN).length;
  if (other > 0) parts.push(`${other} findings`);
  return parts.join(', ');
}

type StoreCommand = (directory: string, options: StoreCommandOptions) => Promise<void>;

function withStoreErrors(command: StoreCommand): StoreCommand {
  return (directory, options) =>
    command(directory, options).catch((error: unknown) => {
      throw storeError(directory, error);
    });
}

async function check(directory: string, { json }: StoreCommandOptions): Promise<void> {
  assertUnused(directory);
  const seen = await reading(directory, json, (onProgress) =>
    inspectStore(systemFiles, directory, { verifyBytes: Number.POSITIVE_INFINITY, onProgress }),
  );
  if (seen.isNew) throw new CommandError('ERR_JSP_FILE', `there is no store in ${directory}`);
  const isDamaged = seen.findings.some(({ isLoss }) => isLoss);
  if (json) printJson({ ...summaryOf(seen), verdict: isDamaged ? 'damaged' : 'sound' });
  else {
    printLogs(seen);
    printFindings(seen.findings);
    const { bold, red } = coloursOf(process.stdout);
    print(
      isDamaged
        ? `${red(bold('damaged'))}: a broker does not open it. "jsp store repair ${directory}" sets bad parts aside and tells what is lost`
        : `${bold('sound')}: ${whole(seen.bytesRead)} bytes were read`,
    );
  }
  if (isDamaged) process.exitCode = EXIT_DAMAGED;
}

async function repair(directory: string, { json }: StoreCommandOptions): Promise<void> {
  assertUnused(directory);
  const before = await inspectStore(systemFiles, directory, { verifyBytes: 0 });
  if (before.isNew) throw new CommandError('ERR_JSP_FILE', `there is no store in ${directory}`);
  const unlock = lockStore(directory);
  let report: RepairReport;
  try {
    report = await reading(directory, json, (onProgress) =>
      repairStore(systemFiles, directory, systemSurroundings(), onProgress),
    );
  } finally {
    unlock();
  }
  if (json) return printJson(report);
  printFindings(report.findings);
  const { recordsLost, recordsSaved, isExact, setAside, newEpochs } = report;
  const { bold } = coloursOf(process.stdout);
  if (setAside.length === 0 && recordsLost === 0)
    return print(`${bold('sound')}: there was nothing to repair`);
  for (const file of setAside) print(`set aside  ${file}`);
  if (recordsSaved > 0) print(`saved      ${whole(recordsSaved)} records from damaged places`);
  print(`lost       ${isExact ? '' : 'at least '}${whole(recordsLost)} records and changes of state`);
  if (newEpochs.length > 0)
    print('            readers of these logs begin anew, for more may be lost than anybody knows of');
  print(`${bold('repaired')}: a broker opens it now`);
}

function summaryOf(seen: Inspection): object {
  const { manifest, bytes, bytesRead, findings, leftovers, state } = seen;
  return {
    wasClosed: manifest?.closed === 1,
    logs: logsOf(seen),
    stateEntries: state.values.size,
    bytes,
    bytesRead,
    findings,
    leftovers,
  };
}

function logsOf(seen: Inspection) {
  return seen.logs.map(({ known, segments }) => ({
    name: known.name,
    epoch: known.epoch,
    earliest: known.earliest,
    head: segments.at(-1)?.index.next ?? known.earliest,
    segments: segments.length,
    bytes: segments.reduce((sum, { index }) => sum + index.bytes, 0),
  }));
}

function printLogs(seen: Inspection): void {
  const rows = logsOf(seen).map(({ name, earliest, head, segments, bytes }) => [
    name,
    recordsOf(earliest, head),
    whole(segments),
    whole(bytes),
  ]);
  print(formatTable(['log', 'records', 'segments', 'bytes'], rows));
  print('');
}

function printFindings(findings: readonly StoreFinding[]): void {
  const { red, yellow } = coloursOf(process.stdout);
  for (const { isLoss, kind, file, position, message } of findings) {
    print(`${isLoss ? red(kind) : yellow(kind)}  ${file}, byte ${whole(position)}: ${message}`);
  }
}

/** "1 to 1,000", or that there are none. */
function recordsOf(earliest: number, head: number): string {
  return head <= earliest ? 'no records' : `records ${whole(earliest)} to ${whole(head - 1)}`;
}

/** With a line that says how far it is, where somebody looks. */
async function reading<T>(
  directory: string,
  json: boolean | undefined,
  work: (onProgress: (bytes: number) => void) => Promise<T>,
): Promise<T> {
  if (json || process.stderr.isTTY !== true) return await work(() => {});
  const line = new ProgressLine(process.stderr);
  line.begin(`reading ${directory}`, READING_SECONDS);
  try {
    return await work((bytes) => line.note(`${whole(bytes / MIB)} MiB`));
  } finally {
    line.end();
  }
}

const MIB = 1024 * 1024;
const READING_SECONDS = 10;
/** Something that was stored is lost, or could be. */
const EXIT_DAMAGED = 3;

const CHECK_HELP = `
Reads everything and writes nothing. Exit code 0: sound, and the end of a write that a crash has left unfinished is no damage;
3: something that was stored is damaged or missing; 1: it cannot be read, or a broker is using it.

Examples:
  $ jsp store check /var/lib/jsp/store
  $ jsp store check --json /var/lib/jsp/store | jq .verdict
`;

const REPAIR_HELP = `
A damaged record costs itself: the others of its batch are found by their own checksums. Files that are changed are kept as they were in
DIR/lost. Where nobody can know what is missing, readers of the log are told to begin anew (its epoch changes).

Examples:
  $ jsp store repair /var/lib/jsp/store
`;
