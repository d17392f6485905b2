/**
 * What there is in a store's directory: one small document, in two files that say the same, so that one of them may be torn or damaged. [STO-2]
 */

import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { JspError } from '../../base/errors.ts';
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

const VERSION = 1;

const MANIFEST = object({
  version: whole(VERSION, VERSION),
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

/**
 * Whether a log has perhaps told of records that its disk did not have: one with `sync: interval`, after a start of the machine that the store was not closed
 * before. [STO-23]
 */
export function mayHaveLost(
  { closed, boot: itsBoot }: Manifest,
  { interval }: ManifestLog,
  boot: string,
): boolean {
  return interval === 1 && closed !== 1 && (boot === '' || itsBoot !== boot);
}

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

/**
 * Null: these bytes are none. Whatever is behind the document is not looked at: it is the end of a longer one.
 *
 * @throws {JspError} ERR_JSP_STORE_VERSION when it is sound, and of another version
 */
export function decodeManifest(bytes: Uint8Array): Manifest | null {
  if (bytes.length < HEADER_BYTES) return null;
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = HEADER_BYTES + view.readUInt32BE(8);
  if (view.toString('latin1', 0, 8) !== MAGIC || end > view.length) return null;
  const body = view.subarray(HEADER_BYTES, end);
  if (crc32(body) !== view.readUInt32BE(12)) return null;
  try {
    const document = JSON.parse(body.toString());
    const version = document?.version;
    if (Number.isInteger(version) && version !== VERSION) throw otherVersion(version);
    return MANIFEST(document, 'manifest');
  } catch (error) {
    if (error instanceof ShapeError || error instanceof SyntaxError) return null;
    throw error;
  }
}

/** Not damage: nothing may be repaired of what this program does not know. */
function otherVersion(version: number): JspError {
  return new JspError(
    'ERR_JSP_STORE_VERSION',
    `the store is of version ${version}, and this program knows version ${VERSION}: nothing was changed. Use the program that it was made with, or another directory`,
  );
}

export interface FoundManifest {
  /** Null: there is none that can be read. */
  readonly manifest: Manifest | null;
  /** Which of the files that is: of both the last to be written anew. */
  readonly newest: number;
  /** Files that are there and no manifest. */
  readonly damaged: readonly string[];
  /** Files that are not there. */
  readonly missing: readonly string[];
}

/** The newer of both files, or the one that can be read. */
export async function readManifest(files: FileSystem, directory: string): Promise<FoundManifest> {
  let found: Manifest | null = null;
  let newest = 1;
  const damaged: string[] = [];
  const missing: string[] = [];
  for (const [i, name] of MANIFEST_FILES.entries()) {
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
    else if (found === null || manifest.generation > found.generation) {
      found = manifest;
      newest = i;
    }
  }
  return { manifest: found, newest, damaged, missing };
}

/**
 * Writes both files, one after the other, each on the disk before the other is touched: the one that counts, `newest`, is the last, so that there is one that
 * can be read whatever happens.
 *
 * @param onWritten - called with each file that is on the disk, which is then the newest
 */
export async function writeManifest(
  files: FileSystem,
  directory: string,
  manifest: Manifest,
  newest: number,
  onWritten: (index: number) => void = () => {},
): Promise<void> {
  const bytes = encodeManifest(manifest);
  for (const index of [1 - newest, newest]) {
    const path = join(directory, MANIFEST_FILES[index]);
    const file = await openOrCreate(files, path, directory);
    try {
      await writeFully(file, bytes, 0);
      await file.truncate(bytes.length);
      await file.sync();
    } finally {
      await file.close();
    }
    onWritten(index);
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
  /** Which file counts. */
  private newest: number;
  private writing: Promise<void> = Promise.resolve();
  private waiting: Promise<void> | null = null;

  constructor(
    files: FileSystem,
    directory: string,
    before: { readonly generation: number; readonly newest: number },
    compose: () => Omit<Manifest, 'generation' | 'version'>,
  ) {
    this.files = files;
    this.directory = directory;
    this.generation = before.generation;
    this.newest = before.newest;
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
    const manifest = { version: VERSION, generation: ++this.generation, ...this.compose() };
    this.writing = writeManifest(this.files, this.directory, manifest, this.newest, (index) => {
      this.newest = index;
    });
    return this.writing;
  }
}

const MAGIC = 'JSPMANIF';
const HEADER_BYTES = 16;
