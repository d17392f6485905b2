/** Curves over time as SVG, one panel below the other. Its colours can be read on white and on black, as it has no ground of its own. */

export interface TimeCurve {
  readonly label: string;
  readonly colour: string;
  readonly dashes?: string;
  /** In the order of time. */
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

export interface Panel {
  /** What its values are. */
  readonly unit: string;
  readonly curves: readonly TimeCurve[];
}

/** The picture, complete. */
export function drawOverTime(title: string, subtitle: string, panels: readonly Panel[]): string {
  const seconds = Math.max(
    1,
    ...panels.flatMap(({ curves }) => curves.flatMap(({ points }) => points.map(([at]) => at))),
  );
  const height = TOP + panels.length * (PANEL_HEIGHT + PANEL_GAP) + 12;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="${FONTS}" role="img" aria-label="${title}">`,
    text(LEFT, 26, title, `font-size="17" font-weight="600" fill="${INK}"`),
    text(LEFT, 46, subtitle, `font-size="12.5" fill="${INK}"`),
  ];
  panels.forEach((panel, i) => {
    parts.push(...drawPanel(panel, TOP + i * (PANEL_HEIGHT + PANEL_GAP), seconds));
  });
  return `${[...parts, '</svg>'].join('\n')}\n`;
}

function drawPanel({ unit, curves }: Panel, top: number, seconds: number): string[] {
  const bottom = top + PANEL_HEIGHT;
  const most = Math.max(1e-9, ...curves.flatMap(({ points }) => points.map(([, value]) => value)));
  const step = roundStep(most / 4);
  const ceiling = Math.ceil(most / step) * step;
  const y = (value: number): number => bottom - (value / ceiling) * PANEL_HEIGHT;
  const x = (at: number): number => LEFT + (at / seconds) * (RIGHT - LEFT);
  const parts = [text(LEFT - 44, top - 10, unit, `font-size="12" fill="${INK}"`)];
  for (let value = 0; value <= ceiling + step / 2; value += step) {
    parts.push(line(LEFT, y(value), RIGHT, y(value)));
    parts.push(
      text(
        LEFT - 8,
        y(value) + 4,
        value.toLocaleString('en'),
        `font-size="12" text-anchor="end" fill="${INK}"`,
      ),
    );
  }
  const minutes = roundStep(seconds / 60 / 6);
  for (let at = 0; at * 60 <= seconds; at += minutes) {
    parts.push(line(x(at * 60), top, x(at * 60), bottom));
    parts.push(
      text(x(at * 60), bottom + 18, `${at} min`, `font-size="12" text-anchor="middle" fill="${INK}"`),
    );
  }
  for (const { points, colour, dashes } of curves) {
    const d = points
      .map(([at, value], i) => `${i === 0 ? 'M' : 'L'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`)
      .join('');
    const dashed = dashes === undefined ? '' : ` stroke-dasharray="${dashes}"`;
    parts.push(
      `<path d="${d}" fill="none" stroke="${colour}" stroke-width="2" stroke-linejoin="round"${dashed}/>`,
    );
  }
  return [...parts, ...labelsOf(curves, y, top, bottom)];
}

/** At the right end of each curve, apart from each other and as near to it as that allows. */
function labelsOf(
  curves: readonly TimeCurve[],
  y: (value: number) => number,
  top: number,
  bottom: number,
): string[] {
  const ends = curves
    .filter(({ points }) => points.length > 0)
    .map((curve) => ({ curve, at: y((curve.points.at(-1) as readonly [number, number])[1]) }))
    .sort((a, b) => a.at - b.at);
  for (let i = 1; i < ends.length; i++) ends[i].at = Math.max(ends[i].at, ends[i - 1].at + LABEL_HEIGHT);
  let floor = bottom;
  for (let i = ends.length - 1; i >= 0; i--) {
    ends[i].at = Math.max(top, Math.min(ends[i].at, floor));
    floor = ends[i].at - LABEL_HEIGHT;
  }
  return ends.map(({ curve, at }) =>
    text(RIGHT + 10, at + 4, curve.label, `font-size="13" font-weight="600" fill="${curve.colour}"`),
  );
}

/** 1, 2 or 5 times a power of ten, at least so large. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-9)));
  return ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10) * power;
}

function line(x1: number, y1: number, x2: number, y2: number): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${INK}" stroke-opacity="0.25"/>`;
}

function text(x: number, y: number, content: string, more: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${content}</text>`;
}

const WIDTH = 880;
const LEFT = 64;
const RIGHT = 652;
const TOP = 84;
const PANEL_HEIGHT = 170;
const PANEL_GAP = 52;
const LABEL_HEIGHT = 18;
/** Of letters and lines: as far from white as from black. */
const INK = '#7d8590';
const FONTS = 'ui-sans-serif, system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif';
