import { JspError } from '../base/errors.ts';
import { type CloseReason, closeCodeName } from '../protocol/endpoint/index.ts';
import { internalError } from './driver.ts';

/** The error that tells an application why a connection is over; null for a close without error. */
export function closeError(reason: CloseReason): JspError | null {
  if (reason.by === 'timeout') return timeoutError(reason.timeout);
  if (reason.by === 'reset') {
    return new JspError(
      'ERR_JSP_STATELESS_RESET',
      'the server does not know this connection any more, probably because it was started anew; connect again',
    );
  }
  // [ERR-2] Application codes are the application's; 0 means that nothing is wrong.
  if (reason.scope === 'application') {
    if (reason.by === 'local') {
      return reason.timeout === 'close' && reason.incomplete
        ? incompleteError('the time limit of the close came', '')
        : null;
    }
    if (reason.isRefused === true) {
      return new JspError(
        'ERR_JSP_REFUSED',
        `the server's application does not let this client in, code ${reason.code}${reason.reason === '' ? '' : `: ${reason.reason}`}`,
        { applicationCode: reason.code, reason: reason.reason },
      );
    }
    if (reason.code === 0)
      return reason.incomplete ? incompleteError('the peer closed', reason.reason) : null;
    return new JspError(
      'ERR_JSP_CLOSED_BY_PEER',
      `the peer closed with application code ${reason.code}: ${reason.reason}`,
      { applicationCode: reason.code, reason: reason.reason },
    );
  }
  if (reason.cause instanceof JspError) return reason.cause;
  if (reason.cause !== undefined) return internalError(reason.cause);
  const name = closeCodeName(reason.code); // [ERR-1] the code says whose fault it was
  if (name === 'NO_ERROR') return null;
  if (name === 'CONNECTION_REFUSED' && reason.by === 'peer') {
    return new JspError(
      'ERR_JSP_SERVER_FULL',
      'the server has no room for another connection now; try again later, or raise its connectionsMax',
    );
  }
  if (name === 'SHUTTING_DOWN' && reason.by === 'peer') {
    return new JspError(
      'ERR_JSP_SERVER_CLOSING',
      'the server is being closed and takes no more connections; try again when it is back',
    );
  }
  if (name === 'INVALID_TOKEN' && reason.by === 'peer') {
    return new JspError(
      'ERR_JSP_TOKEN_REFUSED',
      'the server asked this client to show its address and did not know its own token any more: try again; servers that share an address must share their tokenKeys',
    );
  }
  if (name === 'VERSION_NEGOTIATION_ERROR' && reason.by === 'peer') {
    return new JspError(
      'ERR_JSP_VERSION_UNSUPPORTED',
      'the server speaks a better version that both sides have in common: something on the way may have hidden it; try again',
    );
  }
  if (name === 'NOTHING_IN_COMMON' && reason.by === 'peer') {
    return new JspError(
      'ERR_JSP_NOTHING_IN_COMMON',
      'client and server speak no cipher suite, key exchange or version in common: compare their option cipherSuites, or JSP_CIPHER_SUITES, and bring the older side up to date',
    );
  }
  if (name === 'IDENTITY_MISMATCH') {
    return new JspError(
      'ERR_JSP_IDENTITY_MISMATCH',
      'the server does not have the pinned identity; check the fingerprint in the URL against what the server prints',
    );
  }
  if (name === 'NOT_AUTHORIZED') {
    return new JspError(
      'ERR_JSP_NOT_AUTHORIZED',
      reason.by === 'peer'
        ? 'the server does not let this client in: it wants an identity that is on its list of keys, or its application could not decide; pass one with the option identity (of jsp: --identity FILE), and have its fingerprint put on the list'
        : 'the client was not let in, or its identity is not on the list of keys any more',
    );
  }
  const timeout = reason.by === 'peer' ? peerTimeoutError(name) : null;
  if (timeout !== null) return timeout;
  const who = reason.by === 'local' ? 'the peer broke the protocol' : 'the peer closed the connection';
  return new JspError(
    'ERR_JSP_PROTOCOL',
    `${who}: ${name}${reason.reason === '' ? '' : `, ${reason.reason}`}`,
  );
}

/** The connection was closed before all was acknowledged. [CON-17] */
export function incompleteError(what: string, reason: string): JspError {
  return new JspError(
    'ERR_JSP_CLOSE_INCOMPLETE',
    `${what} before all that had been sent was acknowledged: messages are missing at the other side`,
    reason === '' ? {} : { applicationCode: 0, reason },
  );
}

/** The error for a CONNECTION_CLOSE that says that the peer gave up, or null. */
function peerTimeoutError(name: string): JspError | null {
  switch (name) {
    case 'IDLE_TIMEOUT':
      return timeoutError('idle');
    case 'HEARTBEAT_TIMEOUT':
      return new JspError(
        'ERR_JSP_HEARTBEAT_TIMEOUT',
        'the peer heard nothing from this side for too long and gave the connection up; connect again',
      );
    case 'HANDSHAKE_TIMEOUT':
      return new JspError(
        'ERR_JSP_HANDSHAKE_TIMEOUT',
        'the peer heard nothing for too long in the midst of the handshake and gave it up; what was sent as early data may have arrived; connect again',
      );
    default:
      return null;
  }
}

function timeoutError(timeout: CloseReason['timeout']): JspError {
  switch (timeout) {
    case 'handshake':
      return new JspError(
        'ERR_JSP_HANDSHAKE_TIMEOUT',
        'no valid answer within the handshake timeout: check that the server runs, that host and port are right, and that the pinned fingerprint is its own (a server does not answer clients that pin another)',
      );
    case 'heartbeat':
      return new JspError(
        'ERR_JSP_HEARTBEAT_TIMEOUT',
        'the peer answered no heartbeat: it is gone or unreachable; connect again',
      );
    default:
      return new JspError(
        'ERR_JSP_IDLE_TIMEOUT',
        'the connection was idle for longer than its idle timeout; connect again',
      );
  }
}
