/** `jetstream-proto/front`: a stateless UDP front, which stands before several servers and routes connections by their ids. */

export { type Front, type FrontMetrics, type FrontServer, startFront } from './front.ts';
export { Presence } from './health.ts';
export type { FrontOptions } from './options.ts';
