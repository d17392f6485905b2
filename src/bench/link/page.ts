import type { LinkReport } from './report.ts';

export function reportPage(report: LinkReport): string {
  return JSON.stringify(report);
}
