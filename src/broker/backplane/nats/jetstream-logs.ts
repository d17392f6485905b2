/** The logs of a cluster on JetStream, each a stream. */

import { randomBytes } from 'node:crypto';
import { JspError } from '../../../base/errors.ts';
import type { Clock } from '../../../udp/clock.ts';
import { withDefaultLog } from '../../core/store/retention.ts';
import type { LogOptions, LogRecord } from '../../core/store-port.ts';
import { ClusterLog, type Tell } from '../log/cluster-log.ts';
import { JetStreamLog, type JetStreamSurroundings } from './jetstream-log.ts';
import { reasonOf } from './replicas.ts';

export interface JetStreamLogsSurroundings extends JetStreamSurroundings {
  readonly clock: Clock;
  push(news: Tell): void;
  onPlaced(record: LogRecord): void;
}

export class JetStreamLogs {
  /** The default log first. */
  readonly logs: readonly ClusterLog[];
  private readonly streams: readonly JetStreamLog[];

  /** Makes or finds all streams. */
  static async open(
    logs: readonly LogOptions[],
    asked: Omit<JetStreamLogsSurroundings, 'manager'>,
  ): Promise<JetStreamLogs> {
    const { modules, line } = asked;
    let manager: JetStreamLogsSurroundings['manager'];
    try {
      manager = await modules.jetstream.jetstreamManager(line.nats);
    } catch (error) {
      const what = `NATS keeps nothing for this broker (${(error as Error).message}): start it with JetStream (nats-server -js)`;
      throw new JspError('ERR_JSP_BACKPLANE_FAILED', `${what}.`, { cause: error });
    }
    const surroundings: JetStreamLogsSurroundings = { ...asked, manager };
    const opened: [JetStreamLog, ClusterLog][] = [];
    const life = `${surroundings.node}.${randomBytes(6).toString('hex')}`;
    // One behind the other: servers of NATS make streams one at a time.
    for (const log of withDefaultLog(logs)) {
      const { stream, extent } = await JetStreamLog.open(log, surroundings).catch((error) => {
        const what = `NATS does not keep log "${log.name}": ${reasonOf(error, asked.replicas)}`;
        throw new JspError('ERR_JSP_BACKPLANE_FAILED', `${what}.`, { cause: error });
      });
      const { clock, push, onPlaced } = surroundings;
      opened.push([stream, new ClusterLog(log, stream, extent, { clock, life, push, onPlaced })]);
    }
    return new JetStreamLogs(opened);
  }

  private constructor(opened: readonly (readonly [JetStreamLog, ClusterLog])[]) {
    this.streams = opened.map(([stream]) => stream);
    this.logs = opened.map(([, log]) => log);
  }

  /** The line to NATS is up again. */
  up(): void {
    for (const { listener } of this.streams) listener?.up();
  }

  down(): void {
    for (const { listener } of this.streams) listener?.down();
  }

  close(): void {
    for (const log of this.logs) log.close();
    for (const stream of this.streams) stream.close();
  }
}
