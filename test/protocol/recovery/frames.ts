import { FrameType } from '../../../src/protocol/wire/frame-type.ts';

export const PING = FrameType.PING;
export const MESSAGE = FrameType.MESSAGE;
