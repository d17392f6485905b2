/**
 * Draws what `npm run bench lossy -- --record FILE` measured at 10 % loss: how long messages take one way with each peer, from the fastest to
 * the slowest of a thousand.
 *
 *     npm run bench lossy-plot -- [FILE [SVG]]     docs/lossy.json and docs/lossy.svg where nothing else is said
 */
import { writeFileSync } from 'node:fs';
import { median } from '../src/bench/figures.ts';
import { type Curve, drawQuantiles } from './lossy/quantile-plot.ts';
import { type PeerResult, readRecords } from './lossy/record.ts';

function main(): void {
  const [, , data = 'docs/lossy.json', picture = 'docs/lossy.svg'] = process.argv;
  const measured = readRecords(data).flatMap(({ results }) => results);
  const isShown = ({ loss, intervalMs, rttMs, size }: PeerResult): boolean =>
    (loss === LOSS || loss === 0) && intervalMs === INTERVAL_MS && rttMs === RTT_MS && size === SIZE;
  const byPeer = new Map(measured.filter(isShown).map((result) => [result.peer, result]));
  const lossFree = byPeer.get('loss-free');
  if (lossFree === undefined)
    throw new Error(`${data} lacks the peer loss-free, which the bytes of others compare with`);
  const curves = STYLES.flatMap((style): Curve[] => {
    const result = byPeer.get(style.peer);
    if (result === undefined) return [];
    return [{ ...style, cost: costOf(result, lossFree), points: pointsOf(result) }];
  });
  const subtitle = `${SIZE} bytes every ${INTERVAL_MS} ms, ${LOSS} % of packets lost both ways, round trip ${RTT_MS} ms; ordered and reliable unless said otherwise`;
  writeFileSync(
    picture,
    drawQuantiles({ title: 'How long a message takes on a bad link', subtitle, cost: 'bytes', curves }),
  );
}

/** Of each share the median of the runs. */
function pointsOf({ shares, runs }: PeerResult): Curve['points'] {
  return shares.map((share, i) => [share, median(runs.map(({ oneWayMs }) => oneWayMs[i]))] as const);
}

/** Bytes that the sender's side of the link carried, beside those of the same messages without loss; runs may differ in length. */
function costOf(result: PeerResult, lossFree: PeerResult): string {
  const bytes = ({ runs, messages }: PeerResult): number =>
    median(runs.map(({ link }) => link.up.bytes)) / messages;
  return `${(bytes(result) / bytes(lossFree)).toFixed(2)}\u00d7`;
}

const LOSS = 10;
const INTERVAL_MS = 10;
const RTT_MS = 50;
const SIZE = 64;
/** Ours strong, the others as they are known. */
const STYLES: readonly (Pick<Curve, 'label' | 'colour' | 'width' | 'dashes'> & { peer: string })[] = [
  { peer: 'tcp cubic', label: 'TCP CUBIC', colour: '#cf5b56', width: 2 },
  { peer: 'tcp bbr', label: 'TCP BBR', colour: '#a371f7', width: 2 },
  { peer: 'kcptun', label: 'kcptun (FEC 10+3)', colour: '#c69026', width: 2 },
  { peer: 'off', label: 'ours, protection off', colour: '#4c9be8', width: 2 },
  { peer: 'auto', label: 'ours, auto', colour: '#2da44e', width: 3.5 },
  { peer: 'auto unordered', label: 'ours, auto, unordered', colour: '#2da44e', width: 2.5, dashes: '2 6' },
  { peer: 'loss-free', label: 'ours, loss-free', colour: '#7d8590', width: 1.5, dashes: '1 4' },
];

main();
