import type { Command } from 'commander';
import { generateIdentity } from '../transport/system-crypto.ts';
import { writeSecretFile } from './state-directory.ts';
import { CommandError, note } from './terminal.ts';

interface KeygenOptions {
  out?: string;
  json?: boolean;
}

export function addKeygenCommand(program: Command): void {
  program
    .command('keygen')
    .description("make a server's identity: its secret, and the fingerprint that clients pin")
    .option(
      '--out <file>',
      'write the secret to a new file that only you can read, and print the fingerprint only',
    )
    .option('--json', 'print {"fingerprint", "secret"}')
    .addHelpText('after', HELP)
    .action(generate);
}

function generate({ out, json }: KeygenOptions): void {
  const identity = generateIdentity();
  const fingerprint = identity.fingerprintText;
  const secret = identity.exportSecret();
  if (out !== undefined) {
    writeNewSecret(out, secret);
    note(
      `The secret is in ${out}: whoever has it is this server. On stdout is the fingerprint, which is for everyone.`,
    );
    process.stdout.write(json ? `${JSON.stringify({ fingerprint })}\n` : `${fingerprint}\n`);
    return;
  }
  note('Keep the secret to yourself: whoever has it is this server. The fingerprint is for everyone.');
  const text = `fingerprint ${fingerprint}\nsecret      ${secret}\n`;
  process.stdout.write(json ? `${JSON.stringify({ fingerprint, secret })}\n` : text);
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

Examples:
  $ jsp keygen
  $ jsp keygen --out .jsp/identity
`;
