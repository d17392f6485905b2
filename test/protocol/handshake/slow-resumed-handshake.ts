import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { hex, joined, toHex } from '../crypto/bytes.ts';
import { slowSeal } from '../crypto/slow-chacha20-poly1305.ts';
import { slowExpandLabel } from '../crypto/slow-hkdf.ts';
import { slowChain, slowInitial, slowTicket } from '../crypto/slow-key-schedule.ts';
import { EXPORTED, message, u16, vector, withGrease } from './slow-handshake.ts';

/** A whole handshake with a ticket, read off spec/handshake.md, hex in and hex out; it shares no code with src/. */

export interface SlowResumedInput {
  firstDestinationId: string;
  pinned: boolean;
  largestDatagram: number;
  identitySeed: string;
  /** The ticket, and the connection that it is from. */
  ticket: {
    /** Master secret of that connection, and its transcript hash up to the client's FINISHED. */
    masterSecret: string;
    hashToClientFinished: string;
    nonce: string;
    serverKey: string;
    issuer: string;
    /** In ms since 1970. */
    issuedMs: number;
    provedMs: number;
    /** In the order in which a ticket has them. */
    limits: number[];
    /** Its age when it is shown. */
    ageMs: number;
  };
  earlyData: boolean;
  client: {
    random: string;
    x25519Secret: string;
    parameters: string;
    greasedParameter: { id: number; value: string };
    /** As in handshake.json. */
    grease: string;
  };
  server: {
    sourceId: string;
    random: string;
    x25519Secret: string;
    parameters: string;
    greasedParameter: { id: number; value: string };
  };
}

export type SlowResumedOutput = ReturnType<typeof slowResumedHandshake>;

export function slowResumedHandshake(input: SlowResumedInput) {
  const { client, earlyData, server, ticket } = input;
  const fingerprint = sha256(joined(Uint8Array.of(1), vector(ed25519.getPublicKey(hex(input.identitySeed)))));
  const clientPoint = x25519.getPublicKey(hex(client.x25519Secret));
  const serverPoint = x25519.getPublicKey(hex(server.x25519Secret));
  const kemSecret = toHex(x25519.getSharedSecret(hex(client.x25519Secret), serverPoint));
  // All but the binder and what follows from the hello is known before there is one.
  const secrets = {
    masterSecret: ticket.masterSecret,
    hashToClientFinished: ticket.hashToClientFinished,
    nonce: ticket.nonce,
    resumedKemSecret: kemSecret,
    hashToBinder: '',
    hashToClientHello: '',
  };
  const { ageMask, ticketKey } = slowTicket(secrets);
  const shown = slowSealedTicket(input, fingerprint, hex(ticketKey));
  const age = (ticket.ageMs + Number.parseInt(ageMask, 16)) % 2 ** 32;

  const label = new TextEncoder().encode('jsp1 handshake');
  const id = hex(input.firstDestinationId);
  const prologue = joined(label, Uint8Array.of(input.pinned ? 1 : 0, id.length), id, Uint8Array.of(0));
  const unbound = slowHello(input, clientPoint, joined(u32(age), shown));
  // The binder is the last of the hello.
  secrets.hashToBinder = toHex(sha256(joined(prologue, unbound.slice(0, -32))));
  const { binder } = slowTicket(secrets);
  const clientHello = joined(unbound.slice(0, -32), hex(binder));
  secrets.hashToClientHello = toHex(sha256(joined(prologue, clientHello)));

  const chosen = joined(hex('4a535031'), Uint8Array.of(1), Uint8Array.of(2), vector(serverPoint));
  const serverHello = message(2, joined(hex(server.random), chosen, extension(1, NOTHING)));
  const toServerHello = joined(prologue, clientHello, serverHello);
  const told = vector(withGrease(server.parameters, server.greasedParameter));
  const parameters = message(3, earlyData ? joined(told, extension(3, NOTHING)) : told);
  const toParameters = joined(toServerHello, parameters);
  const hashes = {
    ticketKey,
    kemSecret,
    hashToServerHello: toHex(sha256(toServerHello)),
    hashToSignature: toHex(sha256(toParameters)),
    hashToServerFinished: '',
    exported: EXPORTED,
  };
  const finished = message(6, hex(slowChain(hashes).serverFinished));
  const toServerFinished = joined(toParameters, finished);
  hashes.hashToServerFinished = toHex(sha256(toServerFinished));
  const chain = slowChain(hashes);
  const clientFlight = message(6, hex(chain.clientFinished));
  const { clientEarly, earlySecret } = slowTicket(secrets);
  return {
    fingerprint: toHex(fingerprint),
    initial: slowInitial({
      firstDestinationId: input.firstDestinationId,
      fingerprint: input.pinned ? toHex(fingerprint) : null,
      serverSourceId: server.sourceId,
    }),
    ticket: toHex(shown),
    age,
    binder,
    earlySecret,
    clientEarly,
    clientHello: toHex(clientHello),
    serverHello: toHex(serverHello),
    serverFlight: toHex(joined(parameters, finished)),
    clientFlight: toHex(clientFlight),
    /** What the next ticket's key follows from. */
    hashToClientFinished: toHex(sha256(joined(toServerFinished, clientFlight))),
    ...hashes,
    ...chain,
  };
}

/** [HS-51] */
function slowSealedTicket(
  { ticket }: SlowResumedInput,
  fingerprint: Uint8Array,
  key: Uint8Array,
): Uint8Array {
  const id = hex(ticket.nonce);
  const content = joined(
    Uint8Array.of(1, 1),
    hex(ticket.issuer),
    varint(ticket.issuedMs),
    varint(ticket.provedMs),
    key,
    ...ticket.limits.map(varint),
    Uint8Array.of(0),
  );
  const associated = joined(new TextEncoder().encode('jsp1 ticket'), fingerprint, id);
  const sealing = slowExpandLabel(hex(ticket.serverKey), 'ticket', id, 32);
  return joined(id, slowSeal(sealing, new Uint8Array(12), associated, content));
}

/** With zeros in the place of the binder. */
function slowHello(
  { client, earlyData, largestDatagram }: SlowResumedInput,
  share: Uint8Array,
  shown: Uint8Array,
): Uint8Array {
  const grease = hex(client.grease);
  const greased = (from: number, to: number) => grease.slice(from, to).map((byte) => (byte & 0xf0) + 0x0a);
  const body = joined(
    hex(client.random),
    joined(Uint8Array.of(2), greased(0, 4), hex('4a535031')),
    joined(Uint8Array.of(2), greased(4, 5), Uint8Array.of(1)),
    joined(Uint8Array.of(2), greased(5, 6), vector(grease.slice(6, 7)), Uint8Array.of(2), vector(share)),
    u16(largestDatagram),
    vector(withGrease(client.parameters, client.greasedParameter)),
    joined(greased(8, 10), vector(grease.slice(10, 10 + (grease[7] % 4)))),
    extension(1, shown),
    earlyData ? extension(3, NOTHING) : NOTHING,
    extension(2, new Uint8Array(32)),
  );
  return message(1, body);
}

function extension(id: number, value: Uint8Array): Uint8Array {
  return joined(u16(id), vector(value));
}

function u32(value: number): Uint8Array {
  return joined(u16(Math.floor(value / 65_536)), u16(value % 65_536));
}

/** RFC 9000 section 16. */
function varint(value: number): Uint8Array {
  const digits = value < 64 ? 2 : value < 16_384 ? 4 : value < 2 ** 30 ? 8 : 16;
  const bytes = hex(value.toString(16).padStart(digits, '0'));
  bytes[0] |= { 2: 0, 4: 0x40, 8: 0x80, 16: 0xc0 }[digits] as number;
  return bytes;
}

const NOTHING = new Uint8Array(0);
