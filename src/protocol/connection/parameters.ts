import { equalBytes } from '../../base/bytes.ts';
import { MILLISECOND } from '../../base/time.ts';
import { CloseCode } from '../wire/close-code.ts';
import { defaultParameters, type TransportParameters } from '../wire/transport-parameters.ts';
import type { ConnectionConfig } from './config.ts';

/** What an endpoint with this configuration tells its peer. */
export function localParameters(
  config: ConnectionConfig,
  localId: Uint8Array,
  originalDestinationId: Uint8Array | null,
  statelessResetToken: Uint8Array | null = null,
): TransportParameters {
  return {
    ...defaultParameters(localId),
    originalDestinationId,
    idleTimeoutMs: config.idleTimeoutMs,
    maxDatagramBytes: config.receiveDatagramBytesMax,
    initialMaxData: config.connectionWindowStartBytes,
    initialMaxStreamData: config.streamWindowStartBytes,
    initialMaxStreams: config.streamsMax,
    maxMessageBytes: config.messageBytesMax,
    bestEffortBytes: config.bestEffortBytes,
    maxAckDelayUs: config.ackDelayMaxMs * MILLISECOND,
    heartbeatMs: config.heartbeatMs,
    receiveBufferBytes: config.receiveBufferBytes,
    minAckDelayUs: MILLISECOND,
    statelessResetToken,
  };
}

/**
 * Checks that the ids in the peer's parameters are those of the packets that carried the handshake. [FRM-15]
 *
 * @param firstDestinationId - of the client's first packet, on the client; null on the server
 * @returns 0 or a close code
 */
export function checkParameterIds(
  parameters: TransportParameters,
  remoteId: Uint8Array,
  firstDestinationId: Uint8Array | null,
): number {
  const original = parameters.originalDestinationId;
  const isOriginalRight =
    firstDestinationId === null
      ? original === null
      : original !== null && equalBytes(original, firstDestinationId);
  const isSourceRight = equalBytes(parameters.sourceId, remoteId);
  const isRight = isOriginalRight && isSourceRight && parameters.retrySourceId === null;
  return isRight ? 0 : CloseCode.TRANSPORT_PARAMETER_ERROR;
}
