/** `jsp auth explain`: what the rules of a configuration say to somebody who wants to do something, and which of them it is. */

import type { Command } from 'commander';
import { Authenticator, type Known } from '../broker/auth/authenticator.ts';
import { type Decider, type Explanation, explain } from '../broker/auth/explain.ts';
import type { AuthAction } from '../broker/auth/options.ts';
import { brokerOptionsOf } from '../broker/config/broker-options.ts';
import { loadConfig } from '../broker/config/load.ts';
import { AuthMethod } from '../pubsub/session-commands.ts';
import { filterFault, topicFault } from '../pubsub/topic.ts';
import { collect, collectHeader } from './arguments.ts';
import { jsonOrText } from './auth-token.ts';
import { type CredentialOptions, credentialsOf } from './credentials.ts';
import { CommandError, coloursOf, print, printJson } from './terminal.ts';

interface ExplainOptions extends Pick<CredentialOptions, 'apiKeyFile' | 'tokenFile'> {
  config: string;
  client?: string;
  anonymous?: boolean;
  role: string[];
  claim: Record<string, string>;
  issuer?: string;
  publish: string[];
  subscribe: string[];
  share: string[];
  request: string[];
  admin?: boolean;
  json?: boolean;
}

export function addExplainCommand(auth: Command): void {
  auth
    .command('explain')
    .description('tell whether somebody may do something, and which rule says so')
    .requiredOption('--config <file>', 'the configuration of the broker')
    .option('--client <name>', 'of a key or an identity, or whom a token names')
    .option('--anonymous', 'who says nothing')
    .option('--api-key-file <file>', 'whose key this is')
    .option('--token-file <file>', 'whose token (JWT) this is')
    .option('--role <role>', 'a role in the token of --client; may be given several times', collect, [])
    .option('--claim <name=value>', 'another claim in it: text, or JSON', collectHeader, {})
    .option('--issuer <text>', 'whose token it would be (default: the first issuer of the configuration)')
    .option(
      '--publish <topic>',
      'may it publish there? Each of these may be given several times',
      collect,
      [],
    )
    .option('--subscribe <filter>', 'may it subscribe to that?', collect, [])
    .option('--share <filter>', 'may it share that, as $share/GROUP/FILTER?', collect, [])
    .option('--request <topic>', 'may it ask there, or publish with a topic for replies?', collect, [])
    .option('--admin', 'may it administer the broker?')
    .option('--json', 'print it as JSON')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(options: ExplainOptions): Promise<void> {
  const questions = questionsOf(options);
  const { auth } = brokerOptionsOf(loadConfig({ file: options.config, environment: {} }));
  if (auth === undefined) {
    throw new CommandError(
      'ERR_JSP_USAGE',
      `${options.config} has no table [auth]: everybody who knows the URL may do everything`,
    );
  }
  const authenticator = await Authenticator.open(auth);
  try {
    const who = await personOf(authenticator, options);
    const answers = questions.flatMap(([action, name]) => explain(who.rules, action, name));
    const isAllowed = answers.every(({ verdict }) => verdict !== 'denied');
    if (options.json) printJson({ ...described(who), allowed: isAllowed, answers: answers.map(plain) });
    else {
      const { kind, name, id } = who;
      print(
        kind === 'anonymous'
          ? 'who says nothing (anonymous)'
          : `${JSON.stringify(name)}, known by ${KINDS[kind]}${id === name ? '' : ` ${id}`}`,
      );
      for (const answer of answers) printAnswer(answer);
    }
    if (!isAllowed) process.exitCode = EXIT_DENIED;
  } finally {
    authenticator.close();
  }
}

function questionsOf({ publish, subscribe, share, request, admin }: ExplainOptions): [AuthAction, string][] {
  const asked = (action: AuthAction, names: readonly string[], faultOf: (name: string) => string | null) =>
    names.map((name): [AuthAction, string] => {
      const fault = faultOf(name);
      if (fault !== null)
        throw new CommandError('ERR_JSP_USAGE', `--${action} ${JSON.stringify(name)} ${fault}`);
      return [action, name];
    });
  const questions = [
    ...asked('publish', publish, topicFault),
    ...asked('subscribe', subscribe, filterFault),
    ...asked('share', share, filterFault),
    ...asked('request', request, topicFault),
    ...(admin ? [['admin', ''] as [AuthAction, string]] : []),
  ];
  if (questions.length === 0)
    throw new CommandError(
      'ERR_JSP_USAGE',
      'say what it wants to do: --publish, --subscribe, --share, --request or --admin',
    );
  return questions;
}

async function personOf(authenticator: Authenticator, options: ExplainOptions): Promise<Known> {
  const { client, anonymous, apiKeyFile, tokenFile, role, claim, issuer } = options;
  const ways = [client, anonymous, apiKeyFile, tokenFile].filter((each) => each !== undefined);
  if (ways.length !== 1)
    throw new CommandError(
      'ERR_JSP_USAGE',
      'say who it is by one of --client, --anonymous, --api-key-file and --token-file',
    );
  if (anonymous) {
    if (authenticator.anonymous === null)
      throw new CommandError(
        'ERR_JSP_USAGE',
        'who says nothing is refused: the configuration has no table [auth.anonymous]',
      );
    return authenticator.anonymous;
  }
  if (client !== undefined) {
    const isToken = role.length > 0 || Object.keys(claim).length > 0 || issuer !== undefined;
    const claims = Object.fromEntries(Object.entries(claim).map(([name, text]) => [name, jsonOrText(text)]));
    const known =
      (isToken ? null : authenticator.byName(client)) ??
      authenticator.withToken(issuer, client, { ...claims, roles: role });
    if (known !== null) return known;
    throw new CommandError(
      'ERR_JSP_USAGE',
      `nobody is named ${JSON.stringify(client)}: neither a key nor an identity is, and there is no issuer of tokens`,
    );
  }
  const source = credentialsOf({ apiKeyFile, tokenFile }, {});
  const given = typeof source === 'function' ? await source(new AbortController().signal) : source;
  if (given == null || !('apiKey' in given || 'jwt' in given))
    throw new CommandError('ERR_JSP_FILE', 'the file is empty');
  const [method, text] = 'apiKey' in given ? [AuthMethod.API_KEY, given.apiKey] : [AuthMethod.JWT, given.jwt];
  const facts = {
    door: 'native' as const,
    address: '',
    overLimit: 'wait' as const,
    exporter: () => null,
    link: () => null,
  };
  const decision = await authenticator.authenticate({
    method,
    credentials: Buffer.from(text),
    session: '',
    renews: null,
    facts,
  });
  if ('principal' in decision) return decision.principal as Known;
  throw new CommandError('ERR_JSP_USAGE', `a broker refuses this: ${decision.reason}`);
}

function printAnswer(answer: Explanation): void {
  const { bold, red, yellow, dim } = coloursOf(process.stdout);
  const { verdict, action, name, by, withheld, others } = answer;
  const colour = verdict === 'allowed' ? bold : verdict === 'partly' ? yellow : red;
  print(`${colour(verdict.padEnd(7))}  ${action} ${name}`);
  if (by !== null) print(`         ${ruleText(by)}`);
  else {
    print('         no rule allows it');
    for (const other of others.slice(0, OTHERS_MAX)) print(dim(`         beside it: ${ruleText(other)}`));
  }
  for (const each of withheld) print(`         but not what matches: ${ruleText(each)}`);
}

/** `jsp.toml:12, role "sensor": allow publish on sensors/7/#` */
function ruleText({ rule, filter }: Decider): string {
  const place = rule.at === undefined ? rule.from : `${rule.at}, ${rule.from}`;
  return `${place}: ${rule.effect} ${rule.actions.join(', ')} on ${filter}`;
}

function plain({ action, name, verdict, by, withheld }: Explanation): object {
  const decider = ({ rule, filter }: Decider) => ({
    effect: rule.effect,
    actions: rule.actions,
    filter,
    from: rule.from,
    at: rule.at,
  });
  return { action, name, verdict, by: by === null ? null : decider(by), withheld: withheld.map(decider) };
}

function described({ kind, name, id, session, expiresAt, limits }: Known): object {
  return {
    kind,
    name,
    id,
    session,
    expires: expiresAt === 0 ? null : new Date(expiresAt).toISOString(),
    limits,
  };
}

const KINDS = { identity: 'its identity', apiKey: 'its API key', jwt: 'its token' } as const;
const OTHERS_MAX = 5;
/** As "jsp store check" has it for what is not as it should be. */
const EXIT_DENIED = 3;

const HELP = `
Exit code 0: all that was asked is allowed; 3: something is denied. A subscription can be allowed but for some topics: what they match is withheld from it.

Examples:
  $ jsp auth explain --config jsp.toml --client sensor-17 --publish sensors/17/temperature
  $ jsp auth explain --config jsp.toml --client bob --role user --claim dept=sales --subscribe 'dept/sales/#'
  $ jsp auth explain --config jsp.toml --token-file bob.jwt --share 'jobs/#' --admin
  $ jsp auth explain --config jsp.toml --anonymous --subscribe 'public/#' --json | jq .allowed
`;
