import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MILLISECOND, NEVER } from '../../../../src/base/time.ts';
import { SecondCopies } from '../../../../src/protocol/stream/send/second-copies.ts';
import { Delivery } from '../../../../src/protocol/wire/frame-type.ts';
import { PacketRecord } from '../../wire/recorded.ts';
import { framesOf, Link, type Packet, writerOn } from '../link.ts';

describe('messages in more than one packet', () => {
  test('are noted when they were sent again, but no large ones, and none while the path loses little [REC-60]', () => {
    const link = new Link();
    send(link, 64);
    const first = link.packAll(0);
    lose(link, first);
    expect(wordsOf(link.packAll(0))).toEqual(['MESSAGES 0+1']);
    expect(link.sendContext.copies.count).toBe(0);
    link.sendContext.copies.wait = 5 * MILLISECOND;
    send(link, 64, 64, 400);
    lose(link, link.packAll(0));
    expect(wordsOf(link.packAll(0))).toEqual(['MESSAGES 1+3']); // together more than a quarter of a packet
    expect(link.sendContext.copies.count).toBe(0);
    send(link, 64, 64);
    lose(link, link.packAll(0));
    expect(wordsOf(link.packAll(0))).toEqual(['MESSAGES 4+2']);
    expect(link.sendContext.copies.count).toBe(1);
    expect(wordsOf([copies(link, 0, 4, 2)])).toEqual(['MESSAGES 4+2']);
  });

  test('count as lost when no packet with them is left, and as arrived with the first [STR-28]', () => {
    const link = opened();
    send(link, 64, 64);
    const [original] = link.packAll(0);
    lose(link, [original]);
    const again = link.packAll(0);
    const copy = copies(link);
    lose(link, again);
    expect(link.pack(0)).toBeNull();
    lose(link, [copy]);
    expect(wordsOf(link.packAll(0))).toEqual(['MESSAGES 1+2']);
    link.acked(copy); // it was only late
    expect(link.send.settled).toBe(true);
  });

  test('get no copy when they have arrived, are cut, or wait to be sent again', () => {
    const link = opened();
    send(link, 64, 64);
    lose(link, link.packAll(0));
    const [again] = link.packAll(0);
    lose(link, [again]);
    expect(wordsOf([copies(link)])).toEqual([]);
    link.acked(again);
    expect(wordsOf([copies(link)])).toEqual([]);
  });

  test('with a lifetime say in each packet what is left of it [STR-16]', () => {
    const link = opened();
    link.send.send(new Uint8Array(64), Delivery.PARTIAL, 100 * MILLISECOND, false);
    lose(link, link.packAll(0));
    expect(wordsOf(link.packAll(20 * MILLISECOND))).toEqual(['MESSAGE 1 for 80000']);
    expect(wordsOf([copies(link, 30 * MILLISECOND)])).toEqual(['MESSAGE 1 for 70000']);
    expect(wordsOf([copies(link, 100 * MILLISECOND)])).toEqual([]);
  });

  test('are delivered once, whatever becomes of the packets', () => {
    const step = fc.record({
      kind: fc.constantFrom('send', 'pack', 'copy', 'arrive', 'lose', 'acknowledge'),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 200, size: 'max' }), (steps) => {
        const link = new Link({ ordered: false });
        link.sendContext.copies.wait = 0;
        const packets: Packet[] = [];
        const got: number[] = [];
        let sent = 0;
        const arrive = (packet: Packet) => {
          expect(link.deliver(packet, 0)).toBe(0);
          got.push(...link.readAll(0).map(([first]) => first));
        };
        for (const { kind, pick } of steps) {
          const packet = packets[pick % Math.max(1, packets.length)];
          if (kind === 'send' && sent < 250)
            link.send.send(Uint8Array.of(sent++), Delivery.RELIABLE, NEVER, false);
          else if (kind === 'pack') packets.push(...link.packAll(0));
          else if (kind === 'copy') packets.push(...[copies(link, 0, pick % (sent + 1), 3)].filter(isFull));
          else if (packet === undefined) continue;
          else if (kind === 'arrive') arrive(packet);
          else if (kind === 'lose') link.lost(packet, 0);
          else {
            arrive(packet);
            link.acked(packet);
          }
        }
        for (let round = 0; !link.send.settled && round < 1_000; round++) {
          for (const packet of packets.splice(0)) link.lost(packet, 0);
          for (const packet of link.packAll(0)) {
            arrive(packet);
            link.acked(packet);
          }
          if (link.send.delivered) break;
        }
        expect(got.sort((a, b) => a - b)).toEqual([...Array(sent).keys()]);
      }),
      { numRuns: 100 },
    );
  });
});

describe('the list of second copies', () => {
  test('holds 64 runs and takes no more [REC-60]', () => {
    const list = new SecondCopies();
    list.beginPacket();
    for (let i = 0; i < 70; i++) list.add(1, i, 1, 100 + i);
    expect(list.count).toBe(64);
    list.beginPacket();
    const sequences: number[] = [];
    while (list.isReady) {
      sequences.push(list.sequence);
      list.shift(0);
    }
    expect(sequences).toEqual([...Array(64).keys()]);
  });

  test('lets nothing into the packet that it came from, and asks for one when none comes [REC-60]', () => {
    const list = new SecondCopies();
    list.beginPacket();
    list.add(1, 6, 1, NEVER);
    list.add(1, 7, 1, 6_000);
    expect([list.isReady, list.isDue, list.nextTimeout]).toEqual([false, false, 6_000]);
    list.onTimeout(5_999);
    expect(list.isDue).toBe(false);
    list.onTimeout(6_000);
    expect([list.isDue, list.nextTimeout]).toEqual([true, NEVER]);
    list.beginPacket();
    expect([list.isReady, list.stream, list.sequence, list.messages]).toEqual([true, 1, 6, 1]);
    list.shift(6_000);
    expect([list.isReady, list.stream, list.sequence, list.messages]).toEqual([true, 1, 7, 1]);
    list.shift(6_000);
    expect([list.count, list.isDue, list.nextTimeout]).toEqual([0, false, NEVER]);
  });
});

/** A link whose peer knows the stream, over a path that loses much. */
function opened(): Link {
  const link = new Link({ ordered: false });
  link.sendContext.copies.wait = 5 * MILLISECOND;
  send(link, 64);
  link.exchange(0);
  link.readAll(0);
  return link;
}

function send(link: Link, ...lengths: number[]): void {
  for (const length of lengths) link.send.send(new Uint8Array(length), Delivery.RELIABLE, NEVER, false);
}

function lose(link: Link, packets: readonly Packet[]): void {
  for (const packet of packets) link.lost(packet, 0);
}

function copies(link: Link, now = 0, sequence = 0, count = 16): Packet {
  const out = new Uint8Array(1_200);
  const record = new PacketRecord();
  const w = writerOn(out, 1_200, now, record);
  const list = new SecondCopies();
  list.addProbed(4, sequence, count, now);
  list.beginPacket();
  link.send.write(w, list);
  expect(list.count).toBe(0);
  return { bytes: out.slice(0, w.at), record };
}

function isFull({ bytes }: Packet): boolean {
  return bytes.length > 0;
}

function wordsOf(packets: readonly Packet[]): string[] {
  return packets
    .filter(isFull)
    .flatMap(({ bytes }) => framesOf(bytes).filter((words) => words.startsWith('MESSAGE')));
}
