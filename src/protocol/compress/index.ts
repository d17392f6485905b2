/** Compression of messages, as others see it: the codec, dictionaries, envelopes, and what a connection is told of all that. */

export { chooseLz4, type Lz4Codec, type Lz4Name, type Lz4Preference } from './codec.ts';
export {
  COMPRESSION_OFF,
  CompressionMode,
  type CompressionOptions,
  ConnectionCompression,
  type NetworkType,
} from './compression.ts';
export { DICTIONARIES_MAX, DICTIONARY_BYTES_MAX, Dictionary, DictionarySet } from './dictionary.ts';
export {
  CompressionMethod,
  dictionaryNameOf,
  ENVELOPE_BYTES_MAX,
  EnvelopeFault,
  EnvelopeReader,
  EnvelopeWriter,
} from './envelope.ts';
export { StreamCompression } from './stream-compression.ts';
export {
  DICTIONARY_BYTES,
  DICTIONARY_BYTES_MIN,
  SAMPLES_BYTES_MAX,
  SAMPLES_MIN,
  type TrainingOptions,
  trainDictionary,
  trainingSteps,
} from './training.ts';
