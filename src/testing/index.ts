/** `jetstream-proto/testing`: a deterministic network lab. One seed decides everything, and time is virtual. */

export { Prng, type RandomSource } from '../base/random.ts';
export { MILLISECOND, type Micros, NEVER, SECOND } from '../base/time.ts';
export { type Arrival, type BurstLoss, Link, LinkCounters, type LinkOptions } from '../udp/link.ts';
export { Lab, LabClock, type LabOptions, LabSocket, type LabSocketOptions } from './lab.ts';
export { type LabDatagram, type LabPort, Network, type NetworkCounters } from './network.ts';
export { type ScheduledEvent, VirtualClock } from './virtual-clock.ts';
export {
  type LabEndpoint,
  LabFailure,
  type NodeOptions,
  type RunEnd,
  type RunOptions,
  World,
  type WorldNode,
  type WorldOptions,
} from './world.ts';
