/** The two kinds of UDP sockets, which one suite of tests holds to the same; and what tests of sockets do with batches. */

import { vi } from 'vitest';
import { addressFamily, isWildcard } from '../../src/base/ip-address.ts';
import { nativeAddon, whyNotNative } from '../../src/base/native-addon.ts';
import { TransmitBatch } from '../../src/protocol/datagram/index.ts';
import { localAddresses, resolvedAddresses } from '../../src/udp/addresses.ts';
import type { DatagramSocket, SocketOptions } from '../../src/udp/datagram-socket.ts';
import { bindDgramSocket } from '../../src/udp/dgram-socket.ts';
import { bindNativeSocket, type NativeSocket } from '../../src/udp/native-socket.ts';
import { bindWildcardSocket } from '../../src/udp/wildcard-socket.ts';

export type Bind = (options: SocketOptions) => Promise<DatagramSocket>;

export const native = nativeAddon()?.sockets ?? null;
export const has6 = localAddresses().some((host) => addressFamily(host) === 6);
if (!has6) console.warn('no IPv6 on this machine: its tests are skipped');
if (native === null) console.warn(`tests of native sockets are skipped: ${whyNotNative()}`);

/** What each kind binds with, by its name; a kind that this machine does not have is left out. */
export const twins: [name: string, bind: Bind][] = [['dgram', bindByDgram]];
if (native !== null) twins.push(['native', bindNatively]);

async function bindByDgram(options: SocketOptions): Promise<DatagramSocket> {
  if (options.host === undefined || !isWildcard(options.host) || options.connectTo !== undefined)
    return bindDgramSocket(options);
  return bindWildcardSocket(options.host, options);
}

/** @param limits - of `NativeLimit`, added up */
export async function bindNatively(options: SocketOptions, limits = 0): Promise<NativeSocket> {
  if (native === null) throw new Error('there is no native addon');
  const { host, remote } = await resolvedAddresses(options);
  return bindNativeSocket(native, host, options, remote, limits);
}

/** Sockets are of `dgram` until mocks are restored: for tests that play its system. */
export function bindOnlyByDgram(): void {
  const addon = nativeAddon();
  if (addon !== null) vi.spyOn(addon, 'sockets', 'get').mockReturnValue(null);
}

export interface Seen {
  readonly text: string;
  readonly host: string;
  readonly port: number;
}

export function batchOf(texts: string[], host: string, port: number, local = 0): TransmitBatch {
  const batch = new TransmitBatch(1_024, Math.max(8, texts.length));
  for (const text of texts) put(batch, text, host, port, local);
  return batch;
}

export function put(batch: TransmitBatch, text: string, host: string, port: number, local = 0): void {
  const { written } = new TextEncoder().encodeInto(text, batch.arena.subarray(batch.used));
  batch.push(written, host, port, local);
}

/** The next `count` datagrams that arrive at `socket`. */
export function collect(socket: DatagramSocket, count: number): Promise<Seen[]> {
  const seen: Seen[] = [];
  return new Promise((resolve) => {
    socket.onBatch = (batch) => {
      for (let i = 0; i < batch.count; i++) {
        const text = new TextDecoder().decode(batch.data[i]);
        seen.push({ text, host: batch.host[i], port: batch.port[i] });
      }
      if (seen.length >= count) resolve(seen);
    };
  });
}
