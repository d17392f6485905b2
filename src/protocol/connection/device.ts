import { type Micros, SECOND } from '../../base/time.ts';
import type { ConnectionCompression, NetworkType } from '../compress/compression.ts';
import { PROTECTION_AUTO, PROTECTION_OFF } from '../fec/protection.ts';
import type { DefaultProtection } from '../fec/stream-protection.ts';
import { ConnectionState, type Lifecycle } from './lifecycle.ts';
import type { Liveness } from './liveness.ts';
import type { MigrateOptions, MigrateOutcome, Paths } from './paths.ts';

export const NETWORK_TYPES: readonly NetworkType[] = ['wifi', 'cellular', 'ethernet', 'unknown'];
export type { NetworkType };
export const APP_STATES = ['foreground', 'background'] as const;
/** Whether somebody looks at the application. */
export type AppState = (typeof APP_STATES)[number];

interface DeviceParts {
  readonly lifecycle: Lifecycle;
  readonly liveness: Liveness;
  readonly paths: Paths;
  /** What messages are protected by that nothing was said of, which then follows the network; null where it does not. */
  readonly protection: DefaultProtection | null;
  /** Weighs what a byte costs by the network. */
  readonly compression: ConnectionCompression;
  readonly upkeep: DeviceUpkeep;
}

/** What keeps its connection going. */
interface DeviceUpkeep {
  sendHeartbeat(now: Micros): void;
}

/**
 * What the application says of the device that it runs on, and what follows for its connection: how often heartbeats wake the radio
 * [CON-62], whether they wait for each other [CON-65], whether the peer is asked at once [CON-66], what messages are protected by [CON-67], and at which
 * of its addresses the device is [CON-89].
 */
export class Device {
  networkType: NetworkType = 'unknown';
  appState: AppState = 'foreground';
  private readonly parts: DeviceParts;

  constructor(parts: DeviceParts) {
    this.parts = parts;
  }

  setNetworkType(type: NetworkType, now: Micros): void {
    if (!this.parts.lifecycle.isOpen || type === this.networkType) return;
    this.networkType = type;
    this.parts.compression.networkType = type; // [CMP-10] a byte costs more on a cellular one
    // [CON-67] Radios lose packets that no queue has dropped; on a clean path it costs nothing.
    const isRadio = type === 'wifi' || type === 'cellular';
    this.parts.protection?.change(isRadio ? PROTECTION_AUTO : PROTECTION_OFF);
    this.adaptHeartbeats(now);
  }

  setAppState(state: AppState, now: Micros): void {
    const { lifecycle, liveness } = this.parts;
    if (!lifecycle.isOpen || state === this.appState) return;
    this.appState = state;
    this.adaptHeartbeats(now);
    if (state === 'background') return;
    liveness.check(now);
    this.parts.upkeep.sendHeartbeat(now);
  }

  /** Heartbeats go with what the machine sends on other connections. [CON-65] */
  get sparesRadio(): boolean {
    return this.appState === 'background' || this.networkType === 'cellular';
  }

  /** The machine sends something on another connection. */
  onRadioAwake(now: Micros): void {
    const { lifecycle, liveness } = this.parts;
    if (lifecycle.isOpen && lifecycle.isEstablished && liveness.joins(now))
      this.parts.upkeep.sendHeartbeat(now);
  }

  /** The device has another address, or loses the one that the connection uses: its client moves to that. Not before the handshake is confirmed. [CON-89] */
  migrate(options: MigrateOptions, now: Micros): MigrateOutcome {
    const { lifecycle, paths } = this.parts;
    return lifecycle.state === ConnectionState.CONFIRMED ? paths.migrate(options, now) : 'later';
  }

  private adaptHeartbeats(now: Micros): void {
    const isBackground = this.appState === 'background';
    const isCellular = this.networkType === 'cellular';
    const longer = isBackground ? backgroundInterval : isCellular ? cellularInterval : configuredInterval;
    if (this.parts.liveness.adapt(longer, now)) this.parts.upkeep.sendHeartbeat(now);
  }
}

function configuredInterval(configured: Micros): Micros {
  return configured;
}

function backgroundInterval(configured: Micros): Micros {
  return Math.max(configured, RESTING_INTERVAL);
}

function cellularInterval(configured: Micros): Micros {
  return Math.max(configured, Math.min(CELLULAR_TIMES * configured, RESTING_INTERVAL));
}

/** Short enough for nearly all bindings of NATs, which last for 30 s and more where both sides have sent (RFC 4787 asks for 2 minutes). */
const RESTING_INTERVAL: Micros = 30 * SECOND;
const CELLULAR_TIMES = 3;
