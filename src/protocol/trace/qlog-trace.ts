/**
 * What happens on one connection as qlog tells it: JSON text sequences (RFC 7464) of qlog 0.3 with the events of
 * draft-ietf-quic-qlog-quic-events-03, the newest that viewers in use read, and our own under the name `jetstream` (spec/qlog/). [TRC-2]
 */

import { hexOf } from '../../base/bytes.ts';
import { MILLISECOND, type Micros } from '../../base/time.ts';
import { FrameReader } from '../wire/frame-reader.ts';
import { frameJson, nextFrame } from '../wire/frames/index.ts';
import { type PacketSpace, PacketType, TAG_BYTES, VERSION } from '../wire/packet-header.ts';
import { applicationCodeJson, transportErrorName, UINT32_MAX } from '../wire/qlog-values.ts';
import type { TransportParameters } from '../wire/transport-parameters.ts';
import type { DropTrigger, RecoveryFigures, TracedEnd, TracedPacket, TraceSink } from './trace.ts';

/** What the first record of a log says. */
export interface QlogHeader {
  readonly role: 'client' | 'server';
  readonly groupId: string;
  /** When the connection began, in ms since 1970: all times of the log count from it. */
  readonly referenceTimeMs: number;
  readonly title: string;
}

/** The first record of a log. */
export function qlogHeader({ role, groupId, referenceTimeMs, title }: QlogHeader): string {
  const header = {
    qlog_version: '0.3',
    qlog_format: 'JSON-SEQ',
    title,
    trace: {
      vantage_point: { name: 'jetstream-proto', type: role },
      common_fields: {
        time_format: 'relative',
        reference_time: referenceTimeMs,
        protocol_type: ['QUIC', 'JetStreamProto'],
        group_id: groupId,
      },
    },
  };
  return `\x1e${JSON.stringify(header)}\n`;
}

/** What recovery begins with. */
export interface RecoveryParameters {
  /** A packet is lost so many packets behind an acknowledged one, or so many round trips before one. */
  readonly packetThreshold: number;
  readonly timeThreshold: number;
  readonly granularity: Micros;
  readonly initialRtt: Micros;
  readonly mtu: number;
  /** In bytes. */
  readonly window: number;
}

/** Tells the records of one connection to its sink. */
export class QlogTrace {
  private readonly sink: TraceSink;
  private readonly startedAt: Micros;
  private readonly reader = new FrameReader();
  /** Of the newest record: none says less. */
  private latest: Micros;
  /** Records that the sink had no room for since the last one that it took. */
  private untold = 0;
  private isEnded = false;
  /** The figures that were told, by their names. */
  private readonly told = new Map<string, number>();
  private congestionState = '';
  private connectionState = '';

  constructor(sink: TraceSink, now: Micros) {
    this.sink = sink;
    this.startedAt = now;
    this.latest = now;
  }

  // ---- the connection ----

  /** The connection begins: all times count from here. [TRC-3] */
  started(local: Address, remote: Address, sourceId: Uint8Array, destinationId: Uint8Array): void {
    const version = ipVersion(remote.host);
    const ids = `"src_cid":"${hexOf(sourceId)}","dst_cid":"${hexOf(destinationId)}"`;
    const from = `"src_ip":${JSON.stringify(local.host)},"src_port":${local.port}`;
    const to = `"dst_ip":${JSON.stringify(remote.host)},"dst_port":${remote.port}`;
    const now = this.startedAt;
    this.emit(
      'connectivity:connection_started',
      `{${version}${from},${to},"protocol":"JetStreamProto",${ids}}`,
      now,
    );
    this.emit('transport:version_information', `{"chosen_version":"${VERSION_HEX}"}`, now);
    this.state('attempted', now);
  }

  /** A client's handshake begins again: its first packets have another destination now, by which its server knows the connection. [TRC-3] */
  beganAgain(before: Uint8Array, destinationId: Uint8Array, now: Micros): void {
    const ids = `"old":"${hexOf(before)}","new":"${hexOf(destinationId)}"`;
    this.emit('connectivity:connection_id_updated', `{"owner":"remote",${ids}}`, now);
  }

  /** The handshake, or the end, came to this state. */
  state(name: ConnectionStateName, now: Micros): void {
    const old = this.connectionState === '' ? '' : `"old":"${this.connectionState}",`;
    this.connectionState = name;
    this.emit('connectivity:connection_state_updated', `{${old}"new":"${name}"}`, now);
  }

  closed(end: TracedEnd, now: Micros): void {
    const { by, code, reason, scope } = end;
    const owner = by === 'local' || by === 'timeout' ? 'local' : 'remote';
    const name = transportErrorName(code);
    const codeJson =
      scope === 'application'
        ? `"application_code":${applicationCodeJson(code)}`
        : `"connection_code":${name === null ? Math.min(code, UINT32_MAX) : `"${name}"`}`;
    const text = reason === '' ? '' : `,"reason":${JSON.stringify(reason)}`;
    const data = `{"owner":"${owner}",${codeJson}${text},"trigger":"${closeTrigger(end)}"}`;
    this.emit('connectivity:connection_closed', data, now);
    this.state(owner === 'local' ? 'closing' : 'draining', now);
  }

  /** The connection is forgotten: no record follows. */
  end(now: Micros): void {
    if (this.isEnded) return;
    this.state('closed', now);
    this.isEnded = true;
  }

  /** @param suite - that of the packets so far, whoever's parameters these are */
  parameters(
    owner: 'local' | 'remote',
    parameters: TransportParameters,
    now: Micros,
    suite: 'chacha20-poly1305' | 'aes-256-gcm' = 'chacha20-poly1305',
  ): void {
    const p = parameters;
    const original =
      p.originalDestinationId === null
        ? ''
        : `"original_destination_connection_id":"${hexOf(p.originalDestinationId)}",`;
    const quic = `{"owner":"${owner}","tls_cipher":"TLS_${suite.replaceAll('-', '_').toUpperCase()}_SHA256","aead_tag_length":${TAG_BYTES},${original}"initial_source_connection_id":"${hexOf(p.sourceId)}","max_idle_timeout":${p.idleTimeoutMs},"max_udp_payload_size":${p.maxDatagramBytes},"max_ack_delay":${Math.ceil(p.maxAckDelayUs / MILLISECOND)},"active_connection_id_limit":${Math.min(p.activeIdLimit, UINT32_MAX)},"initial_max_data":${p.initialMaxData},"initial_max_stream_data_bidi_local":${p.initialMaxStreamData},"initial_max_stream_data_bidi_remote":${p.initialMaxStreamData},"initial_max_streams_bidi":${p.initialMaxStreams}}`;
    this.emit('transport:parameters_set', quic, now);
    const least = p.minAckDelayUs === null ? '' : `,"min_ack_delay":${p.minAckDelayUs / MILLISECOND}`;
    const own = `{"owner":"${owner}","max_message_bytes":${p.maxMessageBytes},"best_effort_bytes":${p.bestEffortBytes},"heartbeat":${p.heartbeatMs},"receive_buffer_bytes":${p.receiveBufferBytes},"repair_bytes":${p.repairBytes}${least}}`;
    this.emit('jetstream:parameters_set', own, now);
  }

  /** Keys of both directions came, or went; which they are is for the key log alone. [TRC-11] */
  keys(change: 'updated' | 'discarded', epoch: KeyEpoch, now: Micros): void {
    const secret = change === 'updated' ? ',"new":""' : '';
    for (const side of ['client', 'server'])
      this.emit(
        `security:key_${change}`,
        `{"key_type":"${side}_${epoch}_secret"${secret},"trigger":"tls"}`,
        now,
      );
  }

  /** Both directions go to another generation of 1-RTT keys: by our will, or by the peer's. */
  keyUpdate(trigger: 'local' | 'remote', generation: number, now: Micros): void {
    for (const side of ['client', 'server'])
      this.emit(
        'security:key_updated',
        `{"key_type":"${side}_1rtt_secret","new":"","key_phase":${generation},"trigger":"${trigger}_update"}`,
        now,
      );
  }

  /** The Handshake keys are there; told once. */
  handshakeKeys(now: Micros): void {
    if (this.connectionState !== 'attempted') return;
    this.keys('updated', 'handshake', now);
    this.state('handshake_started', now);
  }

  // ---- packets ----

  sent(packet: TracedPacket, isSizeProbe: boolean, isProbe: boolean, now: Micros): void {
    const mtuProbe = isSizeProbe ? ',"is_mtu_probe_packet":true' : '';
    const trigger = isProbe ? ',"trigger":"pto_probe"' : '';
    this.emit('transport:packet_sent', `{${this.packetJson(packet)}${mtuProbe}${trigger}}`, now);
  }

  /** @param hasWaited - it came before its key */
  received(packet: TracedPacket, hasWaited: boolean, now: Micros): void {
    const trigger = hasWaited ? ',"trigger":"keys_available"' : '';
    this.emit('transport:packet_received', `{${this.packetJson(packet)}${trigger}}`, now);
  }

  /** A Retry came, and is followed. */
  retried(sourceId: Uint8Array, tokenBytes: number, bytes: number, now: Micros): void {
    const header = `"header":{"packet_type":"retry","version":"${VERSION_HEX}","scil":${sourceId.length},"scid":"${hexOf(sourceId)}"}`;
    const token = `"retry_token":{"type":"retry","length":${tokenBytes}}`;
    this.emit('transport:packet_received', `{${header},${token},"raw":{"length":${bytes}}}`, now);
  }

  /** A version packet came that does not name our version. */
  versionsOffered(versions: readonly number[], bytes: number, now: Micros): void {
    const list = versions.map((version) => `"${version.toString(16).padStart(8, '0')}"`).join();
    const data = `{"header":{"packet_type":"version_negotiation"},"supported_versions":[${list}],"raw":{"length":${bytes}}}`;
    this.emit('transport:packet_received', data, now);
  }

  dropped(type: number, bytes: number, trigger: DropTrigger, now: Micros): void {
    const data = `{"header":{"packet_type":"${PACKET_TYPES[type] ?? 'unknown'}"},"raw":{"length":${bytes}},"trigger":"${trigger}"}`;
    this.emit('transport:packet_dropped', data, now);
  }

  /** Its key is not there yet. */
  buffered(type: number, bytes: number, now: Micros): void {
    const data = `{"header":{"packet_type":"${PACKET_TYPES[type] ?? 'unknown'}"},"raw":{"length":${bytes}},"trigger":"keys_unavailable"}`;
    this.emit('transport:packet_buffered', data, now);
  }

  // ---- recovery ----

  recoveryParameters(p: RecoveryParameters): void {
    const data = `{"reordering_threshold":${p.packetThreshold},"time_threshold":${p.timeThreshold},"timer_granularity":${p.granularity / MILLISECOND},"initial_rtt":${p.initialRtt / MILLISECOND},"max_datagram_size":${p.mtu},"initial_congestion_window":${Math.round(p.window)}}`;
    this.emit('recovery:parameters_set', data, this.startedAt);
  }

  lost(space: PacketSpace, number: number, isSizeProbe: boolean, isByTime: boolean, now: Micros): void {
    const header = `"header":{"packet_type":"${SPACE_TYPES[space]}","packet_number":${number}}`;
    const mtuProbe = isSizeProbe ? ',"is_mtu_probe_packet":true' : '';
    const trigger = isByTime ? 'time_threshold' : 'reordering_threshold';
    this.emit('recovery:packet_lost', `{${header}${mtuProbe},"trigger":"${trigger}"}`, now);
  }

  /** These packets of the space turned out to be something else than was thought. */
  found(what: FoundPackets, space: PacketSpace, numbers: Iterable<number>, now: Micros): void {
    const data = `{"packet_number_space":"${SPACES[space]}","packet_numbers":[${[...numbers]}]}`;
    this.emit(`jetstream:${what}`, data, now);
  }

  /** A deadline of recovery passed. */
  expired(timer: 'ack' | 'pto', space: PacketSpace, now: Micros): void {
    const data = `{"timer_type":"${timer}","packet_number_space":"${SPACES[space]}","event_type":"expired"}`;
    this.emit('recovery:loss_timer_updated', data, now);
  }

  /** Tells those figures that changed since they were told last. */
  metrics({ rtt, congestion, bytesInFlight, ecn }: RecoveryFigures, ptoCount: number, now: Micros): void {
    let news = '';
    if (rtt.hasSample) {
      news += this.changed('min_rtt', rtt.min / MILLISECOND);
      news += this.changed('smoothed_rtt', Math.round(rtt.smoothed) / MILLISECOND);
      news += this.changed('latest_rtt', rtt.latest / MILLISECOND);
      news += this.changed('rtt_variance', Math.round(rtt.variance) / MILLISECOND);
    }
    news += this.changed('pto_count', ptoCount);
    news += this.changed('congestion_window', Math.round(congestion.window));
    news += this.changed('bytes_in_flight', bytesInFlight);
    const pacing = congestion.pacingRate * BITS_A_SECOND;
    if (Number.isFinite(pacing)) news += this.changed('pacing_rate', Math.round(pacing));
    if (news !== '') this.emit('recovery:metrics_updated', `{${news.slice(1)}}`, now);
    if (congestion.state !== this.congestionState) this.congestion(congestion.state, now);
    if (ecn !== null && this.told.get('ecn') !== ecn.state) this.ecn(ecn.state, now);
  }

  private congestion(state: string, now: Micros): void {
    const old = this.congestionState === '' ? '' : `"old":"${this.congestionState.replaceAll('-', '_')}",`;
    this.congestionState = state;
    const data = `{${old}"new":"${state.replaceAll('-', '_')}"}`;
    this.emit('recovery:congestion_state_updated', data, now);
  }

  private ecn(state: number, now: Micros): void {
    const old = this.told.get('ecn');
    this.told.set('ecn', state);
    const from = old === undefined ? '' : `"old":"${ECN_STATES[old]}",`;
    this.emit('jetstream:ecn_state_updated', `{${from}"new":"${ECN_STATES[state]}"}`, now);
  }

  // ---- the path ----

  mtu(bytes: number, now: Micros): void {
    const old = this.told.get('mtu');
    if (old === bytes) return;
    this.told.set('mtu', bytes);
    this.emit(
      'connectivity:mtu_updated',
      old === undefined ? `{"new":${bytes}}` : `{"old":${old},"new":${bytes}}`,
      now,
    );
  }

  /** Packets go another way from now on. */
  path(previous: Address, { host, port }: Address, reason: 'rebinding' | 'migration', now: Micros): void {
    const from = `"old":{"ip":${JSON.stringify(previous.host)},"port":${previous.port}}`;
    const to = `"new":{"ip":${JSON.stringify(host)},"port":${port}}`;
    this.emit('jetstream:path_changed', `{${from},${to},"trigger":"${reason}"}`, now);
  }

  // ---- inside ----

  private packetJson(packet: TracedPacket): string {
    const { buffer, bytes, datagram, payloadEnd, payloadStart, type } = packet;
    const header = `"header":{"packet_type":"${PACKET_TYPES[type]}","packet_number":${packet.number}${idsJson(packet)}}`;
    const raw = `"raw":{"length":${bytes},"payload_length":${payloadEnd - payloadStart}}`;
    const frames = `"frames":${framesJson(this.reader, buffer, payloadStart, payloadEnd)}`;
    return datagram < 0
      ? `${header},${raw},${frames}`
      : `${header},${raw},"datagram_id":${datagram},${frames}`;
  }

  private changed(name: string, value: number): string {
    if (this.told.get(name) === value) return '';
    this.told.set(name, value);
    return `,"${name}":${value}`;
  }

  private emit(name: string, data: string, now: Micros): void {
    if (this.isEnded) return;
    if (now > this.latest) this.latest = now;
    const time = (this.latest - this.startedAt) / MILLISECOND;
    if (this.untold > 0 && !this.tellMissing(time)) return;
    if (!this.sink.write(`\x1e{"time":${time},"name":"${name}","data":${data}}\n`)) this.untold++;
  }

  /** Says how many records are missing here. False when there is no room for this one either, and the next is missing, too. [TRC-6] */
  private tellMissing(time: number): boolean {
    const message = `${this.untold} events are missing here: they came faster than the log could be written`;
    const isTold = this.sink.write(
      `\x1e{"time":${time},"name":"generic:warning","data":{"message":"${message}"}}\n`,
    );
    this.untold = isTold ? 0 : this.untold + 1;
    return isTold;
  }
}

interface Address {
  readonly host: string;
  readonly port: number;
}

export type KeyEpoch = 'initial' | 'handshake' | '1rtt';
export type ConnectionStateName =
  | 'attempted'
  | 'handshake_started'
  | 'handshake_complete'
  | 'handshake_confirmed'
  | 'closing'
  | 'draining'
  | 'closed';
export type FoundPackets = 'packets_recovered' | 'packets_recovered_by_peer' | 'packets_spuriously_lost';

/** The frames of a payload in the clear, as a JSON array: each as its file of `wire/frames/` says it. What cannot be decoded ends it, as an unknown frame. */
export function framesJson(reader: FrameReader, buffer: Uint8Array, start: number, end: number): string {
  reader.reset(buffer, start, end);
  let list = '';
  let at = start;
  while (nextFrame(reader)) {
    list += `${list === '' ? '' : ','}${frameJson(reader, reader.at - at) || unknown(reader.type, reader.at - at)}`;
    at = reader.at;
  }
  if (reader.error !== 0 && at < end) list += `${list === '' ? '' : ','}${unknown(buffer[at], end - at)}`;
  return `[${list}]`;
}

/** What only long headers have. */
function idsJson({ type, destinationId, sourceId }: TracedPacket): string {
  if (type === PacketType.ONE_RTT) return '';
  const lengths = `"scil":${sourceId.length},"dcil":${destinationId.length}`;
  return `,"version":"${VERSION_HEX}",${lengths},"scid":"${hexOf(sourceId)}","dcid":"${hexOf(destinationId)}"`;
}

function closeTrigger({ by, code, scope, timeout }: TracedEnd): string {
  if (by === 'reset') return 'stateless_reset';
  if (by === 'timeout') return timeout === 'handshake' ? 'handshake_timeout' : 'idle_timeout';
  if (code === 0) return 'clean';
  return scope === 'application' ? 'application' : 'error';
}

function unknown(type: number, bytes: number): string {
  return `{"frame_type":"unknown","raw_frame_type":${type},"raw_length":${bytes}}`;
}

function ipVersion(host: string): string {
  if (host.includes(':')) return '"ip_version":"v6",';
  return /^[\d.]+$/.test(host) ? '"ip_version":"v4",' : '';
}

const PACKET_TYPES: readonly string[] = ['initial', '0RTT', 'handshake', 'retry', '1RTT'];
const SPACE_TYPES: readonly string[] = ['initial', 'handshake', '1RTT'];
/** Of an `EcnState`. */
const ECN_STATES: readonly string[] = ['testing', 'unknown', 'capable', 'failed'];
const SPACES: readonly string[] = ['initial', 'handshake', 'application_data'];
const VERSION_HEX = VERSION.toString(16);
/** Of bytes a microsecond. */
const BITS_A_SECOND = 8e6;
