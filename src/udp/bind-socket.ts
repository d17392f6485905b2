/**
 * Which kind of UDP socket serves: the native one where there is the addon, else that of `dgram`. Everybody who binds a socket does it here, so
 * that `JSP_NATIVE=0` holds for all of them.
 */

import { isWildcard } from '../base/ip-address.ts';
import { type NativeSockets, nativeAddon } from '../base/native-addon.ts';
import { resolvedAddresses } from './addresses.ts';
import type { DatagramSocket, SocketOptions } from './datagram-socket.ts';
import { bindDgramSocket, bindDgramSocketNow, dgramReusePortFault } from './dgram-socket.ts';
import { bindNativeSocket } from './native-socket.ts';
import { bindWildcardSocket } from './wildcard-socket.ts';

/**
 * Binds a socket, with one peer where `connectTo` names it.
 *
 * @throws JspError `ERR_JSP_SOCKET` when the system refuses, with the system's error as `cause`, or when a name has no address
 */
export async function bindSocket(options: SocketOptions = {}): Promise<DatagramSocket> {
  const native = nativeSockets();
  if (native === null) return bindDgramSocket(options);
  const { host, remote } = await resolvedAddresses(options);
  return bindNativeSocket(native, host, options, remote);
}

/**
 * Binds a server's socket: to one address, or to all of this machine's when `host` is `0.0.0.0` or `::` (both families unless `ipv6Only`).
 * Answers come from the address that was asked.
 *
 * @throws JspError `ERR_JSP_SOCKET` when the system refuses
 */
export async function bindServerSocket(
  options: SocketOptions & { readonly host: string },
): Promise<DatagramSocket> {
  const { host } = await resolvedAddresses(options);
  const native = nativeSockets();
  if (native !== null) return bindNativeSocket(native, host, options);
  return isWildcard(host) ? bindWildcardSocket(host, options) : bindDgramSocketNow(host, options);
}

/** Why several sockets cannot be bound to one address here ({@link SocketOptions.reusePort}); null: they can, as far as is known before it is tried. */
export function reusePortFault(): string | null {
  return nativeSockets() !== null && process.platform === 'linux' ? null : dgramReusePortFault();
}

function nativeSockets(): NativeSockets | null {
  return nativeAddon()?.sockets ?? null;
}
