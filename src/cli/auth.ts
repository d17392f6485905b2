/** `jsp auth`: makes keys and tokens for the clients of a broker, and explains what its rules let them do. */

import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { printable } from '../base/errors.ts';
import { formatTable } from '../bench/figures.ts';
import { makeApiKey } from '../broker/auth/api-key.ts';
import { type AuthTable, addEntry, removeEntries } from '../broker/auth/edit-file.ts';
import { readAuthFile } from '../broker/auth/files.ts';
import {
  AUTH_ACTIONS,
  type AuthAction,
  type AuthRule,
  checkIdentityEntry,
  checkKeyEntry,
  expiryOf,
  type IdentityEntry,
  type KeyEntry,
} from '../broker/auth/options.ts';
import { makeFolderSync } from '../disk/make-folder.ts';
import { collect, parseDuration, takesFingerprints } from './arguments.ts';
import { addAuditCommand } from './auth-audit.ts';
import { addExplainCommand } from './auth-explain.ts';
import { addTokenCommands } from './auth-token.ts';
import { DEFAULT_STATE_DIRECTORY, writeSecretFile } from './state-directory.ts';
import { CommandError, cannotWrite, coloursOf, note, print, printJson } from './terminal.ts';

/** Options of what makes an entry. */
interface EntryOptions {
  file: string;
  name?: string;
  role: string[];
  allow: AuthRule[];
  deny: AuthRule[];
  expires?: Date;
  session?: string;
  json?: boolean;
}

interface KeyOptions extends EntryOptions {
  id?: string;
  out?: string;
}

interface ListOptions {
  file: string;
  json?: boolean;
}

export function addAuthCommand(program: Command): void {
  const auth = program
    .command('auth')
    .description('make keys and tokens for clients of a broker, and explain what its rules let them do')
    .helpCommand(false)
    .addHelpText('after', HELP);
  const key = auth.command('key').description('API keys, in a file that a broker reads').helpCommand(false);
  entryOptions(key.command('new').description('make a key: its text is printed once, the file gets its hash'))
    .option('--id <id>', 'letters, digits and dashes (default: ten random ones)')
    .option('--out <file>', 'write the text to a new file that only you can read, in place of stdout')
    .addHelpText('after', KEY_HELP)
    .action(newKey);
  listCommand(key, 'key');
  revokeCommand(key, 'key', '<id-or-name>');
  const identity = auth
    .command('identity')
    .description('key pairs of clients, as "jsp keygen --client" makes them, in a file that a broker reads')
    .helpCommand(false);
  takesFingerprints(
    entryOptions(
      identity
        .command('add')
        .description('let a client in by its key pair')
        .argument('<fingerprint>', 'of that, 43 characters'),
    ),
  ).action(addIdentity);
  listCommand(identity, 'identity');
  takesFingerprints(revokeCommand(identity, 'identity', '<fingerprint-or-name>'));
  addTokenCommands(auth);
  addExplainCommand(auth);
  addAuditCommand(auth);
}

function entryOptions(command: Command): Command {
  return command
    .option(
      '--name <name>',
      'of the client, what ${client} stands for in rules (default: the id, or the fingerprint)',
    )
    .option('--role <role>', 'of the broker’s roles; may be given several times', collect, [])
    .option(
      '--allow <actions:filter>',
      'a rule of its own, such as publish,subscribe:sensors/#; may be given several times',
      collectRule('allow'),
      [],
    )
    .option('--deny <actions:filter>', 'the same; what denies wins', collectRule('deny'), [])
    .option('--expires <when>', 'a date, or in how long, such as 30d', moment)
    .option('--session <name>', 'the only session name that it may take')
    .option('--file <file>', FILE_HELP, DEFAULT_FILE)
    .option('--json', 'print what was made as JSON');
}

function listCommand(parent: Command, table: AuthTable): void {
  parent
    .command('list')
    .description('what is in the file')
    .option('--file <file>', FILE_HELP, DEFAULT_FILE)
    .option('--json', 'print it as JSON')
    .action((options: ListOptions) => list(table, options));
}

function revokeCommand(parent: Command, table: AuthTable, argument: string): Command {
  return parent
    .command('revoke')
    .description('take it out of the file; the broker closes its connections when it reads that')
    .argument(argument, 'all of that name')
    .option('--file <file>', FILE_HELP, DEFAULT_FILE)
    .option('--json', 'print what is gone as JSON')
    .action((name: string, options: ListOptions) => revoke(table, name, options));
}

function newKey(options: KeyOptions): void {
  const { text, id, hash } = makeApiKey(options.id);
  const entry: KeyEntry = { id, hash, ...grantOf(options) };
  checkKeyEntry('the key', entry);
  if (options.out !== undefined) writeNew(options.out, text);
  try {
    store(options.file, 'key', entry);
  } catch (error) {
    if (options.out !== undefined) rmSync(options.out, { force: true }); // nobody knows the key in it
    throw error;
  }
  if (options.json)
    return printJson({
      ...shown(entry),
      ...(options.out === undefined ? { key: text } : { keyFile: options.out }),
    });
  if (options.out === undefined) print(text);
  const where = options.out === undefined ? 'It is not shown again' : `It is in ${options.out}`;
  note(
    `${where}: whoever has it is ${quoted(entry.name ?? id)}. ${options.file} has its hash, by which it is known.`,
  );
  note(RELOAD);
}

function addIdentity(fingerprint: string, options: EntryOptions): void {
  const entry: IdentityEntry = { fingerprint, ...grantOf(options) };
  checkIdentityEntry('the identity', entry);
  store(options.file, 'identity', entry);
  if (options.json) return printJson(shown(entry));
  note(`${options.file} has the identity ${fingerprint} as ${quoted(entry.name ?? fingerprint)} now.`);
  note(RELOAD);
}

function grantOf({
  name,
  role,
  allow,
  deny,
  expires,
  session,
}: EntryOptions): Omit<IdentityEntry, 'fingerprint'> {
  const rules = [...deny, ...allow];
  return {
    name,
    ...(role.length > 0 ? { roles: role } : {}),
    expires,
    session,
    ...(rules.length > 0 ? { rules } : {}),
  };
}

function list(table: AuthTable, { file, json }: ListOptions): void {
  const { keys, identities } = readAuthFile(file);
  const entries: readonly (KeyEntry | IdentityEntry)[] = table === 'key' ? keys : identities;
  if (json) return printJson({ file, [table === 'key' ? 'keys' : 'identities']: entries.map(shown) });
  if (entries.length === 0) return note(`${file} has none.`);
  const { red } = coloursOf(process.stdout);
  const rows = entries.map((entry) => [
    'id' in entry ? entry.id : entry.fingerprint,
    printable(entry.name ?? ''),
    printable((entry.roles ?? []).join(' ')),
    String(entry.rules?.length ?? 0),
    expiryOf(entry) === 0 ? 'never' : dateOf(entry),
  ]);
  const lines = formatTable(
    [table === 'key' ? 'id' : 'fingerprint', 'name', 'roles', 'rules', 'expires'],
    rows,
  ).split('\n');
  for (const [i, line] of lines.entries()) print(i > 0 && hasExpired(entries[i - 1]) ? red(line) : line);
}

function revoke(table: AuthTable, name: string, { file, json }: ListOptions): void {
  const revoked = removeEntries(file, table, name, new Date());
  if (revoked.length === 0)
    throw new CommandError(
      'ERR_JSP_USAGE',
      `${file} has no ${table} ${JSON.stringify(name)}: "jsp auth ${table} list" shows which it has`,
    );
  if (json) return printJson({ file, revoked });
  note(`${revoked.join(', ')} ${revoked.length > 1 ? 'are' : 'is'} not in ${file} any more.`);
  note(RELOAD);
}

/** A name, which may turn the text around it on a terminal. */
function quoted(name: string): string {
  return printable(JSON.stringify(name));
}

/** As JSON, without what nobody needs. */
function shown(entry: KeyEntry | IdentityEntry): object {
  const at = expiryOf(entry);
  return { ...entry, expires: at === 0 ? undefined : new Date(at).toISOString() };
}

function hasExpired(entry: KeyEntry | IdentityEntry): boolean {
  const at = expiryOf(entry);
  return at !== 0 && at <= Date.now();
}

function dateOf(entry: KeyEntry | IdentityEntry): string {
  return `${new Date(expiryOf(entry)).toISOString().slice(0, 16)}Z${hasExpired(entry) ? ' (over)' : ''}`;
}

function store(file: string, table: AuthTable, entry: KeyEntry | IdentityEntry): void {
  try {
    makeFolderSync(dirname(file), 0o700);
    addEntry(file, table, entry);
  } catch (error) {
    throw (error as NodeJS.ErrnoException).syscall === undefined ? error : cannotWrite(file, error);
  }
}

function writeNew(path: string, secret: string): void {
  try {
    writeSecretFile(path, secret);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** `publish,subscribe:sensors/#`, or `admin`. */
function collectRule(effect: 'allow' | 'deny'): (text: string, before: readonly AuthRule[]) => AuthRule[] {
  return (text, before) => {
    const at = text.indexOf(':');
    const names = (at < 0 ? text : text.slice(0, at)).split(',');
    const known = names.every((name) => AUTH_ACTIONS.includes(name as AuthAction));
    const isAdmin = names.length === 1 && names[0] === 'admin';
    if ((text.slice(0, at) !== '*' && !known) || (at < 0 && !isAdmin)) {
      throw new InvalidArgumentError(
        `It must be some of ${AUTH_ACTIONS.join(', ')}, or *, with a filter behind a colon, such as publish,subscribe:sensors/#`,
      );
    }
    const actions = names[0] === '*' ? ('*' as const) : (names as AuthAction[]);
    const rule = effect === 'allow' ? { allow: actions } : { deny: actions };
    return [...before, at < 0 ? rule : { ...rule, topics: [text.slice(at + 1)] }];
  };
}

/** A date, or in how long. */
export function moment(text: string): Date {
  const inMs = parseDuration(text);
  const date = inMs === null ? new Date(text) : new Date(Date.now() + inMs);
  if (Number.isNaN(date.getTime()))
    throw new InvalidArgumentError('It must be a date such as 2027-01-31, or in how long, such as 30d.');
  if (date.getTime() <= Date.now()) throw new InvalidArgumentError('It must be to come.');
  return date;
}

const DEFAULT_FILE: string = join(DEFAULT_STATE_DIRECTORY, 'auth.toml');
const FILE_HELP = 'the file, TOML, or JSON where its name ends so';
const RELOAD = 'A broker that runs reads its files again at SIGHUP.';

const HELP = `
What is told a broker is in the table [auth] of its configuration: who may do what by which role, whose tokens count, and in which files keys
and identities are. As soon as that table is there, nobody may do anything that no rule allows.

  [auth]
  keys_file = ".jsp/auth.toml"
  identities_file = ".jsp/auth.toml"

  [auth.roles.sensor]
  rules = [{ allow = ["publish"], topics = ["sensors/\${client}/#"] }]

Examples:
  $ jsp auth key new --name sensor-17 --role sensor --expires 90d
  $ jsp auth identity add "$(jsp keygen --client --out robot.key)" --name robot --role robot
  $ jsp auth key revoke sensor-17 && kill -HUP "$(pgrep -f 'jsp broker')"
  $ jsp auth explain --config jsp.toml --client sensor-17 --publish sensors/17/temperature
  $ jsp auth audit --follow --api-key-file ops.key
`;

const KEY_HELP = `
The text is jspk_ID_SECRET with 256 random bits, and the file has no more of it than a SHA-256: nobody can make the text of that.

Examples:
  $ jsp auth key new --name sensor-17 --role sensor
  $ jsp auth key new --name shop --allow publish,request:orders/# --allow subscribe:orders/+/state --out shop.key
  $ JSP_API_KEY=$(jsp auth key new --name me --allow '*:#') jsp pub hello world
`;
