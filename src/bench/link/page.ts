/**
 * A measurement as one page: for a reader who is no network engineer first, with all figures behind. It needs no network, and is the same for
 * the same report; what the other end says of itself stands in it as text.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { printable, printableJson } from '../../base/errors.ts';
import { whole } from '../figures.ts';
import type { Machine } from './control.ts';
import { drawPlots, type PlotData } from './page-plots.ts';
import { PAGE_STYLE } from './page-style.ts';
import { isBloat, worstBloat, worstLoss } from './recommend.ts';
import {
  ipUdpBytes,
  isCarriedWell,
  type LinkReport,
  type LinkRow,
  possibleBitsPerSecond,
  type RoundTrips,
} from './report.ts';
import { CARRIED, megabits, ms, percent, sizeText } from './table.ts';

/** The page as HTML. */
export function reportPage(report: LinkReport): string {
  const { css, script } = plotLibrary();
  const data = printableJson(JSON.stringify({ plots: plotDataOf(report), report }));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${escaped(`Link to ${report.target}`)}</title>
<style>${css}${PAGE_STYLE}</style>
</head>
<body>
<main>
${header(report)}
${cards(report)}
${plainWords(report)}
${choice(report)}
${plots(report)}
${figures(report)}
${circumstances(report)}
</main>
<script type="application/json" id="data">${inScript(data)}</script>
<script>${codeInScript(script)}
(${codeInScript(drawPlots.toString())})(uPlot, JSON.parse(document.getElementById('data').textContent).plots, window);</script>
</body>
</html>
`;
}

/** What the plots draw. */
export function plotDataOf({ rows }: LinkReport): PlotData {
  const measured = rows.filter(({ load }) => load !== null);
  const name = nameOf(measured);
  const of = (pick: (row: LinkRow) => number | null | undefined): (number | null)[] =>
    measured.map((row) => pick(row) ?? null);
  return {
    goodput: {
      labels: measured.map(name),
      goodput: of(({ load }) => (load?.goodputBitsPerSecond ?? 0) / 1e6),
      wire: of(({ load }) => (load?.wireBitsPerSecond ?? 0) / 1e6),
    },
    roundTrips: {
      labels: measured.map(name),
      idle: of(({ idle }) => idle?.p50),
      idleSlow: of(({ idle }) => idle?.p99),
      loaded: of(({ load }) => load?.loaded?.p50),
      loadedSlow: of(({ load }) => load?.loaded?.p99),
    },
    runs: measured.slice(0, RUNS_MAX).map((row) => {
      const intervals = row.load?.intervals ?? [];
      return {
        name: name(row),
        at: intervals.map(({ at }) => at),
        goodput: intervals.map((each) => each.goodputBitsPerSecond / 1e6),
        rtt: intervals.map(({ rttMs }) => rttMs),
        loss: intervals.map(({ loss }) => loss),
      };
    }),
  };
}

/** A row's size, with its way and its controller where they are not all the same. */
function nameOf(rows: readonly LinkRow[]): (row: LinkRow) => string {
  const ways = new Set(rows.map(({ direction }) => direction)).size;
  const controllers = new Set(rows.map(({ congestion }) => congestion)).size;
  return (row) =>
    [sizeText(row), ...(ways > 1 ? [row.direction] : []), ...(controllers > 1 ? [row.congestion] : [])].join(
      ' ',
    );
}

function header({ endedEarly, settings, startedAt, target }: LinkReport): string {
  const way = { up: 'This end sent', down: 'The other end sent', both: 'Both ends sent at once' }[
    settings.direction
  ];
  const early =
    endedEarly === null
      ? ''
      : `<div class="early"><b>Not all was measured:</b> ${escaped(endedEarly)}. What follows is what was known by then.</div>`;
  return `<h1>Link to ${escaped(target)}</h1>
<p class="soft">${way}; measured on ${escaped(startedAt.replace('T', ' ').replace(/\.\d+Z$/, ' UTC'))}</p>
${early}`;
}

function cards(report: LinkReport): string {
  const { idle, pathMtu, recommendation, rows } = report;
  const loss = worstLoss(report);
  const best = bestRow(report);
  const loaded = best?.load?.loaded ?? null;
  const largest = Math.max(0, ...rows.filter(isCarriedWell).map(({ mtu }) => mtu));
  const shown: [string, string, string][] = [];
  if (best?.load) {
    shown.push([
      `${megabits(best.load.goodputBitsPerSecond)} Mbit/s`,
      'of your data arrive',
      `datagrams of ${whole(best.mtu)} bytes`,
    ]);
  }
  if (idle !== null)
    shown.push([`${ms(idle.p50)} ms`, 'there and back, idle', `1 in 100 slower than ${ms(idle.p99)} ms`]);
  if (loaded !== null)
    shown.push([
      `${ms(loaded.p50)} ms`,
      'there and back, under load',
      `1 in 100 slower than ${ms(loaded.p99)} ms`,
    ]);
  if (loss !== null)
    shown.push([
      percent(loss.share),
      'lost on the link',
      `between ${percent(loss.low)} and ${percent(loss.high)}`,
    ]);
  if (pathMtu !== null)
    shown.push([`${whole(pathMtu.bytes)} B`, 'largest datagram', 'that the path carries']);
  else if (largest > 0) shown.push([`${whole(largest)} B`, 'largest datagram tried', 'that arrived']);
  if (recommendation.mtu !== null)
    shown.push([`${whole(recommendation.mtu)} B`, 'recommended MTU', 'see below for why']);
  return `<div class="cards">${shown.map(([figure, what, more]) => `<div class="card"><b>${escaped(figure)}</b>${escaped(what)}<span>${escaped(more)}</span></div>`).join('')}</div>`;
}

/** For a reader who is no network engineer. */
function plainWords(report: LinkReport): string {
  const { idle, pathMtu, rows } = report;
  const sentences: string[] = [];
  const best = bestRow(report);
  if (best?.load) {
    const { goodputBitsPerSecond, overhead } = best.load;
    const seconds = (100 * 8e6) / goodputBitsPerSecond;
    sentences.push(
      `A file of 100 MB takes ${seconds < 90 ? `about ${seconds.toFixed(0)} seconds` : `about ${(seconds / 60).toFixed(0)} minutes`}. Of every 100 bytes on the wire, ${(100 * (1 - overhead)).toFixed(0)} are yours; the rest is addresses, encryption and bookkeeping.`,
    );
  }
  if (idle !== null) {
    const feel =
      idle.p50 < 30
        ? 'which nobody notices'
        : idle.p50 < 100
          ? 'which is good for calls and games'
          : idle.p50 < 250
            ? 'which is noticed in a conversation'
            : 'which is felt at every click';
    sentences.push(`A question and its answer take ${ms(idle.p50)} ms, ${feel}.`);
  }
  const bloat = worstBloat(report);
  if (isBloat(bloat, idle)) {
    sentences.push(
      `While the link is full they take ${ms(bloat)} ms longer: what is sent waits in a queue on the way (“bufferbloat”), and everything else behind it.`,
    );
  }
  const loss = worstLoss(report);
  if (loss !== null) {
    sentences.push(
      loss.count === 0
        ? 'Nothing is lost on the way.'
        : `About one datagram in ${whole(1 / loss.share)} never arrives, although the link is not full; the library sends it again, which takes a round trip more.`,
    );
  }
  if (pathMtu !== null && pathMtu.larger === 'vanish') {
    sentences.push(
      `Datagrams of more than ${whole(pathMtu.bytes)} bytes vanish without a word. A program that insists on larger ones sees a connection that stands still.`,
    );
  } else if (pathMtu !== null) {
    sentences.push(
      `Datagrams of more than ${whole(pathMtu.bytes)} bytes are cut into pieces on the way, and are lost when one piece is.`,
    );
  } else if (rows.some(({ carried }) => carried === 'no'))
    sentences.push('Some sizes of datagrams did not arrive at all.');
  return sentences.length === 0
    ? ''
    : `<h2>In plain words</h2>${sentences.map((each) => `<p>${escaped(each)}</p>`).join('')}`;
}

function choice({ recommendation }: LinkReport): string {
  const { congestion, mtu, profile, protection, queueDelayMaxMs, reasons, warnings } = recommendation;
  const options = [
    ...(profile === null ? [] : [`profile: '${profile}'`]),
    ...(mtu === null ? [] : [`mtu: ${mtu}`]),
    ...(congestion === null ? [] : [`congestion: '${congestion}'`]),
    ...(protection === null || protection === 'off' ? [] : [`protection: '${protection}'`]),
    ...(queueDelayMaxMs === null ? [] : [`queueDelayMaxMs: ${queueDelayMaxMs}`]),
  ];
  const code = options.length === 0 ? '' : `<pre>connect(url, { ${escaped(options.join(', '))} })</pre>`;
  const why = reasons.length === 0 ? '<p>Too little was measured to recommend anything.</p>' : list(reasons);
  const wrong =
    warnings.length === 0 ? '' : `<div class="warnings"><h3>What to look into</h3>${list(warnings)}</div>`;
  return `<h2>Recommended</h2><div class="choice">${code}${why}</div>${wrong}`;
}

function plots(report: LinkReport): string {
  if (report.rows.every(({ load }) => load === null)) return '';
  const key = (colour: string, text: string): string =>
    `<i class="key" style="background:${colour}"></i>${text}`;
  return `<h2>Pictures</h2><div class="plots">
<figure><h3>How much arrives, by size of datagrams</h3><figcaption>${key('#2f81d6', 'your data')}${key('#d9822b55', 'headers, encryption, sent again')}</figcaption><div id="plot-goodput"></div></figure>
<figure><h3>How long there and back, by size of datagrams</h3><figcaption>${key('#2da160', 'idle')}${key('#d1485f', 'under load')} – half are faster; pale: 99 of 100 are</figcaption><div id="plot-round-trips"></div></figure>
<figure><h3>How much arrives, over time</h3><figcaption>each line a size of datagrams</figcaption><div id="plot-rate"></div></figure>
<figure><h3>How long there and back, over time</h3><figcaption>of small datagrams beside the transfer</figcaption><div id="plot-rtt"></div></figure>
<figure><h3>How much is lost, over time</h3><figcaption>as the sender found out; a full queue on the way loses, too</figcaption><div id="plot-loss"></div></figure>
</div>`;
}

function figures(report: LinkReport): string {
  const { datagrams, idle, rows } = report;
  const parts: string[] = [];
  if (rows.length > 0) {
    const best = bestRow(report);
    const body = rows.map(
      (row) =>
        `<tr class="${row.load === null ? 'no' : row === best ? 'best' : ''}">${rowCells(report, row)
          .map((cell) => `<td>${escaped(cell)}</td>`)
          .join('')}</tr>`,
    );
    parts.push(`<h2>All figures</h2><div class="scroll"><table class="figures"><thead><tr>${COLUMNS.map((name) => `<th>${name}</th>`).join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div>
<p class="soft">Times are median / 95 % / 99 %, in milliseconds. Lost: sent and never arrived, in the whole run, a full queue included. Possible: what headers leave of the rate on the wire. * Whether in one piece, the systems do not tell.</p>`);
  }
  const facts: [string, string][] = [];
  if (idle !== null) {
    facts.push([
      'Idle path',
      `${trips(idle)} ms there and back, jitter ${ms(idle.jitterMs)} ms; ${idle.sent - idle.returned} of ${idle.sent} probes lost`,
    ]);
    facts.push(['One way', oneWay(report, idle)]);
  }
  for (const each of datagrams) {
    const {
      datagramBytes,
      datagramsPerSecond,
      direction,
      duplicated,
      jitterMs,
      loss,
      lossRunMean,
      reordered,
    } = each;
    const bits = [
      `${percent(loss.share)} of ${whole(loss.of)} datagrams of ${datagramBytes} bytes lost (95 % sure: ${percent(loss.low)} to ${percent(loss.high)})`,
      `${whole(datagramsPerSecond)} a second`,
      `${percent(reordered.share)} out of order`,
      `${whole(duplicated)} came twice`,
      ...(lossRunMean === null ? [] : [`lost ${lossRunMean.toFixed(1)} in a row on average`]),
      ...(jitterMs === null ? [] : [`jitter ${ms(jitterMs)} ms`]),
    ];
    facts.push([`Loss ${direction}`, bits.join(', ')]);
  }
  if (facts.length > 0) parts.push(`<h2>The path itself</h2>${definitions(facts)}`);
  return parts.join('\n');
}

function oneWay({ clocks }: LinkReport, { downMs, upMs }: RoundTrips): string {
  if (upMs === null || downMs === null) return 'not known: the clocks of both ends cannot be compared';
  const how =
    clocks.kind === 'estimated'
      ? `the clocks differ, and are compared to ± ${ms(clocks.uncertaintyMs)} ms as if both ways took as long`
      : 'both ends share one clock';
  return `${ms(upMs.p50)} ms up, ${ms(downMs.p50)} ms down (median); ${how}`;
}

function circumstances(report: LinkReport): string {
  const { client, ipVersion, server, settings } = report;
  const rate =
    settings.bitsPerSecond === 0
      ? 'as fast as congestion control lets it'
      : `${megabits(settings.bitsPerSecond)} Mbit/s`;
  const facts: [string, string][] = [
    [
      'Sent',
      `${settings.delivery} messages, ${settings.streams} stream${settings.streams === 1 ? '' : 's'}, ${rate}, ${settings.seconds} s for each size after warm-up`,
    ],
    [
      'Network',
      `IPv${ipVersion} over UDP; sizes are UDP payload, ${ipUdpBytes(ipVersion)} bytes less than the IP packet`,
    ],
    ['This end', machine(client)],
    ['Other end', machine(server)],
  ];
  return `<h2>How it was measured</h2>${definitions(facts)}
<footer>Made by <code>jsp bench link</code>. Everything is counted where it arrives. The figures stand in this page as JSON, too: the element with the id <code>data</code>. Plots by uPlot (MIT licence).</footer>`;
}

function machine({ cores, cpu, node, platform, version }: Machine): string {
  return `${cpu}, ${cores} core${cores === 1 ? '' : 's'}; ${platform}; Node ${node}, jetstream-proto ${version}`;
}

function rowCells(report: LinkReport, row: LinkRow): string[] {
  const { asked, carried, congestion, direction, idle, load, mtu } = row;
  const name = asked === 'auto' ? `auto (${whole(mtu)})` : whole(asked);
  const start = [name, direction, congestion, CARRIED[carried]];
  if (load === null) return [...start, ...COLUMNS.slice(start.length).map(() => '–')];
  return [
    ...start,
    megabits(load.goodputBitsPerSecond),
    megabits(possibleBitsPerSecond(report, row)),
    megabits(load.wireBitsPerSecond),
    percent(load.overhead),
    whole(load.datagramsPerSecond),
    percent(load.loss.share),
    percent(load.reordered.share),
    idle === null ? '–' : trips(idle),
    load.loaded === null ? '–' : trips(load.loaded),
    ms(load.jitterMs ?? load.loaded?.jitterMs ?? 0),
    `${(100 * load.cpuSender).toFixed(0)} / ${(100 * load.cpuReceiver).toFixed(0)}`,
  ];
}

/** The row that stands for the link: the recommended size, else the most goodput. */
function bestRow({ recommendation, rows }: LinkReport): LinkRow | undefined {
  const measured = rows.filter(({ load }) => load !== null);
  const recommended = measured.filter(({ mtu }) => mtu === recommendation.mtu);
  const goodput = ({ load }: LinkRow): number => load?.goodputBitsPerSecond ?? 0;
  return [...(recommended.length > 0 ? recommended : measured)].sort((a, b) => goodput(b) - goodput(a))[0];
}

function definitions(facts: readonly [string, string][]): string {
  return `<dl>${facts.map(([name, what]) => `<dt>${escaped(name)}</dt><dd>${escaped(what)}</dd>`).join('')}</dl>`;
}

function list(sentences: readonly string[]): string {
  return `<ul>${sentences.map((sentence) => `<li>${escaped(sentence)}</li>`).join('')}</ul>`;
}

function trips({ p50, p95, p99 }: RoundTrips): string {
  return [p50, p95, p99].map(ms).join(' / ');
}

/** Text of anybody as text of the page. */
function escaped(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** JSON within a script element, which nothing in it may end. */
function inScript(json: string): string {
  return json.replaceAll('<', '\\u003c');
}

/** The same of code, in which only strings can hold what ends it. */
function codeInScript(code: string): string {
  return code.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
}

/** The plotting library as it is installed, with its style. */
function plotLibrary(): { script: string; css: string } {
  const folder = dirname(createRequire(import.meta.url).resolve('uplot'));
  return {
    script: readFileSync(join(folder, 'uPlot.iife.min.js'), 'utf8'),
    css: readFileSync(join(folder, 'uPlot.min.css'), 'utf8'),
  };
}

const COLUMNS = [
  'MTU',
  'way',
  'control',
  'arrives',
  'Mbit/s',
  'possible',
  'on the wire',
  'overhead',
  'datagrams/s',
  'lost',
  'reordered',
  'idle ms',
  'loaded ms',
  'jitter ms',
  'CPU % sender / receiver',
];
/** More lines than this are no picture. */
const RUNS_MAX = 14;
