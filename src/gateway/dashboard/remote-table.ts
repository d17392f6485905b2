/**
 * A table of rows that the broker has: of thousands only those are asked for, and only those made, that are seen. Sorting and searching are the
 * broker's as well. It is a grid that is walked with the keys: up, down, page, home, end, and Enter for what there is to know about a row.
 */
import type { ListQuery, Page } from '../../broker/operations/snapshot.ts';
import { foreign, h, mark, show } from './dom.ts';
import { whole } from './format.ts';
import { Problem } from './gateway.ts';

export interface TableColumn<Row> {
  readonly title: string;
  /** What stands in the cell at a time of the broker's clock; what a stranger may have written is made harmless here. */
  readonly text: (row: Row, at: number) => string;
  /** The figure that the broker sorts by; undefined: it does not. */
  readonly sort?: string;
  /** The largest first, when it is chosen. */
  readonly largestFirst?: boolean;
  readonly isNumber?: boolean;
  /** Width as a track of a grid: a number of pixels, or at least so many. */
  readonly width: string;
  /** What the cell's class is, such as `warn`. */
  readonly tone?: (row: Row) => string;
}

export interface TableOptions<Row> {
  /** What it is a table of, for those who do not see it. */
  readonly label: string;
  readonly columns: readonly TableColumn<Row>[];
  readonly source: (query: ListQuery) => Promise<Page<Row>>;
  readonly sort: string;
  /** Said where there is nothing. */
  readonly empty: string;
  readonly placeholder: string;
  readonly onOpen?: (row: Row) => void;
}

export class RemoteTable<Row> {
  readonly element: HTMLElement;
  private readonly options: TableOptions<Row>;
  private readonly search: HTMLInputElement;
  private readonly summary = h('p', { class: 'summary', role: 'status' });
  private readonly viewport: HTMLElement;
  private readonly sizer = h('div', { class: 'sizer', role: 'rowgroup' });
  private readonly empty = h('p', { class: 'empty', hidden: true });
  private readonly heads: HTMLElement[];
  private readonly rows: HTMLElement[] = [];
  private sort: string;
  private active = 0;
  private page: Page<Row> | null = null;
  private pageOffset = 0;
  /** The question that is on its way; what comes back to an older one is not shown. */
  private asked = 0;
  private isAsking = false;
  private askAgain = false;
  private typing = 0;

  constructor(options: TableOptions<Row>) {
    this.options = options;
    this.sort = options.sort;
    const tracks = options.columns.map(({ width }) => width).join(' ');
    this.search = h('input', {
      type: 'search',
      class: 'search',
      placeholder: options.placeholder,
      'aria-label': options.placeholder,
      autocomplete: 'off',
      spellcheck: 'false',
      on: {
        input: () => {
          clearTimeout(this.typing);
          this.typing = window.setTimeout(() => this.restart(), TYPING_MS);
        },
        keydown: (event) => this.onSearchKey(event as KeyboardEvent),
      },
    });
    this.heads = options.columns.map((column) => this.head(column));
    const head = h('div', { class: 'row head', role: 'row' }, ...this.heads);
    head.style.gridTemplateColumns = tracks;
    const least = options.columns.reduce((sum, { width }) => sum + Number(/\d+/.exec(width)), 0);
    const widthMin = `${least + GAP_PIXELS * options.columns.length + MARGIN_PIXELS}px`;
    head.style.minWidth = widthMin;
    this.viewport = h(
      'div',
      {
        class: 'viewport',
        role: 'grid',
        tabindex: '0',
        'aria-label': options.label,
        'aria-colcount': options.columns.length,
        on: {
          keydown: (event) => this.onKey(event as KeyboardEvent),
          scroll: () => this.onScroll(),
          click: (event) => this.onClick(event),
          dblclick: () => this.open(),
        },
      },
      head,
      this.sizer,
    );
    this.sizer.style.setProperty('--tracks', tracks);
    this.sizer.style.minWidth = widthMin;
    this.element = h(
      'div',
      { class: 'table' },
      h('div', { class: 'tools' }, this.search, this.summary),
      this.viewport,
      this.empty,
    );
    new ResizeObserver(() => this.render()).observe(this.viewport);
  }

  /** Asks for what is seen; called each time something may have changed. A question that is not answered yet is not asked twice. */
  async refresh(): Promise<void> {
    if (this.isAsking) {
      this.askAgain = true;
      return;
    }
    this.isAsking = true;
    const asked = ++this.asked;
    const offset = Math.max(0, this.firstVisible() - ROWS_BEFORE);
    const query = { search: this.search.value.trim(), sort: this.sort, offset, limit: ROWS_ASKED };
    try {
      const page = await this.options.source(query);
      if (asked === this.asked) this.take(page, offset);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      show(this.summary, foreign(error.message));
    } finally {
      this.isAsking = false;
      if (this.askAgain) {
        this.askAgain = false;
        void this.refresh();
      }
    }
  }

  focusSearch(): void {
    this.search.focus();
    this.search.select();
  }

  /** The row that the keys are on. */
  get current(): Row | undefined {
    return this.rowAt(this.active);
  }

  /** When the rows were as they are shown, by the clock of the broker. */
  get at(): number {
    return this.page?.at ?? Date.now();
  }

  /** The row of those that are known that is looked for. */
  find(isIt: (row: Row) => boolean): Row | undefined {
    return this.page?.items.find(isIt);
  }

  private take(page: Page<Row>, offset: number): void {
    this.page = page;
    this.pageOffset = offset;
    const { matched, total } = page;
    this.sizer.style.height = `${matched * ROW_PIXELS}px`;
    this.viewport.setAttribute('aria-rowcount', String(matched + 1));
    show(this.summary, matched === total ? whole(total) : `${whole(matched)} of ${whole(total)}`);
    this.empty.hidden = matched > 0;
    this.viewport.hidden = matched === 0 && total === 0;
    show(this.empty, total === 0 ? this.options.empty : 'Nothing matches.');
    if (this.active >= matched) this.active = Math.max(0, matched - 1);
    this.render();
    // Rows that came into sight while the question was on its way.
    if (this.lacksRows()) this.askAgain = true;
  }

  private rowAt(index: number): Row | undefined {
    return this.page?.items[index - this.pageOffset];
  }

  private firstVisible(): number {
    return Math.floor(this.viewport.scrollTop / ROW_PIXELS);
  }

  private visibleRows(): number {
    return Math.ceil(this.viewport.clientHeight / ROW_PIXELS) + 1;
  }

  private lacksRows(): boolean {
    const matched = this.page?.matched ?? 0;
    const first = this.firstVisible();
    const last = Math.min(matched, first + this.visibleRows()) - 1;
    return last >= first && (this.rowAt(first) === undefined || this.rowAt(last) === undefined);
  }

  /** Puts the rows in sight into as many elements as are seen, which are used again and again. */
  private render(): void {
    if (this.page === null) return;
    const { at } = this.page;
    const { columns } = this.options;
    const first = this.firstVisible();
    const seen = Math.max(0, Math.min(this.page.matched - first, this.visibleRows()));
    while (this.rows.length < seen) {
      const row = h('div', { class: 'row', role: 'row' }, ...columns.map((column) => this.cell(column)));
      this.rows.push(row);
      this.sizer.append(row);
    }
    this.rows.forEach((element, i) => {
      const index = first + i;
      element.hidden = i >= seen;
      if (i >= seen) return;
      const row = this.rowAt(index);
      element.style.transform = `translateY(${index * ROW_PIXELS}px)`;
      element.dataset.index = String(index);
      element.id = `${this.options.label}-${index}`.replaceAll(' ', '-');
      element.setAttribute('aria-rowindex', String(index + 2));
      mark(element, 'pending', row === undefined);
      mark(element, 'active', index === this.active);
      columns.forEach(({ isNumber, text, tone }, i) => {
        const cell = element.children[i];
        const shown = row === undefined ? '' : text(row, at);
        show(cell, shown);
        const wanted =
          `cell${isNumber ? ' number' : ''} ${row === undefined ? '' : (tone?.(row) ?? '')}`.trimEnd();
        if (cell.className !== wanted) cell.className = wanted;
        if (!isNumber && cell.getAttribute('title') !== shown) cell.setAttribute('title', shown);
      });
      if (index === this.active) this.viewport.setAttribute('aria-activedescendant', element.id);
    });
  }

  private cell({ isNumber }: TableColumn<Row>): HTMLElement {
    return h('div', { class: isNumber ? 'cell number' : 'cell', role: 'gridcell' });
  }

  private head(column: TableColumn<Row>): HTMLElement {
    const classes = `cell${column.isNumber ? ' number' : ''}`;
    const { sort } = column;
    if (sort === undefined) return h('div', { class: classes, role: 'columnheader' }, column.title);
    const button = h('button', { type: 'button', on: { click: () => this.sortBy(column) } }, column.title);
    return h('div', { class: classes, role: 'columnheader', 'aria-sort': this.direction(sort) }, button);
  }

  private direction(sort: string): string {
    return this.sort === sort ? 'ascending' : this.sort === `-${sort}` ? 'descending' : 'none';
  }

  private sortBy({ largestFirst, sort }: TableColumn<Row>): void {
    const up = sort as string;
    const down = `-${up}`;
    const first = largestFirst ? down : up;
    this.sort = this.sort === first ? (first === up ? down : up) : first;
    this.options.columns.forEach((column, i) => {
      if (column.sort !== undefined) this.heads[i].setAttribute('aria-sort', this.direction(column.sort));
    });
    this.restart();
  }

  /** From the top: other rows are there now. */
  private restart(): void {
    this.active = 0;
    this.viewport.scrollTop = 0;
    this.asked++;
    void this.refresh();
  }

  private onScroll(): void {
    this.render();
    if (this.lacksRows()) void this.refresh();
  }

  private onClick(event: Event): void {
    const row = (event.target as Element).closest<HTMLElement>('.row[data-index]');
    if (row === null) return;
    this.active = Number(row.dataset.index);
    this.render();
    this.open();
  }

  private open(): void {
    const row = this.current;
    if (row !== undefined) this.options.onOpen?.(row);
  }

  private onSearchKey(event: KeyboardEvent): void {
    if (event.key === 'ArrowDown' || event.key === 'Enter') {
      event.preventDefault();
      this.viewport.focus();
    } else if (event.key === 'Escape' && this.search.value !== '') {
      event.preventDefault();
      this.search.value = '';
      this.restart();
    }
  }

  private onKey(event: KeyboardEvent): void {
    if (event.target !== this.viewport || event.ctrlKey || event.metaKey || event.altKey) return;
    const last = (this.page?.matched ?? 0) - 1;
    const page = Math.max(1, this.visibleRows() - 3);
    const to: Record<string, number> = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: last,
    };
    if (event.key === 'Enter') this.open();
    else if (to[event.key] === undefined) return;
    else this.moveTo(Math.max(0, Math.min(last, to[event.key])));
    event.preventDefault();
  }

  private moveTo(index: number): void {
    this.active = index;
    const { viewport } = this;
    const top = index * ROW_PIXELS;
    const room = viewport.clientHeight - HEAD_PIXELS;
    if (top < viewport.scrollTop) viewport.scrollTop = top;
    else if (top + ROW_PIXELS > viewport.scrollTop + room) viewport.scrollTop = top + ROW_PIXELS - room;
    this.onScroll();
  }
}

/** As the style sheet has them. */
const ROW_PIXELS = 32;
const HEAD_PIXELS = 34;
const GAP_PIXELS = 12;
const MARGIN_PIXELS = 16;
/** Rows that are asked for at once, and how many of them are before the first that is seen. */
const ROWS_ASKED = 150;
const ROWS_BEFORE = 40;
const TYPING_MS = 150;
