/** Two data centres under load, the way between them cut for a while: what is promised before, during and after (docs/cluster.md, "Two data centres"). */

import { setTimeout as sleep } from 'node:timers/promises';
import { type BrokerClient, connectClient } from '../../src/client/index.ts';
import { Holder, type Model, Shelf } from '../sim/broker/model.ts';
import { Violation } from '../sim/invariants.ts';
import { DatacentreProcesses } from './datacentre-processes.ts';
import { LiveTraffic } from './live-traffic.ts';
import { beginCrash, EAGER, LOAD_TOPIC, type LoadPace, LoadPublisher, untilComplete } from './load.ts';

export interface CutOptions {
  /** The server of NATS. */
  readonly program: string;
  /** For so long nothing passes between them. */
  readonly seconds: number;
  readonly pace?: LoadPace;
  readonly onStep?: (step: string) => void;
}

export interface CutReport {
  readonly seconds: number;
  readonly published: number;
  readonly acknowledged: number;
  readonly refused: number;
  /** For how long at most a publisher waited for an answer, ms. */
  readonly answerMsMax: number;
  readonly delivered: number;
  readonly redelivered: number;
  /** After so long a client that may go to both was served here, ms; null: it did not have to. */
  readonly movedMs: number | null;
  /** QoS 0 within each half during the cut: messages, and the longest silence, ms. */
  readonly liveHere: number;
  readonly liveHereSilenceMs: number;
  readonly liveThere: number;
  readonly liveThereSilenceMs: number;
  /** From the end of the cut until QoS 0 passes both ways, a message is stored from there, and one is delivered there, ms. */
  readonly liveHealedMs: number;
  readonly storedHealedMs: number;
  readonly deliveredHealedMs: number;
  /** How often a client here lost its connection. */
  readonly interrupted: number;
  readonly wills: number;
  readonly firstRefusal: string;
}

/** @throws {Violation} when an acknowledged message is lost, comes out of order or twice without REDELIVERED, QoS 0 of one half stops or comes twice, something hangs, last values differ in the end, or a will does not come once where the cut is long */
export async function cutDatacentres({
  program,
  seconds,
  pace = PACE,
  onStep,
}: CutOptions): Promise<CutReport> {
  const datacentres = await DatacentreProcesses.start(program);
  const { here, there, way } = datacentres;
  const { model, holder } = beginCrash();
  const failures: unknown[] = [];
  const fail = (error: unknown): void => void failures.push(error);
  const clients: BrokerClient[] = [];
  let interrupted = 0;
  const connect = async (urls: readonly string[], session?: string) => {
    const client = await connectClient(urls, { session, reconnect: EAGER });
    clients.push(client);
    if (urls.length === 1 && urls[0] === here.url)
      client.on('state', (state, reason) => {
        if (state !== 'offline') return;
        interrupted++;
        // A machine that is short of time may cost connections, but no broker closes one.
        if (reason?.applicationCode !== undefined)
          fail(
            new Violation(`a client here lost its connection: ${reason?.message} ${reason?.reason ?? ''}`),
          );
      });
    return client;
  };
  const latest = new Map<Shelf, { atMs: number }>();
  const read = async (to: Holder, urls: readonly string[], durable?: string) => {
    const client = await connect(urls, `reader-${durable ?? urls[0]}`);
    const { filter, isShared, name } = to.shelf;
    const last = { atMs: 0 };
    latest.set(to.shelf, last);
    const subscription = await client.subscribe(
      isShared ? `$share/${name}/${filter}` : filter,
      (message) => {
        try {
          last.atMs = performance.now();
          to.shelf.handled.add(model.delivered(to, message).text);
        } catch (error) {
          fail(error);
        }
      },
      { qos: 1, durable },
    );
    subscription.on('gap', ({ missed }) => fail(new Violation(`${name}: a gap was told: ${missed}`)));
    void subscription.closed.then((error) => error !== null && fail(error));
    to.shelf.sinceMs = performance.now();
  };
  let step = 'before the cut';
  const goOn = (next: string) => {
    step = next;
    onStep?.(next);
    if (failures.length > 0) throw failures[0];
  };
  process.on('unhandledRejection', fail);
  try {
    const stays = shelfOf(model, 'of one there');
    const moves = shelfOf(model, 'of one that may go');
    const group = shelfOf(model, 'group', true);
    await read(holder, [here.url], 'here');
    await read(new Holder(stays), [there.url], 'there');
    await read(new Holder(moves), [there.url, here.url], 'moves');
    await read(new Holder(group), [here.url]);
    await read(new Holder(group), [there.url]);
    const live = await LiveTraffic.start(await connect([here.url]), await connect([there.url]), fail);
    const values = [await connect([here.url]), await connect([there.url])] as const;
    const wills = await willOf(
      await connect([there.url], 'of a will'),
      await connect([here.url], 'its reader'),
    );
    const willing = { ...pace, takesRefusals: true };
    const publishers = await Promise.all(
      [[here.url], [there.url], [there.url, here.url]].map((urls, i) =>
        LoadPublisher.start(urls, `p${i}`, model, fail, willing),
      ),
    );
    const thither = publishers[1];
    await sleep(SETTLE_MS);
    await live.untilBothWays();
    goOn(`cut for ${seconds} s`);
    const cutAtMs = performance.now();
    way.cut();
    live.cut();
    const kept = values.flatMap((client, i) =>
      ['own', 'same'].map((topic) =>
        client.publish(`value/${topic === 'own' ? i : topic}`, `${i}`, {
          qos: 1,
          retain: true,
          class: 'reliable',
        }),
      ),
    );
    let movedMs: number | null = null;
    for (const endMs = cutAtMs + seconds * 1_000; performance.now() < endMs; ) {
      await sleep(Math.min(100, endMs - performance.now()));
      const last = latest.get(moves)?.atMs ?? 0;
      if (last - cutAtMs > MOVE_MS_MIN && movedMs === null && isLong(seconds)) movedMs = last - cutAtMs;
      if (failures.length > 0) throw failures[0];
    }
    const during = live.endOfCut();
    goOn('after the cut');
    const silenceMs = Math.max(during.liveHereSilenceMs, during.liveThereSilenceMs);
    if (silenceMs > SILENCE_MS_MAX) throw new Violation(`QoS 0 of one half stopped for ${silenceMs} ms`);
    if (isLong(seconds) && movedMs === null)
      throw new Violation('a durable subscription that may go to both was not served during the cut');
    const healedAtMs = performance.now();
    const stored = model.acknowledgedOf(thither.name);
    way.mend();
    await live.untilBothWays();
    const liveHealedMs = performance.now() - healedAtMs;
    while (model.acknowledgedOf(thither.name) === stored)
      await within(healedAtMs, 'a message was stored from there');
    const storedHealedMs = performance.now() - healedAtMs;
    while ((latest.get(stays)?.atMs ?? 0) < healedAtMs)
      await within(healedAtMs, 'a message was delivered there');
    const deliveredHealedMs = performance.now() - healedAtMs;
    goOn('healed');
    await Promise.all(publishers.map((publisher) => publisher.stop()));
    await Promise.allSettled(kept);
    await untilComplete(model, stays); // which has what it missed last
    live.stop();
    goOn('complete');
    await expectOneView(await connect([here.url]), await connect([there.url]));
    if (wills.count > 1 || (isLong(seconds) && wills.count === 0))
      throw new Violation(`a will was published ${wills.count} times`);
    goOn('of one view');
    return {
      ...{ seconds, published: model.publications.size, refused: model.refused },
      acknowledged: publishers.reduce((sum, { name }) => sum + model.acknowledgedOf(name), 0),
      answerMsMax: Math.max(...publishers.map(({ answerMsMax }) => answerMsMax)),
      ...{ delivered: model.deliveries, redelivered: model.redeliveries, movedMs },
      ...during,
      ...{ liveHealedMs, storedHealedMs, deliveredHealedMs, wills: wills.count, interrupted },
      firstRefusal: publishers.map(({ firstRefusal }) => firstRefusal).find((each) => each !== '') ?? '',
    };
  } catch (error) {
    throw new Violation(`${step}: ${(error as Error).message}; they said: ${datacentres.notes}`, {
      cause: error,
    });
  } finally {
    process.off('unhandledRejection', fail);
    for (const client of clients) void client.close({ timeoutMs: 0 });
    await datacentres.remove();
  }
}

function shelfOf(model: Model, name: string, isShared = false): Shelf {
  const shelf = new Shelf(name, `${LOAD_TOPIC}/#`, 1, isShared);
  model.shelves.push(shelf);
  return shelf;
}

/** A client there leaves a will, which one here reads. */
async function willOf(client: BrokerClient, reader: BrokerClient): Promise<{ count: number }> {
  const wills = { count: 0 };
  await reader.subscribe('will/there', () => void wills.count++, { qos: 1 });
  await client.setWill({ topic: 'will/there', payload: 'gone', qos: 1 });
  return wills;
}

/** Both halves have the same last values, and those that either has kept. */
async function expectOneView(...clients: readonly BrokerClient[]): Promise<void> {
  const seen = clients.map(() => new Map<string, string>());
  for (const [i, client] of clients.entries())
    await client.subscribe('value/+', (message) => void seen[i].set(message.topic, message.text()));
  const view = (values: Map<string, string>) => JSON.stringify([...values].sort());
  const startedAtMs = performance.now();
  while (seen[0].size < VALUES || view(seen[0]) !== view(seen[1]))
    await within(startedAtMs, `last values are the same, which are ${seen.map(view).join(' and ')}`);
}

async function within(sinceMs: number, what: string): Promise<void> {
  if (performance.now() - sinceMs > HEAL_MS_MAX)
    throw new Violation(`it took more than ${HEAL_MS_MAX} ms until ${what}`);
  await sleep(20);
}

/** Longer than the lease of a node: then the others take over what it has. */
function isLong(seconds: number): boolean {
  return seconds >= 30;
}

const PACE: LoadPace = { burst: 1, pauseMs: 5 };
const SETTLE_MS = 500;
const VALUES = 3;
const MOVE_MS_MIN = 2_000;
/** Clients there lose their connection once, and are back at once. */
const SILENCE_MS_MAX = 10_000;
const HEAL_MS_MAX = 30_000;
