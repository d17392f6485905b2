/** The process of `jsp broker`: starts a broker and its gateway, tells of them, reloads and stops them when the system says so. */

import { isLoopback } from '../base/ip-address.ts';
import { authFault, brokerOptionsOf, notesOf } from '../broker/config/broker-options.ts';
import type { Config } from '../broker/config/load.ts';
import type { LogOptions } from '../broker/core/store-port.ts';
import { type Log, type LogLevel, openLog } from '../broker/operations/log.ts';
import type { ClusterReport } from '../broker/operations/snapshot.ts';
import { type Broker, startBroker } from '../broker/server.ts';
import { textOf } from '../broker/store/findings.ts';
import type { Gateway, MqttDoor } from '../gateway/index.ts';
import type { TelemetryApi } from '../pubsub/tracing.ts';
import { gatewayOptionsOf } from './broker-settings.ts';
import { startedGateway } from './gateway.ts';
import { listeningError } from './listening.ts';
import { startedMqtt } from './mqtt.ts';
import { shown } from './operator.ts';
import { Reloading, tellOfExposed } from './reloading.ts';
import { StateDirectory } from './state-directory.ts';
import { recoveryLine } from './store.ts';
import { ServiceSignals, tellSupervisor } from './supervisor.ts';
import { CommandError, note, print, warn } from './terminal.ts';

/** What it is to run. */
export interface BrokerOrder {
  readonly config: Config;
  /** Reads the configuration again. */
  readonly load: () => Config;
  /** Where it is written; undefined: on the command line and in the environment alone. */
  readonly file: string | undefined;
  /** Logs of the option `--logs`, which goes before those of the file. */
  readonly logs: readonly LogOptions[] | undefined;
  /** What to try next is printed, and a gateway runs, as of `npm start`. */
  readonly firstSteps: boolean;
}

/**
 * Runs until SIGINT, SIGTERM, or SIGHUP where there is nothing to reload, then drains.
 *
 * @throws JspError ERR_JSP_SOCKET when its address cannot be bound, and when its socket fails for good [BRK-37]
 */
export async function runBroker(order: BrokerOrder): Promise<void> {
  const { values } = order.config;
  const reloads =
    order.file !== undefined ||
    values.auth !== undefined ||
    values.http.tls_cert !== undefined ||
    values.mqtt.tls_cert !== undefined;
  const signals = new ServiceSignals(reloads);
  const log = await openLog(values.logging, { note, warn });
  try {
    await runUntilStopped(order, signals, log);
  } catch (error) {
    const { message, code } = error as Error & { code?: unknown };
    // For who reads the log and not what the command says at its end.
    if (values.logging.format === 'json') log.write('error', message, { event: 'failed', code });
    throw error;
  } finally {
    log.flush();
  }
}

async function runUntilStopped(order: BrokerOrder, signals: ServiceSignals, log: Log): Promise<void> {
  const { config } = order;
  for (const text of notesOf(config)) log.write('warn', text, { event: 'config' });
  tellOfExposed(config, log);
  const state = StateDirectory.open(config.values.broker.state);
  const broker = await listening(order, state).catch((error: unknown) => {
    state.close();
    throw error;
  });
  const reloading = new Reloading(config, order.load, log);
  let gateway: Gateway | null = null;
  let mqtt: MqttDoor[] = [];
  try {
    gateway = await gatewayOf(broker, order);
    mqtt = await startedMqtt(broker, config);
    state.writeUrl(broker.url);
    tellOf(broker, log, config.values.auth !== undefined);
    process.stdout.on('error', () => {}); // who started it does not read any more; the URL is in the state directory
    print(broker.url);
    if (gateway !== null)
      log.write('info', `dashboard and HTTP: ${gateway.url}`, { event: 'http', url: gateway.url });
    for (const { url } of mqtt) log.write('info', `MQTT: ${url}`, { event: 'mqtt', url });
    await tellOfCluster(broker, log);
    if (order.firstSteps) printFirstSteps();
    log.write(
      'info',
      `broker listens on ${broker.host}, UDP port ${broker.port}; its state is in ${state.path}`,
      {
        event: 'listening',
        url: broker.url,
        host: broker.host,
        port: broker.port,
      },
    );
    signals.begin(() => reloading.reload({ broker, gateway, mqtt }));
    tellSupervisor('READY=1', `listens on ${broker.host}, UDP port ${broker.port}`);
    const signal = await Promise.race([signals.stopped, broker.closed.then(() => null)]);
    tellSupervisor('STOPPING=1', 'delivers what is queued');
    if (signal !== null)
      log.write('info', `${signal}: delivering what is queued, then closing`, { event: 'draining', signal });
  } finally {
    signals.end();
    await close(broker, gateway, mqtt, reloading.config);
    state.close();
  }
  const failure = await broker.closed;
  if (failure !== null) throw failure;
  const { messagesIn, messagesOut } = broker.metrics();
  log.write('info', `closed; messages: ${messagesIn} came in, ${messagesOut} went out`, {
    event: 'closed',
    messagesIn,
    messagesOut,
  });
}

async function listening({ config, logs }: BrokerOrder, state: StateDirectory): Promise<Broker> {
  const options = brokerOptionsOf(config);
  try {
    return await startBroker({
      ...options,
      identity: state.identity,
      telemetry: await telemetryOf(config),
      ...(logs === undefined ? {} : { logs }),
    });
  } catch (error) {
    throw listeningError(authFault(error, config));
  }
}

/** What makes spans, where that is asked for. It is no dependency of this package. */
async function telemetryOf({ values }: Config): Promise<TelemetryApi | undefined> {
  if (!values.telemetry.enabled) return undefined;
  const name = '@opentelemetry/api';
  try {
    return (await import(name)) as TelemetryApi;
  } catch (error) {
    const remedy = `npm install ${name}, and an SDK that exports spans`;
    throw new CommandError('ERR_JSP_USAGE', `[telemetry] enabled: ${name} is not installed; ${remedy}`, {
      cause: error,
    });
  }
}

/** The gateway that was asked for. The first steps have one, whatever else listens on its port. */
async function gatewayOf(broker: Broker, { config, firstSteps }: BrokerOrder): Promise<Gateway | null> {
  const options = gatewayOptionsOf(config);
  if (options !== null) return await startedGateway({ broker, ...options });
  if (!firstSteps) return null;
  return await startedGateway({ broker }).catch(() => startedGateway({ broker, port: 0 }));
}

function tellOf(broker: Broker, log: Log, asksWho: boolean): void {
  if (!isLoopback(broker.host) && !asksWho) {
    const what = 'anyone who has the URL and can reach it may publish and subscribe';
    log.write('warn', `listening on ${broker.host}: ${what}`, { event: 'open' });
  }
  if (broker.recovery !== null) {
    const { findings, ...recovery } = broker.recovery;
    log.write('info', recoveryLine(broker.recovery), { event: 'recovered', ...recovery });
    for (const finding of findings) log.write('warn', textOf(finding), { event: 'storeDamaged' });
  }
  broker.on('storeFailed', (name, failure) =>
    log.write('warn', `${failure.message}: nothing more is stored there`, {
      event: 'storeFailed',
      log: name,
    }),
  );
  broker.on('storeDamaged', (finding) => log.write('warn', textOf(finding), { event: 'storeDamaged' }));
  broker.on('keysUnavailable', (url, reason) => {
    const what =
      reason === null ? 'can be had again' : `cannot be had, and those count that came last: ${reason}`;
    log.write(reason === null ? 'info' : 'warn', `keys of tokens from ${url} ${what}`, {
      event: 'keys',
      url,
    });
  });
  broker.on('backplaneTrouble', (trouble) =>
    log.write(trouble === null ? 'info' : 'warn', `backplane: ${trouble ?? 'in order again'}`, {
      event: 'backplane',
    }),
  );
  broker.on('worker', ({ worker, state, error, restartsInMs }) => {
    const again =
      error === null ? '' : `: ${faultText(error.cause ?? error)}; another starts in ${restartsInMs} ms`;
    const level = state === 'ended' || state === 'stuck' ? 'warn' : 'info';
    log.write(level, `worker ${worker}: ${state}${again}`, { event: 'worker', worker, state });
  });
  broker.on('event', ({ what, principal, address, door, detail }) => {
    const level = LEVELS[what];
    if (level === undefined) return; // it has a line of its own
    const who = [principal === '' ? 'nobody in particular' : principal, address, door].filter(
      (each) => each !== '',
    );
    log.write(level, `${what}: ${who.join(', ')}${detail === '' ? '' : `: ${detail}`}`, {
      event: what,
      ...{ principal, address, door, detail },
    });
  });
  broker.on('fault', (error) =>
    log.write(
      'warn',
      `a fault of the broker, which has cost a client its connection, or another node a message: ${faultText(error)}`,
      {
        event: 'fault',
      },
    ),
  );
}

/** Which node this is, and which others it has found: who has mistyped the name of a cluster sees that there are none. */
async function tellOfCluster(broker: Broker, log: Log): Promise<void> {
  const asker = { principal: '', address: '' };
  const { body } = await broker.operations.request('cluster', new Uint8Array(0), asker);
  const { cluster, node, nodes } = body as ClusterReport;
  if (cluster === null) return;
  const others = nodes.filter(({ isAsked }) => !isAsked).map((each) => each.node);
  const found =
    others.length === 0
      ? 'no others are there yet'
      : `also there: ${others.map((each) => shown(each)).join(', ')}`;
  log.write('info', `node ${node} of the cluster ${cluster}; ${found}`, {
    event: 'cluster',
    cluster,
    node,
    others,
  });
}

/** Both within the time that is given for it: callers of the gateway first, for their requests go to the broker. */
async function close(
  broker: Broker,
  gateway: Gateway | null,
  mqtt: readonly MqttDoor[],
  { values }: Config,
): Promise<void> {
  const { drain, hand_over: handOverTo } = values.broker;
  const endsAt = performance.now() + drain;
  await gateway?.close({ drainMs: drain });
  // The broker itself lets the clients of MQTT go, or it would publish their wills. [BRK-102]
  await broker.close({ drainMs: Math.max(0, endsAt - performance.now()), handOverTo });
  await Promise.all(mqtt.map((door) => door.close({ drainMs: MQTT_DRAIN_MS })));
}

/** Below the URL, what to paste in another terminal, in the same folder. */
function printFirstSteps(): void {
  note('\nPaste these two lines in another terminal, in this folder (Ctrl-C here stops the broker):\n');
  process.stdout.write("npx jsp sub 'demo/#' --count 1 &\nsleep 2; npx jsp pub demo/hello 'It works'\n");
  note('');
}

function faultText(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

/** For the last words to clients of MQTT. */
const MQTT_DRAIN_MS = 500;
/** Events of clients, and how important they are. */
const LEVELS: Readonly<Record<string, LogLevel | undefined>> = {
  authenticated: 'debug',
  renewed: 'debug',
  refused: 'warn',
  denied: 'warn',
  limited: 'warn',
  expired: 'info',
  revoked: 'info',
  takeover: 'info',
  kicked: 'info',
  administered: 'info',
  redriven: 'info',
  suppressed: 'warn',
};
