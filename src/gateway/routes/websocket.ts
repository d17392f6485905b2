/** `GET /v1/ws`: a connection that becomes a WebSocket. [GW-50] */

import type { IncomingMessage } from 'node:http';
import { SESSION_NAME_BYTES_MAX } from '../../pubsub/session-commands.ts';
import { ANONYMOUS, proofOf } from '../caller.ts';
import { isName } from '../members.ts';
import { Problem } from '../problem.ts';
import type { Upgrade } from '../router.ts';
import type { SessionRequest } from '../session.ts';
import type { GatewayState } from '../state.ts';
import { WebSockets } from '../websockets.ts';

/** Those of each gateway. */
const webSockets = new WeakMap<GatewayState, WebSockets>();

export const webSocketUpgrade: Upgrade = (state, request, socket, head) => {
  let those = webSockets.get(state);
  if (those === undefined) {
    those = new WebSockets(state);
    webSockets.set(state, those);
  }
  those.upgrade(request, socket, head, greetingOf(request));
};

/** What the header of the request says of who it is, and its query of the session; null: nothing, so that the first message does. [GW-52] */
function greetingOf(request: IncomingMessage): SessionRequest | null {
  const proof = proofOf(request);
  if (proof === ANONYMOUS) return null;
  const query = new URLSearchParams(request.url?.split('?')[1]);
  const expiry = query.get('expiryMs') ?? '0';
  const name = query.get('session') ?? '';
  const isSession = name === '' || isName(name, SESSION_NAME_BYTES_MAX);
  if (!/^\d{1,10}$/.test(expiry) || Number(expiry) > EXPIRY_MS_MAX || !isSession) {
    throw new Problem('REQUEST_INVALID', 'session is a name, and expiryMs a number of ms.');
  }
  return { proof, name, expiryMs: Number(expiry), cleanStart: query.get('cleanStart') === 'true' };
}

const EXPIRY_MS_MAX = 0xffff_ffff;
