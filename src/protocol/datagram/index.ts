/**
 * Batches of datagrams that cross the sans-IO line. A socket fills a {@link ReceiveBatch}, by a {@link ReceiveQueue}, and the endpoint takes
 * it; the endpoint fills a {@link TransmitBatch}, and the socket sends it whole.
 */

export { EcnCodepoint } from '../wire/frames/ack.ts';
export {
  choiceSeed,
  ENVELOPE_BYTES,
  type EnvelopeAddress,
  envelopeHour,
  FrontEnvelopes,
  FrontKind,
  FrontProbes,
  type FrontSecrets,
  PROBE_BYTES,
  PROBE_NONCE_BYTES,
  type ServerReport,
  ServerState,
} from './front-envelope.ts';
export { ReceiveBatch, ReceiveQueue } from './receive-batch.ts';
export { TransmitBatch } from './transmit-batch.ts';
