import { sha256 } from '@noble/hashes/sha2.js';
import { hex, joined, toHex } from './bytes.ts';
import { slowExpandLabel, slowExtract, slowHmac } from './slow-hkdf.ts';

/** The key schedule of spec/handshake.md read off the page, hex in and hex out. */

export interface SlowKeys {
  key: string;
  iv: string;
  hp: string;
}

export interface SlowTraffic {
  secret: string;
  keys: SlowKeys;
  /** The secret after a key update. */
  nextSecret: string;
}

const NOTHING = new Uint8Array(0);
const ZEROS = new Uint8Array(32);
const SALT = sha256(new TextEncoder().encode('JetStreamProto version 1 initial salt')).slice(0, 20);

/** [HS-23] [HS-28] */
export function slowTraffic(secret: Uint8Array): SlowTraffic {
  return {
    secret: toHex(secret),
    keys: {
      key: toHex(slowExpandLabel(secret, 'key', NOTHING, 32)),
      iv: toHex(slowExpandLabel(secret, 'iv', NOTHING, 12)),
      hp: toHex(slowExpandLabel(secret, 'hp', NOTHING, 32)),
    },
    nextSecret: toHex(slowExpandLabel(secret, 'ku', NOTHING, 32)),
  };
}

export interface InitialInput {
  firstDestinationId: string;
  fingerprint: string | null;
  serverSourceId: string;
}

/** [HS-20] */
export function slowInitial(input: InitialInput): { client: SlowTraffic; server: SlowTraffic } {
  const initial = slowExtract(SALT, joined(hex(input.firstDestinationId), hex(input.fingerprint ?? '')));
  return {
    client: slowTraffic(slowExpandLabel(initial, 'client in', NOTHING, 32)),
    server: slowTraffic(slowExpandLabel(initial, 'server in', hex(input.serverSourceId), 32)),
  };
}

export interface ResetInput {
  /** As exported: algorithm, length, seed. */
  identitySecret: string;
  connectionId: string;
}

/** [PKT-22] */
export function slowReset(input: ResetInput): { resetKey: string; token: string } {
  const extracted = slowExtract(ZEROS, hex(input.identitySecret));
  const resetKey = slowExpandLabel(extracted, 'stateless reset', NOTHING, 32);
  return {
    resetKey: toHex(resetKey),
    token: toHex(slowHmac(resetKey, hex(input.connectionId)).slice(0, 16)),
  };
}

export interface ChainInput {
  /** With a ticket, its key. [HS-33] */
  ticketKey?: string;
  /** The 64 bytes of the KEM, or 32 of the one of a ticket. */
  kemSecret: string;
  /** Transcript hashes up to and including these messages. */
  hashToServerHello: string;
  hashToServerFinished: string;
  /** Up to the message before the server's FINISHED. */
  hashToSignature: string;
  /** What is exported. */
  exported: { name: string; context: string; length: number };
}

/** [HS-21] [HS-22] [HS-24] [HS-29] */
export function slowChain(input: ChainInput) {
  const early = slowExtract(ZEROS, input.ticketKey === undefined ? ZEROS : hex(input.ticketKey));
  const handshake = slowExtract(slowExpandLabel(early, 'derived', sha256(NOTHING), 32), hex(input.kemSecret));
  const master = slowExtract(slowExpandLabel(handshake, 'derived', sha256(NOTHING), 32), ZEROS);
  const toServerHello = hex(input.hashToServerHello);
  const toServerFinished = hex(input.hashToServerFinished);
  const clientHandshake = slowExpandLabel(handshake, 'c hs traffic', toServerHello, 32);
  const serverHandshake = slowExpandLabel(handshake, 's hs traffic', toServerHello, 32);
  const exporter = slowExpandLabel(master, 'exp master', toServerFinished, 32);
  return {
    exporterSecret: toHex(exporter),
    exported: toHex(slowExported(exporter, input.exported)),
    handshakeSecret: toHex(handshake),
    masterSecret: toHex(master),
    clientHandshake: slowTraffic(clientHandshake),
    serverHandshake: slowTraffic(serverHandshake),
    clientApplication: slowTraffic(slowExpandLabel(master, 'c ap traffic', toServerFinished, 32)),
    serverApplication: slowTraffic(slowExpandLabel(master, 's ap traffic', toServerFinished, 32)),
    serverFinished: toHex(slowFinished(serverHandshake, hex(input.hashToSignature))),
    clientFinished: toHex(slowFinished(clientHandshake, toServerFinished)),
  };
}

/** [HS-29] */
export function slowExported(
  exporter: Uint8Array,
  { name, context, length }: ChainInput['exported'],
): Uint8Array {
  const derived = slowExpandLabel(exporter, name, sha256(NOTHING), 32);
  return slowExpandLabel(derived, 'exporter', sha256(hex(context)), length);
}

export interface TicketInput {
  /** Of the connection that the ticket is from. */
  masterSecret: string;
  hashToClientFinished: string;
  nonce: string;
  /** Of the resumed connection: the secret of its KEM, and its hashes up to the binder's value and up to CLIENT_HELLO. */
  resumedKemSecret: string;
  hashToBinder: string;
  hashToClientHello: string;
}

/** [HS-32] [HS-33] [HS-34] [HS-52] */
export function slowTicket(input: TicketInput) {
  const resumption = slowExpandLabel(
    hex(input.masterSecret),
    'res master',
    hex(input.hashToClientFinished),
    32,
  );
  const key = slowExpandLabel(resumption, 'resumption', hex(input.nonce), 32);
  const early = slowExtract(ZEROS, key);
  const binderSecret = slowExpandLabel(early, 'res binder', sha256(NOTHING), 32);
  const derived = slowExpandLabel(early, 'derived', sha256(NOTHING), 32);
  return {
    resumptionSecret: toHex(resumption),
    ticketKey: toHex(key),
    ageMask: toHex(slowExpandLabel(key, 'ticket age', NOTHING, 4)),
    earlySecret: toHex(early),
    binder: toHex(slowFinished(binderSecret, hex(input.hashToBinder))),
    clientEarly: slowTraffic(slowExpandLabel(early, 'c e traffic', hex(input.hashToClientHello), 32)),
    handshakeSecret: toHex(slowExtract(derived, hex(input.resumedKemSecret))),
  };
}

function slowFinished(trafficSecret: Uint8Array, transcriptHash: Uint8Array): Uint8Array {
  return slowHmac(slowExpandLabel(trafficSecret, 'finished', NOTHING, 32), transcriptHash);
}
