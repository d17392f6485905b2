/**
 * Lines of a key log, in the style of NSS (SSLKEYLOGFILE): from the secret of each line follow the key, the IV and the header protection key of
 * one direction in one epoch. Whoever has them reads all that the connection carries. [TRC-10]
 */

/** Takes a line, without its end. It never throws. */
export type KeyLog = (line: string) => void;

/** Which secret of the key schedule a line has. */
export type SecretLabel =
  | 'CLIENT_INITIAL_SECRET'
  | 'SERVER_INITIAL_SECRET'
  | 'CLIENT_HANDSHAKE_TRAFFIC_SECRET'
  | 'SERVER_HANDSHAKE_TRAFFIC_SECRET'
  | 'CLIENT_TRAFFIC_SECRET_0'
  | 'SERVER_TRAFFIC_SECRET_0';

/** Takes the secrets of one connection. */
export type SecretLog = (label: SecretLabel, secret: Uint8Array) => void;

/** What tells the secrets of the connection with this first destination id as lines. */
export function secretLog(log: KeyLog, firstDestinationId: Uint8Array): SecretLog {
  const id = Buffer.from(firstDestinationId).toString('hex');
  return (label, secret) => log(`JSP_${label} ${id} ${Buffer.from(secret).toString('hex')}`);
}
