import type { ClusterLog } from '../../../../src/broker/backplane/log/cluster-log.ts';
import { JetStreamLogs } from '../../../../src/broker/backplane/nats/jetstream-logs.ts';
import { NatsLine } from '../../../../src/broker/backplane/nats/line.ts';
import { loadNats } from '../../../../src/broker/backplane/nats/modules.ts';
import type {
  LogOptions,
  LogRecord,
  StoredRecord,
  StoreEvents,
} from '../../../../src/broker/core/store-port.ts';
import { HEADER_BYTES, PublishFlag, publishPrefix } from '../../../../src/pubsub/command.ts';
import { systemClock } from '../../../../src/udp/clock.ts';

/** A node's logs on a server of NATS, and what they tell. */
export class LogsNode {
  readonly logs: JetStreamLogs;
  readonly troubles: string[] = [];
  /** By ticket. */
  readonly placed: { offset: number; isDuplicate: boolean }[] = [];
  private readonly line: NatsLine;
  private waiting: (() => void)[] = [];

  private constructor(line: NatsLine, logs: JetStreamLogs, hold: { node: LogsNode | null }) {
    this.line = line;
    this.logs = logs;
    hold.node = this;
    line.listener = {
      up: () => logs.up(),
      down: () => logs.down(),
      refused: ({ message }) => this.troubles.push(message),
      fault: (error) => this.troubles.push(String(error)),
    };
  }

  static async open(
    url: string,
    node: string,
    logs: readonly LogOptions[] = [],
    cluster = 'main',
  ): Promise<LogsNode> {
    const modules = await loadNats();
    const line = await NatsLine.open(
      modules,
      { kind: 'nats', urls: [url], cluster, node },
      { purpose: 'log', noEcho: false },
    );
    const hold: { node: LogsNode | null } = { node: null };
    const opened = await JetStreamLogs.open(logs, {
      ...{
        modules,
        line,
        node,
        cluster,
        replicas: 1,
        duplicateWindowMs: 120_000,
        clock: systemClock,
      },
      onTrouble: (message) => hold.node?.troubles.push(message),
      push: (tell) => queueMicrotask(() => hold.node?.hear(tell)),
      onPlaced: () => {},
    });
    return new LogsNode(line, opened, hold);
  }

  get log(): ClusterLog {
    return this.logs.logs[0];
  }

  /** Resolves when `isSo` is. */
  async until(isSo: () => boolean, log = this.log): Promise<void> {
    void log;
    while (!isSo()) await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  /** All records from `from` on, as a reader gets them that waits for what is loaded. */
  async readAll(from: number, until: number, log = this.log): Promise<StoredRecord[]> {
    const found: StoredRecord[] = [];
    for (let at = from; at < until; ) {
      const records = log.read(at, until, 256 * 1024);
      if (records === null) await new Promise<void>((resolve) => this.waiting.push(resolve));
      else if (records.length === 0) break;
      else {
        found.push(...records);
        at = records[records.length - 1].offset + 1;
      }
    }
    return found;
  }

  async close(): Promise<void> {
    this.logs.close();
    await this.line.close();
  }

  private hear(tell: (events: StoreEvents) => void): void {
    const ignore = () => {};
    tell({
      stored: ignore,
      placed: (_log, _ticket, offset, isDuplicate) => this.placed.push({ offset, isDuplicate }),
      stateStored: ignore,
      loaded: ignore,
      trimmed: ignore,
      storeFailed: ignore,
    });
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}

export function recordOf(
  topic: string,
  payload: string | Uint8Array,
  of: Partial<LogRecord> = {},
): LogRecord {
  const command = Buffer.concat([publishPrefix(topic, PublishFlag.QOS1, 1), Buffer.from(payload)]);
  const topicEnd = HEADER_BYTES + Buffer.byteLength(topic);
  return { command, topicEnd, session: 0, sequence: 0, id: 0, expiresAt: 0, publishedAt: Date.now(), ...of };
}

export function textOf({ command, topicEnd }: StoredRecord): string {
  return Buffer.from(command.subarray(topicEnd)).toString();
}
