import type { PacketKeys } from '../../../src/protocol/crypto/packet-keys.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import type { LabPort } from '../../../src/testing/network.ts';
import { bytesOf, type Pair, PORT } from './pair.ts';
import { initialSealKeys, sealLong } from './rogue.ts';

/** Somebody who knows the server's fingerprint and sends Initial packets with whatever frames it likes. */
export class Stranger {
  readonly answers: Uint8Array[] = [];
  bytesSaid = 0;
  readonly dcid: Uint8Array;
  private readonly pair: Pair;
  private readonly keys: PacketKeys;
  private readonly port: LabPort;
  private number = 0;

  constructor(pair: Pair, tag = 1) {
    this.pair = pair;
    this.dcid = bytesOf(8, tag);
    this.keys = initialSealKeys(this.dcid);
    this.port = pair.world.network.open(`stranger ${tag}`, PORT, ({ data }) => this.answers.push(data));
  }

  /** Sends an Initial packet with these frames, padded to `payloadBytes`. */
  post(frames: Uint8Array, payloadBytes = frames.length): void {
    const payload = new Uint8Array(payloadBytes);
    payload.set(frames);
    const ids = { dcid: this.dcid, scid: SOURCE_ID };
    const packet = sealLong(this.keys, PacketType.INITIAL, ids, this.number++, payload);
    this.bytesSaid += packet.length;
    this.port.send(packet, 'server', this.pair.server.node.port.port);
  }

  /** Leaves packet numbers out. */
  skip(count = 1): void {
    this.number += count;
  }

  get bytesHeard(): number {
    return this.answers.reduce((sum, { length }) => sum + length, 0);
  }
}

const SOURCE_ID = bytesOf(8, 4242);
