/** The six workloads of the Pulsar Proxy report, in the process of those who call: the shapes are the report's, repeated for as long as is asked. */
import { performance } from 'node:perf_hooks';
import { WebSocket } from 'ws';
import { median, quantilesOf } from '../../src/bench/figures.ts';
import { HttpConnection } from './http-connection.ts';
import type { GatewayPeer, RunningGateway } from './peer.ts';

export interface Outcome {
  /** Messages, connections or deliveries a second. */
  readonly rate: number;
  /** Of a request, a connection or a delivery, in ms. */
  readonly p50: number;
  readonly p99: number;
}

export type Workload = (target: Target, seconds: number) => Promise<Outcome>;

export interface Target {
  readonly peer: GatewayPeer;
  readonly gateway: Pick<RunningGateway, 'host' | 'port' | 'socketPath' | 'subprotocol'>;
}

export const WORKLOADS: Readonly<Record<string, Workload>> = {
  single: (target, seconds) => post(target, seconds, 1, 1),
  bulk: (target, seconds) => post(target, seconds, 1, BULK),
  concurrent: (target, seconds) => post(target, seconds, 20, 1),
  connects,
  'end to end': endToEnd,
  broadcast,
};

/** Posts one after the other on each of `connections`. */
async function post(target: Target, seconds: number, connections: number, items: number): Promise<Outcome> {
  const open = await Promise.all(Array.from({ length: connections }, () => httpTo(target)));
  const body =
    items === 1
      ? PAYLOAD
      : JSON.stringify(
          Array.from({ length: items }, (_, i) => ({
            topic: `bench/bulk/${i % 10}`,
            json: { n: i, text: TEXT },
          })),
        );
  const times: number[] = [];
  const from = performance.now() + WARM_UP_MS;
  const until = from + seconds * 1_000;
  const postAgain = async (connection: HttpConnection, i: number): Promise<void> => {
    const path = items === 1 ? `/v1/topics/bench/single/${i % 10}` : '/v1/bulk';
    for (let at = performance.now(); at < until; ) {
      const status = await connection.post(path, body);
      if (status !== 200) throw new Error(`${target.peer.name} has answered ${status}`);
      const now = performance.now();
      if (at >= from) times.push(now - at);
      at = now;
    }
  };
  await Promise.all(open.map(postAgain));
  for (const connection of open) connection.close();
  return outcomeOf(times, (times.length * items) / seconds);
}

/** Rounds of 50 WebSockets at once, each connected and subscribed. */
async function connects(target: Target, seconds: number): Promise<Outcome> {
  const times: number[] = [];
  const rates: number[] = [];
  const from = performance.now() + CONNECTS_WARM_UP_MS;
  const until = from + seconds * 1_000;
  while (performance.now() < until) {
    const began = performance.now();
    const sockets = await Promise.all(
      Array.from({ length: SOCKETS }, async (_, i) => {
        const socket = await subscribed(target, `bench/connects/${i}`, () => {});
        if (began >= from) times.push(performance.now() - began);
        return socket;
      }),
    );
    if (began >= from) rates.push((SOCKETS / (performance.now() - began)) * 1_000);
    await Promise.all(sockets.map(closed));
  }
  return outcomeOf(times, median(rates));
}

/** 20 subscribers, each to a topic; a message after the other, by HTTP, from just before it is posted until its subscriber has it. */
async function endToEnd(target: Target, seconds: number): Promise<Outcome> {
  let arrived = (): void => {};
  const sockets = await Promise.all(
    Array.from({ length: SUBSCRIBERS }, (_, i) =>
      subscribed(target, `bench/end-to-end/${i}`, () => arrived()),
    ),
  );
  const http = await httpTo(target);
  const times: number[] = [];
  const from = performance.now() + WARM_UP_MS;
  const until = from + seconds * 1_000;
  for (let n = 0, at = performance.now(); at < until; n++) {
    const delivered = new Promise<void>((resolve) => {
      arrived = resolve;
    });
    const answered = http.post(`/v1/topics/bench/end-to-end/${n % SUBSCRIBERS}`, PAYLOAD);
    await delivered;
    if (at >= from) times.push(performance.now() - at);
    await answered;
    at = performance.now();
  }
  http.close();
  await Promise.all(sockets.map(closed));
  return outcomeOf(times, times.length / seconds);
}

/** 50 messages in one request, to 30 subscribers: from just before it until all have all; and again. */
async function broadcast(target: Target, seconds: number): Promise<Outcome> {
  const topic = 'bench/broadcast';
  let count = 0;
  let began = 0;
  let isMeasured = false;
  const times: number[] = [];
  let done = (): void => {};
  const onDelivery = (): void => {
    if (isMeasured) times.push(performance.now() - began);
    if (++count === RECEIVERS * BULK) done();
  };
  const sockets = await Promise.all(
    Array.from({ length: RECEIVERS }, () => subscribed(target, topic, onDelivery)),
  );
  const http = await httpTo(target);
  const body = JSON.stringify(
    Array.from({ length: BULK }, (_, i) => ({ topic, json: { n: i, text: TEXT } })),
  );
  const rates: number[] = [];
  const from = performance.now() + WARM_UP_MS;
  const until = from + seconds * 1_000;
  while (performance.now() < until) {
    count = 0;
    began = performance.now();
    isMeasured = began >= from;
    const all = new Promise<void>((resolve) => {
      done = resolve;
    });
    const answered = http.post('/v1/bulk', body);
    await all;
    if (isMeasured) rates.push(((RECEIVERS * BULK) / (performance.now() - began)) * 1_000);
    await answered;
  }
  http.close();
  await Promise.all(sockets.map(closed));
  return outcomeOf(times, median(rates));
}

function httpTo({ gateway }: Target): Promise<HttpConnection> {
  return HttpConnection.open(gateway.host, gateway.port);
}

/** A WebSocket with a subscription that is there. */
function subscribed({ peer, gateway }: Target, topic: string, onDelivery: () => void): Promise<WebSocket> {
  const { host, port, socketPath, subprotocol } = gateway;
  const socket = new WebSocket(
    `ws://${host}:${port}${socketPath}`,
    [subprotocol].filter((each) => each !== 'proxy'),
    {
      perMessageDeflate: false,
    },
  );
  return new Promise((resolve, reject) => {
    socket.on('error', reject);
    socket.on('open', () => socket.send(peer.subscription(topic)));
    socket.on('message', (data: Buffer) => {
      const head = data.toString('latin1', 0, HEAD_BYTES);
      if (peer.isDelivery(head)) onDelivery();
      else if (peer.isSubscribed(head)) resolve(socket);
      else if (head.includes('"error"')) reject(new Error(data.toString()));
    });
  });
}

function closed(socket: WebSocket): Promise<void> {
  return new Promise((resolve) => {
    socket.on('close', () => resolve());
    socket.terminate();
  });
}

function outcomeOf(times: number[], rate: number): Outcome {
  const { p50 = Number.NaN, p99 = Number.NaN } = quantilesOf(times.sort((a, b) => a - b)) ?? {};
  return { rate, p50, p99 };
}

const BULK = 50;
const SOCKETS = 50;
const SUBSCRIBERS = 20;
const RECEIVERS = 30;
/** About what the report's benchmark posts. */
const TEXT = 'a reading of a sensor, as devices post it';
const PAYLOAD = JSON.stringify({ n: 1, text: TEXT });
const HEAD_BYTES = 32;
/** Until the code of all processes is compiled. */
const WARM_UP_MS = 1_500;
/** A connect goes through more code than anything else, and less often: Node 20 was seen to compile for 2.5 s, in which a connect takes two to three times as long, Node 24 and 26 for 0.5 to 1. */
const CONNECTS_WARM_UP_MS = 4_000;
