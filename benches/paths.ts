/** The library with its native code and without it, as peers of one benchmark, and what benchmarks of many connections share. */
import type { Listener } from '../src/index.ts';

export type PathName = 'native' | 'pure';

/** Ways between library and system, by the environment of the process that is measured. */
export const PATHS: readonly { readonly name: PathName; readonly env: NodeJS.ProcessEnv }[] = [
  { name: 'native', env: {} },
  { name: 'pure', env: { JSP_NATIVE: '0' } },
];

/** Which of them serves this listener. */
export function pathOf(listener: Listener): PathName {
  const { socket } = listener.metrics();
  return 'path' in socket && socket.path === 'native' ? 'native' : 'pure';
}

/** Calls `act` so many times, no more than `atOnce` of them unfinished. */
export async function inParallel(count: number, atOnce: number, act: () => Promise<void>): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await act();
  };
  await Promise.all(Array.from({ length: Math.min(count, atOnce) }, worker));
}

/** Handshakes under way at once: fewer than a server asks to prove their addresses first. */
export const CLIENTS_AT_ONCE = 16;
