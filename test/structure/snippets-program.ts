/**
 * One program for the compiler, of all snippets. What they use without importing or declaring it comes from the package, or has one of the types below:
 * a snippet that uses something else does not compile, until that is told here, too.
 */

import { spawnSync } from 'node:child_process';
import { symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { emptyFolder } from '../empty-folder.ts';
import { ROOT } from './project.ts';
import { DOORS, exportsOf, type Snippet, withoutElisions } from './snippets.ts';

/** What there is where a page begins to tell; `transport.` is the package itself. */
const THINGS: Readonly<Record<string, string>> = {
  broker: 'broker.Broker',
  client: 'client.BrokerClient & transport.ArrivingClient',
  connection: 'transport.Connection & Omit<transport.ReconnectingConnection, keyof transport.Connection>',
  gateway: 'gateway.Gateway',
  job: 'client.Message',
  lab: 'testing.Lab',
  listener: 'transport.Listener & Omit<transport.WorkersListener, keyof transport.Listener>',
  message: 'client.Message & Uint8Array',
  readable: "transport.WebStreams['readable']",
  receiver: 'files.FileReceiver',
  server: 'client.BrokerClient & string',
  stream: 'transport.Stream',
  subscription: 'client.Subscription',
  writable: "transport.WebStreams['writable']",
};

/** What pages name without that which has it: methods, functions that are options, and what a module of workers exports. */
const MEMBERS: Readonly<Record<string, string>> = {
  'ack, json, nack, progress, terminate, text': 'client.Message',
  'authorize, keyLog, start, stop': 'Required<transport.WorkerModule>',
  'close, setAppState': 'transport.Connection',
  'drain, flush, publish, unref': 'client.BrokerClient',
  'end, pause, send': 'transport.Stream',
  exportSecret: 'transport.Identity',
  prepareReload: 'broker.Broker',
  'put, take': 'transport.TokenStore',
  unsubscribe: 'client.Subscription',
};

/** Arguments, and what else a program has. */
const VALUES: Readonly<Record<string, string>> = {
  'a, b, filter, fingerprint, folder, label, line, order, origin, password, payload, reason, topic, url':
    'string',
  batch: 'transport.TransmitBatch',
  'bytes, length, n, pack, worker': 'number',
  'dictionary, ticket, token': 'Uint8Array',
  context: 'transport.WorkerContext & Uint8Array',
  destroy: "transport.Connection['destroy'] & import('node:stream').Duplex['destroy']",
  document: '{ readonly body: { append(text: string): void } }',
  elided: 'never',
  error: 'transport.JspError',
  handler: 'client.ReplyHandler',
  identity: 'transport.Identity',
  isFinal: "NonNullable<transport.ReconnectOptions['isFinal']>",
  link: 'transport.LinkOptions',
  log: '(...words: unknown[]) => void',
  mayComeIn: '(...client: unknown[]) => Promise<boolean>',
  metrics: '() => transport.ConnectionMetrics & transport.ListenerMetrics & client.ClientMetrics',
  mqtt: "typeof import('mqtt')['default']",
  name: "'bbr'",
  onFailure: "Parameters<transport.TransmitBatch['seal']>[0]",
  ofThisClient: 'transport.Identity',
  openStream: "transport.Connection['openStream'] & transport.ReconnectingConnection['openStream']",
  options: 'broker.BrokerReloadOptions & web.WebClientOptions',
  portFor: "NonNullable<transport.WorkersListenOptions['portFor']>",
  reading: '{ readonly celsius: number }',
  readingSchema: '{ parse(value: unknown): { celsius: number } }',
  readings: 'unknown[]',
  samples: 'Uint8Array[]',
  show: '(bytes: number) => void',
  socket: 'transport.DatagramSocket',
  store: '(celsius: number) => void',
  'freshToken, tokenOfMyProvider': '(signal?: AbortSignal) => Promise<string>',
  'urlOfA, urlOfB, urlOfTheOther': 'string',
};

/** What is told on channels of Node, whose own types do not know it. */
const CHANNELS = `
declare module 'diagnostics_channel' {
  type Messages = transport.DiagnosticsMessages;
  function subscribe<K extends keyof Messages>(name: K, onMessage: (message: Messages[K]) => void): void;
}`;

/** Calls of which a text shows some options, and not those that there must be. */
const IN_PART: Readonly<Record<string, string>> = {
  listen:
    '(options: Partial<transport.WorkersListenOptions & transport.ListenOptions>) => Promise<transport.Listener>',
  module: 'URL',
  startBroker: '(options: Partial<broker.BrokerOptions>) => Promise<broker.Broker>',
};

/** Objects that texts show by themselves: each is to be a part of one of these. */
const OBJECTS = Object.entries({
  transport: [
    'ConnectOptions, ReconnectingConnectOptions, ListenOptions, WorkersListenOptions, StreamOptions, SendOptions, DuplexOptions',
    'AuthorizedKeysOption, CompressionSettings, LinkOptions, ProtectionBlock, ProtectionTarget, Alert, WorkerContext, WorkerEvent',
  ].join(', '),
  broker: 'BrokerOptions',
  client: [
    'BrokerClientOptions, PublishOptions, RequestOptions, SubscribeOptions, StartPosition, BreakerOptions, ReconnectOptions',
    'Credentials, Resumed',
  ].join(', '),
  gateway: 'GatewayOptions',
})
  .flatMap(([door, names]) => names.split(', ').map((name) => `${door}.${name}`))
  .concat("Extract<transport.ConnectOptions['mtu'], object>")
  .concat(`import('${ROOT}src/gateway/subscription-request.ts').SubscriptionWishes`);

/** What is not of the package. */
const IMPORTED: Readonly<Record<string, readonly string[]>> = {
  'node:fs': ['createReadStream', 'readFileSync', 'writeFileSync'],
  'node:stream/promises': ['pipeline'],
  'node:zlib': ['createGzip'],
};

export function isThing(name: string): boolean {
  return Object.hasOwn(THINGS, name);
}

export interface Snippets {
  readonly programs: readonly Snippet[];
  /** Calls, and what else stands within a line. */
  readonly expressions: readonly Snippet[];
  readonly literals: readonly Snippet[];
}

/** What the compiler finds wrong, each with the line of the page where it stands. */
export function faultsOf({ programs, expressions, literals }: Snippets): string[] {
  const folder = emptyFolder();
  const write = (name: string, text: string) => writeFileSync(join(folder, name), text);
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  write('package.json', '{ "type": "module" }');
  write('tsconfig.json', JSON.stringify(CONFIG));
  write('names.ts', typesIn(namesDeclared() + CHANNELS));
  for (const [i, program] of programs.entries()) write(`program-${i}.ts`, moduleOf(program, {}));
  for (const [i, { text, ...place }] of expressions.entries())
    write(`expression-${i}.ts`, moduleOf({ text: statementOf(text), ...place }, IN_PART));
  for (const [i, type] of OBJECTS.entries()) {
    const lines = literals.map(({ text }) => `(${compiled(valued(text))}) satisfies Partial<${type}>;`);
    write(`literals-${i}.ts`, typesIn(lines.join('\n')));
  }

  const told = compile(folder);
  const of = (kind: string) => told.filter(({ file }) => file.startsWith(`${kind}-`));
  const misfits = of('literals');
  const isMisfit = (i: number) =>
    OBJECTS.every((_, type) =>
      misfits.some(({ file, line }) => file === `literals-${type}.ts` && line === i + 1),
    );
  return [
    ...told.filter(({ file }) => file === 'names.ts').map(({ line, what }) => `names.ts:${line} ${what}`),
    ...of('program').map(({ file, line, what }) => {
      const program = programs[numberOf(file)];
      return `${program.path}:${program.line + line - 1} ${what}`;
    }),
    ...of('expression').map(({ file, what }) => `${placeOf(expressions[numberOf(file)])} ${what}`),
    ...literals
      .filter((_, i) => isMisfit(i))
      .map((literal) => `${placeOf(literal)} is no part of options that there are`),
  ];
}

function numberOf(file: string): number {
  return Number(/\d+/.exec(file));
}

function placeOf({ path, line, text }: Snippet): string {
  return `${path}:${line} \`${text}\``;
}

interface Fault {
  readonly file: string;
  readonly line: number;
  readonly what: string;
}

/** What the compiler says of the files of a folder. */
function compile(folder: string): Fault[] {
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const ran = spawnSync(process.execPath, [tsc, '--pretty', 'false'], { cwd: folder, encoding: 'utf8' });
  const told = ran.stdout
    .trim()
    .split(/\n(?=\S)/)
    .filter((text) => text !== '');
  return told.map((text) => {
    const [, file, line, what] = /^([\w.-]+)\((\d+),\d+\): error \w+: ([\s\S]*)$/.exec(text) ?? [];
    if (file === undefined) throw new Error(`the compiler says: ${text}`);
    return { file, line: Number(line), what };
  });
}

/** A file of its own, in which nothing of the snippet stands on another line than before. */
function moduleOf({ path, text }: Snippet, instead: Readonly<Record<string, string>>): string {
  const door =
    DOORS.find((each) => each !== DOORS[0] && path.startsWith(each.replace('index.ts', ''))) ??
    (path.startsWith('docs/web.md') ? 'src/web/index.ts' : '');
  const words = new Set(text.match(/[A-Za-z]\w+/g));
  const taken = new Set(
    [...text.matchAll(/^ *(?:import|const) [^=]*?\{?([\w, ]+)\}? (?:from|=)/gm)].flatMap(([, names]) =>
      names.split(/\W+/),
    ),
  );
  const head = Object.keys(instead)
    .filter((name) => words.has(name))
    .map((name) => `declare const ${name}: ${instead[name]};`);
  for (const name of Object.keys(instead)) taken.add(name);
  for (const from of [door, ...DOORS].filter((each) => each !== '')) {
    for (const name of exportsOf(from)) {
      if (!words.has(name) || taken.has(name)) continue;
      taken.add(name);
      head.push(`import { ${name} } from '${packageName(from)}';`);
    }
  }
  return `${typesIn(head.join(' '))} ${typesIn(compiled(text))}\nexport {};\n`;
}

function packageName(door: string): string {
  return `jetstream-proto${door.slice('src'.length, -'/index.ts'.length)}`;
}

function namesDeclared(): string {
  const imported = Object.entries(IMPORTED).flatMap(([from, names]) =>
    names.map((name) => [name, `typeof import('${from}').${name}`]),
  );
  const members = Object.entries(MEMBERS).flatMap(([names, type]) =>
    names.split(', ').map((name) => [name, `(${type})['${name}']`]),
  );
  const values = Object.entries({ ...THINGS, ...VALUES }).flatMap(([names, type]) =>
    names.split(', ').map((name) => [name, type]),
  );
  return [...imported, ...members, ...values]
    .map(([name, type]) => `declare const ${name}: ${type}; ${name === 'elided' ? '' : checkOf(name)}`)
    .join('\n');
}

/** That the type of a name holds what is done with it against something: a member that an interface has lost is any, parts that contradict each other are never. */
function checkOf(name: string): string {
  return `true satisfies 0 extends 1 & typeof ${name} ? false : [typeof ${name}] extends [never] ? false : true;`;
}

/** With `import(...)` for the names of doors, as they are in the tables above. */
function typesIn(text: string): string {
  return text.replace(
    /(?<![\w.'])(transport|broker|client|files|gateway|testing|web)\.(?=[A-Z])/g,
    (_, door) => `import('jetstream-proto${door === 'transport' ? '' : `/${door}`}').`,
  );
}

/** As the compiler gets it, line for line. */
function compiled(text: string): string {
  return withoutElisions(text)
    .replace(/'(http:\/\/127\.0\.0\.1:4580)?\/jsp\.js'/g, "'jetstream-proto/web'")
    .replace(/^export default (?=\()/m, "const _: transport.WorkerModule['default'] = ");
}

/** What is named by an empty call, such as `flush()`, has only to be there. */
function statementOf(text: string): string {
  const named = /^([\w.]+)\(\)$/.exec(text)?.[1] ?? text;
  return valued(named).replace(/^default(?=\()/, '({} as transport.WorkerModule).default');
}

/** With a value, of whichever type, for a member that is named alone, as in `connect(url, { reconnect })`: there has to be one of that name. */
function valued(text: string): string {
  if (text.startsWith('import ')) return text;
  const open: string[] = [];
  return text.replace(/[{([]|[})\]]|(?<=[{,] )\w+(?=,| \})/g, (found) => {
    if ('{(['.includes(found)) open.push(found);
    else if ('})]'.includes(found)) open.pop();
    else if (open.at(-1) === '{') return `${found}: elided`;
    return found;
  });
}

const CONFIG = {
  extends: join(ROOT, 'tsconfig.json'),
  compilerOptions: {
    // What says so of itself is a module; names.ts is for all of them.
    moduleDetection: 'legacy',
    noUnusedLocals: false,
    noUnusedParameters: false,
    verbatimModuleSyntax: false,
    // Pages show JavaScript as well, where parameters have the types of where they are handed in, or none.
    noImplicitAny: false,
  },
  include: ['*.ts'],
  exclude: [],
};
