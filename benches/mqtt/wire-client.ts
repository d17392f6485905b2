/** A client of MQTT 3.1.1 that does no more than a measurement needs, so that what is measured is the server. */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export class WireClient {
  isGone = false;
  /** A message has come; of QoS 1 it has been acknowledged. */
  onMessage: () => void = () => {};
  /** So many PUBACKs, or PINGRESPs, have come. */
  onAnswered: (count: number) => void = () => {};
  private readonly socket: Socket;
  private rest: Buffer = Buffer.alloc(0);
  private acks: Buffer[] = [];
  private answered = 0;
  private onSubscribed: () => void = () => {};
  private onWelcomed: () => void = () => {};

  /** Resolves when the server has welcomed it. */
  static async open(port: number, clientId: string): Promise<WireClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    const client = new WireClient(socket);
    const welcomed = new Promise<void>((resolve, reject) => {
      client.onWelcomed = resolve;
      socket.once('close', () => reject(new Error('a client was not taken')));
    });
    socket.write(packet(CONNECT, Buffer.concat([text('MQTT'), Buffer.of(4, CLEAN, 0, 0), text(clientId)])));
    await welcomed;
    return client;
  }

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (bytes) => this.take(bytes));
    socket.on('error', () => {});
    socket.on('close', () => {
      this.isGone = true;
    });
  }

  async subscribe(topic: string, qos: number): Promise<void> {
    this.socket.write(packet(SUBSCRIBE, Buffer.concat([Buffer.of(0, 1), text(topic), Buffer.of(qos)])));
    await new Promise<void>((resolve) => {
      this.onSubscribed = resolve;
    });
  }

  /** Writes packets as they are. Resolves when there is room for more. */
  async write(bytes: Buffer): Promise<void> {
    if (!this.socket.write(bytes)) await once(this.socket, 'drain');
  }

  private take(bytes: Buffer): void {
    const chunk = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    let at = 0;
    for (;;) {
      const end = endOfPacket(chunk, at);
      if (end < 0) break;
      this.hear(chunk, at, end);
      at = end;
    }
    this.rest = chunk.subarray(at);
    if (this.acks.length > 0) this.socket.write(Buffer.concat(this.acks.splice(0)));
    if (this.answered > 0) {
      const { answered } = this;
      this.answered = 0;
      this.onAnswered(answered);
    }
  }

  private hear(bytes: Buffer, at: number, end: number): void {
    const head = bytes[at];
    switch (head >> 4) {
      case PUBLISH:
        if ((head & 0x06) === 0x02) {
          let topicAt = at + 1;
          while (bytes[topicAt++] >= 0x80);
          const idAt = topicAt + 2 + bytes.readUInt16BE(topicAt);
          this.acks.push(Buffer.of(0x40, 2, bytes[idAt], bytes[idAt + 1]));
        }
        this.onMessage();
        return;
      case PUBACK:
      case PINGRESP:
        this.answered++;
        return;
      case SUBACK:
        if (bytes[end - 1] >= 0x80) throw new Error('a subscription was refused');
        this.onSubscribed();
        return;
      case CONNACK:
        if (bytes[at + 3] === 0) this.onWelcomed();
    }
  }
}

/** A PUBLISH; of QoS 1 with this packet identifier. */
export function publishPacket(topic: string, qos: number, payload: Uint8Array, id: number): Buffer {
  const name = text(topic);
  const body = qos === 0 ? [name, payload] : [name, Buffer.of(id >> 8, id & 0xff), payload];
  return packet((PUBLISH << 4) | (qos << 1), Buffer.concat(body));
}

export const PINGREQ = Buffer.of(0xc0, 0);

function packet(head: number, body: Buffer): Buffer {
  const length: number[] = [];
  let rest = body.length;
  for (; rest >= 0x80; rest >>>= 7) length.push(0x80 | (rest & 0x7f));
  return Buffer.concat([Buffer.from([head, ...length, rest]), body]);
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes]);
}

/** Negative: it has not come whole. */
function endOfPacket(bytes: Buffer, start: number): number {
  let length = 0;
  for (let i = 1; i <= 4; i++) {
    if (start + i >= bytes.length) return -1;
    const byte = bytes[start + i];
    length += (byte & 0x7f) * 2 ** (7 * (i - 1));
    if (byte >= 0x80) continue;
    const end = start + 1 + i + length;
    return end > bytes.length ? -1 : end;
  }
  return -1;
}

const CONNECT = 0x10;
const CONNACK = 2;
const PUBLISH = 3;
const PUBACK = 4;
const SUBSCRIBE = 0x82;
const SUBACK = 9;
const PINGRESP = 13;
const CLEAN = 2;
