import { Prng } from '../../../src/base/random.ts';
import type { CongestionName } from '../../../src/protocol/congestion/controller.ts';
import { AddressState, Path, type PathOptions } from '../../../src/protocol/path/path.ts';

/** A path to a peer whose address is known to be its own. */
export function pathOf(options: Partial<PathOptions> = {}): Path {
  const congestion: CongestionName = 'cubic';
  const random = new Prng(1);
  return new Path({
    host: 'peer',
    port: 1,
    address: AddressState.VALIDATED,
    mtu: 1_200,
    congestion,
    random,
    ...options,
  });
}
