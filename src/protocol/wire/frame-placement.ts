import { FrameType } from './frame-type.ts';
import { PacketType } from './packet-type.ts';

/** True when a packet with this frame must be acknowledged. [FRM-3] */
export function isAckEliciting(type: number): boolean {
  return type > FrameType.ACK_ECN_RECOVERED ? type !== FrameType.CONNECTION_CLOSE : type === FrameType.PING;
}

/** True when a packet of this {@link PacketType} may carry the frame; else the connection closes with PROTOCOL_VIOLATION. [FRM-4] */
export function isAllowedIn(type: number, packetType: number): boolean {
  return (ALLOWED[type & 0x3f] & (1 << packetType)) !== 0;
}

/** For each frame type a bit set of the packet types that may carry it. */
const ALLOWED = new Uint8Array(64);
const ANY_HANDSHAKE = (1 << PacketType.INITIAL) | (1 << PacketType.HANDSHAKE);

ALLOWED.fill((1 << PacketType.ZERO_RTT) | (1 << PacketType.ONE_RTT));
for (const type of [
  FrameType.PADDING,
  FrameType.PING,
  FrameType.ACK,
  FrameType.ACK_ECN,
  FrameType.ACK_RECOVERED,
  FrameType.ACK_ECN_RECOVERED,
  FrameType.CRYPTO,
  FrameType.CONNECTION_CLOSE,
]) {
  ALLOWED[type] |= ANY_HANDSHAKE;
}
for (const type of [
  FrameType.ACK,
  FrameType.ACK_ECN,
  FrameType.ACK_RECOVERED,
  FrameType.ACK_ECN_RECOVERED,
  FrameType.CRYPTO,
  FrameType.HANDSHAKE_DONE,
  FrameType.NEW_TOKEN,
  FrameType.PATH_RESPONSE,
  FrameType.RETIRE_CONNECTION_ID,
]) {
  ALLOWED[type] &= ~(1 << PacketType.ZERO_RTT);
}
