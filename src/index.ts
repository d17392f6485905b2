/**
 * JetStreamProto: a reliable, post-quantum-secure message transport over UDP.
 *
 * @example
 * const listener = await listen({ identity: generateIdentity(), port: 0 });
 * listener.on('connection', (c) => c.on('stream', (s) => s.on('message', (m) => s.send(m))));
 * const connection = await connect(listener.url);
 * const stream = connection.openStream();
 * stream.on('message', (m) => console.log(m.toString()));
 * stream.send('hello');
 */

export { JspError, type JspErrorCode } from './base/errors.ts';
export type { MemoryMetrics } from './base/memory-budget.ts';
export type { RandomSource } from './base/random.ts';
export type { Micros } from './base/time.ts';
export { type Lz4Preference, type TrainingOptions, trainDictionary } from './protocol/compress/index.ts';
export { type AeadPreference, type CipherSuiteName, Identity } from './protocol/crypto/index.ts';
export { type ReceiveBatch, ReceiveQueue, type TransmitBatch } from './protocol/datagram/index.ts';
export type {
  Alert,
  AlertKind,
  AppState,
  ConnectionMetrics,
  EndpointCounters,
  NetworkType,
} from './protocol/endpoint/index.ts';
export type { TokenKeys, TokenStore } from './transport/address-tokens.ts';
export type { AlertOptions } from './transport/alerts.ts';
export type { AccessOptions, Admittance, ArrivingClient, ClientRefusal } from './transport/authorize.ts';
export type { AuthorizedKeysOption } from './transport/authorized-keys.ts';
export {
  createDuplex,
  createWebStreams,
  type DuplexOptions,
  type WebStreams,
  type WebStreamsOptions,
} from './transport/byte-streams.ts';
export type { KeyUpdateOptions } from './transport/cipher-suites.ts';
export type { Compression, CompressionChoice, CompressionSettings } from './transport/compression.ts';
export { type ConnectOptions, connect, type ReconnectingConnectOptions } from './transport/connect.ts';
export type { CloseOptions, Connection, PathChange } from './transport/connection.ts';
export type { DiagnosticsMessages } from './transport/diagnostics-messages.ts';
export type { GoAwayNotice, GoAwayOptions } from './transport/go-away.ts';
export type { Listener, ListenerMetrics, ListenOptions } from './transport/listen.ts';
export { type MetricsEndpoint, serveMetrics } from './transport/live.ts';
export type {
  Delivery,
  MlKemPreference,
  Outcome,
  Priority,
  SendOptions,
  StreamOptions,
  TransportOptions,
} from './transport/options.ts';
export type { RebindOptions } from './transport/path-moves.ts';
export { type Preset, type ProfileName, type Profiles, profiles } from './transport/profiles.ts';
export type { Protection, ProtectionBlock, ProtectionTarget } from './transport/protection.ts';
export type {
  ReconnectAttempt,
  Reconnected,
  ReconnectingConnection,
  ReconnectMetrics,
  ReconnectOptions,
  ReconnectState,
  UndeliveredMessage,
} from './transport/reconnect.ts';
export type { ReopeningStream } from './transport/reopening-stream.ts';
export type { Stream } from './transport/stream.ts';
export { generateIdentity, type IdentityOptions } from './transport/system-crypto.ts';
export { DEFAULT_PORT, formatServerUrl, parseServerUrl, type ServerUrl } from './transport/url.ts';
export type { WorkerContext, WorkerModule, WorkersListenOptions } from './transport/workers/options.ts';
export type { WorkerMetrics } from './transport/workers/sums.ts';
export type { ThreadOptions } from './transport/workers/threads.ts';
export {
  listen,
  type WorkerEvent,
  type WorkersListener,
  type WorkersMetrics,
} from './transport/workers/workers-listener.ts';
export type { Clock, TimerHandle } from './udp/clock.ts';
export type { DatagramSocket, SocketAddress, SocketCounters, SocketMetrics } from './udp/datagram-socket.ts';
export type { ImpairmentOptions } from './udp/impaired-socket.ts';
export type { BurstLoss, LinkOptions } from './udp/link.ts';
