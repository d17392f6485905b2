import type { EndpointEvent } from '../protocol/endpoint/endpoint.ts';
import type { Connection } from './connection.ts';
import type { Stream } from './stream.ts';

/** Hands an event of the core to the connection or stream that it is about. */
export function dispatchToConnection(event: EndpointEvent): void {
  const connection = event.connection.owner as Connection | null;
  if (connection === null) return;
  switch (event.type) {
    case 'connected':
      return;
    case 'stream':
      return connection.onStream(event.stream);
    case 'readable':
      return (event.stream.owner as Stream | null)?.onReadable();
    case 'writable':
      return (event.stream.owner as Stream | null)?.onWritable();
    case 'outcome':
      return (event.stream.owner as Stream | null)?.onOutcome(event.tracking, event.outcome);
    case 'reset':
      return (event.stream.owner as Stream | null)?.onReset(event.code);
    case 'streamClosed':
      return (event.stream.owner as Stream | null)?.onClosed(null);
    case 'mtu':
      return connection.onMtu(event.mtu, event.previous);
    case 'streamsBlocked':
      return connection.onStreamsBlocked(event.waiting);
    case 'closed':
      return connection.onClosed(event.reason);
  }
}
