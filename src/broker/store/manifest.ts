/**
 * What there is in a store's directory: one small document, in two files that say the same, so that one of them may be torn or damaged. [STO-2]
 */

import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { list, object, type Shaped, ShapeError, text, whole } from '../../base/shape.ts';
import { codeOf, contentOf, type FileSystem, writeFully } from './file-system.ts';

const count = whole(0, Number.MAX_SAFE_INTEGER);

const LOG = object({
  number: whole(0, 0xfffe),
  name: text(64),
  epoch: count,
  /** Base offsets of its first and its last segment, and how many there are. */
  first: count,
  last: count,
  segments: whole(1, 2 ** 32),
  /** Its records below this offset are not kept, or need not be. */
  earliest: count,
  /** All records below this offset were on the disk. */
  proven: count,
  /** 1: records counted as stored before the disk had them. [STO-23] */
  interval: whole(0, 1),
});

const MANIFEST = object({
  version: whole(1, 1),
  /** Rises with each that is written. */
  generation: count,
  salt: whole(0, 2 ** 32 - 1),
  /** Which start of the machine it was written in; empty where the system does not say. */
  boot: text(64),
  /** 1: whoever wrote it has closed the store in order. */
  closed: whole(0, 1),
  state: object({
    /** Number of the segment. */
    segment: count,
    /** Changes in it that were on the disk. */
    proven: count,
  }),
  logs: list(LOG, 0xffff),
});

export type Manifest = Shaped<typeof MANIFEST>;
export type ManifestLog = Shaped<typeof LOG>;

export const MANIFEST_FILES = ['manifest.0', 'manifest.1'] as const;

export function encodeManifest(manifest: Manifest): Buffer {
  const body = Buffer.from(JSON.stringify(manifest));
  const bytes = Buffer.alloc(HEADER_BYTES + body.length);
  bytes.write(MAGIC, 0, 'latin1');
  bytes.writeUInt32BE(body.length, 8);
  bytes.writeUInt32BE(crc32(body), 12);
  body.copy(bytes, HEADER_BYTES);
  return bytes;
}

/** Null: these bytes are none. Whatever is behind the document is not looked at: it is the end of a longer one. */
export function decodeManifest(bytes: Uint8Array): Manifest | null {
  if (bytes.length < HEADER_BYTES) return null;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = HEADER_BYTES + view.readUInt32BE(8);
  if (view.toString('latin1', 0, 8) !== MAGIC || end > view.length) return null;
  const body = view.subarray(HEADER_BYTES, end);
  if (crc32(body) !== view.readUInt32BE(12)) return null;
  try {
    return MANIFEST(JSON.parse(body.toString()), 'manifest');
  } catch (error) {
    if (error instanceof ShapeError || error instanceof SyntaxError) return null;
    throw error;
  }
}

export interface FoundManifest {
  /** Null: there is none that can be read. */
  readonly manifest: Manifest | null;
  /** Files that are there and no manifest. */
  readonly damaged: readonly string[];
  /** Files that are not there. */
  readonly missing: readonly string[];
}

/** The newer of both files, or the one that can be read. */
export async function readManifest(files: FileSystem, directory: string): Promise<FoundManifest> {
  let newest: Manifest | null = null;
  const damaged: string[] = [];
  const missing: string[] = [];
  for (const name of MANIFEST_FILES) {
    let bytes: Uint8Array;
    try {
      bytes = await contentOf(files, join(directory, name));
    } catch (error) {
      if (codeOf(error) !== 'ENOENT') throw error;
      missing.push(name);
      continue;
    }
    const manifest = decodeManifest(bytes);
    if (manifest === null) damaged.push(name);
    else if (newest === null || manifest.generation > newest.generation) newest = manifest;
  }
  return { manifest: newest, damaged, missing };
}

/** Writes both files, one after the other, each on the disk before the other is touched. */
export async function writeManifest(files: FileSystem, directory: string, manifest: Manifest): Promise<void> {
  const bytes = encodeManifest(manifest);
  for (const name of MANIFEST_FILES) {
    const path = join(directory, name);
    const file = await openOrCreate(files, path, directory);
    try {
      await writeFully(file, bytes, 0);
      await file.truncate(bytes.length);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

async function openOrCreate(files: FileSystem, path: string, directory: string) {
  try {
    return await files.open(path, 'write');
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error;
  }
  const file = await files.create(path);
  await files.syncFolder(directory);
  return file;
}

/**
 * The manifest of a running store: made from what its parts say, and written when one of them asks. Whoever asks while it is being written shares the next
 * writing, so that what they have said before is in it.
 */
export class ManifestWriter {
  private readonly files: FileSystem;
  private readonly directory: string;
  private readonly compose: () => Omit<Manifest, 'generation' | 'version'>;
  private generation: number;
  private writing: Promise<void> = Promise.resolve();
  private waiting: Promise<void> | null = null;

  constructor(
    files: FileSystem,
    directory: string,
    generation: number,
    compose: () => Omit<Manifest, 'generation' | 'version'>,
  ) {
    this.files = files;
    this.directory = directory;
    this.generation = generation;
    this.compose = compose;
  }

  save(): Promise<void> {
    this.waiting ??= this.writing.then(
      () => this.write(),
      () => this.write(),
    );
    return this.waiting;
  }

  private write(): Promise<void> {
    this.waiting = null;
    this.writing = writeManifest(this.files, this.directory, {
      version: 1,
      generation: ++this.generation,
      ...this.compose(),
    });
    return this.writing;
  }
}

const MAGIC = 'JSPMANIF';
const HEADER_BYTES = 16;
