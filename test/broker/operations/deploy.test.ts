import { expect, test } from 'vitest';
import { PROMETHEUS_NAMES } from '../../../src/broker/operations/prometheus.ts';
import { textOf } from '../../structure/project.ts';

const KNOWN = new Set([
  ...PROMETHEUS_NAMES,
  ...PROMETHEUS_NAMES.flatMap((name) => [`${name}_bucket`, `${name}_count`, `${name}_sum`]),
]);

/** Names of series in an expression of PromQL. */
function seriesIn(expression: string): string[] {
  return [...new Set([...expression.matchAll(/\bjsp_[a-z_]+/g)].map(([name]) => name))];
}

function brackets(expression: string): number[] {
  return ['(', '[', '{'].map((open, i) => expression.split(open).length - expression.split(')]}'[i]).length);
}

/** What can be asked, of the dashboard for Grafana. */
function expressionsOf(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(expressionsOf);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) =>
    name === 'expr' && typeof each === 'string' ? [each] : expressionsOf(each),
  );
}

test('the dashboard for Grafana asks for series that there are, and has a panel for each of them [OPS-10]', () => {
  const dashboard = JSON.parse(textOf('deploy/grafana.json') ?? '');
  const expressions = expressionsOf(dashboard);
  expect(expressions.length).toBeGreaterThan(40);
  const asked = expressions.flatMap(seriesIn);
  expect(asked.filter((name) => !KNOWN.has(name))).toEqual([]);
  for (const expression of expressions) expect(brackets(expression), expression).toEqual([0, 0, 0]);
  const families = new Set(asked.map((name) => name.replace(/_bucket$/, '')));
  const unasked = [
    'jsp_publishes_duplicate_total',
    'jsp_retained_messages',
    'jsp_log_earliest_offset',
    'jsp_log_unsynced_messages',
    'jsp_log_writable',
  ];
  expect(PROMETHEUS_NAMES.filter((name) => !families.has(name)).sort()).toEqual([...unasked].sort());
  // Panels lie beside and below each other, each on a place of its own.
  const places = dashboard.panels.map(
    ({ gridPos: { x, y } }: { gridPos: { x: number; y: number } }) => `${y}/${x}`,
  );
  expect(new Set(places).size).toBe(places.length);
});

test('the page for operators has every series, and no other [OPS-10]', () => {
  const told = seriesIn(textOf('docs/operations.md') ?? '');
  expect(told.sort()).toEqual([...PROMETHEUS_NAMES].sort());
});

test('each alert is about series that there are, says what it is about, and what to do [OPS-10]', () => {
  const text = textOf('deploy/alerts.yaml') ?? '';
  const rules = text.split(/^ {6}- alert: /m).slice(1);
  expect(rules.length).toBeGreaterThan(10);
  for (const rule of rules) {
    const [name] = rule.split('\n');
    expect(name).toMatch(/^Jsp[A-Za-z]+$/);
    const expression = /^ +expr: (.+)$/m.exec(rule)?.[1] ?? '';
    expect(seriesIn(expression).length, name).toBeGreaterThan(0);
    expect(
      seriesIn(expression).filter((series) => !KNOWN.has(series)),
      name,
    ).toEqual([]);
    expect(brackets(expression), name).toEqual([0, 0, 0]);
    expect(rule, name).toMatch(/severity: (critical|warning|info)/);
    expect(rule, name).toMatch(/summary: '.{20,}'\n +description: '.{20,}'/);
  }
});
