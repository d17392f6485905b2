/**
 * An MQTT client that says what a test tells it, packet by packet, and keeps what it hears until somebody asks. It acknowledges what it is sent, unless it is told not to.
 *
 *     const peer = await MqttPeer.welcomed(port, { clientId: 'a', properties: { receiveMaximum: 2 } });
 *     expect(await peer.subscribe('a/+')).toEqual([1]);
 *     await peer.publish('a/b', 'text', { qos: 1 });
 *     expect((await peer.messages(1))[0]).toMatchObject({ topic: 'a/b', qos: 1 });
 */

import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  generate,
  type IConnectPacket,
  type IPublishPacket,
  type Packet,
  parser,
  type QoS,
} from 'mqtt-packet';

export type ProtocolVersion = 4 | 5;

/** A CONNECT as a test wants it; what it leaves out is usual. */
export type Connecting = Partial<Omit<IConnectPacket, 'cmd' | 'protocolVersion'>> & {
  protocolVersion?: ProtocolVersion | 3;
};

export interface Filter {
  readonly topic: string;
  readonly qos?: QoS;
  /** No local. */
  readonly nl?: boolean;
  /** Retain as published. */
  readonly rap?: boolean;
  /** Retain handling. */
  readonly rh?: 0 | 1 | 2;
}

export interface Publishing {
  readonly qos?: QoS;
  readonly retain?: boolean;
  readonly dup?: boolean;
  readonly messageId?: number;
  readonly properties?: IPublishPacket['properties'];
}

/** What was heard: packets of MQTT with all that any of them may have. */
// biome-ignore lint/suspicious/noExplicitAny: what a test expects of it, it says itself
export type Heard = Packet & Record<string, any>;

export class MqttPeer {
  readonly socket: Duplex;
  readonly version: ProtocolVersion | 3;
  /** Resolves when the other side has closed it. */
  readonly closed: Promise<void>;
  /** The CONNACK that it was welcomed with. */
  connack: Heard = {} as Heard;
  /** Acknowledges what comes. */
  acknowledges = true;
  private readonly heard: Heard[] = [];
  private readonly parser;
  private isOver = false;
  private lastId = 0;
  private wake: () => void = () => {};

  /** @param socket - connected to the door, or to something that carries its bytes */
  constructor(socket: Duplex, version: ProtocolVersion | 3 = 5) {
    this.socket = socket;
    this.version = version;
    this.parser = parser({ protocolVersion: version });
    this.parser.on('packet', (packet) => this.take(packet as Heard));
    socket.on('data', (bytes: Buffer) => this.parser.parse(bytes));
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.isOver = true;
        this.wake();
        resolve();
      });
    });
  }

  /** One that is connected by TCP and has said nothing yet. */
  static async dial(port: number, version: ProtocolVersion | 3 = 5): Promise<MqttPeer> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    await once(socket, 'connect');
    return new MqttPeer(socket, version);
  }

  /** One whose CONNECT was answered by a CONNACK, whatever that says. */
  static async answered(port: number, connecting: Connecting = {}): Promise<MqttPeer> {
    const peer = await MqttPeer.dial(port, connecting.protocolVersion ?? 5);
    await peer.connect(connecting);
    return peer;
  }

  /** One that was welcomed. */
  static async welcomed(port: number, connecting: Connecting = {}): Promise<MqttPeer> {
    const peer = await MqttPeer.answered(port, connecting);
    const { reasonCode, returnCode } = peer.connack;
    if ((reasonCode ?? returnCode) !== 0) throw new Error(`not welcomed: ${JSON.stringify(peer.connack)}`);
    return peer;
  }

  async connect(connecting: Connecting = {}): Promise<Heard> {
    this.sayBytes(connectBytes(connecting));
    this.connack = await this.hear('connack');
    return this.connack;
  }

  say(packet: Packet): void {
    this.sayBytes(generate(packet, { protocolVersion: this.version }));
  }

  sayBytes(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** The next of this kind; the others stay. @throws when the connection is closed before it comes */
  async hear(command: string, messageId?: number): Promise<Heard> {
    for (;;) {
      const i = this.heard.findIndex(
        ({ cmd, messageId: id }) => cmd === command && (messageId === undefined || id === messageId),
      );
      if (i >= 0) return this.heard.splice(i, 1)[0];
      if (this.isOver) {
        throw new Error(`closed before ${command} came; there was ${JSON.stringify(this.heard)}`);
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** So many messages, in the order in which they came. */
  async messages(count: number): Promise<Heard[]> {
    const found: Heard[] = [];
    while (found.length < count) found.push(await this.hear('publish'));
    return found;
  }

  /** Payloads of so many messages, as texts. */
  async texts(count: number): Promise<string[]> {
    return (await this.messages(count)).map(({ payload }) => String(payload));
  }

  /** Messages that came and that nobody has asked for, after all that was said is done. */
  async rest(): Promise<Heard[]> {
    for (let round = 0; round < 2; round++) await this.ping();
    const found = this.heard.filter(({ cmd }) => cmd === 'publish');
    for (const each of found) this.heard.splice(this.heard.indexOf(each), 1);
    return found;
  }

  async ping(): Promise<void> {
    this.say({ cmd: 'pingreq' });
    await this.hear('pingresp');
  }

  /** Subscribes, and resolves with the codes that answer each filter. */
  async subscribe(
    filters: string | Filter | readonly (string | Filter)[],
    qos: QoS = 1,
    properties?: { subscriptionIdentifier?: number },
  ): Promise<number[]> {
    const messageId = this.nextId();
    const subscriptions = [filters].flat().map((each) => ({
      ...{ qos, nl: false, rap: false, rh: 0 },
      ...(typeof each === 'string' ? { topic: each } : (each as Filter)),
    }));
    this.say({ cmd: 'subscribe', messageId, subscriptions, properties } as Packet);
    return (await this.hear('suback', messageId)).granted as number[];
  }

  /** Unsubscribes, and resolves with the UNSUBACK. */
  async unsubscribe(...filters: string[]): Promise<Heard> {
    const messageId = this.nextId();
    this.say({ cmd: 'unsubscribe', messageId, unsubscriptions: filters });
    return await this.hear('unsuback', messageId);
  }

  /** Publishes, and resolves with what acknowledges it: at QoS 0 with nothing, at once. */
  async publish(
    topic: string,
    payload: string | Buffer = '',
    { qos = 0, retain = false, dup = false, messageId, properties }: Publishing = {},
  ): Promise<Heard | null> {
    const id = qos === 0 ? undefined : (messageId ?? this.nextId());
    this.say({ cmd: 'publish', topic, payload, qos, retain, dup, messageId: id, properties } as Packet);
    if (qos === 0) return null;
    if (qos === 1) return await this.hear('puback', id);
    const received = await this.hear('pubrec', id);
    if (((received.reasonCode as number | undefined) ?? 0) >= 0x80) return received;
    this.say({ cmd: 'pubrel', messageId: id } as Packet);
    return await this.hear('pubcomp', id);
  }

  /** Says goodbye, and resolves when the connection is closed. */
  async disconnect(properties?: { sessionExpiryInterval?: number }, reasonCode = 0): Promise<void> {
    this.say({ cmd: 'disconnect', reasonCode, properties } as Packet);
    this.socket.end();
    await this.closed;
  }

  /** Goes without a word. */
  terminate(): void {
    this.socket.destroy();
  }

  nextId(): number {
    return ++this.lastId;
  }

  private take(packet: Heard): void {
    this.heard.push(packet);
    if (this.acknowledges) this.acknowledge(packet);
    this.wake();
  }

  private acknowledge({ cmd, qos, messageId }: Heard): void {
    if (cmd === 'publish' && qos > 0) this.say({ cmd: qos === 1 ? 'puback' : 'pubrec', messageId } as Packet);
    else if (cmd === 'pubrel') this.say({ cmd: 'pubcomp', messageId } as Packet);
  }
}

/** A whole CONNECT; of no client id and no clean start, too, which the writer of packets does not write. */
export function connectBytes({ protocolVersion = 5, clean = true, ...given }: Connecting = {}): Buffer {
  const packet = {
    ...{ cmd: 'connect', clientId: '', keepalive: 0, protocolVersion, clean: true },
    ...{ protocolId: protocolVersion === 3 ? 'MQIsdp' : 'MQTT' },
    ...given,
  } as IConnectPacket;
  const bytes = generate(packet, { protocolVersion });
  if (clean) return bytes;
  const flagsAt = bytes.indexOf(packet.protocolId as string) + (packet.protocolId as string).length + 1;
  bytes[flagsAt] &= ~CLEAN;
  return bytes;
}

const CLEAN = 2;
