/** SIGHUP to a broker that runs: its configuration is read again, and takes the place of the one before as a whole, or not at all. [CFG-5] */

import { isDeepStrictEqual } from 'node:util';
import { authFault, reloadableOptionsOf } from '../broker/config/broker-options.ts';
import { exposedFilesOf } from '../broker/config/exposed-files.ts';
import { type Config, ConfigError } from '../broker/config/load.ts';
import { valueAt } from '../broker/config/print.ts';
import { placedSettings } from '../broker/config/setting.ts';
import { SETTINGS } from '../broker/config/settings.ts';
import type { Log } from '../broker/operations/log.ts';
import type { Broker } from '../broker/server.ts';
import type { Gateway, MqttDoor, PreparedCertificate } from '../gateway/index.ts';

/** What goes by the configuration, beside the log. */
export interface Configured {
  readonly broker: Broker;
  readonly gateway: Gateway | null;
  readonly mqtt: readonly MqttDoor[];
}

export class Reloading {
  private readonly load: () => Config;
  private readonly log: Log;
  private current: Config;
  private running: Promise<void> | null = null;
  private again = false;

  /** @param load - reads it anew, and throws what is wrong with it */
  constructor(current: Config, load: () => Config, log: Log) {
    this.current = current;
    this.load = load;
    this.log = log;
  }

  /** The one that holds now. */
  get config(): Config {
    return this.current;
  }

  /** Reloads, and once more when it was asked for meanwhile; never two at a time. Tells how that went, and never throws. */
  async reload(configured: Configured): Promise<void> {
    if (this.running !== null) {
      this.again = true;
      return await this.running;
    }
    this.running = this.reloadAll(configured);
    await this.running;
  }

  private async reloadAll(configured: Configured): Promise<void> {
    do {
      this.again = false;
      await this.reloadOnce(configured);
    } while (this.again);
    this.running = null;
  }

  private async reloadOnce(configured: Configured): Promise<void> {
    const { log } = this;
    try {
      const changed = await this.take(this.load(), configured);
      const what =
        changed.length === 0
          ? 'its settings are as they were; the files that they name were read again'
          : changed.join(', ');
      tellOfExposed(this.current, log);
      log.write('info', `reloaded: ${what}`, { event: 'reload', changed });
      log.level = this.current.values.logging.level; // once that is told
    } catch (error) {
      const { message, code } = error as Error & { code?: unknown };
      const faults = error instanceof ConfigError ? error.faults : [message];
      for (const fault of faults)
        log.write('error', `not reloaded, and all is as it was: ${fault}`, { event: 'reloadFailed', code });
      configured.broker.operations.note({ what: 'reloadFailed', detail: faults.join('; ') });
    }
  }

  /** Everything that can fail comes before anything that changes. */
  private async take(next: Config, { broker, gateway, mqtt }: Configured): Promise<string[]> {
    const { log } = this;
    const changed = changesBetween(this.current, next);
    assertReloads(changed, next);
    const { auth, limits } = reloadableOptionsOf(next);
    const prepared = await broker.prepareReload({ ...limits, auth }).catch((error: unknown) => {
      throw authFault(error, next);
    });
    let certificates: PreparedCertificate[];
    try {
      certificates = [...(gateway === null ? [] : [gateway]), ...mqtt].map((door) => door.prepareReload());
      log.reopen();
    } catch (error) {
      prepared.drop();
      throw error;
    }
    for (const certificate of certificates) certificate.use();
    prepared.use(changed.map(({ place }) => place).join(', '));
    this.current = next;
    return changed.map(({ place }) => place);
  }
}

/** Files that others on the machine reach: at the start, and each time that they were read anew. [CFG-10] */
export function tellOfExposed(config: Config, log: Log): void {
  for (const { file, text } of exposedFilesOf(config)) log.write('warn', text, { event: 'exposed', file });
}

interface Change {
  /** `queues.stall`, or the table of a list. */
  readonly place: string;
  readonly reloads: boolean;
}

function changesBetween(before: Config, after: Config): Change[] {
  const settings = [...placedSettings(SETTINGS)].filter(({ place }) => !place.startsWith('auth.'));
  const changes = settings
    .filter(({ place }) => !isDeepStrictEqual(valueAt(before.values, place), valueAt(after.values, place)))
    .map(({ place, setting }) => ({ place, reloads: setting.reloads }));
  if (!isDeepStrictEqual(before.values.log, after.values.log)) changes.push({ place: 'log', reloads: false });
  if (!isDeepStrictEqual(before.values.auth, after.values.auth)) {
    // A line that is missing by mistake would let everybody in; and where nobody was asked, nobody has shown who he is.
    const isThereAsBefore = (before.values.auth === undefined) === (after.values.auth === undefined);
    changes.push({ place: 'auth', reloads: isThereAsBefore });
  }
  return changes;
}

/** @throws ConfigError for what takes effect at a start alone: to go by half of a file would be to go by none that anybody has written */
function assertReloads(changes: readonly Change[], { origins }: Config): void {
  const faults = changes
    .filter(({ reloads }) => !reloads)
    .map(({ place }) => {
      const [table, key] = place.split('.');
      const name = place === 'log' ? '[[log]]' : place === 'auth' ? '[auth]' : `[${table}] ${key}`;
      const at = origins.get(place);
      return `${at === undefined ? '' : `${at}: `}${name}: has changed, which takes effect when the broker is started anew`;
    });
  if (faults.length > 0) throw new ConfigError(faults);
}
