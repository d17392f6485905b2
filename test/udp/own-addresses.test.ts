/** The numbers that a native socket has for the addresses of its machine that datagrams come to. */
import * as os from 'node:os';
import { afterEach, expect, test, vi } from 'vitest';
import type { NativeSockets } from '../../src/base/native-addon.ts';
import { bindNativeSocket } from '../../src/udp/native-socket.ts';

vi.mock('node:os', async (importOriginal) => {
  const original = await importOriginal<typeof os>();
  return { ...original, networkInterfaces: vi.fn(original.networkInterfaces) };
});

const NUMBERS = 255;
let nowMs = 0;

afterEach(() => vi.restoreAllMocks());

/** A socket for all addresses of a machine whose interfaces have these. */
function socketOf(interfaces: () => string[]) {
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  vi.mocked(os.networkInterfaces).mockImplementation(
    () => ({ lan0: interfaces().map((address) => ({ address, family: 'IPv4' })) }) as never,
  );
  return bindNativeSocket({ bind: () => 0 } as unknown as NativeSockets, '0.0.0.0', {});
}

test('strangers who send to more addresses than have numbers take nobody’s number, whether interfaces have them or not [CON-60]', () => {
  const socket = socketOf(() => ['192.0.2.1']);
  const hosts = Array.from({ length: NUMBERS }, (_, i) => `192.0.2.${i}`);
  const numbers = hosts.map((host) => socket.localOfHost(host));
  expect(new Set(numbers).size).toBe(NUMBERS);
  for (let i = 0; i < 100; i++) {
    nowMs += 2_000;
    expect(socket.localOfHost(`198.51.100.${i}`)).toBe(0);
  }
  expect(numbers.map((number) => socket.hostOfLocal(number))).toEqual(hosts);
});

test('an address that an interface had and has no more leaves its number to another one', () => {
  let theirs = ['192.0.2.7', '192.0.2.8'];
  const socket = socketOf(() => theirs);
  nowMs += 2_000;
  for (let i = 0; i < NUMBERS; i++) socket.localOfHost(`192.0.2.${i}`);
  const number = socket.localOfHost('192.0.2.7');
  theirs = ['192.0.2.8'];
  expect(socket.localOfHost('198.51.100.1')).toBe(0);
  nowMs += 2_000;
  expect(socket.localOfHost('198.51.100.1')).toBe(number);
  expect(socket.hostOfLocal(number)).toBe('198.51.100.1');
  nowMs += 2_000;
  expect(socket.localOfHost('198.51.100.2')).toBe(0);
});

test('a system that tells of no addresses, as one without descriptors left, costs no datagram', () => {
  const socket = socketOf(() => {
    throw new Error('uv_interface_addresses returned EMFILE');
  });
  nowMs += 2_000;
  const hosts = Array.from({ length: NUMBERS }, (_, i) => `192.0.2.${i}`);
  expect(new Set(hosts.map((host) => socket.localOfHost(host))).size).toBe(NUMBERS);
  nowMs += 2_000;
  expect(socket.localOfHost('198.51.100.1')).toBe(0);
});
