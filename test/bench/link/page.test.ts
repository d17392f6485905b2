import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { plotDataOf, reportPage } from '../../../src/bench/link/page.ts';
import { bars, intervalText, reportText, rowText } from '../../../src/bench/link/table.ts';
import { load, loss, missing, report, row } from './fixed-report.ts';

const LOSSY = report({
  datagrams: [loss(0.01)],
  rows: [row(512), row(1_200), missing(1_400)],
  pathMtu: { bytes: 1_272, notBytes: 1_273, direction: 'up', larger: 'vanish' },
});

/** What lies in the page's script elements. */
function scriptsOf(page: string): string[] {
  return [...page.matchAll(/<script[^>]*>([\s\S]*?)<\/script>/g)].map(([, text]) => text);
}

describe('the page of a report', () => {
  test('is the same for the same report, and needs nothing from anywhere', () => {
    const page = reportPage(LOSSY);
    expect(reportPage(LOSSY)).toBe(page);
    expect(page).toContain("default-src 'none'");
    expect(page).not.toMatch(/(src|href)\s*=|@import|url\(|fetch\(|XMLHttpRequest/);
    expect(page.match(/https?:\/\/[^\s)"']+/g)).toEqual(['https://github.com/leeoniya/uPlot']); // the library's name, in a comment
  });

  test('has the report as JSON, with which its script draws every plot', () => {
    const page = reportPage(LOSSY);
    const [json, code] = scriptsOf(page);
    const data = JSON.parse(json) as { report: unknown; plots: unknown };
    expect(data.report).toEqual(JSON.parse(JSON.stringify(LOSSY)));
    const drawn: { id: string; columns: unknown[][] }[] = [];
    class Plot {
      static readonly paths = { bars: () => null };
      static join(tables: number[][][]): unknown[] {
        return [tables[0][0], ...tables.map(([, values]) => values)];
      }
      constructor(_options: object, columns: unknown[][], target: { id: string }) {
        drawn.push({ id: target.id, columns });
      }
      setSize(): void {}
    }
    const draw = code.slice(code.lastIndexOf('\n(') + 1);
    const document = {
      getElementById: (id: string) => (id === 'data' ? { textContent: json } : { id, clientWidth: 500 }),
    };
    runInNewContext(draw, { uPlot: Plot, document, window: { document, addEventListener() {} } });
    expect(drawn.map(({ id }) => id)).toEqual([
      'plot-goodput',
      'plot-round-trips',
      'plot-rate',
      'plot-rtt',
      'plot-loss',
    ]);
    for (const { id, columns } of drawn) {
      expect(page).toContain(`id="${id}"`);
      expect(new Set(columns.map(({ length }) => length)).size).toBe(1);
    }
    expect(() => runInNewContext(code.slice(0, code.lastIndexOf('\n(')), {})).not.toThrow();
  });

  test('says what was found in plain words, with every figure in a table', () => {
    const page = reportPage(LOSSY);
    for (const words of [
      'About one datagram in 100 never arrives',
      'more than 1,272 bytes vanish without a word',
      'connect(url, { profile: &#39;gaming&#39;, mtu: 1200, congestion: &#39;bbr&#39;, protection: &#39;auto&#39; })',
      'A Processor, 2 cores; linux 6.1 x64; Node v20.20.2, jetstream-proto 1.0.0',
      '2026-01-02 03:04:05 UTC',
    ]) {
      expect(page).toContain(words);
    }
    expect(page.match(/<tr class/g)).toHaveLength(3);
  });

  test('keeps text of the other end text, in markup, in scripts and on the terminal', () => {
    const evil = '</script><script>alert(1)</script><img src=x onerror=alert(2)>\u001b[2J\u202e';
    const about = {
      target: evil,
      endedEarly: evil,
      server: { version: evil, node: evil, platform: evil, cpu: evil, cores: 1 },
    };
    const page = reportPage(report({}, about));
    expect(page).not.toContain('<img');
    expect(page).not.toContain('\u001b');
    expect(page).not.toContain('\u202e');
    expect(scriptsOf(page)).toHaveLength(2);
    expect((JSON.parse(scriptsOf(page)[0]) as { report: { target: string } }).report.target).toBe(evil);
    expect(reportText(report({}, about))).not.toContain('\u001b');
  });

  test('is made also of a report with nothing in it', () => {
    const nothing = report({ idle: null, datagrams: [], rows: [] }, { endedEarly: 'stopped by SIGINT' });
    const page = reportPage(nothing);
    expect(page).toContain('stopped by SIGINT');
    expect(page).not.toContain('id="plot-goodput"');
    expect(page.slice(0, page.indexOf('<script'))).not.toMatch(/NaN|undefined|Infinity/);
    expect(reportText(nothing)).toContain('too little was measured');
  });

  test('names runs by what differs between them', () => {
    const rows = [
      row(1_200),
      row(1_200, { congestion: 'bbr' }),
      row(1_400, { asked: 'auto', direction: 'down' }),
    ];
    expect(plotDataOf(report({ rows })).goodput.labels).toEqual([
      '1,200 up cubic',
      '1,200 up bbr',
      'auto 1,400 down cubic',
    ]);
  });
});

describe('the report as text', () => {
  test('has a line for each size, bars of goodput, and what to choose', () => {
    const text = reportText(LOSSY);
    expect(text).toMatch(/^512 +up +cubic +yes +16\.7 /m);
    expect(text).toMatch(/^1,400 +up +cubic +no +- /m);
    expect(text).toMatch(/^1,200 up cubic \|█{40} 18\.0 Mbit\/s, overhead 5\.50 %$/m);
    expect(text).toMatch(/^1,400 up cubic \| datagrams of this size do not arrive$/m);
    expect(text).toMatch(/^path MTU +1,272 bytes of UDP payload up; larger ones do not arrive$/m);
    expect(text).toMatch(/^loss up +1\.00 % \(95 %: 0\.94 % to 1\.06 %\) of 100,000 datagrams/m);
    expect(text).toMatch(/^Recommended: mtu 1,200, profile gaming, congestion bbr, protection auto$/m);
    expect(text).toMatch(/^ {2}! Datagrams of 1,400 bytes do not arrive/m);
  });

  test('tells one-way delays with what they are worth', () => {
    const clocks = { kind: 'estimated', serverAheadMs: 5, uncertaintyMs: 25 } as const;
    expect(reportText(report({}, { clocks }))).toContain('clocks compared to ±25.0 ms');
    expect(reportText(report())).toContain('one clock');
  });

  test('has intervals as iperf3 does, those of the warm-up marked', () => {
    const [first] = load(18).intervals;
    expect(intervalText('up', first)).toBe(
      '  -2.0 to -1.0 s  up       18.0 Mbit/s  round trip 52.0 ms  lost 0.10 %  (warm-up)',
    );
  });

  test('has one line for a row that has just been measured', () => {
    expect(rowText(row(1_200))).toBe(
      '1,200 up cubic: 18.0 Mbit/s, overhead 5.50 %, lost 0.10 %, round trip 50.0 ms idle, 52.0 ms loaded',
    );
    expect(rowText(missing(1_400))).toBe('1,400 up cubic: datagrams of this size do not arrive');
  });

  test('draws bars in eighths of a column', () => {
    expect([bars(0, 10, 4), bars(5, 10, 4), bars(10, 10, 4), bars(1, 32, 4), bars(1, 0, 4)]).toEqual([
      '',
      '██',
      '████',
      '▏',
      '',
    ]);
  });
});
