import { AMPLIFICATION_FACTOR } from '../path/path.ts';

/**
 * How many datagrams a client adds to those of its hello, so that three times all of them [CON-4] hold a hybrid identity's whole answer. [HS-41]
 * @param mtu - bytes of each
 */
export function extraInitials(helloBytes: number, mtu: number): number {
  const room = mtu - PACKET_OVERHEAD;
  const answer = Math.ceil(LONG_ANSWER_BYTES / room) * PACKET_OVERHEAD + LONG_ANSWER_BYTES;
  return Math.max(0, Math.ceil(answer / (AMPLIFICATION_FACTOR * mtu)) - Math.ceil(helloBytes / room));
}

/** SERVER_HELLO, PARAMETERS, IDENTITY, SIGNATURE and FINISHED of a server with a hybrid identity, its parameters counted with 400 bytes. */
const LONG_ANSWER_BYTES = 7_000;
/** Headers with the longest ids, frame headers, an acknowledgement and the tag. */
const PACKET_OVERHEAD = 90;
