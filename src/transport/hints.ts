import { type Clock, systemClock } from '../udp/clock.ts';
import { type InterfaceWatch, interfaces } from '../udp/interfaces.ts';

/**
 * Tells when an attempt to connect may succeed that would have failed a moment ago: the machine woke up, or has other addresses than before. [CON-102] [CLT-3]
 *
 * @param addresses - of the machine; null: a machine with a clock of its own is one of a lab
 * @returns ends this
 */
export function onHint(
  clock: Clock,
  callback: () => void,
  addresses: InterfaceWatch | null = clock === systemClock ? interfaces : null,
): () => void {
  const ends = [clock.onResume?.(callback) ?? (() => {})];
  if (addresses !== null) {
    let isNews = false; // what there is now is none
    ends.push(addresses.watch(() => (isNews ? callback() : undefined)));
    isNews = true;
  }
  return () => {
    for (const end of ends.splice(0)) end();
  };
}
