import type { Command } from 'commander';
import { type BenchedCodec, benchCompression, type CompressionResult } from '../bench/compression.ts';
import { CORPUS_SHA256 } from '../bench/corpus/corpus.ts';
import { formatTable, whole } from '../bench/figures.ts';
import {
  chooseLz4,
  DICTIONARY_BYTES,
  DICTIONARY_BYTES_MAX,
  DICTIONARY_BYTES_MIN,
  type Lz4Preference,
} from '../protocol/compress/index.ts';
import { seconds, wholeNumber, words } from './arguments.ts';
import { coloursOf, note, print } from './terminal.ts';

interface CompressionOptions {
  lz4?: Lz4Preference[];
  seconds: number;
  dictionary: number;
  json?: boolean;
}

export function addCompressionBench(bench: Command): void {
  bench
    .command('compression')
    .description('how much smaller messages of several kinds become, and what that takes')
    .option('--lz4 <names,...>', 'of LZ4, native (lz4-napi), js, or auto, which is both', words(LZ4_NAMES))
    .option('--seconds <s>', 'length of each measurement', seconds, 0.1)
    .option(
      '--dictionary <bytes>',
      'size of the dictionaries that are trained',
      wholeNumber(DICTIONARY_BYTES_MIN, DICTIONARY_BYTES_MAX),
      DICTIONARY_BYTES,
    )
    .option('--json', 'print a line of JSON for each result')
    .addHelpText('after', HELP)
    .action(report);
}

function report(options: CompressionOptions): void {
  const lz4 = options.lz4 ?? available();
  const codecs: readonly BenchedCodec[] = [...lz4, 'deflate'];
  const results: CompressionResult[] = [];
  const { seconds, dictionary: dictionaryBytes } = options;
  const shown = process.stderr.isTTY === true && !options.json;
  for (const result of benchCompression({ lz4, seconds, dictionaryBytes })) {
    if (options.json) print(JSON.stringify(result));
    if (shown) process.stderr.write(`\r\x1b[K${result.group}: ${result.kind ?? 'all'}`);
    results.push(result);
  }
  if (shown) process.stderr.write('\r\x1b[K');
  if (options.json) return;
  const { bold, dim } = coloursOf(process.stdout);
  print(
    dim(
      `corpus ${CORPUS_SHA256.slice(0, 16)}; each message by itself, envelope counted; us: time a message; MB/s of messages`,
    ),
  );
  for (const withDictionary of [false, true]) {
    const part = results.filter(({ dictionaryBytes }) => dictionaryBytes > 0 === withDictionary);
    print(
      `\n${bold(withDictionary ? 'with a dictionary that was trained with other messages' : 'without a dictionary')}`,
    );
    print(formatTable(headerOf(codecs), rowsOf(part, codecs)));
  }
}

/** Both implementations, as far as they are here. */
function available(): Lz4Preference[] {
  try {
    chooseLz4('native');
    return ['native', 'js'];
  } catch {
    note('lz4-napi does not load here: its figures are left out');
    return ['js'];
  }
}

function headerOf(codecs: readonly BenchedCodec[]): string[] {
  return [
    '',
    'bytes',
    ...codecs.flatMap((name) => [
      name === 'deflate' ? name : `lz4 ${name}`,
      'in us',
      'MB/s',
      'out us',
      'MB/s',
    ]),
  ];
}

/** A row a kind, with the figures of each implementation beside each other. */
function rowsOf(results: readonly CompressionResult[], codecs: readonly BenchedCodec[]): string[][] {
  return results
    .filter((each) => each.codec === codecs[0])
    .map((first) => {
      const { group, kind, bytes, messages } = first;
      const all = codecs.map((name) =>
        results.find((each) => each.codec === name && each.group === group && each.kind === kind),
      );
      return [kind ?? `all ${group}`, whole(bytes / messages), ...all.flatMap(cells)];
    });
}

function cells(result: CompressionResult | undefined): string[] {
  if (result === undefined) return ['-', '-', '-', '-', '-'];
  const { ratio, deflate, inflate } = result;
  return [
    `${ratio.toFixed(2)}x`,
    deflate.microsPerMessage.toFixed(1),
    whole(deflate.megabytesPerSecond),
    inflate === null ? '-' : inflate.microsPerMessage.toFixed(1),
    inflate === null ? '-' : whole(inflate.megabytesPerSecond),
  ];
}

const LZ4_NAMES = ['native', 'js', 'auto'] as const;

const HELP = `
The messages are those of a corpus that is fixed by its hash, made from seeds: what games, devices, chats and services send, and, for comparison,
English prose, JSON that is nothing but figures, and random bytes. Beside LZ4 stands DEFLATE (compression: { method: 'deflate' }). docs/compression.md says how to read the table.

Examples:
  $ jsp bench compression
  $ jsp bench compression --lz4 auto --dictionary 2048
  $ jsp bench compression --seconds 0.5 --json
`;
