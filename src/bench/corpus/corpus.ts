/**
 * The corpus on which compression is measured: messages of the kinds that games, devices, chats and services send, made from seeds, so that everybody
 * measures the same bytes. It was fixed by its hash before there was any compression to measure ({@link CORPUS_SHA256}; a test checks it): who
 * changes what is in it changes what is claimed.
 *
 * Everything is made here or written for this project, under its licence: `source.txt` is a part of the client's source text, `prose.txt` a page of
 * the manual, both as they were then.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { Prng } from '../../base/random.ts';
import { figures, JSON_KINDS, type MakeMessage, SMALL_JSON_KINDS } from './json.ts';
import { TEXT_KINDS } from './text.ts';

export interface CorpusKind {
  readonly name: string;
  readonly messages: readonly Buffer[];
}

export interface CorpusGroup {
  readonly name: 'JSON of 1 KB' | 'text of 10 KB' | 'JSON of 100 to 200 B' | 'for comparison';
  readonly kinds: readonly CorpusKind[];
  /** Of the same kinds and of other seeds, to train a dictionary with; none where none is trained. */
  readonly samples: readonly CorpusKind[];
}

/** Over the length, as u32, and the bytes of each message, in the order of {@link corpus}, samples behind the messages of their group. */
export const CORPUS_SHA256 = '9addf0e7ba38869beec8bae7d8b14b5cf727e2641efae09538a6293a4534c4e6';

/** Makes the corpus, the same each time. */
export function corpus(): CorpusGroup[] {
  return [
    {
      name: 'JSON of 1 KB',
      kinds: made(JSON_KINDS, MESSAGE_SEED, JSON_MESSAGES),
      samples: made(JSON_KINDS, SAMPLE_SEED, SAMPLES),
    },
    {
      name: 'text of 10 KB',
      kinds: [...made(TEXT_KINDS, MESSAGE_SEED, TEXT_MESSAGES), kept('source text', 'source.txt')],
      samples: [],
    },
    {
      name: 'JSON of 100 to 200 B',
      kinds: made(SMALL_JSON_KINDS, MESSAGE_SEED, SMALL_MESSAGES),
      samples: made(SMALL_JSON_KINDS, SAMPLE_SEED, SAMPLES),
    },
    {
      name: 'for comparison',
      kinds: [
        kept('English prose', 'prose.txt'),
        ...made({ 'JSON of figures': figures }, MESSAGE_SEED, JSON_MESSAGES),
        { name: 'random bytes', messages: randomMessages() },
      ],
      samples: [],
    },
  ];
}

/** What {@link CORPUS_SHA256} is of. */
export function corpusHash(groups: readonly CorpusGroup[]): string {
  const hash = createHash('sha256');
  const length = Buffer.alloc(4);
  for (const { kinds, samples } of groups) {
    for (const { messages } of [...kinds, ...samples]) {
      for (const message of messages) {
        length.writeUInt32BE(message.length);
        hash.update(length).update(message);
      }
    }
  }
  return hash.digest('hex');
}

function made(kinds: Readonly<Record<string, MakeMessage>>, seed: number, count: number): CorpusKind[] {
  return Object.entries(kinds).map(([name, make], i) => {
    const prng = new Prng(seed + i);
    return { name, messages: Array.from({ length: count }, () => Buffer.from(make(prng))) };
  });
}

/** The package ships its sources, so that the file is found from `dist`, too. */
function kept(name: string, file: string): CorpusKind {
  return { name, messages: [readFileSync(new URL(`../../../src/bench/corpus/${file}`, import.meta.url))] };
}

function randomMessages(): Buffer[] {
  const prng = new Prng(MESSAGE_SEED);
  return [1_000, 10_000].map((length) => {
    const bytes = Buffer.alloc(length);
    prng.fill(bytes);
    return bytes;
  });
}

const MESSAGE_SEED = 1_000;
const SAMPLE_SEED = 2_000;
const JSON_MESSAGES = 50;
const TEXT_MESSAGES = 10;
const SMALL_MESSAGES = 200;
const SAMPLES = 200;
