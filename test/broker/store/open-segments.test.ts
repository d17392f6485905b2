import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Prng } from '../../../src/base/random.ts';
import type { FileSystem, StoreFile } from '../../../src/broker/store/file-system.ts';
import { OpenSegments } from '../../../src/broker/store/open-segments.ts';
import { FaultyFileSystem } from './faulty-file-system.ts';
import { settled } from './store-clock.ts';
import { allOf, Bench, recordOf, stored } from './stores.ts';

/** A file system that knows what is open to be read. */
class CountedFiles {
  readonly files: FileSystem;
  /** What happened, in order. */
  readonly told: string[] = [];
  readonly open: string[] = [];
  /** Reads wait until it resolves. */
  gate: Promise<void> = Promise.resolve();

  constructor(files: FileSystem) {
    const open = async (path: string, access: 'read' | 'write'): Promise<StoreFile> => {
      const file = await files.open(path, access);
      if (access === 'write') return file;
      this.told.push(`open ${path}`);
      this.open.push(path);
      const read = async (target: Uint8Array, position: number) => {
        await this.gate;
        return file.read(target, position);
      };
      const close = async () => {
        this.told.push(`close ${path}`);
        this.open.splice(this.open.indexOf(path), 1);
        await file.close();
      };
      return { ...file, read, close, size: () => file.size() } as StoreFile;
    };
    const remove = (path: string) => {
      this.told.push(`remove ${path}`);
      return files.remove(path);
    };
    this.files = new Proxy(files, {
      get: (target, key) => {
        if (key === 'open') return open;
        if (key === 'remove') return remove;
        const value = Reflect.get(target, key) as unknown;
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }
}

async function filesWith(count: number) {
  const disk = new FaultyFileSystem(new Prng(1));
  await disk.makeFolder('/d');
  const paths = Array.from({ length: count }, (_, i) => join('/d', `${i}`));
  for (const [i, path] of paths.entries()) await (await disk.create(path)).write(Buffer.of(i, i, i), 0);
  const counted = new CountedFiles(disk);
  return { disk, paths, counted, segments: new OpenSegments(counted.files) };
}

describe('segments that are read', () => {
  test('are opened once, however often and by however many at once they are read', async () => {
    const { paths, counted, segments } = await filesWith(1);
    const read = (position: number) => segments.read(paths[0], Buffer.alloc(2), position);
    expect(await Promise.all([read(0), read(1), read(2)])).toEqual([
      Buffer.of(0, 0),
      Buffer.of(0, 0),
      Buffer.of(0),
    ]);
    await read(0);
    expect(counted.told).toEqual([`open ${paths[0]}`]);
    await segments.closeAll();
    expect(counted.open).toEqual([]);
  });

  test('stay open in a bounded number, those that were read last', async () => {
    const { paths, counted, segments } = await filesWith(40);
    for (const path of paths) {
      await segments.read(paths[0], Buffer.alloc(1), 0);
      await segments.read(path, Buffer.alloc(1), 0);
      await settled();
      expect(counted.open.length).toBeLessThanOrEqual(16);
    }
    expect(counted.open).toEqual([paths[0], ...paths.slice(-15)]);
  });

  test('are closed at once when they are to be, or as soon as nobody reads them any more', async () => {
    const { paths, counted, segments } = await filesWith(1);
    let openGate = () => {};
    counted.gate = new Promise((resolve) => {
      openGate = resolve;
    });
    const reading = segments.read(paths[0], Buffer.alloc(3), 0);
    await settled();
    await segments.close(paths[0]);
    expect(counted.open).toEqual(paths);
    openGate();
    expect(await reading).toEqual(Buffer.of(0, 0, 0));
    await settled();
    expect(counted.open).toEqual([]);
    await segments.read(paths[0], Buffer.alloc(3), 0);
    await segments.close(paths[0]);
    await segments.close(paths[0]);
    expect(counted.told.map((line) => line.split(' ')[0])).toEqual(['open', 'close', 'open', 'close']);
  });

  test('do not stay open when they are read once more at the end of their store', async () => {
    const { paths, counted, segments } = await filesWith(2);
    await segments.read(paths[0], Buffer.alloc(1), 0);
    await segments.closeAll();
    expect(await segments.read(paths[1], Buffer.alloc(1), 0)).toEqual(Buffer.of(1));
    await settled();
    expect(counted.open).toEqual([]);
  });

  test('are opened anew after a failure, of the reading or of the opening', async () => {
    const { disk, paths, counted, segments } = await filesWith(1);
    disk.faults.failingReads = 1;
    await expect(segments.read(paths[0], Buffer.alloc(1), 0)).rejects.toThrow('EIO');
    await settled();
    expect(counted.open).toEqual([]);
    disk.faults.failingReads = 0;
    expect(await segments.read(paths[0], Buffer.alloc(1), 0)).toEqual(Buffer.of(0));
    await expect(segments.read('/d/none', Buffer.alloc(1), 0)).rejects.toThrow('ENOENT');
    await (await disk.create('/d/none')).write(Buffer.of(9), 0);
    expect(await segments.read('/d/none', Buffer.alloc(1), 0)).toEqual(Buffer.of(9));
  });

  test('of a store are closed before retention removes them, and with the store [STO-16]', async () => {
    const bench = new Bench();
    const counted = new CountedFiles(bench.files);
    bench.settings = { segmentBytes: 2_048, cacheBytes: 500, files: counted.files };
    bench.logs = [{ name: 'default', maxMessages: 150 }];
    const { store } = await bench.open();
    const [log] = store.logs;
    const fill = async (payload: string) => {
      for (let i = 0; i < 20; i++)
        await stored(
          store,
          log,
          Array.from({ length: 5 }, () => recordOf({ payload })),
        );
    };
    await fill('first');
    counted.told.length = 0;
    expect((await allOf(log)).length).toBe(100);
    const read = [...counted.open];
    expect(read.length).toBeGreaterThan(3);
    expect(counted.told).toEqual(read.map((path) => `open ${path}`)); // each once
    await fill('second');
    await bench.clock.pass(2_000);
    const gone = read.filter((path) => counted.told.includes(`remove ${path}`));
    expect(gone.length).toBeGreaterThan(0);
    for (const path of gone)
      expect(counted.told.indexOf(`close ${path}`)).toBeLessThan(counted.told.indexOf(`remove ${path}`));
    expect(counted.open.filter((path) => gone.includes(path))).toEqual([]);
    expect((await allOf(log)).length).toBeGreaterThan(100);
    await store.close();
    expect(counted.open).toEqual([]);
  });
});
