/** From the options of a broker to the engine behind it. */

import type { Backplane, BackplaneSurroundings } from './backplane.ts';
import { type BackplaneOptions, checkBackplane } from './options.ts';

/**
 * Opens what the options ask for. Null: nothing, this broker is alone. [CLU-1]
 *
 * @throws {JspError} ERR_JSP_OPTION_INVALID; ERR_JSP_BACKPLANE_UNAVAILABLE when the packages that it takes are not installed; ERR_JSP_BACKPLANE_FAILED when it cannot be reached
 */
export async function openBackplane(
  options: BackplaneOptions | undefined,
  surroundings: BackplaneSurroundings,
): Promise<Backplane | null> {
  if (options === undefined) return null;
  checkBackplane(options);
  if (options.kind === 'none') return null;
  const { openNats } = await import('./nats/nats-backplane.ts');
  return await openNats(options, surroundings);
}
