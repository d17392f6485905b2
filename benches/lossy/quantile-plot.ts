/**
 * Curves of quantiles as SVG: the slower the message, the farther to the right, each ninth of what is left as wide as the one before; and
 * the time on a logarithmic scale. Its colours are such that it can be read on white and on black, as it has no ground of its own.
 */

export interface Curve {
  readonly label: string;
  /** What it costs, at the end of its line. */
  readonly cost: string;
  readonly colour: string;
  readonly width: number;
  readonly dashes?: string;
  /** Shares of messages, ascending from 0 to 1, and the time within which they arrive. */
  readonly points: readonly (readonly [share: number, ms: number])[];
}

export interface Picture {
  readonly title: string;
  readonly subtitle: string;
  /** What the costs of curves are. */
  readonly cost: string;
  readonly curves: readonly Curve[];
}

/** The picture, complete. */
export function drawQuantiles({ title, subtitle, cost, curves }: Picture): string {
  const most = Math.max(...curves.flatMap(({ points }) => points.map(([, ms]) => ms)));
  const top = MS_TICKS.find((tick) => tick >= most) ?? most;
  const y = (ms: number): number =>
    BOTTOM - (Math.log(ms / MS_MIN) / Math.log(top / MS_MIN)) * (BOTTOM - TOP);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="${FONTS}" role="img" aria-label="${title}">`,
    text(LEFT, 26, title, `font-size="17" font-weight="600" fill="${INK}"`),
    text(LEFT, 46, subtitle, `font-size="12.5" fill="${INK}"`),
    ...MS_TICKS.filter((tick) => tick <= top).flatMap((tick) => [
      line(LEFT, y(tick), RIGHT, y(tick), 'stroke-opacity="0.25"'),
      text(LEFT - 8, y(tick) + 4, `${tick}`, `font-size="12" text-anchor="end" fill="${INK}"`),
    ]),
    ...SHARE_TICKS.flatMap(([share, label]) => [
      line(x(share), TOP, x(share), BOTTOM, 'stroke-opacity="0.25"'),
      text(x(share), BOTTOM + 18, label, `font-size="12" text-anchor="middle" fill="${INK}"`),
    ]),
    text(LEFT - 44, TOP - 14, 'ms one way', `font-size="12" fill="${INK}"`),
    text(
      (LEFT + RIGHT) / 2,
      BOTTOM + 38,
      'share of messages that have arrived by then',
      `font-size="12" text-anchor="middle" fill="${INK}"`,
    ),
    ...curves.map((curve) => pathOf(curve, y)),
    text(WIDTH - 6, TOP - 14, cost, `font-size="12" text-anchor="end" fill="${INK}"`),
    ...labelsOf(curves, y),
    '</svg>',
  ];
  return `${parts.join('\n')}\n`;
}

function x(share: number): number {
  return LEFT + (-Math.log10(1 - share) / SHARE_DECADES) * (RIGHT - LEFT);
}

function pathOf({ points, colour, width, dashes }: Curve, y: (ms: number) => number): string {
  const d = points
    .map(([share, ms], i) => `${i === 0 ? 'M' : 'L'}${x(share).toFixed(1)} ${y(ms).toFixed(1)}`)
    .join('');
  const dashed = dashes === undefined ? '' : ` stroke-dasharray="${dashes}"`;
  return `<path d="${d}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-linejoin="round" stroke-linecap="round"${dashed}/>`;
}

/** At the right end of each curve, apart from each other and as near to it as that allows. */
function labelsOf(curves: readonly Curve[], y: (ms: number) => number): string[] {
  const ends = curves
    .map((curve) => ({ curve, at: y((curve.points.at(-1) as readonly [number, number])[1]) }))
    .sort((a, b) => a.at - b.at);
  for (let round = 0; round < LABEL_ROUNDS; round++) {
    for (let i = 1; i < ends.length; i++) {
      const push = (LABEL_HEIGHT - (ends[i].at - ends[i - 1].at)) / 2;
      if (push <= 0) continue;
      ends[i - 1].at -= push;
      ends[i].at += push;
    }
  }
  return ends.flatMap(({ curve, at }) => [
    text(RIGHT + 10, at + 4, curve.label, `font-size="13" font-weight="600" fill="${curve.colour}"`),
    text(WIDTH - 6, at + 4, curve.cost, `font-size="12" text-anchor="end" fill="${INK}"`),
  ]);
}

function line(x1: number, y1: number, x2: number, y2: number, more: string): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${INK}" ${more}/>`;
}

function text(x: number, y: number, content: string, more: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`;
}

const WIDTH = 880;
const HEIGHT = 440;
const LEFT = 64;
const RIGHT = 652;
const TOP = 84;
const BOTTOM = 388;
const MS_MIN = 20;
const MS_TICKS = [25, 50, 100, 200, 400, 800, 1_600, 3_200, 6_400];
const SHARE_TICKS = [
  [0, '0 %'],
  [0.5, '50 %'],
  [0.9, '90 %'],
  [0.99, '99 %'],
  [0.999, '99.9 %'],
] as const;
const SHARE_DECADES = 3;
const LABEL_HEIGHT = 20;
/** Enough for a handful of labels to settle. */
const LABEL_ROUNDS = 200;
/** Of letters and lines: as far from white as from black. */
const INK = '#7d8590';
const FONTS = 'ui-sans-serif, system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif';
