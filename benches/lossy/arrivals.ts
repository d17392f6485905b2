/** Messages that carry a number and the time at which they were sent, on the clock that all processes of a machine share. */
import { sharedMicros } from '../../src/bench/metronome.ts';

/** Writes what {@link Arrivals} reads. What is behind it is random, so that no tunnel can make it smaller. */
export function stampedMessage(size: number, number: number): Uint8Array {
  const message = new Uint8Array(size);
  for (let i = STAMP_BYTES; i < size; i++) message[i] = Math.random() * 256;
  const view = new DataView(message.buffer);
  view.setUint32(0, number);
  view.setFloat64(4, sharedMicros());
  return message;
}

/** When each of `count` messages arrived. */
export class Arrivals {
  arrived = 0;
  /** When the latest one did. */
  latestAt = 0;
  /** By number, from when it was sent; NaN for what has not arrived. */
  readonly tookMicros: Float64Array;

  constructor(count: number) {
    this.tookMicros = new Float64Array(count).fill(Number.NaN);
  }

  readonly onMessage = (message: Uint8Array): void => {
    this.latestAt = sharedMicros();
    const view = new DataView(message.buffer, message.byteOffset, STAMP_BYTES);
    this.tookMicros[view.getUint32(0)] = this.latestAt - view.getFloat64(4);
    this.arrived++;
  };
}

/** Bytes of number and time. */
export const STAMP_BYTES = 12;
