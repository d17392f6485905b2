/** What a command says on stderr while it goes on: that its connection is lost, that it is back, and what that has cost. */
import { printable } from '../base/errors.ts';
import type { BrokerClient, ClientNotice, Subscription } from '../client/index.ts';
import { note, warn } from './terminal.ts';

/** Once for each time that the connection is lost, however many attempts fail. */
export function tellConnection(client: BrokerClient): void {
  let isLost = false;
  client.on('state', (state, reason) => {
    if (state === 'offline' && !isLost) {
      isLost = true;
      const why = reason === null ? '' : `: ${printable(reason.message)} (${reason.code})`;
      note(`disconnected${why}; trying to come back`);
    } else if (state === 'online' && isLost) {
      isLost = false;
      note('connected again');
    }
  });
  client.on('notice', (notice) => {
    const text = noticeText(notice);
    if (text !== null) warn(text);
  });
}

/** What a broker tells the whole client, for people; null of what is told otherwise. */
function noticeText({ about, value, text }: ClientNotice): string | null {
  const name = printable(text);
  switch (about) {
    case 'notAuthorized':
      return `${counted(value)} not taken: this client may not publish to ${name}`;
    case 'revoked':
      return `this client may not read ${name} any more`;
    case 'limited':
      return `the broker has reached a limit of this client: ${name}`;
    default:
      return null;
  }
}

/** What a subscription misses, when it is known. */
export function tellGaps(subscription: Subscription): void {
  subscription.on('gap', ({ missed }) =>
    warn(missed === 'unknown' ? 'missed what was published meanwhile' : `missed ${counted(missed)}`),
  );
  subscription.on('missed', (count, reason) => warn(`missed ${counted(count)} (${reason})`));
  subscription.on('resumed', ({ recovered }) => note(recovered ? 'resumed where it was' : 'resumed'));
}

function counted(messages: number): string {
  return messages === 1 ? '1 message' : `${messages} messages`;
}
