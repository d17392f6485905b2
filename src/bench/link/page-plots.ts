/**
 * What draws the plots of a report, in a browser: {@link drawPlots} goes into the page as its source text, so it uses nothing from outside
 * itself but its arguments.
 */

/** What is drawn. Arrays of one plot are as long as its labels; null where there is nothing. */
export interface PlotData {
  /** Bars of goodput within bars of what was on the wire, Mbit/s. */
  readonly goodput: { labels: string[]; goodput: (number | null)[]; wire: (number | null)[] };
  /** Bars of the median within bars of the slowest of a hundred, ms. */
  readonly roundTrips: {
    labels: string[];
    idle: (number | null)[];
    idleSlow: (number | null)[];
    loaded: (number | null)[];
    loadedSlow: (number | null)[];
  };
  /** Lines over the seconds of each run. */
  readonly runs: { name: string; at: number[]; goodput: number[]; rtt: (number | null)[]; loss: number[] }[];
}

/** As far as it is used; the library has no types for a page. */
export interface PlotLibrary {
  new (
    options: object,
    data: readonly unknown[],
    target: PlotElement,
  ): { setSize(size: { width: number; height: number }): void };
  readonly paths: { bars(options: object): unknown };
  join(tables: readonly unknown[]): unknown[];
}

export interface PlotElement {
  readonly clientWidth: number;
}

export interface PlotWindow {
  readonly document: { getElementById(id: string): PlotElement | null };
  addEventListener(event: string, listener: () => void): void;
}

export function drawPlots(library: PlotLibrary, data: PlotData, page: PlotWindow): void {
  // Tones that are read on white paper and on a dark screen alike.
  const axis = '#7d8590';
  const grid = 'rgba(125, 133, 144, 0.22)';
  const colours = ['#2f81d6', '#d9822b', '#2da160', '#9a67d8', '#d1485f', '#1a9ba8', '#a8871b', '#7b8794'];
  const font = '12px system-ui, sans-serif';
  const height = 260;
  const widthMax = 520;
  const plots: { plot: { setSize(size: { width: number; height: number }): void }; target: PlotElement }[] =
    [];

  const widthOf = (target: PlotElement): number => Math.max(260, Math.min(widthMax, target.clientWidth));

  const axisOf = (more: object): object => ({
    stroke: axis,
    font,
    grid: { stroke: grid, width: 1 },
    ticks: { stroke: grid, width: 1 },
    ...more,
  });

  const draw = (id: string, options: object, columns: readonly unknown[]): void => {
    const target = page.document.getElementById(id);
    if (target === null) return;
    const plot = new library({ width: widthOf(target), height, ...options }, columns, target);
    plots.push({ plot, target });
  };

  const bars = (
    id: string,
    labels: readonly string[],
    unit: string,
    series: readonly object[],
    values: readonly unknown[],
  ): void => {
    const at = labels.map((_, i) => i);
    const options = {
      legend: { show: false },
      cursor: { show: false },
      scales: {
        x: { time: false, range: [-0.6, labels.length - 0.4] },
        y: { range: (_: unknown, __: number, most: number) => [0, most > 0 ? most * 1.08 : 1] },
      },
      axes: [
        axisOf({
          splits: () => at,
          values: () => labels,
          grid: { show: false },
          rotate: labels.length > 8 ? -45 : 0,
          size: labels.length > 8 ? 70 : 40,
        }),
        axisOf({ label: unit, labelFont: font, labelSize: 18, size: 52 }),
      ],
      series: [{}, ...series],
    };
    draw(id, options, [at, ...values]);
  };

  const bar = (colour: string, share: number, align: number): object => ({
    fill: colour,
    stroke: colour,
    width: 0,
    points: { show: false },
    paths: library.paths.bars({ size: [share, 70], align, radius: 0.06 }),
  });

  const pale = (colour: string): string => `${colour}55`;

  const lines = (
    id: string,
    unit: string,
    pick: (run: PlotData['runs'][number]) => readonly unknown[],
    digits: number,
  ): void => {
    if (data.runs.length === 0) return;
    const tables = data.runs.map((run) => [run.at, pick(run)]);
    const options = {
      cursor: { points: { size: 6 } },
      legend: {
        markers: {
          width: 0,
          fill: (_: unknown, i: number) => (i === 0 ? 'transparent' : colours[(i - 1) % colours.length]),
        },
      },
      scales: {
        x: { time: false },
        y: { range: (_: unknown, __: number, most: number) => [0, most > 0 ? most * 1.08 : 1] },
      },
      axes: [
        axisOf({ label: 'seconds; before 0 is warm-up', labelFont: font, labelSize: 18, size: 34 }),
        axisOf({ label: unit, labelFont: font, labelSize: 18, size: 52 }),
      ],
      series: [
        {
          label: 's',
          value: (_: unknown, value: number | null) => (value === null ? '-' : value.toFixed(1)),
        },
        ...data.runs.map((run, i) => ({
          label: run.name,
          stroke: colours[i % colours.length],
          width: 1.5,
          dash: i >= colours.length ? [6, 3] : [],
          spanGaps: true,
          points: { show: false },
          value: (_: unknown, value: number | null) =>
            value === null || value === undefined ? '-' : value.toFixed(digits),
        })),
      ],
    };
    draw(id, options, library.join(tables));
  };

  const { goodput, roundTrips } = data;
  bars(
    'plot-goodput',
    goodput.labels,
    'Mbit/s',
    [bar(pale(colours[1]), 0.7, 0), bar(colours[0], 0.7, 0)],
    [goodput.wire, goodput.goodput],
  );
  bars(
    'plot-round-trips',
    roundTrips.labels,
    'ms',
    [
      bar(pale(colours[2]), 0.38, -1),
      bar(colours[2], 0.38, -1),
      bar(pale(colours[4]), 0.38, 1),
      bar(colours[4], 0.38, 1),
    ],
    [roundTrips.idleSlow, roundTrips.idle, roundTrips.loadedSlow, roundTrips.loaded],
  );
  lines('plot-rate', 'Mbit/s', (run) => run.goodput, 1);
  lines('plot-rtt', 'ms', (run) => run.rtt, 1);
  lines('plot-loss', '% lost', (run) => run.loss.map((share) => 100 * share), 2);

  page.addEventListener('resize', () => {
    for (const { plot, target } of plots) plot.setSize({ width: widthOf(target), height });
  });
}
