import { type RandomSource, randomBytes } from '../../base/random.ts';
import { ByteCursor } from '../wire/byte-cursor.ts';
import { CloseCode } from '../wire/close-code.ts';
import {
  decodeParameters,
  encodeParameters,
  type GreasedParameter,
  type TransportParameters,
} from '../wire/transport-parameters.ts';
import { MessageType, MessageWriter, readVector, skipExtensions } from './messages.ts';

/** An endpoint's parameters, with one that does not exist among them. [FRM-14] */
export function encodeGreasedParameters(parameters: TransportParameters, random: RandomSource): Uint8Array {
  const bytes = randomBytes(random, 2 + GREASE_VALUE_BYTES_MAX);
  const grease: GreasedParameter = {
    id: 0x1f + 0x20 * bytes[0],
    value: bytes.subarray(2, 2 + (bytes[1] % (GREASE_VALUE_BYTES_MAX + 1))),
  };
  return encodeParameters(parameters, grease);
}

/** The server's PARAMETERS message. */
export function encodeParametersMessage(parameters: TransportParameters, random: RandomSource): Uint8Array {
  return new MessageWriter()
    .vector(encodeGreasedParameters(parameters, random))
    .finish(MessageType.PARAMETERS);
}

/** Reads the body of the server's PARAMETERS; a close code when it is malformed. */
export function decodeParametersMessage(body: Uint8Array): TransportParameters | CloseCode {
  const cursor = new ByteCursor();
  cursor.reset(body, 0, body.length);
  const parameters = readVector(cursor);
  if (!skipExtensions(cursor)) return CloseCode.CRYPTO_ERROR;
  return decodeParameters(parameters, 'server');
}

const GREASE_VALUE_BYTES_MAX = 7;
