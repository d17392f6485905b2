/**
 * What happens to listeners, connections and streams, told on channels of `node:diagnostics_channel` for those who watch a whole process:
 * tracing, logs, metrics. A channel that nobody subscribed to costs the look whether somebody did. What a subscriber throws comes out as an
 * uncaught exception by itself, and keeps nobody from anything. Names and members are stable: members may be added, none is taken away; they are
 * those of `DiagnosticsMessages`. [CON-72]
 */

import { channel } from 'node:diagnostics_channel';

// Whoever publishes looks at `hasSubscribers` first, so that no message is made for nobody.
export const listenerOpen = channel('jetstream-proto:listener:open');
export const listenerClose = channel('jetstream-proto:listener:close');
export const connectionOpen = channel('jetstream-proto:connection:open');
export const connectionFailed = channel('jetstream-proto:connection:failed');
export const connectionClose = channel('jetstream-proto:connection:close');
export const connectionAlert = channel('jetstream-proto:connection:alert');
export const connectionMtu = channel('jetstream-proto:connection:mtu');
export const connectionStreamsBlocked = channel('jetstream-proto:connection:streams-blocked');
export const streamOpen = channel('jetstream-proto:stream:open');
export const streamClose = channel('jetstream-proto:stream:close');
