/**
 * A plot over time with its figures in front: what they are now, or what they were where the pointer is. All plots of the page share one pointer and one
 * stretch of time. Colours are those of the style sheet, so that a plot follows light and dark.
 */
import uPlot from 'uplot';
import { h, show } from './dom.ts';
import { atAxis, NOTHING, timeOfDay } from './format.ts';
import type { Column } from './timeline.ts';

export interface ChartSeries {
  readonly label: string;
  /** Number of its colour in the style sheet. */
  readonly colour: number;
  readonly format: (value: number) => string;
}

export interface ChartOptions {
  readonly title: string;
  readonly series: readonly ChartSeries[];
  /** How values stand at the axis. */
  readonly axis: (value: number) => string;
  /** The axis goes up to this at least. */
  readonly atLeast?: number;
}

export class Chart {
  readonly element: HTMLElement;
  /** A line for what else belongs to it. */
  readonly note = h('p', { class: 'note' });
  private readonly figures: HTMLElement[] = [];
  private readonly canvas = h('div', { class: 'canvas', 'aria-hidden': 'true' });
  private readonly moment = h('span', { class: 'moment' });
  private readonly options: ChartOptions;
  private plot: uPlot | null = null;
  private shown: uPlot.AlignedData = [[]];

  constructor(options: ChartOptions) {
    this.options = options;
    const legend = options.series.map(({ colour, label }) => {
      const figure = h('b', {}, NOTHING);
      this.figures.push(figure);
      return h('div', { class: 'figure' }, h('span', { class: `label key-${colour}` }, label), figure);
    });
    this.element = h(
      'figure',
      { class: 'card chart' },
      h('figcaption', {}, h('h2', {}, options.title), this.moment),
      h('div', { class: 'figures' }, ...legend),
      this.note,
      this.canvas,
    );
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  /** Shows columns that are as long as `at`, over the time from `from` to `to`. */
  update(at: number[], columns: Column[], from: number, to: number): void {
    this.shown = [at, ...columns] as uPlot.AlignedData;
    if (this.plot === null) this.draw();
    const { plot } = this;
    if (plot === null) return;
    plot.batch(() => {
      plot.setData(this.shown, false);
      plot.setScale('x', { min: from, max: to });
    });
    this.tell(plot.cursor.idx ?? null);
  }

  /** Draws anew with the colours of now. */
  recolour(): void {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
  }

  private tell(index: number | null): void {
    const [at] = this.shown;
    const last = index ?? at.length - 1;
    show(this.moment, index === null || at[index] === undefined ? '' : timeOfDay(at[index] * 1_000));
    this.options.series.forEach(({ format }, i) => {
      const value = this.shown[i + 1]?.[last];
      show(this.figures[i], value === null || value === undefined ? NOTHING : format(value));
    });
  }

  private draw(): void {
    const width = this.canvas.clientWidth;
    if (width === 0 || this.shown.length === 1) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(name).trim();
    const axis = { stroke: colour('--soft'), font: AXIS_FONT, ticks: { show: false } };
    const grid = { stroke: colour('--grid'), width: 1 };
    const { atLeast = 4, series } = this.options;
    const plot = new uPlot(
      {
        width,
        height: HEIGHT,
        padding: [6, 4, 0, 0],
        legend: { show: false },
        cursor: {
          sync: { key: 'page' },
          drag: { x: false, y: false },
          points: { size: 6 },
          y: false,
        },
        scales: {
          x: { time: true, auto: false },
          y: { range: (_, __, most) => [0, Math.max(atLeast, (most ?? 0) * 1.1)] },
        },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 22,
            space: 70,
            values: (_, splits) => splits.map(clockLabel),
          },
          {
            ...axis,
            grid,
            size: 54,
            space: 28,
            values: (_, splits) => splits.map((value) => atAxis(this.options.axis(value))),
          },
        ],
        series: [
          {},
          ...series.map(({ colour: number, label }) => {
            const stroke = colour(`--plot-${number}`);
            return { label, stroke, fill: `${stroke}1f`, width: 1.5, points: { show: false } };
          }),
        ],
        hooks: { setCursor: [(self) => this.tell(self.cursor.idx ?? null)] },
      },
      this.shown,
      this.canvas,
    );
    this.plot = plot;
  }

  private resize(): void {
    const width = this.canvas.clientWidth;
    if (width === 0) return;
    if (this.plot === null) this.draw();
    else if (this.plot.width !== width) this.plot.setSize({ width, height: HEIGHT });
  }
}

/** To the minute, with seconds where the axis has them. */
function clockLabel(at: number): string {
  const time = timeOfDay(at * 1_000);
  return time.endsWith(':00') ? time.slice(0, 5) : time;
}

const HEIGHT = 132;
const AXIS_FONT = '11px system-ui, sans-serif';
