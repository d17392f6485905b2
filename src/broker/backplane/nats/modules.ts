/** The client library of NATS, which is loaded when a broker is to use it and need not be installed where none does; and what its errors mean for whoever runs the broker. */

import { JspError } from '../../../base/errors.ts';

export interface NatsModules {
  readonly transport: typeof import('@nats-io/transport-node');
  readonly jetstream: typeof import('@nats-io/jetstream');
  readonly kv: typeof import('@nats-io/kv');
}

/** @throws {JspError} ERR_JSP_BACKPLANE_UNAVAILABLE when one of them is not installed */
export async function loadNats(): Promise<NatsModules> {
  try {
    const [transport, jetstream, kv] = await Promise.all([
      import('@nats-io/transport-node'),
      import('@nats-io/jetstream'),
      import('@nats-io/kv'),
    ]);
    return { transport, jetstream, kv };
  } catch (error) {
    const remedy = 'npm install @nats-io/transport-node @nats-io/jetstream @nats-io/kv';
    throw new JspError(
      'ERR_JSP_BACKPLANE_UNAVAILABLE',
      `A backplane of kind "nats" takes packages that are not installed: ${remedy}.`,
      { cause: error },
    );
  }
}

/** What a failure means, and what to do next. */
export function failureOf(error: Error, urls: readonly string[]): JspError {
  const where = urls.map((url) => url.replace(/\/\/[^@/]*@/, '//')).join(', ');
  const { name, message } = error;
  const because =
    name === 'AuthorizationError' || name === 'UserAuthenticationExpiredError'
      ? `NATS at ${where} does not let this broker in (${message}): look at the credentials, user or token of the backplane`
      : /refused|ECONNREFUSED|ENOTFOUND|EAI_AGAIN|timeout|ETIMEDOUT|EHOSTUNREACH/i.test(`${name} ${message}`)
        ? `NATS cannot be reached at ${where} (${message}): start it (nats-server -js), or correct the URLs of the backplane`
        : `NATS at ${where}: ${message}`;
  return new JspError('ERR_JSP_BACKPLANE_FAILED', `${because}.`, { cause: error });
}

/** Does something with JetStream when a broker starts: again and again for a while, for a server that has just begun answers so, too. */
export async function patiently<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === TRIES_MAX) throw error;
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS));
    }
  }
}

const TRIES_MAX = 15;
const TRY_AGAIN_MS = 200;
