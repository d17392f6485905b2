import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type BucketEntry, WriteFault } from '../../../../src/broker/backplane/claims/claim-bucket.ts';
import {
  bucketKeyOf,
  claimOfBucketKey,
  NatsClaimStream,
} from '../../../../src/broker/backplane/nats/claim-stream.ts';
import { NatsLine } from '../../../../src/broker/backplane/nats/line.ts';
import { loadNats, type NatsModules } from '../../../../src/broker/backplane/nats/modules.ts';
import { NatsServer, natsProgram } from '../nats-server.ts';

const program = natsProgram();

describe.runIf(program !== null)('claims on NATS', () => {
  let server: NatsServer;
  let modules: NatsModules;
  let line: NatsLine;
  let stream: NatsClaimStream;

  beforeAll(async () => {
    server = await NatsServer.start(program as string);
    modules = await loadNats();
    line = await NatsLine.open(
      modules,
      { kind: 'nats', urls: [server.url] },
      { purpose: 'store', noEcho: false },
    );
    stream = await NatsClaimStream.open(modules, line, { cluster: 'one', replicas: 1 });
  });

  afterAll(async () => {
    await line.close();
    await server.remove();
  });

  const read = (key: string) => new Promise<BucketEntry | null>((resolve) => stream.read(key, resolve));
  const write = (key: string, value: string | null, revision: number) =>
    new Promise<number>((resolve) =>
      stream.write(key, value === null ? null : Buffer.from(value), revision, resolve),
    );
  const text = (entry: BucketEntry | null) => entry?.value && Buffer.from(entry.value).toString();

  test('go on where whoever is answered throws, which is told [CLU-14]', async () => {
    const told: unknown[] = [];
    const quiet = { up: () => {}, down: () => {}, refused: () => {} };
    line.listener = { ...quiet, fault: (error) => told.push((error as Error).message) };
    await write('s/thrown', 'one', 0);
    const fail = () => {
      throw new Error('what is answered');
    };
    let rows = 0;
    stream.read('s/thrown', fail);
    stream.write('s/thrown', null, 0, fail);
    stream.write('s/thrown', Buffer.from('two'), 7_777, fail);
    const isWhole = await new Promise((resolve) =>
      stream.scan(() => {
        rows++;
        throw new Error('what is answered');
      }, resolve),
    );
    expect([isWhole, rows > 0, told]).toEqual([true, true, ['what is answered']]);
    expect(text(await read('s/thrown'))).toBe('one');
  });

  test('are changed only by who goes on from the last change [CLU-25]', async () => {
    expect(await read('s/x')).toEqual({ revision: 0, value: null });
    const first = await write('s/x', 'one', 0);
    expect(first).toBeGreaterThan(0);
    expect(await write('s/x', 'two', 0)).toBe(WriteFault.CONFLICT);
    const second = await write('s/x', 'two', first);
    expect(second).toBeGreaterThan(first);
    expect(await write('s/x', 'three', first)).toBe(WriteFault.CONFLICT);
    const found = await read('s/x');
    expect(found?.revision).toBe(second);
    expect(text(found)).toBe('two');
  });

  test('are taken away without a trace, by who knows the last change alone [CLU-25]', async () => {
    const first = await write('w/7', 'one', 0);
    const second = await write('w/7', 'two', first);
    expect(await write('w/7', null, first)).toBe(WriteFault.CONFLICT);
    expect(text(await read('w/7'))).toBe('two');
    expect(await write('w/7', null, second)).toBeGreaterThan(0);
    expect(await read('w/7')).toEqual({ revision: 0, value: null });
    expect(await write('w/7', null, second)).toBe(WriteFault.CONFLICT);
    expect(await write('w/7', 'new', 0)).toBeGreaterThan(second);
  });

  test('are all told of, each once, as they are', async () => {
    const names = Array.from({ length: 300 }, (_, i) => `d/$share/g/räume/${i}/#`);
    await Promise.all(names.map((name) => write(name, name, 0)));
    const scan = (enough: number) => {
      const told: string[] = [];
      return new Promise<{ told: string[]; isWhole: boolean }>((resolve) =>
        stream.scan(
          (key, entry) => {
            if (key.startsWith('d/')) told.push(`${key}=${text(entry)}`);
            return told.length < enough;
          },
          (isWhole) => resolve({ told, isWhole }),
        ),
      );
    };
    const all = await scan(1_000);
    expect(all.isWhole).toBe(true);
    expect(all.told.sort()).toEqual(names.map((name) => `${name}=${name}`).sort());
    expect(await scan(10)).toMatchObject({ isWhole: false });
  });

  test('wait to be read until NATS can be reached again, and are not known to be written meanwhile', async () => {
    const first = await write('s/late', 'one', 0);
    await server.stop();
    await expect.poll(() => line.isUp).toBe(false);
    const reading = read('s/late');
    expect(await write('s/late', 'two', first)).toBe(WriteFault.UNKNOWN);
    await server.start();
    await expect.poll(() => line.isUp).toBe(true);
    stream.resume();
    let found = await reading;
    while (found === null) found = await read('s/late'); // JetStream is not there yet
    expect(text(found)).toBe('one');
  });
});

describe('the name of a claim as a key of a bucket', () => {
  test('is what the specification says [CLU-21]', () => {
    expect(bucketKeyOf('s/device-7')).toBe('s.device-7');
    expect(bucketKeyOf('s/a b/ü')).toBe('s.a=20b=2F=C3=BC');
    expect(bucketKeyOf('d/$share/g/a/+/#')).toBe('d.=24share=2Fg=2Fa=2F=2B=2F=23');
    expect(bucketKeyOf('w/12')).toBe('w.12');
  });

  test('is total and reversible, and no other key is one [CLU-21]', () => {
    fc.assert(
      fc.property(
        fc.constantFrom('s', 'd', 'w'),
        fc.string({ minLength: 1, maxLength: 40 }),
        (kind, name) => {
          const claim = `${kind}/${name}`;
          const key = bucketKeyOf(claim);
          expect(key).toMatch(/^[sdw]\.[-/=.\w]+$/);
          expect(claimOfBucketKey(key)).toBe(claim);
        },
      ),
    );
    for (const key of ['numbers', 's.', 's.=2f', 's.a.b', 'x.a', 's.=61', 's.=FF']) {
      expect(claimOfBucketKey(key)).toBeNull();
    }
  });
});
