export type { TelemetryApi, TelemetrySpan } from '../pubsub/tracing.ts';
export { makeApiKey } from './auth/api-key.ts';
export type {
  AuthAction,
  AuthGrant,
  AuthOptions,
  AuthRole,
  AuthRule,
  IdentityEntry,
  JwtOptions,
  KeyEntry,
  Listed,
} from './auth/options.ts';
export type { BackplaneMetrics } from './backplane/backplane.ts';
export type { BackplaneOptions, BackplaneTls } from './backplane/options.ts';
export type { ClientLimits } from './core/access/principal.ts';
export type { DurableMetrics } from './core/durable/consumers.ts';
export type { BrokerMetrics } from './core/output.ts';
export type { BrokerLimits } from './core/state.ts';
export type { LogOptions, StoreFailure } from './core/store-port.ts';
export type { Happening } from './operations/event-log.ts';
export type { Readiness } from './operations/observation.ts';
export type { Operations } from './operations/operations.ts';
export type { Exposition } from './operations/prometheus.ts';
export type { Answer, Asker } from './operations/requests.ts';
export type * from './operations/snapshot.ts';
export { HISTORY_FIGURES } from './operations/snapshot.ts';
export {
  type Broker,
  type BrokerCloseOptions,
  type BrokerOptions,
  type BrokerReloadOptions,
  type PreparedReload,
  startBroker,
} from './server.ts';
export type { StoreMetrics } from './store/disk-store.ts';
export { StoreDamagedError, type StoreFinding } from './store/findings.ts';
export type { LogRecovery, RecoveryReport } from './store/open-store.ts';
export type { StoreOptions } from './store/options.ts';
