import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { Prng } from '../../src/base/random.ts';

/**
 * Somebody on the path of a client and a server, on real sockets: forwards what they send, remembers some of it, and adds what it likes,
 * with addresses that are right.
 */
export class Middle {
  private readonly toServer = createSocket('udp4');
  private readonly toClient = createSocket('udp4');
  private readonly packets: { server: Buffer[]; client: Buffer[] } = { server: [], client: [] };
  private readonly random: Prng;
  private readonly serverPort: number;
  private clientPort = 0;

  private constructor(serverPort: number, seed: number) {
    this.serverPort = serverPort;
    this.random = new Prng(seed);
  }

  static async open(serverPort: number, seed: number): Promise<Middle> {
    const middle = new Middle(serverPort, seed);
    await Promise.all([bind(middle.toServer), bind(middle.toClient)]);
    middle.toClient.on('message', (data, { port }) => {
      middle.clientPort = port;
      middle.remember('server', data);
      middle.toServer.send(data, serverPort, '127.0.0.1');
    });
    middle.toServer.on('message', (data) => {
      middle.remember('client', data);
      middle.toClient.send(data, middle.clientPort, '127.0.0.1');
    });
    return middle;
  }

  /** Where the client is to connect to. */
  get port(): number {
    return this.toClient.address().port;
  }

  /** Sends garbage to one of the two: to the server three times out of four. */
  sendGarbage(): void {
    if (this.random.below(4) > 0) this.toServer.send(this.garbage('server'), this.serverPort, '127.0.0.1');
    else this.toClient.send(this.garbage('client'), this.clientPort, '127.0.0.1');
  }

  close(): void {
    this.toServer.close();
    this.toClient.close();
  }

  /** Noise, or a packet that was really sent: cut short, damaged, doubled, with another beginning or behind another. */
  private garbage(to: 'server' | 'client'): Buffer {
    const { random } = this;
    const packet = this.anyPacket(to);
    switch (random.below(7)) {
      case 0:
        return this.noise(random.below(1_500));
      case 1:
        // For the right connection, and nothing more.
        return Buffer.concat([
          Buffer.of(0x40 | random.below(64)),
          packet.subarray(1, 9),
          this.noise(random.below(100)),
        ]);
      case 2:
        return packet.subarray(0, random.below(packet.length));
      case 3: {
        const damaged = Buffer.from(packet);
        for (let k = random.below(4); k >= 0; k--)
          damaged[random.below(damaged.length)] ^= 1 << random.below(8);
        return damaged;
      }
      case 4:
        return Buffer.concat([packet.subarray(0, random.below(packet.length)), this.anyPacket(to)]);
      case 5:
        return Buffer.concat([this.noise(random.between(1, 30)), packet]);
      default:
        return packet;
    }
  }

  private anyPacket(to: 'server' | 'client'): Buffer {
    const packets = this.packets[to];
    return packets[this.random.below(packets.length)];
  }

  private noise(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    this.random.fill(bytes);
    return bytes;
  }

  /** Keeps the first packets for ever, and some of the others for a while. */
  private remember(to: 'server' | 'client', data: Buffer): void {
    const list = this.packets[to];
    if (list.length < KEPT) list.push(data);
    else list[this.random.between(KEPT_FOR_EVER, KEPT - 1)] = data;
  }
}

async function bind(socket: Socket): Promise<AddressInfo> {
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.setRecvBufferSize(4 << 20);
  socket.setSendBufferSize(4 << 20);
  return socket.address();
}

const KEPT = 200;
const KEPT_FOR_EVER = 20;
