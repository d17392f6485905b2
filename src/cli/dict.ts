/** `jsp dict`: makes a dictionary out of samples of what will be sent, and shows what one is. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Command } from 'commander';
import { printable } from '../base/errors.ts';
import { formatTable, whole } from '../bench/figures.ts';
import {
  chooseLz4,
  DICTIONARY_BYTES,
  DICTIONARY_BYTES_MAX,
  DICTIONARY_BYTES_MIN,
  Dictionary,
  EnvelopeWriter,
  SAMPLES_MIN,
  trainingSteps,
} from '../protocol/compress/index.ts';
import type { CompressionSettings } from '../transport/compression.ts';
import { wholeNumber } from './arguments.ts';
import { readSamples } from './samples.ts';
import { CommandError, cannotWrite, coloursOf, note, print, warn } from './terminal.ts';

interface TrainOptions {
  output?: string;
  bytes: number;
  lines?: boolean;
  json?: boolean;
}

/** What messages come to, in bytes. */
interface Trial {
  readonly messages: number;
  readonly bytes: number;
  /** Each in the least that it takes: as it is where compression brings nothing. */
  readonly compressed: number;
  readonly withDictionary: number;
  /** The same where the envelope names the dictionary by its hash, as it does on the way through a broker. */
  readonly throughBroker: number;
}

/** What a training made, and of what. */
interface Made {
  readonly dictionary: Dictionary;
  /** Where it is written; null where it is not. */
  readonly file: string | null;
  readonly samples: { readonly count: number; readonly bytes: number };
  readonly trial: Trial;
}

export function addDictCommand(program: Command): void {
  const dict = program
    .command('dict')
    .description('make dictionaries, with which small messages compress')
    .helpCommand(false);
  dict
    .command('train')
    .description('make a dictionary out of samples of what you will send, and tell what it brings')
    .argument('<samples...>', 'files, a message each; folders of them; - for stdin')
    .option('-o, --output <file>', 'where to write it; without it, it is made and measured only')
    .option(
      '--bytes <n>',
      'the most that it may have',
      wholeNumber(DICTIONARY_BYTES_MIN, DICTIONARY_BYTES_MAX),
      DICTIONARY_BYTES,
    )
    .option('--lines', 'each line is a message, not each file')
    .option('--json', 'print what was found as JSON')
    .addHelpText('after', TRAIN_HELP)
    .action(train);
  dict
    .command('show')
    .description('tell the name of a dictionary, and what is in it')
    .argument('<file>', 'the dictionary')
    .option('--json', 'print {"name", "sha256", "bytes"}')
    .addHelpText('after', SHOW_HELP)
    .action(show);
}

function train(paths: string[], options: TrainOptions): void {
  const { messages, bytes } = readSamples(paths, options.lines === true);
  assertEnough(messages.length, options);
  const heldBack = messages.filter((_, i) => i % HELD_BACK_EVERY === HELD_BACK_EVERY - 1);
  const teachers = messages.filter((_, i) => i % HELD_BACK_EVERY !== HELD_BACK_EVERY - 1);
  const learned = withProgress(trainingSteps(teachers, { bytes: options.bytes }));
  if (learned.length === 0) {
    throw new CommandError(
      'ERR_JSP_SAMPLES',
      'the samples have nothing in common, so no dictionary helps: they are compressed, encrypted or random already',
    );
  }
  const dictionary = new Dictionary(learned);
  if (options.output !== undefined) write(options.output, dictionary);
  const made = {
    dictionary,
    file: options.output ?? null,
    samples: { count: messages.length, bytes },
    trial: trialOf(heldBack, dictionary),
  };
  if (options.json) print(JSON.stringify(jsonReport(made)));
  else report(made);
}

function assertEnough(count: number, { lines }: TrainOptions): void {
  if (count >= TRAINED_MIN) return;
  const found =
    count === 0 ? 'there are no samples' : `${count === 1 ? '1 sample is' : `${count} samples are`} too few`;
  const hint = lines ? '' : '; if a file holds a message a line, pass --lines';
  throw new CommandError(
    'ERR_JSP_SAMPLES',
    `${found}: give at least ${TRAINED_MIN} messages, and better some hundreds${hint}`,
  );
}

/** Runs the steps, and tells on a terminal how far they are. */
function withProgress(steps: Generator<number, Uint8Array>): Uint8Array {
  const shown = process.stderr.isTTY === true;
  for (;;) {
    const step = steps.next();
    if (shown) process.stderr.write(step.done ? '\r\x1b[K' : `\rtraining: ${Math.round(step.value * 100)} %`);
    if (step.done) return step.value;
  }
}

function write(path: string, dictionary: Dictionary): void {
  try {
    writeFileSync(path, dictionary.bytes);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

function trialOf(messages: readonly Uint8Array[], dictionary: Dictionary): Trial {
  const writer = new EnvelopeWriter(chooseLz4());
  const trial = { messages: messages.length, bytes: 0, compressed: 0, withDictionary: 0, throughBroker: 0 };
  for (const message of messages) {
    const { length } = message;
    trial.bytes += length;
    trial.compressed += writer.deflate(message, length)?.length ?? length;
    trial.withDictionary += writer.deflate(message, length, dictionary, 0)?.length ?? length;
    trial.throughBroker += writer.deflate(message, length, dictionary)?.length ?? length;
  }
  return trial;
}

function report({ dictionary, file, samples, trial }: Made): void {
  const { bold, dim } = coloursOf(process.stdout);
  const row = (name: string, sent: number): string[] => [name, whole(sent), (trial.bytes / sent).toFixed(2)];
  print(
    `${bold(dictionary.name)}  ${whole(dictionary.bytes.length)} bytes${file === null ? '' : `, in ${printable(file)}`}`,
  );
  print(
    dim(
      `made of ${whole(samples.count - trial.messages)} of ${whole(samples.count)} samples (${whole(samples.bytes)} bytes); tried on the other ${whole(trial.messages)}:`,
    ),
  );
  const rows = [
    row('as they are', trial.bytes),
    row('compressed', trial.compressed),
    row('with the dictionary', trial.withDictionary),
    row('through a broker', trial.throughBroker),
  ];
  print(`\n${formatTable(['', 'bytes', 'ratio'], rows)}`);
  if (trial.withDictionary * WORTH_WHILE > trial.compressed)
    warn('it brings little: compress without a dictionary');
  else if (file === null) note('\nIt was not written: -o FILE does.');
}

function jsonReport({ dictionary, file, samples, trial }: Made): object {
  const { messages, ...sums } = trial;
  return {
    ...described(dictionary),
    file,
    samples,
    heldBack: { count: messages, ...sums },
    ratio: {
      compressed: ratio(trial.bytes, trial.compressed),
      withDictionary: ratio(trial.bytes, trial.withDictionary),
      throughBroker: ratio(trial.bytes, trial.throughBroker),
    },
  };
}

function show(path: string, { json }: { json?: boolean }): void {
  const dictionary = readDictionary(path);
  const { name, sha256, bytes } = described(dictionary);
  if (json) {
    print(JSON.stringify({ name, sha256, bytes }));
    return;
  }
  const { dim } = coloursOf(process.stdout);
  print(`name    ${name}\nsha256  ${sha256}\nbytes   ${whole(bytes)}`);
  const end = dictionary.bytes.subarray(-SHOWN_BYTES);
  print(
    `\n${dim(`its last ${whole(end.length)} bytes, the most useful ones:`)}\n${printable(end.toString('latin1'))}`,
  );
}

/**
 * The dictionary in a file.
 *
 * @throws CommandError ERR_JSP_FILE when it cannot be read, or is too large, or empty
 */
function readDictionary(path: string): Dictionary {
  try {
    return new Dictionary(readFileSync(path));
  } catch (error) {
    throw new CommandError('ERR_JSP_FILE', `${path} is no dictionary: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** The option of a client that has the dictionaries in these files. */
export function compressionWith(files: readonly string[]): CompressionSettings {
  return { dictionaries: files.map((file) => readDictionary(file).bytes) };
}

function described({ name, bytes }: Dictionary): { name: string; sha256: string; bytes: number } {
  return { name, sha256: createHash('sha256').update(bytes).digest('hex'), bytes: bytes.length };
}

function ratio(bytes: number, sent: number): number {
  return Number((bytes / sent).toFixed(3));
}

/** Every fifth sample is kept back, to try the dictionary on. */
const HELD_BACK_EVERY = 5;
/** So many that enough are left to train with. */
const TRAINED_MIN = SAMPLES_MIN + Math.ceil(SAMPLES_MIN / (HELD_BACK_EVERY - 1));
/** A dictionary that saves less than a twentieth is more trouble than it is worth. */
const WORTH_WHILE = 1.05;
const SHOWN_BYTES = 512;

const TRAIN_HELP = `
Samples are messages as you will send them: some hundreds at least, of all kinds, none of them twice on purpose. A fifth of them is held back, and
tells what the dictionary is worth on messages that it was not made of. The same samples always make the same dictionary. Sender and receiver
need the same file; messages name it by its hash.

Do not train with secrets: whoever has the dictionary can read pieces of the samples in it.

Examples:
  $ jsp dict train samples/ -o readings.dict
  $ jsp sub 'sensors/#' --count 1000 > readings.txt && jsp dict train readings.txt --lines -o readings.dict
  $ jsp dict train orders.ndjson --lines --bytes 16384 --json
`;

const SHOW_HELP = `
Examples:
  $ jsp dict show readings.dict
`;
