/**
 * One MQTT client, whatever its socket is: its packets become what its session with the broker does, and what the broker delivers becomes packets. It is one file because it
 * is one protocol, seen from one end.
 *
 *     CONNECTING ── CONNECT ──> GREETING ── WELCOME ──> OPEN ── DISCONNECT, or its socket is gone ──> LEAVING ── the broker has read all ──> OVER
 */

import type { ISubscribePacket, IUnsubscribePacket } from 'mqtt-packet';
import type { JspError } from '../../base/errors.ts';
import { MILLISECOND, type Micros, SECOND } from '../../base/time.ts';
import { Command, encodePlain } from '../../pubsub/command.ts';
import { type Notice, NoticeCode } from '../../pubsub/session-commands.ts';
import { filterFault, isShared } from '../../pubsub/topic.ts';
import type { Clock } from '../../udp/clock.ts';
import { ANONYMOUS } from '../caller.ts';
import { type PendingPublish, PublishState } from '../publishing.ts';
import type { Session, SessionListener, SessionRequest } from '../session.ts';
import { TopicAliases } from './aliases.ts';
import {
  connectReasonOf,
  disconnectReasonOf,
  isFinalRefusal,
  MqttFault,
  MqttReason,
  PacketType,
  protocolError,
  publishReasonOf,
} from './codes.ts';
import {
  type ConnectRequest,
  connackOf,
  connectRequestOf,
  expiryMsOf,
  keepAliveOf,
  refusalOf,
} from './connect.ts';
import { Deliveries } from './deliveries.ts';
import type { MqttCounters, MqttLimits } from './limits.ts';
import { decodeNote, type MqttNote } from './note.ts';
import { NoteKeeper } from './note-keeper.ts';
import { PacketReader } from './packet-reader.ts';
import {
  type ClientPacket,
  type MqttVersion,
  PINGRESP,
  readAnswer,
  readPacket,
  writeDisconnect,
  writeSuback,
  writeUnsuback,
} from './packets.ts';
import type { IncomingPublish, OutgoingPublish } from './publish.ts';
import { type Receipt, Receipts } from './receipts.ts';
import { type MqttDelivery, type MqttSubscription, RetainHandling, Subscriptions } from './subscriptions.ts';

/** The client's socket. */
export interface MqttWire {
  /** From where it came. */
  readonly address: string;
  /** Takes whole packets. */
  send(packet: Buffer): void;
  /** Bytes that were sent and that the system has not taken. */
  readonly bufferedBytes: number;
  setReading(isReading: boolean): void;
  /** What is kept of the client's packets is another number of bytes than before, perhaps. */
  account(): void;
  /** Closes it behind what was sent. */
  end(): void;
}

/** What all connections of a door have in common. */
export interface MqttSurroundings {
  readonly clock: Clock;
  readonly limits: MqttLimits;
  readonly counters: MqttCounters;
  readonly incoming: IncomingPublish;
  readonly outgoing: OutgoingPublish;
  /** A new connection to the broker that says HELLO, for somebody at this address. */
  open(address: string, request: SessionRequest, listener: SessionListener): Promise<Session>;
  /** Names of the logs that have what a filter matches. */
  logsOf(filter: string): readonly string[];
  /** What is remembered of a session. */
  readonly notes: {
    of(session: string): Uint8Array | null;
    set(session: string, note: Uint8Array): Promise<boolean>;
  };
  /** A fault of the door itself. */
  onFault(error: unknown): void;
}

const State = { CONNECTING: 0, GREETING: 1, OPEN: 2, LEAVING: 3, OVER: 4 } as const;
type State = (typeof State)[keyof typeof State];

export class MqttConnection {
  private readonly wire: MqttWire;
  private readonly around: MqttSurroundings;
  private readonly reader: PacketReader;
  private state: State = State.CONNECTING;
  private version: MqttVersion = 4;
  private request: ConnectRequest | null = null;
  private session: Session | null = null;
  private subscriptions: Subscriptions | null = null;
  private receipts: Receipts | null = null;
  private deliveries: Deliveries | null = null;
  private aliases: TopicAliases | null = null;
  /** SUBSCRIBE and UNSUBSCRIBE that are not answered. */
  private changing = 0;
  private isSlow = false;
  private isReading = true;
  /** Null: the session ends with its connection. */
  private note: NoteKeeper | null = null;
  /** When a packet came last, or it could be that one came and was not read. */
  private heardAt: Micros;
  private keepAlive: Micros = 0;

  constructor(wire: MqttWire, around: MqttSurroundings) {
    this.wire = wire;
    this.around = around;
    this.reader = new PacketReader(Math.min(CONNECT_BYTES_MAX, around.limits.packetBytesMax));
    this.heardAt = around.clock.now();
  }

  get clientId(): string {
    return this.request?.clientId ?? '';
  }

  /** The broker knows who it is. */
  get isLetIn(): boolean {
    return this.state >= State.OPEN;
  }

  /** Bytes of packets that have not come whole, or wait to be read. */
  get keptBytes(): number {
    return this.reader.keptBytes;
  }

  /** Bytes have come. */
  received(bytes: Buffer): void {
    if (this.state >= State.LEAVING) return;
    if (this.state === State.CONNECTING && this.reader.keptBytes === 0 && bytes[0] !== CONNECT_HEAD) {
      this.cut(); // [MQT-5] whatever that is, its length would not be one
      return;
    }
    this.reader.push(bytes);
    this.readOn();
  }

  /** Somebody else has written to the socket, too. */
  look(): void {
    if (this.isReading) this.setReading();
  }

  /** The socket has enough. [MQT-18] */
  slow(): void {
    this.isSlow = true;
    this.subscriptions?.setSlow(true);
  }

  ready(): void {
    this.isSlow = false;
    this.subscriptions?.setSlow(false);
    this.setReading();
  }

  /** Looks at what time has done. */
  tick(now: Micros): void {
    const silence = now - this.heardAt;
    if (this.state === State.CONNECTING) {
      if (silence > this.around.limits.connectMs * MILLISECOND) this.cut(); // [MQT-5] it has not said who it is
    } else if (
      this.state === State.OPEN &&
      this.keepAlive > 0 &&
      this.isReading &&
      silence > this.keepAlive
    ) {
      this.around.counters.keepAliveTimeouts++;
      this.leave(MqttReason.KEEP_ALIVE_TIMEOUT, 'nothing was heard of the client for too long'); // [MQT-8] one and a half times the keep-alive
    }
  }

  /** Lets the client go: its will is published, as where its connection breaks. */
  leave(reason: MqttReason, why = ''): void {
    if (this.state >= State.LEAVING) return;
    if (this.state === State.OPEN && this.version === 5) this.send(writeDisconnect(reason, this.told(why)));
    this.finish(false);
  }

  /** The socket is gone. */
  ended(): void {
    if (this.state < State.LEAVING) this.finish(false);
  }

  // ---- what the client says ----

  private readOn(): void {
    try {
      while (this.isReading && this.state < State.LEAVING && this.state !== State.GREETING) {
        const body = this.reader.next();
        if (body === null) break;
        this.heardAt = this.around.clock.now();
        this.around.counters.packetsIn++;
        this.take(this.reader.head, body);
        this.setReading();
      }
    } catch (error) {
      this.fail(error);
    }
    this.wire.account(); // what has waited here was read perhaps long after it came
  }

  private take(head: number, body: Buffer): void {
    const type = head >> 4;
    if (this.state === State.CONNECTING) {
      if (type !== PacketType.CONNECT) throw protocolError('the first packet is CONNECT');
      this.connect(readPacket(head, body, 5));
      return;
    }
    switch (type) {
      case PacketType.PUBLISH:
        return this.publish(head, body);
      case PacketType.PUBACK:
        return this.acknowledged(head, body);
      case PacketType.PUBREL:
        return this.released(head, body);
      case PacketType.PINGREQ:
        if (body.length > 0 || (head & 0x0f) !== 0) throw protocolError('PINGREQ is two bytes');
        return this.send(PINGRESP);
      case PacketType.SUBSCRIBE:
        return this.subscribe(readPacket(head, body, this.version) as ISubscribePacket);
      case PacketType.UNSUBSCRIBE:
        return this.unsubscribe(readPacket(head, body, this.version) as IUnsubscribePacket);
      case PacketType.DISCONNECT:
        return this.disconnect(readPacket(head, body, this.version));
      case PacketType.AUTH:
        throw protocolError('there is no enhanced authentication here'); // [MQT-9]
      default:
        throw protocolError(`a client does not send this here: packet type ${type}`);
    }
  }

  private connect(packet: ClientPacket): void {
    if (packet.cmd !== 'connect') throw protocolError('the first packet is CONNECT');
    this.version = packet.protocolVersion;
    this.state = State.GREETING;
    this.reader.bytesMax = this.around.limits.packetBytesMax;
    let request: ConnectRequest;
    try {
      request = connectRequestOf(packet);
    } catch (error) {
      this.refuse(error);
      return;
    }
    this.request = request;
    this.setReading();
    const { clientId: name, isClean: cleanStart, expiryMs, proof } = request;
    const listener: SessionListener = {
      onNotice: (notice) => this.onNotice(notice),
      onDrained: () => this.setReading(),
      onClosed: (error) => this.onClosed(error as JspError | null),
    };
    this.around
      .open(this.wire.address, { name, cleanStart, expiryMs, proof }, listener)
      .then((session) => this.welcome(session, request))
      .catch((error: unknown) => this.refuse(error));
  }

  /** Lets the client in, when its will is kept. */
  private async welcome(session: Session, request: ConnectRequest): Promise<void> {
    if (this.state !== State.GREETING) {
      session.close();
      return;
    }
    this.session = session;
    // Where it has none, an earlier one of its session is not its will any more.
    if (request.will !== null) await session.leaveWill(request.will);
    else if (session.welcome.isPresent) await session.leaveWill((id) => encodePlain(Command.WILL, id));
    if (this.state !== State.GREETING) return;
    this.open(session, request);
  }

  private open(session: Session, request: ConnectRequest): void {
    const { limits } = this.around;
    const { isPresent, expiryMs } = session.welcome;
    const isV5 = request.version === 5;
    const receiveMaximum = Math.min(request.receiveMaximum, limits.inFlightMax);
    if (isV5 && (request.topicAliasMaximum > 0 || limits.topicAliasMax > 0)) {
      this.aliases = new TopicAliases(limits.topicAliasMax, request.topicAliasMaximum);
    }
    const send = (packet: Buffer): void => this.send(packet);
    this.receipts = new Receipts(send);
    this.deliveries = new Deliveries(
      { isV5, receiveMaximum, packetBytesMax: request.packetBytesMax, aliases: this.aliases },
      this.around,
      send,
    );
    this.subscriptions = new Subscriptions(
      session,
      { deliver: (delivery) => this.deliver(delivery), onEnded: (error) => this.onEnded(error) },
      { receiveMaximum, expiryMs, isKept: expiryMs > 0 || isPresent, logsOf: this.around.logsOf },
    );
    const keepAliveS = keepAliveOf(request, limits);
    this.keepAlive = keepAliveS * 1.5 * SECOND;
    this.heardAt = this.around.clock.now();
    const { subscriptions, taken } = isPresent ? decodeNote(this.around.notes.of(request.clientId)) : NO_NOTE;
    this.receipts.restore(taken);
    if (expiryMs > 0) this.note = this.noteKeeper();
    // Said before CONNACK is sent, so that nothing is missed that comes from then on; what comes of it comes later. [MQT-14]
    for (const subscription of subscriptions) {
      this.subscriptions.subscribe(subscription, RetainHandling.NONE, () => {});
    }
    this.state = State.OPEN;
    // Until the connection is over identifiers are kept here: one that was released and still stood in the note would be taken for another's.
    if (taken.length > 0) this.remember();
    this.around.counters.connected++;
    this.send(connackOf(request, session.welcome, keepAliveS, limits));
    this.setReading();
    this.readOn();
  }

  private publish(head: number, body: Buffer): void {
    const { incoming, limits, counters } = this.around;
    const session = this.session as Session;
    const receipts = this.receipts as Receipts;
    const isV5 = this.version === 5;
    incoming.read(head, body, isV5);
    const { qos, packetId } = incoming;
    if (qos === 2 && isV5) throw new MqttFault(MqttReason.QOS_NOT_SUPPORTED, 'the maximum QoS here is 1'); // [MQT-12]
    const aliased = incoming.topicAlias === 0 ? null : this.topicOfAlias(incoming);
    counters.published++;
    if (qos === 0) {
      if (incoming.fault !== null) counters.refused++;
      else session.publish(incoming.command(aliased), forgotten);
      return;
    }
    if (isV5 && receipts.pending >= limits.receiveMax) {
      // [MQT-19] more than it was told
      throw new MqttFault(
        MqttReason.RECEIVE_MAXIMUM_EXCEEDED,
        `at most ${limits.receiveMax} messages may be unanswered`,
      );
    }
    const receipt = receipts.begin(packetId, qos === 2);
    if (receipt === null) return;
    if (incoming.fault !== null) {
      this.refused(receipt, incoming.faultReason, incoming.fault);
      return;
    }
    session.publish(incoming.command(aliased), (publish) => this.onPublished(receipt, publish));
  }

  /** The topic that stands for its alias; null: it has its own, which the alias stands for from now on. */
  private topicOfAlias(incoming: IncomingPublish): Buffer | null {
    const { topic, topicAlias } = incoming;
    const { aliases } = this;
    if (aliases === null || topicAlias > this.around.limits.topicAliasMax) {
      throw new MqttFault(
        MqttReason.TOPIC_ALIAS_INVALID,
        `topic aliases are at most ${this.around.limits.topicAliasMax}`,
      );
    }
    if (topic.length > 0) {
      aliases.define(topicAlias, incoming.isTopicGood ? topic : NO_TOPIC);
      return null;
    }
    const known = aliases.topicOf(topicAlias);
    if (known === undefined) throw protocolError('a topic alias that stands for nothing');
    if (known.length === 0) incoming.refuseTopic();
    return known;
  }

  private onPublished(receipt: Receipt, publish: PendingPublish): void {
    if (this.state !== State.OPEN) return;
    if (publish.state === PublishState.TAKEN) {
      const isUnwanted = publish.result === NO_SUBSCRIBER && this.version === 5;
      this.receipts?.settle(receipt, isUnwanted ? MqttReason.NO_MATCHING_SUBSCRIBERS : MqttReason.SUCCESS);
    } else if (publish.state === PublishState.REFUSED) {
      this.refused(receipt, publishReasonOf(publish.code), publish.reason);
    }
    this.setReading();
  }

  /** [MQT-13] MQTT 3.1.1 has no word for it: what would be refused again is acknowledged, and nothing else */
  private refused(receipt: Receipt, reason: MqttReason, why: string): void {
    this.around.counters.refused++;
    if (this.version === 5) this.receipts?.settle(receipt, reason, this.told(why));
    else if (isFinalRefusal(reason)) this.receipts?.settle(receipt, MqttReason.SUCCESS);
    else this.leave(reason, why);
  }

  private acknowledged(head: number, body: Buffer): void {
    if ((head & 0x0f) !== 0) throw protocolError('PUBACK has no flags');
    const hasRoom = (this.deliveries as Deliveries).acknowledged(readAnswer(body, this.version === 5));
    if (hasRoom) this.subscriptions?.setWindowFull(false);
  }

  private released(head: number, body: Buffer): void {
    if ((head & 0x0f) !== 2) throw protocolError('PUBREL has the flags 2');
    if (this.version === 5) throw protocolError('the maximum QoS here is 1');
    this.receipts?.release(readAnswer(body, false));
    this.setReading();
  }

  private subscribe(packet: ISubscribePacket): void {
    const { messageId = 0, subscriptions: asked, properties } = packet;
    if (messageId <= 0) throw protocolError('a packet identifier is not 0');
    if (asked.length === 0) throw protocolError('SUBSCRIBE has a filter');
    const codes = new Array<number>(asked.length).fill(-1);
    let awaited = asked.length;
    this.changing++;
    const settle = (place: number, reason: number): void => {
      codes[place] = this.version === 5 || reason < MqttReason.UNSPECIFIED ? reason : MqttReason.UNSPECIFIED;
      if (--awaited > 0) return;
      this.changing--;
      if (this.state !== State.OPEN) return;
      this.remember((isKept) => {
        if (this.state !== State.OPEN) return;
        if (!isKept) this.unmake(asked, codes);
        this.send(writeSuback(messageId, codes, this.version));
        this.setReading();
      });
    };
    const isBridge = this.request?.isBridge === true;
    const filtersMax = this.session?.welcome.filtersMax ?? 0;
    for (const [place, { topic: filter, qos, nl = isBridge, rap = isBridge, rh = 0 }] of asked.entries()) {
      if (isShared(filter) && nl && !isBridge)
        throw protocolError('a shared subscription gets what its client publishes');
      if (place >= filtersMax) {
        settle(place, MqttReason.QUOTA_EXCEEDED); // nobody is asked more often than there is room for
        continue;
      }
      if (filterFault(filter) !== null) {
        settle(place, MqttReason.TOPIC_FILTER_INVALID);
        continue;
      }
      const subscription: MqttSubscription = {
        filter,
        qos: qos === 0 ? 0 : 1, // [MQT-11] 2 is granted as 1
        noLocal: nl && !isShared(filter),
        retainAsPublished: rap,
        id: properties?.subscriptionIdentifier ?? 0,
      };
      this.subscriptions?.subscribe(subscription, rh, (reason) => settle(place, reason));
    }
  }

  private unsubscribe(packet: IUnsubscribePacket): void {
    const { messageId = 0, unsubscriptions } = packet;
    if (messageId <= 0) throw protocolError('a packet identifier is not 0');
    if (unsubscriptions.length === 0) throw protocolError('UNSUBSCRIBE has a filter');
    const codes = new Array<number>(unsubscriptions.length).fill(0);
    let awaited = unsubscriptions.length;
    this.changing++;
    for (const [place, filter] of unsubscriptions.entries()) {
      this.subscriptions?.unsubscribe(filter, (reason) => {
        codes[place] = reason;
        if (--awaited > 0) return;
        this.changing--;
        if (this.state !== State.OPEN) return;
        this.remember(() => {
          if (this.state !== State.OPEN) return;
          this.send(writeUnsuback(messageId, codes, this.version));
          this.setReading();
        });
      });
    }
  }

  /** There is no room to remember what was subscribed: so it is not. */
  private unmake(asked: ISubscribePacket['subscriptions'], codes: number[]): void {
    for (const [place, { topic }] of asked.entries()) {
      if (codes[place] >= MqttReason.UNSPECIFIED) continue;
      codes[place] = this.version === 5 ? MqttReason.QUOTA_EXCEEDED : MqttReason.UNSPECIFIED;
      this.subscriptions?.unsubscribe(topic, () => {});
    }
  }

  private disconnect(packet: ClientPacket): void {
    if (packet.cmd !== 'disconnect') throw protocolError('this is no DISCONNECT');
    const expiryS = packet.properties?.sessionExpiryInterval;
    const { expiryMs = 0 } = this.session?.welcome ?? {};
    if (expiryS !== undefined && expiryS > 0 && this.request?.expiryMs === 0) {
      throw protocolError('a session that ends with its connection cannot be kept');
    }
    const keepsWill = packet.reasonCode !== undefined && packet.reasonCode !== MqttReason.SUCCESS;
    this.finish(!keepsWill, expiryS === undefined ? expiryMs : expiryMsOf(expiryS));
  }

  // ---- what the broker says ----

  private deliver(delivery: MqttDelivery): void {
    if ((this.deliveries as Deliveries).deliver(delivery)) this.subscriptions?.setWindowFull(true);
  }

  private onNotice({ code, text }: Notice): void {
    if (code === NoticeCode.REVOKED) {
      this.subscriptions?.revoked(text);
      this.remember();
    }
  }

  /** A stream of the session was ended by the broker. */
  private onEnded(error: JspError): void {
    if (this.state === State.OPEN) this.leave(disconnectReasonOf(error.applicationCode), error.message);
  }

  private onClosed(error: JspError | null): void {
    if (this.state === State.GREETING) this.refuse(error);
    else this.leave(disconnectReasonOf(error?.applicationCode), error?.reason ?? '');
  }

  // ---- inside ----

  private send(packet: Buffer): void {
    this.around.counters.packetsOut++;
    this.wire.send(packet);
    if (this.isReading && this.wire.bufferedBytes > ANSWERED_BYTES_MAX) this.setReading();
  }

  /** [MQT-18] nothing is read while the broker takes no more, or the client takes no answers */
  private setReading(): void {
    const { state, session, receipts, around } = this;
    const isStopped =
      state === State.GREETING ||
      session?.isStopped('chat') === true ||
      (receipts !== null && this.version !== 5 && receipts.pending >= around.limits.receiveMax) ||
      this.changing >= CHANGING_MAX ||
      (this.isSlow && this.wire.bufferedBytes > ANSWERED_BYTES_MAX);
    if (isStopped !== this.isReading) return;
    this.isReading = !isStopped;
    this.wire.setReading(this.isReading);
    if (!this.isReading) return;
    this.heardAt = around.clock.now();
    if (this.reader.keptBytes > 0) around.clock.soon(() => this.readOn());
  }

  /** [MQT-14] what it has subscribed to outlives the connection, where the session does */
  private remember(settled: (isKept: boolean) => void = () => {}): void {
    if (this.note === null) settled(true);
    else this.note.keep(settled);
  }

  private noteKeeper(): NoteKeeper {
    return new NoteKeeper(
      (note) => this.around.notes.set(this.clientId, note),
      () => ({
        subscriptions: this.subscriptions?.all() ?? [],
        taken: this.state === State.OPEN ? [] : (this.receipts?.taken ?? []),
      }),
    );
  }

  /** A reason string, for a client that wants to know. */
  private told(why: string): string {
    const { wantsReasons = true, packetBytesMax = Number.POSITIVE_INFINITY } = this.request ?? {};
    return wantsReasons && packetBytesMax >= REASON_ROOM_BYTES ? why.slice(0, REASON_CHARACTERS_MAX) : '';
  }

  /** What the client does is not MQTT, or the door has failed at it. */
  private fail(error: unknown): void {
    if (!(error instanceof MqttFault)) this.around.onFault(error);
    else this.around.counters.protocolErrors++;
    const { reason, message } =
      error instanceof MqttFault
        ? error
        : new MqttFault(MqttReason.UNSPECIFIED, 'the server has failed at this');
    if (this.state === State.CONNECTING && reason === MqttReason.UNSUPPORTED_VERSION) this.refuse(error);
    else this.leave(reason, message);
  }

  /** The client is not let in. */
  private refuse(error: unknown): void {
    if (this.state !== State.GREETING && this.state !== State.CONNECTING) return;
    const { applicationCode, reason: text = '' } = (error ?? {}) as Partial<JspError>;
    let reason = error instanceof MqttFault ? error.reason : connectReasonOf(applicationCode);
    // Credentials that were let in may still not allow the will.
    const isAboutCredentials = this.session === null && (this.request?.proof ?? ANONYMOUS) !== ANONYMOUS;
    if (reason === MqttReason.NOT_AUTHORIZED && isAboutCredentials) {
      reason = MqttReason.BAD_CREDENTIALS;
    }
    const why = error instanceof MqttFault ? error.message : text;
    this.around.counters.refusedConnects++;
    this.send(refusalOf(this.version, reason, this.told(why)));
    this.finish(false);
  }

  /** Closes it without a word. */
  private cut(): void {
    this.finish(false);
  }

  /** The client goes. What it has published is read by the broker before its session learns of that. [MQT-10] */
  private finish(isOrderly: boolean, expiryMs?: number): void {
    const { session, state } = this;
    this.state = State.LEAVING;
    this.reader.clear();
    this.deliveries?.clear();
    this.wire.end();
    if (state === State.OPEN) this.around.counters.connected--;
    if (session === null || session.isOver) this.state = State.OVER;
    else void this.part(session, isOrderly, expiryMs).catch((error: unknown) => this.around.onFault(error));
  }

  private async part(session: Session, isOrderly: boolean, expiryMs: number | undefined): Promise<void> {
    if ((this.receipts?.taken ?? []).length > 0) this.remember();
    await session.drain(LEAVE_MS_MAX);
    if (isOrderly && !session.isOver) {
      if (this.request?.will != null) {
        await session.leaveWill((id) => encodePlain(Command.WILL, id)).catch(() => {});
      }
    }
    if (expiryMs !== undefined && expiryMs !== session.welcome.expiryMs) session.keepFor(expiryMs);
    session.close();
    this.state = State.OVER;
  }
}

const forgotten = (): void => {};
/** What an alias stands for that was defined with a topic that there may not be. */
const NO_TOPIC = Buffer.alloc(0);
const NO_NOTE: MqttNote = { subscriptions: [], taken: [] };
/** Of PUBLISHED: nobody is subscribed. */
const NO_SUBSCRIBER = 2;
const CONNECT_HEAD = PacketType.CONNECT << 4;
/** Who has not said who it is sends no more: room for a will of the largest kind. */
const CONNECT_BYTES_MAX = 256 * 1024;
/** Answers that a client does not take. */
const ANSWERED_BYTES_MAX = 512 * 1024;
/** SUBSCRIBE and UNSUBSCRIBE that wait for their answer. */
const CHANGING_MAX = 16;
const REASON_CHARACTERS_MAX = 200;
/** A packet with a reason is never larger; who takes none so large is given none. */
const REASON_ROOM_BYTES = 1_024;
const LEAVE_MS_MAX = 5_000;
