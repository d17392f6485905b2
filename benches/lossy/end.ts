/**
 * The process at one end of the link: `end.js receive ORDER` or `end.js send ORDER`, with an {@link EndOrder} as JSON. The receiver writes
 * where it is into a file, and at the end what arrived when into another, which the sender waits for.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { sharedMicros } from '../../src/bench/metronome.ts';
import { pace } from '../broker/pace.ts';
import { Arrivals, stampedMessage } from './arrivals.ts';
import { type JspSettings, jspWay, TCP_WAY } from './ways.ts';

export interface EndOrder {
  /** Of the library's stream; null for TCP. */
  readonly jsp: JspSettings | null;
  /** The receiver's address. */
  readonly host: string;
  /** Where the sender connects to, where that is a tunnel's end; else the file `target` says it. */
  readonly via: string | null;
  readonly size: number;
  readonly perSecond: number;
  readonly count: number;
  /** For what the ends tell each other: the files `target` and `arrivals`. */
  readonly folder: string;
}

const [, , role, text] = process.argv;
const order = JSON.parse(text) as EndOrder;
const way = order.jsp === null ? TCP_WAY : jspWay(order.jsp);
const targetFile = `${order.folder}/target`;
const arrivalsFile = `${order.folder}/arrivals`;

async function receive(): Promise<void> {
  const arrivals = new Arrivals(order.count);
  writeFileSync(targetFile, await way.receive(order.host, order.size, arrivals.onMessage));
  console.log('ready');
  const isOver = (): boolean =>
    arrivals.arrived === order.count ||
    (arrivals.arrived > 0 && sharedMicros() - arrivals.latestAt > SILENCE_MICROS);
  while (!isOver()) await sleep(POLL_MS);
  // Whole at once: the sender may look at any time.
  writeFileSync(`${arrivalsFile}.new`, JSON.stringify([...arrivals.tookMicros]));
  renameSync(`${arrivalsFile}.new`, arrivalsFile);
}

async function send(): Promise<void> {
  const sending = await way.open(order.via ?? readFileSync(targetFile, 'utf8'));
  await pace('sleep', order.perSecond, order.count, (_, i) => sending.send(stampedMessage(order.size, i)));
  while (!existsSync(arrivalsFile)) await sleep(POLL_MS);
  sending.close();
  process.exit();
}

const POLL_MS = 50;
/** After so long without a message, what is missing never comes. */
const SILENCE_MICROS = 10e6;

if (role === 'receive') await receive();
else await send();
