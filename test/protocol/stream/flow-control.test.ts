import { describe, expect, test } from 'vitest';
import { NEVER } from '../../../src/base/time.ts';
import { FlowCredit, FlowWindow } from '../../../src/protocol/stream/flow-control.ts';
import { CloseCode } from '../../../src/protocol/wire/close-code.ts';
import { Delivery, FrameType } from '../../../src/protocol/wire/frame-type.ts';
import { recorded } from '../wire/recorded.ts';
import { bytesOf, framesOf, Link } from './link.ts';

const { RELIABLE, BEST_EFFORT } = Delivery;

describe('FlowCredit', () => {
  test('only ever grows [STR-9]', () => {
    const credit = new FlowCredit(1_000);
    expect(credit.raise(900)).toBe(false);
    expect(credit.raise(1_000)).toBe(false);
    expect(credit.limit).toBe(1_000);
    expect(credit.raise(1_001)).toBe(true);
    expect(credit.available).toBe(1_001);
  });

  test('owes one BLOCKED a limit, and another when that is lost [STR-10]', () => {
    const credit = new FlowCredit(1_000);
    credit.block(1_100);
    credit.block(1_300);
    credit.block(1_200);
    expect(credit.owesBlocked).toBe(true);
    expect(credit.sayBlocked()).toBe(1_300);
    expect(credit.owesBlocked).toBe(false);
    credit.onBlockedLost(1_300);
    expect(credit.owesBlocked).toBe(true);
    expect(credit.sayBlocked()).toBe(1_300);
    credit.raise(2_000);
    credit.block(2_100);
    expect(credit.owesBlocked).toBe(true);
    expect(credit.sayBlocked()).toBe(2_100);
    credit.onBlockedLost(1_300);
    expect(credit.owesBlocked).toBe(false);
  });
});

describe('FlowWindow', () => {
  test('announces a new limit when a quarter of the window was freed [STR-11]', () => {
    const window = new FlowWindow(1_000);
    expect(window.charge(1_000)).toBe(true);
    window.free(249);
    expect(window.due).toBe(false);
    window.free(1);
    expect(window.due).toBe(true);
    expect(window.announce()).toBe(1_250);
    expect(window.due).toBe(false);
    expect(window.charge(250)).toBe(true);
    expect(window.charge(1)).toBe(false);
  });

  test('announces less when the peer waits for it, but not when the peer has not seen the last limit [STR-11]', () => {
    const window = new FlowWindow(1_000);
    window.charge(1_000);
    window.onBlocked(1_000);
    expect(window.due).toBe(false);
    window.free(1);
    expect(window.due).toBe(true);
    expect(window.announce()).toBe(1_001);
    window.onBlocked(1_000);
    window.free(1);
    expect(window.due).toBe(false);
  });
});

describe('Flow control of a stream', () => {
  test('charges length and 128 on both sides, of the reliable space alone [STR-8]', () => {
    const link = new Link();
    link.send.send(bytesOf(100), RELIABLE, NEVER, false);
    link.send.send(bytesOf(0), RELIABLE, NEVER, false);
    link.send.send(bytesOf(5_000), RELIABLE, NEVER, false);
    link.send.send(bytesOf(100), BEST_EFFORT, NEVER, false);
    expect(link.send.credit.used).toBe(0);
    link.pack(0);
    // the large message is charged as a whole when its first part goes
    expect(link.send.credit.used).toBe(5_100 + 3 * 128);
    link.packAll(0);
    expect(link.send.credit.used).toBe(5_100 + 3 * 128);
    expect(link.sendContext.credit.used).toBe(5_100 + 3 * 128);
    const other = new Link();
    other.send.send(bytesOf(100), RELIABLE, NEVER, false);
    other.send.send(bytesOf(5_000), RELIABLE, NEVER, false);
    other.send.send(bytesOf(100), BEST_EFFORT, NEVER, false);
    other.exchange(0);
    expect(other.receive.window.used).toBe(5_100 + 2 * 128);
    expect(other.receiveContext.window.used).toBe(5_100 + 2 * 128);
  });

  test('gives credit back for what the application has read [STR-9]', () => {
    const link = new Link({ windowBytes: 1_000, ordered: true });
    for (let i = 0; i < 4; i++) link.send.send(bytesOf(100, i), RELIABLE, NEVER, false);
    link.exchange(0);
    expect(link.reply()).toBeNull();
    link.receive.read(0);
    expect(link.reply()).toBeNull();
    link.receive.read(0);
    expect(framesOf(link.reply()!.bytes)).toEqual(['MAX 1456']);
  });

  test('sends a message only when all of it is within the limit of the stream, and says so [STR-10]', () => {
    const link = new Link({ windowBytes: 1_000 });
    for (let i = 0; i < 5; i++) link.send.send(bytesOf(122, i), RELIABLE, NEVER, false);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGES 0+4', 'BLOCKED 1250']);
    expect(link.send.sendable).toBe(false);
    expect(link.pack(0)).toBeNull();
    link.maxStreamData(1_249);
    expect(link.send.sendable).toBe(true);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'BLOCKED 1250']);
    link.maxStreamData(1_250);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGES 4+1']);
  });

  test('sends a message only when all of it is within the limit of the connection [STR-10]', () => {
    const link = new Link({ windowBytes: 1_000, connectionWindowBytes: 600 });
    for (let i = 0; i < 5; i++) link.send.send(bytesOf(122, i), RELIABLE, NEVER, false);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'MESSAGES 0+2']);
    expect(link.sendContext.credit.owesBlocked).toBe(true);
    expect(link.send.sendable).toBe(false);
    link.sendContext.credit.raise(750);
    expect(link.send.sendable).toBe(true);
  });

  test('notices that a raised limit is still too small without being asked to write [STR-10]', () => {
    const link = new Link({ windowBytes: 2_000, connectionWindowBytes: 600 });
    link.send.send(bytesOf(1_000), RELIABLE, NEVER, false);
    link.packAll(0);
    link.sendContext.credit.sayBlocked();
    link.sendContext.credit.raise(700);
    expect(link.send.sendable).toBe(false);
    expect(link.sendContext.credit.owesBlocked).toBe(true);
  });

  test('lets best-effort messages pass those that wait for credit', () => {
    const link = new Link({ windowBytes: 200 });
    link.send.send(bytesOf(100), RELIABLE, NEVER, false);
    link.send.send(bytesOf(50), BEST_EFFORT, NEVER, false);
    expect(framesOf(link.pack(0)!.bytes)).toContain('MESSAGES_BEST_EFFORT 0+1');
  });

  test('says again that it is blocked when that was lost [STR-10]', () => {
    const link = new Link({ windowBytes: 200 });
    link.send.send(bytesOf(100), RELIABLE, NEVER, false);
    const packet = link.pack(0)!;
    expect(framesOf(packet.bytes)).toEqual(['OPEN', 'BLOCKED 228']);
    link.lost(packet, 0);
    expect(framesOf(link.pack(0)!.bytes)).toEqual(['OPEN', 'BLOCKED 228']);
  });

  test('sends the newest limit again when one was lost, and none once the end is known [STR-11]', () => {
    const link = new Link({ windowBytes: 1_000 });
    const readOne = () => {
      link.send.send(bytesOf(172), RELIABLE, NEVER, false);
      link.exchange(0);
      link.readAll(0);
      return link.reply();
    };
    const first = readOne()!;
    expect(framesOf(first.bytes)).toEqual(['MAX 1300']);
    link.deliverReply(first);
    const second = readOne()!;
    expect(framesOf(second.bytes)).toEqual(['MAX 1600']);
    link.receive.onFrameLost(recorded((sent) => sent.limit(FrameType.MAX_STREAM_DATA, 4, 1_300)));
    expect(link.receive.controlDue).toBe(false);
    link.receive.onFrameLost(recorded((sent) => sent.limit(FrameType.MAX_STREAM_DATA, 4, 1_600)));
    expect(framesOf(link.reply()!.bytes)).toEqual(['MAX 1600']);
    link.receive.onFrameLost(recorded((sent) => sent.limit(FrameType.MAX_STREAM_DATA, 4, 1_600)));
    link.send.close();
    link.exchange(0);
    expect(link.receive.controlDue).toBe(false);
  });

  test('closes when the peer goes beyond the limit of the stream or of the connection [STR-13]', () => {
    for (const [windowBytes, connectionWindowBytes] of [
      [10_000, 400],
      [400, 10_000],
    ]) {
      const sender = new Link();
      for (let i = 0; i < 2; i++) sender.send.send(bytesOf(100, i), RELIABLE, NEVER, false);
      const packet = sender.pack(0)!;
      const receiver = new Link({ windowBytes, connectionWindowBytes });
      expect(receiver.deliver(packet, 0)).toBe(CloseCode.FLOW_CONTROL_ERROR);
      const large = new Link();
      large.send.send(bytesOf(2_000), RELIABLE, NEVER, false);
      expect(new Link({ windowBytes, connectionWindowBytes }).deliver(large.pack(0)!, 0)).toBe(
        CloseCode.FLOW_CONTROL_ERROR,
      );
    }
  });

  test('bounds how far sequences run ahead of the oldest that is not settled [STR-12]', () => {
    const link = new Link({ windowBytes: 128 * 50, spanMax: 50, ordered: false, mtu: 400 });
    for (let i = 0; i < 500; i++) link.send.send(new Uint8Array(1), RELIABLE, NEVER, false);
    const [first, ...others] = link.packAll(0);
    expect(framesOf(first.bytes)).toEqual(['OPEN', 'MESSAGES 0+49', 'BLOCKED 6450']);
    expect(others).toEqual([]);
    // all but the first message are read, so there is credit; but the sender does not run further ahead
    const wide = new Link({ windowBytes: 128 * 50, spanMax: 50, ordered: false, mtu: 30 });
    for (let i = 0; i < 500; i++) wide.send.send(new Uint8Array(1), RELIABLE, NEVER, false);
    const lost = wide.pack(0)!;
    for (let packet = wide.pack(0); packet !== null; packet = wide.pack(0)) {
      expect(wide.deliver(packet, 0)).toBe(0);
      wide.acked(packet);
      wide.readAll(0);
      const reply = wide.reply();
      if (reply !== null) wide.deliverReply(reply);
      wide.sendContext.credit.raise(wide.receiveContext.window.announce());
    }
    expect(wide.receive.window.used).toBe((50 - 10) * 129);
    expect(wide.send.credit.available).toBeGreaterThan(1_000);
    expect(wide.send.sendable).toBe(false);
    wide.acked(lost);
    expect(wide.send.sendable).toBe(true);
  });

  test('closes when sequences run too far ahead [STR-12]', () => {
    const link = new Link({ windowBytes: 128 * 50, spanMax: 50, ordered: false, mtu: 30 });
    const sender = new Link({ ordered: false, mtu: 30 });
    for (let i = 0; i < 100; i++) sender.send.send(new Uint8Array(0), RELIABLE, NEVER, false);
    const [lost, ...packets] = sender.packAll(0);
    expect(framesOf(lost.bytes)).toEqual(['OPEN', expect.stringMatching(/^MESSAGES 0\+/)]);
    const codes = packets.map((packet) => {
      const code = link.deliver(packet, 0);
      link.readAll(0);
      link.receive.window.announce();
      link.receiveContext.window.announce();
      return code;
    });
    expect(codes[0]).toBe(0);
    expect(codes.at(-1)).toBe(CloseCode.FLOW_CONTROL_ERROR);
  });

  test('passes a message as large as the window, again and again [STR-9] [STR-11]', () => {
    const link = new Link({ windowBytes: 50_128, connectionWindowBytes: 50_128, messageBytesMax: 50_000 });
    let delivered = 0;
    for (let i = 0; i < 6; i++) link.send.send(bytesOf(i % 2 === 0 ? 50_000 : 10, i), RELIABLE, NEVER, false);
    for (let round = 0; round < 20; round++) {
      link.exchange(0);
      delivered += link.readAll(0).length;
      const reply = link.reply();
      if (reply !== null) link.deliverReply(reply);
      if (link.sendContext.credit.owesBlocked) {
        link.receiveContext.window.onBlocked(link.sendContext.credit.sayBlocked());
      }
      const { window } = link.receiveContext;
      if (window.due) link.sendContext.credit.raise(window.announce());
    }
    expect(delivered).toBe(6);
  });
});
