import { hex, joined, toHex } from './bytes.ts';
import { slowAes256, slowAesGcmSeal } from './slow-aes-gcm.ts';
import { slowChacha20Block, slowSeal } from './slow-chacha20-poly1305.ts';

/** Packet protection of spec/packets.md read off the page, hex in and hex out. */

export interface HeaderProtectionInput {
  /** Of the wire. Default 1. */
  suite?: number;
  headerKey: string;
  sample: string;
  firstByte: string;
  packetNumberBytes: string;
}

export interface HeaderProtectionOutput {
  mask: string;
  firstByte: string;
  packetNumberBytes: string;
}

/** [PKT-13] */
export function slowHeaderProtection(input: HeaderProtectionInput): HeaderProtectionOutput {
  const sample = hex(input.sample);
  const counter = sample[0] + sample[1] * 2 ** 8 + sample[2] * 2 ** 16 + sample[3] * 2 ** 24;
  const block =
    input.suite === 2
      ? slowAes256(hex(input.headerKey), sample)
      : slowChacha20Block(hex(input.headerKey), counter, sample.slice(4));
  const mask = block.slice(0, 5);
  const [first] = hex(input.firstByte);
  const covered = first >= 0x80 ? 0b00000111 : 0b00011111;
  return {
    mask: toHex(mask),
    firstByte: toHex(Uint8Array.of(first ^ (mask[0] & covered))),
    packetNumberBytes: toHex(hex(input.packetNumberBytes).map((byte, i) => byte ^ mask[i + 1])),
  };
}

export interface SealedPacketInput {
  /** Of the wire. Default 1. */
  suite?: number;
  key: string;
  iv: string;
  headerKey: string;
  packetNumber: number;
  /** From the first byte to the packet number, in the clear. */
  header: string;
  payload: string;
}

export interface SealedPacketOutput {
  nonce: string;
  packet: string;
}

/** [PKT-11] [PKT-12] [PKT-13] */
export function slowSealedPacket(input: SealedPacketInput): SealedPacketOutput {
  const header = hex(input.header);
  const numberBytes = (header[0] % 4) + 1;
  const number = hex(BigInt(input.packetNumber).toString(16).padStart(24, '0'));
  const nonce = hex(input.iv).map((byte, i) => byte ^ number[i]);
  const seal = input.suite === 2 ? slowAesGcmSeal : slowSeal;
  const sealed = seal(hex(input.key), nonce, header, hex(input.payload));
  const inTheClear = joined(header, sealed);
  const numberStart = header.length - numberBytes;
  const protectedHeader = slowHeaderProtection({
    suite: input.suite ?? 1,
    headerKey: input.headerKey,
    sample: toHex(inTheClear.slice(numberStart + 4, numberStart + 20)),
    firstByte: toHex(header.slice(0, 1)),
    packetNumberBytes: toHex(header.slice(numberStart)),
  });
  const packet =
    protectedHeader.firstByte +
    toHex(header.slice(1, numberStart)) +
    protectedHeader.packetNumberBytes +
    toHex(sealed);
  return { nonce: toHex(nonce), packet };
}
