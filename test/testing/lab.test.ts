import { describe, expect, test } from 'vitest';
import { MILLISECOND } from '../../src/base/time.ts';
import { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { Lab, LabFailure, type LabSocket } from '../../src/testing/index.ts';

describe('lab', () => {
  test('sockets exchange datagrams under virtual time', async () => {
    const lab = new Lab({ seed: 1, link: { delayMs: 20 } });
    const a = lab.socket({ host: 'a' });
    const b = lab.socket({ host: 'b', port: 7 });
    const got = received(b);
    send(a, 'b', 7, [1, 2]);
    await lab.run(19);
    expect(got).toEqual([]);
    await lab.run(1);
    expect(got).toEqual([[`a:${a.localPort} 1`, `a:${a.localPort} 2`]]);
    expect(b.counters).toMatchObject({ datagramsReceived: 2, bytesReceived: 3 });
  });

  test('a connected socket sends to its peer and takes from nobody else', async () => {
    const lab = new Lab({ seed: 1 });
    const server = lab.socket({ host: 's', port: 1 });
    const client = lab.socket({ host: 'c', port: 2, connectTo: { host: 's', port: 1 } });
    const stranger = lab.socket({ host: 'x', port: 3 });
    const atServer = received(server);
    const atClient = received(client);
    send(client, 'ignored', 9, [1]);
    send(server, 'c', 2, [2]);
    send(stranger, 'c', 2, [3]);
    await lab.run(1);
    expect(atServer).toEqual([['c:2 1']]);
    expect(atClient).toEqual([['s:1 2']]);
    expect(client.counters.datagramsDropped).toBe(1);
  });

  test('a closed socket neither sends nor receives, and its port is free again', async () => {
    const lab = new Lab({ seed: 1, link: { delayMs: 5 } });
    const a = lab.socket({ host: 'a', port: 1 });
    const b = lab.socket({ host: 'b', port: 1 });
    const got = received(b);
    send(a, 'b', 1, [1]);
    await b.close();
    send(b, 'a', 1, [1]);
    const next = lab.socket({ host: 'b', port: 1 });
    const gotNext = received(next);
    await lab.run(10);
    expect(got).toEqual([]);
    expect(gotNext).toEqual([['a:1 1']]);
    expect(a.counters.datagramsReceived).toBe(0);
  });

  test('promises settle between events, so a chain of waits takes the sum of its waits', async () => {
    const lab = new Lab({ seed: 1 });
    const start = lab.now;
    const wait = (ms: number) =>
      new Promise<void>((done) => lab.clock.setTimer(lab.now + ms * MILLISECOND, done));
    const chain = async () => {
      for (let i = 0; i < 10; i++) await wait(7);
      return lab.now - start;
    };
    expect(await lab.settle(chain())).toBe(70 * MILLISECOND);
  });

  test('timers are whole milliseconds, at least one, and can be cleared', async () => {
    const lab = new Lab({ seed: 1 });
    const start = lab.now;
    const fired: [string, number][] = [];
    const note = (name: string) => () => fired.push([name, lab.now - start]);
    lab.clock.setTimer(start + 1_001, note('rounded'));
    lab.clock.setTimer(start, note('at once'));
    lab.clock.clearTimer(lab.clock.setTimer(start + 500, note('cleared')));
    lab.clock.soon(note('soon'));
    await lab.run(10);
    expect(fired).toEqual([
      ['soon', 0],
      ['at once', 1_000],
      ['rounded', 2_000],
    ]);
    expect(lab.now - start).toBe(10 * MILLISECOND);
  });

  test('a promise that is refused is handed on', async () => {
    const lab = new Lab({ seed: 1 });
    const refused = new Promise((_, reject) => lab.clock.soon(() => reject(new Error('no'))));
    await expect(lab.settle(refused)).rejects.toThrow('no');
  });

  test('a promise that nothing can settle, or not in time, fails with the seed', async () => {
    const lab = new Lab({ seed: 99 });
    await expect(lab.settle(new Promise(() => {}))).rejects.toThrow(LabFailure);
    const tick = () => lab.clock.setTimer(lab.now + MILLISECOND, tick);
    tick();
    await expect(lab.settle(new Promise(() => {}), 50)).rejects.toThrow(/seed 99.*within 50 ms/);
  });

  test('a program that never lets time pass fails with the seed', async () => {
    const lab = new Lab({ seed: 3, instantsMax: 200 });
    const again = () => lab.clock.soon(again);
    again();
    await expect(lab.run(1)).rejects.toThrow(/seed 3.*no end/);
  });
});

function send(socket: LabSocket, host: string, port: number, sizes: number[]): void {
  const batch = new TransmitBatch(1_000, 10);
  for (const size of sizes) batch.push(size, host, port);
  socket.send(batch);
}

function received(socket: LabSocket): string[][] {
  const batches: string[][] = [];
  socket.onBatch = (batch) =>
    batches.push(
      batch.data.slice(0, batch.count).map((data, i) => `${batch.host[i]}:${batch.port[i]} ${data.length}`),
    );
  return batches;
}
