/**
 * A second implementation of the client, written from the pages of spec/ alone, as somebody would who has no other source: it shares no code
 * with `src/`, and does everything in the plainest way that the rules allow. Sans-IO: datagrams and times go in, datagrams come out.
 *
 * Loss is answered by a timer alone: what is not acknowledged after it is sent again. There is no congestion control but a bound on what is
 * under way, and no message has a deadline.
 */
import {
  ackFrame,
  closeFrame,
  cryptoFrame,
  decodeFrames,
  Fields,
  type Frame,
  fragmentFrame,
  Malformed,
  messageFrame,
  numbersFrame,
  streamOpenFrame,
  u8,
  u16,
  u32,
  varint,
  vector,
} from './second-codec.ts';
import {
  type Addressing,
  binderOf,
  earlySecret,
  earlyTraffic,
  finishedOf,
  handshakeSecrets,
  hmac,
  initialSecret,
  type Kem,
  KemKeys,
  Keys,
  label,
  openPacket,
  type Packet,
  parametersOf,
  random,
  type SecondIdentity,
  type Secrets,
  type Suite,
  sealPacket,
  sha256,
  splitDatagram,
  ticketKey,
  VERSION,
  verifiesServer,
} from './second-crypto.ts';
import { deflatedEnvelope, inflatesParameter, openEnvelope } from './second-envelope.ts';
import { Repairs } from './second-repairs.ts';

export interface SecondClientOptions {
  /** Fingerprint of the server's identity; null to take any. */
  readonly pin: Buffer | null;
  /** Bytes of UDP payload. Default 1,200. */
  readonly mtu?: number;
  /** What is told of the window of each stream, and four times as much of the connection's. */
  readonly windowBytes?: number;
  /** Suites that it speaks; of several it says that the last one costs it least. Default ChaCha20-Poly1305 alone. */
  readonly suites?: readonly Suite[];
  /** What it was given on an earlier connection, and shows. */
  readonly resumption?: SecondResumption;
  /** What it proves to a server that asks who it is. [HS-27] */
  readonly identity?: SecondIdentity;
  /** What it says to the application of a server that decides about its clients. [HS-43] */
  readonly payload?: Buffer;
  /** It opens messages in envelopes, also such as were made with these, and sends its own in envelopes where the server opens them. [CMP-3] */
  readonly dictionaries?: readonly Buffer[];
  /** It recovers packets from repairs. [FEC-40] */
  readonly recovers?: boolean;
  /** Changes a handshake message before it is sent. */
  readonly tamper?: (message: Buffer) => Buffer;
}

/** A ticket of an earlier connection, and what the client remembers of that. [HS-32] [HS-57] */
export interface SecondTicket {
  readonly ticket: Buffer;
  readonly key: Buffer;
  readonly suite: Suite;
  readonly parameters: ReadonlyMap<number, Buffer>;
}

export interface SecondResumption {
  readonly ticket: SecondTicket;
  /** Milliseconds since the ticket came. */
  readonly ageMs: number;
  /** It may send before the server has answered. */
  readonly isEarly?: boolean;
  /** Default 1. */
  readonly kem?: Kem;
}

/** The three packet number spaces. */
const INITIAL = 0;
const HANDSHAKE = 1;
const APPLICATION = 2;
const NOTHING: Buffer = Buffer.alloc(0);
const KINDS = ['initial', 'handshake', 'short'] as const;

/** A frame that is sent until a packet with it is acknowledged. */
interface Reliable {
  readonly bytes: Buffer;
  /** Space that it belongs to. */
  readonly space: number;
  /** The STREAM_OPEN of its stream: it waits until that has arrived. [STR-3] */
  readonly opening: Reliable | null;
  isAcknowledged: boolean;
  /** When it was last put into a packet; -Infinity before. */
  sentAt: number;
}

/** Bytes that come in parts, in any order and more than once. */
class Assembly {
  readonly bytes: Buffer;
  private readonly has: Uint8Array;
  private missing: number;

  constructor(total: number) {
    this.bytes = Buffer.alloc(total);
    this.has = new Uint8Array(total);
    this.missing = total;
  }

  /** Takes a part. True when all is there. */
  add(offset: number, data: Buffer): boolean {
    data.copy(this.bytes, offset);
    for (let at = offset; at < offset + data.length; at++) {
      if (this.has[at] === 0) this.missing--;
      this.has[at] = 1;
    }
    return this.missing === 0;
  }
}

/** 1-RTT keys by generation. [PKT-18] [PKT-27] */
class Generations {
  opening: Keys;
  sealing: Keys;
  /** Of packets that are opened, and that are sealed. */
  opened = 0;
  sealed = 0;
  private previous: Keys | null = null;
  private next: Keys | null = null;
  /** Number of the packet with which the generation that is opened began. */
  private openedFrom = 0;
  private openingSecret: Buffer;
  private sealingSecret: Buffer;

  constructor(openingSecret: Buffer, sealingSecret: Buffer, suite: Suite) {
    this.openingSecret = openingSecret;
    this.sealingSecret = sealingSecret;
    this.opening = Keys.of(openingSecret, suite);
    this.sealing = Keys.of(sealingSecret, suite);
  }

  keysOf(phase: number, number: number): Keys | null {
    if (phase === this.opened % 2) return this.opening;
    if (number < this.openedFrom) return this.previous;
    this.next ??= this.opening.next(nextSecret(this.openingSecret));
    return this.next;
  }

  /** A packet of this phase and number opened: the peer may have begun the next generation, and is answered in it. */
  onOpened(phase: number, number: number): void {
    if (phase === this.opened % 2 || number < this.openedFrom || this.next === null) return;
    this.previous = this.opening;
    this.opening = this.next;
    this.next = null;
    this.openingSecret = nextSecret(this.openingSecret);
    this.openedFrom = number;
    this.opened++;
    if (this.sealed < this.opened) this.update();
  }

  /** The next packet is of the next generation. */
  update(): void {
    this.sealingSecret = nextSecret(this.sealingSecret);
    this.sealing = this.sealing.next(this.sealingSecret);
    this.sealed++;
  }
}

/** [HS-28] */
function nextSecret(secret: Buffer): Buffer {
  return label(secret, 'ku', NOTHING, 32);
}

/** A path that is tried. */
interface Trial {
  readonly sequence: number;
  readonly id: Buffer;
  readonly challenge: Buffer;
  /** What is to be answered there. */
  readonly answers: Buffer[];
  sentAt: number;
}

class Space {
  sealing: Keys | null = null;
  opening: Keys | null = null;
  nextNumber = 0;
  readonly received = new Set<number>();
  largest = -1;
  /** Something that is to be acknowledged came since the last ACK. */
  owesAck = false;
  /** What packets carried, by number. */
  readonly sent = new Map<number, readonly Reliable[]>();
  /** Of the peer's string of CRYPTO bytes: what came of it. */
  crypto: Assembly | null = null;
  isStringTaken = false;
  isDiscarded = false;
}

/** One stream of its own, both ways. */
export class SecondStream {
  readonly id: number;
  /** Messages that came whole, in order. */
  readonly messages: Buffer[] = [];
  /** The server ended its direction, and all of it came. */
  isEnded = false;
  readonly partial = new Map<number, Assembly>();
  readonly whole = new Map<number, { readonly bytes: Buffer; readonly isEnveloped: boolean }>();
  opening: Reliable | null;
  nextSequence = 0;
  /** The server's limit, and what of it is used. [STR-8] */
  limit: number;
  charged = 0;
  freed = 0;
  announced: number;
  endAt = -1;

  constructor(id: number, opening: Reliable | null, limit: number, window: number) {
    this.id = id;
    this.opening = opening;
    this.limit = limit;
    this.announced = window;
  }
}

export class SecondClient {
  /** The handshake is complete: the server is the one whose fingerprint is pinned. */
  isComplete = false;
  isConfirmed = false;
  /** What the server's application said when it let the client in: null nothing; undefined: it has not decided, or does not. [HS-44] */
  admitted: Buffer | null | undefined = undefined;
  /** The server asked for an identity, and its application decides. */
  isAskedWho = false;
  isDecided = false;
  /** Numbers of packets that were recovered, and have not come. [FEC-45] */
  readonly recovered = new Set<number>();
  packetsRecovered = 0;
  /** Messages that the server has come to take no more. [STR-46] */
  readonly tooLarge: Buffer[] = [];
  /** Messages in envelopes that came. */
  envelopesOpened = 0;
  /** The path that it tried is proved, and the one in use. [CON-89] */
  hasMoved = false;
  /** It had to begin again, without its ticket. [HS-58] */
  hasBegunAgain = false;
  /** Why it is over: the server's CONNECTION_CLOSE. */
  closed: { readonly scope: number; readonly code: number; readonly reason: string } | null = null;
  /** What it told the server to close with, for a fault of the server. */
  fault: string | null = null;
  /** Frames of 1-RTT packets, by type. */
  readonly heard = new Map<number, number>();
  readonly streams = new Map<number, SecondStream>();
  /** What PATH_RESPONSEs brought. */
  readonly pathResponses: Buffer[] = [];
  packetsUnopened = 0;
  /** The server's parameters, by id. */
  parameters: ReadonlyMap<number, Buffer> = new Map();

  /** Tickets that it was given. */
  readonly tickets: SecondTicket[] = [];
  /** The server took the ticket that was shown, and what was sent early. */
  isResumed = false;
  isEarlyTaken = false;

  /** Of the packets behind the Initial ones. [HS-60] */
  suite: Suite = 1;

  private readonly pin: Buffer | null;
  private readonly suites: readonly Suite[];
  private readonly mtu: number;
  private readonly windowBytes: number;
  private readonly sourceId = random(8);
  private firstId = random(8);
  /** Where packets go: the id that was made up, then the server's. */
  private destinationId: Buffer;
  private isServerIdKnown = false;
  /** Source id of the Retry that was followed; empty without one. */
  private retryId = NOTHING;
  private token = NOTHING;
  private readonly spaces = [new Space(), new Space(), new Space()];
  private kem: KemKeys;
  private resumption: SecondResumption | null;
  private readonly identity: SecondIdentity | null;
  private readonly payload: Buffer;
  /** Null: it recovers nothing. */
  private readonly repairs: Repairs | null;
  private packetNumber = 0;
  /** Null: it opens no envelopes. */
  private readonly dictionaries: readonly Buffer[] | null;
  /** Ids that it issued, and that the server did, by their sequence numbers; what is retired is gone. [CON-80] */
  private readonly ownIds = new Map<number, Buffer>([[0, this.sourceId]]);
  private readonly serverIds = new Map<number, Buffer>();
  private issuedIds = 1;
  private destinationSequence = 0;
  /** The path that it would move to. [CON-89] */
  private trial: Trial | null = null;
  /** Of ADMITTED: what came of it. */
  private admission: Assembly | null = null;
  private resumptionSecret: Buffer | null = null;
  private initial: Buffer;
  private hello: Buffer;
  private transcript: Buffer = NOTHING;
  private secrets: Secrets | null = null;
  private exporter: Buffer | null = null;
  private generations: Generations | null = null;
  private readonly queue: Reliable[] = [];
  private waiting: Packet[] = [];
  private readonly unsent: { stream: SecondStream; message: Buffer }[] = [];
  private readonly ends = new Set<SecondStream>();
  /** What was said before the handshake was complete. */
  private readonly early: { stream: SecondStream; message: Buffer }[] = [];
  private readonly earlyEnds: SecondStream[] = [];
  private readonly openings = new Map<SecondStream, Buffer>();
  /** Since when a version packet says that the server does not speak this version. [INV-7] */
  private deniedAt = Number.POSITIVE_INFINITY;
  private isDenied = false;
  private limit = 0;
  private charged = 0;
  private freed = 0;
  private announced: number;
  private streamsMax = 0;
  private isClosing = false;
  private isElsewhere = false;

  constructor({
    pin,
    mtu = 1_200,
    windowBytes = 65_536,
    suites = [1],
    resumption,
    identity,
    payload = NOTHING,
    dictionaries,
    recovers = false,
    tamper,
  }: SecondClientOptions) {
    this.identity = identity ?? null;
    this.payload = payload;
    this.repairs = recovers ? new Repairs() : null;
    this.dictionaries = dictionaries ?? null;
    this.resumption = resumption ?? null;
    this.kem = new KemKeys(resumption?.kem ?? 1);
    this.pin = pin;
    this.suites = suites;
    this.mtu = mtu;
    this.windowBytes = windowBytes;
    this.announced = 4 * windowBytes;
    this.destinationId = this.firstId;
    this.initial = initialSecret(this.firstId, pin);
    this.spaces[INITIAL].sealing = Keys.of(label(this.initial, 'client in', NOTHING, 32));
    const hello = this.encodeHello();
    this.hello = tamper === undefined ? hello : tamper(hello);
    this.queueString(INITIAL, this.hello);
    if (resumption?.isEarly) this.beginEarly(resumption.ticket);
  }

  get hasFollowedRetry(): boolean {
    return this.retryId.length > 0;
  }

  // ---- the application's side ----

  /** Opens a stream for ordered, reliable messages. */
  openStream(name: string): SecondStream {
    const index = [...this.streams.keys()].filter((id) => id % 2 === 0).length;
    if (index >= this.streamsMax) throw new Error('the server allows no more streams');
    const id = 2 * index;
    const opening = this.reliable(APPLICATION, streamOpenFrame(id, 0x04 | 0x02, name));
    const stream = this.addStream(id, opening);
    this.openings.set(stream, opening.bytes);
    // What is early goes behind the opening, in one packet with it.
    if (!this.isComplete) stream.opening = null;
    return stream;
  }

  send(stream: SecondStream, message: Buffer): void {
    if (message.length > this.messageBytesMax) throw new Error('the server takes no message as long as that'); // [STR-36]
    this.unsent.push({ stream, message });
    this.sendAdmitted();
  }

  end(stream: SecondStream): void {
    this.ends.add(stream);
    this.sendAdmitted();
  }

  /** Sends frames as they are in 1-RTT packets until they are acknowledged; those about a stream once the server knows it. */
  sendFrames(frames: Buffer, stream: SecondStream | null = null): void {
    this.queue.push(this.reliable(APPLICATION, frames, stream?.opening ?? null));
  }

  /** [HS-29] */
  exported(name: string, context: Buffer, length: number): Buffer {
    if (this.exporter === null) throw new Error('the handshake is not complete');
    return label(label(this.exporter, name, sha256(), 32), 'exporter', sha256(context), length);
  }

  /** How many key updates there were of what is opened and of what is sealed. */
  get keyUpdates(): readonly [opened: number, sealed: number] {
    return [this.generations?.opened ?? 0, this.generations?.sealed ?? 0];
  }

  /** Begins a key update. [PKT-18] */
  updateKeys(): void {
    this.generations?.update();
  }

  /** Tries the path from another address; until it is proved, all else goes where it went. [CON-89] */
  beginMove(): void {
    if (this.parameters.has(0x13)) throw new Error('the server wants its clients where they are'); // [CON-92]
    const [sequence, id] = [...this.serverIds].find(([each]) => each !== this.destinationSequence) ?? [];
    if (sequence === undefined || id === undefined) throw new Error('there is no id for another path'); // [CON-83]
    this.trial = { sequence, id, challenge: random(8), answers: [], sentAt: Number.NEGATIVE_INFINITY };
  }

  close(code: number): void {
    this.isClosing = true;
    this.closed = { scope: 1, code, reason: '' };
  }

  // ---- datagrams ----

  /** @param isElsewhere - it came to the address that the client would move to */
  receive(datagram: Buffer, isElsewhere = false): void {
    this.isElsewhere = isElsewhere;
    if (this.closed !== null) return;
    let packets: Packet[];
    try {
      if (isVersionPacket(datagram)) return this.onVersionPacket(new Fields(datagram.subarray(5)));
      packets = splitDatagram(datagram, this.sourceId.length);
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.packetsUnopened++; // [PKT-3]
      return;
    }
    for (const packet of packets) this.receivePacket(packet);
  }

  /** What is to be sent now: acknowledgements, what is new, and what was sent long ago and not acknowledged. */
  transmit(now: number): Buffer[] {
    if (this.isDenied) this.deniedAt = Math.min(this.deniedAt, now);
    if (now - this.deniedAt >= 1_000_000 && !this.isServerIdKnown)
      this.closed = {
        scope: 0,
        code: VERSION_NEGOTIATION_ERROR,
        reason: 'the server speaks no version of ours',
      };
    if (this.closed !== null && !this.isClosing) return [];
    const datagrams: Buffer[] = [];
    for (let i = 0; i < BURST; i++) {
      const datagram = this.packDatagram(now);
      if (datagram === null) break;
      datagrams.push(datagram);
    }
    return datagrams;
  }

  /** What goes from the address that it would move to: a challenge until it is answered [CON-85], and answers [FRM-20]. */
  transmitElsewhere(now: number): Buffer[] {
    const { trial } = this;
    if (trial === null || this.closed !== null) return [];
    const frames = trial.answers.splice(0).map((data) => Buffer.concat([u8(0x19), data]));
    if (now - trial.sentAt >= RESEND_AFTER) {
      trial.sentAt = now;
      frames.push(Buffer.concat([u8(0x18), trial.challenge]));
    }
    if (frames.length === 0) return [];
    return [this.sealShort(trial.id, Buffer.concat(frames), PROBE_BYTES)]; // [CON-91]
  }

  private sealShort(destinationId: Buffer, frames: Buffer, paddedTo: number): Buffer {
    const { sealing, sealed } = this.generations as Generations;
    const address = { destinationId, sourceId: this.sourceId, token: NOTHING, isUnpinned: false };
    const number = this.spaces[APPLICATION].nextNumber++;
    return sealPacket('short', sealing, address, number, frames, { paddedTo, phase: sealed % 2 });
  }

  /** Something waits for an acknowledgement, so that {@link transmit} is to be called again after {@link RESEND_AFTER}. */
  get isWaiting(): boolean {
    return (
      this.trial !== null ||
      this.queue.some(({ isAcknowledged, space }) => !isAcknowledged && !this.spaces[space].isDiscarded)
    );
  }

  // ---- the way in ----

  private receivePacket(packet: Packet): void {
    const isOurs = [...this.ownIds.values()].some((id) => packet.destinationId.equals(id));
    if (!isOurs) return void this.packetsUnopened++; // [CON-1]
    if (packet.kind === 'retry') return this.onRetry(packet);
    const space = { initial: INITIAL, handshake: HANDSHAKE, short: APPLICATION, retry: -1, zeroRtt: -1 }[
      packet.kind
    ];
    if (space < 0) return void this.packetsUnopened++;
    const state = this.spaces[space];
    if (state.isDiscarded) return void this.packetsUnopened++; // [CON-14]
    if (space !== APPLICATION && this.isServerIdKnown && !packet.sourceId.equals(this.destinationId))
      return void this.packetsUnopened++; // [CON-1]
    // [HS-20] The keys follow from the id in its header, until one opens.
    if (space === INITIAL && !this.isServerIdKnown)
      state.opening = Keys.of(label(this.initial, 'server in', packet.sourceId, 32));
    if (state.opening === null) {
      this.waiting.push(packet); // [PKT-17]
      return;
    }
    const generations = packet.kind === 'short' ? this.generations : null;
    const opened = openPacket(packet, state.opening, state.largest, generations?.keysOf.bind(generations));
    if (opened === null) return void this.packetsUnopened++;
    if (state.received.has(opened.number)) return; // [PKT-9]
    state.received.add(opened.number);
    generations?.onOpened((opened.firstByte >> 2) & 1, opened.number);
    state.largest = Math.max(state.largest, opened.number);
    if (space !== APPLICATION && !this.isServerIdKnown) {
      this.isServerIdKnown = true;
      this.destinationId = packet.sourceId;
    }
    try {
      const reserved = packet.kind === 'short' ? (this.repairs === null ? 0x18 : 0x08) : 0x04; // [PKT-16] [FEC-40]
      if ((opened.firstByte & reserved) !== 0) throw new Malformed('reserved bits are set');
      const frames = decodeFrames(opened.payload);
      if (frames.length === 0) throw new Malformed('a packet without frames');
      if (space === APPLICATION) {
        this.packetNumber = opened.number;
        this.recovered.delete(opened.number); // it came after all
        if ((opened.firstByte & 0x10) !== 0) this.repairs?.keep(opened.number, opened.payload);
      }
      for (const frame of frames) this.receiveFrame(space, frame);
      // [FRM-3]
      if (frames.some(({ type }) => type !== 0 && !(type >= 0x02 && type <= 0x05) && type !== 0x1c))
        state.owesAck = true;
    } catch (error) {
      if (!(error instanceof Malformed)) throw error;
      this.fault = error.message;
    }
  }

  /** [INV-5] [INV-7] Anybody can make one: it counts when nothing else comes for a second. */
  private onVersionPacket(fields: Fields): void {
    const [destinationId, sourceId] = [fields.take(fields.u8()), fields.take(fields.u8())];
    const versions: number[] = [];
    while (fields.left > 0) versions.push(fields.u32());
    const isOurs = destinationId.equals(this.sourceId) && sourceId.equals(this.destinationId);
    const isTooLate = this.isServerIdKnown || this.retryId.length > 0;
    if (!isOurs || isTooLate || versions.length === 0 || versions.includes(VERSION)) return;
    this.isDenied = true;
  }

  /** [HS-30] [PKT-21] One, and none once a packet of the server opened. */
  private onRetry({ bytes, sourceId, numberAt }: Packet): void {
    const tag = bytes.subarray(bytes.length - 16);
    const untagged = bytes.subarray(0, bytes.length - 16);
    const expected = hmac(label(this.initial, 'retry', sourceId, 32), untagged).subarray(0, 16);
    const isTooLate = this.isServerIdKnown || this.retryId.length > 0;
    if (isTooLate || sourceId.length < 8 || !tag.equals(expected)) return void this.packetsUnopened++;
    this.retryId = Buffer.from(sourceId);
    this.token = Buffer.from(untagged.subarray(numberAt));
    this.destinationId = this.retryId;
    this.initial = initialSecret(this.retryId, this.pin);
    this.spaces[INITIAL].sealing = Keys.of(label(this.initial, 'client in', NOTHING, 32));
    this.spaces[INITIAL].sent.clear();
    for (const frame of this.queue) frame.sentAt = Number.NEGATIVE_INFINITY;
  }

  private receiveFrame(space: number, frame: Frame): void {
    const { type } = frame;
    if (space === APPLICATION) this.heard.set(type, (this.heard.get(type) ?? 0) + 1);
    if (space !== APPLICATION && type > 0x06 && type !== 0x1c)
      throw new Malformed('a frame in the wrong packet'); // [FRM-4]
    if (type >= 0x20 && type <= 0x2f) return this.onMessage(frame);
    if (type >= 0x30 && type <= 0x33) {
      let sequence = frame.first as number;
      for (const data of frame.messages as readonly Buffer[])
        this.onMessage({
          ...frame,
          type: (type & 0x2) === 0 ? 0x20 : 0x28,
          sequence: sequence++,
          offset: 0,
          total: data.length,
          data,
        });
      return;
    }
    switch (type) {
      case 0x02:
      case 0x03:
      case 0x04:
      case 0x05:
        return this.onAck(space, frame.ranges as readonly number[]);
      case 0x06:
        return this.onCrypto(space, frame);
      case 0x07:
        if (!this.isConfirmed) this.issueId();
        this.isConfirmed = true;
        this.discard(INITIAL);
        this.discard(HANDSHAKE); // [CON-14]
        return;
      case 0x09:
        return this.onTicket(frame.nonce as Buffer, frame.data as Buffer);
      case 0x0a: {
        const id = frame.stream as number;
        if (!this.streams.has(id)) this.addStream(id, null);
        return;
      }
      case 0x0b: {
        const stream = this.streamOf(frame);
        stream.endAt = frame.end as number;
        return this.deliver(stream);
      }
      case 0x10:
        this.limit = Math.max(this.limit, frame.limit as number);
        return this.sendAdmitted();
      case 0x11: {
        const stream = this.streamOf(frame);
        stream.limit = Math.max(stream.limit, frame.limit as number);
        return this.sendAdmitted();
      }
      case 0x12:
        this.streamsMax = Math.max(this.streamsMax, frame.limit as number);
        return;
      // [STR-9] What the server needs for the message that waits, it gets.
      case 0x13:
        return this.allow(frame.limit as number);
      case 0x14:
        return this.allowStream(this.streamOf(frame), frame.limit as number);
      case 0x16:
        return this.onRepair(frame);
      case 0x1a:
        return this.onNewId(frame);
      case 0x1b:
        this.ownIds.delete(frame.sequence as number);
        return this.issueId(); // [CON-82]
      case 0x18:
        if (this.isElsewhere && this.trial !== null)
          return void this.trial.answers.push(frame.data as Buffer);
        this.queue.push(this.reliable(APPLICATION, Buffer.concat([u8(0x19), frame.data as Buffer]))); // [FRM-20]
        return;
      case 0x19:
        this.pathResponses.push(frame.data as Buffer);
        if (this.trial?.challenge.equals(frame.data as Buffer)) this.move(this.trial);
        return;
      case 0x1e:
        return this.onAdmitted(frame);
      case 0x1c:
        if (space === INITIAL && frame.scope === 0 && frame.code === TICKET_REFUSED && this.kem.kem === 2)
          return this.beginAgain();
        this.closed = {
          scope: frame.scope as number,
          code: frame.code as number,
          reason: String(frame.data),
        };
    }
  }

  private onAck(space: number, ranges: readonly number[]): void {
    const { nextNumber, sent } = this.spaces[space];
    if (ranges[1] >= nextNumber) throw new Malformed('a packet that was never sent'); // [FRM-9]
    for (const [number, frames] of sent) {
      if (!ranges.some((lowest, i) => i % 2 === 0 && number >= lowest && number <= ranges[i + 1])) continue;
      for (const frame of frames) frame.isAcknowledged = true;
      sent.delete(number);
    }
    // A Handshake packet that is acknowledged tells no more than HANDSHAKE_DONE, which follows.
    for (let i = this.queue.length - 1; i >= 0; i--)
      if (this.queue[i].isAcknowledged) this.queue.splice(i, 1);
  }

  /** [FEC-44] What was recovered is taken as if it had come, but is not received. */
  private onRepair(frame: Frame): void {
    if (this.repairs === null) throw new Malformed('a REPAIR that nobody asked for'); // [FEC-40]
    for (const { number, frames } of this.repairs.take(frame, this.packetNumber)) {
      if (this.spaces[APPLICATION].received.has(number)) continue;
      this.recovered.add(number);
      this.packetsRecovered++;
      for (const each of frames) this.receiveFrame(APPLICATION, each);
    }
  }

  // ---- ids and paths ----

  /** [CON-80] */
  private issueId(): void {
    const sequence = this.issuedIds++;
    const id = random(this.sourceId.length);
    this.ownIds.set(sequence, id);
    const fields = [u8(0x1a), varint(sequence), varint(0), u8(id.length), id, random(16)];
    this.sendFrames(Buffer.concat(fields));
  }

  /** [CON-81] */
  private onNewId({ sequence, retirePriorTo, id }: Frame): void {
    const known = this.serverIds.get(sequence as number);
    if (known !== undefined && !known.equals(id as Buffer))
      throw new Malformed('another id of the same number');
    this.serverIds.set(sequence as number, id as Buffer);
    for (const each of [...this.serverIds.keys()]) if (each < (retirePriorTo as number)) this.retireId(each);
  }

  /** [CON-82] */
  private retireId(sequence: number): void {
    this.serverIds.delete(sequence);
    this.sendFrames(numbersFrame(0x1b, sequence));
  }

  /** The path is proved: all goes there, under the id that was tried on it, and a HEARTBEAT first, which the server follows. [CON-83] [CON-89] */
  private move({ id, sequence }: Trial): void {
    this.trial = null;
    this.hasMoved = true;
    this.destinationId = id;
    const before = this.destinationSequence;
    this.destinationSequence = sequence;
    this.queue.unshift(this.reliable(APPLICATION, numbersFrame(0x17, 0, 0)));
    this.retireId(before);
    for (const frame of this.queue) if (frame.space === APPLICATION) frame.sentAt = Number.NEGATIVE_INFINITY;
  }

  // ---- the handshake ----

  /** [HS-58] Everything anew but its source id and its packet numbers; what was early counts as never sent. */
  private beginAgain(): void {
    this.hasBegunAgain = true;
    this.resumption = null;
    this.kem = new KemKeys(1);
    this.firstId = random(8);
    this.destinationId = this.firstId;
    this.isServerIdKnown = false;
    this.retryId = NOTHING;
    this.token = NOTHING;
    this.initial = initialSecret(this.firstId, this.pin);
    const initial = new Space();
    initial.nextNumber = this.spaces[INITIAL].nextNumber;
    initial.sealing = Keys.of(label(this.initial, 'client in', NOTHING, 32));
    this.spaces[INITIAL] = initial;
    this.spaces[APPLICATION].sealing = null;
    for (let i = this.queue.length - 1; i >= 0; i--)
      if (this.queue[i].space === INITIAL) this.queue.splice(i, 1);
    this.hello = this.encodeHello();
    this.queueString(INITIAL, this.hello);
  }

  /** [FRM-18] [HS-44] */
  private onAdmitted(frame: Frame): void {
    const { offset, total, data } = frame as unknown as { offset: number; total: number; data: Buffer };
    if (!this.isDecided) throw new Malformed('ADMITTED of a server that does not decide');
    this.admission ??= new Assembly(total);
    if (this.admission.bytes.length !== total) throw new Malformed('ADMITTED with another total');
    if (!this.admission.add(offset, data) || this.admitted !== undefined) return;
    const { bytes } = this.admission;
    if (bytes[0] > 1 || (bytes[0] === 0 && bytes.length > 1))
      throw new Malformed('ADMITTED that says neither');
    this.admitted = bytes[0] === 0 ? null : bytes.subarray(1);
    this.sendAdmitted();
  }

  private onCrypto(space: number, frame: Frame): void {
    const state = this.spaces[space];
    const { offset, total, data } = frame as unknown as { offset: number; total: number; data: Buffer };
    if (space === APPLICATION) throw new Malformed('CRYPTO in a 1-RTT packet');
    if (state.isStringTaken) return; // [FRM-11]
    state.crypto ??= new Assembly(total);
    if (!state.crypto.add(offset, data)) return;
    state.isStringTaken = true;
    const string = state.crypto.bytes;
    if (space === INITIAL) this.onServerHello(string);
    else this.onServerFlight(string);
    const { waiting } = this;
    this.waiting = [];
    for (const packet of waiting) this.receivePacket(packet);
  }

  private encodeHello(): Buffer {
    const parameters = parametersOf([
      [0x01, varint(30_000)],
      [0x03, varint(this.announced)],
      [0x04, varint(this.windowBytes)],
      [0x05, varint(16)],
      [0x09, this.sourceId],
      [0x12, NOTHING],
      ...(this.repairs === null ? [] : [[0x10, varint(65_536)] as const]),
      ...(this.dictionaries === null ? [] : [[0x11, inflatesParameter(this.dictionaries)] as const]),
      [0x1f + 0x20 * 3, random(3)], // [FRM-14]
    ]);
    const costs = Buffer.concat([
      u8(this.suites.length),
      ...this.suites.flatMap((suite, i) => [u8(suite), u16(9_000 - 1_000 * i)]),
    ]);
    const body = Buffer.concat([
      random(32),
      u8(2),
      u32(0x5a6a7a8a),
      u32(VERSION),
      u8(1 + this.suites.length),
      u8(0x3a),
      ...this.suites.map(u8),
      u8(2),
      u8(0x9a),
      vector(random(5)),
      u8(this.kem.kem),
      vector(this.kem.share),
      u16(this.mtu),
      vector(parameters),
      u16(0x4a4a), // [HS-5]
      vector(random(4)),
      ...(this.suites.length > 1 ? [u16(0x0006), vector(costs)] : []), // [HS-61]
      ...this.ticketExtensions(),
    ]);
    const hello = Buffer.concat([u8(0x01), vector(body)]);
    return this.resumption === null ? hello : this.bound(hello, this.resumption.ticket.key);
  }

  /** [HS-33] [HS-34] The binder is the last one, and not filled in yet. */
  private ticketExtensions(): Buffer[] {
    if (this.resumption === null) return [];
    const { ticket, ageMs, isEarly } = this.resumption;
    // [HS-52]
    const mask = label(ticket.key, 'ticket age', NOTHING, 4).readUInt32BE(0);
    const age = u32((Math.floor(ageMs) + mask) % 2 ** 32);
    const early = isEarly ? [u16(0x0003), vector(NOTHING)] : [];
    const shown = vector(Buffer.concat([age, ticket.ticket]));
    return [u16(0x0001), shown, ...early, u16(0x0002), vector(Buffer.alloc(32))];
  }

  /** [HS-33] */
  private bound(hello: Buffer, key: Buffer): Buffer {
    const unbound = hello.subarray(0, hello.length - 32);
    return Buffer.concat([unbound, binderOf(key, sha256(this.prologue(NOTHING), unbound))]);
  }

  /** [HS-8] */
  private prologue(retryId: Buffer): Buffer {
    const isPinned = u8(this.pin === null ? 0 : 1);
    return Buffer.concat([Buffer.from('jsp1 handshake'), isPinned, idField(this.firstId), idField(retryId)]);
  }

  /** 0-RTT packets, under the limits of the connection that the ticket is from. [HS-34] [HS-57] */
  private beginEarly({ key, suite, parameters }: SecondTicket): void {
    const hash = sha256(this.prologue(NOTHING), this.hello);
    this.spaces[APPLICATION].sealing = Keys.of(earlyTraffic(key, hash), suite);
    const windows = [0x03, 0x04].map((id) => {
      const value = Math.min(numberIn(parameters, id), numberIn(parameters, 0x14));
      return [id, varint(value)] as const;
    });
    this.parameters = new Map([...parameters, ...windows]);
    this.limit = this.parameter(0x03);
    this.streamsMax = this.parameter(0x05);
  }

  /** [HS-32] */
  private onTicket(nonce: Buffer, ticket: Buffer): void {
    if (this.resumptionSecret === null) throw new Malformed('a ticket before the handshake is complete');
    const key = ticketKey(this.resumptionSecret, nonce);
    this.tickets.push({ ticket, key, suite: this.suite, parameters: this.parameters });
  }

  private onServerHello(string: Buffer): void {
    const [body] = messagesIn(string, [0x02]);
    const fields = new Fields(body.subarray(32));
    const [version, suite, kem] = [fields.u32(), fields.u8(), fields.u8()];
    if (version !== VERSION || !this.suites.includes(suite as Suite) || kem !== this.kem.kem)
      throw new Malformed('what was not offered'); // [HS-6]
    const secret = this.kem.secret(fields.take(fields.u16()));
    this.isResumed = extensionsIn(fields).has(0x0001);
    if (this.isResumed ? this.resumption === null : kem !== 1) throw new Malformed('what was not offered');
    this.transcript = Buffer.concat([this.prologue(this.retryId), this.hello, string]);
    const early = earlySecret(this.isResumed ? (this.resumption?.ticket.key ?? null) : null);
    this.secrets = handshakeSecrets(early, secret, sha256(this.transcript));
    this.suite = suite as Suite;
    this.spaces[HANDSHAKE].sealing = Keys.of(this.secrets.clientHandshake, this.suite);
    this.spaces[HANDSHAKE].opening = Keys.of(this.secrets.serverHandshake, this.suite);
  }

  private onServerFlight(string: Buffer): void {
    const { secrets } = this;
    if (secrets === null) throw new Malformed('a flight without a hello');
    // [HS-33] Who is resumed proves its identity by the ticket's key.
    const bodies = messagesIn(string, this.isResumed ? [0x03, 0x06] : [0x03, 0x04, 0x05, 0x06]);
    const wholes = wholesIn(string);
    this.takeParameters(new Fields(bodies[0]));
    let transcript = Buffer.concat([this.transcript, wholes[0]]);
    if (!this.isResumed) {
      const [, identity, signature] = bodies;
      if (this.pin !== null && !sha256(identity).equals(this.pin)) throw new Malformed('another identity'); // [HS-10]
      transcript = Buffer.concat([transcript, wholes[1]]);
      if (!verifiesServer(identity, signature, sha256(transcript)))
        throw new Malformed('a signature of somebody else');
      transcript = Buffer.concat([transcript, wholes[2]]);
    }
    const finished = bodies[bodies.length - 1];
    if (!finishedOf(secrets.serverHandshake, sha256(transcript)).equals(finished))
      throw new Malformed('FINISHED is wrong');
    transcript = Buffer.concat([transcript, wholes[wholes.length - 1]]);
    const hash = sha256(transcript);
    const [client, server] = ['c ap traffic', 's ap traffic'].map((name) =>
      label(secrets.master, name, hash, 32),
    );
    this.generations = new Generations(server, client, this.suite);
    this.spaces[APPLICATION].sealing = this.generations.sealing;
    this.spaces[APPLICATION].opening = this.generations.opening;
    this.exporter = label(secrets.master, 'exp master', hash, 32);
    const own = this.ownFlight(transcript, secrets);
    this.resumptionSecret = label(secrets.master, 'res master', sha256(transcript, own), 32);
    this.queueString(HANDSHAKE, own);
    this.isComplete = true;
  }

  /** [HS-1] [IDENTITY, SIGNATURE,] [PAYLOAD,] FINISHED. @param transcript - up to the server's FINISHED */
  private ownFlight(transcript: Buffer, { clientHandshake }: Secrets): Buffer {
    let flight = NOTHING;
    const add = (type: number, body: Buffer): void => {
      flight = Buffer.concat([flight, u8(type), vector(body)]);
    };
    if (this.isAskedWho && this.identity !== null) {
      add(0x04, this.identity.key);
      add(0x05, this.identity.sign(sha256(transcript, flight))); // [HS-27]
    }
    if (this.isDecided && this.payload.length > 0) add(0x07, this.payload); // [HS-43]
    add(0x06, finishedOf(clientHandshake, sha256(transcript, flight))); // [HS-24]
    return flight;
  }

  private takeParameters(message: Fields): void {
    const list = new Fields(message.take(message.u16()));
    const parameters = new Map<number, Buffer>();
    while (list.left > 0) {
      const id = list.varint();
      if (parameters.has(id)) throw new Malformed('a parameter twice'); // [FRM-13]
      parameters.set(id, list.take(list.varint()));
    }
    this.parameters = parameters;
    const extensions = extensionsIn(message);
    this.isEarlyTaken = extensions.has(0x0003);
    this.isAskedWho = extensions.has(0x0004);
    this.isDecided = extensions.has(0x0005);
    if (this.isEarlyTaken && !(this.isResumed && this.resumption?.isEarly))
      throw new Malformed('what was not offered');
    // [HS-58] What was refused counts as never sent.
    // [FRM-15]
    const isRight =
      parameters.get(0x00)?.equals(this.firstId) &&
      parameters.get(0x09)?.equals(this.destinationId) &&
      (parameters.get(0x0a) ?? NOTHING).equals(this.retryId);
    if (!isRight) throw new Malformed('ids that are not those of the handshake');
    this.limit = this.parameter(0x03);
    this.streamsMax = this.parameter(0x05);
    for (const stream of this.streams.values()) stream.limit = this.parameter(0x04);
    if (!this.isEarlyTaken) this.recall();
    this.sendAdmitted();
  }

  /** [HS-58] What was early and refused counts as never sent; what is too large now is told of, and not sent at all. [STR-46] */
  private recall(): void {
    this.spaces[APPLICATION].sent.clear();
    for (let i = this.queue.length - 1; i >= 0; i--)
      if (this.queue[i].space === APPLICATION) this.queue.splice(i, 1);
    this.charged = 0;
    for (const [stream, bytes] of this.openings) {
      stream.nextSequence = 0;
      stream.charged = 0;
      stream.opening = this.reliable(APPLICATION, bytes);
      this.queue.push(stream.opening);
    }
    const messages = [...this.early, ...this.unsent.splice(0)];
    for (const each of messages) {
      if (each.message.length > this.messageBytesMax) this.tooLarge.push(each.message);
      else this.unsent.push(each);
    }
    for (const stream of this.earlyEnds) this.ends.add(stream);
  }

  /** The largest message that the server takes. */
  get messageBytesMax(): number {
    return this.parameters.has(0x06) ? this.parameter(0x06) : 1_048_576;
  }

  private parameter(id: number): number {
    return numberIn(this.parameters, id);
  }

  // ---- streams ----

  private addStream(id: number, opening: Reliable | null): SecondStream {
    const stream = new SecondStream(id, opening, this.parameter(0x04), this.windowBytes);
    this.streams.set(id, stream);
    if (opening !== null) this.queue.push(opening);
    return stream;
  }

  private streamOf({ stream }: Frame): SecondStream {
    const found = this.streams.get(stream as number);
    if (found === undefined) throw new Malformed('a frame of a stream that was never opened');
    return found;
  }

  /** Messages go as soon as their whole charge is within both limits [STR-10], of which the last eighth is for others. [STR-34] */
  private sendAdmitted(): void {
    if (this.isDecided && this.admitted === undefined) return; // [HS-44] nothing of it is looked at before
    const reserve = Math.min(65_536, Math.floor(this.parameter(0x03) / 8));
    for (let next = this.unsent[0]; next !== undefined; next = this.unsent[0]) {
      const { stream, message } = next;
      const charge = message.length + 128; // [STR-8]
      const waitsForStream = stream.charged + charge > stream.limit;
      if (waitsForStream || this.charged + charge > this.limit - reserve) {
        // [STR-10] Once a limit would do; a frame more does no harm.
        const frame = waitsForStream
          ? numbersFrame(0x14, stream.id, stream.charged + charge)
          : numbersFrame(0x13, this.charged + charge + reserve);
        if (!this.queue.some(({ bytes }) => bytes.equals(frame))) this.sendFrames(frame, stream);
        return;
      }
      this.unsent.shift();
      stream.charged += charge;
      this.charged += charge;
      if (!this.isComplete) this.early.push(next);
      this.putMessage(stream, message);
    }
    for (const stream of this.ends) if (!this.isComplete) this.earlyEnds.push(stream);
    for (const stream of this.ends)
      this.sendFrames(numbersFrame(0x0b, stream.id, stream.nextSequence), stream); // [STR-6]
    this.ends.clear();
  }

  private putMessage(stream: SecondStream, plain: Buffer): void {
    const sequence = stream.nextSequence++;
    const room = this.mtu - 120;
    const message = this.isEnveloping(plain) ? deflatedEnvelope(plain) : plain;
    const isEnveloped = message !== plain && message.length <= room;
    if (isEnveloped) return this.sendFrames(messageFrame(stream.id, sequence, message, true), stream);
    if (plain.length <= room) return this.sendFrames(messageFrame(stream.id, sequence, plain), stream);
    this.putFragments(stream, sequence, plain, room);
  }

  /** [CMP-3] The server opens DEFLATE data, of which a message is no longer than this. */
  private isEnveloping(message: Buffer): boolean {
    const inflates = this.parameters.get(0x11);
    if (this.dictionaries === null || inflates === undefined || message.length > 65_536) return false;
    return (new Fields(inflates).varint() & 3) === 3;
  }

  private putFragments(stream: SecondStream, sequence: number, message: Buffer, room: number): void {
    for (let offset = 0; offset < message.length; offset += room)
      this.sendFrames(
        fragmentFrame(stream.id, sequence, message, offset, Math.min(room, message.length - offset)),
        stream,
      );
  }

  private onMessage(frame: Frame): void {
    const isEnveloped = (frame.type & 0x8) !== 0;
    if (isEnveloped && this.dictionaries === null) throw new Malformed('an envelope that nobody asked for'); // [CMP-6]
    const stream = this.streamOf(frame);
    const { sequence, offset, total, data } = frame as unknown as Record<
      'sequence' | 'offset' | 'total',
      number
    > & { data: Buffer };
    if (stream.whole.has(sequence) || sequence < stream.messages.length) return; // [STR-7]
    const partial = stream.partial.get(sequence) ?? new Assembly(total);
    stream.partial.set(sequence, partial);
    if (!partial.add(offset, data)) return;
    stream.partial.delete(sequence);
    stream.whole.set(sequence, { bytes: partial.bytes, isEnveloped });
    this.deliver(stream);
  }

  private opened(envelope: Buffer): Buffer {
    this.envelopesOpened++;
    return openEnvelope(envelope, this.dictionaries ?? [], 1_048_576); // what max_message_bytes is when it is not said
  }

  /** In order; what is read makes room for more. */
  private deliver(stream: SecondStream): void {
    for (let next = stream.whole.get(stream.messages.length); next !== undefined; ) {
      stream.whole.delete(stream.messages.length);
      stream.messages.push(next.isEnveloped ? this.opened(next.bytes) : next.bytes);
      const charge = next.bytes.length + 128; // [STR-9] [CMP-2] as it came
      stream.freed += charge;
      this.freed += charge;
      next = stream.whole.get(stream.messages.length);
    }
    // [STR-11] A new limit when it has grown by a quarter of the window.
    if (stream.endAt === stream.messages.length) stream.isEnded = true;
    else if (stream.freed + this.windowBytes >= stream.announced + this.windowBytes / 4)
      this.allowStream(stream, stream.freed + this.windowBytes);
    if (this.freed + 4 * this.windowBytes >= this.announced + this.windowBytes)
      this.allow(this.freed + 4 * this.windowBytes);
  }

  private allow(limit: number): void {
    if (limit <= this.announced) return;
    this.announced = limit;
    this.sendFrames(numbersFrame(0x10, limit));
  }

  private allowStream(stream: SecondStream, limit: number): void {
    if (limit <= stream.announced) return;
    stream.announced = limit;
    this.sendFrames(numbersFrame(0x11, stream.id, limit), stream);
  }

  // ---- the way out ----

  private reliable(space: number, bytes: Buffer, opening: Reliable | null = null): Reliable {
    return { bytes, space, opening, isAcknowledged: false, sentAt: Number.NEGATIVE_INFINITY };
  }

  /** Cuts a string into CRYPTO frames that fit. */
  private queueString(space: number, string: Buffer): void {
    const room = this.mtu - 100 - (space === INITIAL ? TOKEN_ROOM : 0);
    for (let offset = 0; offset < string.length; offset += room)
      this.queue.push(this.reliable(space, cryptoFrame(string, offset, room)));
  }

  private discard(space: number): void {
    this.spaces[space].isDiscarded = true;
    this.spaces[space].sent.clear();
    for (let i = this.queue.length - 1; i >= 0; i--)
      if (this.queue[i].space === space) this.queue.splice(i, 1);
  }

  private packDatagram(now: number): Buffer | null {
    const order = this.isComplete ? [HANDSHAKE, INITIAL, APPLICATION] : [INITIAL, HANDSHAKE, APPLICATION];
    for (const space of order) {
      const state = this.spaces[space];
      if (state.isDiscarded || state.sealing === null) continue;
      const packed = this.packPacket(space, state.sealing, now);
      if (packed === null) continue;
      // [CON-14] A client's first Handshake packet ends its Initial ones.
      if (space === HANDSHAKE) this.discard(INITIAL);
      return packed;
    }
    return null;
  }

  private packPacket(space: number, keys: Keys, now: number): Buffer | null {
    const state = this.spaces[space];
    const parts: Buffer[] = [];
    const carried: Reliable[] = [];
    let room = this.mtu - 80 - (space === INITIAL ? this.token.length : 0);
    if (this.isClosing && space === APPLICATION) {
      this.isClosing = false;
      parts.push(closeFrame(1, this.closed?.code ?? 0));
    } else if (this.closed !== null) return null;
    if (state.owesAck) {
      const told = space === APPLICATION ? [...this.recovered].slice(-RECOVERED_TOLD) : [];
      const ack = ackFrame(state.received, told); // [FEC-46]
      room -= ack.length;
      parts.push(ack);
      state.owesAck = false;
    }
    for (const frame of this.queue) {
      if (frame.space !== space || this.closed !== null || now - frame.sentAt < RESEND_AFTER) continue;
      if (frame.opening?.isAcknowledged === false || frame.bytes.length > room) continue;
      room -= frame.bytes.length;
      frame.sentAt = now;
      parts.push(frame.bytes);
      carried.push(frame);
    }
    if (parts.length === 0) return null;
    const number = state.nextNumber++;
    if (carried.length > 0) state.sent.set(number, carried);
    const address: Addressing = {
      destinationId: this.destinationId,
      sourceId: this.sourceId,
      token: this.token,
      isUnpinned: this.pin === null,
    };
    // [PKT-19] A client's Initials fill their datagrams. [PKT-14] Others are long enough to be sampled.
    const isShort = space === APPLICATION && this.generations !== null;
    const kind = space === APPLICATION && !isShort ? 'zeroRtt' : KINDS[space];
    return sealPacket(
      kind,
      isShort ? (this.generations as Generations).sealing : keys,
      address,
      number,
      Buffer.concat([...parts, Buffer.alloc(4)]),
      {
        paddedTo: space === INITIAL ? this.mtu : 0,
        phase: isShort ? (this.generations as Generations).sealed % 2 : 0,
      },
    );
  }
}

/** [INV-5] */
function isVersionPacket(datagram: Buffer): boolean {
  return datagram.length > 5 && (datagram[0] & 0xc0) === 0xc0 && datagram.readUInt32BE(1) === 0;
}

function idField(id: Buffer): Buffer {
  return Buffer.concat([u8(id.length), id]);
}

function numberIn(parameters: ReadonlyMap<number, Buffer>, id: number): number {
  const value = parameters.get(id);
  return value === undefined ? 0 : new Fields(value).varint();
}

/** The extensions at the end of a message, by id. [HS-3] */
function extensionsIn(fields: Fields): Map<number, Buffer> {
  const extensions = new Map<number, Buffer>();
  while (fields.left > 0) {
    const id = fields.u16();
    if (extensions.has(id)) throw new Malformed('an extension twice');
    extensions.set(id, fields.take(fields.u16()));
  }
  return extensions;
}

/** Bodies of the messages of a string, which has exactly these. [HS-1] */
function messagesIn(string: Buffer, types: readonly number[]): Buffer[] {
  const fields = new Fields(string);
  const bodies = types.map((type) => {
    if (fields.u8() !== type) throw new Malformed('another message');
    return fields.take(fields.u16());
  });
  if (fields.left > 0) throw new Malformed('bytes behind the last message');
  return bodies;
}

/** The messages of a string with type and length. */
function wholesIn(string: Buffer): Buffer[] {
  const fields = new Fields(string);
  const wholes: Buffer[] = [];
  while (fields.left > 0) {
    const start = fields.at;
    fields.u8();
    fields.take(fields.u16());
    wholes.push(string.subarray(start, fields.at));
  }
  return wholes;
}

/** Codes of a CONNECTION_CLOSE. */
const TICKET_REFUSED = 0x18;
const VERSION_NEGOTIATION_ERROR = 0x16;
/** Microseconds after which what is not acknowledged goes out again. */
export const RESEND_AFTER = 400_000;
/** Left in Initials for a token, with which they go again. [PKT-21] */
const TOKEN_ROOM = 260;
/** Numbers that an ACK tells as recovered: the newest. [FEC-46] */
const RECOVERED_TOLD = 64;
/** Of a datagram with a challenge. [CON-91] */
const PROBE_BYTES = 1_200;
/** Datagrams at a time. */
const BURST = 8;
