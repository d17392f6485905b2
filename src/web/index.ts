export { bytesCodec, type Codec, jsonCodec, textCodec } from './payload.ts';
