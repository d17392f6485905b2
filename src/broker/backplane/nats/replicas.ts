/**
 * By how many servers of NATS what is stored is kept: each stream of the cluster is changed to what this node asks for, and looked at afterwards, for a server that is of no cluster says yes
 * to a change to three, and keeps the stream alone. [CLU-37]
 */

import type { JetStreamManager, StreamInfo } from '@nats-io/jetstream';
import { JspError } from '../../../base/errors.ts';
import { patiently } from './modules.ts';
import { codeOf } from './stream-config.ts';

/** Resolves when all of these streams are kept by so many servers. @throws {JspError} ERR_JSP_BACKPLANE_FAILED */
export async function keepBy(
  manager: JetStreamManager,
  streams: readonly string[],
  replicas: number,
): Promise<void> {
  for (const stream of streams) {
    try {
      const { config } = await manager.streams.info(stream);
      if (config.num_replicas !== replicas) await manager.streams.update(stream, { num_replicas: replicas });
      // Who keeps it is known a while after it was changed.
      await patiently(async () => {
        const count = serversOf(await manager.streams.info(stream));
        if (count < replicas)
          throw new Error(`NATS says that ${count === 1 ? 'one server keeps' : `${count} keep`} it`);
      });
    } catch (error) {
      const what = `Stream ${stream} is not kept as this broker is to keep it: ${reasonOf(error, replicas)}`;
      throw new JspError('ERR_JSP_BACKPLANE_FAILED', `${what}.`, { cause: error });
    }
  }
}

/** Why NATS does not keep something, and what to do next where it has too few servers. */
export function reasonOf(error: unknown, replicas: number): string {
  const { message } = error as Error;
  const isForWant = [NOT_CLUSTERED, NO_PEERS, undefined].includes(codeOf(error)) && replicas > 1;
  if (!isForWant) return message;
  return `${message}. replicas = ${replicas} takes ${replicas} servers of NATS with JetStream that are one cluster (their block "cluster"); start them, or set replicas = 1`;
}

/** Those that have it, and those that will have it when they are there. A server of no cluster tells of none. */
function serversOf({ cluster }: StreamInfo): number {
  return Math.max(1, (cluster?.replicas?.length ?? 0) + (cluster?.leader ? 1 : 0));
}

const NOT_CLUSTERED = 10_074;
const NO_PEERS = 10_005;
