/** From the options of a broker to the engine behind it. */

import { JspError } from '../../base/errors.ts';
import type { Clock } from '../../udp/clock.ts';
import type { BackplanePort } from '../core/backplane/backplane-port.ts';
import type { LogOptions, StorePort } from '../core/store-port.ts';
import { type BackplaneOptions, checkBackplane } from './options.ts';

/** An engine that runs. */
export interface Backplane {
  readonly port: BackplanePort;
  /** The logs and the state of the cluster; null: the broker keeps its own. */
  readonly store: StorePort | null;
  /** To be called when {@link port} or {@link store} has news. */
  onNews: () => void;
  /** Writes what waits, and leaves the cluster. */
  close(): Promise<void>;
}

/** What an engine needs to begin. */
export interface BackplaneSurroundings {
  readonly clock: Clock;
  /** Time of the wall clock, in ms since 1970. */
  readonly wallMs: () => number;
  /** As the broker is configured. */
  readonly logs: readonly LogOptions[];
}

/**
 * Opens what the options ask for. Null: nothing, this broker is alone. [CLU-1]
 *
 * @throws {JspError} ERR_JSP_OPTION_INVALID; ERR_JSP_BACKPLANE_UNAVAILABLE when the packages that it takes are not installed
 */
export async function openBackplane(
  options: BackplaneOptions | undefined,
  _surroundings: BackplaneSurroundings,
): Promise<Backplane | null> {
  if (options === undefined) return null;
  checkBackplane(options);
  if (options.kind === 'none') return null;
  throw new JspError('ERR_JSP_BACKPLANE_UNAVAILABLE', 'This version has no engine behind a broker yet.');
}
