import { randomBytes } from 'node:crypto';
import type { Command } from 'commander';
import { FRONT_SECRET_BYTES, thumbprintOf } from '../protocol/crypto/index.ts';
import { generateIdentity } from '../transport/system-crypto.ts';
import { writeSecretFile } from './state-directory.ts';
import { CommandError, note } from './terminal.ts';

interface KeygenOptions {
  client?: boolean;
  hybrid?: boolean;
  front?: boolean;
  out?: string;
  json?: boolean;
}

export function addKeygenCommand(program: Command): void {
  program
    .command('keygen')
    .description(
      'make an identity: its secret, and the fingerprint by which others know it; or the secret of a front',
    )
    .option('--client', 'of a client: also print the entry by which a broker knows it')
    .option('--hybrid', 'Ed25519 and ML-DSA-65: also holds against who has a quantum computer')
    .option(
      '--front',
      'no identity: the secret that a front ("jsp gateway --udp") and the brokers behind it share',
    )
    .option(
      '--out <file>',
      'write the secret to a new file that only you can read, and print the fingerprint only',
    )
    .option('--json', 'print {"fingerprint", "secret"}')
    .addHelpText('after', HELP)
    .action(generate);
}

function generate(options: KeygenOptions): void {
  if (options.front) generateFrontSecret(options);
  else generateIdentityOf(options);
}

/** [FRT-1] */
function generateFrontSecret({ client, hybrid, out, json }: KeygenOptions): void {
  if (client || hybrid)
    throw new CommandError('ERR_JSP_USAGE', '--front makes no identity: it goes with --out and --json alone');
  const secret = randomBytes(FRONT_SECRET_BYTES).toString('base64url');
  if (out === undefined) {
    note(
      'Keep it to yourself: whoever has it can say where clients of the brokers are, and tell which broker has which of them.',
    );
    process.stdout.write(json ? `${JSON.stringify({ secret })}\n` : `${secret}\n`);
    return;
  }
  writeNewSecret(out, secret);
  note(
    `The secret is in ${out}: give it to "jsp gateway --udp" and to all brokers behind it, as --front-secret.`,
  );
  if (json) process.stdout.write(`${JSON.stringify({ file: out })}\n`);
}

function generateIdentityOf({ client, hybrid, out, json }: KeygenOptions): void {
  const identity = generateIdentity({ hybrid });
  const fingerprint = identity.fingerprintText;
  const secret = identity.exportSecret();
  const who = client ? 'client' : 'server';
  // By which tokens are bound to it; a hybrid identity is more than the one key of a token.
  const thumbprint = client && !identity.isHybrid ? { thumbprint: thumbprintOf(identity.publicKey) } : {};
  if (out !== undefined) {
    writeNewSecret(out, secret);
    note(
      `The secret is in ${out}: whoever has it is this ${who}. On stdout is the fingerprint, which is for everyone.`,
    );
    process.stdout.write(json ? `${JSON.stringify({ fingerprint, ...thumbprint })}\n` : `${fingerprint}\n`);
  } else {
    note(`Keep the secret to yourself: whoever has it is this ${who}. The fingerprint is for everyone.`);
    const text = `fingerprint ${fingerprint}\nsecret      ${secret}\n`;
    process.stdout.write(json ? `${JSON.stringify({ fingerprint, secret, ...thumbprint })}\n` : text);
  }
  if (client && !json) {
    note(`For a broker with --authorized-keys FILE: the fingerprint on a line of that file lets it in.`);
    note(`For one with rules: jsp auth identity add ${fingerprint} --name NAME --role ROLE`);
  }
}

function writeNewSecret(path: string, secret: string): void {
  try {
    writeSecretFile(path, secret);
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === 'EEXIST';
    const reason = exists
      ? 'it exists, and a secret is never overwritten; choose another file, or move it away'
      : (error as Error).message;
    throw new CommandError('ERR_JSP_FILE', `cannot write ${path}: ${reason}`, { cause: error });
  }
}

const HELP = `
A broker makes its identity by itself. To bring your own, write it to the file "identity" of its state directory before
it starts for the first time. In a program: Identity.fromSecret(secret).

With --hybrid it has two keys, and who wants to be taken for it has to forge both. A client pins it as any other; connecting takes 5 KB more.

With --client it is that of a client, which proves on each connection that it has the secret, and never shows it: to a broker that knows its
fingerprint. Commands take it with --identity, programs with the option credentials: { identity }.

With --front it is the secret of a front and its brokers, which says nothing of who they are: two lines in the file, the new one first, are one and the one before.

Examples:
  $ jsp keygen
  $ jsp keygen --out .jsp/identity
  $ jsp keygen --hybrid --out .jsp/identity
  $ jsp keygen --client --out robot.key
  $ jsp keygen --front --out front.secret
  $ jsp pub robots/7 hello --identity robot.key
`;
