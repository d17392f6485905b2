import type { Connection } from '../../../src/protocol/connection/connection.ts';
import { PacketType } from '../../../src/protocol/wire/packet-header.ts';
import { internalsOf } from './internals.ts';

/** Called in the middle of a connection's own code, before and after what is named; throws when it is time to. */
export type Trip = (place: string, kind: FaultKind) => void;

/** What a connection's core does, by the way on which it does it. */
export type FaultKind = 'packing' | 'sealing' | 'receiving' | 'timeout' | 'settling' | 'closing' | 'calls';

/** Puts `trip` around the inner workings of an established connection. */
export function layTrips(connection: Connection, kinds: readonly FaultKind[], trip: Trip): void {
  const { assembler, handshake, lifecycle, path, receiver, streams } = connection;
  const { keys, liveness, recovery, spaces } = internalsOf(connection);
  const { mtuDiscovery } = path;
  const { events } = streams as unknown as { events: unknown };
  const application = spaces[2];
  // What throws is the AEAD of one packet: the native addon, which has none, is left out.
  for (const each of [keys.toSeal(2), keys.toOpen(PacketType.ONE_RTT)]) if (each !== null) each.native = null;
  const places: Record<FaultKind, readonly (readonly [unknown, ...string[]])[]> = {
    packing: [
      [streams.packer, 'write', 'writeDropped'],
      [recovery, 'onSent', 'allowance', 'probesPending'],
      [connection, 'nextTimeout'],
      [assembler, 'transmit'],
      [lifecycle, 'beforeTransmit'],
      [mtuDiscovery, 'nextProbe'],
      [application?.acks, 'onAckSent'],
      [liveness, 'onSent'],
    ],
    sealing: [[keys.toSeal(2)?.aead, 'seal']],
    receiving: [
      [streams, 'onMessageFrame', 'onControlFrame', 'onReceived'],
      [recovery, 'onAck'],
      [application?.acks, 'onPacket'],
      [receiver, 'onDatagram', 'onOpened', 'onPacketOpened', 'receiveAck'],
      [handshake, 'advance'],
      [mtuDiscovery, 'onAck'],
      [keys.toOpen(PacketType.ONE_RTT)?.aead, 'open'],
    ],
    timeout: [
      [recovery, 'onTimeout'],
      [streams, 'onTimeout'],
      [connection, 'onTimeout'],
    ],
    settling: [
      [streams, 'onFrameAcked', 'onFrameLost', 'onSettled'],
      [receiver.fates, 'tell'],
      [mtuDiscovery, 'onProbeAcked', 'onProbeLost'],
    ],
    closing: [
      [lifecycle, 'beginClosing', 'drain'],
      [streams, 'onConnectionOver'],
      [receiver.undecryptable, 'take'],
    ],
    calls: [
      [streams, 'open', 'onSendTouched', 'onReceiveTouched'],
      [events, 'track'],
    ],
  };
  for (const kind of kinds)
    for (const [object, ...names] of places[kind])
      for (const name of names)
        wrap(object as Record<string, unknown>, name, () => trip(`${kind} ${name}`, kind));
}

export const FAULT_KINDS: readonly FaultKind[] = [
  'packing',
  'sealing',
  'receiving',
  'timeout',
  'settling',
  'closing',
  'calls',
];

/** Replaces a method by one that trips before and behind it. */
export function wrap(object: Record<string, unknown>, name: string, trip: () => void): void {
  const method = object[name] as (...args: unknown[]) => unknown;
  object[name] = (...args: unknown[]): unknown => {
    trip();
    const result = method.apply(object, args);
    trip();
    return result;
  };
}
