import { createRequire } from 'node:module';

/**
 * The optional addon in C (`src/udp/native/`), which does for a whole batch of packets in one call what JavaScript does packet by packet: sealing,
 * opening, sending, receiving. Nothing needs it, and with it packets are the same, byte for byte. `npm run native` builds it, a published package has it
 * prebuilt for some machines, and `JSP_NATIVE=0` in the environment turns it off.
 */
export interface NativeAddon {
  /**
   * Seals packets in place.
   * @param table - a row of {@link PacketColumn}s for each packet
   * @param keys - rows of {@link KEY_ROW_BYTES}
   * @returns how many were not left
   */
  seal(arena: Uint8Array, table: Int32Array, count: number, keys: Float64Array): number;
  /** Opens packets in place. Those that are left are as they came. */
  open(arena: Uint8Array, table: Int32Array, count: number, keys: Float64Array): number;
  /** Lets go of keys, of which it keeps some set up for the next packet. */
  forget(keys: Float64Array): void;
  /** UDP sockets, as `src/udp/native-socket.ts` has them; null where the process has none. */
  readonly sockets: NativeSockets | null;
}

/** Sockets are numbers; one that there is not is as one that is closed. */
export interface NativeSockets {
  /**
   * Opens and binds a socket, which keeps `arena` and `table` for what comes.
   * @param binding - what is asked for, and then what was granted
   * @param onPoll - is called with the number of rows that are in `table`, or an errno, negative; and whether there is room again
   * @returns its number, or an errno, negative
   */
  bind(
    binding: Int32Array,
    arena: Uint8Array,
    table: Int32Array,
    onPoll: (received: number, isWritable: boolean) => void,
  ): number;
  /** Sends rows from `first` on. Returns the first for which there is no room, or `count`; -1 where there is no such socket. */
  send(socket: number, arena: Uint8Array, rows: Int32Array, first: number, count: number): number;
  /** `onPoll` is called once there is room. */
  awaitRoom(socket: number): void;
  /** Whether it keeps the process alive. */
  reference(socket: number, isReferenced: boolean): void;
  close(socket: number): void;
}

/** What stands where in the row of a packet. Positions are in the arena. */
export const PacketColumn = {
  START: 0,
  NUMBER_START: 1,
  /** Sealing: of the payload, behind which is room for the tag. Opening: of the packet, tag included. */
  END: 2,
  /** The row of its keys. */
  KEYS: 3,
  /** The packet number, in two halves: handed in when sealing, comes out when opening. */
  NUMBER_LOW: 4,
  NUMBER_HIGH: 5,
  /** Opening: comes out. */
  PAYLOAD_START: 6,
  /** Comes out. Sealing: 0. Opening: header bits that are mostly 0. Or {@link PACKET_FAILED} or {@link PACKET_LEFT}. */
  RESULT: 7,
} as const;
export const PACKET_ROW = 8;
/** It does not verify, and its bytes are undefined; of one to be sealed: it must not leave. */
export const PACKET_FAILED = -1;
/** It is as it came, for JavaScript to judge. */
export const PACKET_LEFT = -2;

/** What stands where in the row of keys, in bytes: the suite's number on the wire, then these. */
export const KEY_ROW_BYTES = 96;
export const KeyOffset = {
  PHASE: 1,
  KEY: 4,
  HEADER_KEY: 36,
  IV: 68,
  /** Opening: the largest number opened with them, or -1, as a double. */
  LARGEST: 80,
  /** Opening: not 0 when all packets are to be left. */
  IS_LEFT: 88,
} as const;

/** The addon; null where it does not serve, see {@link whyNotNative}. Tried once in a thread. */
export function nativeAddon(): NativeAddon | null {
  if (tried === undefined) tried = load();
  return typeof tried === 'string' ? null : tried;
}

/** Why the addon does not serve, in a few words; null when it does. */
export function whyNotNative(): string | null {
  nativeAddon();
  return typeof tried === 'string' ? tried : null;
}

function load(): NativeAddon | string {
  // biome-ignore lint/style/noRestrictedGlobals: which implementation computes is no input of what is computed
  const { env, platform, arch } = process;
  if (env.JSP_NATIVE === '0') return 'turned off by JSP_NATIVE=0';
  const require = createRequire(import.meta.url);
  let reason = 'it is not built';
  // What was built here is newer than what came with the package.
  for (const path of ['build/native', `prebuilds/${platform}-${arch}`]) {
    try {
      const addon = require(`../../${path}/jsp.node`) as NativeAddon;
      if (worksAsKnown(addon)) return addon;
      reason = 'it failed its self-check';
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') {
        reason = `it does not load: ${(error as Error).message}`;
      }
    }
  }
  return reason;
}

/** A native module that loads but answers wrongly must not carry traffic: it seals and opens a known packet of each suite first. */
function worksAsKnown(addon: NativeAddon): boolean {
  return KNOWN_PACKETS.every(({ suite, sealed }) => {
    const keys = new Float64Array(KEY_ROW_BYTES / 8);
    const key = new Uint8Array(keys.buffer);
    for (let i = 0; i < KEY_ROW_BYTES; i++) key[i] = i;
    key[0] = suite;
    key[KeyOffset.PHASE] = 0;
    keys[KeyOffset.LARGEST / 8] = KNOWN_NUMBER - 1;
    key[KeyOffset.IS_LEFT] = 0;
    const packet = new Uint8Array(sealed.length / 2);
    packet.set(KNOWN_HEADER);
    const end = packet.length;
    const number = [KNOWN_NUMBER % 2 ** 32, Math.floor(KNOWN_NUMBER / 2 ** 32)];
    const row = Int32Array.of(0, 1, end - KNOWN_TAG_BYTES, 0, ...number, 0, PACKET_LEFT);
    if (addon.seal(packet, row, 1, keys) !== 1 || row[PacketColumn.RESULT] !== 0) return false;
    if (Buffer.from(packet).toString('hex') !== sealed) return false;
    row.set([0, 1, end, 0, 0, 0, 0, PACKET_LEFT]);
    if (addon.open(packet, row, 1, keys) !== 1 || row[PacketColumn.RESULT] !== 0) return false;
    if (row[PacketColumn.NUMBER_LOW] !== number[0] || row[PacketColumn.NUMBER_HIGH] !== number[1])
      return false;
    if (row[PacketColumn.PAYLOAD_START] !== KNOWN_HEADER.length) return false;
    addon.forget(keys);
    return packet.every((byte, i) => i >= end - KNOWN_TAG_BYTES || byte === (KNOWN_HEADER[i] ?? 0));
  });
}

let tried: NativeAddon | string | undefined;
/** A short header without connection id, then a payload of zeroes. */
const KNOWN_HEADER = [0x41, 0x01, 0x02];
const KNOWN_NUMBER = 0x12_3456_0102;
const KNOWN_TAG_BYTES = 16;
const KNOWN_PACKETS = [
  { suite: 1, sealed: '4a0c23da3133364c4e9fbd8c68ef9ff720da2f1bcb2214ee18f16d9e1a68cbb7d8d66d' },
  { suite: 2, sealed: '44d0fae23a4b5024e890cf9c8c351e58c66f7229d8166687a87f98928b64c8320ef236' },
];
