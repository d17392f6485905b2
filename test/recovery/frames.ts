import { FrameType } from '../../src/wire/frame-type.ts';

export const PING = FrameType.PING;
export const MESSAGES = FrameType.MESSAGES;
