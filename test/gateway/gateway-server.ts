/** A broker and a gateway on it, in memory and on ports of the system's choice, for the tests of a file. */

import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { type Broker, type BrokerOptions, startBroker } from '../../src/broker/index.ts';
import { type Gateway, startGateway } from '../../src/gateway/index.ts';
import type { GatewayOptions } from '../../src/gateway/options.ts';
import { generateIdentity } from '../../src/transport/system-crypto.ts';

export interface RawAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: what a test expects of it, it says itself
  readonly json: any;
}

export interface TestGateway {
  readonly broker: Broker;
  readonly gateway: Gateway;
  /** Faults of either. */
  readonly faults: unknown[];
  /** Makes a request. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Makes one with headers that a browser, and so `fetch`, would not let through. */
  raw(
    method: string,
    path: string,
    headers?: Record<string, string>,
    body?: string | Buffer,
  ): Promise<RawAnswer>;
  close(): Promise<void>;
}

/** Limits of a gateway that refuses nobody because its process has had to wait: how busy the machine is, on which tests run, is no matter of theirs. */
export const NEVER_LATE = { loopDelayMsMax: 0 };

export async function gatewayInMemory(
  options: Partial<GatewayOptions> = {},
  brokerOptions: Partial<BrokerOptions> = {},
): Promise<TestGateway> {
  const broker = await startBroker({ identity: generateIdentity(), port: 0, ...brokerOptions });
  const limits = { ...NEVER_LATE, ...options.limits };
  const gateway = await startGateway({ broker, port: 0, ...options, limits });
  const faults: unknown[] = [];
  broker.on('fault', (fault) => faults.push(fault));
  gateway.on('fault', (fault) => faults.push(fault));
  return {
    broker,
    gateway,
    faults,
    fetch: (path, init) => fetch(gateway.url + path, init),
    raw: (method, path, headers = {}, body = '') => rawRequest(gateway.port, method, path, headers, body),
    close: async () => {
      await gateway.close({ drainMs: 0 });
      await broker.close({ drainMs: 0 });
    },
  };
}

function rawRequest(
  port: number,
  method: string,
  path: string,
  headers: Record<string, string>,
  body: string | Buffer,
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const isJson = /json/.test(response.headers['content-type'] ?? '');
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          json: isJson && text !== '' ? JSON.parse(text) : null,
        });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}
