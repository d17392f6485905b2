/** Captures as Wireshark reads them (draft-ietf-opsawg-pcapng): datagrams of UDP over IPv4, and payloads without a packet around them. */

export interface CapturedDatagram {
  /** In microseconds. */
  at: number;
  fromPort: number;
  toPort: number;
  data: Uint8Array;
}

export class Pcapng {
  private readonly blocks: Buffer[] = [];

  constructor() {
    const section = Buffer.alloc(16);
    section.writeUInt32LE(0x1a2b3c4d, 0);
    section.writeUInt16LE(1, 4); // version 1.0
    section.writeBigInt64LE(-1n, 8); // of unknown length
    this.block(0x0a0d0d0a, section);
    this.block(1, interfaceOf(LINKTYPE_RAW));
    this.block(1, interfaceOf(LINKTYPE_USER15));
  }

  /** A datagram between two ports of 127.0.0.1. */
  datagram({ at, fromPort, toPort, data }: CapturedDatagram): void {
    const packet = Buffer.alloc(28 + data.length);
    packet[0] = 0x45;
    packet.writeUInt16BE(packet.length, 2);
    packet.set([64, 17], 8); // TTL, UDP
    packet.set([127, 0, 0, 1], 12);
    packet.set([127, 0, 0, 1], 16);
    packet.writeUInt16BE(fromPort, 20);
    packet.writeUInt16BE(toPort, 22);
    packet.writeUInt16BE(8 + data.length, 24);
    packet.set(data, 28);
    this.packet(0, at, packet);
  }

  /** What a packet holds, in the clear. */
  payload(data: Uint8Array): void {
    this.packet(1, 0, data);
  }

  bytes(): Buffer {
    return Buffer.concat(this.blocks);
  }

  private packet(interfaceId: number, at: number, data: Uint8Array): void {
    const body = Buffer.alloc(20 + Math.ceil(data.length / 4) * 4);
    body.writeUInt32LE(interfaceId, 0);
    body.writeUInt32LE(Math.floor(at / 2 ** 32), 4);
    body.writeUInt32LE(at % 2 ** 32, 8);
    body.writeUInt32LE(data.length, 12);
    body.writeUInt32LE(data.length, 16);
    body.set(data, 20);
    this.block(6, body);
  }

  private block(type: number, body: Buffer): void {
    const length = 12 + body.length;
    const block = Buffer.alloc(length);
    block.writeUInt32LE(type, 0);
    block.writeUInt32LE(length, 4);
    block.set(body, 8);
    block.writeUInt32LE(length, length - 4);
    this.blocks.push(block);
  }
}

function interfaceOf(linkType: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt16LE(linkType, 0);
  return body;
}

/** An IP packet without anything in front. */
const LINKTYPE_RAW = 101;
/** What the user says it is. */
const LINKTYPE_USER15 = 162;
