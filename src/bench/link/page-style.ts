/** How a report looks: light on paper, light or dark on a screen as its reader has it; nothing is loaded. */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --ink: #1d2430; --soft: #5b6573; --paper: #ffffff; --card: #f5f7fa; --line: #dde2e9;
  --accent: #1f6fc0; --good: #1c7d47; --warn: #a85a00; --warn-paper: #fff5e6; --good-paper: #ecf7f0;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --ink: #e3e8ef; --soft: #9aa5b4; --paper: #12161c; --card: #1b212a; --line: #303946;
    --accent: #6cb0f5; --good: #63c58d; --warn: #f0b060; --warn-paper: #2b2316; --good-paper: #15261c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 26px; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 34px 0 10px; }
h3 { font-size: 15px; margin: 0 0 2px; }
p { margin: 6px 0; max-width: 78ch; }
.soft { color: var(--soft); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(158px, 1fr)); gap: 10px; margin: 20px 0 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.card b { display: block; font-size: 22px; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card span { display: block; color: var(--soft); font-size: 13px; }
.choice { background: var(--good-paper); border: 1px solid var(--line); border-left: 4px solid var(--good); border-radius: 8px; padding: 12px 18px; }
.early, .warnings { background: var(--warn-paper); border: 1px solid var(--line); border-left: 4px solid var(--warn); border-radius: 8px; padding: 10px 18px; margin-top: 12px; }
.choice ul, .warnings ul { margin: 8px 0 2px; padding-left: 20px; }
.choice li, .warnings li { margin: 4px 0; max-width: 84ch; }
code, pre { font: 13px/1.45 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: 8px 12px; overflow-x: auto; margin: 8px 0; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 22px 28px; }
figure { margin: 0; break-inside: avoid; min-width: 0; }
figcaption { color: var(--soft); font-size: 13px; margin-bottom: 6px; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin: 0 4px 0 10px; vertical-align: -1px; }
.key:first-child { margin-left: 0; }
.uplot, .u-legend { font-family: inherit; }
.u-legend { font-size: 12px; color: var(--ink); text-align: left; }
.u-legend .u-series { padding: 0 10px 0 0; }
.u-legend .u-value { color: var(--soft); font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table.figures { border-collapse: collapse; font-size: 12.5px; font-variant-numeric: tabular-nums; min-width: 100%; }
table.figures th, table.figures td { padding: 5px 6px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
table.figures th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
table.figures th:first-child, table.figures td:first-child { text-align: left; }
table.figures tr.best td { font-weight: 600; }
table.figures tr.no td { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 18px; margin: 8px 0; font-size: 14px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
footer { margin-top: 34px; color: var(--soft); font-size: 13px; }
@media print {
  @page { margin: 14mm 12mm; }
  body { font-size: 11.5px; }
  main { padding: 0; max-width: none; }
  h1 { font-size: 20px; } h2 { font-size: 15px; margin: 20px 0 6px; break-after: avoid; }
  .cards { grid-template-columns: repeat(3, 1fr); gap: 6px; } .card { padding: 6px 10px; } .card b { font-size: 17px; }
  .card, .choice, .warnings, .early { break-inside: avoid; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .key { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .plots { grid-template-columns: 1fr 1fr; gap: 12px; } figure > div { zoom: 0.64; } figcaption { font-size: 10.5px; } h3 { font-size: 12px; }
  .scroll { overflow: visible; } table.figures { font-size: 8.4px; min-width: 0; } table.figures th, table.figures td { padding: 2px 4px; }
  .u-legend .u-value { display: none; }
}
`;
