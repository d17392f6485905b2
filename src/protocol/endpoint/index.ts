/**
 * All connections of one socket as one state machine without I/O: what a driver hands datagrams and time to, and the connections and
 * streams that it hands to applications. Code outside of `protocol/` sees no more of the core than this, `protocol/datagram` and
 * `protocol/crypto`.
 */

export {
  type ConnectionConfig,
  checkedConnectionConfig,
  defaultConnectionConfig,
} from '../connection/config.ts';
export type { Connection, EndpointEvent } from '../connection/connection.ts';
export { APP_STATES, type AppState, NETWORK_TYPES, type NetworkType } from '../connection/device.ts';
export { ANNOUNCED_URL_BYTES_MAX } from '../connection/go-away.ts';
export type { CloseReason } from '../connection/lifecycle.ts';
export type { ConnectionMetrics } from '../connection/metrics.ts';
export { EXPORT_NAME_MAX, EXPORTED_BYTES_MAX } from '../crypto/key-schedule.ts';
export {
  BLOCK_DATA_MAX,
  BLOCK_PARITY_MAX,
  LATENCY_MS_MAX,
  OVERHEAD_MAX,
  PROTECTION_AUTO,
  PROTECTION_OFF,
  ProtectionMode,
  type ProtectionOptions,
  RESIDUAL_MAX,
  RESIDUAL_MIN,
} from '../fec/protection.ts';
export { TOKEN_BYTES_MAX, TOKEN_SECRET_BYTES } from '../handshake/address-token.ts';
export {
  type ClientTicket,
  decodeClientTicket,
  encodeClientTicket,
  isUsable,
} from '../handshake/client-ticket.ts';
export { EarlyData } from '../handshake/handshake.ts';
export { PAYLOAD_BYTES_MAX } from '../handshake/messages.ts';
export type { Resumption } from '../handshake/ticket-offer.ts';
export { TICKET_KEY_BYTES, type TicketConfig, type TicketKeys } from '../handshake/tickets.ts';
export { LocalAddress } from '../path/local-address.ts';
export { INTERNET_MTU_MAX } from '../path/mtu-discovery.ts';
export type { ConnectionStream, MessageAsks } from '../stream/connection-stream.ts';
export { ReadFault } from '../stream/receive/receive-stream.ts';
export type { SendMark } from '../stream/send/send-mark.ts';
export { SendResult } from '../stream/send/send-stream.ts';
export { StallWatch } from '../stream/stall-watch.ts';
export {
  ALERT_DEFAULTS,
  type Alert,
  type AlertKind,
  type AlertSample,
  AlertStates,
  type AlertThresholds,
} from '../trace/alerts.ts';
export { EndpointCounters } from '../trace/counters.ts';
export { type QlogHeader, qlogHeader } from '../trace/qlog-trace.ts';
export type { KeyLog, TraceSink, Tracing } from '../trace/trace.ts';
export { CloseCode, closeCodeName } from '../wire/close-code.ts';
export { Delivery, PRIORITY_NAMES, Priority } from '../wire/frame-type.ts';
export { LABEL_BYTES_MAX } from '../wire/frames/stream.ts';
export { DATAGRAM_BYTES_MAX, DATAGRAM_BYTES_MIN } from '../wire/transport-parameters.ts';
export type { RetryConfig, RetryMode, ServerConfig } from './admission.ts';
export { type ConnectTarget, Endpoint, type EndpointConfig, type Refusal } from './endpoint.ts';
export type { ForeignPackets, WorkerPlace } from './routing.ts';
