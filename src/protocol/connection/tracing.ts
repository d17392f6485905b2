/**
 * Where a connection meets its trace: how one begins, and what of packets it is told. Where nobody looks on, the trace is null, and a packet
 * costs no more than to see that. [TRC-1]
 */

import { hexOf, NO_BYTES } from '../../base/bytes.ts';
import type { Micros } from '../../base/time.ts';
import type { KeyRing } from '../crypto/key-ring.ts';
import type { Path } from '../path/path.ts';
import { GRANULARITY, INITIAL_RTT } from '../path/rtt.ts';
import { EXTRA_FRACTION, PACKET_THRESHOLD } from '../recovery/loss-detection.ts';
import { QlogTrace } from '../trace/qlog-trace.ts';
import { SecretLog, type TracedPacket } from '../trace/trace.ts';
import { type PacketHeader, PacketType, TAG_BYTES } from '../wire/packet-header.ts';
import { type ConnectionConfig, localParameters } from './config.ts';
import type { ConnectionIds } from './connection-ids.ts';

/** The trace of a connection that begins; null when nobody looks on. From now on its secrets are told, too, where somebody asked for them. */
export function beginTrace(
  config: ConnectionConfig,
  role: 'client' | 'server',
  ids: ConnectionIds,
  keys: KeyRing,
  path: Path,
  now: Micros,
): QlogTrace | null {
  const { keyLog, tracing } = config;
  if (keyLog !== null) keys.logSecrets(new SecretLog(keyLog, ids.originalDestinationId));
  if (tracing === null) return null;
  const sink = tracing.open(role, hexOf(ids.originalDestinationId));
  if (sink === null) return null;
  const trace = new QlogTrace(sink, now);
  const local = { host: tracing.localHost, port: tracing.localPort };
  trace.started(local, path, ids.sourceId, ids.destinationId);
  const original = role === 'server' ? ids.originalDestinationId : null;
  trace.parameters('local', localParameters(config, ids.sourceId, original), now);
  trace.keys('updated', 'initial', now);
  trace.recoveryParameters({
    packetThreshold: PACKET_THRESHOLD,
    timeThreshold: 1 + EXTRA_FRACTION,
    granularity: GRANULARITY,
    initialRtt: INITIAL_RTT,
    mtu: path.mtu,
    window: path.congestion.window,
  });
  trace.metrics(path, 0, now);
  return trace;
}

/** Where an opened packet lies. */
interface OpenedRange {
  readonly number: number;
  readonly packetStart: number;
  readonly payloadStart: number;
  readonly payloadEnd: number;
}

/**
 * A packet that opened, as its trace is told of it.
 * @param header - of a long packet
 */
export function openedPacket(
  type: number,
  data: Uint8Array,
  opened: OpenedRange,
  header: PacketHeader,
  datagram: number,
): TracedPacket {
  const isLong = type !== PacketType.ONE_RTT;
  const { number, packetStart, payloadEnd, payloadStart } = opened;
  const { dcidLength, dcidStart, scidLength, scidStart } = header;
  return {
    type,
    number,
    buffer: data,
    payloadStart,
    payloadEnd,
    bytes: payloadEnd + TAG_BYTES - packetStart,
    destinationId: isLong ? data.subarray(dcidStart, dcidStart + dcidLength) : NO_BYTES,
    sourceId: isLong ? data.subarray(scidStart, scidStart + scidLength) : NO_BYTES,
    datagram,
  };
}
