/** How a log of a cluster is a stream of JetStream: its name, its subjects, its bounds, and its epoch, which its description has. [CLU-35] */

import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { retentionOf } from '../../core/store/retention.ts';
import type { LogOptions } from '../../core/store-port.ts';
import type { NatsModules } from './modules.ts';
import { tokenOf } from './subjects.ts';

export interface StreamPlan {
  readonly cluster: string;
  readonly replicas: number;
  readonly duplicateWindowMs: number;
}

/** The stream of a log. Two logs, of whatever clusters, never have the same. */
export function streamName(cluster: string, log: string): string {
  const token = log === RETAINED ? `%72${log.slice(1)}` : tokenOf(log);
  return `${namePrefix(cluster)}${token}`;
}

/** The stream of the last values of a cluster, which no log's can be called. */
export function valuesStream(cluster: string): string {
  return `${namePrefix(cluster)}${RETAINED}`;
}

function namePrefix(cluster: string): string {
  return `JSP_${cluster.replaceAll('_', '%5F')}_`;
}

/** What the subjects of a log begin with; the subject of a topic is behind it. */
export function subjectPrefix(cluster: string, log: string): string {
  return `jsp.${cluster}.q.${tokenOf(log)}.`;
}

/** The number of an error of JetStream; undefined: it is none. */
export function codeOf(error: unknown): number | undefined {
  return (error as { code?: number }).code;
}

/** The epoch of a log, when its stream is made or described; 0: the description is not of a log. */
export function epochOf(description: string | undefined): number {
  const found = /; epoch (\d{1,15})$/.exec(description ?? '');
  return found === null ? 0 : Number(found[1]);
}

export function descriptionOf(log: string, epoch: number): string {
  return `JetStreamProto log "${log}"; epoch ${epoch}`;
}

/**
 * Makes the stream of a log, or finds it; with the bounds that the log is configured with.
 *
 * @param epoch - of a stream that is made now
 */
export async function openStream(
  { jetstream }: NatsModules,
  manager: JetStreamManager,
  log: LogOptions,
  options: StreamPlan,
  epoch: number,
): Promise<StreamInfo> {
  const wanted = configOf(jetstream, log, options);
  const { name } = wanted;
  const info = await findOrMake(manager, { ...wanted, description: descriptionOf(log.name, epoch) });
  const { description: found = '' } = info.config;
  const description = epochOf(found) === 0 ? descriptionOf(log.name, epoch) : found;
  const isAsWanted = CHANGEABLE.every((key) => info.config[key] === wanted[key]);
  if (isAsWanted && description === found) return info;
  const changed = Object.fromEntries(CHANGEABLE.map((key) => [key, wanted[key]]));
  return await manager.streams.update(name, { ...changed, description });
}

/** The stream of that name as it is, or one that is made so. */
export async function findOrMake(manager: JetStreamManager, config: Wanted): Promise<StreamInfo> {
  const { name } = config;
  try {
    return await manager.streams.info(name);
  } catch (error) {
    if (codeOf(error) !== STREAM_NOT_FOUND) throw error;
  }
  try {
    return await manager.streams.add(config);
  } catch (error) {
    if (codeOf(error) !== NAME_IN_USE) throw error;
    return await manager.streams.info(name); // another node was faster
  }
}

type Wanted = Partial<StreamConfig> & { name: string };

function configOf(jetstream: NatsModules['jetstream'], log: LogOptions, options: StreamPlan): Wanted {
  const { ageMsMax, messagesMax, discardsOld } = retentionOf(log, 0);
  const ageNanos = ageMsMax * NANOS_A_MS;
  const windowMs = Math.min(options.duplicateWindowMs, ageMsMax);
  return {
    name: streamName(options.cluster, log.name),
    subjects: [`${subjectPrefix(options.cluster, log.name)}>`],
    retention: jetstream.RetentionPolicy.Limits,
    storage: jetstream.StorageType.File,
    num_replicas: options.replicas,
    max_age: ageNanos,
    max_bytes: log.maxBytes ?? -1,
    max_msgs: Number.isFinite(messagesMax) ? messagesMax : -1,
    discard: discardsOld ? jetstream.DiscardPolicy.Old : jetstream.DiscardPolicy.New,
    duplicate_window: windowMs * NANOS_A_MS,
    allow_direct: true,
  };
}

/** What a node changes of a stream that is there. */
const CHANGEABLE = [
  'num_replicas',
  'max_age',
  'max_bytes',
  'max_msgs',
  'discard',
  'duplicate_window',
  'allow_direct',
] as const;
/** The stream of last values has the name that a log of that name would have. */
const RETAINED = 'retained';
export const STREAM_NOT_FOUND = 10_059;
const NAME_IN_USE = 10_058;
const NANOS_A_MS = 1_000_000;
