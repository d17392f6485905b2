import { MemoryAccount, MemoryBudget, type MemorySource } from '../../../src/base/memory-budget.ts';
import { RepairDecoder } from '../../../src/protocol/fec/repair-decoder.ts';
import { RepairEncoder } from '../../../src/protocol/fec/repair-encoder.ts';
import { FrameReader } from '../../../src/protocol/wire/frame-reader.ts';
import { FrameWriter } from '../../../src/protocol/wire/frame-writer.ts';
import { nextFrame } from '../../../src/protocol/wire/frames/index.ts';
import { writeRepairHeader } from '../../../src/protocol/wire/frames/repair.ts';

/** A REPAIR frame and the number of the packet that carried it. */
export interface CarriedRepair {
  readonly carrying: number;
  readonly frame: Uint8Array;
}

/** One encoder, and as many decoders as a test wants: symbols and REPAIRs, whatever of them a test hands on. */
export class Link {
  readonly encoder = new RepairEncoder();

  /** A decoder with the memory that a receiver offers by default. */
  decoder(bytesMax = 131_072, memory: MemorySource = PLENTY): RepairDecoder {
    return new RepairDecoder(bytesMax, memory);
  }

  /** A REPAIR over what is kept of [from, to], in the packet `carrying`. */
  repair(carrying: number, from: number, to: number, isXor = false): CarriedRepair {
    const w = new FrameWriter();
    w.begin(new Uint8Array(2_000), 0, 2_000);
    const size = this.encoder.size(carrying, from, to);
    if (this.encoder.write(w, carrying, from, to, isXor) === 0) throw new Error('no repair was written');
    if (w.at !== size) throw new Error(`a repair of ${w.at} bytes, not of ${size}`);
    return { carrying, frame: w.out.slice(0, w.at) };
  }
}

/** Hands a REPAIR to a decoder. False when it is a FRAME_ENCODING_ERROR. */
export function receive(decoder: RepairDecoder, { carrying, frame }: CarriedRepair): boolean {
  reader.reset(frame, 0, frame.length);
  return nextFrame(reader) && decoder.onRepair(reader, carrying);
}

/** Hands a symbol to a decoder. */
export function arrive(decoder: RepairDecoder, number: number, symbol: Uint8Array, now = number): void {
  const buffer = new Uint8Array(symbol.length + 10).fill(0x5a);
  buffer.set(symbol, 5);
  decoder.onSymbol(number, buffer, 5, 5 + symbol.length, now);
}

/** All that a decoder has recovered, by number. */
export function recovered(decoder: RepairDecoder): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let symbol = decoder.poll(); symbol !== null; symbol = decoder.poll())
    found.set(symbol.number, symbol.bytes);
  return found;
}

/** A REPAIR with any fields. */
export function repairOf(fields: {
  code?: number;
  carrying: number;
  group: number;
  row: number;
  span: number;
  mask?: ArrayLike<number>;
  parity: ArrayLike<number>;
}): CarriedRepair {
  const { code = 1, carrying, group, row, span, mask = [], parity } = fields;
  const w = new FrameWriter();
  w.begin(new Uint8Array(2_000), 0, 2_000);
  writeRepairHeader(w, {
    code,
    group,
    index: row,
    k: span,
    r: mask.length,
    length: mask.length + parity.length,
  });
  w.bytes(Uint8Array.from(mask));
  w.bytes(Uint8Array.from(parity));
  return { carrying, frame: w.out.slice(0, w.at) };
}

/** Bytes that look random and are the same each time. */
export function bytesOf(seed: number, length: number): Uint8Array {
  let state = (seed * 2_654_435_761 + 12_345) >>> 0;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 24;
  });
}

const reader = new FrameReader();
const PLENTY = new MemoryAccount(new MemoryBudget(2 ** 40), 0);
