/** What a gateway can be told, and what each of it is where it is not told. */

import { readFileSync } from 'node:fs';
import { JspError } from '../base/errors.ts';
import {
  anObject,
  checkOptions,
  flag,
  type OptionCheck,
  type OptionTable,
  text,
  whole,
} from '../base/options.ts';
import type { Broker } from '../broker/index.ts';
import { type Clock, TIMEOUT_MS_MAX } from '../udp/clock.ts';
import { MQTT_LIMITS, type MqttLimitOptions } from './mqtt/limits.ts';

/** Bounds of what callers may cost a gateway. */
export interface GatewayLimits {
  /** Bytes of one payload. Default 1 MiB, at most 16 MiB. */
  payloadBytesMax?: number | undefined;
  /** Bytes of the body of a bulk, as it comes. Default 4 MiB, at most 256 MiB. */
  bulkBytesMax?: number | undefined;
  /** Messages of one bulk. Default 1,000; 1 to 100,000. */
  bulkItemsMax?: number | undefined;
  /** Connections to the gateway at once; the next is not accepted. Default 20,000; 1 to 1,000,000. */
  connectionsMax?: number | undefined;
  /** Requests that are under way at once; the next is answered 503. Default 4,096; 1 to 1,000,000. */
  inFlightMax?: number | undefined;
  /** Bytes of their bodies together. Default 64 MiB. */
  inFlightBytesMax?: number | undefined;
  /** How long requests may wait for the event loop, in ms: where they wait longer for a while, each turn serves as many as so long allows, and the others are answered 503. Default 100; 0 to 60,000; 0: however long. */
  loopDelayMsMax?: number | undefined;
  /** Sessions that HTTP requests share, one for each distinct set of credentials. Default 1,024; 1 to 1,000,000. */
  sessionsMax?: number | undefined;
  /** How long a request may take to come, in ms. Default 30,000. */
  requestMs?: number | undefined;
  /** How long the broker may take to answer a publish, in ms; then 503 or 504. Default 10,000. */
  answerMs?: number | undefined;
  /** How long a connection is kept that nobody uses, in ms. Default 65,000. */
  keepAliveMs?: number | undefined;
}

/** The certificate of an HTTPS gateway, from files that `Gateway.reload` reads again. */
export interface GatewayTls {
  /** File with the certificate and those above it, as PEM. */
  readonly cert: string;
  /** File with its private key, as PEM. */
  readonly key: string;
}

/** What a gateway needs of a broker in its process, and what it shows of it. */
export type LocalBroker = Pick<Broker, 'serve'> &
  Partial<Pick<Broker, 'operations' | 'logsOf' | 'sessionNote' | 'setSessionNote'>>;

export interface GatewayOptions {
  /** The broker in this process, or the URLs of one elsewhere. */
  broker: LocalBroker | string | readonly string[];
  /** Address to listen on. Default `127.0.0.1`: this machine only. */
  host?: string | undefined;
  /** TCP port; 0 lets the system choose. Default 4580. */
  port?: number | undefined;
  /** HTTPS, with the certificate in these files. Default: plain HTTP. */
  tls?: GatewayTls | undefined;
  /** Names by which callers reach it, beside those of this machine and addresses: a request to another is refused, for it was led here by a page's tricks with DNS. */
  hosts?: readonly string[] | undefined;
  /** Origins whose pages may use it, such as `https://app.example.org`, beside its own; `*`: all. Default: none. */
  origins?: readonly string[] | undefined;
  /** Addresses, or networks as in `10.0.0.0/8`, of proxies whose `X-Forwarded-For` is believed. Default: none. */
  trustedProxies?: readonly string[] | undefined;
  /** Bounds of what callers may cost. */
  limits?: GatewayLimits | undefined;
  /** Serves the dashboard at `/`. Default true. */
  dashboard?: boolean | undefined;
  /** Bounds of clients that speak MQTT on the WebSocket `/mqtt`, where the broker is in this process; false: there are none. */
  mqtt?: MqttLimitOptions | false | undefined;
  /** Where it takes its time from. Default: the machine's. */
  clock?: Clock | undefined;
}

/** The limits that hold. */
export type GivenLimits = { readonly [K in keyof Required<GatewayLimits>]: number };

export const DEFAULT_LIMITS: GivenLimits = {
  payloadBytesMax: 1024 * 1024,
  bulkBytesMax: 4 * 1024 * 1024,
  bulkItemsMax: 1_000,
  connectionsMax: 20_000,
  inFlightMax: 4_096,
  inFlightBytesMax: 64 * 1024 * 1024,
  loopDelayMsMax: 100,
  sessionsMax: 1_024,
  requestMs: 30_000,
  answerMs: 10_000,
  keepAliveMs: 65_000,
};

export const DEFAULT_HTTP_HOST = '127.0.0.1';
export const DEFAULT_HTTP_PORT = 4580;

/** The certificate and the key that these files hold now. */
export function readTls({ cert, key }: GatewayTls): { cert: string; key: string } {
  return { cert: readPem('tls.cert', cert), key: readPem('tls.key', key) };
}

/** @throws {JspError} ERR_JSP_OPTION_INVALID */
export function checkGatewayOptions(options: GatewayOptions): void {
  checkOptions('startGateway', options, GATEWAY_OPTIONS);
  if (options.broker === undefined) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      'startGateway: broker must be a Broker, or the URL of one elsewhere',
    );
  }
}

function readPem(what: string, path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new JspError(
      'ERR_JSP_OPTION_INVALID',
      `${what} ${path} cannot be read: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

const texts: OptionCheck = (value) =>
  Array.isArray(value) && value.every((each) => typeof each === 'string') ? null : 'a list of strings';

const LIMITS: OptionTable<GatewayLimits> = {
  payloadBytesMax: whole(1, 16 * 1024 * 1024),
  bulkBytesMax: whole(1, 256 * 1024 * 1024),
  bulkItemsMax: whole(1, 100_000),
  connectionsMax: whole(1, 1_000_000),
  inFlightMax: whole(1, 1_000_000),
  inFlightBytesMax: whole(1, 2 ** 40),
  loopDelayMsMax: whole(0, 60_000),
  sessionsMax: whole(1, 1_000_000),
  requestMs: whole(1, TIMEOUT_MS_MAX),
  answerMs: whole(1, TIMEOUT_MS_MAX),
  keepAliveMs: whole(1, TIMEOUT_MS_MAX),
};

const GATEWAY_OPTIONS: OptionTable<GatewayOptions> = {
  broker: (value) =>
    typeof value === 'string' ||
    texts(value) === null ||
    typeof (value as { serve?: unknown } | null)?.serve === 'function'
      ? null
      : 'a Broker, or the URLs of one elsewhere',
  host: text,
  port: whole(0, 65_535),
  tls: (value) => {
    if (anObject(value) !== null) return 'an object';
    checkOptions('startGateway: tls', value as GatewayTls, TLS);
    return null;
  },
  hosts: texts,
  origins: texts,
  trustedProxies: texts,
  limits: (value) => {
    if (anObject(value) !== null) return 'an object';
    checkOptions('startGateway: limits', value as GatewayLimits, LIMITS);
    return null;
  },
  dashboard: flag,
  mqtt: (value) => {
    if (value === false) return null;
    if (anObject(value) !== null) return 'an object, or false';
    checkOptions('startGateway: mqtt', value as MqttLimitOptions, MQTT_LIMITS);
    return null;
  },
  clock: anObject,
};
const TLS: OptionTable<GatewayTls> = { cert: text, key: text };
